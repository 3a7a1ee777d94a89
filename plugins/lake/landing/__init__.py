"""From a source (Kafka topic, shop, payment provider) into one Iceberg table, data and progress in one commit."""

"""The whole way once: real orders through Kafka, Faust, Airflow and the lake; the result as a table and as JSON."""

"""What writes to Kafka from the shop's side: real or generated orders as events, and forged events for tests."""

"""The contracts as pages and as AsyncAPI, made from order_fraud.events, order_fraud.topics and order_fraud.signals."""

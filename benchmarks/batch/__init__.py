"""``make bench-batch``: one reconciliation of many orders, beside pandas and PySpark."""

"""The real-time half: Faust agents on Kafka that call the shared kernel, a partition batch and a transaction at a
time.
"""

__version__ = "0.1.0"

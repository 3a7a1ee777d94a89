"""The code that both halves of Countersign share: events, topics, entity histories, scorecard, verdict.

Pure by rule: no clock, no I/O, no framework. A stream worker and an Airflow task that are given the same
bytes get the same bytes back.
"""

"""Settles confirmed frauds: carries out the steps of :mod:`order_fraud.settlement` against the other systems."""

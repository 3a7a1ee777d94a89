"""Learning a scorecard from signals that the relay stamped and what the orders turned out to be.

Both `make evaluate` and the DAG ``train_scorecard`` learn here, so that what is measured is what is trained.
"""

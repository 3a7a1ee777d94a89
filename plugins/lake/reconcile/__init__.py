"""Reconciliation: what the stream said against what it must have said, and every system against every other.

``refold`` re-derives the stream's answers from the archived topics with the stream's own code; ``match`` joins shop,
stream, delivery and payment and names each difference; ``corrections`` turns those into events.
"""

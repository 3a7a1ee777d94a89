"""The quality gate: which rows may enter a table, and whether an object is good enough to be reconciled."""

"""Small data files of a table become few large ones; what a row says, and what an earlier run read, stays as it is."""

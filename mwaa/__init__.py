"""Amazon MWAA: the package that it runs, how it gets there, and what it needs around it (``python -m mwaa --help``)."""

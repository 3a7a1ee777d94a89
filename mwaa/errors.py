"""What can go wrong, with the remedy in the message."""


class MwaaError(Exception):
    """What was asked cannot be done; the message says why and what to do."""

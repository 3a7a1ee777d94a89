"""What can go wrong with the stack, each with the remedy in its message."""


class StackError(Exception):
    """The stack cannot do what was asked; the message says why and what to do."""


class PortTaken(StackError):
    """A port that a part needs is in use by somebody else."""


class AlreadyUp(StackError):
    """A stack runs in this run directory already."""


class PartDied(StackError):
    """A part ended, or was not ready in time; the message carries the tail of its log."""

"""The one error that DAG files know. It must import at once: Airflow resolves retry rules when it parses a DAG."""


class Hopeless(Exception):
    """A failure that trying again cannot mend (bad credential, bad setting): the task fails at its first attempt."""

"""What people write into the fields of a DAG's form."""


def names(text: str | None) -> list[str]:
    """Return the ids or names of a field, separated by commas, spaces or lines; each once."""
    return list(dict.fromkeys((text or "").replace(",", " ").split()))

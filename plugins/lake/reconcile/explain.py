"""Say in words how two events differ."""

import msgspec

from order_fraud import events

MAX_NAMED = 6
"""Differing fields that are named one by one; the rest are counted."""


def difference(expected: str, found: str) -> str:
    """Return in words how the archived event ``found`` differs from ``expected``, the re-derived one.

    Signals are named one by one, reasons by their code; everything else by its field.
    """
    try:
        left, right = _flat(expected), _flat(found)
    except msgspec.DecodeError as error:
        return f"the archived value is no JSON ({error})"
    parts = [
        f"{name} is {_shown(right.get(name))}, re-derived {_shown(left.get(name))}"
        for name in (*left, *(name for name in right if name not in left))
        if left.get(name) != right.get(name)
    ]
    if len(parts) > MAX_NAMED:
        parts[MAX_NAMED:] = [f"and {len(parts) - MAX_NAMED} more"]
    return "; ".join(parts) or "the same fields in another spelling"


def canonical(value: str) -> str:
    """Return an event's JSON in canonical form: numbers that the schema calls floats are written as floats.

    Raises:
        BadEvent: ``value`` is no event.
    """
    return events.encode(events.decode(value.encode())).decode()


def _flat(value: str) -> dict[str, object]:
    event = msgspec.json.decode(value)
    data = event.pop("data", {})
    signals = data.pop("signals", {})
    reasons = data.pop("reasons", [])
    return (
        event
        | data
        | {f"signal {name}": number for name, number in signals.items()}
        | {f"reason {reason['code']}": f"{reason['points']:+d} ({reason['text']})" for reason in reasons}
    )


def _shown(value: object) -> str:
    return "absent" if value is None else str(value)

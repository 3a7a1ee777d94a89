"""Leaving sources out of a reconciliation: which kinds of finding can be told without them."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from lake import tables
from lake.errors import Hopeless
from lake.reconcile.findings import KINDS
from order_fraud.events import FindingKind

_STREAM: frozenset[str] = frozenset()
_WITHOUT: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        **dict.fromkeys(
            [
                *("verdict-missing", "verdict-repeated", "verdict-not-reproducible", "verdict-would-change"),
                *("policy-skew", "customer-unknown", "released-without-clearance", "released-twice"),
                *("held-overdue", "fraud-missed"),
            ],
            _STREAM,
        ),
        **dict.fromkeys(["order-not-streamed", "order-not-sold"], frozenset({tables.SOLD})),
        "charged-but-rejected": frozenset({tables.PAID}),
    }
)
"""What a kind of finding rests on besides the stream; what is not listed rests on every source."""


class BadSources(Hopeless):
    """The form names a source that no reconciliation reads; the message names those that there are."""


def chosen(text: str | None) -> list[str] | None:
    """Return the sources of the form's field, separated by commas or spaces; None for all.

    Raises:
        BadSources: no such source.
    """
    named = list(dict.fromkeys((text or "").replace(",", " ").split()))
    if unknown := [name for name in named if name not in tables.RECONCILED]:
        raise BadSources(
            f"no reconciliation reads {', '.join(unknown)}: choose from {', '.join(tables.RECONCILED)}, or leave the "
            "field empty for all"
        )
    return named or None


def kinds(sources: Sequence[str] | None) -> list[FindingKind]:
    """Return the kinds of finding that can be told with the stream and these sources; all for None."""
    if sources is None:
        return list(KINDS)
    everything = frozenset(tables.RECONCILED)
    return [kind for kind in KINDS if _WITHOUT.get(kind, everything) <= frozenset(sources)]

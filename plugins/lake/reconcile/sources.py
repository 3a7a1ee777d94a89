"""Leaving sources out of a reconciliation: which kinds of finding can be told without them."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from lake import tables
from lake.errors import Hopeless
from lake.forms import names
from lake.reconcile.findings import KINDS
from order_fraud.events import FindingKind

_STREAM: frozenset[str] = frozenset()
_SHOP = frozenset({tables.SOLD})
_MONEY = _SHOP | {tables.PAID}
_WORDS = _MONEY | {tables.DISPUTED}
"""What was said of orders afterwards; which order a dispute is of, the charges and the shop say."""

RESTS_ON: Mapping[FindingKind, frozenset[str]] = MappingProxyType(
    {
        "order-not-streamed": _SHOP,
        "order-not-sold": _SHOP,
        "verdict-missing": _STREAM,
        "verdict-repeated": _STREAM,
        "verdict-not-reproducible": _STREAM,
        "verdict-would-change": _SHOP,
        "policy-skew": _STREAM,
        "customer-unknown": _SHOP,
        "customer-differs": _SHOP | {tables.KNOWN},
        "released-without-clearance": _STREAM,
        "released-twice": _STREAM,
        "held-overdue": _WORDS,
        "fraud-missed": _WORDS,
        "amount-differs": _MONEY,
        "payment-missing": _MONEY,
        "payment-orphan": _MONEY,
        "charged-but-rejected": _WORDS | {tables.REFUNDED},
        "refund-missing": _WORDS | {tables.REFUNDED, tables.GIVEN_BACK},
    }
)
"""The tables that a kind of finding rests on besides the stream: those that its check reads, be it to say nothing of an
order that the shop has not sold, or whose money has gone back already."""

NAMED = (*tables.RECONCILED, *tables.WITNESSES)
"""What the form's field may name."""


class BadSources(Hopeless):
    """The form names a source that no reconciliation reads; the message names those that there are."""


def chosen(text: str | None) -> list[str] | None:
    """Return the sources of the form's field, separated by commas or spaces; None for all.

    Raises:
        BadSources: no such source.
    """
    named = names(text)
    if unknown := [name for name in named if name not in NAMED]:
        raise BadSources(
            f"no reconciliation reads {', '.join(unknown)}: choose from {', '.join(NAMED)}, or leave the field empty "
            "for all"
        )
    return named or None


def kinds(sources: Sequence[str] | None, landed: Collection[str]) -> list[FindingKind]:
    """Return the kinds of finding that can be told with the stream and these sources; all for None.

    Args:
        sources: tables of sources.
        landed: all tables that have landed. A witness that has not says nothing, so that nothing rests on it.
    """
    if sources is None:
        return list(KINDS)
    absent = frozenset(tables.WITNESSES) - frozenset(landed)
    return [kind for kind in KINDS if RESTS_ON[kind] - absent <= frozenset(sources)]

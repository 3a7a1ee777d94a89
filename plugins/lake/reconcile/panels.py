"""Who judged each order: the scorecards that its archived verdict names, taken from the archived policies.

The stream takes a policy at a batch boundary of each worker, so that no clock says which version judged an order. Its
verdict does: a version never changes, and neither does what it makes of given signals.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import polars as pl

from order_fraud import policies
from order_fraud.judge import Panel
from order_fraud.policies import Policies, Refused
from order_fraud.topics import FRAUD_POLICIES

log = logging.getLogger(__name__)

_NAMED = pl.Struct(
    {
        "data": pl.Struct(
            {"scorecard_version": pl.String(), "shadows": pl.List(pl.Struct({"scorecard_version": pl.String()}))}
        )
    }
)


class PanelOf(Protocol):
    """Says who judges an order."""

    def __call__(self, order_id: str, /) -> Panel: ...


def known_policies(records: pl.DataFrame, bundled: Panel) -> Policies:
    """Fold the archived records of fraud.policies (columns offset, key, value) into what holds after them.

    What the stream's workers refuse is passed over here as there.
    """
    known = policies.initial(bundled)
    for offset, key, value in records.sort("offset").select("offset", "key", "value").iter_rows():
        try:
            known = known.apply(policies.receive(None if key is None else key.encode(), value.encode()))
        except Refused as error:
            log.warning("%s, offset %d changes nothing: %s", FRAUD_POLICIES.name, offset, error)
    return known


def _why(active: str, shadows: tuple[str, ...], known: Policies, error: Refused) -> str:
    missing = [version for version in (active, *shadows) if version not in known.scorecards]
    if not missing:
        return f"its verdict names scorecards that cannot judge together ({error})"
    named = " and ".join(f"version {version!r}" for version in missing)
    return f"its verdict names scorecard {named}, and no such scorecard has landed from {FRAUD_POLICIES.name}"


@dataclass(frozen=True, slots=True)
class Panels:
    """Who judged each order.

    Attributes:
        known: all versions that were published, and who judges an order that has no verdict.
        unpublished: by order id, why nobody can judge it as the stream did: its verdict names a version that has not
            landed. Such an order is judged by whoever judges now. Nobody published the version, unless the landing
            of the policies failed beside that of the verdicts; which of them it is cannot be told here (decision 0084).
    """

    known: Policies
    unpublished: Mapping[str, str]
    _by_order: Mapping[str, Panel]

    def __call__(self, order_id: str, /) -> Panel:
        """Return who judges an order."""
        return self._by_order.get(order_id, self.known.panel)

    def versions(self) -> tuple[list[tuple[str, str]], list[tuple[str, list[str]]]]:
        """Return who judged as plain words, the same for the same panels: who cannot, and who judged by order."""
        by_order = ((order, [one.version for one in (by.active, *by.shadows)]) for order, by in self._by_order.items())
        return sorted(self.unpublished.items()), sorted(by_order)


def named(verdicts: pl.DataFrame) -> pl.DataFrame:
    """Return who judged by archived records of fraud.verdicts: ``value`` gives way to ``scorecard_version`` and
    ``shadows``.
    """
    return verdicts.select(
        pl.exclude("value"), pl.col("value").str.json_decode(_NAMED).struct.field("data").struct.unnest()
    ).with_columns(pl.col("shadows").list.eval(pl.element().struct.field("scorecard_version")).fill_null([]))


def panels_of(known: Policies, verdicts: pl.DataFrame) -> Panels:
    """Return who judged each order.

    Args:
        known: the published scorecards.
        verdicts: what :func:`named` makes of archived records of fraud.verdicts (columns subject, partition, offset).
            Of several verdicts on one order the first counts.
    """
    first = verdicts.sort("partition", "offset").unique("subject", keep="first", maintain_order=True)
    by_order: dict[str, Panel] = {}
    unpublished: dict[str, str] = {}
    for (active, *_), part in first.group_by("scorecard_version", "shadows", maintain_order=True):
        shadows = tuple(part["shadows"][0])
        try:
            panel = known.bench(str(active), shadows)
        except Refused as error:
            unpublished.update(dict.fromkeys(part["subject"], _why(str(active), shadows, known, error)))
            continue
        if panel != known.panel:  # the usual case needs no entry per order
            by_order.update(dict.fromkeys(part["subject"], panel))
    return Panels(known, MappingProxyType(unpublished), MappingProxyType(by_order))

"""Read the lake at fixed snapshots: every frame of one reconciliation comes from the same moment of each table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import polars as pl
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import AlwaysTrue, BooleanExpression, EqualTo, In
from pyiceberg.table import Table

from lake import labels, tables
from lake.ahead import not_dated_ahead
from lake.errors import Hopeless
from lake.landing.flows import folder, tables_in
from lake.reconcile import facts
from lake.reconcile.facts import Facts
from lake.reconcile.scope import GRACE
from lake.tables import TableSpec
from order_fraud import topics
from order_fraud.topics import ARCHIVED, Topic

_BY_TOPIC: Mapping[str, Topic] = {topic.name: topic for topic in ARCHIVED}


class NothingLanded(Hopeless):
    """No order has landed, so there are no days to choose from."""


@dataclass(frozen=True, slots=True)
class _Pinned:
    table: Table
    snapshot_id: int | None
    committed: datetime | None


class SnapshotGone(Hopeless):
    """A snapshot that an earlier run read is not in the lake any more; the message names table and snapshot."""


class Lake:
    """The source tables, each pinned to the snapshot that it had when this object was made, or to a recorded one."""

    def __init__(self, catalog: Catalog, recorded: Mapping[str, int] | None = None) -> None:
        """Pin every source table; one that does not exist yet is made, empty.

        Args:
            catalog: of the lake.
            recorded: the snapshot ids of an earlier run, to read what it read; a table that is not among them was
                empty then. None reads what has landed by now.

        Raises:
            SnapshotGone: one of the recorded snapshots is not there any more.
        """
        flows = tables_in(folder())
        sources = [flows[name] for name in tables.RECONCILED]
        aside = [tables.quarantine(spec) for spec in sources]
        self._pinned = {spec.name: _pin(catalog, spec, recorded) for spec in (*tables.TOPICS, *sources, *aside)}

    @property
    def snapshots(self) -> dict[str, int]:
        """The snapshot ids by table name, without tables that never got a row."""
        return {name: pinned.snapshot_id for name, pinned in self._pinned.items() if pinned.snapshot_id is not None}

    @property
    def settled(self) -> datetime:
        """Business until then has had the time to reach every system; see :data:`lake.reconcile.scope.GRACE`.

        The archive counts as read when its newest table was: land_events reads all topics in one go, and a topic
        without news gets no snapshot.
        """
        newest: dict[str, datetime] = {}
        for name, pinned in self._pinned.items():
            system = name.partition(".")[0]
            if system != "quarantine" and pinned.committed is not None:
                newest[system] = max(pinned.committed, newest.get(system, pinned.committed))
        return min(newest.values(), default=datetime.now(UTC)) - GRACE

    def days(self) -> tuple[date, date]:
        """Return the first and the last business day on which any system has an order.

        Raises:
            NothingLanded: no system has any.
        """
        # Word of what an order was comes months later, and no order has come by that day.
        streamed = self._read("kafka.customer_events", ("day",), In("type", ("NewOrder", "NewCustomer")))
        return _ends(pl.concat([streamed, self._read("shop.orders", ("day",))]), "land_events and land_sources")

    def judged_days(self) -> tuple[date, date]:
        """Return the first and the last business day of the orders that the stream can have judged.

        An order dated ahead of its record is none of them; to a reconciliation it is, see :meth:`days`.

        Raises:
            NothingLanded: there is no such order.
        """
        orders = self._read("kafka.customer_events", ("day", "time", "timestamp"), EqualTo("type", "NewOrder"))
        return _ends(not_dated_ahead(orders), "land_events")

    def archive(self, topic: str, columns: Sequence[str], partition: int | None = None) -> pl.DataFrame:
        """Return columns of an archived topic, of one partition or of all."""
        rows = AlwaysTrue() if partition is None else EqualTo("partition", partition)
        return self._read(tables.records(_BY_TOPIC[topic]).name, columns, rows)

    def facts(self) -> Facts:
        """Return what all systems say, of all days."""
        shop = self._read("shop.orders", facts.SHOP_COLUMNS)
        delivery_events = self.archive(topics.DELIVERY_EVENTS.name, facts.ARCHIVE_COLUMNS)
        charges = self._read("payments.charges", facts.CHARGE_COLUMNS)
        # Three reads of few rows or columns each: all columns of all that came in would take the most memory of all.
        signed_up = self._read("kafka.customer_events", facts.SIGN_UP_COLUMNS, EqualTo("type", "NewCustomer"))
        said = self._read("kafka.customer_events", labels.COLUMNS, In("type", tuple(labels.WORDS)))
        return Facts(
            streamed=facts.streamed(self.archive(topics.CUSTOMER_EVENTS.name, facts.ARCHIVE_COLUMNS)),
            sign_ups=facts.sign_ups(signed_up),
            words=labels.words(said),
            policies=self.archive(topics.FRAUD_POLICIES.name, facts.POLICY_COLUMNS),
            verdicts=facts.verdicts(self.archive(topics.FRAUD_VERDICTS.name, facts.ARCHIVE_COLUMNS)),
            deliveries=facts.deliveries(delivery_events),
            alarms=facts.alarms(delivery_events),
            shop=shop,
            charges=charges,
            shop_aside=facts.set_aside(self._quarantine("orders"), "$.sourceIdentifier", shop["order_id"]),
            charges_aside=facts.set_aside(self._quarantine("charges"), "$.metadata.order_id", charges["charge_id"]),
        )

    def _quarantine(self, name: str) -> pl.DataFrame:
        return self._read(f"quarantine.{name}", ("row_id", "row"))

    def _read(self, name: str, columns: Sequence[str], rows: BooleanExpression | None = None) -> pl.DataFrame:
        pinned = self._pinned[name]
        if pinned.snapshot_id is None:  # a scan would read what has come in since
            empty = pl.from_arrow(pinned.table.schema().as_arrow().empty_table())
            assert isinstance(empty, pl.DataFrame)  # noqa: S101 - for the type checker
            return empty.select(columns)
        scan = pinned.table.scan(
            row_filter=AlwaysTrue() if rows is None else rows,
            selected_fields=tuple(columns),
            snapshot_id=pinned.snapshot_id,
        )
        frame = pl.from_arrow(scan.to_arrow())
        assert isinstance(frame, pl.DataFrame)  # noqa: S101 - for the type checker: a table never makes a series
        return frame.select(columns)


def _ends(landed: pl.DataFrame, dags: str) -> tuple[date, date]:
    days = landed["day"]
    if days.is_empty():
        raise NothingLanded(f"no order has landed yet: run {dags} first")
    return days.min(), days.max()  # type: ignore[return-value]  # polars types them as any literal


def _pin(catalog: Catalog, spec: TableSpec, recorded: Mapping[str, int] | None) -> _Pinned:
    table = tables.ensure(catalog, spec)
    if recorded is None:
        snapshot = table.current_snapshot()
    elif spec.name in recorded:
        snapshot = table.snapshot_by_id(recorded[spec.name])
        if snapshot is None:
            raise SnapshotGone(f"{spec.name} has no snapshot {recorded[spec.name]} any more: it was expired")
    else:
        snapshot = None
    if snapshot is None:
        return _Pinned(table, None, None)
    return _Pinned(table, snapshot.snapshot_id, datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC))

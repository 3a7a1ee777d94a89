"""Read the lake at fixed snapshots: every frame of one reconciliation comes from the same moment of each table."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import NamedTuple

import polars as pl
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.conversions import from_bytes
from pyiceberg.expressions import AlwaysTrue, BooleanExpression, EqualTo, In
from pyiceberg.manifest import DataFile
from pyiceberg.table import DataScan, StaticTable, Table
from pyiceberg.types import LongType

from lake import disputes, labels, tables
from lake.ahead import not_dated_ahead
from lake.compact.undo import as_known
from lake.errors import Hopeless
from lake.landing.flows import folder, tables_in
from lake.reconcile import contacts, facts
from lake.reconcile.facts import Facts
from lake.reconcile.panels import known_policies
from lake.reconcile.scope import GRACE
from lake.tables import TableSpec
from order_fraud import topics
from order_fraud.judge import Panel
from order_fraud.policies import Policies
from order_fraud.topics import ARCHIVED, Topic

_BY_TOPIC: Mapping[str, Topic] = {topic.name: topic for topic in ARCHIVED}


_MOMENT = pl.Datetime("us", "UTC")
_TYPES: Mapping[str, pl.DataType] = {
    "amount": pl.Int64(), "created_at": _MOMENT, "updated_at": _MOMENT, "day": pl.Date(),
    "picked_up_at": _MOMENT, "delivered_at": _MOMENT, "returned": pl.Boolean(),
}  # fmt: skip
"""Of the columns of a table that is not there."""


class NothingLanded(Hopeless):
    """No order has landed, so there are no days to choose from."""


@dataclass(frozen=True, slots=True)
class _Pinned:
    table: Table
    snapshot_id: int | None
    committed: datetime | None


class ArchiveFile(NamedTuple):
    """A data file of an archived topic.

    Attributes:
        path: its name, which no other file ever gets.
        partition: of the topic.
        rows: how many records it holds.
        first, last: their lowest and highest offset; -1 and 2^63 - 1 if nobody wrote them down.
        changed: whether rows of it have been deleted since.
    """

    path: str
    partition: int
    rows: int
    first: int
    last: int
    changed: bool


class SnapshotGone(Hopeless):
    """A snapshot that an earlier run read is not in the lake any more; the message names table and snapshot."""


class Lake:
    """The source tables, each pinned to the snapshot that it had when this object was made, or to a recorded one.

    It can be pickled: another process then reads the same snapshots. The pickle holds the credentials of the store.
    """

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
        sources += [flows[name] for name in tables.WITNESSES if name in flows]
        aside = [tables.quarantine(spec) for spec in sources]
        specs = (*tables.TOPICS, *sources, *aside, tables.SETTLEMENT)
        self._pinned = {spec.name: _pin(catalog, spec, recorded) for spec in specs}
        self._files: dict[str, list[ArchiveFile]] = {}

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
        witnesses = {spec.name for spec in tables.TOPICS} | set(tables.RECONCILED)
        for name, pinned in self._pinned.items():
            system = name.partition(".")[0]
            if name in witnesses and pinned.committed is not None:
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

    def policies(self, bundled: Panel) -> Policies:
        """Return all scorecards that were published, and who judges now; ``bundled`` does until the archive says so."""
        return known_policies(self.archive(topics.FRAUD_POLICIES.name, ("offset", "key", "value")), bundled)

    def rows(self, topic: str) -> int:
        """Return how many records of a topic have landed, by the table's own count."""
        pinned = self._pinned[tables.records(_BY_TOPIC[topic]).name]
        snapshot = None if pinned.snapshot_id is None else pinned.table.snapshot_by_id(pinned.snapshot_id)
        summary = {} if snapshot is None or snapshot.summary is None else snapshot.summary.additional_properties
        return int(summary.get("total-records", 0))

    def partitions(self, topic: str, after: Mapping[int, int] | None = None) -> dict[int, int]:
        """Return how many records of each partition of a topic have landed, by the partition.

        Args:
            topic: an archived one.
            after: by partition, the offset up to which files do not count; see :meth:`stream`.
        """
        rows: dict[int, int] = {}
        for file in self.files(topic):
            if file.last > (after or {}).get(file.partition, -1):
                rows[file.partition] = rows.get(file.partition, 0) + file.rows
        return dict(sorted(rows.items()))

    def files(self, topic: str) -> list["ArchiveFile"]:
        """Return the data files of an archived topic. Each is written once, under a name of its own, for ever.

        They are looked up once, and travel with a pickle of this object.
        """
        if topic not in self._files:
            name = tables.records(_BY_TOPIC[topic]).name
            table, scan = self._pinned[name].table, self._scan(name, ("offset",))
            self._files[topic] = [
                _archive_file(table, task.file, deleted=bool(task.delete_files)) for task in scan.plan_files()
            ]
        return self._files[topic]

    def files_as_known(self, topic: str, known: Collection[str]) -> list["ArchiveFile"]:
        """Return the data files of an archived topic, those that were put together of known ones as these.

        Args:
            topic: an archived one.
            known: paths of files that an earlier run read; see :func:`lake.compact.undo.as_known`.
        """
        files = self.files(topic)
        if {*known} <= {file.path for file in files}:
            return files
        pinned = self._pinned[tables.records(_BY_TOPIC[topic]).name]
        changed = {file.path for file in files if file.changed}
        return [
            _archive_file(pinned.table, file, deleted=file.file_path in changed)
            for file in as_known(pinned.table, pinned.snapshot_id, known)
        ]

    def stream(
        self, topic: str, columns: Sequence[str], partition: int, rows: int, after: int = -1
    ) -> Iterator[pl.DataFrame]:
        """Yield columns of one partition of an archived topic in offset order, ``rows`` rows at a time.

        Landings append sorted files, so that usually they need only be read one after the other, in little memory. If
        anything about the files is not so, the partition is read as a whole and sorted.

        Args:
            topic: an archived one.
            columns: to read.
            partition: of the topic.
            rows: how many at a time, at most.
            after: offset up to which nothing is asked for; whole files up to there are not opened.
        """
        its = [file for file in self.files(topic) if file.partition == partition and file.last > after]
        files = _in_turn(self._pinned[tables.records(_BY_TOPIC[topic]).name].table, its, columns)
        if files is None:
            whole = self.archive(topic, tuple(dict.fromkeys((*columns, "offset"))), partition)
            yield from whole.filter(pl.col("offset") > after).sort("offset").select(columns).iter_slices(rows)
            return
        for first, _, file in files:
            # A file that was put together after an earlier run may hold what that one has read.
            some = first <= after
            read = tuple(dict.fromkeys((*columns, "offset"))) if some else columns
            for batch in file.iter_batches(rows, columns=list(read), use_threads=False):
                frame = pl.from_arrow(batch)
                assert isinstance(frame, pl.DataFrame)  # noqa: S101 - for the type checker, as below
                if some:
                    frame = frame.filter(pl.col("offset") > after)
                    if frame.is_empty():
                        continue
                yield frame.select(columns)

    def records_at(self, topic: str, columns: Sequence[str], places: Sequence[tuple[int, int]]) -> pl.DataFrame:
        """Return columns of the records of an archived topic that stand at these (partition, offset)."""
        asked = pl.DataFrame(places, {"partition": pl.Int32, "offset": pl.Int64}, orient="row")
        whole = tuple(dict.fromkeys((*columns, "partition", "offset")))
        few = asked.height <= _FEW
        rows = In("offset", asked["offset"].unique().to_list()) if few else None
        found = self._read(tables.records(_BY_TOPIC[topic]).name, whole, rows)
        return found.join(asked, on=["partition", "offset"], how="semi").select(columns)

    def values_at(self, topic: str, places: pl.DataFrame) -> pl.DataFrame:
        """Return ``value`` of the records at these places (columns partition, offset), reading a little at a time."""
        schema = {"partition": pl.Int32(), "offset": pl.Int64(), "value": pl.String()}
        found = [self.some(topic, partition, schema, places) for partition in places["partition"].unique().to_list()]
        return pl.concat([pl.DataFrame(schema=schema), *found])

    def some(self, topic: str, partition: int, schema: Mapping[str, pl.DataType], wanted: pl.DataFrame) -> pl.DataFrame:
        """Return columns of those records of a partition that match ``wanted`` in its columns, a little at a time."""
        found = [pl.DataFrame(schema=schema)]
        for batch in self.stream(topic, tuple(schema), partition, _FEW):
            rows = batch.join(wanted, on=wanted.columns, how="semi")
            if not rows.is_empty():
                found.append(_alone(rows))
        return pl.concat(found)

    def facts(self) -> Facts:
        """Return what all systems say, of all days."""
        delivery_events = self.archive(topics.DELIVERY_EVENTS.name, facts.ARCHIVE_COLUMNS)
        # Three reads of few rows or columns each: all columns of all that came in would take the most memory of all.
        signed_up = self._read("kafka.customer_events", facts.SIGN_UP_COLUMNS, EqualTo("type", "NewCustomer"))
        said = self._read("kafka.customer_events", labels.COLUMNS, In("type", tuple(labels.WORDS)))
        return self.facts_with(
            streamed=facts.streamed(self.archive(topics.CUSTOMER_EVENTS.name, facts.ARCHIVE_COLUMNS)),
            sign_ups=facts.sign_ups(signed_up),
            words=labels.words(said),
            verdicts=facts.verdicts(self.archive(topics.FRAUD_VERDICTS.name, facts.ARCHIVE_COLUMNS)),
            deliveries=facts.deliveries(delivery_events),
            alarms=facts.alarms(delivery_events),
        )

    def facts_with(
        self,
        *,
        streamed: pl.DataFrame,
        sign_ups: pl.DataFrame,
        words: pl.DataFrame,
        verdicts: pl.DataFrame,
        deliveries: pl.DataFrame,
        alarms: pl.DataFrame,
    ) -> Facts:
        """Return what all systems say, given what the archived topics with many records say (see :class:`Facts`)."""
        shop = self._read("shop.orders", facts.SHOP_COLUMNS)
        charges = self._read("payments.charges", facts.CHARGE_COLUMNS)
        refunded = self._told(tables.REFUNDED, facts.REFUND_COLUMNS)
        disputed = disputes.of_orders(self._told(tables.DISPUTED, disputes.COLUMNS), charges, shop)
        return Facts(
            streamed=streamed,
            sign_ups=sign_ups,
            words=disputes.added(words, disputed),
            refunds=facts.refunds(refunded, charges),
            shop_refunds=self._told(tables.GIVEN_BACK, facts.SHOP_REFUND_COLUMNS),
            disputes=disputed,
            contacts=self._contacts(sign_ups),
            shipments=self._told(tables.SHIPPED, facts.SHIPMENT_COLUMNS),
            returned=facts.returned(self._read(tables.SETTLEMENT.name, facts.SETTLEMENT_COLUMNS)),
            policies=self.archive(topics.FRAUD_POLICIES.name, facts.POLICY_COLUMNS),
            verdicts=verdicts,
            deliveries=deliveries,
            alarms=alarms,
            shop=shop,
            charges=charges,
            shop_aside=facts.set_aside(self._quarantine("orders"), "$.sourceIdentifier", shop["order_id"]),
            charges_aside=facts.set_aside(self._quarantine("charges"), "$.metadata.order_id", charges["charge_id"]),
            refunds_aside=self._refunds_aside(refunded, charges),
        )

    def _told(self, name: str, columns: Sequence[str]) -> pl.DataFrame:
        """Return columns of a table that a reconciliation can do without; without its flow, it is empty."""
        if name in self._pinned:
            return self._read(name, columns)
        return pl.DataFrame(schema={column: _TYPES.get(column, pl.String()) for column in columns})

    def _contacts(self, sign_ups: pl.DataFrame) -> pl.DataFrame:
        """Return where contacts say something else than shop or stream; whole columns of tokens are never in memory."""
        if tables.KNOWN not in self._pinned:
            return pl.DataFrame(schema=contacts.SCHEMA)

        def known() -> Iterator[pl.DataFrame]:
            return self._batches(tables.KNOWN, contacts.COLUMNS)

        def sold() -> Iterator[pl.DataFrame]:
            return self._batches(tables.SOLD, contacts.SHOP_COLUMNS)

        some = contacts.suspects(known(), sold(), sign_ups)
        if some.is_empty():
            return pl.DataFrame(schema=contacts.SCHEMA)
        theirs = [
            pl.concat([batch.join(some, on="customer_id", how="semi") for batch in batches])
            for batches in (known(), sold())
        ]
        aside = facts.set_aside(self._quarantine("contacts"), "$.Customer_Id__c", theirs[0]["contact_id"])
        trusted = theirs[0].join(aside, left_on="customer_id", right_on="order_id", how="anti")
        return contacts.differing(trusted, theirs[1], sign_ups.join(some, on="customer_id", how="semi"))

    def _refunds_aside(self, refunded: pl.DataFrame, charges: pl.DataFrame) -> pl.DataFrame:
        if tables.REFUNDED not in self._pinned:
            return pl.DataFrame(schema={"order_id": pl.String})
        of_charges = facts.set_aside(self._quarantine("refunds"), "$.charge", refunded["refund_id"])
        return (
            of_charges.rename({"order_id": "charge_id"})
            .join(charges.select("charge_id", "order_id"), on="charge_id", how="inner")
            .select("order_id")
        )

    def _quarantine(self, name: str) -> pl.DataFrame:
        return self._read(f"quarantine.{name}", ("row_id", "row"))

    def _read(self, name: str, columns: Sequence[str], rows: BooleanExpression | None = None) -> pl.DataFrame:
        frame = pl.from_arrow(self._scan(name, columns, rows).to_arrow())
        assert isinstance(frame, pl.DataFrame)  # noqa: S101 - for the type checker: a table never makes a series
        return frame.select(columns)

    def _batches(self, name: str, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield columns of a table, file by file in batches."""
        for batch in self._scan(name, columns).to_arrow_batch_reader():
            frame = pl.from_arrow(batch)
            assert isinstance(frame, pl.DataFrame)  # noqa: S101 - for the type checker, as below
            yield frame.select(columns)

    def _scan(self, name: str, columns: Sequence[str], rows: BooleanExpression | None = None) -> DataScan:
        pinned = self._pinned[name]
        return pinned.table.scan(
            row_filter=AlwaysTrue() if rows is None else rows,
            selected_fields=tuple(columns),
            snapshot_id=pinned.snapshot_id,
        )


def _alone(few: pl.DataFrame) -> pl.DataFrame:
    """Return rows that do not hold on to those that they were chosen from: polars' text is a view of what was read."""
    return pl.DataFrame(few.to_dict(as_series=False), schema=few.schema)


def _in_turn(
    table: Table, files: Sequence[ArchiveFile], columns: Sequence[str]
) -> list[tuple[int, int, pq.ParquetFile]] | None:
    """Return files in the order of their offsets, each with its first and its last one.

    None if reading them in turn would not be the scan of them.
    """
    found: list[tuple[int, int, pq.ParquetFile]] = []
    for one in files:
        file = pq.ParquetFile(table.io.new_input(one.path).open(), pre_buffer=False)
        if one.changed or not {*columns} <= {*file.schema_arrow.names}:
            return None
        offsets = file.read(columns=["offset"], use_threads=False)["offset"].combine_chunks()
        if not len(offsets):
            continue
        if not pc.all(pc.less(offsets[:-1], offsets[1:]), min_count=0).as_py():
            return None
        found.append((offsets[0].as_py(), offsets[-1].as_py(), file))
    found.sort(key=lambda one: one[0])
    if any(last >= first for (_, last, _), (first, _, _) in pairwise(found)):
        return None
    return found


def _archive_file(table: Table, file: DataFile, *, deleted: bool) -> ArchiveFile:
    offset = table.schema().find_field("offset").field_id
    moved = len(table.specs()) > 1  # files of another partitioning bear other partitions
    return ArchiveFile(
        file.file_path,
        int(file.partition[0]),
        file.record_count,
        _bound(file.lower_bounds, offset, -1),
        _bound(file.upper_bounds, offset, _ENDLESS),
        moved or deleted,
    )


_ENDLESS = 2**63 - 1
_FEW = 2000
"""Offsets that a scan may name; looking for more of them costs more than reading all."""


def _bound(bounds: Mapping[int, bytes] | None, field: int, unknown: int) -> int:
    """Return a bound of a column of a file as Iceberg keeps it."""
    value = (bounds or {}).get(field)
    return unknown if value is None else int(from_bytes(LongType(), value))


def _ends(landed: pl.DataFrame, dags: str) -> tuple[date, date]:
    days = landed["day"]
    if days.is_empty():
        raise NothingLanded(f"no order has landed yet: run {dags} first")
    return days.min(), days.max()  # type: ignore[return-value]  # polars types them as any literal


def _pin(catalog: Catalog, spec: TableSpec, recorded: Mapping[str, int] | None) -> _Pinned:
    known = tables.ensure(catalog, spec)
    table = StaticTable(known.name(), known.metadata, known.metadata_location, known.io, NoopCatalog("pinned"))
    if recorded is None:
        snapshot = table.current_snapshot()
    elif spec.name in recorded:
        snapshot = table.snapshot_by_id(recorded[spec.name])
        if snapshot is None:
            raise SnapshotGone(f"{spec.name} has no snapshot {recorded[spec.name]} any more: it was expired")
    else:
        snapshot = None
    if snapshot is None:
        # A scan without a snapshot reads the current one, which may have come in since what was recorded.
        table.metadata = table.metadata.model_copy(update={"current_snapshot_id": None})
        return _Pinned(table, None, None)
    return _Pinned(table, snapshot.snapshot_id, datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC))

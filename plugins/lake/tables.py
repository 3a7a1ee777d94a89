"""The tables of the lake: their columns, how they are partitioned, what their rows mean.

Those of SaaS sources follow from the flow files (:func:`lake.landing.columns.table_of`); all others are declared here.
"""

import contextlib
from dataclasses import dataclass

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException, NamespaceAlreadyExistsError, TableAlreadyExistsError
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.transforms import IdentityTransform, MonthTransform, Transform
from pyiceberg.types import (
    BooleanType,
    DateType,
    IcebergType,
    IntegerType,
    LongType,
    NestedField,
    StringType,
    TimestamptzType,
)
from sqlalchemy.exc import IntegrityError, OperationalError
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from order_fraud.topics import ARCHIVED, Topic

TEXT, LONG, TIME, DAY = StringType(), LongType(), TimestamptzType(), DateType()

PROPERTIES = {
    "format-version": "2",
    "write.metadata.delete-after-commit.enabled": "true",  # old metadata.json files only: every snapshot stays readable
    "write.metadata.previous-versions-max": "20",
}


@dataclass(frozen=True, slots=True)
class TableSpec:
    """One table: its name in the catalog, its schema and its partitioning."""

    identifier: tuple[str, str]
    schema: Schema
    partitions: PartitionSpec = UNPARTITIONED_PARTITION_SPEC

    @property
    def name(self) -> str:
        """The name as people write it: ``namespace.table``."""
        return ".".join(self.identifier)


def _schema(*columns: tuple[str, IcebergType, str]) -> Schema:
    """Columns in their order; a ``?`` behind the name makes one optional."""
    return Schema(
        *(
            NestedField(place, name.rstrip("?"), kind, required=not name.endswith("?"), doc=doc)
            for place, (name, kind, doc) in enumerate(columns, start=1)
        )
    )


def _by(schema: Schema, column: str, transform: Transform, name: str) -> PartitionSpec:
    return PartitionSpec(PartitionField(schema.find_field(column).field_id, 1000, transform, name))


def _namespace_table(identifier: tuple[str, str], schema: Schema, column: str, transform: Transform) -> TableSpec:
    suffix = "" if isinstance(transform, IdentityTransform) else f"_{transform}"
    return TableSpec(identifier, schema, _by(schema, column, transform, f"by_{column}{suffix}"))


_RECORDS = _schema(
    ("partition", IntegerType(), "of the topic"),
    ("offset", LONG, "in the partition; gaps are transaction markers and aborted records"),
    ("timestamp", TIME, "the broker's clock; says nothing about the business"),
    ("key?", TEXT, "record key; an ip is masked"),
    ("type", TEXT, "event type"),
    ("event_id", TEXT, "deterministic id of the event"),
    ("subject", TEXT, "what the event is about: an order id or a customer id"),
    ("time", TIME, "business time"),
    ("day", DAY, "UTC day of time"),
    ("value", TEXT, "canonical event JSON, ip masked"),
)


def records(topic: Topic) -> TableSpec:
    """Return the archive of one topic: a row per record, partitioned like the topic, as a re-fold reads it."""
    name = topic.name.replace(".", "_").replace("-", "_")
    return _namespace_table(("kafka", name), _RECORDS, "partition", IdentityTransform())


FINDINGS = _namespace_table(
    ("reconciliation", "findings"),
    _schema(
        ("kind", TEXT, "which difference"),
        ("order_id", TEXT, "of the order concerned"),
        ("customer_id?", TEXT, "its customer, if known"),
        ("cause", TEXT, "why, in plain words"),
        ("evidence", TEXT, "JSON object: where to see it"),
        ("amount", LONG, "money at stake, minor units"),
        ("currency?", TEXT, "ISO 4217"),
        ("remedy", TEXT, "what the correction asks for"),
        ("day", DAY, "UTC business day of the order or payment"),
        ("run_id", TEXT, "the run that last saw it"),
        ("first_seen_run", TEXT, "the run that first saw it"),
        ("state?", TEXT, "open; remedied: found, but put right since; closed: a later run no longer found it"),
        ("closed_run?", TEXT, "the run that no longer found it"),
        ("as_of?", TIME, "how far the sources had been read by the run that last saw or closed it"),
    ),
    "day",
    MonthTransform(),
)
LABELS = _namespace_table(
    ("fraud", "labels"),
    _schema(
        ("order_id", TEXT, "of the order that the word is about; it need not have landed yet"),
        ("customer_id", TEXT, "its customer"),
        ("label", TEXT, "fraud or honest, as this word says; what an order is, SQL in decision 0081 gives"),
        ("source", TEXT, "event type: FraudConfirmed, FraudCleared, ChargebackOpened; Dispute: no event told of it"),
        ("event_id", TEXT, "deterministic id of the event, or dispute/ and the provider's id"),
        ("known_at", TIME, "business time of the event: nobody could know before"),
        ("day", DAY, "UTC day of known_at"),
        ("by?", TEXT, "who says so, as the event has it"),
        ("partition", IntegerType(), "of customer.events, where the event stands; -1 for a dispute"),
        ("offset", LONG, "in that partition; -1 for a dispute"),
    ),
    "day",
    MonthTransform(),
)

SETTLEMENT = _namespace_table(
    ("settlement", "steps"),
    _schema(
        ("order_id", TEXT, "of the order that is settled as fraud"),
        ("customer_id", TEXT, "its customer"),
        ("number", IntegerType(), "of the row among those of its order, from 0: the order in which they were written"),
        ("word", TEXT, "begun, done, refused or spent, of a step; withdrawn or reopened, of the order"),
        ("step?", TEXT, "which step; null for a word about the order"),
        ("undo", BooleanType(), "whether the step is being undone"),
        ("key?", TEXT, "idempotency key of the call"),
        ("evidence", TEXT, "JSON object: what the other side said"),
        ("cause", TEXT, "who says that the order is fraud"),
        ("known_at", TIME, "when that became known"),
        ("day", DAY, "UTC day of known_at"),
        ("at", TIME, "when the row was written"),
        ("run_id", TEXT, "the run that wrote it"),
    ),
    "day",
    MonthTransform(),
)

_QUARANTINE = _schema(
    ("quarantine_id", TEXT, "hash of origin, row and expectation: the same failure is kept once"),
    ("row_id?", TEXT, "the row's own id where it has one, topic/partition/offset for a record"),
    ("day?", DAY, "UTC business day of the row where it has one"),
    ("reason", TEXT, "what is wrong, in words"),
    ("expectation", TEXT, "which check failed"),
    ("origin", TEXT, "where the row came from"),
    ("row", TEXT, "the row as masked JSON; of an undecodable record only its length and sha256"),
    ("landed_at", TIME, "when it was set aside"),
    ("run_id", TEXT, "the run that set it aside"),
)


def quarantine(source: TableSpec) -> TableSpec:
    """Return the table that takes the failing rows of ``source``."""
    return TableSpec(("quarantine", source.identifier[1]), _QUARANTINE)


def of_source(identifier: tuple[str, str], *columns: tuple[str, IcebergType, str]) -> TableSpec:
    """Return the table of a SaaS source: its columns, a ``?`` behind the name of an optional one, ``day`` among them.

    It is partitioned by month of ``day``: few files, and the earlier version of a row lies where its new one does.
    """
    return _namespace_table(identifier, _schema(*columns), "day", MonthTransform())


TOPICS: tuple[TableSpec, ...] = tuple(records(topic) for topic in ARCHIVED)
"""The archives, in the order in which land_events fills them."""

SOLD, PAID = "shop.orders", "payments.charges"
RECONCILED = (SOLD, PAID)
"""The tables of SaaS sources that a reconciliation reads; ``dags/flows`` must land them with the columns it names."""

REFUNDED, DISPUTED, GIVEN_BACK, KNOWN = "payments.refunds", "payments.disputes", "shop.order_refunds", "crm.contacts"
SHIPPED = "carrier.shipments"
WITNESSES = (REFUNDED, DISPUTED, GIVEN_BACK, KNOWN, SHIPPED)
"""Further tables of SaaS sources that a reconciliation reads as far as they have landed. What only they can show is
not looked for without them."""

RESERVED = ("fraud", "kafka", "quarantine", "reconciliation", "settlement")
"""Namespaces that no source may land in."""


def widen(table: Table, spec: TableSpec) -> None:
    """Give a table the optional columns of ``spec`` that it lacks, empty in the rows that are there.

    Raises:
        CommitFailedException: somebody else changed the table meanwhile.
    """
    there = {field.name for field in table.schema().fields}
    lacking = [field for field in spec.schema.fields if field.name not in there and not field.required]
    if lacking:
        with table.update_schema() as update:
            for field in lacking:
                update.add_column(field.name, field.field_type, field.doc)


def ensure(catalog: Catalog, spec: TableSpec) -> Table:
    """Return the table, made first if the catalog has none; safe when several tasks do so at once.

    One that was made before an optional column was declared gets it.
    """
    table = as_made(catalog, spec)
    try:
        widen(table, spec)
    except CommitFailedException:  # somebody else was faster
        table.refresh()
    return table


@retry(
    # Tasks start side by side on an empty catalog; SQLite reports the lost race in either of these ways.
    retry=retry_if_exception_type((OperationalError, IntegrityError)),
    stop=stop_after_attempt(6),
    wait=wait_random_exponential(multiplier=0.05, max=2),
    reraise=True,
)
def as_made(catalog: Catalog, spec: TableSpec) -> Table:
    """Return the table with the columns that it was made with or given since; made first if the catalog has none."""
    if catalog.table_exists(spec.identifier):
        return catalog.load_table(spec.identifier)
    with contextlib.suppress(NamespaceAlreadyExistsError):
        catalog.create_namespace(spec.identifier[:1])
    try:
        return catalog.create_table(
            spec.identifier, schema=spec.schema, partition_spec=spec.partitions, properties=PROPERTIES
        )
    except TableAlreadyExistsError:
        return catalog.load_table(spec.identifier)

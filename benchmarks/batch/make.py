"""Makes the lake of a benchmark: generated orders, judged by the kernel, landed by the landing's own code.

``python -m benchmarks.batch.make ORDERS FOLDER`` (Airflow side; addresses from the environment). Into the lake go the
archived topics, as ``land_events`` writes them, the shop's orders and the provider's charges. Into FOLDER go flat
Parquet files of the same rows for the other contenders, the planted findings, a sample of signals, and the snapshots
that the archive had before the last day's worth of events.
"""

import json
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.batch.plan import planted, released_though_held
from lake import tables
from lake.catalog import open_catalog
from lake.landing.flows import folder as flows
from lake.landing.flows import tables_in
from lake.landing.kafka import ROWS_PER_COMMIT
from lake.landing.records import Batch
from lake.masking import Masker
from order_fraud import events, relay, topics
from order_fraud.events import (
    Delivery,
    DeliveryHeld,
    DeliveryReleased,
    Event,
    NewCustomer,
    NewOrder,
    NoFraudDetected,
    PossibleFraud,
)
from order_fraud.topics import ARCHIVED, Topic
from producers import book, patterns
from scorecards import PANEL

SEED = 1
ARRIVED = datetime(2026, 1, 1, tzinfo=UTC)
"""When the first record came in: after all business, so that none is still under way."""
SAMPLE_ONE_IN = 500
DAYS = 300
"""Days of the generated business on which much happens: the last ``1 / DAYS`` of all events count as a day's worth, and
land in a commit of their own."""
TOLD_S = 10.0


@dataclass(frozen=True, slots=True)
class Record:
    """A record as a Kafka client hands it over."""

    at: tuple[int, int, int]
    its_key: bytes
    its_value: bytes

    def partition(self) -> int:
        return self.at[0]

    def offset(self) -> int:
        return self.at[1]

    def timestamp(self) -> tuple[int, int]:
        return 1, self.at[2]

    def key(self) -> bytes:
        return self.its_key

    def value(self) -> bytes:
        return self.its_value


class Archive:
    """The archived topics, written as the landing writes them."""

    def __init__(self) -> None:
        self._catalog = open_catalog()
        self._mask = Masker("the benchmark's masking key")
        self._offsets: dict[tuple[str, int], int] = {}
        self._batches = {topic.name: Batch(topic, self._mask) for topic in ARCHIVED}
        self._clock = int(ARRIVED.timestamp() * 1000)

    def append(self, topic: Topic, key: str, event: Event) -> int:
        """Put an event on a topic, and return its partition."""
        partition = zlib.crc32(key.encode()) % topic.partitions
        offset = self._offsets.get((topic.name, partition), 0)
        self._offsets[topic.name, partition] = offset + 1 + (offset % 100 == 99)  # gaps, as transactions leave them
        self._clock += 1
        batch = self._batches[topic.name]
        batch.add(Record((partition, offset, self._clock), key.encode(), events.encode(event)))
        if len(batch) >= ROWS_PER_COMMIT:
            self._land(topic)
        return partition

    def finish(self) -> None:
        """Land what is left."""
        for topic in ARCHIVED:
            self._land(topic)

    def _land(self, topic: Topic) -> None:
        batch = self._batches[topic.name]
        if batch.rejected:
            raise RuntimeError(f"the landing refuses a record of the benchmark: {batch.rejected[0].reason}")
        table = tables.ensure(self._catalog, tables.records(topic))
        table.append(batch.to_arrow(table.schema().as_arrow()))
        self._batches[topic.name] = Batch(topic, self._mask)

    def snapshots(self) -> dict[str, int]:
        """Return the snapshot ids of the archived topics, by table."""
        loaded = {spec.name: tables.ensure(self._catalog, spec).current_snapshot() for spec in tables.TOPICS}
        return {name: snapshot.snapshot_id for name, snapshot in loaded.items() if snapshot is not None}

    def write(self, spec: tables.TableSpec, rows: pa.Table) -> None:
        """Put rows into a table of the lake."""
        table = tables.ensure(self._catalog, spec)
        table.append(rows.select(table.schema().column_names).cast(table.schema().as_arrow()))


@dataclass
class Flat:
    """Rows for one flat file and one table, column by column."""

    columns: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, **row: Any) -> None:
        for name, value in row.items():
            self.columns.setdefault(name, []).append(value)

    def table(self) -> pa.Table:
        return pa.table(
            {
                name: pa.array(values, pa.timestamp("us", "UTC")) if isinstance(values[0], datetime) else values
                for name, values in self.columns.items()
            }
        )


class World:
    """All systems at once: what each event leads to in each of them."""

    def __init__(self) -> None:
        self.archive = Archive()
        self.mask = Masker("the benchmark's masking key")
        self.shelves: dict[tuple[str, int], relay.Shelf] = {}
        self.events, self.verdicts, self.deliveries, self.shop, self.charges = (Flat() for _ in range(5))
        self.sample = Flat()
        self.planted: Counter[str] = Counter()
        self.place = 0

    def take(self, event: NewCustomer | NewOrder) -> None:
        """Let one event happen."""
        kind = planted(event.subject) if isinstance(event, NewOrder) else None
        if isinstance(event, NewOrder):
            self._sell(event, kind)
        if kind == "order-not-streamed":
            self.planted[kind] += 1
            return
        self._flat(event)
        self._relay(event, kind)

    def _flat(self, event: NewCustomer | NewOrder) -> None:
        self.place += 1
        data = event.data
        order = isinstance(event, NewOrder)
        self.events.add(
            place=self.place,
            order_id=data.order_id if order else None,
            customer_id=data.customer_id,
            time=event.time,
            amount=data.amount if order else None,
            currency=data.currency if order else None,
            device_id=data.device_id,
            ip=None if data.ip is None else self.mask(data.ip),
        )

    def _relay(self, event: NewCustomer | NewOrder, kind: str | None) -> None:
        """Let it run through all hops at once: each topic has the order in which the hop before worked."""
        partition = self.archive.append(topics.CUSTOMER_EVENTS, event.data.customer_id, event)
        hop: relay.Hop | None = relay.ROUTE[0]
        while hop is not None:
            shelf = self.shelves.setdefault((hop.entity, partition), relay.Shelf())
            onward = relay.step(hop, shelf, event, PANEL)
            if onward is None:
                return
            if isinstance(onward.event, NoFraudDetected | PossibleFraud):
                self._judged(onward.event, kind)
                return
            partition = self.archive.append(onward.topic, onward.key, onward.event)
            hop = next(one for one in relay.ROUTE if one.reads is onward.topic)

    def _judged(self, verdict: NoFraudDetected | PossibleFraud, kind: str | None) -> None:
        data = verdict.data
        if zlib.crc32(f"sample {data.order_id}".encode()) % SAMPLE_ONE_IN == 0:
            for name, value in data.signals.items():
                self.sample.add(order_id=data.order_id, signal=name, value=value)
        if kind == "verdict-missing":
            self.planted[kind] += 1
            return
        if kind == "verdict-not-reproducible":
            self.planted[kind] += 1
            verdict = msgspec.structs.replace(verdict, data=msgspec.structs.replace(data, score=data.score + 1))
        for _ in range(2 if kind == "verdict-repeated" else 1):
            self.archive.append(topics.FRAUD_VERDICTS, data.customer_id, verdict)
            self.verdicts.add(order_id=data.order_id, clear=isinstance(verdict, NoFraudDetected), time=verdict.time)
        self.planted["verdict-repeated"] += kind == "verdict-repeated"
        self._deliver(verdict, kind)

    def _deliver(self, verdict: NoFraudDetected | PossibleFraud, kind: str | None) -> None:
        data = verdict.data
        clear = isinstance(verdict, NoFraudDetected)
        released = clear or released_though_held(data.order_id)
        self.planted["released-without-clearance"] += released and not clear
        told = 1
        if clear and kind == "released-twice":
            self.planted[kind] += 1
            told = 2
        what, name = (DeliveryReleased, "released") if released else (DeliveryHeld, "held")
        for _ in range(told):
            event = what(
                id=f"delivery/{data.order_id}/{name}",
                source="/delivery",
                subject=data.order_id,
                time=verdict.time,
                data=Delivery(order_id=data.order_id, customer_id=data.customer_id, cause=f"verdict/{data.order_id}"),
            )
            self.archive.append(topics.DELIVERY_EVENTS, data.customer_id, event)
            self.deliveries.add(order_id=data.order_id, type=what.__name__, time=verdict.time)

    def _sell(self, event: NewOrder, kind: str | None) -> None:
        data = event.data
        money = {"amount": data.amount, "currency": data.currency}
        if kind == "order-not-sold":
            self.planted[kind] += 1
        else:
            self.shop.add(
                order_id=data.order_id, customer_id=data.customer_id, created_at=event.time, **money,
                financial_status="AUTHORIZED",
            )  # fmt: skip
        if kind == "payment-missing":
            self.planted[kind] += 1
            return
        if kind == "amount-differs":
            self.planted[kind] += 1
            money["amount"] += 100
        self._charge(data.order_id, event.time, **money)
        if kind == "payment-orphan":
            self.planted[kind] += 1
            self._charge(f"nobody's {data.order_id}", event.time, **money)

    def _charge(self, order_id: str, sold: datetime, amount: int, currency: str) -> None:
        self.charges.add(
            charge_id=f"ch_{order_id}", order_id=order_id, amount=amount, currency=currency,
            created_at=sold + timedelta(minutes=1), captured=False, status="succeeded",
        )  # fmt: skip

    def finish(self, folder: Path) -> None:
        """Land and write what is left."""
        self.archive.finish()
        day = {"shop": self.shop.table(), "charges": self.charges.table()}
        for name, rows in day.items():
            day[name] = rows.append_column("day", rows["created_at"].cast(pa.date32()))
        shop = day["shop"]
        masked = pa.nulls(shop.num_rows, pa.string())
        whole = shop.append_column("updated_at", shop["created_at"])
        whole = whole.append_column("email_token", masked).append_column("ip_token", masked)
        landed = tables_in(flows())
        self.archive.write(landed[tables.SOLD], whole)
        self.archive.write(landed[tables.PAID], day["charges"])
        flat = {
            "events": self.events.table(), "verdicts": self.verdicts.table(), "deliveries": self.deliveries.table(),
            "sample": self.sample.table(), **day,
        }  # fmt: skip
        for name, rows in flat.items():
            pq.write_table(rows, folder / f"{name}.parquet", compression="zstd")
        (folder / "planted.json").write_text(json.dumps(dict(self.planted)))


def _told(made: Iterator[tuple[str, NewCustomer | NewOrder]], total: int) -> Iterator[NewCustomer | NewOrder]:
    started = shown = monotonic()
    for place, (_, event) in enumerate(made):
        if not place % 1024 and monotonic() - shown > TOLD_S:
            shown = monotonic()
            print(f"made {place:,} of {total:,} events in {shown - started:.0f} s", flush=True)
        yield event


def main(orders: int, folder: Path) -> None:
    """Make everything."""
    folder.mkdir(parents=True, exist_ok=True)
    made = patterns.generate(orders, SEED)
    world = World()
    for number, event in enumerate(_told(book.events(made), len(made))):
        if number == len(made) - len(made) // DAYS:
            world.archive.finish()
            (folder / "before.json").write_text(json.dumps(world.archive.snapshots()))
        world.take(event)
    world.finish(folder)
    print(f"{orders:,} orders, {len(made):,} events; planted: {dict(world.planted)}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))

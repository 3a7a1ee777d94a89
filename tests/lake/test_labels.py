"""What was known of each order at which moment."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from pyiceberg.catalog import Catalog, load_catalog

from lake import labels
from order_fraud.events import ChargebackOpened, FraudCleared, FraudConfirmed
from order_fraud.topics import CUSTOMER_EVENTS, FRAUD_VERDICTS
from tests.lake.conftest import ROOT
from tests.lake.reconcile_world import START, World, feedback, full_traffic, order, sign_up
from tests.lake.test_reconcile_lake import land

DAY = timedelta(days=1)
FAR = datetime(2099, 12, 31, tzinfo=UTC)
DECISION = ROOT / "docs" / "decisions" / "0081-feedback-is-said-by-order.md"


def known(world: World, as_of: datetime, mature_days: int = 60) -> dict[str, tuple[str, datetime | None]]:
    records = world.archive(CUSTOMER_EVENTS.name, ("subject", *labels.COLUMNS))
    orders = records.filter(pl.col("type") == "NewOrder").select(pl.col("subject").alias("order_id"), "time")
    found = labels.labels(orders, labels.words(records), as_of, mature_days)
    return {row["order_id"]: (row["label"], row["known_at"]) for row in found.iter_rows(named=True)}


def test_silence_is_good_only_from_the_age_on() -> None:
    world = World().stream([sign_up("c", START), order("c-1", "c", START)])
    assert known(world, START) == {"c-1": ("unknown", None)}
    assert known(world, START + 60 * DAY - timedelta(seconds=1)) == {"c-1": ("unknown", None)}
    assert known(world, START + 60 * DAY) == {"c-1": ("good", START + 60 * DAY)}
    assert known(world, START, 0) == {"c-1": ("good", START)}
    assert known(world, START - DAY) == {}, "the order does not exist yet"


def test_last_word_known_by_then_counts() -> None:
    bought = order("c-1", "c", START)
    world = World().stream(
        [
            bought,
            feedback(FraudConfirmed, bought, START + 2 * DAY, "ann"),
            feedback(FraudCleared, bought, START + 5 * DAY, "bob"),
            feedback(ChargebackOpened, bought, START + 40 * DAY, "dp_1"),
        ]
    )
    assert known(world, START + DAY) == {"c-1": ("unknown", None)}
    assert known(world, START + 2 * DAY) == {"c-1": ("fraud", START + 2 * DAY)}
    assert known(world, START + 6 * DAY) == {"c-1": ("good", START + 5 * DAY)}, "a person's word needs no age"
    assert known(world, START + 400 * DAY) == {"c-1": ("fraud", START + 40 * DAY)}


def test_cleared_after_chargeback_is_good() -> None:
    bought = order("c-1", "c", START)
    cleared = feedback(FraudCleared, bought, START + 30 * DAY)
    world = World().stream([bought, feedback(ChargebackOpened, bought, START + 30 * DAY), cleared])
    assert known(world, START + 31 * DAY) == {"c-1": ("good", START + 30 * DAY)}, "at the same time, the later offset"


def test_word_may_land_before_its_order() -> None:
    bought = order("c-1", "c", START)
    word = feedback(ChargebackOpened, bought, START + DAY)
    world = World().stream([word])
    assert known(world, START + 2 * DAY) == {}
    world.append(CUSTOMER_EVENTS.name, "c", bought)
    assert known(world, START + 2 * DAY) == {"c-1": ("fraud", START + DAY)}


def test_word_that_came_twice_is_one_row() -> None:
    bought = order("c-1", "c", START)
    word = feedback(FraudConfirmed, bought, START + DAY, "ann")
    world = World().stream([bought, word, word])
    (row,) = labels.words(world.archive(CUSTOMER_EVENTS.name, labels.COLUMNS)).iter_rows(named=True)
    assert (row["order_id"], row["customer_id"], row["label"], row["source"]) == ("c-1", "c", "fraud", "FraudConfirmed")
    assert (row["event_id"], row["known_at"], row["by"]) == ("fraud-confirmed/c-1", START + DAY, "ann")


def test_event_of_the_future_is_no_word_and_moves_no_moment() -> None:
    """The stream refuses it, so nobody has heard of it."""
    bought = order("c-1", "c", START)
    world = World().stream([bought, feedback(FraudConfirmed, bought, FAR), order("c-2", "c", FAR)])
    records = world.archive(CUSTOMER_EVENTS.name, labels.COLUMNS)
    assert labels.words(records).is_empty()
    assert labels.latest(records) == START
    assert labels.latest(World().archive(CUSTOMER_EVENTS.name, labels.COLUMNS)) is None


def test_sql_of_the_decision_gives_people_the_labels_of_training_and_back_test() -> None:
    young = order("young-1", "young", START + 61 * DAY)
    twice = order("young-1", "other", START)  # judged twice: the first by time is the order
    charged, cleared = (order(f"c{n}-9", f"c{n}", START + 60 * DAY) for n in (1, 2))
    said = [feedback(ChargebackOpened, charged, START + 61 * DAY), feedback(FraudConfirmed, cleared, START + 61 * DAY)]
    said += [feedback(FraudCleared, cleared, START + 61 * DAY), feedback(ChargebackOpened, young, FAR)]
    world = World().stream([*full_traffic(), young, twice, charged, cleared, *said, order("far-1", "far", FAR)])
    records = world.archive(CUSTOMER_EVENTS.name, ("subject", *labels.COLUMNS))
    verdicts = world.archive(FRAUD_VERDICTS.name, ("subject", "time"))
    (sql,) = re.findall(r"```sql\n(.*?)```", DECISION.read_text(), re.DOTALL)
    context = pl.SQLContext(customer_events=records, fraud_verdicts=verdicts, labels=labels.words(records), eager=True)
    found = context.execute(sql.replace("kafka.", "").replace("fraud.", ""))
    orders = verdicts.group_by(pl.col("subject").alias("order_id")).agg(pl.col("time").min())
    as_of = labels.latest(records)
    assert as_of == START + 61 * DAY
    expected = labels.labels(orders, labels.words(records), as_of).select("order_id", "label")
    assert found.sort("order_id").equals(expected.sort("order_id"))
    assert set(found["label"]) == {"fraud", "good", "unknown"}


def test_what_makes_no_sense_is_refused() -> None:
    nothing = pl.DataFrame(schema={"order_id": pl.String, "time": pl.Datetime("us", "UTC")})
    said = labels.words(World().archive(CUSTOMER_EVENTS.name, labels.COLUMNS))
    assert labels.labels(nothing, said, START).is_empty()
    with pytest.raises(ValueError, match="no time zone"):
        labels.labels(nothing, said, datetime(2015, 1, 1))  # noqa: DTZ001 - that is what is refused
    with pytest.raises(ValueError, match="mature_days is -1"):
        labels.labels(nothing, said, START, -1)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = load_catalog("t", type="sql", uri=f"sqlite:///{tmp_path}/c.db", warehouse=f"file://{tmp_path}/w")
    yield opened
    opened.close()


def test_table_follows_what_has_landed(catalog: Catalog) -> None:
    assert labels.record(catalog, "nothing").rows == 0
    assert catalog.load_table("fraud.labels").current_snapshot() is None
    land(catalog, World().stream(full_traffic()))
    assert labels.record(catalog, "one").rows == 15
    table = catalog.load_table("fraud.labels")
    rows = pl.DataFrame(pl.from_arrow(table.scan().to_arrow()))
    assert dict(rows.group_by("source").len().iter_rows()) == {
        "FraudConfirmed": 6, "ChargebackOpened": 6, "FraudCleared": 3
    }  # fmt: skip
    assert labels.record(catalog, "two").rows == 0
    assert catalog.load_table("fraud.labels").current_snapshot() == table.current_snapshot(), "no news, no snapshot"
    later = order("x-1", "x", START)
    land(catalog, World().stream([feedback(FraudConfirmed, later, datetime(2015, 6, 1, tzinfo=UTC))]))
    assert labels.record(catalog, "three").rows == 1

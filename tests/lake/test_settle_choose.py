"""Who is settled, in which batches, with which flag at the end; and the ledger on the real store."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from pyiceberg.catalog import Catalog

from lake import tables
from lake.forms import names
from lake.settle import ledger as ledgers
from lake.settle.carry import carry_out
from lake.settle.case import Case, Evidence, Job, Line, Result
from lake.settle.choose import BadOrders, batches, choose, last_words
from lake.settle.flags import Flags
from lake.settle.ledger import Ledger
from lake.settle.summary import question, summarize
from order_fraud.settlement import FLAG_CUSTOMER, STEPS, STOP_DELIVERY, Entry, Step

DAY = datetime(2015, 3, 1, tzinfo=UTC)
SETTLED = [Entry("done", step, False, f"k/{step}") for step in STEPS]
UNDONE = [Entry("refused", STOP_DELIVERY, False, "k")]


def case(number: int, customer: str = "c", days: int = 0) -> Case:
    return Case(f"{number}-1", customer, DAY + timedelta(days=days), "a person confirmed the fraud")


def labels(*rows: tuple[int, str, int]) -> pl.DataFrame:
    """Words: the order's number, what it says, and after how many days."""
    sources = {"fraud": "FraudConfirmed", "honest": "FraudCleared", "back": "ChargebackOpened"}
    return pl.DataFrame(
        [
            {
                "order_id": f"{number}-1", "customer_id": "c", "label": "honest" if word == "honest" else "fraud",
                "source": sources[word], "known_at": DAY + timedelta(days=days), "by": None,
                "partition": 0, "offset": offset,
            }
            for offset, (number, word, days) in enumerate(rows)
        ],
        schema_overrides={"by": pl.String},
    )  # fmt: skip


def test_all_that_are_fraud_by_the_last_word_and_not_at_their_end_oldest_first() -> None:
    words = last_words(
        labels((1, "fraud", 3), (2, "back", 1), (3, "fraud", 0), (3, "honest", 2), (4, "fraud", 0), (5, "fraud", 0))
    )
    ledger = {"4-1": (case(4), SETTLED), "5-1": (case(5), UNDONE)}
    chosen = choose(words, ledger, [], 10)
    assert [one.order_id for one in chosen.cases] == ["2-1", "1-1"]
    assert [one.cause for one in chosen.cases] == [
        "the cardholder's bank opened a chargeback",
        "a person confirmed the fraud",
    ]
    assert (chosen.withdrawn, chosen.reopened, chosen.left) == ((), (), 0)
    few = choose(words, ledger, [], 1)
    assert ([one.order_id for one in few.cases], few.left) == (["2-1"], 1)


def test_an_order_under_way_goes_on_as_it_began_and_is_withdrawn_when_it_was_cleared() -> None:
    begun = [Entry("begun", STOP_DELIVERY, False, "k")]
    words = last_words(labels((1, "fraud", 0), (1, "back", 9), (2, "fraud", 0), (2, "honest", 5)))
    chosen = choose(words, {"1-1": (case(1), begun), "2-1": (case(2), begun)}, [], 10)
    assert chosen.cases == (case(1), case(2)), "with the time and the cause of its first word"
    assert chosen.withdrawn == (case(2),)


def test_named_orders_must_be_fraud_and_may_be_tried_again() -> None:
    words = last_words(labels((1, "fraud", 0), (2, "fraud", 0), (3, "honest", 0)))
    chosen = choose(words, {"1-1": (case(1), UNDONE)}, ["1-1"], 10)
    assert (chosen.cases, chosen.reopened) == ((case(1),), (case(1),))
    with pytest.raises(BadOrders, match=r"nothing has landed that says 9-1 is fraud; 3-1 was cleared as honest last"):
        choose(words, {}, ["9-1", "1-1", "3-1"], 10)


def test_the_form_takes_commas_spaces_and_lines() -> None:
    assert names(" 1-1, 2-1\n3-1  1-1,") == ["1-1", "2-1", "3-1"]
    assert names(None) == names("") == []


def test_orders_of_one_customer_stay_in_one_batch() -> None:
    cases = [case(number, f"c{number % 3}") for number in range(12)]
    found = list(batches(cases, 3))
    assert sorted(one.order_id for batch in found for one in batch) == sorted(one.order_id for one in cases)
    assert [{one.customer_id for one in batch} for batch in found] == [{"c0"}, {"c1"}, {"c2"}]
    assert list(batches([], 3)) == []


def test_the_question_shows_the_orders_and_what_cannot_be_taken_back() -> None:
    words = last_words(labels(*((number, "fraud", 0) for number in range(60))))
    asked = question(choose(words, {}, [], 100))
    assert asked["subject"] == "Settle 60 orders as fraud?"
    assert "cannot be taken back" in asked["body"]
    assert asked["body"].endswith("… and 10 more.")


def test_the_summary_counts_and_names_who_needs_a_person() -> None:
    stuck = [
        *SETTLED[:3],
        SETTLED[4],
        Entry("refused", "cancel-order", False, "k", {"reason": "the shop has no order 2-1"}),
    ]
    history = {"1-1": SETTLED, "2-1": stuck, "3-1": SETTLED[:1]}
    summary = summarize([case(1), case(2), case(3)], history, 7)
    assert summary.document["states"] == {"settled": 1, "needs-a-person": 1, "under-way": 1}
    assert summary.document["for_people"]["2-1"]["why"] == "cancel-order: the shop has no order 2-1"
    assert summary.unfinished == ("3-1",)
    assert summary.lines[0] == "1 needs-a-person, 1 settled, 1 under-way; 7 left for later runs"


# --- flags


class Crm:
    """Customers and their flags."""

    def __init__(self, **flags: str) -> None:
        self.flags = dict(flags)

    def contact(self, customer_id: str) -> tuple[str, str] | None:
        return (customer_id, self.flags[customer_id]) if customer_id in self.flags else None

    def set_flag(self, contact_id: str, flag: str) -> None:
        self.flags[contact_id] = flag


class Book:
    """A ledger in memory."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def add(self, lines: Sequence[Line]) -> None:
        self.lines += lines

    def read(self, order_ids: Iterator[str]) -> dict[str, list[Entry]]:
        return {one: [line.entry for line in self.lines if line.case.order_id == one] for one in order_ids}

    def of_customers(self, customer_ids: Sequence[str]) -> Mapping[str, Mapping[str, Sequence[Entry]]]:
        return {
            customer: self.read(line.case.order_id for line in self.lines if line.case.customer_id == customer)
            for customer in customer_ids
        }


def flag(book: Book, crm: Crm, *cases: Case) -> None:
    book.add([Line(one, Entry("done", STOP_DELIVERY, False, "k")) for one in cases])
    carry_out(book, cases, FLAG_CUSTOMER, Flags(crm, book))


def unflag(book: Book, crm: Crm, one: Case) -> None:
    book.add([Line(one, Entry("withdrawn"))])
    carry_out(book, [one], FLAG_CUSTOMER, Flags(crm, book), undo=True)


def test_the_flag_stays_up_until_the_last_order_of_the_customer_is_undone() -> None:
    book, crm = Book(), Crm(c="")
    flag(book, crm, case(1))
    flag(book, crm, case(2))
    unflag(book, crm, case(1))
    assert crm.flags["c"] == "confirmed"
    unflag(book, crm, case(2))
    assert crm.flags["c"] == ""


def test_the_flag_that_a_person_put_up_before_comes_back() -> None:
    book, crm = Book(), Crm(c="watched")
    flag(book, crm, case(1), case(2))
    unflag(book, crm, case(2))
    unflag(book, crm, case(1))
    assert crm.flags["c"] == "watched"


def test_a_customer_whom_the_crm_does_not_know_is_no_obstacle() -> None:
    book, crm = Book(), Crm()
    flag(book, crm, case(1))
    assert book.lines[-1].entry.evidence == {"note": "the CRM does not know the customer"}
    unflag(book, crm, case(1))
    assert crm.flags == {}


# --- the ledger on the real store


def line(number: int, word: str, step: Step = STOP_DELIVERY, said: Evidence | None = None) -> Line:
    return Line(case(number, f"c{number}"), Entry(word, step, False, f"settle/{number}-1/{step}", said or {}))  # type: ignore[arg-type]


def test_a_word_stands_in_the_ledger_once_and_in_its_place(lake: Catalog) -> None:
    one, other = Ledger(lake, "one"), Ledger(lake, "other")
    one.add([line(1, "begun"), line(2, "begun")])
    other.add([line(1, "begun"), line(1, "done", said={"event": "e"})])
    assert one.read(["1-1", "3-1"]) == {
        "1-1": [line(1, "begun").entry, line(1, "done", said={"event": "e"}).entry],
        "3-1": [],
    }
    assert one.of_customers(["c2", "c9"]) == {"c2": {"2-1": [line(2, "begun").entry]}, "c9": {}}
    assert one.everything()["1-1"][0] == case(1, "c1")
    rows = pl.DataFrame(pl.from_arrow(lake.load_table(tables.SETTLEMENT.identifier).scan().to_arrow()))
    assert sorted(rows.select("order_id", "number", "run_id").rows()) == [
        ("1-1", 0, "one"), ("1-1", 1, "other"), ("2-1", 0, "one"),
    ]  # fmt: skip


def test_tasks_that_write_at_once_lose_nothing_and_the_table_is_tidied(
    lake: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(number: int) -> None:
        mine = Ledger(lake, f"run-{number}")
        for step in STEPS[:3]:
            mine.add([line(number, "begun", step), line(0, "begun", step)])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(1, 5)))
    ledger = Ledger(lake, "after")
    before = ledger.everything()
    assert {order_id: len(entries) for order_id, (_, entries) in before.items()} == {
        f"{number}-1": 3 for number in range(5)
    }
    assert ledger.tidy() is False
    monkeypatch.setattr(ledgers, "MOST_FILES", 3)
    assert ledger.tidy() is True
    assert ledger.everything() == before
    assert sum(1 for _ in lake.load_table(tables.SETTLEMENT.identifier).scan().plan_files()) <= 2


def test_results_that_are_known_are_written_when_a_later_call_finds_no_order_can_be_served(lake: Catalog) -> None:
    class Port:
        def prepare(self, cases: Sequence[Case]) -> Mapping[str, Evidence]:
            return {}

        def act(self, jobs: Sequence[Job]) -> Iterator[Result]:
            yield Result(jobs[0], "done")
            raise PermissionError("the secret is not accepted")

    ledger = Ledger(lake, "run")
    with pytest.raises(PermissionError):
        carry_out(ledger, [case(1), case(2)], STOP_DELIVERY, Port())
    words = {order_id: [entry.word for entry in found] for order_id, found in ledger.read(["1-1", "2-1"]).items()}
    assert words == {"1-1": ["begun", "done"], "2-1": ["begun"]}

"""``make evaluate``: the stream of judged orders without leaks, and the command end to end on a generated set."""

import csv
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from evaluation import __main__ as command
from evaluation import picture, protocols
from evaluation.stream import Relay, Run
from lake.learn.metrics import recall_at
from order_fraud.events import NewCustomer, NewOrder, encode
from producers import book as books
from producers import orders_csv, patterns
from producers.book import Row, Sale
from scorecards import PANEL
from tests.lake.reconcile_world import World

START = datetime(2015, 1, 1, tzinfo=UTC)
MEASURES = {"auc", "average_precision", "recall_at_1pct_fpr", "recall_at_01pct_fpr", "orders", "fraud"}


def row(user: int, hours: float, truth: str, device: str = "D") -> Row:
    return Row(
        line=user, user_id=str(user), signup_time=START, purchase_time=START + timedelta(hours=hours), amount=1000,
        device_id=device, source="Ads", browser=None, ip=None, truth=truth,
    )  # fmt: skip


def test_word_of_an_order_reaches_the_histories_after_the_delay_and_not_before() -> None:
    truths = [(1, 0, "fraud"), (2, 47.9, "normal"), (3, 48, "normal"), (4, 49, "normal")]
    book = books.book([row(user, hours, truth) for user, hours, truth in truths])
    judged = list(Run(book, Relay(PANEL), timedelta(days=2)).judge())
    assert [one.verdict.signals.get("device.frauds") for one in judged] == [None, None, 1, 1]
    assert [one.known_at - one.time for one in judged] == [timedelta(days=2)] * 4
    silent = list(Run(book, Relay(PANEL), timedelta(days=2), tell=lambda sale: False).judge())
    assert [one.verdict.signals.get("device.frauds") for one in silent] == [None] * 4


def test_labels_change_nothing_before_they_arrive() -> None:
    """Were every order honest, all that is judged before the first word comes would be judged the same."""
    rows = patterns.rows(600, seed=11)
    honest = [replace(one, truth="normal") for one in rows]
    delay = timedelta(days=30)
    as_it_is = list(Run(books.book(rows), Relay(PANEL), delay).judge())
    as_if = list(Run(books.book(honest), Relay(PANEL), delay).judge())
    first = min(one.known_at for one in as_it_is)
    early = [(one.verdict, other.verdict) for one, other in zip(as_it_is, as_if, strict=True) if one.time < first]
    assert len(early) > 20
    assert all(one == other for one, other in early)
    assert any(one.verdict != other.verdict for one, other in zip(as_it_is, as_if, strict=True))


def test_the_relay_in_one_process_judges_as_the_hops_do() -> None:
    """The same bytes as when each hop takes all of its topic, partition by partition, before the next hop starts."""
    # All events visit the same hops: one that skips a hop overtakes others, on the broker as in that world.
    rows = [replace(one, card=None, email_domain=None, address=None) for one in patterns.rows(400, seed=12)]
    book = books.book(one for one in rows if one.device_id and one.ip)
    relay = Relay(PANEL)
    direct = [answer for _, event in books.events(book) if (answer := relay.send(event)) is not None]
    incoming = [event for _, event in books.events(book) if isinstance(event, NewCustomer | NewOrder)]
    world = World().stream(incoming)
    archived = {row["subject"]: row["value"].encode() for row in world.topics["fraud.verdicts"]}
    assert {one.subject: encode(one) for one in direct} == archived


def test_models_judge_only_what_comes_after_what_they_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    book = patterns.generate(1_500, seed=13)
    learned_at: list[tuple[datetime, int]] = []
    real = protocols.Learners.learn

    def watched(self: protocols.Learners, moment: datetime, version: str) -> None:
        known = protocols.Orders.known(self._orders, moment)
        if len(known.known_at):
            assert known.known_at.max() <= moment.timestamp()
        learned_at.append((moment, len(known.fraud)))
        real(self, moment, version)

    monkeypatch.setattr(protocols.Learners, "learn", watched)
    done = protocols.prequential(book, timedelta(days=14), timedelta(days=30), lambda n: None)
    assert len(done.judged) == len(book.sales) == len(done.scores["learned"])
    assert [moment for moment, _ in learned_at] == sorted(moment for moment, _ in learned_at)
    for moment, known in learned_at:
        assert known == sum(one.time + timedelta(days=14) <= moment for one in done.judged)
    versions = {one.verdict.shadows[0].scorecard_version for one in done.judged if one.verdict.shadows}
    assert len(versions) >= 4
    for one in done.judged:
        for shadow in one.verdict.shadows:
            assert shadow.scorecard_version <= f"learned-{one.time:%Y-%m-%d}"


def test_no_word_of_the_last_fifth_is_ever_told() -> None:
    told: list[Sale] = []
    book = patterns.generate(1_000, seed=14)
    done = protocols.time_split(book, timedelta(days=14), lambda n: told.append(book.sales[0]) if n else None)
    assert [one.sale for one in done.judged] == list(book.sales[800:])
    assert {len(scores) for scores in done.scores.values()} == {200}
    assert len(told) == 1_000
    late = {one.sale.row.device_id for one in done.judged if one.fraud} - {
        sale.row.device_id for sale in book.sales[:800]
    }
    again = [one for one in done.judged if one.sale.row.device_id in late]
    assert again
    assert not [one for one in again if "device.frauds" in one.verdict.signals]


@pytest.mark.timeout(900)
def test_command_measures_a_generated_set_and_stores_the_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "made" / "evaluate.json"
    drawn = tmp_path / "picture.svg"
    options = ["--generate", "3000", "--seed", "5", "--refit", "30", "--output", str(output), "--picture", str(drawn)]
    assert command.main(options) == 0
    figures = json.loads(output.read_bytes())
    assert list(figures) == ["hand_set", "learned", "boosted_raw", "boosted_signals"]
    for protocols_ in figures.values():
        assert {name: set(found) for name, found in protocols_.items()} == {
            "prequential": MEASURES,
            "time_split_80_20": MEASURES,
        }
        assert protocols_["prequential"]["orders"] == 3000
        assert protocols_["time_split_80_20"]["orders"] == 600
    assert figures["learned"]["prequential"]["auc"] > 0.9
    assert figures["learned"]["time_split_80_20"]["recall_at_1pct_fpr"] > 0.8
    detail = json.loads(output.with_name("evaluate-detail.json").read_bytes())
    assert detail["settings"]["seed"] == 5
    kinds = detail["patterns"]["prequential"]
    assert set(kinds) == set(patterns.PATTERNS)
    assert sum(found["orders"] for found in kinds.values()) == figures["learned"]["prequential"]["fraud"]
    months = detail["months"]["prequential"]
    assert sum(found["learned"]["orders"] for found in months.values()) == 3000
    assert detail["learned"]["prequential"]["lines"]
    assert "learned scorecard" in drawn.read_text()
    printed = capsys.readouterr().out
    for word in ("prequential", "time_split_80_20", "boosted_signals", "card-testing", "2015-02", str(output)):
        assert word in printed.replace("\n", "")


@pytest.mark.parametrize("column", ["class", None])
def test_orders_without_labels_are_refused_with_their_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], column: str | None
) -> None:
    path = tmp_path / "orders.csv"
    with path.open("w", newline="") as stream:
        orders_csv.write(patterns.rows(50, seed=1), stream)
    with path.open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    if column:
        for line in lines:
            del line[column]
    else:
        lines[6]["class"] = ""
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    assert command.main(["--orders", str(path), "--output", str(tmp_path / "evaluate.json")]) == 2
    assert f"error: line {2 if column else 8}: it is not known whether order" in capsys.readouterr().err


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.2])
def test_the_picture_shows_at_each_rate_what_the_table_says(rate: float) -> None:
    chance = np.random.default_rng(4)
    fraud = chance.random(500) < 0.2
    score = np.floor(chance.random(500) * 9 + fraud)
    rates, found = picture.curve(fraud, score)
    assert (rates[-1], found[-1]) == (1, 1)
    assert found[np.searchsorted(rates, rate, side="right") - 1] == pytest.approx(recall_at(fraud, score, rate))


def test_orders_that_cannot_be_read_are_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--orders", str(tmp_path / "none.csv"), "--output", str(tmp_path / "evaluate.json")]) == 2
    assert "none.csv" in capsys.readouterr().err


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--help"])
    said = capsys.readouterr().out
    for word in ("make evaluate ORDERS=", "prequential", "time_split_80_20", "--delay", "exit codes"):
        assert word in said

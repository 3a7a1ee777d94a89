"""The command on a real broker: what it publishes, what it refuses and why, and that two at a time cannot both win."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient  # type: ignore[attr-defined]

from lake import policies
from lake.landing.broker import reader
from order_fraud import topics
from order_fraud.events import MAX_POLICY_BYTES, Activation
from order_fraud.policies import Policies, record
from order_fraud.policy import encode
from order_fraud.scorecard import ListEntry
from producers import policy
from scorecards import SCORECARD
from stack import Ports, Stack
from tests.streams.policy_orders import scorecard
from tests.streams.witness import read

BUNDLED = SCORECARD.version


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker of its own; each test has versions of its own on it."""
    with Stack(tmp_path_factory.mktemp("stack"), ports=Ports.free(), parts=("kafka", "topics")) as running:
        yield running.env["COUNTERSIGN_KAFKA"]


class Command:
    """Runs the command in this process."""

    def __init__(self, broker: str, capsys: pytest.CaptureFixture[str]) -> None:
        self._broker, self._capsys = broker, capsys

    def __call__(self, *arguments: object, code: int = policy.ALL_WELL) -> str:
        """Return what it said; on standard error if it is to fail."""
        self._capsys.readouterr()
        found = policy.main(["--bootstrap", self._broker, *map(str, arguments)])
        said = self._capsys.readouterr()
        assert found == code, said
        return said.out if code == policy.ALL_WELL else said.err


@pytest.fixture
def command(broker: str, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(broker, capsys)


def written(folder: Path, name: str, number: int = 1) -> Path:
    path = folder / f"{name}.json"
    path.write_bytes(encode(scorecard(name, number)))
    return path


def test_nobody_chosen_the_bundled_one_judges_and_its_activation_publishes_it(command: Command, broker: str) -> None:
    assert command("list").startswith(f"nobody was activated: version {BUNDLED} judges, which comes with the code\n")
    command("activate", BUNDLED, "--owner", "ann", "--reason", "to have it said")
    said = command("list").splitlines()
    assert said[0].startswith(f"version {BUNDLED} judges since ")
    assert said[0].endswith("(ann: to have it said)")
    assert [message.key() for message in read(broker, topics.FRAUD_POLICIES)] == [
        f"policy/{BUNDLED}".encode(),
        b"active",
    ]
    assert command("publish", "--bundled") == f"version {BUNDLED} is there already\n"


def test_a_scorecard_goes_its_way_from_a_file_to_the_bench(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(command("show", BUNDLED).replace(f'"version": "{BUNDLED}"', '"version": "mine"'))
    document = json.loads(path.read_text())
    document["lines"][3]["bins"][1]["points"] = 45
    path.write_text(json.dumps(document))
    assert command("check", path).startswith(f"{path}: version mine: 6 signals, 12 bins, 0 rules")
    assert command("publish", path) == "version mine is published and judges nothing yet\n"
    assert command("publish", path) == "version mine is there already\n"
    assert (
        command("diff", BUNDLED, "mine") == "signal device.customers, bin device-shared: 50 points becomes 45 points\n"
    )
    assert command("diff", "mine", "mine") == "nothing that could change a judgement\n"
    assert json.loads(command("show", "mine")) == document
    said = command("activate", BUNDLED, "--shadow", "mine", "--owner", "ann", "--reason", "on trial")
    assert said == f"version {BUNDLED} judges from every worker's next transaction on, mine on trial\n"
    roles = {line.split()[0]: line.split()[1] for line in command("list").splitlines()[2:]}
    assert (roles[BUNDLED], roles["mine"]) == ("active", "on")
    command("activate", "mine", "--owner", "ann", "--reason", "well done")
    assert command("list").startswith("version mine judges since ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "Input data was truncated"),
        (encode(SCORECARD).replace(b'"bands"', b'"bonds"'), "Object contains unknown field `bonds`"),
        (encode(SCORECARD).replace(b'"signal":"ip.', b'"signal":"io.'), "there is no signal 'io.customers'"),
    ],
)
def test_a_bad_file_is_named_with_its_fields(
    command: Command, broker: str, tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    before = len(read(broker, topics.FRAUD_POLICIES))
    for what in ("check", "publish"):
        said = command(what, path, code=policy.BAD_INPUT)
        assert f"error: {path}: {message}" in said
    assert len(read(broker, topics.FRAUD_POLICIES)) == before


def test_all_errors_of_a_file_are_told_each_on_a_line(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(encode(SCORECARD).replace(b'"signal":"ip.', b'"signal":"io.').replace(b'"from":50', b'"from":500'))
    said = command("check", path, code=policy.BAD_INPUT).splitlines()
    assert [line.rsplit(" - at ", 1)[1] for line in said] == ["`$.lines[4].signal`", "`$.lines[5].signal`", "`$.bands`"]


def test_what_cannot_be_is_refused_and_nothing_is_written(command: Command, broker: str, tmp_path: Path) -> None:
    command("publish", written(tmp_path, "fixed"))
    before = len(read(broker, topics.FRAUD_POLICIES))
    said = command("publish", written(tmp_path, "fixed", 2), code=policy.REFUSED)
    assert "version 'fixed' exists with other content: give the changed scorecard a new one" in said
    for name in ("activate", "show"):
        options = ("--owner", "ann", "--reason", "x") if name == "activate" else ()
        assert "version 'nobody' was never published" in command(name, "nobody", *options, code=policy.REFUSED)
    twice = ("activate", "fixed", "--shadow", "fixed", "--owner", "ann", "--reason", "x")
    assert "a version is named twice" in command(*twice, code=policy.REFUSED)
    many = [part for number in range(5) for part in ("--shadow", f"s{number}")]
    said = command("activate", "fixed", *many, "--owner", "ann", "--reason", "x", code=policy.BAD_INPUT)
    assert "Expected `array` of length <= 4 - at `$.shadows`" in said
    assert "No such file" in command("publish", tmp_path / "nothing.json", code=policy.BAD_INPUT)
    assert len(read(broker, topics.FRAUD_POLICIES)) == before


def test_a_code_keeps_its_signal_in_every_version(command: Command, broker: str, tmp_path: Path) -> None:
    document = json.loads(encode(scorecard("codes", 1)))
    path = tmp_path / "codes.json"

    def publish(name: str, code: int = policy.ALL_WELL) -> str:
        path.write_text(json.dumps(document | {"version": name}))
        return command("publish", path, code=code)

    publish("codes")
    document["lines"][0]["bins"][0] |= {"points": 7, "high": 1}
    publish("codes-moved")
    document["lines"][0]["signal"] = "ip.customers"
    document["rules"][0]["when"].append({"signal": "ip.customers", "low": 1})
    before = len(read(broker, topics.FRAUD_POLICIES))
    said = publish("codes-turned", code=policy.REFUSED).splitlines()
    assert [line.rsplit(" - at ", 1)[1] for line in said] == [
        "`$.lines[0].bins[0].code`",
        "`$.lines[0].bins[1].code`",
        "`$.lines[0].bins[2].code`",
        "`$.rules[0].code`",
    ]
    assert said[0].startswith("error: code 'alone' is of a bin of ip.customers, and in version '")
    assert "' of a bin of device.customers: give it another - at `" in said[0]
    assert "'party' is of a rule on device.customers and ip.customers" in said[3]
    assert len(read(broker, topics.FRAUD_POLICIES)) == before
    document["lines"][0]["signal"], document["rules"] = "device.customers", []
    document["lines"][0]["bins"][1]["code"] = "party"
    assert "'party' is of a bin of device.customers, and in version" in publish("codes-swapped", code=policy.REFUSED)


def test_a_list_of_ips_that_the_lake_could_not_read_is_refused(command: Command, broker: str, tmp_path: Path) -> None:
    """The record itself is short enough; with masked ips it is not."""
    entries = tuple(
        ListEntry(code=f"b{n}", effect="block", entity="ip", value=f"10.{n >> 8}.0.{n & 255}", reason="bot", owner="x")
        for n in range(8_000)
    )
    long = msgspec.structs.replace(SCORECARD, version="long", lists=entries)
    assert len(encode(long)) < MAX_POLICY_BYTES
    path = tmp_path / "long.json"
    path.write_bytes(encode(long))
    before = len(read(broker, topics.FRAUD_POLICIES))
    said = command("publish", path, code=policy.REFUSED)
    assert "once each ip on its lists is masked for the lake" in said
    assert "leave out list entries that have ended, or shorten their reasons" in said
    assert len(read(broker, topics.FRAUD_POLICIES)) == before


def test_of_two_who_publish_one_version_at_once_only_one_can(broker: str) -> None:
    for attempt in range(3):
        outcomes: list[object] = []

        def publish(number: int, name: str, outcomes: list[object] = outcomes) -> None:
            try:
                policies.publish(broker, scorecard(name, number), datetime.now(UTC))
                outcomes.append(number)
            except (policies.PolicyRefused, policies.NotPublished) as error:
                outcomes.append(error)

        threads = [threading.Thread(target=publish, args=(number, f"race-{attempt}")) for number in (1, 2, 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        won = [one for one in outcomes if isinstance(one, int)]
        found = [
            message for message in read(broker, topics.FRAUD_POLICIES) if message.key() == b"policy/race-%d" % attempt
        ]
        assert len(outcomes) == 3
        assert len(won) == len(found) == 1, outcomes
        assert policies.read(broker).scorecards[f"race-{attempt}"] == scorecard(f"race-{attempt}", won[0])


def test_a_task_that_is_tried_again_with_its_time_changes_nothing(broker: str) -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    made, chosen = scorecard("again", 1), Activation(active="again", shadows=(BUNDLED,), owner="dag", reason="approved")
    assert policies.publish(broker, made, at)
    assert policies.activate(broker, lambda known: chosen, at).new
    before = len(read(broker, topics.FRAUD_POLICIES))
    assert not policies.publish(broker, made, at)
    assert not policies.publish(broker, made, datetime(2026, 3, 2, tzinfo=UTC))
    assert not policies.activate(broker, lambda known: chosen, at).new
    assert not policies.activate(broker, lambda known: None, at).new
    assert len(read(broker, topics.FRAUD_POLICIES)) == before
    alone = msgspec.structs.replace(chosen, shadows=())
    done = policies.activate(broker, lambda known: alone, at)
    assert [judge.version for judge in done.before.panel.shadows] == [BUNDLED]
    assert policies.read(broker).panel.shadows == done.after.panel.shadows == ()


def test_what_is_chosen_from_is_what_holds_when_it_is_written(broker: str) -> None:
    """Another activation between choosing and writing is not undone: the one who chose is fenced off instead."""
    for name in ("first", "second"):
        policies.publish(broker, scorecard(name, 1), datetime.now(UTC))
    hurried = Activation(active="second", owner="bob", reason="now")
    seen: list[str] = []

    def slowly(known: Policies) -> Activation:
        seen.append(known.panel.active.version)
        if len(seen) == 1:
            policies.activate(broker, lambda _: hurried, datetime.now(UTC))
        return Activation(active="first", shadows=(seen[-1],), owner="ann", reason="thought over")

    with pytest.raises(policies.NotPublished, match="run it again"):
        policies.activate(broker, slowly, datetime.now(UTC))
    assert policies.read(broker).panel.active.version == "second"
    panel = policies.activate(broker, slowly, datetime.now(UTC)).after.panel
    assert (panel.active.version, [judge.version for judge in panel.shadows]) == ("first", ["second"])


def test_what_the_choice_raises_is_raised_and_nothing_is_written(broker: str) -> None:
    before = len(read(broker, topics.FRAUD_POLICIES))

    def never(known: Policies) -> Activation:
        raise RuntimeError("another one judges by now")

    with pytest.raises(RuntimeError, match="by now"):
        policies.activate(broker, never, datetime.now(UTC))
    assert len(read(broker, topics.FRAUD_POLICIES)) == before


def test_what_was_written_is_read_by_whoever_reads_next(broker: str) -> None:
    """The broker confirms a commit a moment before readers get past it: one in ten would not have seen it."""
    place = TopicPartition(topics.FRAUD_POLICIES.name, 0)
    anything = Consumer({"bootstrap.servers": broker, "group.id": "x", "isolation.level": "read_uncommitted"})
    with reader(broker) as committed, anything:
        for number in range(25):
            chosen = Activation(active=BUNDLED, owner="ann", reason=str(number))
            policies.activate(broker, lambda known, chosen=chosen: chosen, datetime.now(UTC))
            readable = committed.get_watermark_offsets(place, timeout=10)[1]
            assert readable == anything.get_watermark_offsets(place, timeout=10)[1], f"activation {number}"


def test_without_broker_or_topic_it_says_so(command: Command, broker: str, tmp_path: Path) -> None:
    lost = Command("127.0.0.1:1", command._capsys)
    assert "no Kafka broker answers at 127.0.0.1:1" in lost("list", code=policy.NO_BROKER)
    assert lost("check", written(tmp_path, "fine")).startswith(str(tmp_path)), "checking asks no broker"
    admin = AdminClient({"bootstrap.servers": broker, "log_level": 0})
    admin.delete_topics([topics.FRAUD_POLICIES.name])[topics.FRAUD_POLICIES.name].result(30)
    with pytest.raises(policies.NotPublished, match=r"were the topics made \(python -m streams.admin create\)"):
        policies.publish(broker, scorecard("late", 1), datetime.now(UTC))
    assert f"has no topic {topics.FRAUD_POLICIES.name}" in command("list", code=policy.NO_BROKER)


def test_the_key_of_a_record_is_that_of_the_registry() -> None:
    assert topics.FRAUD_POLICIES.key == "policy/<version>, or active"
    assert record(policies.policies.publication(SCORECARD, datetime.now(UTC)))[0] == f"policy/{BUNDLED}".encode()

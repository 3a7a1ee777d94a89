"""Records sent again: repaired and judged once, selected exactly, copied byte for byte, never twice by accident."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from order_fraud import events, topics
from order_fraud.topics import Topic
from producers import replay
from stack.site import ROOT
from tests.streams.conftest import Workers
from tests.streams.witness import read, subjects, wait_for

HOUR = int(time.time()) // 3600 * 3600 * 1000 - 3_600_000
"""A full hour that is not so long ago that retention would take what it dates."""

Record = tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]], int]


def produce(bootstrap: str, topic: str, records: list[Record]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random"})
    for key, value, headers, timestamp in records:
        producer.produce(topic, value, key, headers=headers, timestamp=timestamp)
    assert producer.flush(30) == 0


def letters(bootstrap: str, values: dict[str, bytes | None], reason: str, topic: str) -> None:
    """Put dead letters on their topic as a service would."""
    said = [("reason", reason.encode()), ("topic", topic.encode()), ("partition", b"0"), ("offset", b"0")]
    produce(
        bootstrap, topics.DEAD_LETTERS.name, [(key.encode(), value, [*said], HOUR) for key, value in values.items()]
    )


def iso(timestamp: int, zone: tzinfo = UTC) -> str:
    return datetime.fromtimestamp(timestamp / 1000, zone).isoformat()


def own_topic(bootstrap: str, name: str, partitions: int = 4) -> Topic:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result(15)
    wait_for(lambda: name in admin.list_topics(timeout=10).topics)
    return Topic(name=name, key="", writers={}, readers=(), description="", partitions=partitions)


def run(bootstrap: str, *arguments: str | Path) -> int:
    return replay.main([*map(str, arguments), "--bootstrap", bootstrap])


def order(order_id: str, **changes: object) -> bytes:
    data = {"order_id": order_id, "customer_id": order_id, "amount": 100, "currency": "EUR"} | changes
    time = datetime(2026, 1, 2, tzinfo=UTC)
    return events.encode(
        events.NewOrder(id=f"order/{order_id}", source="/t", subject=order_id, time=time, data=events.Order(**data))
    )


def test_poison_is_exported_repaired_imported_and_judged_once(
    bootstrap: str, workers: Workers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"mended-{number}" for number in range(3)]
    started = iso(int(time.time() * 1000))
    poison = {name: order(name).replace(b'"EUR"', b'"eur"') for name in names}
    produce(bootstrap, topics.CUSTOMER_EVENTS.name, [(n.encode(), v, [], 0) for n, v in poison.items()])
    workers.start(1)
    wait_for(lambda: set(poison.values()) <= {m.value() for m in read(bootstrap, topics.DEAD_LETTERS)})

    file, mended = tmp_path / "letters.jsonl", tmp_path / "mended.jsonl"
    select = ("--reason", r"currency", "--origin", topics.CUSTOMER_EVENTS.name, "--from", started)
    assert run(bootstrap, *select, "--dry-run") == replay.ALL_WELL
    said = capsys.readouterr().err
    assert "would be refused again: 3 x " in said
    assert "at `$.data.currency`" in said
    assert run(bootstrap, *select, "--export", file) == replay.ALL_WELL
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert sorted(line["key"] for line in lines) == names
    for line in lines:
        assert line["value"].encode() == poison[line["key"]]
        line["value"] = line["value"].replace('"eur"', '"EUR"')
    mended.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    before = int(time.time() * 1000)
    for _ in range(2):
        assert run(bootstrap, "--import", mended) == replay.ALL_WELL
    assert "0 records sent, 3 had been sent before" in capsys.readouterr().out

    wait_for(lambda: subjects(bootstrap, topics.DELIVERY_EVENTS, "mended-").keys() >= set(names))
    assert subjects(bootstrap, topics.FRAUD_VERDICTS, "mended-") == Counter(names)
    sent = {m.key().decode(): m for m in read(bootstrap, topics.CUSTOMER_EVENTS) if m.value() in map(order, names)}
    for line in lines:
        place = line["from"]
        origin = f"{place['topic']}/{place['partition']}/{place['offset']}"
        assert sent[line["key"]].headers() == [("replayed-from", origin.encode())]
        assert sent[line["key"]].timestamp()[1] >= before, "it is new to Kafka"


def test_a_window_goes_to_another_topic_byte_for_byte(bootstrap: str) -> None:
    source, copy = own_topic(bootstrap, "replay.source"), own_topic(bootstrap, "replay.copy", 2)
    odd: list[tuple[bytes | None, bytes | None]] = [(b"\xff", b"\x00\xfe"), (b"k", None), (b"", b""), (b"k", b"{}")]
    headers: list[tuple[str, bytes | None]] = [("trace", b"\xfe"), ("none", None), ("trace", b"twice")]
    records = [(*odd[number % 4], headers, HOUR + number * 1000) for number in range(40)]
    produce(bootstrap, source.name, records)
    east = timezone(timedelta(hours=1))
    window = ("--from", iso(HOUR + 10_000).removesuffix("+00:00"), "--to", iso(HOUR + 30_000, east))
    assert run(bootstrap, "--topic", source.name, *window, "--to-topic", copy.name, "--keep-time") == replay.ALL_WELL

    def content(topic: Topic) -> dict[bytes | None, list[tuple[object, ...]]]:
        """By key, in their order."""
        found: dict[bytes | None, list[tuple[object, ...]]] = {}
        for m in read(bootstrap, topic):
            plain = [pair for pair in m.headers() if pair[0] != "replayed-from"]
            found.setdefault(m.key(), []).append((m.value(), plain, m.timestamp()[1]))
        return found

    wanted = {
        key: [one for one in found if HOUR + 10_000 <= one[2] < HOUR + 30_000] for key, found in content(source).items()
    }
    assert content(copy) == wanted
    assert sum(map(len, wanted.values())) == 20
    origins = {dict(m.headers())["replayed-from"] for m in read(bootstrap, copy)}
    assert origins <= {f"{source.name}/{m.partition()}/{m.offset()}".encode() for m in read(bootstrap, source)}


def test_selection_takes_what_it_says_and_nothing_else(bootstrap: str, tmp_path: Path) -> None:
    source = own_topic(bootstrap, "replay.selection", 2)
    for partition in (0, 1):
        producer = Producer({"bootstrap.servers": bootstrap})
        for number in range(10):
            producer.produce(source.name, f"{partition}/{number}", "k", partition=partition, timestamp=HOUR + number)
        producer.flush(30)

    def taken(*options: str) -> set[str]:
        file = tmp_path / f"{len(list(tmp_path.iterdir()))}.jsonl"
        assert run(bootstrap, "--topic", source.name, "--to-topic", source.name, *options, "--export", file) == 0
        return {json.loads(line)["value"] for line in file.read_text().splitlines()}

    assert len(taken()) == 20
    assert taken("--partition", "1", "--offsets", "3:5") == {"1/3", "1/4", "1/5"}
    assert taken("--partition", "0", "--partition", "1", "--offsets", "8:") == {"0/8", "0/9", "1/8", "1/9"}
    assert taken("--offsets", ":0") == {"0/0", "1/0"}
    assert taken("--offsets", "7") == {"0/7", "1/7"}
    assert taken("--from", iso(HOUR + 8)) == {"0/8", "0/9", "1/8", "1/9"}
    assert taken("--to", iso(HOUR + 1)) == {"0/0", "1/0"}
    assert taken("--from", "2099-01-01") == set()


def test_letters_go_to_where_they_came_from_and_what_cannot_go_is_left_out(
    bootstrap: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    target = own_topic(bootstrap, "replay.letters")
    letters(bootstrap, {"a": b"a", "b": b"\xff", "c": None}, "the first reason, order/7-1", target.name)
    letters(bootstrap, {"d": b"d"}, "the first reason, order/8-1", "topic.that-is-gone")
    letters(bootstrap, {"e": b"e"}, "the first reason, order/9-1", topics.HISTORY_IP.name)
    letters(bootstrap, {"f": b"f"}, "another", target.name)
    select = ("--reason", "^the first reason")
    assert run(bootstrap, *select, "--dry-run") == replay.SOME_LEFT_OUT
    said = capsys.readouterr()
    assert "3 records would be sent" in said.out
    assert read(bootstrap, target) == []
    assert run(bootstrap, *select) == replay.SOME_LEFT_OUT
    said = capsys.readouterr()
    assert "the broker has no topic topic.that-is-gone" in said.err
    assert f"nothing can be sent to {topics.HISTORY_IP.name}" in said.err
    assert {(m.key(), m.value()) for m in read(bootstrap, target)} == {(b"a", b"a"), (b"b", b"\xff"), (b"c", None)}

    assert run(bootstrap, *select, "--origin", target.name) == replay.ALL_WELL
    assert len(read(bootstrap, target)) == 3, "not twice"
    assert run(bootstrap, *select, "--origin", target.name, "--again") == replay.ALL_WELL
    assert len(read(bootstrap, target)) == 6
    file = tmp_path / "all.jsonl"
    assert run(bootstrap, *select, "--export", file) == replay.ALL_WELL
    assert {json.loads(line)["to"] for line in file.read_text().splitlines()} >= {"topic.that-is-gone", target.name}
    assert run(bootstrap, "--import", file, "--to-topic", target.name) == replay.ALL_WELL
    assert Counter(m.key() for m in read(bootstrap, target)) == {b"a": 2, b"b": 2, b"c": 2, b"d": 1, b"e": 1}


def test_a_replay_that_is_killed_goes_on_where_it_was(bootstrap: str) -> None:
    """Killed in the middle of transactions, started again, killed again: each record is there once."""
    source, target = own_topic(bootstrap, "replay.long", 2), own_topic(bootstrap, "replay.long-copy", 2)
    values = [f"value {number}".encode() for number in range(3_000)]
    produce(bootstrap, source.name, [(value, value, [], HOUR) for value in values])
    command = ["--topic", source.name, "--to-topic", target.name, "--bootstrap", bootstrap]
    sent = 0
    for _ in range(2):
        running = subprocess.Popen(
            [sys.executable, "-m", "producers.replay", *command, "--rate", "300"],
            cwd=ROOT, env={"PYTHONPATH": f"{ROOT}/plugins"}, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        goal = sent + 300
        wait_for(lambda goal=goal: len(read(bootstrap, target)) >= goal, 60)
        running.send_signal(signal.SIGKILL)
        running.wait()
        sent = len(read(bootstrap, target))
    assert sent < len(values)
    assert replay.main(command) == replay.ALL_WELL
    assert Counter(m.value() for m in read(bootstrap, target)) == Counter(values)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--topic", "customer.events"], replay.BAD_INPUT, "say --to-topic"),
        (["--topic", "customer.events", "--to-topic", "x", "--reason", "y"], replay.BAD_INPUT, "dead-letters"),
        (["--from", "2026-01-02", "--to", "2026-01-02"], replay.BAD_INPUT, "--from must lie before --to"),
        (["--topic", "customer.events", "--to-topic", "relay.by-ip"], replay.BAD_INPUT, "--allow-repeats"),
        (["--to-topic", "history.ip"], replay.BAD_INPUT, "the services' own records"),
        (["--to-topic", "no.such-topic"], replay.NO_BROKER, "has no topic no.such-topic"),
        (["--topic", "no.such-topic", "--to-topic", "customer.events"], replay.NO_BROKER, "is --topic spelt right?"),
        (["--partition", "9"], replay.NO_BROKER, "has no partition 9: it has 4, from 0"),
        (["--import", "no-such-file"], replay.BAD_INPUT, "no-such-file"),
        (["--import", "f", "--reason", "x"], replay.BAD_INPUT, "take out there what is not to be sent"),
    ],
)
def test_every_error_says_what_to_do(
    bootstrap: str, arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(bootstrap, *arguments) == code
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--from", "noon"], ["--offsets", "5:3"], ["--offsets", "-"], ["--reason", "("], ["--rate", "0"]]
)
def test_wrong_usage_ends_with_two(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        replay.main(arguments)
    assert ended.value.code == replay.BAD_INPUT


def test_a_file_is_checked_whole_before_anything_is_sent(
    bootstrap: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = own_topic(bootstrap, "replay.checked")
    place = {"topic": "t", "partition": 0, "time": "2026-01-01T00:00:00Z"}
    good = {"from": place | {"offset": 1}, "to": target.name, "key": None, "value": {"base64": "/w=="}}
    file = tmp_path / "lines.jsonl"
    wrong = [
        (good | {"valeu": "x"}, "unknown field `valeu`"),
        (good | {"value": {"base64": "?"}}, "the value is no base64"),
        (good | {"value": {"amount": 1}}, "$.value"),
        (good, "t/0/1 stands on line 1 already"),
    ]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in [good, *(line for line, _ in wrong)]) + "{\n")
    assert run(bootstrap, "--import", file) == replay.BAD_INPUT
    said = capsys.readouterr().err
    for number, (_, why) in enumerate(wrong, 2):
        assert f"line {number}: " in said
        assert why in said
    assert "line 6: " in said
    assert read(bootstrap, target) == []
    file.write_text(json.dumps(good))
    assert run(bootstrap, "--import", file) == replay.ALL_WELL
    assert [(m.key(), m.value()) for m in read(bootstrap, target)] == [(None, b"\xff")]


def test_no_broker_is_said_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("127.0.0.1:1") == replay.NO_BROKER
    assert "no Kafka broker answers at 127.0.0.1:1" in capsys.readouterr().err

"""Sends records again: dead letters after a fix, or any part of any topic, to where they came from or elsewhere.

Without further options: all dead letters, each to the topic that it came from. Key and value go out byte for byte as
they came. A record that cannot be used as it is can be repaired: --export it, edit the file, --import it.

Nothing is sent twice by accident. What was sent again, and to which topic, stands on the topic `replays`, written in
the same Kafka transaction as the record itself: run the same command as often as you like, kill it at any moment, run
two at a time (the later one takes over), and each record goes out once. --again sends it once more all the same. Each
record also carries its origin in a header, replayed-from: topic/partition/offset.

A record that is sent again is new to Kafka: it gets the present time stamp, so that checks against the record's age
(an event dated in its future, say), retention and the time that a decision took count from now. --keep-time keeps the
old one: for a copy to look at, in a topic of its own.
"""

import argparse
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from confluent_kafka import KafkaException, Producer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import kafka_access
from kafka_access import Refused, client
from order_fraud.topics import CUSTOMER_EVENTS, DEAD_LETTERS, REPLAYS
from producers import replay_file, replay_source, source
from producers.interrupt import Interrupt
from producers.outbox import NOT_LET_IN, BrokerUnusable, bootstrap_from_environment, brokers, let_in
from producers.replay_ledger import Ledger, NotSent, entry, sent_before, topics_of
from producers.replay_report import SHOWN, Tally, harm, kind, refusal, say, show
from producers.replay_source import Found, NothingThere, Reading, Selection

ALL_WELL, BAD_INPUT, SOME_LEFT_OUT, NO_BROKER, NOT_DELIVERED, INTERRUPTED = 0, 2, 3, 4, 5, 130

_EPILOG = """
exit codes:
  0    all that was selected has been sent, or was before
  2    wrong usage, or the file cannot be used
  3    some were left out: no topic to send them to
  4    no broker answers, or a topic is not there
  5    the broker did not take them; what it took before stays sent, and running again goes on from there
  6    Kafka refuses user, password or rights: the line says who was refused what
  130  interrupted; what was sent by then stays sent, and running again goes on from there

examples:
  what is there, and why:
    python -m producers.replay --dry-run
  after a fix, all that was refused for that reason since yesterday noon:
    python -m producers.replay --reason 'data.currency' --from 2026-01-30T12:00
  repair values in a file (key and value are texts; bytes that are no text are {"base64": "..."}):
    python -m producers.replay --reason 'data.currency' --export letters.jsonl
    jq -c '.value |= (fromjson | .data.currency |= ascii_upcase | tojson)' letters.jsonl > repaired.jsonl
    python -m producers.replay --import repaired.jsonl --dry-run
    python -m producers.replay --import repaired.jsonl
  an hour of a topic into a topic of your own, as it was:
    python -m producers.replay --topic customer.events --from 2026-01-31T12:00 --to 2026-01-31T13:00 \\
        --to-topic my.copy --keep-time
"""


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m producers.replay",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    replay_source.add_arguments(parser)
    where = parser.add_argument_group("what to do with them")
    where.add_argument("--to-topic", metavar="TOPIC", help="send there (default: dead letters to where they came from)")
    which = where.add_mutually_exclusive_group()
    which.add_argument("--dry-run", action="store_true", help="send nothing: count by topic and reason, show the first")
    which.add_argument("--export", type=Path, metavar="FILE", help="send nothing: write them to a new file, one a line")
    where.add_argument("--import", dest="file", type=Path, metavar="FILE", help="send what stands in this file instead")
    where.add_argument("--rate", type=source.positive, metavar="R", help="records per second (default: flat out)")
    where.add_argument("--again", action="store_true", help="send even what was sent before")
    where.add_argument("--keep-time", action="store_true", help="keep the records' time stamps")
    where.add_argument(
        "--allow-repeats",
        action="store_true",
        help=f"send to a topic whose readers do not know repeats (only those of {CUSTOMER_EVENTS.name} do)",
    )
    parser.add_argument(
        "--bootstrap",
        type=brokers,
        default=bootstrap_from_environment(),
        metavar="HOST:PORT",
        help="the Kafka broker (default: COUNTERSIGN_KAFKA, else the local stack; now %(default)s)",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = parse_arguments(arguments)
    screen = Console(stderr=True)
    try:
        with Interrupt() as interrupt:
            return _run(options, screen, interrupt)
    except (replay_file.BadLines, ValueError, OSError) as error:
        say(screen, f"error: {error}")
        return BAD_INPUT
    except Refused as error:
        say(screen, f"error: {error}")
        return NOT_LET_IN
    except (BrokerUnusable, NothingThere) as error:
        say(screen, f"error: {error}")
        return NO_BROKER
    except KafkaException as error:
        if refused := kafka_access.refusal(error.args[0], options.bootstrap):
            say(screen, f"error: {refused}")
            return NOT_LET_IN
        say(screen, f"error: the broker at {options.bootstrap}: {error.args[0].str()}")
        return NO_BROKER
    except NotSent as error:
        say(screen, f"error: not sent: {error}")
        return NOT_DELIVERED


def _run(options: argparse.Namespace, screen: Console, interrupt: Interrupt) -> int:
    selection = _selection(options)
    total = replay_file.check(options.file, options.to_topic) if options.file else 0
    if options.dry_run or options.export:
        let_in(options.bootstrap, {selection.topic: ("read",), REPLAYS.name: ("read",)})
        producer = Producer(client(options.bootstrap) | {"log_level": 0})
        topics, ledger, before = topics_of(producer, options.bootstrap), None, sent_before(options.bootstrap)
    else:
        let_in(options.bootstrap, _needed(selection.topic, options.to_topic))
        ledger = Ledger(options.bootstrap)
        topics, before = ledger.topics, ledger.sent_before
    if options.to_topic and options.to_topic not in topics:
        raise NothingThere(f"the broker at {options.bootstrap} has no topic {options.to_topic}: create it first")
    tally = Tally()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    reading = Reading(options.bootstrap, selection)
    with Progress(*columns, console=screen) as progress:
        task = progress.add_task(f"reading {options.file or selection.topic}", total=total or None)

        def idle() -> bool:
            """Between two reads: show how far we are, keep no transaction waiting, and hear whether to stop."""
            progress.update(task, completed=reading.gone_over, total=reading.total)
            if ledger is not None:
                ledger.pause(until=0)
            return interrupt.asked

        found = replay_file.records(options.file, options.to_topic) if options.file else reading.records(idle)
        going = _going(found, tally, before, topics, options)
        if options.export:
            with options.export.open("xb") as file:
                _export(going, file, interrupt)
        elif ledger is not None:
            with ledger:
                _send(going, ledger, options, interrupt)
        else:
            for one in going:
                if interrupt.asked:
                    break
                tally.unusable.update(refusal(one))
        progress.update(task, completed=total or reading.gone_over, total=total or reading.total)
    done = f"written to {options.export}" if options.export else "would be sent" if options.dry_run else "sent"
    show(tally, done, screen, examples=options.dry_run)
    print(f"{ledger.sent if ledger else tally.going.total()} records {done}, {tally.before} had been sent before")
    if interrupt.asked:
        return INTERRUPTED
    return SOME_LEFT_OUT if tally.left_out else ALL_WELL


def _needed(topic: str, to_topic: str | None) -> dict[str, tuple[str, ...]]:
    """Return what sending from one topic needs; to which topics dead letters go is not known before they are read."""
    return {topic: ("read",), REPLAYS.name: ("read", "write")} | ({to_topic: ("write",)} if to_topic else {})


def _selection(options: argparse.Namespace) -> Selection:
    """Return what is to be read.

    Raises:
        ValueError: options that do not go together.
    """
    if options.file:
        given = [options.partition, options.offsets, options.since, options.until, options.reason, options.origin]
        if any(one is not None for one in given) or options.topic != DEAD_LETTERS.name:
            raise ValueError("--import sends what stands in the file: take out there what is not to be sent")
        if options.export:
            raise ValueError("--import and --export do not go together")
        return Selection()
    if wrong := harm(options.to_topic, options.topic, allow_repeats=options.allow_repeats):
        raise ValueError(wrong)
    return replay_source.selection(options)


def _going(
    found: Iterable[Found], tally: Tally, before: set[str], topics: dict[str, int], options: argparse.Namespace
) -> Iterable[Found]:
    """Yield the records that are to be sent, and count all of them."""
    for one in found:
        if one.left_out is not None:
            tally.left_out[f"the letter has no {one.left_out}: too long, to be sent from there by hand"] += 1
        elif options.export:  # a file is where a missing or wrong topic can be repaired, too
            tally.going[one.target or "?", kind(one.reason)] += 1
            yield one
        elif one.target is None:
            tally.left_out["does not say where it came from: say --to-topic"] += 1
        elif one.target not in topics:
            tally.left_out[f"the broker has no topic {one.target}, or none for this user: say --to-topic"] += 1
        elif wrong := harm(one.target, one.topic, allow_repeats=options.allow_repeats):
            tally.left_out[wrong] += 1
        elif entry(one) in before and not options.again:
            tally.before += 1
        else:
            tally.going[one.target, kind(one.reason)] += 1
            if len(tally.first) < SHOWN:
                tally.first.append(one)
            yield one


def _send(going: Iterable[Found], ledger: Ledger, options: argparse.Namespace, interrupt: Interrupt) -> None:
    started = time.monotonic()
    for number, one in enumerate(going):
        if options.rate:
            ledger.pause(until=started + number / options.rate)
        if interrupt.asked:
            break
        ledger.send(one, keep_time=options.keep_time)
    ledger.commit()


def _export(going: Iterable[Found], file: BinaryIO, interrupt: Interrupt) -> None:
    for one in going:
        if interrupt.asked:
            break
        file.write(replay_file.line(one))


if __name__ == "__main__":
    sys.exit(main())

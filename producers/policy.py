"""Scorecards from the command line: check one, publish it, put it on trial, let it judge, see what is there.

A version is published once and never changes; running a command again does no harm. Nothing judges by a scorecard
until it is activated, and then every worker does from its next transaction on. docs/policies.md tells the whole way.
"""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from kafka_access import Refused
from lake import policies
from lake.landing.broker import KafkaRefuses
from lake.policies import NotPublished, PolicyRefused
from order_fraud.events import Activation
from order_fraud.policies import Policies
from order_fraud.policy import BadScorecard, encode, parse
from order_fraud.policy_diff import differences
from order_fraud.scorecard import Scorecard
from order_fraud.topics import FRAUD_POLICIES
from producers.outbox import NOT_LET_IN, BrokerUnusable, Outbox, bootstrap_from_environment, brokers
from scorecards import SCORECARD

ALL_WELL, BAD_INPUT, REFUSED, NO_BROKER = 0, 2, 3, 4
MOST_ON_TRIAL = 4

_EPILOG = """
exit codes:
  0    done, or done before
  2    wrong usage, or the file cannot be read or is no scorecard
  3    refused: the version exists with other content, has a code that means something else in another version, or
       was never published
  4    Kafka did not answer, or has no such topic; nothing is half-done, run it again
  6    Kafka refuses user, password or rights: the line says who was refused what

examples:
  python -m producers.policy show 1 > mine.json          then edit it and give it a version of its own
  python -m producers.policy check mine.json
  python -m producers.policy publish mine.json
  python -m producers.policy diff 1 mine
  python -m producers.policy activate 1 --shadow mine --owner ann --reason 'mine on trial'
  python -m producers.policy activate mine --owner ann --reason 'two weeks on trial, see the back-test'
"""


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m producers.policy",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--bootstrap",
        type=brokers,
        default=bootstrap_from_environment(),
        metavar="HOST:PORT",
        help="the Kafka broker (default: COUNTERSIGN_KAFKA, else the local stack; now %(default)s)",
    )
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, run: Callable[[argparse.Namespace], list[str]], meaning: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=meaning, description=meaning)
        added.set_defaults(run=run)
        return added

    command("check", _check, "is this file a scorecard? asks no broker").add_argument("file", type=Path)
    publishing = command("publish", _publish, "publish the scorecard of a file; it judges nothing yet")
    which = publishing.add_mutually_exclusive_group(required=True)
    which.add_argument("file", type=Path, nargs="?")
    which.add_argument("--bundled", action="store_true", help=f"the one that comes with the code ({SCORECARD.version})")
    activating = command("activate", _activate, "let a published version judge, with others on trial beside it")
    activating.add_argument("version")
    activating.add_argument(
        "--shadow",
        action="append",
        default=[],
        metavar="VERSION",
        help=f"on trial: scored and recorded, without effect; up to {MOST_ON_TRIAL}. Those not named are no longer",
    )
    activating.add_argument("--owner", required=True, help="who answers for it")
    activating.add_argument("--reason", required=True, help="why, for people")
    command("list", _list, "all versions, and who judges")
    command("show", _show, "the scorecard of a version, as JSON").add_argument("version")
    comparing = command("diff", _diff, "what changes from one version to another, in words")
    comparing.add_argument("before", metavar="A")
    comparing.add_argument("after", metavar="B")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = parse_arguments(arguments)
    logging.getLogger(policies.__name__).addHandler(logging.StreamHandler())  # records of no use are worth a line
    try:
        if options.run is not _check:
            Outbox(FRAUD_POLICIES, options.bootstrap, "policy").close()  # says within seconds that no broker is there
        for line in options.run(options):
            print(line)
    except (BadScorecard, msgspec.ValidationError, OSError) as error:
        where = f"{options.file}: " if getattr(options, "file", None) and not isinstance(error, OSError) else ""
        for line in str(error).splitlines():
            print(f"error: {where}{line}", file=sys.stderr)
        return BAD_INPUT
    except PolicyRefused as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return REFUSED
    except (Refused, KafkaRefuses) as error:
        print(f"error: {error}", file=sys.stderr)
        return NOT_LET_IN
    except (BrokerUnusable, NotPublished) as error:
        print(f"error: {error}", file=sys.stderr)
        return NO_BROKER
    return ALL_WELL


def _check(options: argparse.Namespace) -> list[str]:
    scorecard = parse(options.file.read_bytes())
    parts = {
        "signals": len(scorecard.lines),
        "bins": sum(len(line.bins) for line in scorecard.lines),
        "rules": len(scorecard.rules),
        "list entries": len(scorecard.lists),
        "snoozes": len(scorecard.snoozes),
    }
    return [f"{options.file}: version {scorecard.version}: {', '.join(f'{n} {what}' for what, n in parts.items())}"]


def _publish(options: argparse.Namespace) -> list[str]:
    scorecard = SCORECARD if options.bundled else parse(options.file.read_bytes())
    new = policies.publish(options.bootstrap, scorecard, datetime.now(UTC))
    version = scorecard.version
    return [f"version {version} is published and judges nothing yet" if new else f"version {version} is there already"]


def _activate(options: argparse.Namespace) -> list[str]:
    wanted = {
        "active": options.version,
        "shadows": options.shadow,
        "owner": options.owner,
        "reason": options.reason,
    }
    chosen = msgspec.convert(wanted, Activation)
    policies.activate(options.bootstrap, lambda known: chosen, datetime.now(UTC))
    trial = f", {', '.join(options.shadow)} on trial" if options.shadow else ", nobody is on trial"
    return [f"version {options.version} judges from every worker's next transaction on{trial}"]


def _list(options: argparse.Namespace) -> list[str]:
    known = policies.read(options.bootstrap)
    chosen = known.activated
    if chosen is None:
        head = f"nobody was activated: version {known.panel.active.version} judges, which comes with the code"
    else:
        said = f"{chosen.data.owner}: {' '.join(chosen.data.reason.split())}"
        head = f"version {chosen.data.active} judges since {_time(chosen.time)} ({said})"
    rows = [
        ("version", "role", "published", "owner", "reason"),
        *(_row(known, one) for one in known.scorecards.values()),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [head, *lines]


def _row(known: Policies, scorecard: Scorecard) -> Sequence[str]:
    version, panel = scorecard.version, known.panel
    trial = {judge.version for judge in panel.shadows}
    role = "active" if version == panel.active.version else "on trial" if version in trial else "-"
    published = known.published.get(version)
    when = "with the code" if published is None else _time(published)
    return version, role, when, scorecard.owner, " ".join(scorecard.reason.split())


def _show(options: argparse.Namespace) -> list[str]:
    scorecard = _of(policies.read(options.bootstrap), options.version)
    return [msgspec.json.format(encode(scorecard), indent=2).decode()]


def _diff(options: argparse.Namespace) -> list[str]:
    known = policies.read(options.bootstrap)
    return differences(_of(known, options.before), _of(known, options.after)) or [
        "nothing that could change a judgement"
    ]


def _of(known: Policies, version: str) -> Scorecard:
    if version not in known.scorecards:
        raise PolicyRefused(f"version {version!r} was never published; there are {', '.join(known.scorecards)}")
    return known.scorecards[version]


def _time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


if __name__ == "__main__":
    sys.exit(main())

"""Forges a scorecard's activation of some time ago: what is on the topic when workers did not follow the policies.

For tests and demonstrations only. The second scorecard that comes with the code is published and activated by records
that bear the time of ``--stamped``. Orders that came in after that and were judged by another scorecard were judged by
one that had been replaced; the reconciliation must find exactly those. From now on the forged scorecard judges.
"""

import argparse
import sys
from datetime import UTC, datetime

from order_fraud import policies
from order_fraud.events import Activation
from order_fraud.topics import FRAUD_POLICIES
from producers import fields
from producers.outbox import BrokerUnusable, Outbox, bootstrap_from_environment
from scorecards import HAND_SET

ALL_WELL, NO_BROKER, NOT_DELIVERED = 0, 4, 5
OWNER = "forged"


def forged(at: datetime) -> tuple[policies.PolicyEvent, policies.PolicyEvent]:
    """Return the publication of the scorecard, and its activation."""
    chosen = Activation(active=HAND_SET.version, owner=OWNER, reason="a demonstration of workers that do not follow")
    return policies.publication(HAND_SET, at), policies.activation(chosen, at)


def _moment(text: str) -> datetime:
    try:
        return fields.time("--stamped", text)
    except fields.BadField as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m producers.forge_policy",
        description=__doc__,
        epilog="Exit codes: 0 sent, 2 wrong usage, 4 no broker or topic, 5 not acknowledged.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--stamped", type=_moment, required=True, metavar="ISO", help="time of the records")
    parser.add_argument("--bootstrap", default=bootstrap_from_environment(), metavar="HOST:PORT", help="the broker")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = parse_arguments(arguments)
    try:
        outbox = Outbox(FRAUD_POLICIES, options.bootstrap, "forge-policy")
    except BrokerUnusable as error:
        print(f"error: {error}", file=sys.stderr)
        return NO_BROKER
    stamp = round(options.stamped.timestamp() * 1000)
    for event in forged(datetime.now(UTC)):
        outbox.send(policies.key(event), event, stamp)
    outbox.close()
    for reason, times in outbox.failures.most_common():
        print(f"not delivered: {times} x {reason}", file=sys.stderr)
    print(f"scorecard {HAND_SET.version} was activated as of {options.stamped.isoformat()} on {FRAUD_POLICIES.name}")
    return NOT_DELIVERED if outbox.failed else ALL_WELL


if __name__ == "__main__":
    sys.exit(main())

"""Plans which orders get which planted fault, so that a reconciliation can be measured against what was planted.

Pure but for the command line: the same order ids (in any order) and seed always give the same plan.

  order-not-streamed   the shop has the order, the producer withholds it
  order-not-sold       it is streamed, the shop knows nothing of it
  amount-differs       its charge is not over the order's amount
  payment-missing      it has no charge
  payment-orphan       a charge for an order that nobody knows (the ids are invented)

What follows from these orders alone is planned here. Other faults need the order book (:mod:`sandbox.faults_in_time`),
or orders of which the stream has said what it thinks: :func:`choose` picks those afterwards, without another fault.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from producers import source
from producers.orders_csv import BadFile

NOT_STREAMED = "order-not-streamed"
NOT_SOLD = "order-not-sold"
AMOUNT_DIFFERS = "amount-differs"
PAYMENT_MISSING = "payment-missing"
PAYMENT_ORPHAN = "payment-orphan"
FORGED_RELEASE = "released-without-clearance"
CHARGED_REJECTED = "charged-but-rejected"
HELD_OVERDUE = "held-overdue"
FRAUD_MISSED = "fraud-missed"
REFUND_MISSING = "refund-missing"
CUSTOMER_DIFFERS = "customer-differs"
VERDICT_MISSING = "verdict-missing"
VERDICT_REPEATED = "verdict-repeated"
VERDICT_FORGED = "verdict-not-reproducible"
RELEASED_TWICE = "released-twice"

ON_ORDERS = (NOT_STREAMED, NOT_SOLD, AMOUNT_DIFFERS, PAYMENT_MISSING)
KINDS = (*ON_ORDERS, PAYMENT_ORPHAN)
AT_THE_SOURCES = (*ON_ORDERS, CHARGED_REJECTED, REFUND_MISSING, CUSTOMER_DIFFERS)
"""Kinds that the feed plants, on orders of the book."""

PER_KIND = 30
MOST_SHARE = 0.02
"""No kind takes more than this part of the orders ..."""

FEWEST_ORDERS = 50
"""... but one each from this many orders on."""

ORPHANS_FROM = 900_000_000_001
FORGED_FROM = 800_000_000_001
MOST_CHARGE = 99_999_999
"""Stripe's upper limit of a charge in minor units."""


def size(orders: int, per_kind: int = PER_KIND) -> int:
    """How many faults of one kind go into so many orders."""
    if orders < FEWEST_ORDERS:
        return 0
    return min(per_kind, max(1, int(orders * MOST_SHARE)))


def plan(order_ids: Iterable[str], seed: int, per_kind: int = PER_KIND) -> dict[str, list[str]]:
    """Choose orders for each kind of fault; no order gets two.

    Args:
        order_ids: all orders; their order does not matter.
        seed: of the choice.
        per_kind: how many of each kind at most; fewer in a small set (see :func:`size`).

    Returns:
        The sorted order ids of each kind; for ``payment-orphan`` ids that are none of ``order_ids``.
    """
    known = sorted(set(order_ids))
    count = size(len(known), per_kind)
    draw = random.Random(f"faults/{seed}")
    chosen = draw.sample(known, count * len(ON_ORDERS))
    faults = {kind: sorted(chosen[i * count : (i + 1) * count]) for i, kind in enumerate(ON_ORDERS)}
    faults[PAYMENT_ORPHAN] = invented(known, count, ORPHANS_FROM)
    return faults


def invented(known: Iterable[str], count: int, number: int) -> list[str]:
    """Return ids of orders that nobody knows, from ``number`` on."""
    taken, found = frozenset(known), list[str]()
    while len(found) < count:
        if (order_id := f"{number}-1") not in taken:
            found.append(order_id)
        number += 1
    return found


def forgeable(suspects: Iterable[str], planted: Mapping[str, Iterable[str]], seed: int, count: int) -> list[str]:
    """Choose orders whose release is to be forged: judged possible fraud, and without another planted fault.

    Args:
        suspects: orders with the verdict PossibleFraud, in any order.
        planted: what :func:`plan` returned.
        seed: of the choice.
        count: how many at most.
    """
    return choose("forged", suspects, planted, seed, count)


def choose(what: str, pool: Iterable[str], planted: Mapping[str, Iterable[str]], seed: int, count: int) -> list[str]:
    """Choose orders of a pool that have no planted fault yet.

    Args:
        what: the fault; another one takes other orders.
        pool: order ids, in any order.
        planted: what has been planned so far, by kind.
        seed: of the choice.
        count: how many at most.
    """
    taken = {order_id for order_ids in planted.values() for order_id in order_ids}
    free = sorted(set(pool) - taken)
    return sorted(random.Random(f"{what}/{seed}").sample(free, min(count, len(free))))


def wrong_amount(order_id: str, amount: int, seed: int) -> int:
    """A charge over another amount than the order's: a cent off, a decimal point slipped, or something else.

    Returns:
        Minor units, from 1 to Stripe's limit, never ``amount``.
    """
    draw = random.Random(f"amount/{seed}/{order_id}")
    mistakes = (
        amount + 1,
        amount - 1,
        amount * 100,
        amount // 100,
        amount + draw.randint(100, 5_000),
        round(amount * draw.uniform(0.3, 0.9)),
    )
    usable = [wrong for wrong in mistakes if wrong != amount and 1 <= wrong <= MOST_CHARGE]
    return draw.choice(usable) if usable else MOST_CHARGE


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="The plan goes to `python -m sandbox.feed --plan`, the ids to `python -m producers.shop --withhold`.",
    )
    source.add_arguments(parser)
    parser.add_argument(
        "--per-kind",
        type=source.positive,
        default=PER_KIND,
        metavar="N",
        help="faults of each kind (default %(default)s)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="write {kind: [order ids]} here")
    parser.add_argument("--withhold", type=Path, metavar="FILE", help="write the ids of order-not-streamed here")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code: 0, or 2 if a file cannot be read or written."""
    options = parse_arguments(arguments)
    try:
        orders = source.load(options)
        faults = plan((sale.order_id for sale in orders.sales), options.seed, options.per_kind)
        options.out.write_text(json.dumps(faults, indent=2) + "\n")
        if options.withhold:
            options.withhold.write_text("".join(f"{order_id}\n" for order_id in faults[NOT_STREAMED]))
    except (BadFile, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"planned {', '.join(f'{len(ids)} {kind}' for kind, ids in faults.items())} in {len(orders.sales):,} orders")
    return 0


if __name__ == "__main__":
    sys.exit(main())

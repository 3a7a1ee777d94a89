"""Match shop, stream, verdicts, deliveries, payments and CRM order by order; name the root cause of each difference.

An order belongs to the business day of its event time. What happened to it is looked up by order id, on whatever day it
happened, so that an order of 23:59 paid at 00:01 is no difference.
"""

from collections.abc import Callable, Iterator

from lake.reconcile import customers, deliveries, holds, orders, payments, refunds, skew, verdicts
from lake.reconcile.findings import KINDS, Difference
from lake.reconcile.scope import Scope

CHECKS: tuple[Callable[[Scope], Iterator[Difference]], ...] = (
    orders.not_streamed,
    orders.not_sold,
    verdicts.missing,
    verdicts.repeated,
    verdicts.not_reproducible,
    verdicts.would_change,
    skew.policy_skew,
    customers.customer_unknown,
    customers.customer_differs,
    deliveries.released_without_clearance,
    deliveries.released_twice,
    holds.held_overdue,
    holds.fraud_missed,
    payments.amount_differs,
    payments.payment_missing,
    payments.payment_orphan,
    holds.charged_but_rejected,
    refunds.refund_missing,
)
"""One check a kind. Each looks for its own cause only: what follows from another difference is none of its own."""


def match(scope: Scope) -> list[Difference]:
    """Return all differences, by kind, then business time, then order id: the same facts give the same list."""
    found = [difference for check in CHECKS for difference in check(scope)]
    return sorted(found, key=lambda one: (KINDS.index(one.finding.kind), one.time, one.finding.order_id))

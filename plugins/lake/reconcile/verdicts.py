"""Verdicts that are missing, repeated, or that the same inputs do not give again."""

from collections.abc import Iterator, Mapping

import polars as pl

from lake import tables
from lake.reconcile.allowances import words
from lake.reconcile.explain import MAX_NAMED
from lake.reconcile.findings import Difference
from lake.reconcile.late import Changed
from lake.reconcile.parity import Disagreement, is_order
from lake.reconcile.refold import Refused
from lake.reconcile.scope import Scope, place, places
from order_fraud.relay import ROUTE
from order_fraud.topics import CUSTOMER_EVENTS, DELIVERY_EVENTS, FRAUD_POLICIES, FRAUD_VERDICTS

TABLES = tuple(tables.records(topic).name for topic in (*(hop.reads for hop in ROUTE), FRAUD_VERDICTS, FRAUD_POLICIES))
ALARMS = "kafka.delivery_events"


def missing(scope: Scope) -> Iterator[Difference]:
    """Yield each streamed order without a verdict, unless its verdict may still be on the way."""
    streamed = scope.facts.streamed.filter(scope.in_days)
    unjudged = streamed.join(scope.facts.verdicts, on="order_id", how="anti")
    silences, alarms = _silences(scope), _alarms(scope)
    for row in unjudged.iter_rows(named=True):
        silence = silences.get(row["order_id"])
        certain = isinstance(silence, Refused) or (silence is not None and silence.state == "lost")
        if not certain and row["timestamp"] > scope.settled:
            continue
        yield scope.difference(
            "verdict-missing",
            row,
            f"Order {row['order_id']} came in and got no verdict: {_why(silence)}.",
            {
                "event": f"order/{row['order_id']}",
                "record": place(CUSTOMER_EVENTS.name, row),
                "ordered at": row["time"],
                "reported by the stream": alarms.get(row["order_id"], "no"),
            },
            (*TABLES, ALARMS),
        )


def _alarms(scope: Scope) -> Mapping[str, str]:
    """Return by order id what the delivery service's watchdog said: the stream's own word that a verdict is missing."""
    said: dict[str, str] = {}
    for row in scope.facts.alarms.iter_rows(named=True):
        why = f", its record was refused ({row['refused']})" if row["refused"] else ""
        words = f"{place(DELIVERY_EVENTS.name, row)}: no verdict for {row['longer_than_s']:g} s on {row['record']}{why}"
        said.setdefault(row["order_id"], words)
    return said


def _silences(scope: Scope) -> Mapping[str, Disagreement | Refused]:
    """Return by order id where each order that went missing was seen last."""
    refused = {one.subject: one for one in scope.parity.refused if is_order(one.event_id)}
    lost = {one.subject: one for one in scope.parity.disagreements if one.state in ("lost", "pending") and one.of_order}
    return refused | lost


def _why(silence: Disagreement | Refused | None) -> str:
    if isinstance(silence, Refused):
        where = f"{silence.topic}, partition {silence.partition}, offset {silence.offset}"
        return f"the record at {where} was refused ({silence.reason})"
    if silence is None:
        return f"its way ends before {FRAUD_VERDICTS.name}"
    return silence.words


def repeated(scope: Scope) -> Iterator[Difference]:
    """Yield each order with more than one verdict record."""
    whose = scope.facts.verdicts.select("order_id", "day").filter(scope.in_days).select("order_id")
    several = whose.filter(whose["order_id"].is_duplicated())
    grouped = (
        scope.facts.verdicts.join(several, on="order_id", how="semi", maintain_order="left")
        .filter(scope.in_days)
        .group_by("order_id", maintain_order=True)
        .agg(pl.first("customer_id", "amount", "currency", "time"), "partition", "offset", "type", "score")
        .filter(pl.col("offset").list.len() > 1)
    )
    for row in grouped.iter_rows(named=True):
        said = [f"{kind} ({score} points)" for kind, score in zip(row["type"], row["score"], strict=True)]
        agree = "all the same" if len(set(said)) == 1 else "and they contradict each other"
        yield scope.difference(
            "verdict-repeated",
            row,
            f"Order {row['order_id']} has {len(said)} verdicts instead of one, {agree}.",
            {"records": places(FRAUD_VERDICTS.name, row), "verdicts": "; ".join(said)},
            ("kafka.fraud_verdicts",),
        )


def not_reproducible(scope: Scope) -> Iterator[Difference]:
    """Yield each order for which the stream wrote something else than the same inputs give; once, at its first hop."""
    first: dict[str, list[Disagreement]] = {}
    for one in scope.parity.disagreements:
        if one.state in ("differs", "unjudged", "unexplained") and one.of_order:
            first.setdefault(one.subject, []).append(one)
    if not first:
        return
    whose = pl.DataFrame({"order_id": list(first)}, {"order_id": pl.String})
    said = [
        frame.select(scope.orders.columns).join(whose, on="order_id", how="semi", maintain_order="left")
        for frame in (scope.orders, scope.facts.verdicts)
    ]
    known = pl.concat(said, how="vertical_relaxed").unique("order_id", keep="first", maintain_order=True)
    for row in known.filter(scope.in_days).iter_rows(named=True):
        ones = first[row["order_id"]]
        one = next((one for one in ones if one.state != "unexplained"), ones[0])
        yield scope.difference(
            "verdict-not-reproducible", row, _different(row["order_id"], one), _evidence(one, ones), TABLES
        )


def _different(order_id: str, one: Disagreement) -> str:
    if one.state == "unexplained":
        return f"Nothing that came in leads to what the stream says of order {order_id}: {one.words}."
    if one.state == "unjudged":
        return f"Nobody can judge order {order_id} again as the stream did: {one.words}."
    return f"The same inputs give another answer for order {order_id} on {one.target}: {one.words}."


def _evidence(one: Disagreement, ones: list[Disagreement]) -> dict[str, object]:
    return {
        "event": one.event_id,
        "input": one.read,
        "record": one.found,
        "difference": one.words,
        "also": "; ".join(f"{other.target}: {other.words}" for other in ones if other is not one),
    }


def would_change(scope: Scope) -> Iterator[Difference]:
    """Yield each order that is judged rightly by what had come in, and would be judged otherwise by what came late."""
    if not scope.changed:
        return
    changed = {one.order_id: one for one in scope.changed}
    asked = scope.orders.filter(scope.in_days & pl.col("order_id").is_in(list(changed)))
    for row in asked.join(scope.in_shop, on="order_id", how="semi", maintain_order="left").iter_rows(named=True):
        one = changed[row["order_id"]]
        yield scope.difference("verdict-would-change", row, _had_it_come(one), _lateness(one), TABLES)


def _had_it_come(one: Changed) -> str:
    late, *others = one.late
    more = f" (and {len(others)} more)" if others else ""
    if late.event_id == f"order/{one.order_id}":
        what = f"{late.event_id}{more} itself came in {words(late.by)} after events that are dated later"
    else:
        what = f"{late.event_id}{more}, which belongs before it, came in {words(late.by)} after it"
    return (
        f"Order {one.order_id} was judged {one.was.outcome} ({one.was.score} points), and would have been judged "
        f"{one.would.outcome} ({one.would.score} points) had everything come in in time: {what}."
    )


def _lateness(one: Changed) -> dict[str, object]:
    """Return the evidence: what is late, and both verdicts with the signals in which they differ."""
    was, would = one.was.signals, one.would.signals
    differing = [name for name in (*was, *(new for new in would if new not in was)) if was.get(name) != would.get(name)]
    listed = [
        f"{name} {was.get(name, 'absent')}, in time {would.get(name, 'absent')}" for name in differing[:MAX_NAMED]
    ]
    if len(differing) > MAX_NAMED:
        listed.append(f"and {len(differing) - MAX_NAMED} more")
    return {
        "verdict": f"{one.was.outcome} ({one.was.score} points)",
        "verdict in time": f"{one.would.outcome} ({one.would.score} points): "
        + " ".join(reason.text for reason in one.would.reasons),
        "late": "; ".join(
            f"{late.event_id} at {CUSTOMER_EVENTS.name}, partition {late.partition}, offset {late.offset}, dated "
            f"{late.time:%Y-%m-%d %H:%M:%S} UTC, came in {late.came_in:%Y-%m-%d %H:%M:%S} UTC, {words(late.by)} late"
            for late in one.late[:MAX_NAMED]
        )
        + (f"; and {len(one.late) - MAX_NAMED} more" if len(one.late) > MAX_NAMED else ""),
        "signals": "; ".join(listed),
    }

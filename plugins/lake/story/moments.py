"""What a row of the lake says of an order, in words: pure, one function per kind of row."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time
from types import MappingProxyType
from typing import Any, Literal

import msgspec

from lake.reconcile.findings import OWN_REMEDIES, money
from lake.report.words import KINDS, REMEDIES
from order_fraud import events
from order_fraud.events import (
    AnyEvent,
    ChargebackOpened,
    DeliveryCancelled,
    DeliveryHeld,
    DeliveryReleased,
    FraudCleared,
    FraudConfirmed,
    NewCustomer,
    NewOrder,
    NoFraudDetected,
    PossibleFraud,
    VerdictOverdue,
)

type Tone = Literal["ok", "warn", "bad", ""]
type Half = Literal["source", "stream", "batch"]
type Row = Mapping[str, Any]


class Moment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happened, or that somebody said.

    Attributes:
        time: when, UTC: business time of events and sources, the clock for what a DAG did.
        half: who says so: a source system, the stream, or the batch half.
        what: what it is, in few words.
        said: in a sentence.
        where: table, and place in it.
        came_in: when its record came in, if that is told.
        tone: whether it is good or bad for the order.
        details: what else the row says, by name.
        rank: of two of the same time, the lower one comes first.
    """

    time: datetime
    half: Half
    what: str
    said: str
    where: str
    came_in: datetime | None = None
    tone: Tone = ""
    details: Mapping[str, str] = MappingProxyType({})
    rank: int = 0


def in_order(moments: Iterable[Moment]) -> list[Moment]:
    """Return the moments in time order; what happened at one instant in the order of causes."""
    return sorted(moments, key=lambda one: (one.time, one.rank, one.came_in or one.time, one.where))


# --- the stream -------------------------------------------------------------------------------------------------------


def of_records(stages: Iterable[tuple[str, Iterable[Row]]]) -> Iterator[Moment]:
    """Yield what the archived records say.

    Args:
        stages: topics in the order of the way, each with its records (``partition``, ``offset``, ``timestamp``,
            ``value``).
    """
    seen: dict[str, float] = {}
    for rank, (topic, rows) in enumerate(stages):
        for row in rows:
            event = events.decode(row["value"].encode())
            what, said, tone, details = _said(topic, event, seen)
            yield Moment(
                time=event.time,
                half="stream",
                what=what,
                said=said,
                where=f"{topic}, partition {row['partition']}, offset {row['offset']}",
                came_in=row["timestamp"],
                tone=tone,
                details=details,
                rank=10 + rank,
            )
            seen.update(getattr(event.data, "signals", {}))


type _Words = tuple[str, str, Tone, Mapping[str, str]]


def _said(topic: str, event: AnyEvent, seen: Mapping[str, float]) -> _Words:
    """Return what an event is, in a sentence, its tone, and its details."""
    match event:
        case NewCustomer():
            return "Signed up", f"Customer {event.subject} signed up.", "", _fields(event.data)
        case NewOrder() if topic.startswith("relay."):
            stamped = {name: f"{value:g}" for name, value in event.data.signals.items() if name not in seen}
            entity = topic.partition(".by-")[2]
            said = f"{len(stamped)} signals stamped, passed on to the hop by {entity.replace('-', ' ')}."
            return "Passed on", said, "", stamped
        case NewOrder():
            said = f"Customer {event.data.customer_id} ordered for {money(event.data.amount, event.data.currency)}."
            return "Came in", said, "", _fields(event.data)
        case PossibleFraud() | NoFraudDetected():
            return _verdict(event, seen)
        case DeliveryReleased():
            return "Released", "The warehouse may ship.", "ok", {"because of": event.data.cause}
        case DeliveryHeld():
            return "Held", "The warehouse must wait.", "warn", {"because of": event.data.cause}
        case DeliveryCancelled():
            said = "The warehouse must stop or recall the parcel."
            return "Delivery cancelled", said, "bad", {"because of": event.data.cause}
        case VerdictOverdue():
            said = f"No verdict for more than {event.data.longer_than_s:g} s."
            return "Verdict overdue", said, "bad", _fields(event.data)
        case FraudConfirmed() | ChargebackOpened() | FraudCleared():
            return _word(topic, event)
        case _:
            return type(event).__name__, "", "", _fields(event.data)


def _word(topic: str, event: FraudConfirmed | ChargebackOpened | FraudCleared) -> _Words:
    if topic.startswith("relay."):
        entity = topic.partition(".by-")[2].replace("-", " ")
        return "Passed on", f"{type(event).__name__} passed on to the hop by {entity}.", "", {}
    words: dict[type, tuple[str, str, Tone]] = {
        FraudConfirmed: ("Confirmed as fraud", "A person found it to be fraud.", "bad"),
        ChargebackOpened: ("Charged back", "The cardholder's bank takes the money back.", "bad"),
        FraudCleared: ("Cleared by a person", "A person found it to be honest.", "ok"),
    }
    return *words[type(event)], _fields(event.data)


def _verdict(event: PossibleFraud | NoFraudDetected, seen: Mapping[str, float]) -> _Words:
    verdict = event.data
    clear = isinstance(event, NoFraudDetected)
    points = f"{verdict.score} point{'' if verdict.score == 1 else 's'}"
    said = f"{points} by scorecard {verdict.scorecard_version}: {verdict.outcome}."
    details = {f"{reason.code} ({reason.points:+})": reason.text for reason in verdict.reasons}
    details |= {
        f"scorecard {one.scorecard_version}, on trial": f"{one.outcome}, {one.score} points" for one in verdict.shadows
    }
    details |= {name: f"{value:g}" for name, value in verdict.signals.items() if name not in seen}
    return ("No fraud detected" if clear else "Possible fraud"), said, "ok" if clear else "warn", details


def _fields(data: Any) -> dict[str, str]:
    found = json.loads(msgspec.json.encode(data))
    return {name: str(value) for name, value in found.items() if value not in (None, "", {})}


# --- the sources ------------------------------------------------------------------------------------------------------


def of_source(table: str, rows: Iterable[Row]) -> Iterator[Moment]:
    """Yield what rows of a source's table say: shop, payments, and whatever else has landed with an order's id."""
    for row in rows:
        what, said, tone = _SOURCES.get(table, _any_source)(row) if table in _SOURCES else _any_source(row)
        yield Moment(
            time=_when(row),
            half="source",
            what=what or table,
            said=said,
            where=table,
            tone=tone,
            details={name: _plain(value) for name, value in row.items() if value is not None},
            rank=0 if table == "shop.orders" else 30,
        )


def _shop(row: Row) -> tuple[str, str, Tone]:
    state = f", {row['financial_status']}" if row.get("financial_status") else ""
    return "Sold", f"The shop has it for {money(row['amount'], row['currency'])}{state}.", ""


def _charge(row: Row) -> tuple[str, str, Tone]:
    done = "captured" if row.get("captured") else "reserved"
    took = row.get("status") in ("succeeded", "pending", None)
    said = f"Charge {row['charge_id']}: {money(row['amount'], row['currency'])} {done}, {row.get('status')}."
    return ("Paid" if took else "Payment failed"), said, "ok" if took else "warn"


def _any_source(row: Row) -> tuple[str, str, Tone]:
    amount = money(row["amount"], row.get("currency")) if isinstance(row.get("amount"), int) else ""
    state = next((str(row[name]) for name in ("status", "state", "reason") if row.get(name)), "")
    return "", f"{', '.join(part for part in (amount, state) if part) or 'There is a row of it'}.", ""


_SOURCES: Mapping[str, Callable[[Row], tuple[str, str, Tone]]] = MappingProxyType(
    {"shop.orders": _shop, "payments.charges": _charge}
)


def of_quarantine(table: str, rows: Iterable[Row]) -> Iterator[Moment]:
    """Yield which rows about the order were set aside."""
    for row in rows:
        yield Moment(
            time=row["landed_at"],
            half="batch",
            what="Set aside",
            said=f"A row failed a check and did not land: {row['reason']}.",
            where=table,
            tone="warn",
            details={"check": row["expectation"], "from": row["origin"], "run": row["run_id"]},
            rank=40,
        )


# --- the batch half ---------------------------------------------------------------------------------------------------


def of_findings(rows: Iterable[Row]) -> Iterator[Moment]:
    """Yield each finding, and the correction that it asks a service of ours for."""
    for row in rows:
        state = row["state"] or "open"
        moment = row["as_of"] or datetime.combine(row["day"], time(), UTC)
        runs = {"first seen by": row["first_seen_run"], "last seen by": row["run_id"]}
        if row["closed_run"]:
            runs["closed by"] = row["closed_run"]
        kind = KINDS[row["kind"]].title if row["kind"] in KINDS else row["kind"]
        yield Moment(
            time=moment,
            half="batch",
            what=f"Finding: {kind}",
            said=f"{row['cause']} At stake: {money(row['amount'], row['currency'])}. {state.capitalize()}.",
            where=f"reconciliation.findings, {row['kind']}",
            tone="bad" if state == "open" else "ok",
            details=json.loads(row["evidence"]) | runs,
            rank=50,
        )
        asked = REMEDIES.get(row["remedy"], row["remedy"])
        if row["remedy"] in OWN_REMEDIES:
            yield Moment(
                time=moment,
                half="batch",
                what="Correction requested",
                said=asked,
                where=f"correction/{row['kind']}/{row['order_id']}",
                rank=51,
            )


def of_settlement(rows: Iterable[Row]) -> Iterator[Moment]:
    """Yield the steps of the saga that settles the order as fraud."""
    tones: Mapping[str, Tone] = {"done": "ok", "refused": "bad", "spent": "warn"}
    for row in rows:
        step = (row["step"] or "the order").replace("-", " ")
        undo = "undo " if row["undo"] else ""
        yield Moment(
            time=row["at"],
            half="batch",
            what=f"Settlement: {undo}{step}",
            said=f"{row['word'].capitalize()}. {row['cause'].capitalize()}.",
            where=f"settlement.steps, number {row['number']}",
            tone=tones.get(row["word"], ""),
            details=json.loads(row["evidence"]) | {"key": row["key"] or "", "run": row["run_id"]},
            rank=60 + row["number"],
        )


def _when(row: Row) -> datetime:
    times = [row[name] for name in ("created_at", "time", "updated_at") if isinstance(row.get(name), datetime)]
    times += [value for value in row.values() if isinstance(value, datetime)]
    if times:
        return times[0]
    days = [value for value in row.values() if isinstance(value, date)]
    return datetime.combine(days[0] if days else date(2000, 1, 1), time(), UTC)


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)

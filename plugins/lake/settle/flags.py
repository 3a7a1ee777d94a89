"""The step that flags a customer: one flag for all orders of a customer that are fraud.

The flag goes up with the first order. When the last one is undone it becomes what it was before the first, which is
noted in the ledger before anything is changed.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from lake.settle.case import Case, Evidence, Job, Result
from lake.settle.crm import CONFIRMED
from lake.settle.each import Each
from order_fraud.settlement import FLAG_CUSTOMER, Entry

CONTACT, BEFORE, NOTE = "contact", "flag before", "note"


class Contacts(Protocol):
    """The CRM, as far as it is needed here."""

    def contact(self, customer_id: str) -> tuple[str, str] | None:
        """Return a customer's contact id and its flag, None if the CRM does not know the customer."""

    def set_flag(self, contact_id: str, flag: str) -> None:
        """Flag a contact; an empty flag takes it away."""


class Book(Protocol):
    """The ledger, as far as it is needed here."""

    def of_customers(self, customer_ids: Sequence[str]) -> Mapping[str, Mapping[str, Sequence[Entry]]]:
        """Return the entries of all orders of customers, by customer id and order id."""


class Flags:
    """The port of the step."""

    def __init__(self, crm: Contacts, ledger: Book) -> None:
        self._crm = crm
        self._ledger = ledger
        self._each = Each(self._call)

    def prepare(self, cases: Sequence[Case]) -> Mapping[str, Evidence]:
        """Return each customer's contact, and its flag before any of the customer's orders was fraud."""
        customers = sorted({case.customer_id for case in cases})
        orders = self._ledger.of_customers(customers)
        found: dict[str, Evidence] = {}
        for customer_id in customers:
            known = next(iter(_holding(orders[customer_id]).values()), None)
            found[customer_id] = known or self._now(customer_id)
        return {case.order_id: found[case.customer_id] for case in cases}

    def act(self, jobs: Sequence[Job]) -> Iterator[Result]:
        """Put flags up or take them down."""
        return self._each.act(jobs)

    def _now(self, customer_id: str) -> Evidence:
        contact = self._crm.contact(customer_id)
        if contact is None:
            return {NOTE: "the CRM does not know the customer"}
        return {CONTACT: contact[0], BEFORE: contact[1]}

    def _call(self, job: Job) -> Evidence:
        noted = job.evidence.get(FLAG_CUSTOMER, {})
        if CONTACT not in noted:
            return {}
        if not job.action.undo:
            self._crm.set_flag(noted[CONTACT], CONFIRMED)
            return {}
        customer_id = job.case.customer_id
        others = _holding(self._ledger.of_customers([customer_id])[customer_id]).keys() - {job.case.order_id}
        if others:
            return {NOTE: f"the flag stays: {', '.join(sorted(others))} of the same customer is fraud, too"}
        self._crm.set_flag(noted[CONTACT], noted[BEFORE])
        return {}


def _holding(orders: Mapping[str, Sequence[Entry]]) -> dict[str, Evidence]:
    """Return the notes of the orders for which the flag is up, or may be."""
    holding: dict[str, Evidence] = {}
    for order_id, entries in orders.items():
        for entry in entries:
            if entry.step != FLAG_CUSTOMER:
                continue
            if entry.undo and entry.word == "done":
                holding.pop(order_id, None)
            elif not entry.undo and entry.word in ("begun", "done") and CONTACT in entry.evidence:
                holding[order_id] = {name: entry.evidence[name] for name in (CONTACT, BEFORE)}
            elif not entry.undo and entry.word == "refused":
                holding.pop(order_id, None)
    return holding

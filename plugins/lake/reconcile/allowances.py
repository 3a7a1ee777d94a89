"""How long the systems may take before a difference is one: the waits that a person may choose in the form.

Late data is waited for up to its allowance and then reported; when it comes after all, the next run over those days no
longer finds the difference, and its row in the findings table is closed.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec

from lake.errors import Hopeless


class BadAllowance(Hopeless):
    """An allowance of the form is no length of time; the message names the field and what it may be."""


class Allowances(msgspec.Struct, frozen=True, kw_only=True):
    """The waits of one run.

    Attributes:
        sign_up_minutes: after an order was placed, until its customer's sign-up must have come in.
        held_hours: how long an order may be held until a person has decided.
        skew_seconds: how long after a scorecard was replaced an order may come in and still be judged by it.
        late_seconds: how much later than another event one may come in, although it is dated earlier, without being
            late: nobody can tell the order of what comes in at once.
        refund_hours: after it was said that money goes back, until the payment provider must have it as a refund.
        contact_hours: after an order, until the CRM must know of its customer what the shop knows.
    """

    sign_up_minutes: float = 60
    held_hours: float = 72
    skew_seconds: float = 60
    late_seconds: float = 60
    refund_hours: float = 72
    contact_hours: float = 24

    @property
    def sign_up(self) -> timedelta:
        """See ``sign_up_minutes``."""
        return timedelta(minutes=self.sign_up_minutes)

    @property
    def held(self) -> timedelta:
        """See ``held_hours``."""
        return timedelta(hours=self.held_hours)

    @property
    def skew(self) -> timedelta:
        """See ``skew_seconds``."""
        return timedelta(seconds=self.skew_seconds)

    @property
    def late(self) -> timedelta:
        """See ``late_seconds``."""
        return timedelta(seconds=self.late_seconds)

    @property
    def refund(self) -> timedelta:
        """See ``refund_hours``."""
        return timedelta(hours=self.refund_hours)

    @property
    def contact(self) -> timedelta:
        """See ``contact_hours``."""
        return timedelta(hours=self.contact_hours)


MOST = timedelta(days=3_650)
"""No allowance is longer; a bigger number is one in another unit."""


def of_params(params: Mapping[str, Any]) -> Allowances:
    """Return the allowances of the form; a field that is not there has its default.

    Raises:
        BadAllowance: no number, below zero, or longer than ``MOST``.
    """
    asked = {name: params[name] for name in Allowances.__struct_fields__ if params.get(name) is not None}
    try:
        allowances = msgspec.convert(asked, Allowances)
        lengths = {
            "sign_up_minutes": allowances.sign_up,
            "held_hours": allowances.held,
            "skew_seconds": allowances.skew,
            "late_seconds": allowances.late,
            "refund_hours": allowances.refund,
            "contact_hours": allowances.contact,
        }
    except (msgspec.ValidationError, OverflowError, ValueError) as error:
        raise BadAllowance(f"an allowance of the form is no number: {error}") from error
    for name, length in lengths.items():
        if not timedelta(0) <= length <= MOST:
            raise BadAllowance(f"{name} is {getattr(allowances, name):g}: it must lie between 0 and {MOST.days} days")
    return allowances


def words(length: timedelta) -> str:
    """Return a length of time as a person says it, in its two largest units: ``3 d 4 h``."""
    seconds = length.total_seconds()
    if seconds < 60:
        return f"{seconds:.3g} s"
    left, parts = round(seconds), []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        number, left = divmod(left, size)
        if number or parts:
            parts.append(f"{number} {unit}")
    return " ".join(part for part in parts[:2] if not part.startswith("0 "))

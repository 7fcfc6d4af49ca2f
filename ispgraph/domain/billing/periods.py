"""Periods of service: half-open, counted from an anchor by the calendar of the tenant's zone. Pure.

Every boundary is counted from the anchor, never from the boundary before it, so periods that begin on 31 January end
on 28 February and then on 31 March. A boundary shows the anchor's time on the wall, also when the clocks changed in
between. A time that the clocks skip is read with the offset from before the change (PEP 495, fold=0): 02:30 in a gap of
an hour is 03:30. Of a time that comes twice the first is meant. The SQL functions `billing_cycle` and
`billing_boundary` say the same.
"""

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from ispgraph.domain.models import BillingCycle

LEFT_OUT_DAYS = 30
"""The `validity_days` of a package for which none were given."""

_MONTHS_IN_WORDS = {1: "1 month", 12: "1 year"}


@dataclass(frozen=True, slots=True)
class Cycle:
    """How long a period is: so many `months` of the calendar, or so many `days`; the other one is 0."""

    months: int
    days: int
    recurs: bool = True
    """Whether another period follows."""

    def __post_init__(self) -> None:
        if min(self.months, self.days) != 0 or max(self.months, self.days) < 1:
            raise ValueError("a period is at least one day, or at least one month")

    @property
    def words(self) -> str:
        """Such as "1 month", "7 days"."""
        if self.months:
            return _MONTHS_IN_WORDS.get(self.months, f"{self.months} months")
        return in_days(self.days)


# What a cycle means, and the `validity_days` that say no more than the cycle itself.
_WHOLE = {
    BillingCycle.WEEKLY: (Cycle(0, 7), range(7, 8)),
    BillingCycle.MONTHLY: (Cycle(1, 0), range(28, 32)),
    BillingCycle.QUARTERLY: (Cycle(3, 0), range(89, 93)),
    BillingCycle.YEARLY: (Cycle(12, 0), range(365, 367)),
}


def cycle_of(billing_cycle: BillingCycle, validity_days: int) -> Cycle:
    """How long a period of a package is: the one rule of the product.

    WEEKLY is 7 days, MONTHLY, QUARTERLY and YEARLY are 1, 3 and 12 months of the calendar, unless `validity_days` says
    something else: neither 30, which it is when left out, nor a length that such a cycle has (7; 28–31; 89–92; 365,
    366). Otherwise, and for DAILY and ONE_TIME, a period is `validity_days` days. ONE_TIME is not followed by another.
    """
    whole, usual = _WHOLE.get(billing_cycle, (None, ()))
    if whole is not None and (validity_days == LEFT_OUT_DAYS or validity_days in usual):
        return whole
    return Cycle(0, validity_days, recurs=billing_cycle is not BillingCycle.ONE_TIME)


@dataclass(frozen=True, slots=True)
class Period:
    """From `start`, which belongs to it, to `end`, which does not. UTC."""

    start: datetime
    end: datetime


def boundary(anchor: datetime, cycle: Cycle, number: int, zone: str) -> datetime:
    """The instant, in UTC, at which the period `number` begins and the one before it ends; 0 is the anchor itself.

    The day of a month that has no such day is its last.
    """
    if number == 0:
        return anchor.astimezone(UTC)
    there = anchor.astimezone(ZoneInfo(zone))
    year, month = divmod(there.year * 12 + there.month - 1 + number * cycle.months, 12)
    day = min(there.day, monthrange(year, month + 1)[1])
    moved = there.replace(year=year, month=month + 1, day=day, fold=0) + timedelta(days=number * cycle.days)
    return moved.astimezone(UTC)


def period(anchor: datetime, cycle: Cycle, number: int, zone: str) -> Period:
    """The period with this number; the one that begins at the anchor is 0, the one before it -1."""
    return Period(boundary(anchor, cycle, number, zone), boundary(anchor, cycle, number + 1, zone))


def number_at(anchor: datetime, cycle: Cycle, at: datetime, zone: str) -> int:
    """The number of the period around an instant, which may be before the anchor."""
    first, wall = anchor.astimezone(ZoneInfo(zone)), at.astimezone(ZoneInfo(zone))
    if cycle.months:
        number = ((wall.year - first.year) * 12 + wall.month - first.month) // cycle.months
    else:
        number = (wall.date() - first.date()).days // cycle.days
    # That was by the calendar alone; the time of day can put the instant into the period before or after.
    while boundary(anchor, cycle, number, zone) > at:
        number -= 1
    while boundary(anchor, cycle, number + 1, zone) <= at:
        number += 1
    return number


def local_date(at: datetime, zone: str) -> date:
    """Which day an instant falls on in a zone."""
    return at.astimezone(ZoneInfo(zone)).date()


def span(found: Period, zone: str) -> str:
    """From when to when, for a person: "31 January to 28 February 2027"."""
    first, last = local_date(found.start, zone), local_date(found.end, zone)
    year = "" if first.year == last.year else f" {first.year}"
    return f"{first.day} {first:%B}{year} to {last.day} {last:%B} {last.year}"


def day_in_words(day: date) -> str:
    """For a person, where the year goes without saying: "14 March"."""
    return f"{day.day} {day:%B}"


def in_days(count: int) -> str:
    """For a person: "1 day", "7 days"."""
    return "1 day" if count == 1 else f"{count} days"

"""How long the periods of a customer are and on which day they end, where the customer's billing profile says so. Pure.

**Another cycle.** A period of a cycle that was chosen instead of the package's costs the package's price, scaled: by
months where both are whole months (30.00 a month are 360.00 a year), otherwise by days at the daily rate of the
package, which is the one it names, or its price by the days of its own period (a month counts 30 days, a quarter 90, a
year 365). It is rounded once, halves up. A package that is sold once stays so.

**Another day.** The running period is kept. The next one begins where it ends and ends on the new day: it is the rest
of a period that would have begun earlier, charged pro rata by days (`proration.charge`). Whole periods follow. All of
that is in one column: `services.billing_anchor` moves to the new day, and the period to be charged next is the one
around the end that is paid for, from that end on.
"""

from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from zoneinfo import ZoneInfo

from ispgraph.domain import money
from ispgraph.domain.billing import periods, proration
from ispgraph.domain.billing.invoices import Line
from ispgraph.domain.billing.periods import Cycle, Period
from ispgraph.domain.billing.proration import Sold
from ispgraph.domain.models import BillingCycle

_DAYS = {1: 30, 3: 90, 12: 365}


@dataclass(frozen=True, slots=True)
class Upcoming:
    """What is charged next: from `period.start` to `period.end`, which is a part of `whole` or all of it."""

    period: Period
    whole: Period

    @property
    def partial(self) -> bool:
        """Whether it is charged pro rata."""
        return self.whole.start < self.period.start


def chosen(package: BillingCycle, validity_days: int, profile: BillingCycle | None) -> Cycle:
    """How long the periods of a package are for a customer whose profile names a cycle, or none."""
    own = periods.cycle_of(package, validity_days)
    if profile is None or profile is package or not own.recurs:
        return own
    return periods.cycle_of(profile, 1 if profile is BillingCycle.DAILY else periods.LEFT_OUT_DAYS)


def price_minor(price_minor: int, daily_rate_minor: int | None, own: Cycle, wanted: Cycle) -> int:
    """What a period of the wanted cycle costs of a package with this price for a period of its own."""
    if wanted == own:
        return price_minor
    if wanted.months and own.months:
        return money.half_up(Fraction(price_minor * wanted.months, own.months))
    daily = Fraction(price_minor, _days(own)) if daily_rate_minor is None else Fraction(daily_rate_minor)
    return money.half_up(daily * _days(wanted))


def _days(cycle: Cycle) -> int:
    return _DAYS[cycle.months] if cycle.months else cycle.days


def on_day(end: datetime, day: int, zone: str) -> datetime:
    """The first instant from `end` on that falls on this day of a month (1 to 28), at the same time on the wall."""
    there = end.astimezone(ZoneInfo(zone))
    if there.day == day:
        return end
    year, month = (there.year, there.month) if day > there.day else divmod(there.year * 12 + there.month, 12)
    return there.replace(year=year, month=month + (day < there.day), day=day, fold=0).astimezone(end.tzinfo)


def upcoming(anchor: datetime, cycle: Cycle, end: datetime, zone: str) -> Upcoming:
    """What follows an end that is paid for."""
    whole = periods.period(anchor, cycle, periods.number_at(anchor, cycle, end, zone), zone)
    return Upcoming(Period(end, whole.end), whole)


def line(sold: Sold, found: Upcoming, zone: str) -> Line:
    """What it costs."""
    if found.partial:
        return proration.charge(sold, found.whole, found.period.start, zone)
    return proration.whole(sold, found.whole, zone)

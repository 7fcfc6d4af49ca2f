"""What a period costs, whole or in part, as lines that say how they came about. Pure: integers and fractions.

A period is split by whole days of the tenant's calendar; the day of a change belongs to what begins with it. What is
left of a price is rounded once, and what was used is the rest of it: however often a period is split, the parts sum to
the price, and each is within one minor unit of its exact share.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from ispgraph.domain import money
from ispgraph.domain.billing import periods
from ispgraph.domain.billing.invoices import Line
from ispgraph.domain.billing.periods import Cycle, Period


@dataclass(frozen=True, slots=True)
class Sold:
    """What is sold, at a price for each period in minor units; the rate of tax in percent, on top of the price or in
    it."""

    name: str
    cycle: Cycle
    price_minor: int
    currency: str
    tax_rate: Decimal
    tax_included: bool

    @property
    def price(self) -> str:
        """For a person: "30.00 USD"."""
        return money.shown(self.price_minor, self.currency)

    @property
    def tax(self) -> str:
        """How the tax goes with the price, for a person."""
        if not self.tax_rate:
            return "without tax"
        rate = f"{self.tax_rate.normalize():f}"
        return f"with {rate} % tax in it" if self.tax_included else f"and {rate} % tax"


@dataclass(frozen=True, slots=True)
class Change:
    """The lines of a change, credit before charge, and the period that is paid for once they are settled."""

    lines: Sequence[Line]
    period: Period


def days(period: Period, zone: str) -> int:
    """How many days of the calendar a period has. A day on which it ends in the middle is the next one's."""
    return (periods.local_date(period.end, zone) - periods.local_date(period.start, zone)).days


def days_left(period: Period, at: datetime, zone: str) -> int:
    """How many of them are left, the day of `at` among them: all of them before it begins, none when it is over."""
    left = (periods.local_date(period.end, zone) - periods.local_date(at, zone)).days
    return min(max(left, 0), days(period, zone))


def left_minor(price_minor: int, left: int, of: int) -> int:
    """What `left` of `of` days are of a price, rounded half up. Raises ValueError for more days than there are."""
    if not 0 <= left <= of or of < 1:
        raise ValueError("a part of a period has some of its days")
    return money.half_up(Fraction(price_minor * left, of))


def whole(sold: Sold, period: Period, zone: str) -> Line:
    """A whole period."""
    return _line(
        sold,
        sold.price_minor,
        f"{sold.name}, {sold.cycle.words}, {periods.span(period, zone)}",
        f"{sold.cycle.words} at {sold.price}, {sold.tax}.",
    )


def charge(sold: Sold, period: Period, at: datetime, zone: str) -> Line:
    """The rest of a period, from the day of `at` on."""
    return part(sold, period, Period(min(max(at, period.start), period.end), period.end), zone)


def part(sold: Sold, period: Period, of: Period, zone: str) -> Line:
    """A part of a period: what is left of the price when it begins, without what is left of it when it ends."""
    first, last, every = days_left(period, of.start, zone), days_left(period, of.end, zone), days(period, zone)
    return _line(
        sold,
        left_minor(sold.price_minor, first, every) - left_minor(sold.price_minor, last, every),
        f"{sold.name}, {first - last} of {periods.in_days(every)}, {periods.span(of, zone)}",
        f"{first - last} of {periods.in_days(every)} of {sold.price}, {sold.tax}.",
    )


def parts(sold: Sold, anchor: datetime, span: Period, zone: str) -> list[tuple[Period, Line]]:
    """What a stretch of time costs, by the periods that are counted from the anchor: whole ones, and parts of the
    first and the last."""
    found: list[tuple[Period, Line]] = []
    number = periods.number_at(anchor, sold.cycle, span.start, zone)
    reached = span.start
    while reached < span.end:
        period = periods.period(anchor, sold.cycle, number, zone)
        within = Period(reached, min(period.end, span.end))
        line = whole(sold, period, zone) if within == period else part(sold, period, within, zone)
        found.append((within, line))
        reached, number = within.end, number + 1
    return found


def credit(sold: Sold, period: Period, at: datetime, zone: str) -> Line:
    """The same given back, where the whole period was charged: what is not used from the day of `at` on."""
    left, of = days_left(period, at, zone), days(period, zone)
    return _line(
        sold,
        -left_minor(sold.price_minor, left, of),
        f"Credit for {sold.name}, {left} of {periods.in_days(of)}, {_rest(period, at, zone)}",
        f"{left} of {periods.in_days(of)} of {sold.price} are not used, {sold.tax}.",
    )


def change(old: Sold, new: Sold, period: Period, at: datetime, zone: str) -> Change:
    """From the old to the new within a period of the old: a credit for the rest of the one, a charge for the other.

    With the same cycle the period stays, and the new is charged for its rest; with another one the new begins a period
    of its own at that moment, charged in full. There is no line for no days, nor for what is free.
    """
    left = days_left(period, at, zone) > 0
    lines = [credit(old, period, at, zone)] if left and old.price_minor else []
    if new.cycle != old.cycle:
        period = Period(at, periods.boundary(at, new.cycle, 1, zone))
        lines += [whole(new, period, zone)] if new.price_minor else []
    elif left and new.price_minor:
        lines.append(charge(new, period, at, zone))
    return Change(lines, period)


def _line(sold: Sold, minor: int, description: str, explanation: str) -> Line:
    return Line(
        description=description,
        unit_price_minor=minor,
        tax_rate=sold.tax_rate,
        tax_included=sold.tax_included,
        explanation=explanation,
    )


def _rest(period: Period, at: datetime, zone: str) -> str:
    return periods.span(Period(min(max(at, period.start), period.end), period.end), zone)

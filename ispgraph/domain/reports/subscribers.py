"""How many customers were served, gained and lost, month by month, and what one brings.

A customer is served at an instant when the time of a service runs then: time that is charged and not released by then
(`BilledPeriod`), as far as it lies between the beginning of the service and its end (`expires_at`); of a service of
which no time is charged, all that lies between the two. A service that is suspended counts while its time runs: what is
lost is who does not go on when the time is over.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    bindparam,
    cast,
    exists,
    func,
    literal_column,
    or_,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import customers
from ispgraph.domain.errors import ErrorCode, fail
from ispgraph.domain.models import BilledPeriod, Service, ServiceStatus
from ispgraph.domain.money import half_up
from ispgraph.domain.reports import revenue
from ispgraph.domain.reports.periods import Asker, ReportGranularity, Stretch, answer, month_after, stretch


@dataclass(frozen=True, slots=True)
class Month:
    """Customers who were served at the beginning of a month, those of them who were not at its end (`lost`), those who
    were at its end only (`gained`), and what was earned in the month."""

    served_at_start: int
    gained: int
    lost: int
    net_minor: int

    @property
    def served_at_end(self) -> int:
        """As many as at the beginning of the next month."""
        return self.served_at_start + self.gained - self.lost

    @property
    def arpu_minor(self) -> int | None:
        """What was earned, shared by the average of those served at the beginning and at the end; halves away from
        zero. None when there were none."""
        both = self.served_at_start + self.served_at_end
        return half_up(Fraction(2 * self.net_minor, both)) if both else None

    @property
    def churn_percent(self) -> Decimal | None:
        """How many of those served at the beginning were lost, with two decimals. None when there were none."""
        if self.served_at_start == 0:
            return None
        return Decimal(half_up(Fraction(10_000 * self.lost, self.served_at_start))).scaleb(-2)


def months(first: date, end: date, by: Asker, *at: str) -> Stretch:
    """The whole months of the days from `first` until before `end`, without those that have not begun; the one that is
    not over ends now.

    Raises DomainError INVALID at the path `at`, from.
    """
    if first < end:
        first, end = first.replace(day=1), end if end.day == 1 else month_after(end)
    found = stretch(first, end, ReportGranularity.MONTH, by.time_zone, *at)
    now = clock.now()
    begun = sum(bound <= now for bound in found.bounds[:-1])
    if begun == 0:
        raise fail(ErrorCode.INVALID, "These months are still to come.", *at, "from")
    return Stretch(found.days[: begun + 1], [*found.bounds[:begun], min(found.bounds[begun], now)])


async def by_month(session: AsyncSession, asked: Stretch, by: Asker) -> Sequence[Month]:
    """The figures of each of `months`."""
    each = _masks(asked, by)
    bounds = range(asked.count + 1)
    # Bit by bit: who was served at a bound, and who at this one and the next as well.
    served = [func.count().filter(_has(each.c.mask, 1 << place)) for place in bounds]
    stayed = [func.count().filter(_has(each.c.mask, 3 << place)) for place in bounds[:-1]]
    (row,) = await answer(session, select(*served, *stayed).select_from(each))
    earned = await revenue.revenue(session, asked, by)
    return [
        Month(
            served_at_start=row[place],
            gained=row[place + 1] - row[len(bounds) + place],
            lost=row[place] - row[len(bounds) + place],
            net_minor=earned[place].net_minor,
        )
        for place in range(asked.count)
    ]


def _has(mask: Any, bits: int) -> ColumnElement[bool]:
    wanted = bindparam(None, bits, BigInteger())
    found: ColumnElement[bool] = mask.op("&")(wanted) == wanted
    return found


def _masks(asked: Stretch, by: Asker) -> Any:
    """Of each customer a mask: the bit of a bound is set when the customer was served then."""
    own = customers.belonging(by, Service.customer_id)
    began, ends = Service.started_at, func.coalesce(Service.expires_at, literal_column("'infinity'::timestamptz"))
    charged = (
        select(
            Service.customer_id,
            func.greatest(BilledPeriod.starts_at, began).label("since"),
            # None of these is more than the end; least() passes over what is null.
            func.least(BilledPeriod.ends_at, BilledPeriod.released_at, ends).label("until"),
        )
        .join_from(Service, BilledPeriod, BilledPeriod.service_id == Service.id)
        .where(began.is_not(None), BilledPeriod.starts_at <= asked.bounds[-1], BilledPeriod.ends_at > asked.bounds[0])
        .where(own)
    )
    is_charged = exists().where(BilledPeriod.service_id == Service.id, BilledPeriod.released_at.is_(None))
    # Nobody knows when the time of a terminated service without an end was over.
    known = or_(Service.status != ServiceStatus.TERMINATED, Service.expires_at.is_not(None))
    uncharged = select(Service.customer_id, began, ends).where(began.is_not(None), known, ~is_charged, own)
    time = union_all(charged, uncharged).subquery()
    mask = _bit(asked.before(time.c.until)) - _bit(asked.before(time.c.since))
    return (
        select(time.c.customer_id, func.bit_or(mask).label("mask"))
        .where(time.c.since < time.c.until)
        .group_by(time.c.customer_id)
        .subquery()
    )


def _bit(place: ColumnElement[int]) -> ColumnElement[int]:
    return cast(literal_column("1"), BigInteger).op("<<", return_type=BigInteger())(place)

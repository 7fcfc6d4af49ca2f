"""What a report is asked for: by whom, and which days or months of the tenant's calendar."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    DateTime,
    Executable,
    Integer,
    and_,
    bindparam,
    func,
    literal_column,
    text,
)
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain.errors import ErrorCode, fail

MOST_MONTHS = 36
MOST_DAYS = 366
"""So many periods a report may have."""
_INSTANT = DateTime(timezone=True)


class ReportGranularity(enum.Enum):
    DAY = "DAY"
    MONTH = "MONTH"


class Asker(Protocol):
    """Whoever asks: a viewer, or a job on behalf of one."""

    @property
    def scope_id(self) -> UUID | None:
        """The reseller whose subtree is all that counts; None: the whole tenant."""

    @property
    def currency(self) -> str:
        """Of the tenant."""

    @property
    def time_zone(self) -> str:
        """Of the tenant."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Periods in a row. The one at `place` begins with the day `days[place]`, at the instant `bounds[place]`, and ends
    where the next one begins; each sequence has one more for the end of the last."""

    days: Sequence[date]
    bounds: Sequence[datetime]

    @property
    def count(self) -> int:
        """How many periods there are."""
        return len(self.days) - 1

    def within(self, at: Any) -> ColumnElement[bool]:
        """Whether an instant lies in the stretch."""
        begin, end = (bindparam(None, bound, _INSTANT) for bound in (self.bounds[0], self.bounds[-1]))
        return and_(at >= begin, at < end)

    def place(self, at: Any) -> ColumnElement[int]:
        """The place of the period around an instant that lies in the stretch."""
        return _reached(at, self.bounds[:-1]) - 1

    def before(self, at: Any) -> ColumnElement[int]:
        """How many of the bounds lie before an instant."""
        return _reached(at - literal_column("interval '1 microsecond'"), self.bounds)


def _reached(at: Any, bounds: Sequence[datetime]) -> ColumnElement[int]:
    return func.width_bucket(at, bindparam(None, list(bounds), ARRAY(_INSTANT)), type_=Integer)


async def answer(session: AsyncSession, rows: Executable) -> Sequence[Any]:
    """The rows of a report, which may take more time and more memory than those of a page."""
    await session.execute(_ROOM)
    found: Sequence[Any] = (await session.execute(rows)).all()
    return found


_ROOM = text("SELECT set_config('statement_timeout', '30s', true), set_config('work_mem', '64MB', true)")


def stretch(first: date, end: date, granularity: ReportGranularity, time_zone: str, *at: str) -> Stretch:
    """From the day `first` until before the day `end`, by days or by months of the calendar; the first month and the
    last are as long as they lie in it.

    Raises DomainError INVALID at the path `at`, from.
    """
    if first >= end:
        raise fail(ErrorCode.INVALID, "The stretch of time must begin before it ends.", *at, "from")
    if _months(first, end) > MOST_MONTHS:
        raise fail(ErrorCode.INVALID, f"Ask for at most {MOST_MONTHS} months.", *at, "from")
    if granularity is ReportGranularity.DAY and (end - first).days > MOST_DAYS:
        raise fail(ErrorCode.INVALID, f"By day, ask for at most {MOST_DAYS} days.", *at, "from")
    days = [first]
    while days[-1] < end:
        next_one = month_after(days[-1]) if granularity is ReportGranularity.MONTH else days[-1] + timedelta(days=1)
        days.append(min(end, next_one))
    return Stretch(days, [midnight(day, time_zone) for day in days])


def midnight(day: date, time_zone: str) -> datetime:
    """The first instant of a day in a zone, in UTC."""
    return datetime.combine(day, time(), ZoneInfo(time_zone)).astimezone(UTC)


def _months(first: date, end: date) -> int:
    """How many months there are from one day to another, begun ones included."""
    whole = (end.year - first.year) * 12 + end.month - first.month
    return whole + (end.day > first.day)


def month_after(day: date) -> date:
    """The first day of the next month; none begins after the last day of the calendar."""
    year, month = divmod(day.year * 12 + day.month, 12)
    return date.max if year > date.max.year else date(year, month + 1, 1)

"""What customers used: bytes and seconds of a stretch of time, in whole hours, days or months of the tenant's zone."""

import enum
import functools
import operator
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Date, DateTime, Select, and_, cast, func, literal_column, select
from sqlalchemy.types import TypeEngine

from ispgraph import clock
from ispgraph.domain.errors import ErrorCode, fail
from ispgraph.domain.models import UsageBucket, UsageDay
from ispgraph.domain.permissions import Viewer


class UsageGranularity(enum.Enum):
    HOUR = "HOUR"
    DAY = "DAY"
    MONTH = "MONTH"


_HOUR = timedelta(hours=1)
_INSTANT = timedelta(microseconds=1)
LONGEST = {
    UsageGranularity.HOUR: timedelta(days=62),
    UsageGranularity.DAY: timedelta(days=1100),
    UsageGranularity.MONTH: timedelta(days=3700),
}
"""How much time may be asked for at each granularity."""
KINDS: Mapping[str, TypeEngine[Any]] = {
    "first_day": Date(),
    "end_day": Date(),
    "since": DateTime(timezone=True),
    "until": DateTime(timezone=True),
}


def stretch(
    viewer: Viewer, *, since: datetime | None, until: datetime | None, granularity: UsageGranularity
) -> Mapping[str, Any]:
    """The stretch of time to be summed, by default this month so far, widened to whole points of the granularity.

    Hours, days and months are those of the tenant's zone. Raises DomainError INVALID naming from, or to.
    """
    zone = ZoneInfo(viewer.time_zone)
    end = until or clock.now()
    try:
        begin = since or datetime.combine(end.astimezone(zone).date().replace(day=1), time(), zone)
        if begin >= end:
            raise fail(ErrorCode.INVALID, "The stretch of time must begin before it ends.", "from")
        if end - begin > LONGEST[granularity]:
            days = LONGEST[granularity].days
            raise fail(ErrorCode.INVALID, f"By {granularity.value.lower()}, ask for at most {days} days.", "from")
        kept = viewer.usage_detail_days if granularity is UsageGranularity.HOUR else 0
        if kept and begin.astimezone(zone).date() < clock.now().astimezone(zone).date() - timedelta(days=kept):
            raise fail(ErrorCode.INVALID, f"Usage by the hour is known for {kept} days.", "from")
        return _widened(begin, end, zone, granularity)
    except OverflowError as error:
        raise fail(ErrorCode.INVALID, "The stretch of time must end while the calendar lasts.", "to") from error


def _widened(begin: datetime, end: datetime, zone: ZoneInfo, granularity: UsageGranularity) -> Mapping[str, Any]:
    if granularity is UsageGranularity.HOUR:
        return {"since": _hour(begin, zone), "until": _hour(end + _HOUR - _INSTANT, zone)}
    first = begin.astimezone(zone).date()
    last = (end - _INSTANT).astimezone(zone).date()
    if granularity is UsageGranularity.MONTH:
        first, last = first.replace(day=1), _month_after(last) - timedelta(days=1)
    return {"first_day": first, "end_day": last + timedelta(days=1)}


def total(customer: Any, given: Mapping[str, Any], *figures: str) -> ColumnElement[int]:
    """The sum of `input_octets`, `output_octets` or `seconds` of a customer within the given stretch."""
    table, within = _table(customer, given)
    each: Any = functools.reduce(operator.add, (getattr(table, figure) for figure in figures))
    return select(func.coalesce(func.sum(each), 0)).where(within).scalar_subquery()


def points(customer: Any, given: Mapping[str, Any], granularity: UsageGranularity, time_zone: str) -> Select[Any]:
    """The points of the given stretch in order: start, download_bytes, upload_bytes; those without usage left out."""
    table, within = _table(customer, given)
    if granularity is UsageGranularity.HOUR:
        # Zones that are not whole hours from UTC have hours of their own; the quarters of an hour fit into them.
        start = func.date_trunc("hour", table.starts_at, time_zone)
    else:
        day = table.day if granularity is UsageGranularity.DAY else cast(func.date_trunc("month", table.day), Date)
        start = func.timezone(time_zone, cast(day, DateTime()))
    return (
        select(
            start.label("start"),
            func.sum(table.output_octets).label("download_bytes"),
            func.sum(table.input_octets).label("upload_bytes"),
        )
        .where(within)
        .group_by(literal_column("1"))
        .order_by(literal_column("1"))
    )


def _table(customer: Any, given: Mapping[str, Any]) -> tuple[Any, ColumnElement[bool]]:
    table: Any
    if "since" in given:
        table = UsageBucket
        within = and_(table.starts_at >= given["since"], table.starts_at < given["until"])
    else:
        table = UsageDay
        within = and_(table.day >= given["first_day"], table.day < given["end_day"])
    return table, and_(table.customer_id == customer.id, within)


def _hour(at: datetime, zone: ZoneInfo) -> datetime:
    """The beginning of the hour of the zone's wall clock; as date_trunc, by the offset of the moment."""
    offset = at.astimezone(zone).utcoffset() or timedelta()
    return (at.astimezone(UTC) + offset).replace(minute=0, second=0, microsecond=0) - offset


def _month_after(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)

"""Periods of service: half-open, counted in days of the calendar from an anchor, in the tenant's zone. Pure.

A period ends at the wall-clock time at which it began, also when the clocks changed in between. A time that the
clocks skip is read with the offset from before the change (PEP 495, fold=0): 02:30 in a gap of an hour is 03:30. Of a
time that comes twice the first is meant. Later boundaries are counted from the anchor, so they return to its time.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Period:
    """From `start`, which belongs to it, to `end`, which does not. UTC."""

    start: datetime
    end: datetime


def boundary(anchor: datetime, days: int, zone: str) -> datetime:
    """The instant `days` days of the calendar after the anchor, in UTC; 0 is the anchor itself."""
    if days == 0:
        return anchor.astimezone(UTC)
    return (anchor.astimezone(ZoneInfo(zone)) + timedelta(days=days)).astimezone(UTC)


def service_period(anchor: datetime, days: int, zone: str) -> Period:
    """The `days` days of service that begin at the anchor. `days` is at least 1; the period is never empty."""
    if days < 1:
        raise ValueError("a period is at least one day")
    return Period(boundary(anchor, 0, zone), boundary(anchor, days, zone))


def local_date(at: datetime, zone: str) -> date:
    """Which day an instant falls on in a zone."""
    return at.astimezone(ZoneInfo(zone)).date()

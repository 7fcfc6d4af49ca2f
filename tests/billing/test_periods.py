"""Periods keep the time on the wall, whatever the clocks do."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ispgraph.domain.billing import periods

ZONES = st.sampled_from(
    ["Europe/Berlin", "Asia/Kathmandu", "Pacific/Apia", "Asia/Dhaka", "Australia/Lord_Howe", "America/St_Johns", "UTC"]
)
ANCHORS = st.datetimes(datetime(2008, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  made aware


@given(ANCHORS, st.integers(1, 400), ZONES)
def test_never_empty_and_at_most_a_change_of_clocks_off(anchor: datetime, days: int, zone: str) -> None:
    period = periods.service_period(anchor, days, zone)
    assert period.start == anchor < period.end
    # Apia left out a whole day, 30 December 2011, in its summer time.
    slack = timedelta(hours=25 if zone == "Pacific/Apia" else 1)
    assert abs(period.end - period.start - timedelta(days=days)) <= slack


@given(ANCHORS, st.integers(1, 400), ZONES)
def test_ends_at_the_same_time_on_the_wall_or_in_a_gap(anchor: datetime, days: int, zone: str) -> None:
    tz = ZoneInfo(zone)
    begins, ends = anchor.astimezone(tz), periods.service_period(anchor, days, zone).end.astimezone(tz)
    wanted = begins.replace(tzinfo=None) + timedelta(days=days)
    exists = wanted.replace(tzinfo=tz).astimezone(UTC).astimezone(tz).replace(tzinfo=None) == wanted
    assert (ends.replace(tzinfo=None) == wanted) == exists
    assert ends.replace(tzinfo=None) >= wanted


@given(ANCHORS, ZONES, st.integers(2, 60))
def test_boundaries_from_the_anchor_chain_without_overlap(anchor: datetime, zone: str, days: int) -> None:
    bounds = [periods.boundary(anchor, days * turn, zone) for turn in range(13)]
    assert bounds == sorted(bounds)
    assert len(set(bounds)) == 13


@pytest.mark.parametrize(
    ("anchor", "days", "zone", "end"),
    [
        # 31 January and 30 days: days of the calendar, not months.
        ("2026-01-31T10:00:00+06:00", 30, "Asia/Dhaka", "2026-03-02T10:00:00+06:00"),
        ("2028-01-31T10:00:00+06:00", 30, "Asia/Dhaka", "2028-03-01T10:00:00+06:00"),
        # Berlin, clocks forward at 02:00 on 29 March 2026: 02:30 is not there that day.
        ("2026-03-28T02:30:00+01:00", 1, "Europe/Berlin", "2026-03-29T03:30:00+02:00"),
        ("2026-03-28T02:30:00+01:00", 2, "Europe/Berlin", "2026-03-30T02:30:00+02:00"),
        # Berlin, clocks back at 03:00 on 25 October 2026: 02:30 comes twice, the first is meant.
        ("2026-10-24T02:30:00+02:00", 1, "Europe/Berlin", "2026-10-25T02:30:00+02:00"),
        ("2026-10-25T02:30:00+01:00", 1, "Europe/Berlin", "2026-10-26T02:30:00+01:00"),
        ("2026-07-01T00:00:00+05:45", 30, "Asia/Kathmandu", "2026-07-31T00:00:00+05:45"),
        # Apia skipped 30 December 2011.
        ("2011-12-29T10:00:00-10:00", 1, "Pacific/Apia", "2011-12-31T10:00:00+14:00"),
        ("2011-12-29T10:00:00-10:00", 2, "Pacific/Apia", "2011-12-31T10:00:00+14:00"),
        ("2011-12-29T10:00:00-10:00", 3, "Pacific/Apia", "2012-01-01T10:00:00+14:00"),
    ],
)
def test_ends(anchor: str, days: int, zone: str, end: str) -> None:
    assert periods.service_period(datetime.fromisoformat(anchor), days, zone).end == datetime.fromisoformat(end)


def test_no_period_of_no_days() -> None:
    with pytest.raises(ValueError, match="at least one day"):
        periods.service_period(datetime(2026, 1, 1, tzinfo=UTC), 0, "UTC")


def test_the_day_is_the_tenants() -> None:
    late = datetime(2026, 12, 31, 20, 0, tzinfo=UTC)
    assert periods.local_date(late, "Asia/Dhaka") == date(2027, 1, 1)
    assert periods.local_date(late, "America/St_Johns") == date(2026, 12, 31)

"""Periods keep the day and the time on the wall, whatever the months and the clocks do; in Python and in PostgreSQL."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ispgraph.domain.billing import periods
from ispgraph.domain.billing.periods import Cycle
from ispgraph.domain.models import BillingCycle

ZONES = st.sampled_from(
    ["Europe/Berlin", "Asia/Kathmandu", "Pacific/Apia", "Asia/Dhaka", "Australia/Lord_Howe", "America/St_Johns", "UTC"]
)
ANCHORS = st.datetimes(datetime(2008, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  made aware
MONTH, YEAR = Cycle(1, 0), Cycle(12, 0)
CYCLES = st.one_of(
    st.sampled_from([MONTH, Cycle(3, 0), YEAR, Cycle(0, 7)]), st.integers(1, 400).map(lambda days: Cycle(0, days))
)


def wall_after(anchor: datetime, cycle: Cycle, number: int, zone: str) -> datetime:
    """What the wall clock should show: told month by month and day by day, without the product's arithmetic."""
    there = anchor.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    year, month = there.year, there.month
    for _ in range(abs(number) * cycle.months):
        month += 1 if number > 0 else -1
        if month in (0, 13):
            year, month = (year - 1, 12) if month == 0 else (year + 1, 1)
    for day in range(there.day, 0, -1):
        try:
            moved = there.replace(year=year, month=month, day=day)
        except ValueError:
            continue
        return moved + timedelta(days=number * cycle.days)
    raise AssertionError


@given(ANCHORS, CYCLES, st.integers(-30, 30), ZONES)
def test_a_boundary_is_at_the_same_time_on_the_wall_or_in_a_gap(
    anchor: datetime, cycle: Cycle, number: int, zone: str
) -> None:
    tz = ZoneInfo(zone)
    found = periods.boundary(anchor, cycle, number, zone)
    if number == 0:
        assert found == anchor
        return
    wanted = wall_after(anchor, cycle, number, zone)
    shown = found.astimezone(tz)
    exists = wanted.replace(tzinfo=tz).astimezone(UTC).astimezone(tz).replace(tzinfo=None) == wanted
    assert (shown.replace(tzinfo=None) == wanted) == exists
    assert shown.replace(tzinfo=None) >= wanted
    # Of a time that comes twice the first.
    assert shown.fold == 0 or not exists


@given(ANCHORS, CYCLES, ZONES)
def test_periods_chain_and_are_never_shorter_than_nothing(anchor: datetime, cycle: Cycle, zone: str) -> None:
    found = [periods.period(anchor, cycle, number, zone) for number in range(-6, 14)]
    assert all(before.end == after.start for before, after in pairwise(found))
    # Apia left out a whole day, 30 December 2011: there alone is a period of a day that has no time.
    assert all(each.start < each.end for each in found if zone != "Pacific/Apia" or cycle.days != 1)
    assert all(each.start <= each.end for each in found)
    assert found[6].start == anchor < found[6].end


@given(ANCHORS, CYCLES, ANCHORS, ZONES)
def test_the_period_around_an_instant(anchor: datetime, cycle: Cycle, at: datetime, zone: str) -> None:
    found = periods.period(anchor, cycle, periods.number_at(anchor, cycle, at, zone), zone)
    assert found.start <= at < found.end


@given(ANCHORS, CYCLES, st.integers(-40, 40), ZONES)
def test_a_boundary_begins_its_period_and_an_instant_before_is_the_one_before(
    anchor: datetime, cycle: Cycle, number: int, zone: str
) -> None:
    found = periods.period(anchor, cycle, number, zone)
    if found.start < found.end:
        assert periods.number_at(anchor, cycle, found.start, zone) == number
        assert periods.number_at(anchor, cycle, found.end - timedelta(microseconds=1), zone) == number


@pytest.mark.parametrize(
    ("anchor", "cycle", "zone", "ends"),
    [
        # 31 January comes back to 31; 2027 is no leap year, 2028 is one.
        (
            "2027-01-31T10:00:00+06:00",
            MONTH,
            "Asia/Dhaka",
            ["2027-02-28T10:00:00+06:00", "2027-03-31T10:00:00+06:00", "2027-04-30T10:00:00+06:00"],
        ),
        ("2028-01-31T10:00:00+06:00", MONTH, "Asia/Dhaka", ["2028-02-29T10:00:00+06:00", "2028-03-31T10:00:00+06:00"]),
        ("2026-11-30T00:00:00+00:00", Cycle(3, 0), "UTC", ["2027-02-28T00:00:00+00:00", "2027-05-30T00:00:00+00:00"]),
        (
            "2028-02-29T09:00:00+00:00",
            YEAR,
            "UTC",
            [f"{year}-02-{29 if year == 2032 else 28}T09:00:00+00:00" for year in (2029, 2030, 2031, 2032)],
        ),
        # The day in Dhaka counts: 31 January at 19:00 UTC is 1 February there.
        ("2027-01-31T19:00:00+00:00", MONTH, "Asia/Dhaka", ["2027-02-28T19:00:00+00:00", "2027-03-31T19:00:00+00:00"]),
        # 31 January and 30 days: days of the calendar, not months.
        ("2026-01-31T10:00:00+06:00", Cycle(0, 30), "Asia/Dhaka", ["2026-03-02T10:00:00+06:00"]),
        # Berlin, clocks forward at 02:00 on 29 March 2026: 02:30 is not there that day.
        (
            "2026-03-28T02:30:00+01:00",
            Cycle(0, 1),
            "Europe/Berlin",
            ["2026-03-29T03:30:00+02:00", "2026-03-30T02:30:00+02:00"],
        ),
        ("2026-02-28T02:30:00+01:00", MONTH, "Europe/Berlin", ["2026-03-28T02:30:00+01:00"]),
        # Berlin, clocks back at 03:00 on 25 October 2026: 02:30 comes twice, the first is meant.
        ("2026-10-24T02:30:00+02:00", Cycle(0, 1), "Europe/Berlin", ["2026-10-25T02:30:00+02:00"]),
        ("2026-09-25T02:30:00+02:00", MONTH, "Europe/Berlin", ["2026-10-25T02:30:00+02:00"]),
        ("2026-10-25T02:30:00+01:00", Cycle(0, 1), "Europe/Berlin", ["2026-10-26T02:30:00+01:00"]),
        ("2026-07-01T00:00:00+05:45", Cycle(0, 30), "Asia/Kathmandu", ["2026-07-31T00:00:00+05:45"]),
        # Apia skipped 30 December 2011.
        (
            "2011-12-29T10:00:00-10:00",
            Cycle(0, 1),
            "Pacific/Apia",
            ["2011-12-31T10:00:00+14:00", "2011-12-31T10:00:00+14:00", "2012-01-01T10:00:00+14:00"],
        ),
    ],
)
def test_ends(anchor: str, cycle: Cycle, zone: str, ends: list[str]) -> None:
    begins = datetime.fromisoformat(anchor)
    found = [periods.period(begins, cycle, number, zone).end for number in range(len(ends))]
    assert found == [datetime.fromisoformat(end) for end in ends]


# What each cycle is for some days of validity; every other number of days is that many days.
RULE = {
    BillingCycle.DAILY: {},
    BillingCycle.ONE_TIME: {},
    BillingCycle.WEEKLY: dict.fromkeys((7, 30), Cycle(0, 7)),
    BillingCycle.MONTHLY: dict.fromkeys((28, 29, 30, 31), Cycle(1, 0)),
    BillingCycle.QUARTERLY: dict.fromkeys((30, 89, 90, 91, 92), Cycle(3, 0)),
    BillingCycle.YEARLY: dict.fromkeys((30, 365, 366), Cycle(12, 0)),
}


@pytest.mark.parametrize("billing_cycle", BillingCycle)
def test_how_long_a_period_is(billing_cycle: BillingCycle) -> None:
    recurs = billing_cycle is not BillingCycle.ONE_TIME
    for days in range(1, 3661):
        expected = RULE[billing_cycle].get(days, Cycle(0, days, recurs))
        assert periods.cycle_of(billing_cycle, days) == expected, days


@pytest.mark.parametrize(("months", "days"), [(0, 0), (1, 1), (-1, 0), (0, -1)])
def test_no_period_of_nothing(months: int, days: int) -> None:
    with pytest.raises(ValueError, match="at least one"):
        Cycle(months, days)


def test_in_words() -> None:
    assert [cycle.words for cycle in (MONTH, Cycle(3, 0), YEAR, Cycle(0, 1), Cycle(0, 45))] == [
        *("1 month", "3 months", "1 year", "1 day", "45 days")
    ]
    january = datetime.fromisoformat("2027-01-31T10:00:00+06:00")
    assert (
        periods.span(periods.period(january, MONTH, 0, "Asia/Dhaka"), "Asia/Dhaka") == "31 January to 28 February 2027"
    )
    december = periods.period(january, MONTH, -1, "Asia/Dhaka")
    assert periods.span(december, "Asia/Dhaka") == "31 December 2026 to 31 January 2027"


def test_the_day_is_the_tenants() -> None:
    late = datetime(2026, 12, 31, 20, 0, tzinfo=UTC)
    assert periods.local_date(late, "Asia/Dhaka") == date(2027, 1, 1)
    assert periods.local_date(late, "America/St_Johns") == date(2026, 12, 31)

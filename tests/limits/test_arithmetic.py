"""Periods, windows, what was used and what goes over: the SQL functions against an oracle by `zoneinfo`."""

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ispgraph.domain.billing import periods
from ispgraph.domain.models import BillingCycle
from tests import bare
from tests.bare import Bare

# Kathmandu is 5:45 ahead of UTC; in New York clocks change on 8 March and 1 November 2026 at two in the morning.
ZONES = ("Asia/Kathmandu", "America/New_York", "Australia/Lord_Howe", "UTC")
QUARTER = timedelta(minutes=15)
TENANT, SERVICE = uuid.UUID(int=1), uuid.UUID(int=2)

few = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))


_USAGE = ("tenant_id", "service_id", "customer_id", "input_octets", "output_octets", "seconds")


@pytest.fixture(scope="module")
def database() -> Iterator[Bare]:
    """A migrated database."""
    with bare.made() as found:
        yield found


def instant(day: date, at: time, zone: str) -> datetime:
    """When a wall clock shows this: of a time that comes twice the second, of one that is skipped what it would be."""
    wall = datetime.combine(day, at)
    first = wall.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    second = wall.replace(tzinfo=ZoneInfo(zone), fold=1).astimezone(UTC)
    # In a gap the second reading is the earlier one.
    return max(first, second)


def between(year: int, month: int, day: int, days: int) -> st.SearchStrategy[datetime]:
    """Instants of so many days from a day on."""
    begin = datetime(year, month, day, tzinfo=UTC)
    return st.integers(0, days * 86_400).map(lambda seconds: begin + timedelta(seconds=seconds))


# Around both changes of the clocks in 2026, and anywhere.
moments = st.one_of(between(2026, 3, 6, 5), between(2026, 10, 29, 6), between(2024, 1, 1, 1460))
zones = st.sampled_from(ZONES)


def calendar_period(kind: str, zone: str, at: datetime) -> tuple[datetime, datetime]:
    """A DAY, WEEK or MONTH around an instant."""
    day = at.astimezone(ZoneInfo(zone)).date()
    if kind == "DAY":
        first, end = day, day + timedelta(days=1)
    elif kind == "WEEK":
        first = day - timedelta(days=day.weekday())
        end = first + timedelta(days=7)
    else:
        first = day.replace(day=1)
        end = (first + timedelta(days=32)).replace(day=1)
    return instant(first, time(), zone), instant(end, time(), zone)


@few
@given(st.lists(st.tuples(st.sampled_from(("DAY", "WEEK", "MONTH")), zones, moments), min_size=60, max_size=120))
def test_calendar_periods(database: Bare, cases: list[tuple[str, str, datetime]]) -> None:
    query = """SELECT p.starts, p.ends
      FROM unnest($1::text[], $2::text[], $3::timestamptz[]) WITH ORDINALITY c (k, z, a, n)
      CROSS JOIN LATERAL limits_period(k, z, NULL, NULL, NULL, a) p ORDER BY n"""
    found = database.fetch(query, *(list(column) for column in zip(*cases, strict=True)))
    assert [tuple(row) for row in found] == [calendar_period(*case) for case in cases]
    # Without an end that is paid for the billing period is the month.
    months = database.fetch(
        "SELECT p.starts FROM limits_period('BILLING_PERIOD', $1, NULL, 'MONTHLY', 30, $2) p", cases[0][1], cases[0][2]
    )
    assert months[0][0] == calendar_period("MONTH", *cases[0][1:])[0]


cycles = st.one_of(
    st.sampled_from((("MONTHLY", 30), ("QUARTERLY", 90), ("YEARLY", 365), ("WEEKLY", 7))),
    st.tuples(st.sampled_from([each.value for each in BillingCycle]), st.integers(1, 400)),
)


def billing_period(anchor: datetime, cycle: tuple[str, int], zone: str, at: datetime) -> tuple[datetime, datetime]:
    """What `domain.billing.periods` says of the period around an instant."""
    counted = periods.cycle_of(BillingCycle(cycle[0]), cycle[1])
    found = periods.period(anchor, counted, periods.number_at(anchor, counted, at, zone), zone)
    return found.start, found.end


@few
@given(st.lists(st.tuples(moments, cycles, zones, moments), min_size=60, max_size=100))
def test_billing_periods_are_those_that_are_billed(
    database: Bare, cases: list[tuple[datetime, tuple[str, int], str, datetime]]
) -> None:
    # 31 January comes back to 31.
    cases.append((datetime(2026, 1, 31, 9, tzinfo=UTC), ("MONTHLY", 30), "UTC", datetime(2026, 3, 5, tzinfo=UTC)))
    query = """SELECT p.starts, p.ends
      FROM unnest($1::timestamptz[], $2::text[], $3::integer[], $4::text[], $5::timestamptz[])
           WITH ORDINALITY c (e, b, d, z, a, n)
      CROSS JOIN LATERAL limits_period('BILLING_PERIOD', z, e, b, d, a) p ORDER BY n"""
    asked = [(anchor, *cycle, zone, at) for anchor, cycle, zone, at in cases]
    found = database.fetch(query, *(list(column) for column in zip(*asked, strict=True)))
    assert [tuple(row) for row in found] == [billing_period(*case) for case in cases]


times = st.tuples(st.integers(0, 23), st.sampled_from((0, 15, 30, 59))).map(lambda pair: time(*pair))


@st.composite
def window(draw: st.DrawFn) -> dict[str, Any]:
    """One window, perhaps over midnight."""
    days = draw(st.lists(st.integers(1, 7), min_size=1, max_size=7, unique=True))
    begins, ends = draw(times), draw(times)
    if begins == ends:
        ends = time((begins.hour + 12) % 24, begins.minute)
    return {"days": days, "from": begins.isoformat(), "to": ends.isoformat()}


def spans(windows: list[dict[str, Any]], zone: str, at: datetime) -> list[tuple[datetime, datetime]]:
    """The windows around an instant, those that touch or overlap put together."""
    today, found = at.astimezone(ZoneInfo(zone)).date(), []
    for offset in range(-1, 9):
        day = today + timedelta(days=offset)
        for each in windows:
            if day.isoweekday() in each["days"]:
                begins, ends = time.fromisoformat(each["from"]), time.fromisoformat(each["to"])
                last = day + timedelta(days=1) if ends <= begins else day
                found.append((instant(day, begins, zone), instant(last, ends, zone)))
    merged: list[tuple[datetime, datetime]] = []
    for begins_at, ends_at in sorted(span for span in found if span[0] < span[1]):
        if merged and begins_at <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(ends_at, merged[-1][1]))
        else:
            merged.append((begins_at, ends_at))
    return merged


@few
@given(st.lists(st.tuples(st.lists(window(), min_size=1, max_size=3), zones, moments), min_size=40, max_size=80))
def test_windows(database: Bare, cases: list[tuple[list[dict[str, Any]], str, datetime]]) -> None:
    query = """SELECT h.within, h.changes_at
      FROM unnest($1::jsonb[], $2::text[], $3::timestamptz[]) WITH ORDINALITY c (w, z, a, n)
      CROSS JOIN LATERAL limits_hours(w, z, a) h ORDER BY n"""
    given_ = ([json.dumps(case[0]) for case in cases], [case[1] for case in cases], [case[2] for case in cases])
    for (windows, zone, at), (within, changes_at) in zip(cases, database.fetch(query, *given_), strict=True):
        merged = spans(windows, zone, at)
        around = next((span for span in merged if span[0] <= at < span[1]), None)
        assert within == (around is not None), (windows, zone, at)
        if around is None:
            assert changes_at == min(span[0] for span in merged if span[0] > at)
        else:
            assert changes_at == (around[1] if around[1] < at + timedelta(days=7) else None)


def test_windows_of_two_halves_never_close(database: Bare) -> None:
    halves = [
        {"days": [1, 2, 3, 4, 5, 6, 7], "from": "00:00:00", "to": "12:00:00"},
        {"days": [1, 2, 3, 4, 5, 6, 7], "from": "12:00:00", "to": "00:00:00"},
    ]
    row = database.fetch("SELECT * FROM limits_hours($1, 'UTC', now())", json.dumps(halves))
    assert [tuple(each) for each in row] == [(True, None)]


def test_from_night_to_morning_when_the_clocks_change(database: Bare) -> None:
    """Saturday's night ends at six by the clock: an hour earlier or later than on other days."""
    night = json.dumps([{"days": [6], "from": "22:00:00", "to": "06:00:00"}])
    for at, ends in (
        ("2026-03-08T05:00:00+00:00", "2026-03-08T10:00:00+00:00"),
        ("2026-11-01T05:00:00+00:00", "2026-11-01T11:00:00+00:00"),
        ("2026-06-07T05:00:00+00:00", "2026-06-07T10:00:00+00:00"),
    ):
        query = "SELECT * FROM limits_hours($1, 'America/New_York', $2)"
        (row,) = database.fetch(query, night, datetime.fromisoformat(at))
        assert tuple(row) == (True, datetime.fromisoformat(ends))


Stream = list[tuple[datetime, int, int]]


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    """Usage by quarters of an hour in six weeks of spring: octets, seconds."""
    places = draw(st.lists(st.integers(0, 42 * 96), min_size=1, max_size=60, unique=True))
    begin = datetime(2026, 2, 20, tzinfo=UTC)
    return [(begin + place * QUARTER, draw(st.integers(0, 10**12)), draw(st.integers(0, 900))) for place in places]


def stored(stream: Stream, zone: str) -> dict[tuple[str, ...], list[tuple[Any, ...]]]:
    """The rows that accounting would have made of it."""
    days: dict[date, list[int]] = {}
    buckets = []
    for starts, octets, seconds in stream:
        buckets.append((TENANT, SERVICE, SERVICE, octets // 3, octets - octets // 3, seconds, starts))
        day = days.setdefault(starts.astimezone(ZoneInfo(zone)).date(), [0, 0, 0])
        day[0] += octets // 3
        day[1] += octets - octets // 3
        day[2] += seconds
    return {
        ("usage_buckets", *_USAGE, "starts_at"): buckets,
        ("usage_days", *_USAGE, "day"): [(TENANT, SERVICE, SERVICE, *figures, day) for day, figures in days.items()],
    }


def used(stream: Stream, since: datetime, until: datetime | None) -> tuple[int, int]:
    """What the quarters that begin within hold."""
    rows = [row for row in stream if row[0] >= since and (until is None or row[0] < until)]
    return sum(row[1] for row in rows), sum(row[2] for row in rows)


spring = between(2026, 2, 19, 46)


@few
@given(streams(), zones, st.lists(st.tuples(spring, st.none() | spring), min_size=20, max_size=40))
def test_what_was_used_between_two_instants(
    database: Bare, stream: Stream, zone: str, cases: list[tuple[datetime, datetime | None]]
) -> None:
    cases = [(a, b) if b is None or a <= b else (b, a) for a, b in cases]
    cases.append(calendar_period("WEEK", zone, datetime(2026, 3, 8, 12, tzinfo=UTC)))
    query = """SELECT u.octets, u.seconds FROM unnest($3::timestamptz[], $4::timestamptz[]) WITH ORDINALITY c (a, b, n)
      CROSS JOIN LATERAL limits_used($1, $2, $5, a, b) u ORDER BY n"""
    found = database.fetch(
        query, TENANT, SERVICE, [a for a, _ in cases], [b for _, b in cases], zone, fill=stored(stream, zone)
    )
    assert [tuple(row) for row in found] == [used(stream, a, b) for a, b in cases]


@few
@given(streams(), zones, st.integers(1, 10**13), cycles, spring, spring)
def test_what_goes_over(
    database: Bare, stream: Stream, zone: str, octets: int, cycle: tuple[str, int], anchor: datetime, since: datetime
) -> None:
    """Period by period: what is left of the period's own and of what came over, at most one period's worth."""
    at = datetime(2026, 4, 6, tzinfo=UTC)
    starts, _ = billing_period(anchor, cycle, zone, at)
    bounds = [starts]
    while bounds[0] > since and len(bounds) <= 12:
        bounds.insert(0, billing_period(anchor, cycle, zone, bounds[0] - timedelta(microseconds=1))[0])
    carried = 0
    for begin, end in pairwise(bounds):
        carried = min(octets, max(0, octets + carried - used(stream, begin, end)[0]))
    query = "SELECT limits_carried($1, $2, $3, $4, $5, $6, $7, $8, $9)"
    given_ = (TENANT, SERVICE, zone, anchor, *cycle, octets, since, starts)
    assert database.fetch(query, *given_, fill=stored(stream, zone))[0][0] == carried

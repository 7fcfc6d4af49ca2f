"""The SQL functions that count periods say what `periods` says: a billing run bills what Python has quoted."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ispgraph.domain.billing import periods
from ispgraph.domain.billing.periods import Cycle
from ispgraph.domain.models import BillingCycle
from tests import bare
from tests.bare import Bare

# Lord Howe changes by half an hour; Apia left out a day in 2011; Casablanca changes around Ramadan; Troll by two hours.
NAMES = ("Asia/Dhaka", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca")
ZONES = st.sampled_from((*NAMES, "Antarctica/Troll", "America/St_Johns", "UTC"))
MONTHLY = (Cycle(1, 0), Cycle(3, 0), Cycle(12, 0))
CYCLES = st.one_of(st.sampled_from(MONTHLY), st.integers(1, 400).map(lambda days: Cycle(0, days)))
ANYWHERE = st.datetimes(datetime(2008, 1, 1), datetime(2036, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  made aware
Case = tuple[datetime, str, Cycle, int]

few = settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))


@st.composite
def near_a_change(draw: st.DrawFn) -> Case:
    """A boundary that should fall into the hours around a change of the clocks, or onto a last day of February."""
    zone, cycle = draw(ZONES), draw(CYCLES)
    year = draw(st.integers(2009, 2030))
    month, day, hour = draw(
        st.sampled_from(
            [(3, 25, 1), (3, 8, 6), (10, 25, 1), (11, 1, 5), (4, 1, 14), (10, 1, 15), (2, 28, 12), (12, 30, 8)]
        )
    )
    target = datetime(year, month, day, hour, tzinfo=UTC) + draw(st.integers(0, 7 * 24 * 4)) * timedelta(minutes=15)
    number = draw(st.integers(-30, 30))
    return periods.boundary(target, cycle, -number, zone), zone, cycle, number


CASES = st.lists(
    st.one_of(near_a_change(), st.tuples(ANYWHERE, ZONES, CYCLES, st.integers(-60, 60))), min_size=60, max_size=80
)


@pytest.fixture(scope="module")
def database() -> Iterator[Bare]:
    """A migrated database."""
    with bare.made() as found:
        yield found


@few
@given(CASES)
def test_boundaries(database: Bare, cases: list[Case]) -> None:
    query = """SELECT billing_boundary(a, z, m, d, k) AS found
      FROM unnest($1::timestamptz[], $2::text[], $3::integer[], $4::integer[], $5::integer[])
           WITH ORDINALITY c (a, z, m, d, k, n) ORDER BY n"""
    asked = [(anchor, zone, cycle.months, cycle.days, number) for anchor, zone, cycle, number in cases]
    found = database.fetch(query, *(list(column) for column in zip(*asked, strict=True)))
    for (anchor, zone, cycle, number), row in zip(cases, found, strict=True):
        assert row["found"] == periods.boundary(anchor, cycle, number, zone), (anchor, zone, cycle, number)


@few
@given(CASES, ANYWHERE)
def test_numbers(database: Bare, cases: list[Case], at: datetime) -> None:
    query = """SELECT billing_number(a, z, m, d, t) AS found
      FROM unnest($1::timestamptz[], $2::text[], $3::integer[], $4::integer[], $5::timestamptz[])
           WITH ORDINALITY c (a, z, m, d, t, n) ORDER BY n"""
    asked = []
    for anchor, zone, cycle, number in cases:
        edge = periods.boundary(anchor, cycle, number, zone)
        for instant in (edge, edge - timedelta(microseconds=1), at):
            asked.append((anchor, zone, cycle.months, cycle.days, instant))
    found = database.fetch(query, *(list(column) for column in zip(*asked, strict=True)))
    for (anchor, zone, months, days, instant), row in zip(asked, found, strict=True):
        assert row["found"] == periods.number_at(anchor, Cycle(months, days), instant, zone), (anchor, zone, instant)


def test_every_hour_of_a_year_in_every_zone(database: Bare) -> None:
    """Whatever time of day an anchor has, the boundaries of the days around each change of the clocks agree."""
    query = """SELECT array_agg(billing_boundary(a, $1, 0, 1, k) ORDER BY k)
      FROM unnest($2::timestamptz[]) WITH ORDINALITY c (a, n), generate_series(-1, 366) k GROUP BY n ORDER BY n"""
    day = Cycle(0, 1)
    for zone in NAMES:
        anchors = [datetime(2026, 1, 1, tzinfo=ZoneInfo(zone)) + timedelta(minutes=half * 30) for half in range(2, 8)]
        for anchor, row in zip(anchors, database.fetch(query, zone, anchors), strict=True):
            assert row[0] == [periods.boundary(anchor, day, number, zone) for number in range(-1, 367)], (zone, anchor)


def test_how_long_a_period_is(database: Bare) -> None:
    query = """SELECT b, d, c.months, c.days FROM unnest($1::text[]) b, generate_series(1, 3660) d,
      LATERAL billing_cycle(b, d) c"""
    rows = database.fetch(query, [each.value for each in BillingCycle])
    assert len(rows) == 6 * 3660
    for cycle, days, *found in rows:
        expected = periods.cycle_of(BillingCycle(cycle), days)
        assert found == [expected.months, expected.days], (cycle, days)

"""The SQL functions that price a period say what Python says, for sets of them."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ispgraph.domain import money
from ispgraph.domain.billing import periods, proration, tax
from ispgraph.domain.billing.periods import Cycle, Period
from tests import bare
from tests.bare import Bare
from tests.billing.test_boundaries import CYCLES, ZONES

few = settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
MINOR = st.one_of(st.integers(0, 1_000_000), st.integers(0, money.LIMIT_MINOR), st.just(money.LIMIT_MINOR))
RATES = st.one_of(st.sampled_from(["0", "5", "7.5", "19", "100"]), st.decimals(0, 100, places=3).map(str)).map(Decimal)
INSTANTS = st.datetimes(datetime(2008, 1, 1), datetime(2036, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  made aware


@pytest.fixture(scope="module")
def database() -> Iterator[Bare]:
    """A migrated database."""
    with bare.made() as found:
        yield found


def ask(database: Bare, select: str, kinds: str, cases: list[tuple[Any, ...]]) -> list[Any]:
    """The answers for these cases, whose values are a, b, c…, of these kinds."""
    names = "abcdefgh"[: len(cases[0])]
    arrays = ", ".join(f"${n}::{kind}[]" for n, kind in enumerate(kinds.split(), start=1))
    query = f"SELECT {select} FROM unnest({arrays}) WITH ORDINALITY q ({', '.join(names)}, n) ORDER BY n"
    return database.fetch(query, *(list(column) for column in zip(*cases, strict=True)))


@few
@given(st.lists(st.tuples(MINOR, RATES, st.booleans()), min_size=200, max_size=300))
def test_tax_is_rounded_as_in_python(database: Bare, cases: list[tuple[int, Decimal, bool]]) -> None:
    found = ask(database, "billing_net(a, b, c) AS net, billing_tax(a, b, c) AS tax", "numeric numeric bool", cases)
    for (minor, rate, included), row in zip(cases, found, strict=True):
        wanted = tax.taxed(minor, rate, included=included)
        assert (row["net"], row["tax"]) == (wanted.net_minor, wanted.tax_minor), (minor, rate, included)


@pytest.mark.parametrize("minor", [1, 2, 3, 49, 50, 51, 10**15 + 1])
def test_halves_are_rounded_up_once(database: Bare, minor: int) -> None:
    cases = [(minor, Decimal(rate), included) for rate in ("50", "0.5", "1.001", "100") for included in (True, False)]
    test_tax_is_rounded_as_in_python.hypothesis.inner_test(database, cases)  # type: ignore[attr-defined]


@few
@given(st.lists(st.tuples(MINOR, st.integers(0, 400), st.integers(1, 400)), min_size=200, max_size=300))
def test_parts_are_rounded_as_in_python(database: Bare, cases: list[tuple[int, int, int]]) -> None:
    cases = [(minor, min(left, of), of) for minor, left, of in cases]
    found = ask(database, "billing_part(a, b, c) AS part", "bigint integer integer", cases)
    assert [row["part"] for row in found] == [proration.left_minor(*case) for case in cases]


@few
@given(st.lists(st.tuples(MINOR, st.sampled_from(["USD", "JPY", "KWD", "CLF"])), min_size=100, max_size=200))
def test_amounts_are_written_as_in_python(database: Bare, cases: list[tuple[int, str]]) -> None:
    asked = [(minor, money.exponent(currency), currency) for minor, currency in cases]
    found = ask(database, "billing_shown(a, b, c) AS shown", "bigint integer text", asked)
    assert [row["shown"] for row in found] == [money.shown(*case) for case in cases]


@few
@given(st.lists(st.tuples(INSTANTS, CYCLES, ZONES, RATES, st.booleans()), min_size=60, max_size=80))
def test_words_are_those_of_python(database: Bare, cases: list[tuple[datetime, Cycle, str, Decimal, bool]]) -> None:
    asked, wanted = [], []
    for at, cycle, zone, rate, included in cases:
        period = Period(at, periods.boundary(at, cycle, 1, zone))
        wall = [instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for instant in (period.start, period.end)]
        asked.append((*wall, cycle.months, cycle.days, rate, included))
        sold = proration.Sold("X", cycle, 1, "USD", rate, included)
        wanted.append((periods.span(period, zone), cycle.words, sold.tax))
    select = "billing_span(a, b) AS span, billing_cycle_words(c, d) AS cycle, billing_taxed_words(e, f) AS taxed"
    found = ask(database, select, "timestamp timestamp integer integer numeric bool", asked)
    assert [tuple(row) for row in found] == wanted


@st.composite
def paid_until(draw: st.DrawFn) -> tuple[datetime, str, Cycle, datetime, datetime]:
    """An anchor, an end that is paid for, mostly a boundary, and a moment after it."""
    anchor, zone, cycle = draw(INSTANTS), draw(ZONES), draw(CYCLES)
    end = periods.boundary(anchor, cycle, draw(st.integers(-3, 40)), zone)
    end += draw(st.sampled_from([0, 0, 0, 1, 600, 5000])) * timedelta(minutes=1)
    until = end + draw(st.integers(0, 5)) * timedelta(days=30 * cycle.months + cycle.days) * 0.9
    return anchor, zone, cycle, end, until


@few
@given(st.lists(paid_until(), min_size=60, max_size=80))
def test_missed_periods_follow_each_other_up_to_now(
    database: Bare, cases: list[tuple[datetime, str, Cycle, datetime, datetime]]
) -> None:
    asked = [(anchor, zone, cycle.months, cycle.days, end, until) for anchor, zone, cycle, end, until in cases]
    query = "(SELECT json_agg(m) FROM billing_missed(a, b, c, d, e, f, 36) m) AS found"
    found = ask(database, query, "timestamptz text integer integer timestamptz timestamptz", asked)
    for (anchor, zone, cycle, end, until), row in zip(cases, found, strict=True):
        wanted = _missed(anchor, zone, cycle, end, until)
        got = [
            (
                datetime.fromisoformat(each["starts"]),
                datetime.fromisoformat(each["ends"]),
                each["whole"],
                each["days_left"],
                each["days"],
            )
            for each in json.loads(row["found"])
        ]
        assert got == wanted, (anchor, zone, cycle, end, until)


def _missed(
    anchor: datetime, zone: str, cycle: Cycle, end: datetime, until: datetime
) -> list[tuple[datetime, datetime, bool, int, int]]:
    number = periods.number_at(anchor, cycle, end, zone)
    found: list[tuple[datetime, datetime, bool, int, int]] = []
    starts = end
    while not found or found[-1][1] <= until:
        whole = periods.period(anchor, cycle, number, zone)
        of = proration.days(whole, zone)
        left = of if found else proration.days_left(whole, starts, zone)
        on_grid = bool(found) or starts == whole.start
        number += 1
        if left == 0 and not on_grid:
            # No day of it is left: the time until its end goes with the next.
            after = periods.period(anchor, cycle, number, zone)
            of = left = proration.days(after, zone)
            whole, on_grid, number = after, True, number + 1
        found.append((starts, whole.end, on_grid, left, of))
        starts = whole.end
    assume(len(found) <= 36)
    return found

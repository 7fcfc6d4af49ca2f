"""Parts of a period: they sum to the whole, are fair to a unit, and say how they came about."""

import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ispgraph.domain import money
from ispgraph.domain.billing import invoices, periods, proration
from ispgraph.domain.billing.periods import Cycle, Period
from ispgraph.domain.billing.proration import Sold

ZONES = st.sampled_from(["Asia/Dhaka", "Europe/Berlin", "Pacific/Apia", "America/St_Johns", "UTC"])
CYCLES = st.sampled_from([Cycle(1, 0), Cycle(3, 0), Cycle(12, 0), Cycle(0, 1), Cycle(0, 7), Cycle(0, 30)])
STARTS = st.datetimes(datetime(2012, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  made aware
PRICES = st.one_of(st.integers(0, 200), st.integers(0, 10**9))
RATES = st.sampled_from([Decimal(0), Decimal(5), Decimal("7.5"), Decimal("15.125"), Decimal(100)])
CURRENCIES = st.sampled_from(["USD", "JPY", "KWD"])


@st.composite
def sold(draw: st.DrawFn, name: str = "Home 20", cycle: Cycle | None = None) -> Sold:
    """Something at any price, in a currency with 0, 2 or 3 decimals, with its tax in it or on top."""
    return Sold(
        name=name,
        cycle=cycle or draw(CYCLES),
        price_minor=draw(PRICES),
        currency=draw(CURRENCIES),
        tax_rate=draw(RATES),
        tax_included=draw(st.booleans()),
    )


@st.composite
def splits(draw: st.DrawFn) -> tuple[Sold, Period, str, list[datetime]]:
    """A period, and instants in it, in order."""
    what, zone, start = draw(sold()), draw(ZONES), draw(STARTS)
    period = periods.period(start, what.cycle, draw(st.integers(-3, 3)), zone)
    seconds = int((period.end - period.start).total_seconds()) - 1
    found = [period.start + timedelta(seconds=draw(st.integers(0, seconds))) for _ in range(draw(st.integers(1, 5)))]
    return what, period, zone, sorted(found)


def paid(line: invoices.Line) -> int:
    """What there is to pay for a line."""
    return line.taxed.gross_minor


@given(splits())
def test_parts_sum_to_the_whole_and_each_is_within_a_unit(split: tuple[Sold, Period, str, list[datetime]]) -> None:
    """The package is changed away and back at each instant: every stretch was used by the one or by the other."""
    what, period, zone, changes = split
    of = proration.days(period, zone)
    lefts = [of, *(proration.days_left(period, at, zone) for at in changes), 0]
    rests = [proration.left_minor(what.price_minor, left, of) for left in lefts]
    parts = [before - after for before, after in pairwise(rests)]
    assert sum(parts) == what.price_minor
    for part, (before, after) in zip(parts, pairwise(lefts), strict=True):
        assert part >= 0
        assert abs(part - Fraction(what.price_minor * (before - after), of)) <= 1
        assert before > after or part == 0


@given(splits())
def test_credit_and_charge_are_the_rest_of_the_price(split: tuple[Sold, Period, str, list[datetime]]) -> None:
    what, period, zone, (at, *_) = split
    whole = proration.whole(what, period, zone)
    credit, charge = proration.credit(what, period, at, zone), proration.charge(what, period, at, zone)
    of, left = proration.days(period, zone), proration.days_left(period, at, zone)
    # One line against the other nets nothing: of price, of tax, and of the whole.
    assert (credit.amount_minor, credit.tax_minor) == (-charge.amount_minor, -charge.tax_minor)
    assert 0 <= charge.unit_price_minor <= whole.unit_price_minor
    assert abs(charge.unit_price_minor - Fraction(what.price_minor * left, of)) <= Fraction(1, 2)
    assert 0 <= charge.tax_minor <= whole.tax_minor
    assert paid(charge) <= paid(whole)
    # The tax of a part is, to a unit, the same part of the tax of the whole line.
    assert abs(charge.tax_minor - Fraction(whole.tax_minor * left, of)) <= 2
    if left == of:
        assert (charge.amount_minor, charge.tax_minor) == (whole.amount_minor, whole.tax_minor)
    if left == 0:
        assert paid(charge) == 0


@given(PRICES, st.integers(1, 400))
def test_more_days_never_cost_less(price: int, of: int) -> None:
    rests = [proration.left_minor(price, left, of) for left in range(of + 1)]
    assert rests == sorted(rests)
    assert (rests[0], rests[-1]) == (0, price)


@given(splits(), sold("Home 50"))
def test_a_change_and_back_again_on_the_same_day_nets_nothing(
    split: tuple[Sold, Period, str, list[datetime]], other: Sold
) -> None:
    old, period, zone, (at, *_) = split
    new = Sold("Home 50", old.cycle, other.price_minor, old.currency, other.tax_rate, other.tax_included)
    there, back = proration.change(old, new, period, at, zone), proration.change(new, old, period, at, zone)
    assert there.period == back.period == period
    assert sum(paid(line) for line in (*there.lines, *back.lines)) == 0
    # To something of the same price and tax there is nothing to pay.
    same = Sold("Home 20 again", old.cycle, old.price_minor, old.currency, old.tax_rate, old.tax_included)
    assert sum(paid(line) for line in proration.change(old, same, period, at, zone).lines) == 0


@given(splits(), sold("Home 50"))
def test_a_change_of_cycle_begins_a_period(split: tuple[Sold, Period, str, list[datetime]], new: Sold) -> None:
    old, period, zone, (at, *_) = split
    made = proration.change(old, new, period, at, zone)
    credits = [line for line in made.lines if line.unit_price_minor < 0]
    charges = [line for line in made.lines if line.unit_price_minor >= 0 and line.description.startswith("Home 50")]
    assert sum(line.unit_price_minor for line in credits) == -proration.left_minor(
        old.price_minor, proration.days_left(period, at, zone), proration.days(period, zone)
    )
    if new.cycle == old.cycle:
        assert made.period == period
    else:
        assert made.period == periods.period(at, new.cycle, 0, zone)
        assert [line.unit_price_minor for line in charges] == [new.price_minor] * (new.price_minor > 0)


@given(splits())
def test_days_are_those_of_the_tenants_calendar(split: tuple[Sold, Period, str, list[datetime]]) -> None:
    _, period, zone, changes = split
    tz = ZoneInfo(zone)
    first, end = period.start.astimezone(tz).date(), period.end.astimezone(tz).date()
    for at in changes:
        today = at.astimezone(tz).date()
        assert proration.days_left(period, at, zone) == len(_dates(today, end))
        assert proration.days(period, zone) == len(_dates(first, today)) + len(_dates(today, end))
    assert proration.days_left(period, period.start - timedelta(days=40), zone) == proration.days(period, zone)
    assert proration.days_left(period, period.end + timedelta(days=40), zone) == 0


def _dates(first: date, end: date) -> list[date]:
    found = []
    while first < end:
        found.append(first)
        first += timedelta(days=1)
    return found


JANUARY = periods.period(datetime.fromisoformat("2027-01-10T10:00:00+06:00"), Cycle(1, 0), 0, "Asia/Dhaka")
HOME = Sold("Home 20", Cycle(1, 0), 3000, "USD", Decimal("15.000"), tax_included=False)


def _printed(line: invoices.Line) -> tuple[str, str | None, int, int]:
    return line.description, line.explanation, line.amount_minor, line.tax_minor


def test_every_line_explains_itself() -> None:
    # 30 January, one hour after midnight in Dhaka: in UTC it is still the 29th.
    at = datetime.fromisoformat("2027-01-30T01:00:00+06:00")
    faster = Sold("Home 50", Cycle(1, 0), 6200, "USD", Decimal("7.5"), tax_included=True)
    credit, charge = proration.change(HOME, faster, JANUARY, at, "Asia/Dhaka").lines
    assert _printed(credit) == (
        "Credit for Home 20, 11 of 31 days, 30 January to 10 February 2027",
        "11 of 31 days of 30.00 USD are not used, and 15 % tax.",
        *(-1065, -160),
    )
    # 62.00 × 11 ÷ 31 is 22.00 with the tax in it.
    assert _printed(charge) == (
        "Home 50, 11 of 31 days, 30 January to 10 February 2027",
        "11 of 31 days of 62.00 USD, with 7.5 % tax in it.",
        *(2047, 153),
    )
    assert _printed(proration.whole(HOME, JANUARY, "Asia/Dhaka")) == (
        "Home 20, 1 month, 10 January to 10 February 2027",
        "1 month at 30.00 USD, and 15 % tax.",
        *(3000, 450),
    )


def test_from_a_month_to_a_week() -> None:
    at = datetime.fromisoformat("2027-02-09T12:00:00+06:00")
    week = Sold("Week", Cycle(0, 7), 700, "JPY", Decimal(0), tax_included=False)
    made = proration.change(HOME, week, JANUARY, at, "Asia/Dhaka")
    assert [_printed(line) for line in made.lines] == [
        (
            "Credit for Home 20, 1 of 31 days, 9 February to 10 February 2027",
            "1 of 31 days of 30.00 USD are not used, and 15 % tax.",
            *(-97, -15),
        ),
        ("Week, 7 days, 9 February to 16 February 2027", "7 days at 700 JPY, without tax.", 700, 0),
    ]
    assert made.period == Period(at, at + timedelta(days=7))


@pytest.mark.parametrize("at", ["2027-02-10T10:00:00+06:00", "2027-02-10T00:00:00+06:00", "2027-05-01T00:00:00+06:00"])
def test_on_the_last_day_and_after_it_nothing_is_left(at: str) -> None:
    other = Sold("Home 50", Cycle(1, 0), 6200, "USD", Decimal(0), tax_included=False)
    made = proration.change(HOME, other, JANUARY, datetime.fromisoformat(at), "Asia/Dhaka")
    assert (list(made.lines), made.period) == ([], JANUARY)


def test_what_is_free_has_no_line() -> None:
    at = datetime.fromisoformat("2027-01-20T00:00:00+06:00")
    free = Sold("Free", Cycle(1, 0), 0, "USD", Decimal(15), tax_included=False)
    (credit,) = proration.change(HOME, free, JANUARY, at, "Asia/Dhaka").lines
    (charge,) = proration.change(free, HOME, JANUARY, at, "Asia/Dhaka").lines
    assert credit.unit_price_minor == -charge.unit_price_minor == -money.half_up(Fraction(3000 * 21, 31))


@pytest.mark.parametrize(("left", "of"), [(-1, 30), (31, 30), (0, 0)])
def test_no_part_of_days_that_are_not_there(left: int, of: int) -> None:
    with pytest.raises(ValueError, match="some of its days"):
        proration.left_minor(100, left, of)


def test_the_zone_of_the_server_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    at, found = datetime(2027, 1, 29, 19, tzinfo=UTC), []
    for zone in ("Pacific/Kiritimati", "America/New_York"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        found.append([_printed(line) for line in proration.change(HOME, HOME, JANUARY, at, "Asia/Dhaka").lines])
    monkeypatch.undo()
    time.tzset()
    assert found[0] == found[1]
    assert found[0][0][0].startswith("Credit for Home 20, 11 of 31 days")

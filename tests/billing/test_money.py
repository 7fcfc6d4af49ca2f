"""Amounts at the edge, and splitting without losing a unit."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ispgraph.domain import money
from ispgraph.domain.billing import tax

CURRENCIES = st.sampled_from(["USD", "BDT", "JPY", "KWD", "CLF"])
AMOUNTS = st.integers(-money.LIMIT_MINOR, money.LIMIT_MINOR)


@given(AMOUNTS, CURRENCIES)
def test_out_and_in_again_is_the_same(minor: int, currency: str) -> None:
    out = money.to_decimal(minor, currency)
    assert -out.as_tuple().exponent == money.exponent(currency)  # type: ignore[operator]
    assert money.to_minor(out, currency) == minor
    assert money.to_minor(Decimal(f"{out:.9f}"), currency) == minor


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("12.5", "USD", 1250),
        ("12.500", "USD", 1250),
        ("1E+2", "USD", 10_000),
        ("-0", "USD", 0),
        ("100", "JPY", 100),
        ("100.0", "JPY", 100),
        ("1.234", "KWD", 1234),
        ("-0.01", "BDT", -1),
        ("90000000000000", "USD", money.LIMIT_MINOR),
        ("1.00000000000000000000000000000000000000000000000000", "USD", 100),
    ],
)
def test_reading(text: str, currency: str, minor: int) -> None:
    assert money.to_minor(Decimal(text), currency) == minor


@pytest.mark.parametrize(
    ("text", "currency", "reason"),
    [
        ("12.345", "USD", "at most 2 decimals"),
        ("0.5", "JPY", "no decimals"),
        ("0.0001", "KWD", "at most 3 decimals"),
        ("1E-999999", "USD", "at most 2 decimals"),
        ("1.00000000000000000000000000000000000000000000000001", "USD", "at most 2 decimals"),
        ("90000000000000.01", "USD", "too large"),
        ("-90000000000000.01", "USD", "too large"),
        ("1E+999999", "USD", "too large"),
        ("NaN", "USD", "a number"),
        ("sNaN", "USD", "a number"),
        ("-Infinity", "USD", "a number"),
    ],
)
def test_refusing(text: str, currency: str, reason: str) -> None:
    with pytest.raises(money.BadAmount, match=reason):
        money.to_minor(Decimal(text), currency)


@given(AMOUNTS, st.lists(st.integers(0, 10**12), min_size=1, max_size=12).filter(any))
def test_parts_sum_to_the_whole_and_are_within_one_unit(total: int, weights: list[int]) -> None:
    parts = money.allocate(total, weights)
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - Fraction(total * weight, sum(weights))) < 1
        assert part * total >= 0
        assert weight or not part


@given(AMOUNTS, st.lists(st.integers(0, 1000), min_size=2, max_size=8).filter(any))
def test_a_greater_weight_never_gets_less(total: int, weights: list[int]) -> None:
    parts = money.allocate(abs(total), weights)
    ordered = [part for _, part in sorted(zip(weights, parts, strict=True))]
    assert ordered == sorted(parts)


def test_equal_remainders_go_to_the_earlier() -> None:
    assert money.allocate(100, [1, 1, 1]) == [34, 33, 33]
    assert money.allocate(-100, [1, 1, 1]) == [-34, -33, -33]
    assert money.allocate(5, [0, 3, 7]) == [0, 2, 3]


@pytest.mark.parametrize("weights", [[], [0, 0], [1, -1], [2, -1]])
def test_weights_that_make_no_sense(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="weights"):
        money.allocate(10, weights)


@given(st.integers(-(10**6), 10**6), st.integers(1, 1000))
def test_halves_go_away_from_zero(numerator: int, denominator: int) -> None:
    value = Fraction(numerator, denominator)
    rounded = money.half_up(value)
    assert abs(rounded - value) <= Fraction(1, 2)
    assert rounded == -money.half_up(-value)
    if abs(rounded - value) == Fraction(1, 2):
        assert abs(rounded) > abs(value)


@pytest.mark.parametrize(
    ("net", "rate", "due"),
    [(1000, "15", 150), (10, "5", 1), (9, "5", 0), (333, "7.5", 25), (0, "20", 0), (-10, "5", -1)],
)
def test_tax_is_rounded_once_half_up(net: int, rate: str, due: int) -> None:
    assert tax.taxed(net, Decimal(rate), included=False) == tax.Taxed(net, due)


def test_a_line_of_many_digits_is_exact() -> None:
    assert tax.priced_minor(Decimal("9999999999.9999"), 12_345_678_901) == 123_456_789_009_998_765_432
    assert tax.priced_minor(Decimal("0.5"), 3) == 2

"""Amounts as people of a place write them."""

import re
from decimal import Decimal

import pytest
from babel.localedata import locale_identifiers

from ispgraph.domain import locales, money
from ispgraph.domain.values import Unfit

# A minus, groups of ASCII digits, and two decimals.
_WRITTEN = re.compile(r"[-\u2212\u200e\u200f\u061c]*\d+(?:[^\w\s]\d+|[\u00a0\u202f]\d+)*[^\w\s]\d\d", re.ASCII)


@pytest.mark.parametrize(
    ("minor", "currency", "locale", "shown"),
    [
        (12_345_650, "INR", "en-IN", "1,23,456.50"),
        (12_345_650, "BDT", "bn-BD", "1,23,456.50"),
        (123_450, "EUR", "de", "1.234,50"),
        (-123_450, "EUR", "de", "-1.234,50"),
        (123_450, "CHF", "de-CH", "1’234.50"),
        (123_450, "EUR", "fr", "1\u202f234,50"),
        (1_234_567, "JPY", "ja", "1,234,567"),
        (1_234_567, "BHD", "en", "1,234.567"),
        (1_234_567, "KWD", "ar-KW", "1,234.567"),
        (5, "IQD", "en", "0.005"),
        (0, "USD", "en-US", "0.00"),
        (-1, "USD", "en-US", "-0.01"),
        (money.LIMIT_MINOR, "USD", "en", "90,000,000,000,000.00"),
    ],
)
def test_amounts(minor: int, currency: str, locale: str, shown: str) -> None:
    assert locales.amount(minor, currency, locale) == shown
    assert locales.with_currency(minor, currency, locale) == f"{currency}\u00a0{shown}"


def test_every_locale_writes_in_ascii_digits_without_losing_one() -> None:
    for known in locale_identifiers():
        tag = known.replace("_", "-")
        for minor in (-123_456_789, 105):
            written = locales.amount(minor, "USD", tag)
            digits = re.sub(r"\D", "", written, flags=re.ASCII)
            assert int(digits) == abs(minor), (tag, written)
            assert _WRITTEN.fullmatch(written), (tag, written)


@pytest.mark.parametrize(
    ("value", "locale", "shown"),
    [
        ("1", "en", "1"),
        ("2.5000", "en", "2.5"),
        ("7.500", "de", "7,5"),
        ("1234.0001", "en-IN", "1,234.0001"),
        ("0", "bn", "0"),
    ],
)
def test_quantities_have_the_decimals_they_need(value: str, locale: str, shown: str) -> None:
    assert locales.number(Decimal(value), locale) == shown


@pytest.mark.parametrize(
    ("raw", "tag"),
    [
        (" en-in ", "en-IN"),
        ("bn_BD", "bn-BD"),
        ("DE", "de"),
        ("zh-TW", "zh-Hant-TW"),
        ("en-001", "en-001"),
        ("sw", "sw"),
    ],
)
def test_locales_have_one_spelling(raw: str, tag: str) -> None:
    assert locales.tag(raw) == tag
    assert locales.tag(tag) == tag


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "x",
        "english",
        "xx",
        "qq-QQ",
        "de-XX",
        "en-BD",
        "und",
        "root",
        "../de",
        "de-DE-1996",
        "en-u-nu-beng",
        "de@x",
        "d" * 999,
    ],
)
def test_what_is_no_locale(raw: str) -> None:
    with pytest.raises(Unfit):
        locales.tag(raw)


@pytest.mark.parametrize(
    ("country", "locale"), [("BD", "bn-BD"), ("DE", "de-DE"), ("NG", "en-NG"), ("TW", "zh-Hant-TW"), ("AQ", "en")]
)
def test_a_country_has_a_locale(country: str, locale: str) -> None:
    assert locales.of_country(country) == locale
    assert locales.of(None, country) == locale
    assert locales.of("en-IN", country) == "en-IN"

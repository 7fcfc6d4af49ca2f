"""How people of a place write amounts and other numbers: by the tables of the Unicode CLDR. Pure.

The digits are always those of ASCII, whatever the locale is used to: what stands on a bill can be typed in again.
"""

import re
from copy import copy
from decimal import Decimal
from functools import cache

from babel import Locale, UnknownLocaleError
from babel.numbers import NumberPattern

from ispgraph.domain import money, values

_TAG = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z]{4})?(?:[-_](?:[A-Za-z]{2}|[0-9]{3}))?")
_ELSEWHERE = "en"


def tag(raw: str) -> str:
    """A locale that is known, as BCP 47 spells it: en-IN, bn-BD, de, zh-Hant-TW. Raises Unfit."""
    found = raw.strip().replace("_", "-")
    if not _TAG.fullmatch(found):
        raise values.Unfit("Write a language, and a country where it matters, such as en-IN, bn-BD or de.")
    try:
        locale = Locale.parse(found, sep="-")
    except (UnknownLocaleError, ValueError) as error:
        raise values.Unfit("This language is not known, or not in this country.") from error
    if locale.language != found.partition("-")[0].lower():
        raise values.Unfit("This language is not known.")
    return str(locale).replace("_", "-")


@cache
def of_country(country: str) -> str:
    """The locale of the language that most people of a country (ISO 3166) write; `en` for one that nobody lives in."""
    try:
        return str(Locale.parse(f"und_{country}")).replace("_", "-")
    except (UnknownLocaleError, ValueError):
        return _ELSEWHERE


def of(own: str | None, country: str) -> str:
    """The locale of a tenant: its own, or that of its country."""
    return own or of_country(country)


def amount(minor: int, currency: str, locale: str) -> str:
    """Minor units as people read them, with all decimals of the currency: 12345650 of INR is 1,23,456.50 in en-IN."""
    return _written(money.to_decimal(minor, currency), locale, money.exponent(currency), money.exponent(currency))


def with_currency(minor: int, currency: str, locale: str) -> str:
    """As `amount`, after the code of the currency, which is the same everywhere: INR 1,23,456.50."""
    return f"{currency}\u00a0{amount(minor, currency, locale)}"


def number(value: Decimal, locale: str) -> str:
    """A quantity or a rate, with as many decimals as it needs."""
    return _written(value, locale, 0, 9)


def _written(value: Decimal, locale: str, least: int, most: int) -> str:
    parsed = Locale.parse(locale, sep="-")
    pattern: NumberPattern = copy(parsed.decimal_formats[None])
    pattern.frac_prec = (least, most)
    written: str = pattern.apply(value, parsed, numbering_system="latn")
    return written

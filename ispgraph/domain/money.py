"""Amounts of money: whole minor units inside, decimals at the edge, never a float. Pure."""

from collections.abc import Sequence
from decimal import Context, Decimal, Inexact
from fractions import Fraction

LIMIT_MINOR = 9 * 10**15
"""The largest amount, either side of zero: it fits a BIGINT with room to add, and a double without loss."""

# ISO 4217, list one (maintenance agency SIX), column "minor unit", where it is not 2. Countries that have a smaller
# coin in law but none in the standard (and the other way round) follow the standard.
_NONE = ["BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF"]
_EXPONENTS = {
    **dict.fromkeys([*_NONE, "XPF"], 0),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
    **dict.fromkeys(["CLF", "UYW"], 4),
}
_EXACT = Context(prec=40, traps=[Inexact])


class BadAmount(ValueError):
    """The number is not an amount of the currency; the text says why, for a person."""


def exponent(currency: str) -> int:
    """How many decimals the currency has."""
    return _EXPONENTS.get(currency, 2)


def to_minor(amount: Decimal, currency: str) -> int:
    """An amount in minor units. Raises BadAmount when it has too many decimals or is beyond LIMIT_MINOR."""
    digits = exponent(currency)
    if not amount.is_finite():
        raise BadAmount("An amount is a number.")
    if abs(amount) > to_decimal(LIMIT_MINOR, currency):
        raise BadAmount("The amount is too large.")
    try:
        return int(amount.scaleb(digits, context=_EXACT).to_integral_exact(context=_EXACT))
    except Inexact as error:
        allowed = f"at most {digits} decimals" if digits else "no decimals"
        raise BadAmount(f"An amount in {currency} has {allowed}.") from error


def to_decimal(minor: int, currency: str) -> Decimal:
    """Minor units as an amount with exactly the currency's decimals: 150 of USD is 1.50, of JPY 150."""
    return Decimal(minor).scaleb(-exponent(currency))


def shown(minor: int, currency: str) -> str:
    """An amount in a sentence: "30.00 USD"."""
    return f"{to_decimal(minor, currency)} {currency}"


def half_up(value: Fraction) -> int:
    """The nearest whole number; halves go away from zero."""
    whole = (2 * abs(value.numerator) + value.denominator) // (2 * value.denominator)
    return whole if value >= 0 else -whole


def allocate(total: int, weights: Sequence[int]) -> list[int]:
    """Split `total` in proportion to `weights` (none below zero, not all zero) so that the parts sum to it.

    Each part is within one unit of its exact share (largest remainder). Of equal remainders the earlier part wins.
    """
    whole = sum(weights)
    if whole <= 0 or min(weights) < 0:
        raise ValueError("weights are zero or more, and not all zero")
    sign = -1 if total < 0 else 1
    parts = [abs(total) * weight // whole for weight in weights]
    order = sorted(range(len(weights)), key=lambda i: (-(abs(total) * weights[i] % whole), i))
    for i in order[: abs(total) - sum(parts)]:
        parts[i] += 1
    return [sign * part for part in parts]

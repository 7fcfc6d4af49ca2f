"""What a line costs. Pure. Each figure of a line is rounded once, half up, and totals are sums of rounded lines, so
that an invoice adds up as printed."""

from decimal import Decimal
from fractions import Fraction

from ispgraph.domain.money import half_up


def amount_minor(quantity: Decimal, unit_price_minor: int) -> int:
    """A line without tax, in minor units."""
    return half_up(Fraction(quantity) * unit_price_minor)


def tax_minor(net_minor: int, rate: Decimal) -> int:
    """Tax on top of a line's net amount; `rate` in percent."""
    return half_up(Fraction(rate) * net_minor / 100)

"""What a line costs. Pure. Each figure of a line is rounded once, half up, and totals are sums of rounded lines, so
that an invoice adds up as printed."""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from ispgraph.domain.money import half_up


@dataclass(frozen=True, slots=True)
class Taxed:
    """An amount and the tax on it, in minor units."""

    net_minor: int
    tax_minor: int

    @property
    def gross_minor(self) -> int:
        """What there is to pay."""
        return self.net_minor + self.tax_minor


def priced_minor(quantity: Decimal, unit_price_minor: int) -> int:
    """So many at a price, in minor units."""
    return half_up(Fraction(quantity) * unit_price_minor)


def taxed(minor: int, rate: Decimal, *, included: bool) -> Taxed:
    """An amount with its tax on top or, where `included`, with its tax in it; `rate` in percent.

    With the tax in it what there is to pay is the amount itself, to the last unit.
    """
    if included:
        net = half_up(Fraction(minor) * 100 / (100 + Fraction(rate)))
        return Taxed(net, minor - net)
    return Taxed(minor, half_up(Fraction(rate) * minor / 100))

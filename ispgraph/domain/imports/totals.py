"""What a source says of itself as a whole, to compare an import with."""

from dataclasses import dataclass
from decimal import Decimal

from ispgraph.domain import money


@dataclass(frozen=True, slots=True)
class Totals:
    """Counted from the source's own tables, not from what was read as rows: its customers, how many of them may get on
    line as far as the source says, and the sum of what they have (above zero) and owe (below)."""

    customers: int
    active: int
    balance: Decimal

    def balance_minor(self, currency: str) -> int:
        """The sum in minor units, of which a source may have parts. Raises BadAmount when it is beyond all reason."""
        return money.to_minor(round(self.balance, money.exponent(currency)), currency)

"""What a source says of itself as a whole, to compare an import with."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Totals:
    """Counted from the source's own tables, not from what was read as rows: its customers, how many of them may get on
    line as far as the source says, and the sum of what they have (above zero) and owe (below)."""

    customers: int
    active: int
    balance: Decimal

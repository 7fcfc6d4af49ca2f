"""Amounts of money as they come in: read into minor units, or a fault that says why not."""

from decimal import Decimal

from ispgraph.domain import money
from ispgraph.domain.errors import ErrorCode, Faults


def minor(faults: Faults, amount: Decimal, currency: str, *field: str) -> int | None:
    """An amount in minor units, above zero or below; None and a fault at the path `field` for what is none."""
    try:
        return money.to_minor(amount, currency)
    except money.BadAmount as error:
        faults.add(ErrorCode.INVALID, str(error), *field)
        return None

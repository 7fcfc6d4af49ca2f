"""Money as the schema shows it."""

from decimal import Decimal

import strawberry

from ispgraph.domain import money as amounts
from ispgraph.schema.scalars import CurrencyCode


@strawberry.type
class Money:
    amount: Decimal
    currency: CurrencyCode


def money_of(currency: str, minor: int) -> Money:
    """Minor units of a currency."""
    return Money(amount=amounts.to_decimal(minor, currency), currency=CurrencyCode(currency))

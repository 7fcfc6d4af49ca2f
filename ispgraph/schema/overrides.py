"""Prices agreed beside those of the packages."""

from datetime import datetime
from decimal import Decimal

import strawberry

from ispgraph.domain import models
from ispgraph.domain.billing import overrides
from ispgraph.schema.base import Money, Node, Payload, node
from ispgraph.schema.catalogue import Package
from ispgraph.schema.compiler.fields import amount as amount_of
from ispgraph.schema.compiler.fields import column, expression, one
from ispgraph.schema.customers import Customer
from ispgraph.schema.operators import Operator

_EITHER = "Give this or the other, not both."


@node(
    "pov",
    models.PriceOverride,
    description="What a package costs one customer, or the customers of an operator and of those below, for some time. "
    "What is agreed with the customer goes before what the nearest operator has.",
)
class PriceOverride(Node):
    package: Package = one("package_id")
    operator: Operator | None = one("operator_id")
    customer: Customer | None = one("customer_id")
    price: Money | None = amount_of("price_minor", description="In place of the price of the package.")
    discount_percent: Decimal | None = column("discount_percent", description="Off the price of the package.")
    valid_from: datetime
    valid_until: datetime | None = strawberry.field(description="When it ends; null without an end.")
    in_force: bool = expression(
        lambda override, asked: overrides.in_force(override, asked.now), description="Whether it counts now."
    )
    reason: str


@strawberry.input(description="Amounts in the tenant's currency.")
class PriceOverrideInput:
    package_id: strawberry.ID
    reason: str
    operator_id: strawberry.ID | None = strawberry.field(
        default=None, description=f"For the customers of this operator and of those below. {_EITHER}"
    )
    customer_id: strawberry.ID | None = strawberry.field(default=None, description=f"For this customer. {_EITHER}")
    price: Decimal | None = strawberry.field(default=None, description=f"For a period, zero or more. {_EITHER}")
    discount_percent: Decimal | None = strawberry.field(
        default=None,
        description="Off the price of the package, above 0 and at most 100, with at most three decimals.",
    )
    valid_from: datetime | None = strawberry.field(
        default=None, description="Now or later; null is now. What counts at that moment ends with it."
    )
    valid_until: datetime | None = strawberry.field(default=None, description="Null: until it is ended.")
    idempotency_key: str | None = None


@strawberry.type
class PriceOverridePayload(Payload):
    price_override: PriceOverride | None = None

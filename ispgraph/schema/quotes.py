"""Priced promises, and the mutations that hold to them."""

from datetime import date, datetime

import strawberry

from ispgraph.domain.models import PaymentMethod
from ispgraph.schema.base import Money
from ispgraph.schema.billing import InvoiceLine
from ispgraph.schema.customers import RadiusAttribute

SERVICE = "Left out: the primary service, or the only one."
_PROMISE = "Of a quote: QUOTE_STALE when anything it was computed from has moved since. Left out: computed anew."


@strawberry.type(
    description="A priced promise, good for fifteen minutes. The mutation that takes the token fails with QUOTE_STALE "
    "when anything it was computed from has moved."
)
class Quote:
    token: str
    expires_at: datetime
    lines: list[InvoiceLine] = strawberry.field(description="Of the invoice, or of the credit note.")
    credit: Money = strawberry.field(description="What is given back, without tax; not below zero.")
    charge: Money = strawberry.field(description="What is asked for, without tax.")
    tax: Money = strawberry.field(description="On what is asked for, less that on what is given back.")
    total: Money = strawberry.field(
        description="charge - credit + tax: above zero to be paid, below zero put into the wallet by a credit note."
    )
    next_invoice_on: date | None
    effective_at: datetime
    radius_before: list[RadiusAttribute] = strawberry.field(description="What RADIUS says to a login now.")
    radius_after: list[RadiusAttribute] = strawberry.field(description="The same, were it done now.")
    warnings: list[str] = strawberry.field(description="What follows that one may not expect, for people to read.")


@strawberry.input
class ChangePackageInput:
    customer_id: strawberry.ID
    service_id: strawberry.ID | None = strawberry.field(default=None, description=SERVICE)
    package_id: strawberry.ID
    effective_on: date | None = strawberry.field(
        default=None,
        description="Left out or today: now. A later day, at most a year ahead: when it begins in the tenant's time "
        "zone, on the terms of that day; a request that waits gives way to it.",
    )
    quote_token: str | None = strawberry.field(default=None, description=_PROMISE)
    reason: str | None = strawberry.field(default=None, description="For operators, at most 500 characters.")
    idempotency_key: str | None = None


@strawberry.input
class DailyRechargeInput:
    customer_id: strawberry.ID
    service_id: strawberry.ID | None = strawberry.field(default=None, description=SERVICE)
    package_id: strawberry.ID | None = strawberry.field(
        default=None, description="Left out: the one it has. Another one only when the time of the service is over."
    )
    days: int = strawberry.field(description="From 1 to 30; 0 where there are hours.")
    method: PaymentMethod = strawberry.field(description="WALLET spends what the customer's wallet holds.")
    reference: str | None = None
    hours: int = strawberry.field(
        default=0, description="So many hours after these days, from 0 to 23, if the package allows part of a day."
    )
    auto_renew: bool | None = strawberry.field(
        default=None,
        description="Whether the wallet pays for another period when the time is over. Left out: as it is.",
    )
    quote_token: str | None = strawberry.field(default=None, description=_PROMISE)
    idempotency_key: str | None = None

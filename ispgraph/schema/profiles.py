"""How a customer is billed, and what a change of that would bring."""

from datetime import date
from typing import Any

import strawberry

from ispgraph.domain import models
from ispgraph.domain.billing import profiles
from ispgraph.schema.base import Money
from ispgraph.schema.compiler.fields import declared
from ispgraph.schema.compiler.sources import Rows
from ispgraph.schema.scalars import EmailAddress, PhoneNumber


@strawberry.type(description="What is agreed with a customer about billing; where nothing is, what counts instead.")
class BillingProfile:
    billing_cycle: models.BillingCycle = strawberry.field(
        description="Without one of the customer's own, that of the package of the primary service."
    )
    billing_day: int = strawberry.field(
        description="The day of the month on which periods end; without one of the customer's own, as they happen to."
    )
    grace_days: int = strawberry.field(description="Without a number of the customer's own, that of the tenant.")
    auto_generate: bool = strawberry.field(description="Whether the billing run makes invoices.")
    auto_suspend: bool = strawberry.field(description="Whether services are suspended when an invoice is not paid.")
    auto_renew: bool = strawberry.field(description="Whether the primary service is renewed from the wallet.")
    payment_method: models.PaymentMethod | None = strawberry.field(description="The one that is preferred.")
    contact_name: str | None = strawberry.field(
        description="With the next two: who is reminded of invoices in the customer's place."
    )
    contact_email: EmailAddress | None
    contact_mobile: PhoneNumber | None
    next_invoice_on: date | None = strawberry.field(
        description="The day on which the time that is paid for ends, and the billing run makes the next invoice."
    )
    next_suspension_on: date | None = strawberry.field(
        description="When an active service is suspended if nothing is paid, or because a day is set for it. Null when "
        "nothing is owed and no day is set."
    )


def billing_profile() -> Any:
    """The field `billingProfile` of a customer."""
    return declared(Rows(lambda customer, asked: profiles.shown(customer, asked.viewer.time_zone), single=True))


@strawberry.type(description="What a change would bring.")
class BillingProfileImpact:
    next_invoice_on: date | None
    next_suspension_on: date | None
    proration: Money = strawberry.field(
        description="What is charged, with tax, for the shorter period up to a new billing day."
    )
    requires_confirmation: bool = strawberry.field(
        description="Whether the change is refused without `confirmImpact`: another cycle, a period charged in part, "
        "no invoices or no suspension by themselves any more, over 7 more days of grace."
    )
    explanation: str


@strawberry.input(
    description="What is left out stays as it is. Null takes away what is the customer's own: what counts for the "
    "package or the tenant counts again. Of the three that are true or false null says nothing."
)
class BillingProfileInput:
    billing_cycle: models.BillingCycle | None = strawberry.field(
        default=strawberry.UNSET,
        description="Not ONE_TIME. A period costs the price of the package, scaled: by months, or by days at its daily "
        "rate. The running period is kept.",
    )
    billing_day: int | None = strawberry.field(
        default=strawberry.UNSET,
        description="From 1 to 28. The running period is kept, and the next one ends on this day, charged pro rata.",
    )
    grace_days: int | None = strawberry.field(default=strawberry.UNSET, description="From 0 to 60.")
    auto_generate: bool | None = strawberry.UNSET
    auto_suspend: bool | None = strawberry.UNSET
    auto_renew: bool | None = strawberry.field(
        default=strawberry.UNSET, description="Of all services of the customer that are not terminated."
    )
    payment_method: models.PaymentMethod | None = strawberry.UNSET
    contact_name: str | None = strawberry.UNSET
    contact_email: EmailAddress | None = strawberry.UNSET
    contact_mobile: PhoneNumber | None = strawberry.UNSET


@strawberry.input
class UpdateBillingProfileInput:
    customer_id: strawberry.ID
    profile: BillingProfileInput
    confirm_impact: bool = strawberry.field(
        default=False, description="That what `billingProfileImpact` tells is meant, where it asks for that."
    )
    idempotency_key: str | None = None

"""The settings of a tenant."""

from decimal import Decimal

import strawberry

from ispgraph.schema.base import Payload


@strawberry.type(description="What a tenant decides for itself.")
class TenantSettings:
    email_required: bool = strawberry.field(description="Whether a customer needs an e-mail address.")
    pending_until_paid: bool = strawberry.field(
        description="Whether a new customer who has paid nothing is PENDING, and cannot get on line."
    )
    tax_rate: Decimal = strawberry.field(description="Per cent, on top of prices.")
    invoice_due_days: int
    account_prefix: str = strawberry.field(description="Stands before the digits of new account numbers.")


@strawberry.input(description="What is left out stays as it is.")
class TenantSettingsInput:
    email_required: bool | None = None
    pending_until_paid: bool | None = None
    tax_rate: Decimal | None = None
    invoice_due_days: int | None = None
    account_prefix: str | None = None


@strawberry.type
class TenantSettingsPayload(Payload):
    settings: TenantSettings | None = None

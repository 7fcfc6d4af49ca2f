"""The settings of a tenant."""

from decimal import Decimal

import strawberry

from ispgraph.domain.models import Suspension
from ispgraph.schema.base import Payload


@strawberry.type(description="What a tenant decides for itself.")
class TenantSettings:
    email_required: bool = strawberry.field(description="Whether a customer needs an e-mail address.")
    pending_until_paid: bool = strawberry.field(
        description="Whether a new customer who has paid nothing is PENDING, and cannot get on line."
    )
    tax_rate: Decimal = strawberry.field(
        description="Per cent, for packages without a tax profile where no profile is the default one."
    )
    tax_inclusive: bool = strawberry.field(
        description="Whether prices have the tax in them; otherwise it comes on top."
    )
    invoice_due_days: int
    account_prefix: str = strawberry.field(description="Stands before the digits of new account numbers.")
    suspension: Suspension = strawberry.field(
        description="What the network does with those who are suspended or whose time is over. Who violated the terms "
        "is refused either way."
    )
    walled_address_list: str = strawberry.field(
        description="The address list of the routers in which those in the walled garden stand."
    )
    walled_pool: str | None = strawberry.field(
        description="The pool of the routers from which they get their addresses; null: from the usual one."
    )
    walled_kbps: int = strawberry.field(description="What they can use in each direction, in kbit/s.")


@strawberry.input(description="What is left out stays as it is.")
class TenantSettingsInput:
    email_required: bool | None = None
    pending_until_paid: bool | None = None
    tax_rate: Decimal | None = None
    tax_inclusive: bool | None = None
    invoice_due_days: int | None = None
    account_prefix: str | None = None
    suspension: Suspension | None = None
    walled_address_list: str | None = None
    walled_pool: str | None = strawberry.field(default=strawberry.UNSET, description="Null or empty: none.")
    walled_kbps: int | None = None


@strawberry.type
class TenantSettingsPayload(Payload):
    settings: TenantSettings | None = None

"""Making, correcting and removing customers: what these mutations take and answer."""

from decimal import Decimal

import strawberry

from ispgraph.schema.base import Payload
from ispgraph.schema.catalogue import CustomFieldInput
from ispgraph.schema.customers import Customer
from ispgraph.schema.hosting import HostingAccount, HostingInput
from ispgraph.schema.jobs import Job
from ispgraph.schema.onboarding import AddressInput
from ispgraph.schema.scalars import EmailAddress, PhoneNumber


@strawberry.input(description="A customer without a service yet.")
class CustomerCreateInput:
    name: str
    mobile: PhoneNumber
    email: EmailAddress | None = None
    company: str | None = None
    address: AddressInput | None = None
    zone_id: strawberry.ID | None = None
    hosting: HostingInput | None = strawberry.field(
        default=None,
        description="Also make an account on a hosting server. Needs the permission MANAGE_HOSTING, and `email`.",
    )
    idempotency_key: str | None = None


@strawberry.input(description="What is left out stays as it is; null takes it away, where it may be missing.")
class CustomerUpdateInput:
    customer_id: strawberry.ID
    expected_version: int | None = strawberry.field(
        default=None,
        description="The version the form was filled from: VERSION_CONFLICT when somebody has changed it since.",
    )
    name: str | None = strawberry.UNSET
    mobile: PhoneNumber | None = strawberry.UNSET
    email: EmailAddress | None = strawberry.UNSET
    company: str | None = strawberry.UNSET
    address: AddressInput | None = strawberry.field(default=strawberry.UNSET, description="Replaced as a whole.")
    zone_id: strawberry.ID | None = strawberry.UNSET
    language: str | None = strawberry.field(
        default=strawberry.UNSET, description="In which the customer is written to, such as bn. Null: as the tenant's."
    )
    sms_opt_out: bool | None = strawberry.field(
        default=strawberry.UNSET,
        description="Whether the customer wants no SMS but those that belong to what was bought. Null says nothing.",
    )
    email_opt_out: bool | None = strawberry.field(default=strawberry.UNSET, description="The same of e-mails.")
    custom_fields: list[CustomFieldInput] | None = strawberry.field(
        default=strawberry.UNSET,
        description="A value of null takes the answer away. Fields that are not named keep theirs.",
    )
    idempotency_key: str | None = None


@strawberry.input
class AdjustBalanceInput:
    customer_id: strawberry.ID
    amount: Decimal = strawberry.field(
        description="Above zero: put into the wallet. Below zero: taken from it, at most what it holds."
    )
    reason: str = strawberry.field(description="Stands in the ledger; at most 255 characters.")
    idempotency_key: str | None = None


@strawberry.type
class CustomerCreatePayload(Payload):
    customer: Customer | None = None
    hosting_account: HostingAccount | None = strawberry.field(
        default=None,
        description="PENDING: a job makes it. FAILED: the customer was made all the same, `error` says why the account "
        "was not, and `hostingRetry` tries again.",
    )
    jobs: list[Job] = strawberry.field(
        default_factory=list, description="What makes the hosting account; without one there is nothing to carry out."
    )


@strawberry.type
class CustomerPayload(Payload):
    customer: Customer | None = None


@strawberry.type
class DeletePayload(Payload):
    deleted_id: strawberry.ID | None = None

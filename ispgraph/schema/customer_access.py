"""What lets customers in, and those who look after their portals: what these mutations take and answer."""

import strawberry

from ispgraph.domain import models
from ispgraph.schema.base import Payload
from ispgraph.schema.customers import Customer
from ispgraph.schema.messages import Message


@strawberry.input(description="Within a provider or a portal: one of `tenant` and `portal` is needed.")
class CustomerSignInInput:
    login: str = strawberry.field(
        description="The account number, the e-mail address or the mobile number of a customer, or the e-mail address "
        "of the admin of its portal. A name that more than three accounts have in common finds three of them."
    )
    password: str = strawberry.field(description="Not the network password.")
    tenant: str | None = strawberry.field(default=None, description="Short name of the provider.")
    portal: str | None = strawberry.field(
        default=None, description="Subdomain of a portal: only its customer and its admin are found."
    )


@strawberry.input(description="As in `customerSignIn`.")
class CustomerPasswordRequestInput:
    login: str = strawberry.field(
        description="For a mobile number the code is sent by SMS, for an e-mail address by e-mail, for an account "
        "number by both."
    )
    tenant: str | None = None
    portal: str | None = None


@strawberry.input
class CustomerInviteInput:
    customer_id: strawberry.ID
    channels: list[models.MessageChannel] = strawberry.field(
        default_factory=lambda: list(models.MessageChannel), description="Those of them by which there is an address."
    )
    idempotency_key: str | None = None


@strawberry.type
class CustomerInvitePayload(Payload):
    customer: Customer | None = None
    messages: list[Message] = strawberry.field(
        default_factory=list, description="What was written; none when this key was used before."
    )


@strawberry.input
class CustomerAccessInput:
    customer_id: strawberry.ID
    allowed: bool
    idempotency_key: str | None = None


@strawberry.input(description="What is left out stays as it is.")
class PreferencesInput:
    language: str | None = strawberry.field(
        default=strawberry.UNSET, description="In which one is written to, such as bn. Null: as the provider's."
    )
    sms_opt_out: bool | None = strawberry.field(
        default=strawberry.UNSET, description="Whether no SMS are wanted but those that belong to what was bought."
    )
    email_opt_out: bool | None = strawberry.field(default=strawberry.UNSET, description="The same of e-mails.")
    idempotency_key: str | None = None


@strawberry.type
class PreferencesPayload(Payload):
    customer: Customer | None = None


@strawberry.input
class PortalInvitationInput:
    subdomain: str = strawberry.field(description="Of the portal.")
    token: str = strawberry.field(description="As it stands at the end of the address in the invitation.")
    new_password: str = strawberry.field(description="At least 10 characters.")

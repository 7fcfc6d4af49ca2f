"""What lets operators in, and what they are granted for a while or for a zone."""

from datetime import datetime

import strawberry

from ispgraph.domain import api_tokens, grants, models
from ispgraph.domain.permissions import Permission
from ispgraph.schema.base import Node, Payload, node
from ispgraph.schema.catalogue import Zone
from ispgraph.schema.compiler.fields import expression, one
from ispgraph.schema.operators import Operator
from ispgraph.schema.scalars import EmailAddress, IpAddress


@node(
    "gra",
    models.OperatorGrant,
    description="A permission that an operator has beside its own ones: for a while, in one zone, or both.",
)
class OperatorGrant(Node):
    operator: Operator = one("operator_id")
    permission: Permission
    zone: Zone | None = one("zone_id", description="Whose customers alone it is for; null for all.")
    expires_at: datetime | None = strawberry.field(description="Null: without an end.")
    in_force: bool = expression(
        lambda grant, asked: grants.in_force(grant, asked.now), description="Whether it counts now."
    )
    created_at: datetime
    granted_by: Operator = one("granted_by_id")
    ended_at: datetime | None = strawberry.field(description="When it was taken back, or replaced by another one.")


@strawberry.type
class OperatorGrantPayload(Payload):
    grant: OperatorGrant | None = None


@node("atk", models.ApiToken, description="A long-lived token of a program that acts for an operator.")
class ApiToken(Node):
    operator: Operator = one("operator_id")
    name: str
    prefix: str = strawberry.field(description="How it begins; nobody is told the rest again.")
    permissions: list[Permission] = strawberry.field(
        description="What it may at most: those of them count that the operator has when it is used."
    )
    in_force: bool = expression(
        lambda token, asked: api_tokens.in_force(token, asked.now), description="Whether it lets anybody in."
    )
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None = strawberry.field(description="To the minute; null when it never was.")
    revoked_at: datetime | None


@node("sgn", models.SignIn, description="One signed-in operator on one device.")
class SignIn(Node):
    operator: Operator = one("operator_id")
    acting_operator: Operator | None = one(
        "acting_id", description="Who has signed in in the operator's place; null for the operator."
    )
    created_at: datetime
    expires_at: datetime = strawberry.field(description="When it ends at the latest.")
    ended_at: datetime | None = strawberry.field(description="When it ended before that.")
    address: IpAddress | None
    user_agent: str | None


@strawberry.input
class ApiTokenInput:
    name: str = strawberry.field(description="What it is for.")
    permissions: list[Permission] = strawberry.field(description="Of those that the viewer has.")
    expires_at: datetime = strawberry.field(description="Within 730 days.")
    idempotency_key: str | None = None


@strawberry.type(description="Send the token as `Authorization: Bearer …`. It is told this once.")
class ApiTokenPayload(Payload):
    token: str | None = None
    api_token: ApiToken | None = None


@strawberry.type
class SignInEndPayload(Payload):
    sign_in: SignIn | None = None


@strawberry.input
class SignInConfirmInput:
    challenge: str = strawberry.field(description="Of `signIn`.")
    code: str = strawberry.field(description="Six digits of the device, or a recovery code.")


@strawberry.input
class PasswordChangeInput:
    current_password: str
    new_password: str = strawberry.field(description="At least 10 characters.")
    idempotency_key: str | None = None


@strawberry.input
class PasswordResetRequestInput:
    email: EmailAddress
    tenant: str | None = strawberry.field(
        default=None, description="Short name of the provider; left out: all where the address is used."
    )


@strawberry.input
class PasswordResetInput:
    code: str = strawberry.field(description="As it was sent.")
    new_password: str = strawberry.field(description="At least 10 characters.")


@strawberry.type
class PasswordPayload(Payload):
    done: bool | None = strawberry.field(default=None, description="True when there are no errors.")


@strawberry.type(description="What a device needs to know; it is not told any more once the factor counts.")
class TwoFactorBeginPayload(Payload):
    secret: str | None = strawberry.field(default=None, description="In base 32, to be typed in.")
    uri: str | None = strawberry.field(default=None, description="The same, to be shown as a QR code (otpauth).")


@strawberry.type
class TwoFactorPayload(Payload):
    recovery_codes: list[str] | None = strawberry.field(
        default=None, description="Each does once in place of a code. They are told this once."
    )
    enabled: bool | None = strawberry.field(default=None, description="Whether a code is asked at a sign-in now.")


@strawberry.input
class TwoFactorDisableInput:
    password: str
    code: str = strawberry.field(description="Six digits of the device, or a recovery code.")
    idempotency_key: str | None = None

"""Operators, their tenant, and who is signed in."""

from datetime import datetime

import strawberry

from ispgraph.domain import models, operators
from ispgraph.domain import permissions as domain
from ispgraph.domain.models import Role
from ispgraph.domain.permissions import Permission
from ispgraph.schema.base import Money, Node, Payload, money, node
from ispgraph.schema.context import Info
from ispgraph.schema.scalars import CurrencyCode, EmailAddress


@node("ten", models.Tenant, description="An internet service provider.")
class Tenant(Node):
    name: str
    currency: CurrencyCode
    time_zone: str


@node("opr", models.Operator, description="A person of the provider, or of one of its resellers.")
class Operator(Node):
    name: str
    role: Role
    level: int = strawberry.field(description="The rank of the role; lower numbers manage higher ones.")
    active: bool

    @strawberry.field(description="Of the sign-in; hidden@invalid for operators outside the viewer's tree.")
    def email(root: strawberry.Parent[models.Operator], info: Info) -> EmailAddress:
        return EmailAddress(root.email if _open(info, root) else "hidden@invalid")

    @strawberry.field
    def sms_credits(root: strawberry.Parent[models.Operator], info: Info) -> int:
        return root.sms_credits if _open(info, root) else 0

    @strawberry.field(description="Who stands right above; null at the top, and when the viewer may not see it.")
    async def parent(root: strawberry.Parent[models.Operator], info: Info) -> "Operator | None":
        found = await info.context.loaders.one(models.Operator, root.parent_id)
        visible = found is not None and operators.is_visible(info.context.viewer_or_refuse(), found)
        return found if visible else None

    @strawberry.field
    def permissions(root: strawberry.Parent[models.Operator], info: Info) -> list[Permission]:
        return [Permission(name) for name in root.permissions] if _open(info, root) else []

    @strawberry.field(description="What the operator has paid in and not used yet.")
    async def wallet_balance(root: strawberry.Parent[models.Operator], info: Info) -> Money:
        if not _open(info, root):
            return money(info, 0)
        held = info.context.loaders.batched(("operators.wallets",), operators.wallets)
        return money(info, await held.load(root.id))


def _open(info: Info, operator: models.Operator) -> bool:
    """Who took a payment or saved a draft has a name for everyone who sees it; their address, what they may and what
    they own is told within the viewer's tree only. Outside of it these are blank, so that the page is still shown."""
    return operators.is_visible(info.context.viewer_or_refuse(), operator)


@strawberry.type(description="Who is signed in.")
class Viewer:
    @strawberry.field
    async def tenant(root: strawberry.Parent[domain.Viewer], info: Info) -> Tenant:
        return await info.context.loaders.one(models.Tenant, root.tenant_id)

    @strawberry.field
    async def operator(root: strawberry.Parent[domain.Viewer], info: Info) -> Operator | None:
        return await info.context.loaders.one(models.Operator, root.operator_id)

    @strawberry.field
    def permissions(root: strawberry.Parent[domain.Viewer]) -> list[Permission]:
        return sorted(root.permissions, key=lambda permission: permission.value)


@strawberry.input
class SignInInput:
    email: EmailAddress
    password: str
    tenant: str | None = strawberry.field(
        default=None, description="Short name of the provider; needed when the address is used at several."
    )


@strawberry.input
class OperatorInput:
    name: str
    email: EmailAddress
    password: str = strawberry.field(description="At least 10 characters.")
    role: Role
    parent_id: strawberry.ID | None = strawberry.field(default=None, description="Left out: the viewer.")
    permissions: list[Permission] | None = strawberry.field(
        default=None, description="Left out: those usual for the role, as far as the viewer has them."
    )


@strawberry.type(description="Send the token as `Authorization: Bearer …`; renew it before `expiresAt`.")
class SignInPayload(Payload):
    token: str | None = None
    expires_at: datetime | None = None
    viewer: Viewer | None = None


@strawberry.type
class OperatorPayload(Payload):
    operator: Operator | None = None

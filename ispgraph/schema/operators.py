"""Operators, their tenant, and who is signed in."""

from datetime import datetime

import strawberry

from ispgraph.domain import models, operators
from ispgraph.domain import permissions as domain
from ispgraph.domain.models import Role
from ispgraph.domain.permissions import Permission
from ispgraph.schema.base import Money, Node, Payload, money, node
from ispgraph.schema.context import Info
from ispgraph.schema.errors import ApiError
from ispgraph.schema.scalars import CurrencyCode, EmailAddress


@node("ten", models.Tenant, description="An internet service provider.")
class Tenant(Node):
    name: str
    currency: CurrencyCode
    time_zone: str


@node("opr", models.Operator, description="A person of the provider, or of one of its resellers.")
class Operator(Node):
    name: str
    email: EmailAddress
    role: Role
    level: int = strawberry.field(description="The rank of the role; lower numbers manage higher ones.")
    active: bool

    @strawberry.field
    def sms_credits(root: strawberry.Parent[models.Operator], info: Info) -> int:
        _require_visible(info, root)
        return root.sms_credits

    @strawberry.field(description="Who stands right above; null at the top, and when the viewer may not see it.")
    async def parent(root: strawberry.Parent[models.Operator], info: Info) -> "Operator | None":
        found = await info.context.loaders.one(models.Operator, root.parent_id)
        visible = found is not None and operators.is_visible(info.context.viewer_or_refuse(), found)
        return found if visible else None

    @strawberry.field
    def permissions(root: strawberry.Parent[models.Operator], info: Info) -> list[Permission]:
        _require_visible(info, root)
        return [Permission(name) for name in root.permissions]

    @strawberry.field(description="What the operator has paid in and not used yet.")
    async def wallet_balance(root: strawberry.Parent[models.Operator], info: Info) -> Money:
        _require_visible(info, root)
        held = info.context.loaders.batched(("operators.wallets",), operators.wallets)
        return money(info, await held.load(root.id))


def _require_visible(info: Info, operator: models.Operator) -> None:
    """Who took a payment or saved a draft has a name for everyone who sees it; what they may and own is not told
    outside their subtree."""
    if not operators.is_visible(info.context.viewer_or_refuse(), operator):
        raise ApiError("FORBIDDEN", "This operator is outside your part of the tree.")


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

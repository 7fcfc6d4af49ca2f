"""Operators, their tenant, and who is signed in."""

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import strawberry
from sqlalchemy import ColumnElement, String, and_, case, func
from sqlalchemy.dialects.postgresql import array

from ispgraph.domain import grants, models, operators
from ispgraph.domain import permissions as domain
from ispgraph.domain.models import Role
from ispgraph.domain.permissions import Permission
from ispgraph.schema.base import Money, Node, Payload, node
from ispgraph.schema.compiler.fields import amount, expression, many, one
from ispgraph.schema.compiler.reading import RowOf
from ispgraph.schema.compiler.sources import Asked
from ispgraph.schema.context import Info
from ispgraph.schema.scalars import CurrencyCode, EmailAddress

if TYPE_CHECKING:
    from ispgraph.schema.access import OperatorGrant
    from ispgraph.schema.customers import Customer
    from ispgraph.schema.portals import PortalAdmin


@node("ten", models.Tenant, description="An internet service provider.")
class Tenant(Node):
    name: str
    currency: CurrencyCode
    time_zone: str


def _told(operator: Any, asked: Asked, value: Any, blank: Any) -> ColumnElement[Any]:
    """Who took a payment or saved a draft has a name for everyone who sees it; their address, what they may and what
    they own is told within the viewer's tree only. Outside of it these are blank, so that the page is still shown."""
    return case((operators.visible(asked.viewer, operator), value), else_=blank)


@node("opr", models.Operator, description="A person of the provider, or of one of its resellers.")
class Operator(Node):
    name: str
    role: Role
    level: int = strawberry.field(description="The rank of the role; lower numbers manage higher ones.")
    active: bool
    email: EmailAddress = expression(
        lambda operator, asked: _told(operator, asked, operator.email, "hidden@invalid"),
        description="Of the sign-in; hidden@invalid for operators outside the viewer's tree.",
    )
    sms_credits: int = expression(lambda operator, asked: _told(operator, asked, operator.sms_credits, 0))
    parent: Annotated["Operator", strawberry.lazy("ispgraph.schema.operators")] | None = one(
        lambda operator, above, asked: and_(above.id == operator.parent_id, operators.visible(asked.viewer, above)),
        description="Who stands right above; null at the top, and when the viewer may not see it.",
    )
    permissions: list[Permission] = expression(
        lambda operator, asked: _told(operator, asked, operator.permissions, array([], type_=String()))
    )
    grants: list[Annotated["OperatorGrant", strawberry.lazy("ispgraph.schema.access")]] = many(
        lambda operator, grant, asked: and_(
            grant.operator_id == operator.id,
            grants.in_force(grant, asked.now),
            operators.visible(asked.viewer, operator),
        ),
        description="What the operator may do beside `permissions`: for a while, in one zone, or both. Empty for "
        "operators outside the viewer's tree.",
    )
    credit_limit: Money = amount(
        lambda operator, asked: _told(operator, asked, func.coalesce(operator.credit_limit_minor, 0), 0),
        description="How far below zero the wallet may go by vouchers that the operator buys.",
    )
    wallet_balance: Money = amount(
        lambda operator, asked: _told(operator, asked, operators.wallet_minor(operator), 0),
        description="Commission and what was paid in, less what was paid out; below zero the operator owes.",
    )


@strawberry.type(description="Who is signed in.")
class Viewer:
    @strawberry.field
    def tenant(root: strawberry.Parent[domain.Viewer]) -> Tenant:
        found: Any = RowOf(models.Tenant, root.tenant_id)
        return found

    @strawberry.field(description="Null when a customer has signed in.")
    def operator(root: strawberry.Parent[domain.Viewer]) -> Operator | None:
        found: Any = RowOf(models.Operator, root.operator_id) if root.customer_id is None else None
        return found

    @strawberry.field(description="Who has signed in as a customer, or is looked after by the admin who has.")
    def customer(
        root: strawberry.Parent[domain.Viewer],
    ) -> Annotated["Customer", strawberry.lazy("ispgraph.schema.customers")] | None:
        found: Any = None if root.customer_id is None else RowOf(models.Customer, root.customer_id)
        return found

    @strawberry.field(description="Who has signed in for the customer: the admin of its portal.")
    async def portal_admin(
        root: strawberry.Parent[domain.Viewer], info: Info
    ) -> Annotated["PortalAdmin", strawberry.lazy("ispgraph.schema.portals")] | None:
        found: Any = await info.context.loaders.one(models.PortalAdmin, root.admin_id)
        return found

    @strawberry.field
    def permissions(root: strawberry.Parent[domain.Viewer]) -> list[Permission]:
        return sorted(root.permissions, key=lambda permission: permission.value)

    @strawberry.field(description="Who really acts, when somebody from above has signed in in the operator's place.")
    def acting_operator(root: strawberry.Parent[domain.Viewer]) -> Operator | None:
        found: Any = None if root.acting_id is None else RowOf(models.Operator, root.acting_id)
        return found


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
    idempotency_key: str | None = None


@strawberry.type(description="Send the token as `Authorization: Bearer …`; renew it before `expiresAt`.")
class SignInPayload(Payload):
    token: str | None = None
    expires_at: datetime | None = strawberry.field(default=None, description="Of the token, or of the challenge.")
    viewer: Viewer | None = None
    challenge: str | None = strawberry.field(
        default=None,
        description="In place of a token, when the operator has a second factor: `signInConfirm` takes it with a code.",
    )


@strawberry.type
class OperatorPayload(Payload):
    operator: Operator | None = None


@strawberry.input(description="What is left out stays as it is.")
class OperatorUpdateInput:
    operator_id: strawberry.ID
    name: str | None = None
    email: EmailAddress | None = strawberry.field(
        default=None, description="Of operators only who may do nothing that the viewer may not."
    )
    role: Role | None = strawberry.field(
        default=None,
        description="Below the viewer's rank, below whoever stands right above and above all who stand right below. "
        "The permissions stay as they are.",
    )
    idempotency_key: str | None = None


@strawberry.input
class OperatorDeactivateInput:
    operator_id: strawberry.ID
    with_subordinates: bool = strawberry.field(
        default=False, description="All who stand below are deactivated too; otherwise they go on as before."
    )
    idempotency_key: str | None = None


@strawberry.type
class OperatorDeactivatePayload(Payload):
    operator: Operator | None = None
    deactivated_count: int | None = strawberry.field(default=None, description="Operators, this one included.")
    released_ticket_count: int | None = strawberry.field(
        default=None, description="Open tickets of theirs, which nobody works on now."
    )


@strawberry.input(description="An amount in the tenant's currency.")
class OperatorCreditLimitInput:
    operator_id: strawberry.ID
    amount: Decimal = strawberry.field(description="Zero or more; zero: nothing is bought on credit.")
    idempotency_key: str | None = None


@strawberry.input
class OperatorGrantInput:
    operator_id: strawberry.ID
    permission: Permission
    zone_id: strawberry.ID | None = strawberry.field(
        default=None,
        description="For the customers of this zone alone, which the permissions can be that are used on one customer "
        "at a time. VIEW_CUSTOMERS shows these customers and what belongs to them, but no list of all, such as "
        "`invoices`, no figures and no subscription. Null: wherever they are.",
    )
    expires_at: datetime | None = strawberry.field(
        default=None, description="Later than now. Null: without an end, which a zone makes possible."
    )
    idempotency_key: str | None = None

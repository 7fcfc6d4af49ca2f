"""Refunds that gateways carry out, and what people decide about them."""

from typing import Any

import strawberry

from ispgraph.domain import gateway_refunds, models
from ispgraph.domain.permissions import Permission
from ispgraph.domain.references import typed_id
from ispgraph.resolvers.base import action, query
from ispgraph.resolvers.once import once
from ispgraph.schema import roots
from ispgraph.schema.compiler.reading import page_of
from ispgraph.schema.context import Info
from ispgraph.schema.gateway_refunds import GatewayRefund, GatewayRefundPayload
from ispgraph.schema.pages import Connection


async def refunds(
    info: Info,
    state: list[models.GatewayRefundState] | None = None,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
) -> Connection[GatewayRefund]:
    """Refunds to the viewer's customers that gateways carry out, newest first; with `state`, those in these states."""
    found: Connection[GatewayRefund] = page_of(
        roots.GATEWAY_REFUNDS, {"state": state}, first=first, after=after, last=last, before=before
    )
    return found


async def confirm(
    info: Info, gateway_refund_id: strawberry.ID, idempotency_key: str | None = None
) -> GatewayRefundPayload:
    """The money of a refund that is IN_DOUBT has gone back to the payer: the books stand as they are. INVALID_STATE for
    one that is not in doubt."""
    row, customer = await gateway_refunds.confirm(
        info.context.session,
        typed_id("grf", gateway_refund_id, "gatewayRefundId"),
        idempotency_key=idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return _payload(row, customer)


async def reject(
    info: Info, gateway_refund_id: strawberry.ID, reason: str, idempotency_key: str | None = None
) -> GatewayRefundPayload:
    """No money of a refund that is IN_DOUBT has gone back: it is undone in the books. `reason` has at most 200
    characters. INVALID_STATE for one that is not in doubt."""
    row, customer = await gateway_refunds.reject(
        info.context.session,
        typed_id("grf", gateway_refund_id, "gatewayRefundId"),
        reason=reason,
        idempotency_key=idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return _payload(row, customer)


@once()
async def check(info: Info, gateway_refund_id: strawberry.ID) -> GatewayRefundPayload:
    """Have the gateway asked now how a refund stands, also where that was given up; what it says shows on the refund
    soon after. INVALID_STATE for one that is settled."""
    row, customer = await gateway_refunds.ask(
        info.context.session,
        typed_id("grf", gateway_refund_id, "gatewayRefundId"),
        by=info.context.viewer_or_refuse(),
    )
    return _payload(row, customer)


def _payload(row: Any, customer: Any) -> GatewayRefundPayload:
    return GatewayRefundPayload(gateway_refund=row, customer=customer)


@strawberry.type
class GatewayRefundQueries:
    gateway_refunds = query(refunds, Permission.VIEW_CUSTOMERS)


@strawberry.type
class GatewayRefundMutations:
    gateway_refund_confirm = action(confirm, Permission.REFUND_PAYMENTS)
    gateway_refund_reject = action(reject, Permission.REFUND_PAYMENTS)
    gateway_refund_check = action(check, Permission.REFUND_PAYMENTS)

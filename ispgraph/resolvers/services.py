"""Suspending, activating and disconnecting."""

from typing import Any

import strawberry

from ispgraph.domain import services as domain
from ispgraph.domain.permissions import Permission
from ispgraph.domain.references import optional_id, typed_id
from ispgraph.resolvers.base import action
from ispgraph.schema.context import Info
from ispgraph.schema.services import ActivateInput, CustomerActionPayload, DisconnectInput, SuspendInput


async def activate(info: Info, input: ActivateInput) -> CustomerActionPayload:
    """Put a suspended service back on line, or begin a pending one. The jobs carry it into the network."""
    done = await domain.activate(
        info.context.session,
        _chosen(input),
        note=input.note,
        notify=input.notify,
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return _payload(done)


async def suspend(info: Info, input: SuspendInput) -> CustomerActionPayload:
    """Take an active service off line, with a reason. The jobs carry it into the network."""
    done = await domain.suspend(
        info.context.session,
        _chosen(input),
        reason=input.reason,
        note=input.note,
        notify=input.notify,
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return _payload(done)


async def disconnect(info: Info, input: DisconnectInput) -> CustomerActionPayload:
    """End one open session, or all those of a service; who may be on line can dial again at once."""
    done = await domain.disconnect(
        info.context.session,
        _chosen(input),
        session_id=optional_id("ses", input.session_id, "input", "sessionId"),
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return _payload(done)


def _chosen(input: ActivateInput | SuspendInput | DisconnectInput) -> domain.Chosen:
    return domain.Chosen(
        typed_id("cus", input.customer_id, "input", "customerId"),
        optional_id("svc", input.service_id, "input", "serviceId"),
    )


def _payload(done: domain.Done) -> CustomerActionPayload:
    customer: Any = done.customer
    jobs: Any = list(done.jobs)
    return CustomerActionPayload(customer=customer, jobs=jobs)


@strawberry.type
class ServiceMutations:
    customer_activate = action(activate, Permission.ACTIVATE_CUSTOMERS)
    customer_suspend = action(suspend, Permission.SUSPEND_CUSTOMERS)
    customer_disconnect = action(disconnect, Permission.DISCONNECT_CUSTOMERS)

"""Suspending, activating and disconnecting; the devices that a service is bound to."""

import strawberry

from ispgraph.domain import macs
from ispgraph.domain import services as domain
from ispgraph.domain.permissions import Permission
from ispgraph.domain.references import optional_id
from ispgraph.resolvers.base import action
from ispgraph.resolvers.customer_actions import chosen, payload
from ispgraph.schema.context import Info
from ispgraph.schema.services import (
    ActivateInput,
    CustomerActionPayload,
    DisconnectInput,
    MacBindInput,
    SuspendInput,
)


async def activate(info: Info, input: ActivateInput) -> CustomerActionPayload:
    """Put a suspended service back on line, or begin a pending one. The jobs carry it into the network."""
    done = await domain.activate(
        info.context.session,
        chosen(input),
        note=input.note,
        notify=input.notify,
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return payload(done)


async def suspend(info: Info, input: SuspendInput) -> CustomerActionPayload:
    """Take an active service off line, with a reason. The jobs carry it into the network."""
    done = await domain.suspend(
        info.context.session,
        chosen(input),
        reason=input.reason,
        note=input.note,
        notify=input.notify,
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return payload(done)


async def disconnect(info: Info, input: DisconnectInput) -> CustomerActionPayload:
    """End one open session, or all those of a service; who may be on line can dial again at once."""
    done = await domain.disconnect(
        info.context.session,
        chosen(input),
        session_id=optional_id("ses", input.session_id, "input", "sessionId"),
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return payload(done)


async def add_mac_binding(info: Info, input: MacBindInput) -> CustomerActionPayload:
    """Bind a service to one more device. From all other devices it cannot be used any more."""
    done = await macs.bind(
        info.context.session,
        chosen(input),
        input.mac_address,
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return payload(done)


async def remove_mac_binding(info: Info, input: MacBindInput) -> CustomerActionPayload:
    """Take one device from a service, or all. A service that is bound to none can be used from any."""
    done = await macs.unbind(
        info.context.session,
        chosen(input),
        input.mac_address,
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return payload(done)


@strawberry.type
class ServiceMutations:
    customer_activate = action(activate, Permission.ACTIVATE_CUSTOMERS)
    customer_suspend = action(suspend, Permission.SUSPEND_CUSTOMERS)
    customer_disconnect = action(disconnect, Permission.DISCONNECT_CUSTOMERS)
    # There is one permission about devices: whoever may set them free may bind them.
    customer_add_mac_binding = action(add_mac_binding, Permission.REMOVE_MAC_BIND)
    customer_remove_mac_binding = action(remove_mac_binding, Permission.REMOVE_MAC_BIND)

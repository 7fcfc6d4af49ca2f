"""Telling others of what happens."""

from typing import Any

import strawberry

from ispgraph import ids
from ispgraph.domain.models import DeliveryStatus, WebhookStatus
from ispgraph.domain.permissions import Permission
from ispgraph.domain.references import optional_id, typed_id
from ispgraph.domain.webhooks import deliveries, endpoints
from ispgraph.domain.webhooks.catalogue import WebhookEvent
from ispgraph.resolvers.base import action, query
from ispgraph.resolvers.once import once
from ispgraph.schema import roots
from ispgraph.schema.compiler.reading import page_of
from ispgraph.schema.context import Info
from ispgraph.schema.pages import Connection
from ispgraph.schema.webhooks import (
    WebhookDelivery,
    WebhookDeliveryPayload,
    WebhookEndpoint,
    WebhookEndpointDeletePayload,
    WebhookEndpointInput,
    WebhookEndpointPayload,
    wrong_with,
)


async def list_endpoints(
    info: Info,
    status: list[WebhookStatus] | None = None,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
) -> Connection[WebhookEndpoint]:
    """The viewer's endpoints and, with the permission MANAGE_OPERATORS, those of the operators below; newest first."""
    found: Connection[WebhookEndpoint] = page_of(
        roots.WEBHOOK_ENDPOINTS, {"status": status}, first=first, after=after, last=last, before=before
    )
    return found


async def list_deliveries(
    info: Info,
    endpoint_id: strawberry.ID | None = None,
    status: list[DeliveryStatus] | None = None,
    events: list[WebhookEvent] | None = None,
    subject_id: strawberry.ID | None = None,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
) -> Connection[WebhookDelivery]:
    """What was, or is to be, sent to these endpoints, newest first. What has ended is forgotten after 30 days."""
    wanted = {
        "endpoint": optional_id("whe", endpoint_id, "endpointId"),
        "status": status,
        "events": events,
        "subject": subject_id,
    }
    found: Connection[WebhookDelivery] = page_of(
        roots.WEBHOOK_DELIVERIES, wanted, first=first, after=after, last=last, before=before
    )
    return found


async def save(info: Info, input: WebhookEndpointInput) -> WebhookEndpointPayload:
    """Have an address be told of events, or change how. Whoever saves an endpoint becomes its owner.

    NOT_PERMITTED for programs with an API token, and for whoever acts for another; LIMIT_EXCEEDED at 50 endpoints. A
    repetition with the same key is answered without the secret."""
    settings = info.context.settings
    document = input.document
    saved = await endpoints.save(
        info.context.session,
        optional_id("whe", input.id, "input", "id"),
        endpoints.Terms(
            name=input.name,
            url=input.url,
            events=input.events,
            document=document,
            wrong=wrong_with(info.schema, document) if document and document.strip() else (),
        ),
        idempotency_key=input.idempotency_key,
        network_key=settings.network_key,
        private=settings.private_webhooks,
        by=info.context.viewer_or_refuse(),
    )
    row: Any = saved.row
    return WebhookEndpointPayload(endpoint=row, secret=saved.secret)


@once(keeping=("endpoint_id",))
async def delete(info: Info, endpoint_id: strawberry.ID) -> WebhookEndpointDeletePayload:
    """Forget an endpoint, with the log of what was sent and with what waits."""
    key = typed_id("whe", endpoint_id, "endpointId")
    await endpoints.remove(info.context.session, key, by=info.context.viewer_or_refuse())
    return WebhookEndpointDeletePayload(endpoint_id=strawberry.ID(ids.encode("whe", key)))


@once()
async def pause(info: Info, endpoint_id: strawberry.ID) -> WebhookEndpointPayload:
    """Send nothing until the endpoint is resumed: what happens waits. INVALID_STATE for one that is not active."""
    key = typed_id("whe", endpoint_id, "endpointId")
    row: Any = await endpoints.pause(info.context.session, key, by=info.context.viewer_or_refuse())
    return WebhookEndpointPayload(endpoint=row)


@once()
async def resume(info: Info, endpoint_id: strawberry.ID) -> WebhookEndpointPayload:
    """Send again, what waits first. INVALID_STATE for one that is active."""
    key = typed_id("whe", endpoint_id, "endpointId")
    row: Any = await endpoints.resume(info.context.session, key, by=info.context.viewer_or_refuse())
    return WebhookEndpointPayload(endpoint=row)


@once()
async def rotate_secret(info: Info, endpoint_id: strawberry.ID, overlap_hours: int = 24) -> WebhookEndpointPayload:
    """Sign with a new secret; for `overlapHours` (0 to 168) with the former one as well. A repetition with the same key
    is answered without the secret: if the first answer was lost, rotate once more."""
    rotated = await endpoints.rotate(
        info.context.session,
        typed_id("whe", endpoint_id, "endpointId"),
        overlap_hours,
        network_key=info.context.settings.network_key,
        by=info.context.viewer_or_refuse(),
    )
    row: Any = rotated.row
    return WebhookEndpointPayload(endpoint=row, secret=rotated.secret)


async def try_out(info: Info, endpoint_id: strawberry.ID, idempotency_key: str | None = None) -> WebhookDeliveryPayload:
    """Send `webhook.test`, which is about the endpoint itself. How that went is in the delivery."""
    row: Any = await endpoints.test(
        info.context.session,
        typed_id("whe", endpoint_id, "endpointId"),
        idempotency_key=idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return WebhookDeliveryPayload(delivery=row)


async def redeliver(
    info: Info, delivery_id: strawberry.ID, idempotency_key: str | None = None
) -> WebhookDeliveryPayload:
    """Send once more what has ended: the same payload under the same id. INVALID_STATE for what waits still."""
    row: Any = await deliveries.redeliver(
        info.context.session,
        typed_id("whd", delivery_id, "deliveryId"),
        idempotency_key=idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return WebhookDeliveryPayload(delivery=row)


@strawberry.type
class WebhookQueries:
    webhook_endpoints = query(list_endpoints, Permission.MANAGE_SETTINGS)
    webhook_deliveries = query(list_deliveries, Permission.MANAGE_SETTINGS)


@strawberry.type
class WebhookMutations:
    webhook_endpoint_save = action(save, Permission.MANAGE_SETTINGS)
    webhook_endpoint_delete = action(delete, Permission.MANAGE_SETTINGS)
    webhook_endpoint_pause = action(pause, Permission.MANAGE_SETTINGS)
    webhook_endpoint_resume = action(resume, Permission.MANAGE_SETTINGS)
    webhook_endpoint_rotate_secret = action(rotate_secret, Permission.MANAGE_SETTINGS)
    webhook_endpoint_test = action(try_out, Permission.MANAGE_SETTINGS)
    webhook_redeliver = action(redeliver, Permission.MANAGE_SETTINGS)

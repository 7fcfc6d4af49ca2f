"""What is sent: the envelope of the Standard Webhooks specification, and who may see what is in it."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import ids
from ispgraph.domain import viewers, visibility
from ispgraph.domain.permissions import Permission, Viewer
from ispgraph.domain.webhooks.catalogue import SUBJECTS, WebhookEvent, spelt
from ispgraph.domain.webhooks.deliveries import Parcel

LARGEST = 256 * 1024
"""Bytes of a body; a document that makes more is answered by the usual payload."""


async def owner(session: AsyncSession, parcel: Parcel) -> Viewer | None:
    """Who is behind the endpoint, if that one may be told of the event: as a payload, or as anything else."""
    by = await viewers.of_operator(session, parcel.owner_id)
    if by is None or not by.may(Permission.MANAGE_SETTINGS):
        return None
    prefix, key = ids.parse(parcel.subject)
    if parcel.event == WebhookEvent.WEBHOOK_TEST.value:
        return by
    if parcel.event == WebhookEvent.CUSTOMER_DELETED.value:
        # Nothing is left that would say whose customer it was.
        return by if by.scope_id is None and by.may(Permission.VIEW_CUSTOMERS) else None
    seen = await visibility.find(session, SUBJECTS[prefix], key, by=by)
    return None if seen is None else by


def usual(parcel: Parcel) -> dict[str, Any]:
    """The data of an endpoint without a document: what it is about, and how that stood at the instant of the event."""
    customer = {"customerId": parcel.customer} if parcel.customer is not None else {}
    return {"id": parcel.subject, **customer, **parcel.details}


def message_id(parcel: Parcel) -> str:
    """The `webhook-id`: the same at every attempt, and for every endpoint that is told of the event."""
    return ids.encode("evt", parcel.event_id)


def body(parcel: Parcel, data: object, errors: object = None) -> str:
    """The whole body, as JSON. `errors` are those of the document, as GraphQL has them."""
    envelope: Mapping[str, Any] = {
        "id": message_id(parcel),
        "type": spelt(parcel.event),
        "timestamp": _instant(parcel.occurred_at),
        "data": data,
        **({"errors": errors} if errors else {}),
    }
    return json.dumps(envelope, ensure_ascii=False, separators=(",", ":"))


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

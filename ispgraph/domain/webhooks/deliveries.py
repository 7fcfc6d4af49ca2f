"""What is to be sent to endpoints, in which order, and what became of it.

The rows are the promise. Whoever sends claims them for a while; when it dies, they are sent again under the same id.
Of one object an event waits until those before it have ended: so a receiver sees them in order.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, ColumnElement, String, Text, Uuid, any_, delete, exists, select, text
from sqlalchemy import type_coerce as coerce
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from ispgraph import clock
from ispgraph.domain import audit, idempotency, messages
from ispgraph.domain.errors import ErrorCode, fail, not_found
from ispgraph.domain.lists import Filter, Key, Order
from ispgraph.domain.models import DeliveryStatus, Operator, WebhookDelivery, WebhookEndpoint, WebhookStatus
from ispgraph.domain.permissions import Permission, Viewer
from ispgraph.domain.secrets import BadSecret
from ispgraph.domain.webhooks import endpoints

SCHEDULE = tuple(
    timedelta(seconds=seconds) for seconds in (5, 300, 1800, 7200, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
)
"""How long is waited after each failed attempt, before jitter; after the last one it is given up."""
_JITTER = 0.2
LEASE = timedelta(seconds=60)
"""Whoever took a delivery and says nothing for so long is dead; a call has a shorter deadline."""
AT_ONCE = 4
"""How many calls one endpoint gets at the same time."""
MOST_FAILURES = 5
"""With more in a row the endpoint is asked by one call at a time, after rests."""
_SHORTEST_REST, _LONGEST_REST = timedelta(seconds=5), timedelta(minutes=5)
PATIENCE = timedelta(days=5)
"""An endpoint that has taken nothing for so long, while there was something, is paused."""
KEPT = timedelta(days=30)
LOG_LENGTH = 20
ANSWER_LENGTH = 1024

ORDER = Order("webhook-deliveries", (Key(WebhookDelivery.place, BigInteger()),))
FILTERS: Mapping[str, Filter] = {
    "endpoint": Filter(Uuid(), lambda value, by: WebhookDelivery.endpoint_id == value),
    "status": Filter(ARRAY(String()), lambda value, by: coerce(WebhookDelivery.status, String()) == any_(value)),
    "events": Filter(ARRAY(String()), lambda value, by: WebhookDelivery.event == any_(value)),
    "subject": Filter(Text(), lambda value, by: WebhookDelivery.subject == value),
}


@dataclass(frozen=True, slots=True)
class Parcel:
    """One attempt at one delivery. `body` is None until it was made."""

    id: UUID
    tenant_id: UUID
    endpoint_id: UUID
    attempt: int
    event_id: UUID
    event: str
    subject: str
    customer: str | None
    details: Mapping[str, object]
    occurred_at: datetime
    body: str | None
    url: str
    document: str | None
    owner_id: UUID
    secrets: Sequence[str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What an attempt met: a status with the beginning of the body, or an error."""

    status: int | None
    body: str | None
    error: str | None
    milliseconds: int


def visible(by: Viewer, row: Any = WebhookDelivery) -> ColumnElement[bool]:
    """Deliveries to endpoints that the viewer sees."""
    endpoint = aliased(WebhookEndpoint)
    found: ColumnElement[bool] = row.endpoint_id.in_(select(endpoint.id).where(endpoints.visible(by, endpoint)))
    return found


# -- what a worker does


async def due_endpoints(session: AsyncSession, limit: int) -> list[tuple[UUID, UUID]]:
    """Tenants with endpoints to which something is to be sent now."""
    rows = text("SELECT tenant_id, endpoint_id FROM due_webhooks(:at, :limit)")
    found = await session.execute(rows, {"at": clock.now(), "limit": limit})
    return [(row.tenant_id, row.endpoint_id) for row in found]


async def take(session: AsyncSession, endpoint_id: UUID, key: bytes) -> list[Parcel]:
    """Claim what is due for an endpoint: as much as it gets at the same time, and of each object one."""
    endpoint = await session.get(WebhookEndpoint, endpoint_id)
    now = clock.now()
    if endpoint is None or endpoint.status is not WebhookStatus.ACTIVE:
        return []
    if endpoint.rests_until is not None and endpoint.rests_until > now:
        return []
    before = aliased(WebhookDelivery)
    blocked = exists().where(
        before.endpoint_id == WebhookDelivery.endpoint_id,
        before.subject == WebhookDelivery.subject,
        before.status == DeliveryStatus.PENDING,
        before.place < WebhookDelivery.place,
    )
    due = (
        select(WebhookDelivery)
        .where(
            WebhookDelivery.endpoint_id == endpoint_id,
            WebhookDelivery.status == DeliveryStatus.PENDING,
            WebhookDelivery.next_attempt_at <= now,
            ~blocked,
        )
        .order_by(WebhookDelivery.next_attempt_at, WebhookDelivery.place)
        .limit(1 if endpoint.failures > MOST_FAILURES else AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    rows = list(await session.scalars(due))
    if not rows:
        return []
    try:
        secrets = endpoints.in_clear(key, endpoint)
    except BadSecret:
        # Sealed with a key that is gone.
        endpoints.stop(endpoint, WebhookStatus.PAUSED, "Its secret is lost: rotate the secret, and resume it.")
        return []
    for row in rows:
        row.attempts += 1
        row.next_attempt_at = now + LEASE
    return [_parcel(row, endpoint, secrets) for row in rows]


async def keep_body(session: AsyncSession, parcel: Parcel, body: str) -> bool:
    """Have every attempt send this; False when somebody else has taken the delivery over."""
    row = await _held(session, parcel)
    if row is not None:
        row.body = body
    return row is not None


async def withhold(session: AsyncSession, parcel: Parcel, reason: str) -> None:
    """Have it not be sent: the owner of the endpoint may not see what it is about."""
    row = await _held(session, parcel)
    if row is not None:
        _end(row, DeliveryStatus.WITHHELD, reason)


async def delivered(session: AsyncSession, parcel: Parcel, answer: Answer) -> None:
    """The endpoint has taken it."""
    endpoint, row = await _endpoint(session, parcel), await _held(session, parcel)
    if row is None:
        return
    _note(row, answer)
    _end(row, DeliveryStatus.DELIVERED, None)
    endpoint.failures, endpoint.failing_since, endpoint.rests_until = 0, None, None
    endpoint.delivered_at = clock.now()
    if endpoint.status is WebhookStatus.ACTIVE:
        endpoint.problem = None


async def missed(session: AsyncSession, parcel: Parcel, answer: Answer, *, wait: timedelta | None = None) -> None:
    """The endpoint has not taken it: it is tried again later, or given up. `wait` is what the endpoint asked for.

    An endpoint that has taken nothing for days is paused, and those who look after settings are told.
    """
    endpoint, row = await _endpoint(session, parcel), await _held(session, parcel)
    if row is None:
        return
    now = clock.now()
    _note(row, answer)
    reason = answer.error or f"It answered {answer.status}."
    if row.attempts > len(SCHEDULE):
        _end(row, DeliveryStatus.GIVEN_UP, reason)
    else:
        row.error = reason
        row.next_attempt_at = now + max(backoff(row.attempts), wait or timedelta())
    endpoint.failures += 1
    endpoint.failing_since = endpoint.failing_since or now
    if endpoint.status is not WebhookStatus.ACTIVE:
        return
    endpoint.problem = reason
    if endpoint.failures > MOST_FAILURES:
        doublings = min(endpoint.failures - MOST_FAILURES - 1, 10)
        endpoint.rests_until = now + min(_SHORTEST_REST * 2**doublings, _LONGEST_REST)
    if endpoint.failing_since <= now - PATIENCE:
        endpoints.stop(endpoint, WebhookStatus.PAUSED, f"Paused: it has taken nothing for days. {reason}"[:300])
        audit.noticed(session, endpoint.tenant_id, "webhook.paused", endpoint.id, {"problem": reason})
        await _alert(session, endpoint, reason)


async def gone(session: AsyncSession, parcel: Parcel, answer: Answer) -> None:
    """The endpoint says that it is no more (410): nothing is sent to it again, and nothing waits for it."""
    endpoint, row = await _endpoint(session, parcel), await _held(session, parcel)
    if row is None:
        return
    _note(row, answer)
    problem = "It said that it is gone (410)."
    endpoints.stop(endpoint, WebhookStatus.DISABLED, problem)
    waiting = select(WebhookDelivery).where(
        WebhookDelivery.endpoint_id == endpoint.id, WebhookDelivery.status == DeliveryStatus.PENDING
    )
    for each in await session.scalars(waiting.with_for_update()):
        _end(each, DeliveryStatus.GIVEN_UP, problem)
    audit.noticed(session, endpoint.tenant_id, "webhook.disabled", endpoint.id, {"problem": problem})
    await _alert(session, endpoint, problem)


def backoff(attempts: int) -> timedelta:
    """How long to wait after so many attempts, give or take a fifth."""
    jitter = random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311  no secret
    return SCHEDULE[min(attempts, len(SCHEDULE)) - 1] * jitter


async def prune(session: AsyncSession, tenant_id: UUID) -> None:
    """Forget what ended more than 30 days ago, and endpoints that were deleted more than a day ago."""
    ended = WebhookDelivery.ended_at < clock.now() - KEPT
    await session.execute(delete(WebhookDelivery).where(WebhookDelivery.tenant_id == tenant_id, ended))
    # Not at once: a transaction that is about to tell such an endpoint of something would fail.
    old = WebhookEndpoint.tenant_id == tenant_id, WebhookEndpoint.removed_at < clock.now() - timedelta(days=1)
    gone = select(WebhookEndpoint.id).where(*old)
    await session.execute(delete(WebhookDelivery).where(WebhookDelivery.endpoint_id.in_(gone)))
    await session.execute(delete(WebhookEndpoint).where(*old))


# -- what a person does


async def redeliver(
    session: AsyncSession, delivery_id: UUID, *, idempotency_key: str | None, by: Viewer
) -> WebhookDelivery:
    """Send something once more that has ended, with all its attempts and under the same id.

    Raises DomainError NOT_FOUND, INVALID_STATE for what waits still, or when the endpoint is disabled.
    """
    operation, given = "webhookRedeliver", {"delivery": delivery_id}
    if await idempotency.claim(session, by=by, operation=operation, key=idempotency_key, given=given) is not None:
        return await session.get_one(WebhookDelivery, delivery_id)
    rows = select(WebhookDelivery).where(WebhookDelivery.id == delivery_id, visible(by))
    row = await session.scalar(rows.with_for_update())
    if row is None:
        raise not_found("webhook delivery", "deliveryId")
    endpoint = await session.get_one(WebhookEndpoint, row.endpoint_id)
    if row.status is DeliveryStatus.PENDING:
        raise fail(ErrorCode.INVALID_STATE, "It is still to be sent.", "deliveryId")
    if endpoint.status is WebhookStatus.DISABLED:
        raise fail(ErrorCode.INVALID_STATE, "Resume the endpoint first.", "deliveryId")
    row.status, row.ended_at, row.attempts, row.next_attempt_at = DeliveryStatus.PENDING, None, 0, clock.now()
    row.error = None
    audit.record(
        session, by=by, action="webhook.redeliver", subject_id=endpoint.id, details={"delivery": str(delivery_id)}
    )
    await idempotency.keep(session, by=by, operation=operation, key=idempotency_key, answer={"done": True})
    return row


def _parcel(row: WebhookDelivery, endpoint: WebhookEndpoint, secrets: Sequence[str]) -> Parcel:
    return Parcel(
        id=row.id,
        tenant_id=row.tenant_id,
        endpoint_id=row.endpoint_id,
        attempt=row.attempts,
        event_id=row.event_id,
        event=row.event,
        subject=row.subject,
        customer=row.customer,
        details=row.details,
        occurred_at=row.occurred_at,
        body=row.body,
        url=endpoint.url,
        document=endpoint.document,
        owner_id=endpoint.owner_id,
        secrets=secrets,
    )


async def _held(session: AsyncSession, parcel: Parcel) -> WebhookDelivery | None:
    """The row, locked; None when it was given up, deleted, or taken over."""
    row = await session.get(WebhookDelivery, parcel.id, with_for_update=True)
    held = row is not None and row.status is DeliveryStatus.PENDING and row.attempts == parcel.attempt
    return row if held else None


async def _endpoint(session: AsyncSession, parcel: Parcel) -> WebhookEndpoint:
    """The row, locked: always before the delivery."""
    return await session.get_one(WebhookEndpoint, parcel.endpoint_id, with_for_update={"key_share": True})


def _note(row: WebhookDelivery, answer: Answer) -> None:
    row.response_status, row.response_body = answer.status, answer.body
    entry: dict[str, object] = {
        "at": clock.now().isoformat(),
        "status": answer.status,
        "error": answer.error,
        "milliseconds": answer.milliseconds,
    }
    row.log = [*row.log, entry][-LOG_LENGTH:]


def _end(row: WebhookDelivery, status: DeliveryStatus, reason: str | None) -> None:
    row.status, row.error, row.ended_at = status, reason, clock.now()


async def _alert(session: AsyncSession, endpoint: WebhookEndpoint, problem: str) -> None:
    """Tell those who look after settings, and the owner, that an endpoint was stopped."""
    event = "webhook.paused" if endpoint.status is WebhookStatus.PAUSED else "webhook.disabled"
    may = Operator.permissions.contains([Permission.MANAGE_SETTINGS.value])
    told = select(Operator).where(Operator.active, may | (Operator.id == endpoint.owner_id)).order_by(Operator.id)
    for operator in await session.scalars(told):
        await messages.tell_operator(session, operator, event, endpoint=endpoint.name, problem=problem)

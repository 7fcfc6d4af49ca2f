"""The addresses that are told of events, as operators keep them.

An endpoint belongs to whoever saved it last, and acts with what that one may: whoever gives it another document or
another address cannot read with the rights of somebody else.
"""

import base64
import secrets as random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, String, and_, any_, func, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids
from ispgraph.domain import audit, idempotency, operators, outside, secrets, sign_in, values
from ispgraph.domain.errors import ErrorCode, Faults, fail, not_found
from ispgraph.domain.lists import Filter
from ispgraph.domain.models import Tenant, WebhookDelivery, WebhookEndpoint, WebhookStatus
from ispgraph.domain.pages import newest_first
from ispgraph.domain.permissions import Viewer
from ispgraph.domain.webhooks.catalogue import WebhookEvent

MOST = 50
"""How many one provider may have."""
LONGEST_DOCUMENT = 10_000
LONGEST_OVERLAP = 7 * 24
_SECRET_BYTES = 32
_PREFIX = "whsec_"

_COUNT = select(func.count()).where(WebhookEndpoint.removed_at.is_(None))
NEWEST = newest_first("webhook-endpoints", WebhookEndpoint.id)
FILTERS = {
    "status": Filter(ARRAY(String()), lambda value, by: type_coerce(WebhookEndpoint.status, String()) == any_(value))
}


@dataclass(frozen=True, slots=True)
class Terms:
    """An endpoint as typed. Of one that exists, what is None stays; an empty document takes it away.

    `wrong` is what the schema finds wrong with the document.
    """

    name: str | None
    url: str | None
    events: Sequence[WebhookEvent] | None
    document: str | None
    wrong: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Saved:
    """An endpoint, and the secret that is told once."""

    row: WebhookEndpoint
    secret: str | None = None


def visible(by: Viewer, row: Any = WebhookEndpoint) -> ColumnElement[bool]:
    """The viewer's own, and, with the permission MANAGE_OPERATORS, those of the operators below."""
    return and_(operators.own_or_below(by, row.owner_id), row.removed_at.is_(None))


def in_clear(key: bytes, row: WebhookEndpoint) -> list[str]:
    """The secrets with which is signed now: of a rotation that is not over, the new one first. Raises BadSecret."""
    bound_to = secrets.webhook(row.tenant_id, row.id)
    found = [secrets.unseal(key, row.secret, bound_to)]
    if row.former_secret is not None and row.former_until is not None and row.former_until > clock.now():
        # One that was lost is what the rotation was for.
        with suppress(secrets.BadSecret):
            found.append(secrets.unseal(key, row.former_secret, bound_to))
    return found


async def save(
    session: AsyncSession,
    endpoint_id: UUID | None,
    terms: Terms,
    *,
    idempotency_key: str | None,
    network_key: bytes,
    private: bool,
    by: Viewer,
) -> Saved:
    """A new endpoint, or the one with this id on other terms. The answer to a repetition holds no secret.

    Raises DomainError with every fault; NOT_PERMITTED for a program, and for whoever acts for another.
    """
    sign_in.require_person(by)
    given = {
        "endpoint": endpoint_id,
        "name": terms.name,
        "url": terms.url,
        "events": None if terms.events is None else [each.value for each in terms.events],
        "document": terms.document,
    }
    answer = await idempotency.claim(session, by=by, operation="webhookEndpointSave", key=idempotency_key, given=given)
    if answer is not None:
        return Saved(await session.get_one(WebhookEndpoint, UUID(str(answer["endpoint"]))))
    row = None if endpoint_id is None else await lock(session, endpoint_id, "input", "id", by=by)
    faults = Faults("input")
    name = _text(faults, terms.name, None if row is None else row.name, 100, "name")
    url = _url(faults, terms.url, None if row is None else row.url, private)
    events = _events(faults, terms.events, row)
    for message in terms.wrong:
        faults.add(ErrorCode.INVALID, message, "document")
    if terms.document is not None and len(terms.document) > LONGEST_DOCUMENT:
        faults.add(ErrorCode.INVALID, f"A document has at most {LONGEST_DOCUMENT} characters.", "document")
    faults.raise_if_any()
    fields: dict[str, Any] = {"name": name, "url": url, "events": events, "owner_id": by.operator_id}
    if terms.document is not None or row is None:
        fields["document"] = (terms.document or "").strip() or None
    saved = await _create(session, fields, network_key, by) if row is None else _change(session, row, fields, by)
    kept = {"endpoint": str(saved.row.id)}
    await idempotency.keep(session, by=by, operation="webhookEndpointSave", key=idempotency_key, answer=kept)
    return saved


async def remove(session: AsyncSession, endpoint_id: UUID, *, by: Viewer) -> None:
    """Have an endpoint be there for nobody any more, with all that was, or is to be, sent to it: the rows go with the
    daily tidying. Raises DomainError NOT_FOUND."""
    row = await lock(session, endpoint_id, "endpointId", by=by)
    stop(row, WebhookStatus.DISABLED, "Deleted.")
    row.removed_at = clock.now()
    audit.record(session, by=by, action="webhook.delete", subject_id=row.id, details={"url": row.url})


async def pause(session: AsyncSession, endpoint_id: UUID, *, by: Viewer) -> WebhookEndpoint:
    """Send nothing until it is resumed: what happens waits. Raises DomainError NOT_FOUND, INVALID_STATE."""
    row = await lock(session, endpoint_id, "endpointId", by=by)
    if row.status is not WebhookStatus.ACTIVE:
        raise fail(ErrorCode.INVALID_STATE, "Only an active endpoint can be paused.", "endpointId")
    stop(row, WebhookStatus.PAUSED, f"Paused by {by.name}.")
    audit.record(session, by=by, action="webhook.pause", subject_id=row.id)
    return row


async def resume(session: AsyncSession, endpoint_id: UUID, *, by: Viewer) -> WebhookEndpoint:
    """Send again, what waits first. Raises DomainError NOT_FOUND, INVALID_STATE for one that is active."""
    row = await lock(session, endpoint_id, "endpointId", by=by)
    if row.status is WebhookStatus.ACTIVE:
        raise fail(ErrorCode.INVALID_STATE, "This endpoint is active.", "endpointId")
    row.status, row.problem, row.updated_at = WebhookStatus.ACTIVE, None, clock.now()
    row.failures, row.failing_since, row.rests_until = 0, None, None
    audit.record(session, by=by, action="webhook.resume", subject_id=row.id)
    return row


async def rotate(
    session: AsyncSession, endpoint_id: UUID, overlap_hours: int, *, network_key: bytes, by: Viewer
) -> Saved:
    """Sign with a new secret, and for so long with the former one as well.

    Raises DomainError NOT_FOUND, INVALID; NOT_PERMITTED for a program, and for whoever acts for another.
    """
    sign_in.require_person(by)
    if not 0 <= overlap_hours <= LONGEST_OVERLAP:
        raise fail(ErrorCode.INVALID, f"This must be from 0 to {LONGEST_OVERLAP} hours.", "overlapHours")
    row = await lock(session, endpoint_id, "endpointId", by=by)
    if overlap_hours:
        row.former_secret, row.former_until = row.secret, clock.now() + timedelta(hours=overlap_hours)
    else:
        row.former_secret = row.former_until = None
    secret = _fresh_secret()
    row.secret = secrets.seal(network_key, secret, secrets.webhook(row.tenant_id, row.id))
    row.updated_at = clock.now()
    details = {"overlap_hours": overlap_hours}
    audit.record(session, by=by, action="webhook.rotate_secret", subject_id=row.id, details=details)
    return Saved(row, secret)


async def test(session: AsyncSession, endpoint_id: UUID, *, idempotency_key: str | None, by: Viewer) -> WebhookDelivery:
    """Have an event sent that says nothing. Raises DomainError NOT_FOUND, INVALID_STATE for one that is not active."""
    given = {"endpoint": endpoint_id}
    answer = await idempotency.claim(session, by=by, operation="webhookEndpointTest", key=idempotency_key, given=given)
    if answer is not None:
        return await session.get_one(WebhookDelivery, UUID(str(answer["delivery"])))
    row = await lock(session, endpoint_id, "endpointId", by=by)
    if row.status is not WebhookStatus.ACTIVE:
        raise fail(ErrorCode.INVALID_STATE, "Resume the endpoint first.", "endpointId")
    now = clock.now()
    delivery = WebhookDelivery(
        tenant_id=row.tenant_id,
        endpoint_id=row.id,
        event_id=ids.uuid7(),
        event=WebhookEvent.WEBHOOK_TEST.value,
        subject=ids.encode("whe", row.id),
        details={},
        occurred_at=now,
        created_at=now,
        next_attempt_at=now,
    )
    session.add(delivery)
    await session.flush()
    audit.record(session, by=by, action="webhook.test", subject_id=row.id)
    kept = {"delivery": str(delivery.id)}
    await idempotency.keep(session, by=by, operation="webhookEndpointTest", key=idempotency_key, answer=kept)
    return delivery


async def lock(session: AsyncSession, endpoint_id: UUID, *at: str, by: Viewer) -> WebhookEndpoint:
    """A visible endpoint, locked. Raises DomainError NOT_FOUND at the path `at`."""
    rows = select(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id, visible(by))
    row = await session.scalar(rows.with_for_update(key_share=True))
    if row is None:
        raise not_found("webhook endpoint", *at)
    return row


def stop(row: WebhookEndpoint, status: WebhookStatus, problem: str) -> None:
    """Have a locked endpoint be sent nothing any more."""
    row.status, row.problem, row.updated_at = status, problem, clock.now()


async def _create(session: AsyncSession, fields: dict[str, Any], key: bytes, by: Viewer) -> Saved:
    # One at a time in a house, so that there are not more than may be.
    await session.get_one(Tenant, by.tenant_id, with_for_update={"key_share": True})
    if (await session.scalar(_COUNT) or 0) >= MOST:
        raise fail(ErrorCode.LIMIT_EXCEEDED, f"There are {MOST} endpoints: delete one first.", "input")
    endpoint_id, secret = ids.uuid7(), _fresh_secret()
    row = WebhookEndpoint(
        id=endpoint_id,
        tenant_id=by.tenant_id,
        secret=secrets.seal(key, secret, secrets.webhook(by.tenant_id, endpoint_id)),
        **fields,
    )
    session.add(row)
    await session.flush()
    details = {"url": row.url, "events": row.events}
    audit.record(session, by=by, action="webhook.create", subject_id=row.id, details=details)
    return Saved(row, secret)


def _change(session: AsyncSession, row: WebhookEndpoint, fields: dict[str, Any], by: Viewer) -> Saved:
    changed = sorted(name for name, value in fields.items() if getattr(row, name) != value)
    for name in changed:
        setattr(row, name, fields[name])
    if changed:
        row.updated_at = clock.now()
        details = {"changed": changed, "url": row.url, "events": row.events}
        audit.record(session, by=by, action="webhook.update", subject_id=row.id, details=details)
    return Saved(row)


def _fresh_secret() -> str:
    return _PREFIX + base64.b64encode(random.token_bytes(_SECRET_BYTES)).decode()


def _text(faults: Faults, given: str | None, known: str | None, longest: int, at: str) -> str | None:
    if given is None and known is not None:
        return known
    return values.checked(faults, values.text, given, longest, at=(at,))


def _url(faults: Faults, given: str | None, known: str | None, private: bool) -> str | None:
    if given is None and known is not None:
        return known
    if not given:
        faults.add(ErrorCode.REQUIRED, "This is required.", "url")
        return None
    try:
        outside.check_hook(given, private=private)
    except ValueError as error:
        faults.add(ErrorCode.INVALID, str(error), "url")
    return given


def _events(faults: Faults, given: Sequence[WebhookEvent] | None, row: WebhookEndpoint | None) -> list[str]:
    if given is None and row is not None:
        return row.events
    if not given:
        faults.add(ErrorCode.REQUIRED, "Say of which events the endpoint is told.", "events")
        return []
    if WebhookEvent.WEBHOOK_TEST in given:
        faults.add(ErrorCode.INVALID, "WEBHOOK_TEST cannot be asked for.", "events")
    return sorted({each.value for each in given})

"""SMS that operators write to customers: free text, or a text that is kept, with what is known of the customer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids
from ispgraph.domain import action_rules, audit, customers, gateways, idempotency, messages, values
from ispgraph.domain.action_rules import Refusal
from ispgraph.domain.billing import ledger
from ispgraph.domain.errors import ErrorCode, Faults, fail, not_found
from ispgraph.domain.messaging import credits, templates, texts
from ispgraph.domain.messaging.catalogue import EVENTS, OF_CUSTOMER
from ispgraph.domain.messaging.texts import Encoding
from ispgraph.domain.models import (
    Customer,
    GatewayKind,
    Message,
    MessageChannel,
    MessageStatus,
    Package,
    Service,
    Tenant,
)
from ispgraph.domain.permissions import Viewer

SEND = "customerSendSms"
WRITTEN = "sms"
"""The event of what an operator has typed."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be said: one of the two."""

    body: str | None
    template_key: str | None


@dataclass(frozen=True, slots=True)
class Preview:
    """How a text would arrive."""

    to: str
    body: str
    subject: str | None
    language: str
    unknown: Sequence[str]
    """Variables that nothing is known for; they stand in the body as they were written."""
    segments: int
    encoding: Encoding
    credits: int
    """What it would cost the viewer."""


def refusal(tenant: Tenant, customer: Customer, *, gateway: bool) -> Refusal | None:
    """Why no SMS can be written to a customer; `gateway` is whether there is one in use."""
    if (missing := _missing(tenant, gateway=gateway)) is not None:
        return missing
    if customer.sms_opt_out:
        return Refusal(ErrorCode.INVALID_STATE, "This customer does not want SMS.")
    return None


def _missing(tenant: Tenant, *, gateway: bool) -> Refusal | None:
    """Why no SMS can be written to anybody."""
    if not tenant.sms_enabled:
        return Refusal(ErrorCode.NOT_CONFIGURED, "SMS are switched off in the settings.")
    if not gateway:
        return Refusal(ErrorCode.NOT_CONFIGURED, "There is no SMS gateway in use.")
    return None


async def preview(
    session: AsyncSession, customer_id: UUID, wish: Wish, channel: MessageChannel, *, by: Viewer
) -> Preview:
    """How a text would arrive at a customer; nothing is sent."""
    customer = await customers.find(session, customer_id, by=by)
    if customer is None:
        raise not_found("customer", "input", "customerId")
    tenant = await session.get_one(Tenant, customer.tenant_id)
    shown = await _composed(session, Faults("input"), customer, tenant, wish, channel)
    cost = shown.segments if channel is MessageChannel.SMS and by.scope_id is not None else 0
    to = customer.mobile if channel is MessageChannel.SMS else customer.email or ""
    return Preview(to, shown.body, shown.subject, shown.language, shown.unknown, shown.segments, shown.encoding, cost)


async def send(
    session: AsyncSession, customer_id: UUID, wish: Wish, *, idempotency_key: str | None, by: Viewer
) -> Message:
    """Queue an SMS to a customer; a reseller's credits for it are reserved.

    Raises DomainError NOT_CONFIGURED without a gateway, INSUFFICIENT_FUNDS, and INVALID_STATE for a customer who does
    not want any.
    """
    given = {"customer": customer_id, "body": wish.body, "template": wish.template_key}
    answer = await idempotency.claim(session, by=by, operation=SEND, key=idempotency_key, given=given)
    if answer is not None:
        return await session.get_one(Message, UUID(str(answer["message"])))
    customer = await customers.find(session, customer_id, by=by)
    if customer is None:
        raise not_found("customer", "input", "customerId")
    tenant = await session.get_one(Tenant, customer.tenant_id)
    gateway = bool(await gateways.active(session, GatewayKind.SMS))
    action_rules.require(refusal(tenant, customer, gateway=gateway), "input", "customerId")
    faults = Faults("input")
    to = values.checked(faults, values.phone, customer.mobile, tenant.country, at=("customerId",))
    composed = await _composed(session, faults, customer, tenant, wish, MessageChannel.SMS)
    _all_known(faults, wish, composed.unknown)
    faults.raise_if_any()
    now = clock.now()
    message = Message(
        id=ids.uuid7(),
        tenant_id=customer.tenant_id,
        customer_id=customer.id,
        channel=MessageChannel.SMS,
        to=to,
        event=wish.template_key or WRITTEN,
        language=composed.language,
        body=composed.body,
        status=MessageStatus.QUEUED,
        segments=composed.segments,
        not_before=now,
        created_at=now,
        created_by_id=by.operator_id,
    )
    session.add(message)
    await credits.reserve(session, message, by=by)
    details = {"message": str(message.id), "segments": message.segments}
    audit.record(session, by=by, action="customer.send_sms", subject_id=customer.id, details=details)
    kept = {"message": str(message.id)}
    await idempotency.keep(session, by=by, operation=SEND, key=idempotency_key, answer=kept)
    return message


async def require_sendable(session: AsyncSession, wish: Wish, *, by: Viewer) -> None:
    """Whether this could be sent to some customer; what depends on the customer is for `send`.

    Raises DomainError NOT_CONFIGURED without a gateway, and for what is wrong with the text itself.
    """
    tenant = await session.get_one(Tenant, by.tenant_id)
    gateway = bool(await gateways.active(session, GatewayKind.SMS))
    action_rules.require(_missing(tenant, gateway=gateway), "input")
    faults = Faults("input")
    text, _, _ = await _words(session, faults, tenant, None, wish, MessageChannel.SMS)
    _all_known(faults, wish, texts.look(text, OF_CUSTOMER).unknown)
    faults.raise_if_any()


def _all_known(faults: Faults, wish: Wish, unknown: Sequence[str]) -> None:
    if unknown:
        told = ", ".join(f"{{{name}}}" for name in unknown)
        there = ", ".join(f"{{{name}}}" for name in OF_CUSTOMER)
        message = f"Nothing is known for {told}. Of a customer there is {there}."
        faults.add(ErrorCode.INVALID, message, "body" if wish.template_key is None else "templateKey")


@dataclass(frozen=True, slots=True)
class _Composed:
    body: str
    subject: str | None
    language: str
    unknown: Sequence[str]
    segments: int
    encoding: Encoding


async def _composed(
    session: AsyncSession, faults: Faults, customer: Customer, tenant: Tenant, wish: Wish, channel: MessageChannel
) -> _Composed:
    text, language, subject = await _words(session, faults, tenant, customer.language, wish, channel)
    known = await _known(session, customer, tenant)
    found = texts.look(f"{text} {subject or ''}", known)
    filled = dict(known) | {name: f"{{{name}}}" for name in found.unknown}
    event = EVENTS.get(wish.template_key or "")
    if event is not None:
        filled |= dict.fromkeys(event.secret, texts.MASK)
    body = texts.said(text, filled)
    if channel is MessageChannel.SMS and len(body) > texts.LONGEST and not found.unknown:
        message = f"With what is known of the customer this has more than {texts.LONGEST} characters."
        raise fail(ErrorCode.LIMIT_EXCEEDED, message, "input", "body" if wish.body is not None else "templateKey")
    sms = channel is MessageChannel.SMS
    return _Composed(
        body=body,
        subject=None if sms else texts.said(subject or "", filled),
        language=language,
        unknown=found.unknown,
        segments=texts.segments(body) if sms else 0,
        encoding=texts.encoding(body),
    )


async def _words(
    session: AsyncSession, faults: Faults, tenant: Tenant, language: str | None, wish: Wish, channel: MessageChannel
) -> tuple[str, str, str | None]:
    """What was typed or is kept for who is written to in this language: the text, its language, and the subject."""
    wanted = templates.languages(language, tenant.message_language)
    if (wish.body is None) == (wish.template_key is None):
        message = "Give a body or the key of a text, one of the two."
        raise fail(ErrorCode.REQUIRED, message, "input", "body")
    if wish.body is not None:
        text = values.checked(faults, values.text, wish.body, texts.LONGEST, at=("body",), lines=True)
        faults.raise_if_any()
        assert text is not None
        if texts.look(text, ()).lone:
            message = "A brace that is meant as such is written twice: {{ or }}."
            raise fail(ErrorCode.INVALID, message, "input", "body")
        return text, wanted[0], None
    assert wish.template_key is not None
    words = (await templates.chosen(session, tenant.id, wish.template_key, wanted)).get(channel)
    if words is None or not words.active:
        raise not_found("text that is in use", "input", "templateKey")
    return words.body, words.language, words.subject


async def _known(session: AsyncSession, customer: Customer, tenant: Tenant) -> Mapping[str, str]:
    """What there is to say of a customer at any time: what OF_CUSTOMER names, but for what it has none of."""
    held = (await ledger.balances(session, [customer.id]))[customer.id]
    primary = (
        select(Service.username, Service.expires_at, Package.name)
        .join(Package, (Package.tenant_id == Service.tenant_id) & (Package.id == Service.package_id))
        .where(Service.customer_id == customer.id, Service.is_primary)
    )
    service = (await session.execute(primary)).one_or_none()
    found = {
        "tenant": tenant.name,
        "customer": customer.name,
        "account": customer.account_number,
        "balance": messages.amount(tenant, held.wallet_minor - held.receivable_minor),
        "due": messages.amount(tenant, held.receivable_minor),
    }
    if service is not None:
        found |= {"package": service.name, "username": service.username}
        if service.expires_at is not None:
            found["until"] = f"{service.expires_at.astimezone(ZoneInfo(tenant.time_zone)):%Y-%m-%d %H:%M}"
    return found

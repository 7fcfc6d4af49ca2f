"""Messages to customers and operators: what they say, in whose language, and when they may go out.

They are queued in the transaction of the business they tell of. Whoever sends them takes the rows that are due: see
`messaging.sending`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import ARRAY, ColumnElement, String, Uuid, any_, or_, select, type_coerce
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids
from ispgraph.domain import customers, locales
from ispgraph.domain.lists import Filter
from ispgraph.domain.messaging import templates, texts
from ispgraph.domain.messaging.catalogue import EVENTS, Event
from ispgraph.domain.messaging.templates import Words
from ispgraph.domain.models import Customer, Message, MessageChannel, MessageStatus, Operator, Service, Tenant
from ispgraph.domain.pages import newest_first
from ispgraph.domain.permissions import Viewer, in_scope

NEWEST = newest_first("messages", Message.id)
FILTERS = {
    "status": Filter(ARRAY(String()), lambda value, by: type_coerce(Message.status, String()) == any_(value)),
    "channel": Filter(String(), lambda value, by: type_coerce(Message.channel, String()) == value),
    "customer": Filter(Uuid(), lambda value, by: Message.customer_id == value),
}


@dataclass(frozen=True, slots=True)
class Contact:
    """Who is written to in the customer's place; what is None is as the customer's."""

    name: str | None
    mobile: str | None
    email: str | None
    channels: Collection[MessageChannel] = tuple(MessageChannel)
    """By which of them."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What is said to whom: all of a message but its words."""

    event: Event
    tenant: Tenant
    values: Mapping[str, str]
    languages: tuple[str, ...]
    ways: Mapping[MessageChannel, str]
    by: Viewer | None
    once: str | None
    to: Mapping[str, UUID | None]


_NOBODY_ELSE = Contact(None, None, None)


async def tell(
    session: AsyncSession,
    customer: Customer,
    event: str,
    *,
    by: Viewer | None,
    contact: Contact | None = None,
    once: str | None = None,
    **said: str,
) -> list[Message]:
    """Queue what is to be said of an event, a message for each way the customer can be reached and wants to be.

    `by` is None where the product itself has noticed it. Of several with the same `once` only the first is queued. A
    secret is never part of what is queued: a password is that of the service with the username that is said, and is
    read when the message is sent. Raises KeyError for an event that is not in the catalogue, or a variable of it that
    is not said.
    """
    known = EVENTS[event]
    tenant = await session.get_one(Tenant, customer.tenant_id)
    there = contact or _NOBODY_ELSE
    told = _Told(
        event=known,
        tenant=tenant,
        values={
            **_said(known, said),
            "tenant": tenant.name,
            "customer": there.name or customer.name,
            "account": customer.account_number,
        },
        languages=tuple(templates.languages(customer.language, tenant.message_language)),
        ways=_ways(known, tenant, customer, there),
        by=by,
        once=once,
        to={"customer_id": customer.id, "service_id": await _login(session, known, customer, said)},
    )
    return await _queue(session, told)


async def tell_operator(
    session: AsyncSession, operator: Operator, event: str, *, once: str | None = None, **said: str
) -> list[Message]:
    """As `tell`, to an operator, by e-mail."""
    known = EVENTS[event]
    tenant = await session.get_one(Tenant, operator.tenant_id)
    told = _Told(
        event=known,
        tenant=tenant,
        values={**_said(known, said), "tenant": tenant.name, "operator": operator.name},
        languages=tuple(templates.languages(None, tenant.message_language)),
        ways={MessageChannel.EMAIL: operator.email},
        by=None,
        once=once,
        to={"operator_id": operator.id},
    )
    return await _queue(session, told)


def amount(tenant: Tenant, minor: int) -> str:
    """Money as it is written to customers: as on their invoices."""
    return locales.with_currency(minor, tenant.currency, locales.of(tenant.locale, tenant.country))


def visible(by: Viewer, message: Any = Message) -> ColumnElement[bool]:
    """Messages to the viewer's customers, and to the operators of its subtree."""
    own = customers.belonging(by, message.customer_id)
    return own if by.scope_id is None else or_(own, in_scope(by, message.operator_id))


def after_quiet(tenant: Tenant, at: datetime) -> datetime:
    """When the telephone of a customer may ring: at this instant, or when the quiet hours are over."""
    begins, ends = tenant.quiet_from, tenant.quiet_until
    if begins is None or ends is None or begins == ends:
        return at
    local = at.astimezone(ZoneInfo(tenant.time_zone))
    now = local.time()
    quiet = begins <= now < ends if begins < ends else now >= begins or now < ends
    if not quiet:
        return at
    day = local.date() if now < ends else local.date() + timedelta(days=1)
    return datetime.combine(day, ends, ZoneInfo(tenant.time_zone))


def _said(event: Event, said: Mapping[str, str]) -> dict[str, str]:
    hidden = dict.fromkeys(event.secret, texts.MASK)
    return {
        name: hidden.get(name) or (said.get(name, "") if name in event.optional else said[name]) for name in event.own
    }


def _ways(event: Event, tenant: Tenant, customer: Customer, there: Contact) -> Mapping[MessageChannel, str]:
    found = {}
    if MessageChannel.SMS in there.channels and tenant.sms_enabled and (event.needed or not customer.sms_opt_out):
        found[MessageChannel.SMS] = there.mobile or customer.mobile
    email = there.email or customer.email
    if MessageChannel.EMAIL in there.channels and email is not None and (event.needed or not customer.email_opt_out):
        found[MessageChannel.EMAIL] = email
    return found


async def _login(session: AsyncSession, event: Event, customer: Customer, said: Mapping[str, str]) -> UUID | None:
    if not event.secret:
        return None
    owned = select(Service.id).where(Service.customer_id == customer.id, Service.username == said["username"])
    return (await session.scalars(owned)).one()


async def _queue(session: AsyncSession, told: _Told) -> list[Message]:
    words = await templates.chosen(session, told.tenant.id, told.event.key, told.languages)
    made = []
    for channel, to in told.ways.items():
        if channel in words and words[channel].active:
            message = _message(told, words[channel], to)
            if told.once is None:
                session.add(message)
            elif not await _first(session, message):
                continue
            made.append(message)
    return made


def _message(told: _Told, words: Words, to: str) -> Message:
    now = clock.now()
    text = texts.said(words.body, told.values)
    sms = words.channel is MessageChannel.SMS
    body = texts.short(text) if sms else text
    return Message(
        id=ids.uuid7(),
        tenant_id=told.tenant.id,
        **told.to,
        channel=words.channel,
        to=to,
        event=told.event.key,
        language=words.language,
        subject=None if sms else texts.said(words.subject or told.event.subject, told.values)[:200],
        body=body,
        status=MessageStatus.QUEUED,
        segments=texts.segments(body) if sms else 0,
        once=told.once,
        not_before=after_quiet(told.tenant, now) if sms and not told.event.urgent else now,
        created_at=now,
        created_by_id=told.by.operator_id if told.by and told.by.customer_id is None else None,
    )


async def _first(session: AsyncSession, message: Message) -> bool:
    """Whether nobody has queued one of this name: then it is queued."""
    columns = {column.key: getattr(message, column.key) for column in Message.__table__.columns}
    given = {name: value for name, value in columns.items() if value is not None}
    row = (
        insert(Message)
        .values(given)
        .on_conflict_do_nothing(index_elements=["tenant_id", "once", "channel"], index_where=Message.once.is_not(None))
    )
    return await session.scalar(row.returning(Message.id)) is not None

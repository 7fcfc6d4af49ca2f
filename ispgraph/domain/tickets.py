"""Tickets: a customer's matter from the complaint to the end of it.

Whoever changes a ticket locks it first, so of two at once the second sees what the first has done.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids
from ispgraph.domain import audit, customers, idempotency, messages, operators, ticket_statuses, values
from ispgraph.domain.billing import numbers, periods
from ispgraph.domain.errors import ErrorCode, Faults, fail, not_found
from ispgraph.domain.models import (
    Customer,
    Operator,
    Tenant,
    Ticket,
    TicketCategory,
    TicketPriority,
    TicketReply,
    TicketStatus,
)
from ispgraph.domain.permissions import Permission, Viewer, scope_of
from ispgraph.domain.ticket_lists import visible
from ispgraph.domain.ticket_statuses import CLOSED, OURS, UNDER_WAY

CREATE, REPLY = "ticketCreate", "ticketReply"
LONGEST_SUBJECT, LONGEST_BODY = 200, 10_000
MOST_REPLIES = 500
"""So many replies a ticket may have, notes among them; they are shown without pages."""
LONGEST_TOLD = 200
"""So much of an answer stands in the message about it."""

_NEEDED = {Permission.MANAGE_TICKETS.value, Permission.VIEW_CUSTOMERS.value}


@dataclass(frozen=True, slots=True)
class NewTicket:
    """A ticket to be, as typed."""

    customer_id: UUID
    subject: str
    body: str
    category: TicketCategory
    priority: TicketPriority


@dataclass(frozen=True, slots=True)
class Changes:
    """New values as typed; None leaves a value as it is."""

    subject: str | None = None
    category: TicketCategory | None = None
    priority: TicketPriority | None = None


@dataclass(frozen=True, slots=True)
class _Sight:
    """What an operator sees of a tenant."""

    scope_id: UUID | None


async def create(session: AsyncSession, given: NewTicket, *, idempotency_key: str | None, by: Viewer) -> Ticket:
    """Open a ticket of a customer. Holds the tenant's counter of tickets from its end to that of the transaction."""
    faults = Faults("input")
    subject = values.checked(faults, values.text, given.subject, LONGEST_SUBJECT, at=("subject",))
    body = values.checked(faults, values.text, given.body, LONGEST_BODY, at=("body",), lines=True)
    if by.customer_id is not None and given.priority is not TicketPriority.MEDIUM:
        faults.add(ErrorCode.INVALID, "How urgent it is, those decide who work on it.", "priority")
    faults.raise_if_any()
    about = {
        "customer": given.customer_id,
        "subject": subject,
        "body": body,
        "category": given.category.value,
        "priority": given.priority.value,
    }
    first = await idempotency.claim(session, by=by, operation=CREATE, key=idempotency_key, given=about)
    if first is not None:
        return await _again(session, first, by)
    if by.customer_id is None and not by.may(Permission.VIEW_CUSTOMERS):
        raise not_found("customer", "input", "customerId")
    customer = await customers.lock(session, given.customer_id, by=by)
    tenant = await session.get_one(Tenant, by.tenant_id)
    now = clock.now()
    year = periods.local_date(now, tenant.time_zone).year
    number = await numbers.take(session, tenant.id, numbers.ticket_series(year))
    ticket = Ticket(
        id=ids.uuid7(),
        tenant_id=tenant.id,
        number=numbers.ticket_number(year, number),
        customer_id=customer.id,
        subject=subject,
        body=body,
        category=given.category,
        priority=given.priority,
        status=TicketStatus.OPEN,
        status_since=now,
        created_at=now,
        created_by_id=by.operator_id if by.customer_id is None else None,
        updated_at=now,
        first_response_due_at=now + ticket_statuses.FIRST_RESPONSE[given.priority],
    )
    session.add(ticket)
    await session.flush()
    _record(session, ticket, "create", by, category=given.category.value, priority=given.priority.value)
    await idempotency.keep(session, by=by, operation=CREATE, key=idempotency_key, answer={"ticket": str(ticket.id)})
    return ticket


async def reply(
    session: AsyncSession, ticket_id: UUID, body: str, *, internal: bool, idempotency_key: str | None, by: Viewer
) -> Ticket:
    """Answer the customer, who is told, or leave a note for operators, which changes no status. What the customer
    writes is told to whoever works on the ticket.

    Raises DomainError INVALID_STATE for an answer on a closed ticket, LIMIT_EXCEEDED when it has too many replies.
    """
    faults = Faults()
    text = values.checked(faults, values.text, body, LONGEST_BODY, at=("body",), lines=True)
    if internal and by.customer_id is not None:
        faults.add(ErrorCode.INVALID, "Notes are for those who work on tickets.", "internal")
    faults.raise_if_any()
    assert text is not None
    about = {"ticket": ticket_id, "body": text, "internal": internal}
    first = await idempotency.claim(session, by=by, operation=REPLY, key=idempotency_key, given=about)
    if first is not None:
        return await _again(session, first, by)
    ticket = await _locked(session, ticket_id, by)
    count = await session.scalar(select(func.count()).where(TicketReply.ticket_id == ticket.id))
    if count is not None and count >= MOST_REPLIES:
        message = f"A ticket has at most {MOST_REPLIES} replies: open a new one."
        raise fail(ErrorCode.LIMIT_EXCEEDED, message, "ticketId")
    now, before = clock.now(), ticket.status
    from_us = by.customer_id is None
    if not internal:
        follows = ticket_statuses.answered if from_us else ticket_statuses.said
        after = follows(ticket.status, "ticketId")
        if after is not ticket.status:
            _move(ticket, after)
        if from_us:
            ticket.first_responded_at = ticket.first_responded_at or now
    ticket.updated_at = now
    row = TicketReply(
        tenant_id=ticket.tenant_id,
        ticket_id=ticket.id,
        author_id=by.operator_id if from_us else None,
        author_name=None if from_us else by.name,
        body=text,
        internal=internal,
        at=now,
    )
    session.add(row)
    await session.flush()
    if not internal:
        await _tell(session, ticket, text, by)
    moved = {} if before is ticket.status else {"status": [before.value, ticket.status.value]}
    _record(session, ticket, "reply", by, reply=str(row.id), internal=internal, **moved)
    await idempotency.keep(session, by=by, operation=REPLY, key=idempotency_key, answer={"ticket": str(ticket.id)})
    return ticket


async def set_status(session: AsyncSession, ticket_id: UUID, status: TicketStatus, *, by: Viewer) -> Ticket:
    """Move a ticket to another status, as `ticket_statuses` allows; what was done before may begin again."""
    ticket = await _locked(session, ticket_id, by)
    before = ticket.status
    ticket_statuses.require(before, status, ticket.closed_at, clock.now(), "status")
    _move(ticket, status)
    await session.flush()
    _record(session, ticket, "set_status", by, status=[before.value, status.value])
    return ticket


async def assign(session: AsyncSession, ticket_id: UUID, operator_id: UUID | None, *, by: Viewer) -> Ticket:
    """Give a ticket to an operator whom the viewer sees, or to nobody.

    Raises DomainError NOT_FOUND, NO_CHANGE, and INVALID_STATE for an operator who could not work on it: who is not
    active, does not see the customer, or lacks a permission.
    """
    # The customer does not change hands meanwhile, which could leave the ticket with somebody who does not see it.
    held = select(Customer.id).join(Ticket, Ticket.customer_id == Customer.id)
    held = held.where(Ticket.id == ticket_id, visible(by, Ticket))
    await session.execute(held.with_for_update(of=Customer, read=True))
    ticket = await _locked(session, ticket_id, by)
    if operator_id == ticket.assignee_id:
        whose = "nobody's" if operator_id is None else "this operator's"
        raise fail(ErrorCode.NO_CHANGE, f"This ticket is {whose} already.", "operatorId")
    if operator_id is not None:
        await _can_work(session, ticket, operator_id, by)
    before, ticket.assignee_id = ticket.assignee_id, operator_id
    _touch(ticket)
    await session.flush()
    _record(session, ticket, "assign", by, assignee=[before and str(before), operator_id and str(operator_id)])
    return ticket


async def update(
    session: AsyncSession, ticket_id: UUID, changes: Changes, *, expected_version: int | None, by: Viewer
) -> Ticket:
    """The ticket with these changes. What is there already changes nothing, the version neither. Until the first
    answer another priority moves the time that it is due at, counted from when the ticket was opened."""
    faults = Faults("input")
    columns: dict[str, Any] = {"category": changes.category, "priority": changes.priority}
    if changes.subject is not None:
        columns["subject"] = values.checked(faults, values.text, changes.subject, LONGEST_SUBJECT, at=("subject",))
    faults.raise_if_any()
    ticket = await _locked(session, ticket_id, by, "input")
    if expected_version is not None and expected_version != ticket.version:
        message = f"This ticket is at version {ticket.version}: look at it again before you change it."
        raise fail(ErrorCode.VERSION_CONFLICT, message, "input", "expectedVersion")
    if ticket.status is CLOSED:
        raise fail(ErrorCode.INVALID_STATE, "This ticket is closed: reopen it before you change it.", *_AT)
    given = {name: new for name, new in columns.items() if new is not None}
    made = {name: (getattr(ticket, name), new) for name, new in given.items() if getattr(ticket, name) != new}
    if not made:
        return ticket
    for name, (_, new) in made.items():
        setattr(ticket, name, new)
    if "priority" in made and ticket.first_responded_at is None:
        ticket.first_response_due_at = ticket.created_at + ticket_statuses.FIRST_RESPONSE[ticket.priority]
    _touch(ticket)
    await session.flush()
    _record(session, ticket, "update", by, **{name: [_plain(old), _plain(new)] for name, (old, new) in made.items()})
    return ticket


async def release(session: AsyncSession, customer: Customer, *, by: Viewer) -> list[Ticket]:
    """Take a customer's tickets that are not done from those who do not see the customer any more. The customer is
    locked."""
    mine = (Ticket.customer_id == customer.id, Ticket.status.in_(UNDER_WAY), Ticket.assignee_id.is_not(None))
    rows = select(Ticket).where(*mine).order_by(Ticket.id).with_for_update(of=Ticket, key_share=True)
    released = []
    for ticket in (await session.scalars(rows.execution_options(populate_existing=True))).all():
        former = await session.get_one(Operator, ticket.assignee_id)
        if not await _sees(session, former, customer.id):
            ticket.assignee_id = None
            _touch(ticket)
            _record(session, ticket, "assign", by, assignee=[str(former.id), None], because="transfer")
            released.append(ticket)
    await session.flush()
    return released


def shortened(text: str) -> str:
    """The beginning of a text on one line, as it stands in a message: whole words, and dots where something is left
    out (three, as the alphabet of short messages has no other)."""
    line = " ".join(text.split())
    if len(line) <= LONGEST_TOLD:
        return line
    cut = line[: LONGEST_TOLD - 3]
    whole, space, _ = cut.rpartition(" ")
    return f"{(whole if space and len(whole) > LONGEST_TOLD // 2 else cut).rstrip()}..."


_AT = ("input", "ticketId")


async def _locked(session: AsyncSession, ticket_id: UUID, by: Viewer, *prefix: str) -> Ticket:
    rows = select(Ticket).where(Ticket.id == ticket_id, visible(by, Ticket)).with_for_update(of=Ticket, key_share=True)
    ticket = await session.scalar(rows.execution_options(populate_existing=True))
    if ticket is None:
        raise not_found("ticket", *prefix, "ticketId")
    return ticket


async def _again(session: AsyncSession, first: dict[str, object], by: Viewer) -> Ticket:
    ticket = await session.scalar(select(Ticket).where(Ticket.id == UUID(str(first["ticket"])), visible(by, Ticket)))
    if ticket is None:
        raise not_found("ticket", "idempotencyKey")
    return ticket


async def _can_work(session: AsyncSession, ticket: Ticket, operator_id: UUID, by: Viewer) -> None:
    operator = await session.scalar(select(Operator).where(Operator.id == operator_id, operators.visible(by)))
    if operator is None:
        raise not_found("operator", "operatorId")
    sees = await _sees(session, operator, ticket.customer_id)
    if not operator.active or not _NEEDED.issubset(operator.permissions) or not sees:
        message = "This operator cannot work on the ticket: not active, without the permission, or another's customer."
        raise fail(ErrorCode.INVALID_STATE, message, "operatorId")


async def _sees(session: AsyncSession, operator: Operator, customer_id: UUID) -> bool:
    """Whether a customer is within what an operator sees of the tenant."""
    roles = select(Operator.id, Operator.role).where(Operator.id.in_(operator.ancestors))
    above = {row.id: row.role for row in await session.execute(roles)} if operator.ancestors else {}
    sight = _Sight(scope_of(operator, above))
    return await session.scalar(customers.visible(sight).where(Customer.id == customer_id)) is not None


def _move(ticket: Ticket, status: TicketStatus) -> None:
    now = clock.now()
    if ticket.status in OURS:
        ticket.handled += now - ticket.status_since
    if status in UNDER_WAY:
        ticket.reopen_count += ticket.status not in UNDER_WAY
        ticket.resolved_at = ticket.closed_at = None
    else:
        ticket.resolved_at = ticket.resolved_at or now
        ticket.closed_at = now if status is CLOSED else None
    ticket.status, ticket.status_since = status, now
    _touch(ticket)


async def _tell(session: AsyncSession, ticket: Ticket, text: str, by: Viewer) -> None:
    customer = await session.get_one(Customer, ticket.customer_id)
    number, body = ticket.number, shortened(text)
    if by.customer_id is None:
        await messages.tell(session, customer, "ticket.replied", by=by, number=number, body=body)
    elif ticket.assignee_id is not None:
        assignee = await session.get_one(Operator, ticket.assignee_id)
        said = {"customer": customer.name, "number": number, "body": body}
        await messages.tell_operator(session, assignee, "operator.ticket_said", **said)


def _touch(ticket: Ticket) -> None:
    ticket.version += 1
    ticket.updated_at = clock.now()


def _record(session: AsyncSession, ticket: Ticket, what: str, by: Viewer, **details: object) -> None:
    told = {"ticket": ticket.number, **details}
    audit.record(session, by=by, action=f"ticket.{what}", subject_id=ticket.customer_id, details=told)


def _plain(value: object) -> object:
    return value.value if isinstance(value, TicketCategory | TicketPriority) else value

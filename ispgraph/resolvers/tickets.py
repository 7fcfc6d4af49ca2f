"""Tickets: looking at them, opening them, answering them, and bringing them to an end."""

from datetime import date
from typing import Annotated, Any

import strawberry

from ispgraph.domain import ticket_lists, tickets
from ispgraph.domain.models import TicketStatus
from ispgraph.domain.permissions import Permission
from ispgraph.domain.references import optional_id, typed_id
from ispgraph.domain.reports import periods
from ispgraph.domain.reports.periods import ReportGranularity
from ispgraph.domain.ticket_lists import TicketOrderField
from ispgraph.resolvers.base import action, query
from ispgraph.resolvers.once import once
from ispgraph.schema import roots
from ispgraph.schema.compiler.reading import page_of
from ispgraph.schema.context import Info
from ispgraph.schema.enums import OrderDirection
from ispgraph.schema.pages import Connection
from ispgraph.schema.tickets import (
    Ticket,
    TicketCreateInput,
    TicketOrder,
    TicketPayload,
    TicketStats,
    TicketUpdateInput,
    TicketWhere,
    ticket_stats,
)

_From = Annotated[date, strawberry.argument(name="from")]


async def list_tickets(
    info: Info,
    status: list[TicketStatus] | None = None,
    where: TicketWhere | None = None,
    search: str | None = None,
    order_by: TicketOrder | None = None,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
) -> Connection[Ticket]:
    """Tickets of the viewer's customers, newest first unless sorted. `search` finds any part of a subject from three
    characters on, a number as TKT-2026-000123 or the beginning of one, and the digits of a number alone. Blank is no
    search."""
    wanted = ticket_lists.wanted(where.checked() if where is not None else None, status, search)
    found: Connection[Ticket] = page_of(
        roots.TICKETS[order_by.field if order_by else TicketOrderField.CREATED_AT],
        wanted,
        descending=order_by is None or order_by.direction is OrderDirection.DESC,
        first=first,
        after=after,
        last=last,
        before=before,
    )
    return found


async def stats(info: Info, from_: _From, to: date) -> TicketStats:
    """How many tickets are under way now, and how quick answers and resolutions were from the day `from` until before
    the day `to`, at most 366 days of the tenant's time zone."""
    viewer = info.context.viewer_or_refuse()
    stretch = periods.stretch(from_, to, ReportGranularity.DAY, viewer.time_zone)
    async with info.context.read() as session:
        return ticket_stats(await ticket_lists.figures(session, stretch, viewer))


async def create(info: Info, input: TicketCreateInput) -> TicketPayload:
    """Open a ticket of a customer. A customer leaves the priority as it is, MEDIUM."""
    row: Any = await tickets.create(
        info.context.session,
        tickets.NewTicket(
            customer_id=typed_id("cus", input.customer_id, "input", "customerId"),
            subject=input.subject,
            body=input.body,
            category=input.category,
            priority=input.priority,
        ),
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return TicketPayload(ticket=row)


async def reply(
    info: Info, ticket_id: strawberry.ID, body: str, internal: bool = False, idempotency_key: str | None = None
) -> TicketPayload:
    """Answer the customer, who gets a message with the beginning of it, or leave an `internal` note.

    An answer takes an OPEN ticket on and reopens a RESOLVED one: it is IN_PROGRESS then. A CLOSED one takes notes only.
    What a customer writes makes a PENDING or RESOLVED ticket OPEN, and whoever works on it gets a message.
    """
    row: Any = await tickets.reply(
        info.context.session,
        typed_id("tkt", ticket_id, "ticketId"),
        body,
        internal=internal,
        idempotency_key=idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return TicketPayload(ticket=row)


@once()
async def set_status(info: Info, ticket_id: strawberry.ID, status: TicketStatus) -> TicketPayload:
    """Move a ticket on: freely between OPEN, IN_PROGRESS and PENDING, and from these to RESOLVED or CLOSED. RESOLVED
    goes on to CLOSED; both are reopened to OPEN or IN_PROGRESS, CLOSED within 30 days."""
    row: Any = await tickets.set_status(
        info.context.session, typed_id("tkt", ticket_id, "ticketId"), status, by=info.context.viewer_or_refuse()
    )
    return TicketPayload(ticket=row)


@once()
async def assign(info: Info, ticket_id: strawberry.ID, operator_id: strawberry.ID | None = None) -> TicketPayload:
    """Give a ticket to an operator who sees the customer and has the permission MANAGE_TICKETS; null takes it back."""
    row: Any = await tickets.assign(
        info.context.session,
        typed_id("tkt", ticket_id, "ticketId"),
        optional_id("opr", operator_id, "operatorId"),
        by=info.context.viewer_or_refuse(),
    )
    return TicketPayload(ticket=row)


@once()
async def update(info: Info, input: TicketUpdateInput) -> TicketPayload:
    """Correct the subject, the category or the priority of a ticket that is not closed."""
    row: Any = await tickets.update(
        info.context.session,
        typed_id("tkt", input.ticket_id, "input", "ticketId"),
        tickets.Changes(input.subject, input.category, input.priority),
        expected_version=input.expected_version,
        by=info.context.viewer_or_refuse(),
    )
    return TicketPayload(ticket=row)


@strawberry.type
class TicketQueries:
    tickets = query(list_tickets, Permission.MANAGE_TICKETS)
    ticket_stats = query(stats, Permission.MANAGE_TICKETS)


@strawberry.type
class TicketMutations:
    ticket_create = action(create, Permission.MANAGE_TICKETS)
    ticket_reply = action(reply, Permission.MANAGE_TICKETS)
    ticket_set_status = action(set_status, Permission.MANAGE_TICKETS)
    ticket_assign = action(assign, Permission.MANAGE_TICKETS)
    ticket_update = action(update, Permission.MANAGE_TICKETS)

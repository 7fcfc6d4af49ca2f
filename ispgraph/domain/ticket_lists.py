"""Lists of tickets: what narrows them, what sorts them, what a search finds, and figures.

As in `customer_lists`, the conditions are SQL that does not know its values; `wanted` makes these.
"""

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    ColumnElement,
    Interval,
    SmallInteger,
    String,
    Text,
    Uuid,
    and_,
    any_,
    case,
    cast,
    false,
    func,
    not_,
    select,
    type_coerce,
)
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import customers, values
from ispgraph.domain.errors import ErrorCode, Faults
from ispgraph.domain.lists import Filter, Key, Order
from ispgraph.domain.models import Ticket, TicketCategory, TicketPriority, TicketStatus
from ispgraph.domain.models.base import Instant
from ispgraph.domain.pages import newest_first
from ispgraph.domain.permissions import Permission, Viewer
from ispgraph.domain.reports.periods import Stretch, answer
from ispgraph.domain.ticket_statuses import UNDER_WAY

SHORTEST_SEARCH = 3
LONGEST_SEARCH = 100


class TicketOrderField(enum.Enum):
    CREATED_AT = "CREATED_AT"
    UPDATED_AT = "UPDATED_AT"
    PRIORITY = "PRIORITY"
    FIRST_RESPONSE_DUE_AT = "FIRST_RESPONSE_DUE_AT"


@dataclass(frozen=True, slots=True)
class TicketWhere:
    """What a person wants to see; None is no condition, an empty list matches nothing. `created_from` belongs to the
    span, `created_to` does not."""

    status: Sequence[TicketStatus] | None = None
    priority: Sequence[TicketPriority] | None = None
    category: Sequence[TicketCategory] | None = None
    assignee_id: UUID | None = None
    customer_id: UUID | None = None
    unassigned: bool | None = None
    first_response_overdue: bool | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None


def visible(by: Viewer, row: Any) -> ColumnElement[bool]:
    """Tickets of the customers whom the viewer may see, for those who may work on tickets, and for the customer."""
    if by.customer_id is None and not (by.may(Permission.MANAGE_TICKETS) and by.may(Permission.VIEW_CUSTOMERS)):
        return false()
    return customers.belonging(by, row.customer_id)


def response_overdue(row: Any, now: Any) -> ColumnElement[bool]:
    """Whether a ticket that is not done should have had its first answer before a moment, and has not."""
    # In the words of the index of those that were not answered.
    unanswered = (row.first_responded_at.is_(None), row.resolved_at.is_(None))
    return and_(*unanswered, row.first_response_due_at < now)


def handling_seconds(row: Any) -> ColumnElement[int | None]:
    """How long a ticket that is resolved or closed was OPEN or IN_PROGRESS."""
    return case((row.resolved_at.is_not(None), _whole_seconds(row.handled)))


def response_seconds(row: Any) -> ColumnElement[int | None]:
    """From when a ticket was opened until its first answer."""
    return _whole_seconds(row.first_responded_at - row.created_at)


def _whole_seconds(span: ColumnElement[Any]) -> ColumnElement[Any]:
    return cast(func.floor(func.extract("epoch", type_coerce(span, Interval()))), BigInteger)


def _found(forms: ColumnElement[Any]) -> ColumnElement[bool]:
    keys = select(func.ticket_matches(forms, type_=Uuid())).scalar_subquery()
    return Ticket.id == any_(func.array(keys, type_=ARRAY(Uuid())))


def _one_of(column: Any) -> Filter:
    return Filter(ARRAY(String()), lambda value, by: type_coerce(column, String()) == any_(value))


FILTERS: Mapping[str, Filter] = {
    "status": _one_of(Ticket.status),
    "only_status": _one_of(Ticket.status),
    "priority": _one_of(Ticket.priority),
    "category": _one_of(Ticket.category),
    "assignee_id": Filter(Uuid(), lambda value, by: Ticket.assignee_id == value),
    "customer_id": Filter(Uuid(), lambda value, by: Ticket.customer_id == value),
    "unassigned": Filter(Boolean(), lambda value, by: Ticket.assignee_id.is_(None) == value),
    # The value of these two is the moment at hand.
    "response_overdue": Filter(Instant, lambda value, by: response_overdue(Ticket, value)),
    "response_not_overdue": Filter(Instant, lambda value, by: not_(response_overdue(Ticket, value))),
    "created_from": Filter(Instant, lambda value, by: Ticket.created_at >= value),
    "created_to": Filter(Instant, lambda value, by: Ticket.created_at < value),
    "search": Filter(ARRAY(Text()), lambda value, by: _found(value)),
}

NEWEST = newest_first("tickets", Ticket.id)
_LAST = Key(Ticket.id, Uuid())
ORDERS: Mapping[TicketOrderField, Order] = {
    TicketOrderField.CREATED_AT: NEWEST,
    TicketOrderField.UPDATED_AT: Order("tickets:updated", (Key(Ticket.updated_at, Instant), _LAST)),
    TicketOrderField.PRIORITY: Order("tickets:priority", (Key(Ticket.priority_rank, SmallInteger()), _LAST)),
    TicketOrderField.FIRST_RESPONSE_DUE_AT: Order(
        "tickets:response", (Key(Ticket.first_response_due_at, Instant), _LAST)
    ),
}


def wanted(where: TicketWhere | None, status: Sequence[TicketStatus] | None, search: str | None) -> dict[str, Any]:
    """The values of the FILTERS in use; of `status` both that of `where` and that beside it count. Raises DomainError
    INVALID, naming the field of `where`, or `search`."""
    where = where or TicketWhere()
    faults = Faults()
    if where.unassigned and where.assignee_id is not None:
        faults.add(ErrorCode.INVALID, "A ticket of this operator is not unassigned.", "where", "unassigned")
    if where.created_from is not None and where.created_to is not None and where.created_to <= where.created_from:
        faults.add(ErrorCode.INVALID, "createdTo must be later than createdFrom.", "where", "createdTo")
    now = clock.now()
    asked = {
        "status": status,
        "only_status": where.status,
        "priority": where.priority,
        "category": where.category,
        "assignee_id": where.assignee_id,
        "customer_id": where.customer_id,
        "unassigned": where.unassigned,
        "response_overdue": now if where.first_response_overdue is True else None,
        "response_not_overdue": now if where.first_response_overdue is False else None,
        "created_from": where.created_from,
        "created_to": where.created_to,
        # A search box that was cleared sends nothing but blanks.
        "search": None if search is None or not search.strip() else _forms(faults, search),
    }
    faults.raise_if_any()
    return {name: value for name, value in asked.items() if value is not None}


_NUMBER = re.compile(r"TKT-\d{4}-\d{1,20}", re.ASCII)
_RUNNING = re.compile(r"\d{1,20}", re.ASCII)


def _forms(faults: Faults, search: str) -> list[str | None] | None:
    """What the search may mean, in the order of the SQL function `ticket_matches`; None for what it cannot."""
    try:
        term = values.text(search, LONGEST_SEARCH)
        if len(term) < SHORTEST_SEARCH and not _RUNNING.fullmatch(term):
            raise values.Unfit(f"Search for at least {SHORTEST_SEARCH} characters, or for the digits of a number.")
    except values.Unfit as error:
        faults.add(ErrorCode.INVALID, str(error), "search")
        return None
    return [
        term if len(term) >= SHORTEST_SEARCH else None,
        term.upper() if _NUMBER.fullmatch(term.upper()) else None,
        f"{int(term):06d}" if _RUNNING.fullmatch(term) else None,
    ]


@dataclass(frozen=True, slots=True)
class Figures:
    """How many tickets are under way, by status and priority, and how quick answers and resolutions were."""

    by_status: Mapping[TicketStatus, int]
    by_priority: Mapping[TicketPriority, int]
    unassigned: int
    response_overdue: int
    created: int
    resolved: int
    median_response_seconds: int | None
    median_handling_seconds: int | None


async def figures(session: AsyncSession, asked: Stretch, by: Viewer) -> Figures:
    """Of the tickets a viewer may see: those under way now, and what happened in a stretch of time."""
    count, own = func.count(), visible(by, Ticket)
    overdue = count.filter(response_overdue(Ticket, clock.now()))
    under_way = (
        select(Ticket.status, Ticket.priority, count, count.filter(Ticket.assignee_id.is_(None)), overdue)
        .where(Ticket.status.in_(UNDER_WAY), own)
        .group_by(Ticket.status, Ticket.priority)
    )
    rows = await answer(session, under_way)
    by_status, by_priority = dict.fromkeys(UNDER_WAY, 0), dict.fromkeys(TicketPriority, 0)
    for status, priority, number, _, _ in rows:
        by_status[status] += number
        by_priority[priority] += number
    created = select(count).where(asked.within(Ticket.created_at), own)
    responded = select(_median(response_seconds(Ticket))).where(asked.within(Ticket.first_responded_at), own)
    resolved = select(count, _median(handling_seconds(Ticket))).where(asked.within(Ticket.resolved_at), own)
    ((opened,),) = await answer(session, created)
    ((response,),) = await answer(session, responded)
    ((done, handling),) = await answer(session, resolved)
    return Figures(
        by_status=by_status,
        by_priority=by_priority,
        unassigned=sum(row[3] for row in rows),
        response_overdue=sum(row[4] for row in rows),
        created=opened,
        resolved=done,
        median_response_seconds=response,
        median_handling_seconds=handling,
    )


def _median(seconds: ColumnElement[Any]) -> ColumnElement[int | None]:
    middle = func.percentile_cont(0.5).within_group(seconds)
    return cast(func.round(middle), BigInteger)

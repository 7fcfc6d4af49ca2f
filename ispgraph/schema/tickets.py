"""Tickets of customers."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import strawberry
from sqlalchemy import and_, func, select, true

from ispgraph.domain import models, ticket_lists
from ispgraph.domain.models import Role, TicketCategory, TicketPriority, TicketStatus
from ispgraph.domain.references import optional_id
from ispgraph.domain.ticket_lists import TicketOrderField
from ispgraph.schema.base import Node, Payload, node, row
from ispgraph.schema.compiler.fields import column, expression, many, one, pages
from ispgraph.schema.enums import OrderDirection
from ispgraph.schema.operators import Operator

if TYPE_CHECKING:
    from ispgraph.schema.customers import Customer

CustomerLink = Annotated["Customer", strawberry.lazy("ispgraph.schema.customers")]


def _author(reply: Any) -> Any:
    rows = select(models.Operator.name).where(models.Operator.id == reply.author_id)
    return func.coalesce(reply.author_name, rows.correlate_except(models.Operator).scalar_subquery())


@row(models.TicketReply, description="What was written on a ticket, as it will always stand there.")
class TicketReply:
    author: str = expression(
        lambda reply, asked: _author(reply), description="The name of the operator, or of the customer."
    )
    by_customer: bool = expression(
        lambda reply, asked: reply.author_id.is_(None), description="Whether the customer's side has written it."
    )
    body: str
    internal: bool = strawberry.field(
        description="A note between operators: the customer neither sees it nor is told of it."
    )
    at: datetime


@node("tkt", models.Ticket, description="One matter of a customer's, from the complaint to the end of it.")
class Ticket(Node):
    number: str = strawberry.field(description="As TKT-2026-000123; of each year one series.")
    version: int
    customer: CustomerLink = one("customer_id")
    subject: str
    body: str
    category: TicketCategory
    priority: TicketPriority
    status: TicketStatus = column(
        "status",
        description="OPEN: not taken on yet. PENDING: the customer is to do or say something. Those that are RESOLVED "
        "can be reopened; CLOSED ones for 30 days.",
    )
    assignee: Operator | None = one("assignee_id")
    created_by: Operator | None = one("created_by_id")
    created_at: datetime
    updated_at: datetime = strawberry.field(description="Of the latest change or reply.")
    first_response_due_at: datetime = strawberry.field(
        description="When the first answer is due: after 1 hour when URGENT, 4 when HIGH, 8 when MEDIUM, 24 when LOW."
    )
    first_response_overdue: bool = expression(
        lambda ticket, asked: ticket_lists.response_overdue(ticket, asked.now),
        description="That is over, and a ticket that is not done has no answer.",
    )
    first_responded_at: datetime | None = strawberry.field(description="The first answer to the customer.")
    first_response_seconds: int | None = expression(
        lambda ticket, asked: ticket_lists.response_seconds(ticket),
        description="From `createdAt` to `firstRespondedAt`.",
    )
    resolved_at: datetime | None = strawberry.field(
        description="When it was resolved, or closed without that; null again when it is reopened."
    )
    closed_at: datetime | None
    reopen_count: int
    resolution_seconds: int | None = expression(
        lambda ticket, asked: ticket_lists.handling_seconds(ticket),
        description="Of a ticket that is resolved or closed: how long it was OPEN or IN_PROGRESS, all times together. "
        "While it was PENDING the customer was waited for, so that does not count, nor does what lay between a "
        "resolution and a reopening.",
    )
    replies: list[TicketReply] = many(
        lambda ticket, reply, asked: and_(
            reply.ticket_id == ticket.id,
            # What operators tell each other is for them alone.
            reply.internal.is_(False) if asked.viewer.role is Role.CUSTOMER else true(),
        ),
        description="Answers and notes, the oldest first; at most 500.",
    )


def tickets_of_customer() -> Any:
    """The field of a customer."""
    return pages(
        lambda customer, asked: and_(
            models.Ticket.customer_id == customer.id, ticket_lists.visible(asked.viewer, models.Ticket)
        ),
        ticket_lists.NEWEST,
        filters=ticket_lists.FILTERS,
        arguments={"status": list[TicketStatus] | None},
        description="Newest first; with `status`, those in these states. For operators empty without the permission "
        "MANAGE_TICKETS.",
    )


@strawberry.input(description="Tickets for which each of these holds; a list holds for any of its values.")
class TicketWhere:
    status: list[TicketStatus] | None = None
    priority: list[TicketPriority] | None = None
    category: list[TicketCategory] | None = None
    assignee_id: strawberry.ID | None = None
    customer_id: strawberry.ID | None = None
    unassigned: bool | None = None
    first_response_overdue: bool | None = None
    created_from: datetime | None = strawberry.field(default=None, description="At this instant or later.")
    created_to: datetime | None = strawberry.field(default=None, description="Earlier than this instant.")

    def checked(self) -> ticket_lists.TicketWhere:
        """With ids as they stand in tables. Raises DomainError."""
        keys: Mapping[str, Any] = {
            "assignee_id": optional_id("opr", self.assignee_id, "where", "assigneeId"),
            "customer_id": optional_id("cus", self.customer_id, "where", "customerId"),
        }
        return ticket_lists.TicketWhere(**{**vars(self), **keys})


@strawberry.input
class TicketOrder:
    field: TicketOrderField = strawberry.field(description="PRIORITY goes from LOW to URGENT.")
    direction: OrderDirection = OrderDirection.ASC


@strawberry.input
class TicketCreateInput:
    customer_id: strawberry.ID
    subject: str = strawberry.field(description="At most 200 characters.")
    body: str = strawberry.field(description="At most 10,000 characters.")
    category: TicketCategory = TicketCategory.COMPLAINT
    priority: TicketPriority = TicketPriority.MEDIUM
    idempotency_key: str | None = None


@strawberry.input(description="What is left out or null stays as it is.")
class TicketUpdateInput:
    ticket_id: strawberry.ID
    expected_version: int | None = strawberry.field(
        default=None,
        description="The version the form was filled from: VERSION_CONFLICT when somebody has changed it since.",
    )
    subject: str | None = None
    category: TicketCategory | None = None
    priority: TicketPriority | None = strawberry.field(
        default=None, description="Until the first answer this moves the time that it is due at."
    )
    idempotency_key: str | None = None


@strawberry.type
class TicketPayload(Payload):
    ticket: Ticket | None = None


@strawberry.type(description="How many tickets of one priority are under way.")
class TicketPriorityCounts:
    low: int
    medium: int
    high: int
    urgent: int


@strawberry.type(description="Figures of the tickets the viewer may see.")
class TicketStats:
    open: int = strawberry.field(description="OPEN now.")
    in_progress: int
    pending: int
    by_priority: TicketPriorityCounts = strawberry.field(description="OPEN, IN_PROGRESS and PENDING together.")
    unassigned: int = strawberry.field(description="Of these, those that are nobody's.")
    first_response_overdue: int = strawberry.field(description="Of these, those whose first answer is overdue.")
    created: int = strawberry.field(description="Opened in the stretch of time.")
    resolved: int = strawberry.field(description="Resolved or closed in the stretch of time, and not reopened since.")
    median_first_response_seconds: int | None = strawberry.field(
        description="Of those first answered in the stretch of time."
    )
    median_resolution_seconds: int | None = strawberry.field(description="Of those that `resolved` counts.")


def ticket_stats(found: ticket_lists.Figures) -> TicketStats:
    """As the schema shows it."""
    status, priority = found.by_status, found.by_priority
    return TicketStats(
        open=status[TicketStatus.OPEN],
        in_progress=status[TicketStatus.IN_PROGRESS],
        pending=status[TicketStatus.PENDING],
        by_priority=TicketPriorityCounts(
            low=priority[TicketPriority.LOW],
            medium=priority[TicketPriority.MEDIUM],
            high=priority[TicketPriority.HIGH],
            urgent=priority[TicketPriority.URGENT],
        ),
        unassigned=found.unassigned,
        first_response_overdue=found.response_overdue,
        created=found.created,
        resolved=found.resolved,
        median_first_response_seconds=found.median_response_seconds,
        median_resolution_seconds=found.median_handling_seconds,
    )

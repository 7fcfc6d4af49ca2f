"""What customers ask and complain about, and what is answered."""

import enum
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import CheckConstraint, Computed, Index, Interval, SmallInteger, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from ispgraph.domain.models.base import Instant, TenantRow, moment, names, of_tenant, refers


class TicketStatus(enum.Enum):
    OPEN = "OPEN"
    """Nobody has taken it on yet."""
    PENDING = "PENDING"
    """The customer is to do or say something."""
    IN_PROGRESS = "IN_PROGRESS"
    RESOLVED = "RESOLVED"
    CLOSED = "CLOSED"


class TicketPriority(enum.Enum):
    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"
    URGENT = "URGENT"


class TicketCategory(enum.Enum):
    TECHNICAL = "TECHNICAL"
    BILLING = "BILLING"
    COMPLAINT = "COMPLAINT"
    GENERAL = "GENERAL"
    FEATURE_REQUEST = "FEATURE_REQUEST"


_RANKS = (
    "CASE priority WHEN 'LOW'::text THEN 1 WHEN 'MEDIUM'::text THEN 2 WHEN 'HIGH'::text THEN 3 "
    "WHEN 'URGENT'::text THEN 4 ELSE NULL::integer END"
)


class Ticket(TenantRow):
    """One matter of a customer's. `resolved_at` is when it was resolved, or closed without that; a ticket that is
    reopened has neither that nor `closed_at` any more."""

    __tablename__ = "tickets"
    __table_args__ = of_tenant(
        refers("customer_id", "customers"),
        refers("assignee_id", "operators"),
        refers("created_by_id", "operators"),
        UniqueConstraint("tenant_id", "number"),
        Index("ix_tickets_customer", "tenant_id", "customer_id", "id"),
        Index("ix_tickets_status", "tenant_id", "status", "id"),
        Index("ix_tickets_assignee", "tenant_id", "assignee_id", "id"),
        Index("ix_tickets_created", "tenant_id", "created_at"),
        Index("ix_tickets_updated", "tenant_id", "updated_at", "id"),
        Index("ix_tickets_priority", "tenant_id", "priority_rank", "id"),
        Index("ix_tickets_response_due", "tenant_id", "first_response_due_at", "id"),
        Index(
            "ix_tickets_unanswered",
            *("tenant_id", "first_response_due_at"),
            postgresql_where="first_responded_at IS NULL AND resolved_at IS NULL",
        ),
        Index(
            "ix_tickets_responded",
            *("tenant_id", "first_responded_at"),
            postgresql_where="first_responded_at IS NOT NULL",
        ),
        Index("ix_tickets_resolved", "tenant_id", "resolved_at", postgresql_where="resolved_at IS NOT NULL"),
        # As that of the customers: only a function of the owner can use it.
        Index(
            "ix_tickets_search",
            *("number", "subject_key"),
            postgresql_using="gin",
            postgresql_ops={"number": "gin_trgm_ops", "subject_key": "gin_trgm_ops"},
            postgresql_with={"gin_pending_list_limit": 256},
        ),
        CheckConstraint("(status IN ('RESOLVED', 'CLOSED')) = (resolved_at IS NOT NULL)", name="resolved"),
        CheckConstraint("(status = 'CLOSED') = (closed_at IS NOT NULL)", name="closed"),
        CheckConstraint("reopen_count >= 0 AND handled >= '0'::interval", name="counters"),
    )

    number: Mapped[str] = mapped_column(String(30))
    customer_id: Mapped[UUID]
    subject: Mapped[str] = mapped_column(String(200))
    subject_key: Mapped[str] = mapped_column(Text, Computed("lower((subject)::text)", persisted=True), deferred=True)
    """What a search looks into."""
    body: Mapped[str] = mapped_column(Text)
    category: Mapped[TicketCategory] = mapped_column(names(TicketCategory))
    priority: Mapped[TicketPriority] = mapped_column(names(TicketPriority))
    priority_rank: Mapped[int] = mapped_column(SmallInteger, Computed(_RANKS, persisted=True), deferred=True)
    """From 1, the lowest: what lists by priority are sorted by."""
    status: Mapped[TicketStatus] = mapped_column(names(TicketStatus), default=TicketStatus.OPEN)
    status_since: Mapped[datetime] = moment()
    assignee_id: Mapped[UUID | None]
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = moment()
    created_by_id: Mapped[UUID | None]
    updated_at: Mapped[datetime] = moment()
    first_response_due_at: Mapped[datetime] = mapped_column(Instant)
    first_responded_at: Mapped[datetime | None] = mapped_column(Instant)
    resolved_at: Mapped[datetime | None] = mapped_column(Instant)
    closed_at: Mapped[datetime | None] = mapped_column(Instant)
    reopen_count: Mapped[int] = mapped_column(default=0)
    handled: Mapped[timedelta] = mapped_column(Interval, default=timedelta())
    """How long it was OPEN or IN_PROGRESS before `status_since`: the time that was ours, not the customer's."""


class TicketReply(TenantRow):
    """What was written on a ticket. It stays as it is."""

    __tablename__ = "ticket_replies"
    __table_args__ = of_tenant(
        refers("ticket_id", "tickets"),
        refers("author_id", "operators"),
        Index("ix_ticket_replies_ticket", "tenant_id", "ticket_id", "id"),
        CheckConstraint("(author_id IS NULL) = (author_name IS NOT NULL)", name="author"),
        CheckConstraint("author_id IS NOT NULL OR NOT internal", name="internal"),
    )

    ticket_id: Mapped[UUID]
    author_id: Mapped[UUID | None]
    """None: the customer's side has written it, with a name as it was then."""
    author_name: Mapped[str | None] = mapped_column(String(255))
    body: Mapped[str] = mapped_column(Text)
    internal: Mapped[bool]
    """Between operators: the customer neither sees it nor is told of it."""
    at: Mapped[datetime] = moment()

"""The same done to many customers by one job, and what came of each."""

import enum
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Index, String, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from ispgraph.domain.errors import ErrorCode
from ispgraph.domain.models.base import Instant, TenantRow, moment, names, of_tenant, refers

_WAITING = "outcome = 'WAITING'"


class BulkAction(enum.Enum):
    SUSPEND = "SUSPEND"
    ACTIVATE = "ACTIVATE"
    CHANGE_PACKAGE = "CHANGE_PACKAGE"
    MESSAGE = "MESSAGE"


class BulkOutcome(enum.Enum):
    WAITING = "WAITING"
    DONE = "DONE"
    UNCHANGED = "UNCHANGED"
    """It was so already."""
    FAILED = "FAILED"


class BulkRun(TenantRow):
    """Something that is done to each customer of a selection, which was frozen when it was asked for.

    The figures grow with each part that is committed, so they are right also when a run is broken off and goes on.
    """

    __tablename__ = "bulk_runs"
    __table_args__ = of_tenant(
        refers("job_id", "jobs"),
        refers("started_by_id", "operators"),
        refers("acting_id", "operators"),
        UniqueConstraint("tenant_id", "job_id"),
        Index("ix_bulk_runs_started_by", "tenant_id", "started_by_id", "id"),
        CheckConstraint("count > 0 AND done + unchanged + failed <= count", name="count"),
    )

    job_id: Mapped[UUID]
    action: Mapped[BulkAction] = mapped_column(names(BulkAction))
    wish: Mapped[dict[str, Any]] = mapped_column(JSONB)
    """What is done, beside the action."""
    dry_run: Mapped[bool]
    """Nothing is written but what would have come of each."""
    started_by_id: Mapped[UUID]
    acting_id: Mapped[UUID | None]
    """Who had signed in in the operator's place."""
    created_at: Mapped[datetime] = moment()
    cancelled_at: Mapped[datetime | None] = mapped_column(Instant)
    count: Mapped[int]
    done: Mapped[int] = mapped_column(default=0)
    unchanged: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    charged_minor: Mapped[int] = mapped_column(BigInteger, default=0)
    """The sum of what is to be paid, tax included."""
    credited_minor: Mapped[int] = mapped_column(BigInteger, default=0)
    """The sum of what is given back, tax included; not below zero."""
    segments: Mapped[int] = mapped_column(default=0)
    """So many parts the messages have."""


class BulkRow(TenantRow):
    """One customer of a run. The highest position is the first."""

    __tablename__ = "bulk_rows"
    __table_args__ = of_tenant(
        refers("run_id", "bulk_runs"),
        # Who never had anything to do with us can be deleted, and is then no part of what was done.
        ForeignKeyConstraint(["tenant_id", "customer_id"], ["customers.tenant_id", "customers.id"], ondelete="CASCADE"),
        UniqueConstraint("tenant_id", "run_id", "position"),
        Index("ix_bulk_rows_customer", "tenant_id", "customer_id"),
        Index("ix_bulk_rows_waiting", "tenant_id", "run_id", "position", postgresql_where=_WAITING),
        CheckConstraint("(outcome = 'WAITING') = (ended_at IS NULL)", name="ended"),
    )

    run_id: Mapped[UUID]
    position: Mapped[int]
    customer_id: Mapped[UUID]
    outcome: Mapped[BulkOutcome] = mapped_column(names(BulkOutcome))
    code: Mapped[ErrorCode | None] = mapped_column(names(ErrorCode, 40, checked=False))
    """Why nothing was changed."""
    message: Mapped[str | None] = mapped_column(String(500))
    total_minor: Mapped[int | None] = mapped_column(BigInteger)
    """What is to be paid, or below zero given back."""
    segments: Mapped[int | None]
    ended_at: Mapped[datetime | None] = mapped_column(Instant)

"""Hosting panels on which customers have accounts, and those accounts."""

import enum
from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from ispgraph.domain.models.base import Instant, TenantRow, moment, names, of_tenant, refers


class HostingStatus(enum.Enum):
    """What the panel has, as far as we know."""

    PENDING = "PENDING"
    """Promised; the panel has not made it yet."""
    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"
    FAILED = "FAILED"
    """It could not be made, or the panel has it no longer: `error` says why."""
    DELETED = "DELETED"


class HostingWish(enum.Enum):
    """What operators want of an account."""

    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"
    DELETED = "DELETED"


class HostingServer(TenantRow):
    """A NextPanel that we may make accounts on."""

    __tablename__ = "hosting_servers"
    __table_args__ = of_tenant(
        UniqueConstraint("tenant_id", "name"),
        refers("lane_job_id", "jobs"),
        refers("check_job_id", "jobs"),
        CheckConstraint("capacity BETWEEN 0 AND 1000000", name="capacity"),
    )

    name: Mapped[str] = mapped_column(String(100))
    base_url: Mapped[str] = mapped_column(String(500))
    credentials: Mapped[bytes] = mapped_column(LargeBinary)
    """A JSON object with `api_key` and `api_secret`, sealed."""
    capacity: Mapped[int]
    active: Mapped[bool] = mapped_column(default=True)
    """Whether new accounts may be made on it."""
    online: Mapped[bool] = mapped_column(default=False)
    """Whether it answered, and took our credentials, when it was last asked."""
    problem: Mapped[str | None] = mapped_column(Text)
    """Why it is not online."""
    last_checked_at: Mapped[datetime | None] = mapped_column(Instant)
    check_at: Mapped[datetime] = moment()
    """When it is to be looked at next."""
    check_job_id: Mapped[UUID | None]
    """The job that looks at it, again and again."""
    lane_job_id: Mapped[UUID | None]
    """The job that talks to it, as long as that runs: one at a time."""
    failures: Mapped[int] = mapped_column(default=0)
    """How often in a row it could not be reached. From the third on it is left alone until `retry_at`."""
    unreachable_since: Mapped[datetime | None] = mapped_column(Instant)
    retry_at: Mapped[datetime | None] = mapped_column(Instant)
    created_at: Mapped[datetime] = moment()
    updated_at: Mapped[datetime] = moment()


class HostingAccount(TenantRow):
    """An account of a customer on a panel, wished for and observed."""

    __tablename__ = "hosting_accounts"
    __table_args__ = of_tenant(
        refers("customer_id", "customers"),
        refers("server_id", "hosting_servers"),
        refers("job_id", "jobs"),
        refers("created_by_id", "operators"),
        Index(
            "uq_hosting_accounts_username",
            *("tenant_id", "username"),
            unique=True,
            postgresql_where="status <> 'DELETED'",
        ),
        Index("ix_hosting_accounts_customer", "tenant_id", "customer_id", "id"),
        Index("ix_hosting_accounts_server", "tenant_id", "server_id", "id"),
        CheckConstraint("status NOT IN ('ACTIVE', 'SUSPENDED') OR external_id IS NOT NULL", name="external_id"),
        CheckConstraint("password IS NULL OR (external_id IS NULL AND status <> 'DELETED')", name="password"),
    )

    customer_id: Mapped[UUID]
    server_id: Mapped[UUID]
    any_server: Mapped[bool]
    """Whether we chose the server."""
    placed: Mapped[bool]
    """Whether it takes a place on its server. One that found all servers full does not, until it is tried again."""
    username: Mapped[str] = mapped_column(String(32))
    package: Mapped[str | None] = mapped_column(String(50))
    """The panel's id of a package."""
    password: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Sealed; forgotten as soon as the panel has it."""
    external_id: Mapped[str | None] = mapped_column(String(100))
    """The panel's id of it."""
    unsure: Mapped[bool] = mapped_column(default=False)
    """Whether the panel was asked for something that it may have done although no answer came."""
    status: Mapped[HostingStatus] = mapped_column(names(HostingStatus), default=HostingStatus.PENDING)
    wish: Mapped[HostingWish] = mapped_column(names(HostingWish), default=HostingWish.ACTIVE)
    held: Mapped[bool] = mapped_column(default=False)
    """Whether it is to be suspended for the time that a service of its customer is, because of debts."""
    reason: Mapped[str | None] = mapped_column(String(255))
    """Why an operator had it suspended."""
    error: Mapped[str | None] = mapped_column(Text)
    """Why it is not as it should be."""
    job_id: Mapped[UUID | None]
    """The latest job that brings it there."""
    waits: Mapped[bool] = mapped_column(default=False)
    """Whether that job waits for the server, or for its turn there."""
    stats: Mapped[dict[str, object] | None] = mapped_column(JSONB(none_as_null=True))
    stats_at: Mapped[datetime | None] = mapped_column(Instant)
    created_at: Mapped[datetime] = moment()
    created_by_id: Mapped[UUID | None]
    updated_at: Mapped[datetime] = moment()

"""Routers, the jobs that reach them, and what each step of a job met."""

import enum
from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Float, Index, String, Text, UniqueConstraint, false
from sqlalchemy.dialects.postgresql import INET, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from ispgraph.domain.models.base import Instant, TenantRow, moment, names, of_tenant, refers


class RouterStatus(enum.Enum):
    UNKNOWN = "UNKNOWN"
    ONLINE = "ONLINE"
    DEGRADED = "DEGRADED"
    OFFLINE = "OFFLINE"


class RouterMode(enum.Enum):
    """Where a router finds out who may get on line. Never both for one router: a local user beats RADIUS."""

    RADIUS = "RADIUS"
    LOCAL = "LOCAL"
    """From secrets and hotspot users that are kept on the router itself."""


class JobStatus(enum.Enum):
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class StepProtocol(enum.Enum):
    RADIUS_SQL = "RADIUS_SQL"
    COA = "COA"
    DISCONNECT = "DISCONNECT"
    ROUTEROS = "ROUTEROS"
    HOSTING = "HOSTING"


class StepOutcome(enum.Enum):
    ACK = "ACK"
    NAK = "NAK"
    TIMEOUT = "TIMEOUT"
    UNREACHABLE = "UNREACHABLE"
    APPLIED = "APPLIED"
    UNCHANGED = "UNCHANGED"
    VERIFIED = "VERIFIED"
    REFUSED = "REFUSED"


class Router(TenantRow):
    """A MikroTik we manage and, by `radius_address`, a RADIUS client.

    The source address of a RADIUS packet is all that tells the tenant, so it is unique over all tenants.
    """

    __tablename__ = "routers"
    __table_args__ = of_tenant(
        UniqueConstraint("tenant_id", "name"),
        UniqueConstraint("radius_address"),
        CheckConstraint(
            "masklen(radius_address) = CASE family(radius_address) WHEN 4 THEN 32 ELSE 128 END",
            name="radius_address_is_host",
        ),
    )

    name: Mapped[str] = mapped_column(String(100))
    address: Mapped[str] = mapped_column(String(253))
    mode: Mapped[RouterMode] = mapped_column(names(RouterMode), default=RouterMode.RADIUS)
    api_port: Mapped[int] = mapped_column(default=8728)
    api_tls: Mapped[bool] = mapped_column(default=False)
    api_username: Mapped[str | None] = mapped_column(String(100))
    api_password: Mapped[bytes | None]
    """Sealed (`domain.secrets`) and bound to this row, as `radius_secret` is."""
    api_fingerprint: Mapped[str | None] = mapped_column(String(64))
    """SHA-256 of the one certificate that is accepted, as hexadecimal digits; None asks the system's authorities."""
    radius_address: Mapped[str | None] = mapped_column(INET)
    radius_secret: Mapped[bytes | None]
    coa_port: Mapped[int] = mapped_column(default=3799)
    nas_identifier: Mapped[str | None] = mapped_column(String(253))
    status: Mapped[RouterStatus] = mapped_column(names(RouterStatus), default=RouterStatus.UNKNOWN)
    problem: Mapped[str | None] = mapped_column(Text)
    """Why it is not ONLINE."""
    last_seen_at: Mapped[datetime | None] = mapped_column(Instant)
    accounting_last_seen_at: Mapped[datetime | None] = mapped_column(Instant)
    accounting_resumed_at: Mapped[datetime | None] = mapped_column(Instant)
    """When accounting came again after a quarter of an hour without any."""
    octets_swapped: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Its input octets are what customers get, its output octets what they send."""
    version: Mapped[str | None] = mapped_column(String(60))
    board: Mapped[str | None] = mapped_column(String(60))
    serial: Mapped[str | None] = mapped_column(String(60))
    """Of the device that was met first: another one at this address is not touched."""
    created_at: Mapped[datetime] = moment()
    check_at: Mapped[datetime] = moment()
    """When it is to be looked at next."""
    lane: Mapped[UUID | None]
    """Whose turn it is on this router, until `lane_until`: one at a time."""
    lane_until: Mapped[datetime | None] = mapped_column(Instant)
    failures: Mapped[int] = mapped_column(default=0)
    """How often in a row it could not be reached. From the third on it is left alone until `retry_at`."""
    unreachable_since: Mapped[datetime | None] = mapped_column(Instant)
    retry_at: Mapped[datetime | None] = mapped_column(Instant)
    told_down_at: Mapped[datetime | None] = mapped_column(Instant)
    """When its operators were told that it does not answer; None once they were told that it does."""
    reconciled_at: Mapped[datetime | None] = mapped_column(Instant)
    drift: Mapped[list[dict[str, str | None]]] = mapped_column(JSONB, default=list)
    """What the last reconciliation found: rows of path, property, expected, observed."""


class Job(TenantRow):
    """Slow work that was promised. The row is the promise; Redis only carries the word that it is there.

    A running job holds a lease; whoever finds the lease expired may take the job over.
    """

    __tablename__ = "jobs"
    __table_args__ = of_tenant(
        refers("customer_id", "customers"),
        refers("service_id", "services"),
        refers("router_id", "routers"),
        refers("created_by_id", "operators"),
        Index("ix_jobs_customer", "tenant_id", "customer_id", "id"),
        Index("ix_jobs_router", "tenant_id", "router_id", postgresql_where="status IN ('QUEUED', 'RUNNING')"),
        Index("ix_jobs_due", "next_attempt_at", postgresql_where="status IN ('QUEUED', 'RUNNING')"),
    )

    kind: Mapped[str] = mapped_column(String(60))
    status: Mapped[JobStatus] = mapped_column(names(JobStatus), default=JobStatus.QUEUED)
    customer_id: Mapped[UUID | None]
    service_id: Mapped[UUID | None]
    router_id: Mapped[UUID | None]
    arguments: Mapped[dict[str, object]] = mapped_column(JSONB, default=dict)
    created_at: Mapped[datetime] = moment()
    created_by_id: Mapped[UUID | None]
    started_at: Mapped[datetime | None] = mapped_column(Instant)
    finished_at: Mapped[datetime | None] = mapped_column(Instant)
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime] = moment()
    """When the job is due; while it runs, when its lease ends."""
    lease: Mapped[UUID | None]
    """Of the run that holds the job: a run that lost its lease may not write a result."""
    message: Mapped[str | None] = mapped_column(Text)
    traceparent: Mapped[str | None] = mapped_column(String(55))
    """Of what promised it, where that was traced: its runs belong to the same trace."""
    progress_done: Mapped[int | None]
    progress_total: Mapped[int | None]


class NetworkStep(TenantRow):
    """One exchange with the network in the course of a job, and how it ended."""

    __tablename__ = "network_steps"
    __table_args__ = of_tenant(refers("job_id", "jobs"), Index("ix_network_steps_job", "tenant_id", "job_id", "id"))

    job_id: Mapped[UUID]
    at: Mapped[datetime] = moment()
    protocol: Mapped[StepProtocol] = mapped_column(names(StepProtocol))
    outcome: Mapped[StepOutcome] = mapped_column(names(StepOutcome))
    detail: Mapped[str | None] = mapped_column(Text)
    error_cause: Mapped[int | None]
    round_trip_ms: Mapped[float | None] = mapped_column(Float)

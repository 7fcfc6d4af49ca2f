"""Accounting sessions, and the usage that follows from them. Accounting writes these tables; the application reads.

Octets are named as RADIUS names them: input is what the customer sent (upload), output what the customer got.
"""

import enum
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, String, Text, UniqueConstraint, false
from sqlalchemy.dialects.postgresql import INET, MACADDR
from sqlalchemy.orm import Mapped, mapped_column

from ispgraph.db import Base
from ispgraph.domain.models.base import Instant, TenantRow, names, of_tenant, refers
from ispgraph.domain.models.catalogue import ConnectionType

# Room in each page for the next version of its rows: an interim update then touches no index.
_ROOMY = {"postgresql_with": {"fillfactor": 50}}


class SessionState(enum.Enum):
    OPEN = "OPEN"
    STOPPED = "STOPPED"
    STALE = "STALE"
    """Nothing was heard of it for too long: taken to have ended at its last update."""


class Session(TenantRow):
    """One accounting session, of a service or, when nobody here has its username, of none. `unique_id` tells it from
    every other of the tenant, also when a router begins to count its Acct-Session-Ids again.

    The table is partitioned by the quarter of the year (of UTC) in which a session began, which never changes: say when
    it began wherever that is known, and one partition is read instead of all. Which sessions are open stands in
    `OpenSession`: ask there.

    Never index what changes while a session lasts or when it ends (`updated_at`, `duration_seconds`, the octets,
    `state`, `stopped_at`): every update would then touch every index. Nor has it, or usage, a check: PostgreSQL reads
    each from its text again for every statement, which took an eighth of the time of a packet. Only accounting writes
    here, and `check-invariants` looks at it.
    """

    __tablename__ = "sessions"
    __table_args__ = (
        refers("customer_id", "customers"),
        refers("service_id", "services"),
        refers("router_id", "routers"),
        Index("ix_sessions_customer", "tenant_id", "customer_id", "started_at", "id"),
        Index("ix_sessions_router", "tenant_id", "router_id", "acct_session_id", "started_at"),
        {"postgresql_partition_by": "RANGE (started_at)"},
    )
    # Of the table it is `id` with `started_at`, as PostgreSQL asks of a partitioned one; an id alone tells a session.
    __mapper_args__ = {"primary_key": ["id"]}  # noqa: RUF012

    customer_id: Mapped[UUID | None]
    service_id: Mapped[UUID | None]
    router_id: Mapped[UUID | None]
    acct_session_id: Mapped[str] = mapped_column(String(253))
    unique_id: Mapped[str] = mapped_column(String(64))
    class_: Mapped[str | None] = mapped_column("class", Text)
    """The cookie that the login was answered with and the router echoes, in hexadecimal digits."""
    policy: Mapped[str | None] = mapped_column(String(16))
    """Digest of what the session was let in with and keeps as long as it lasts; None when its Class does not tell."""
    rate: Mapped[str | None] = mapped_column(String(8))
    """Digest of the rate it has: that of its login, or of the last change that the router acknowledged."""
    username: Mapped[str] = mapped_column(String(253))
    """As the router wrote it, for it is named to the router again."""
    connection_type: Mapped[ConnectionType] = mapped_column(names(ConnectionType, checked=False))
    state: Mapped[SessionState] = mapped_column(names(SessionState, checked=False))
    started_at: Mapped[datetime] = mapped_column(Instant, primary_key=True)
    updated_at: Mapped[datetime] = mapped_column(Instant)
    stopped_at: Mapped[datetime | None] = mapped_column(Instant)
    duration_seconds: Mapped[int] = mapped_column(default=0)
    input_octets: Mapped[int] = mapped_column(BigInteger, default=0)
    output_octets: Mapped[int] = mapped_column(BigInteger, default=0)
    input_base: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """What the router's counter had shown when it began again at zero; `input_octets` is this plus what it shows."""
    output_base: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    ip_address: Mapped[str | None] = mapped_column(INET)
    mac_address: Mapped[str | None] = mapped_column(MACADDR)
    nas_address: Mapped[str | None] = mapped_column(INET)
    terminate_cause: Mapped[str | None] = mapped_column(String(253))
    octets_swapped: Mapped[bool] = mapped_column(default=False, server_default=false())
    """As its router was set when the session began (`Router.octets_swapped`)."""


class OpenSession(Base):
    """That a session is open, and where it stands: few rows, however many sessions there were. A trigger of `sessions`
    keeps it, so no keys of its own hold it to what the session refers to."""

    __tablename__ = "open_sessions"
    __table_args__ = (
        UniqueConstraint("tenant_id", "unique_id"),
        Index("ix_open_sessions_customer", "tenant_id", "customer_id", "started_at", "session_id"),
        Index("ix_open_sessions_service", "tenant_id", "service_id"),
        Index("ix_open_sessions_router", "tenant_id", "router_id", "mac_address"),
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    session_id: Mapped[UUID] = mapped_column(primary_key=True)
    unique_id: Mapped[str] = mapped_column(String(64))
    started_at: Mapped[datetime] = mapped_column(Instant)
    customer_id: Mapped[UUID | None]
    service_id: Mapped[UUID | None]
    router_id: Mapped[UUID | None]
    mac_address: Mapped[str | None] = mapped_column(MACADDR)


class AccountingInbox(Base):
    """An Interim of an open session that was acknowledged and is still to be added to the books, within a second or so.

    Octets and seconds are as the router counts them. Rows come and go all the time: no keys hold them.
    """

    __tablename__ = "accounting_inbox"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    session_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    """In the order of arrival."""
    started_at: Mapped[datetime] = mapped_column(Instant)
    router_id: Mapped[UUID]
    happened: Mapped[datetime] = mapped_column(Instant)
    received: Mapped[datetime] = mapped_column(Instant)
    seconds: Mapped[int]
    input_octets: Mapped[int] = mapped_column(BigInteger)
    output_octets: Mapped[int] = mapped_column(BigInteger)
    ip_address: Mapped[str | None] = mapped_column(INET)


class UsageDoubt(enum.Enum):
    LONG = "LONG"
    """More than 92 days had passed since the last that is known."""
    CLOCK = "CLOCK"
    """The router counted more than a day more than had passed."""
    RATE = "RATE"
    """Faster than 100 Gbit/s."""


class UsageQuarantine(TenantRow):
    """What a packet added to a session that cannot be, from `since` to `at`: kept as evidence, not part of any usage.

    The session itself shows what the router says. It may be forgotten before this is, so no key holds it.
    """

    __tablename__ = "usage_quarantine"
    __table_args__ = of_tenant(
        refers("service_id", "services"),
        Index("ix_usage_quarantine_service", "tenant_id", "service_id", "at"),
    )

    session_id: Mapped[UUID]
    service_id: Mapped[UUID]
    since: Mapped[datetime] = mapped_column(Instant)
    at: Mapped[datetime] = mapped_column(Instant)
    input_octets: Mapped[int] = mapped_column(BigInteger)
    output_octets: Mapped[int] = mapped_column(BigInteger)
    seconds: Mapped[int]
    reason: Mapped[UsageDoubt] = mapped_column(names(UsageDoubt))


class UsageDay(Base):
    """What one service used on one calendar day of the tenant's time zone."""

    __tablename__ = "usage_days"
    __table_args__ = (
        refers("customer_id", "customers"),
        refers("service_id", "services"),
        Index("ix_usage_days_customer", "tenant_id", "customer_id", "day"),
        _ROOMY,
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    service_id: Mapped[UUID] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    customer_id: Mapped[UUID]
    input_octets: Mapped[int] = mapped_column(BigInteger, default=0)
    output_octets: Mapped[int] = mapped_column(BigInteger, default=0)
    seconds: Mapped[int] = mapped_column(default=0)


class UsageBucket(Base):
    """What one service used in the quarter of an hour that begins at `starts_at`, a quarter of an hour of UTC.

    Nothing is added here that is not added to a `UsageDay` as well, whose keys hold both.
    """

    __tablename__ = "usage_buckets"
    __table_args__ = (
        Index("ix_usage_buckets_customer", "tenant_id", "customer_id", "starts_at"),
        _ROOMY,
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    service_id: Mapped[UUID] = mapped_column(primary_key=True)
    starts_at: Mapped[datetime] = mapped_column(Instant, primary_key=True)
    customer_id: Mapped[UUID]
    input_octets: Mapped[int] = mapped_column(BigInteger, default=0)
    output_octets: Mapped[int] = mapped_column(BigInteger, default=0)
    seconds: Mapped[int] = mapped_column(default=0)

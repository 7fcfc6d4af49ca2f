"""Customers, their services, and unfinished creations."""

import enum
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Computed, Index, String, Text, UniqueConstraint, false, true
from sqlalchemy.dialects.postgresql import ARRAY, CIDR, INET, JSONB, MACADDR
from sqlalchemy.orm import Mapped, mapped_column

from ispgraph.domain.models.base import Instant, TenantRow, moment, names, of_tenant, refers
from ispgraph.domain.models.catalogue import ConnectionType


class CustomerStatus(enum.Enum):
    PENDING = "PENDING"
    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"
    EXPIRED = "EXPIRED"
    TERMINATED = "TERMINATED"


class ServiceStatus(enum.Enum):
    PENDING = "PENDING"
    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"
    EXPIRED = "EXPIRED"
    TERMINATED = "TERMINATED"


class SuspendReason(enum.Enum):
    NON_PAYMENT = "NON_PAYMENT"
    VIOLATION = "VIOLATION"
    """Never let into a walled garden: refused."""
    MAINTENANCE = "MAINTENANCE"
    CUSTOMER_REQUEST = "CUSTOMER_REQUEST"
    OTHER = "OTHER"


class ProvisioningState(enum.Enum):
    """How far the network is with a service."""

    PENDING = "PENDING"
    APPLIED = "APPLIED"
    FAILED = "FAILED"
    UNREACHABLE = "UNREACHABLE"
    NOT_MANAGED = "NOT_MANAGED"


class WizardStep(enum.Enum):
    BASICS = "BASICS"
    CONNECTION = "CONNECTION"
    PACKAGE = "PACKAGE"
    ADDRESS = "ADDRESS"
    CUSTOM_FIELDS = "CUSTOM_FIELDS"
    PAYMENT = "PAYMENT"
    REVIEW = "REVIEW"


class DraftStatus(enum.Enum):
    DRAFT = "DRAFT"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


def _trigrams(name: str, *columns: str) -> Index:
    """An index that finds a part of any of the columns. Only a function of the owner can use it: under row-level
    security a condition with LIKE is no condition of an index.

    Without the tenant: looking up the rows of a large one for each trigram made a search five times as slow. For a
    small one among many the planner reads by another index that begins with the tenant, or by both.
    """
    return Index(
        name,
        *columns,
        postgresql_using="gin",
        postgresql_ops=dict.fromkeys(columns, "gin_trgm_ops"),
        # Every search reads what was not sorted in yet from end to end, so that is kept short (kB).
        postgresql_with={"gin_pending_list_limit": 256},
    )


class Customer(TenantRow):
    """Who pays. `mobile` is E.164, `email` lower case; money is in the ledger, never here."""

    __tablename__ = "customers"
    __table_args__ = of_tenant(
        refers("zone_id", "zones"),
        refers("operator_id", "operators"),
        UniqueConstraint("tenant_id", "account_number"),
        UniqueConstraint("tenant_id", "email"),
        Index("ix_customers_operator", "tenant_id", "operator_id"),
        Index("ix_customers_zone", "tenant_id", "zone_id"),
        Index("ix_customers_name", "tenant_id", "name_key", "id"),
        Index("ix_customers_status", "tenant_id", "status", "id"),
        Index("ix_customers_joined", "tenant_id", "joined_at", "id"),
        Index("ix_customers_mobile", "tenant_id", "mobile", postgresql_ops={"mobile": "text_pattern_ops"}),
        _trigrams("ix_customers_search", "name_key", "mobile", "email", "account_number"),
    )

    account_number: Mapped[str] = mapped_column(String(24))
    version: Mapped[int] = mapped_column(default=1)
    name: Mapped[str] = mapped_column(String(255))
    name_key: Mapped[str] = mapped_column(Text, Computed("lower((name)::text)", persisted=True), deferred=True)
    """What lists by name are sorted by, and what a search looks into."""
    mobile: Mapped[str] = mapped_column(String(20))
    email: Mapped[str | None] = mapped_column(String(320))
    company: Mapped[str | None] = mapped_column(String(255))
    street: Mapped[str | None] = mapped_column(String(500))
    city: Mapped[str | None] = mapped_column(String(100))
    state: Mapped[str | None] = mapped_column(String(100))
    postal_code: Mapped[str | None] = mapped_column(String(20))
    country: Mapped[str | None] = mapped_column(String(100))
    zone_id: Mapped[UUID | None]
    operator_id: Mapped[UUID]
    status: Mapped[CustomerStatus] = mapped_column(names(CustomerStatus))
    status_reason: Mapped[str | None] = mapped_column(String(255))
    joined_at: Mapped[datetime] = moment()
    updated_at: Mapped[datetime] = moment()
    password_hash: Mapped[str | None] = mapped_column(String(200))
    """Of the sign-in of the customer; unrelated to the network password. None: the customer has none yet."""
    token_version: Mapped[int] = mapped_column(default=1, server_default="1")
    """Counted up to end every sign-in of the customer, and every code that was sent."""
    portal_access: Mapped[bool] = mapped_column(default=True, server_default=true())
    """Whether the customer, and the admin of its portal, may sign in."""
    language: Mapped[str | None] = mapped_column(String(35))
    """In which the customer is written to, such as bn; None: in that of the tenant."""
    sms_opt_out: Mapped[bool] = mapped_column(default=False, server_default=false())
    email_opt_out: Mapped[bool] = mapped_column(default=False, server_default=false())


class CustomFieldValue(TenantRow):
    """A customer's answer to one custom field."""

    __tablename__ = "custom_field_values"
    __table_args__ = of_tenant(
        refers("customer_id", "customers"),
        refers("field_id", "custom_fields"),
        UniqueConstraint("tenant_id", "customer_id", "field_id"),
    )

    customer_id: Mapped[UUID]
    field_id: Mapped[UUID]
    value: Mapped[object] = mapped_column(JSONB)


class Service(TenantRow):
    """One package on one connection. `password` is sealed (`domain.secrets`) and bound to this row."""

    __tablename__ = "services"
    __table_args__ = of_tenant(
        refers("customer_id", "customers"),
        refers("package_id", "packages"),
        refers("router_id", "routers"),
        UniqueConstraint("tenant_id", "username"),
        Index(
            "uq_services_ip_address",
            "tenant_id",
            "ip_address",
            unique=True,
            postgresql_where="status <> 'TERMINATED'",
        ),
        Index("ix_services_customer", "tenant_id", "customer_id"),
        Index("ix_services_package", "tenant_id", "package_id"),
        Index("uq_services_primary", "tenant_id", "customer_id", unique=True, postgresql_where="is_primary"),
        Index("ix_services_renewal", "tenant_id", "expires_at", postgresql_where="auto_renew"),
        _trigrams("ix_services_search", "username"),
        CheckConstraint("username = lower(username)", name="username_lower"),
    )

    customer_id: Mapped[UUID]
    package_id: Mapped[UUID]
    router_id: Mapped[UUID | None]
    is_primary: Mapped[bool] = mapped_column(default=True)
    connection_type: Mapped[ConnectionType] = mapped_column(names(ConnectionType))
    status: Mapped[ServiceStatus] = mapped_column(names(ServiceStatus))
    username: Mapped[str] = mapped_column(String(64))
    password: Mapped[bytes]
    profile: Mapped[str | None] = mapped_column(String(64))
    device_type: Mapped[str | None] = mapped_column(String(100))
    ip_address: Mapped[str | None] = mapped_column(INET)
    subnet: Mapped[str | None] = mapped_column(CIDR)
    configuration: Mapped[str | None] = mapped_column(Text)
    started_at: Mapped[datetime | None] = mapped_column(Instant)
    expires_at: Mapped[datetime | None] = mapped_column(Instant)
    billing_anchor: Mapped[datetime | None] = mapped_column(Instant)
    """What its billing periods are counted from, the beginning of one of them; None: from `expires_at`."""
    suspend_on: Mapped[date | None]
    suspend_reason: Mapped[SuspendReason | None] = mapped_column(names(SuspendReason))
    suspended_at: Mapped[datetime | None] = mapped_column(Instant)
    auto_renew: Mapped[bool] = mapped_column(default=False)
    renewal_told_for: Mapped[datetime | None] = mapped_column(Instant)
    """The end of the period after which the wallet did not cover another one, as the customer was told."""
    desired_version: Mapped[int] = mapped_column(default=1)
    """Grows with every change that the network should know of."""
    applied_version: Mapped[int] = mapped_column(default=0)
    """The newest version that was found in the network, on every router it concerns."""
    provisioning: Mapped[ProvisioningState] = mapped_column(names(ProvisioningState), default=ProvisioningState.PENDING)
    network_problem: Mapped[str | None] = mapped_column(Text)
    """Why it is not APPLIED."""
    drift: Mapped[list[dict[str, str | None]]] = mapped_column(JSONB, default=list)
    """What was last found on the router and should be otherwise: rows of path, property, expected, observed."""
    checked_at: Mapped[datetime | None] = mapped_column(Instant)
    created_at: Mapped[datetime] = moment()


class ServiceMac(TenantRow):
    """A device that a service is bound to, by its hardware address. A service without any may be used from all."""

    __tablename__ = "service_macs"
    __table_args__ = of_tenant(
        refers("service_id", "services"),
        UniqueConstraint("tenant_id", "service_id", "mac"),
        Index("ix_service_macs_mac", "tenant_id", "mac"),
        Index("uq_service_macs_login", "tenant_id", "mac", unique=True, postgresql_where="logs_in"),
    )

    service_id: Mapped[UUID]
    mac: Mapped[str] = mapped_column(MACADDR)
    logs_in: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Of a hotspot: the device logs in by this address alone, so it belongs to no other hotspot service."""


class Draft(TenantRow):
    """An unfinished creation. Each step's answers stand in a column of their own, null until saved."""

    __tablename__ = "drafts"
    __table_args__ = of_tenant(
        refers("package_id", "packages"),
        refers("zone_id", "zones"),
        refers("router_id", "routers"),
        refers("created_by_id", "operators"),
        refers("modified_by_id", "operators"),
        refers("customer_id", "customers"),
        Index("ix_drafts_created_by", "tenant_id", "created_by_id", "id"),
        Index("ix_drafts_expires_at", "expires_at", postgresql_where="status IN ('DRAFT', 'PARTIAL', 'FAILED')"),
    )

    version: Mapped[int] = mapped_column(default=1)
    status: Mapped[DraftStatus] = mapped_column(names(DraftStatus), default=DraftStatus.DRAFT)
    current_step: Mapped[WizardStep] = mapped_column(names(WizardStep), default=WizardStep.BASICS)
    completed_steps: Mapped[list[str]] = mapped_column(ARRAY(String(20)), default=list)
    basics: Mapped[dict[str, object] | None] = mapped_column(JSONB(none_as_null=True))
    connection: Mapped[dict[str, object] | None] = mapped_column(JSONB(none_as_null=True))
    password: Mapped[bytes | None]
    router_id: Mapped[UUID | None]
    package_id: Mapped[UUID | None]
    package_price_minor: Mapped[int | None] = mapped_column(BigInteger)
    address: Mapped[dict[str, object] | None] = mapped_column(JSONB(none_as_null=True))
    zone_id: Mapped[UUID | None]
    custom_fields: Mapped[dict[str, object] | None] = mapped_column(JSONB(none_as_null=True))
    payment: Mapped[dict[str, object] | None] = mapped_column(JSONB(none_as_null=True))
    created_by_id: Mapped[UUID]
    modified_by_id: Mapped[UUID]
    created_at: Mapped[datetime] = moment()
    updated_at: Mapped[datetime] = moment()
    expires_at: Mapped[datetime] = mapped_column(Instant)
    customer_id: Mapped[UUID | None]
    outcome: Mapped[dict[str, object] | None] = mapped_column(JSONB(none_as_null=True))
    """What confirming made, as ids: confirming again answers with the same."""


class DraftLogEntry(TenantRow):
    """One attempt at one step of a draft, kept also when it failed."""

    __tablename__ = "draft_log"
    __table_args__ = of_tenant(
        refers("draft_id", "drafts"),
        refers("by_id", "operators"),
        Index("ix_draft_log_draft", "tenant_id", "draft_id", "id"),
    )

    draft_id: Mapped[UUID]
    step: Mapped[WizardStep] = mapped_column(names(WizardStep))
    succeeded: Mapped[bool]
    error: Mapped[str | None] = mapped_column(Text)
    at: Mapped[datetime] = moment()
    by_id: Mapped[UUID]

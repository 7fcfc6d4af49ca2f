"""Tenants, their operators, and who is signed in."""

import enum
from datetime import date, datetime, time
from decimal import Decimal
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Date,
    ForeignKey,
    Index,
    Integer,
    Numeric,
    String,
    Time,
    UniqueConstraint,
    Uuid,
    false,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, INET, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from ispgraph import ids
from ispgraph.db import Base
from ispgraph.domain.models.base import Instant, TenantRow, moment, names, of_tenant, refers


class Role(enum.Enum):
    SUPER_ADMIN = "SUPER_ADMIN"
    ADMIN = "ADMIN"
    OPERATOR = "OPERATOR"
    SUB_OPERATOR = "SUB_OPERATOR"
    MANAGER = "MANAGER"
    ACCOUNTANT = "ACCOUNTANT"
    STAFF = "STAFF"
    CUSTOMER = "CUSTOMER"


class Suspension(enum.Enum):
    """What the network does with a customer who is suspended, or whose time is over."""

    REJECT = "REJECT"
    """A login is refused."""
    WALLED_GARDEN = "WALLED_GARDEN"
    """A login is accepted into a small network where there is little but a page to pay on."""


class Tenant(Base):
    """An ISP. Its row is the settings of the house: money, time, and what the wizard demands."""

    __tablename__ = "tenants"
    __table_args__ = (
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency"),
        CheckConstraint("country ~ '^[A-Z]{2}$'", name="country"),
        CheckConstraint("tax_rate >= 0 AND tax_rate <= 100", name="tax_rate"),
        CheckConstraint("walled_kbps BETWEEN 8 AND 1000000", name="walled_kbps"),
        CheckConstraint("dunning_grace_days BETWEEN 0 AND 60", name="dunning_grace_days"),
        CheckConstraint("(quiet_from IS NULL) = (quiet_until IS NULL)", name="quiet"),
        CheckConstraint("page_color ~ '^#[0-9a-f]{6}$'", name="page_color"),
        CheckConstraint("usage_detail_days = 0 OR usage_detail_days BETWEEN 62 AND 3700", name="usage_detail_days"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=ids.uuid7)
    slug: Mapped[str] = mapped_column(String(40), unique=True)
    name: Mapped[str] = mapped_column(String(120))
    currency: Mapped[str] = mapped_column(String(3))
    country: Mapped[str] = mapped_column(String(2))
    time_zone: Mapped[str] = mapped_column(String(60))
    tax_rate: Mapped[Decimal] = mapped_column(Numeric(6, 3), default=Decimal(0))
    """Per cent, where no tax profile says another one."""
    tax_inclusive: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Whether prices have the tax in them."""
    invoice_due_days: Mapped[int] = mapped_column(default=7)
    account_prefix: Mapped[str] = mapped_column(String(8), default="")
    email_required: Mapped[bool] = mapped_column(default=True)
    pending_until_paid: Mapped[bool] = mapped_column(default=False)
    suspension: Mapped[Suspension] = mapped_column(names(Suspension), default=Suspension.REJECT)
    walled_address_list: Mapped[str] = mapped_column(String(63), default="suspended")
    """The address list of the routers in which those in the walled garden stand."""
    walled_pool: Mapped[str | None] = mapped_column(String(63))
    """The pool of the routers from which they get their addresses; None: from the usual one."""
    walled_kbps: Mapped[int] = mapped_column(default=512)
    locale: Mapped[str | None] = mapped_column(String(35))
    """Whose way of writing amounts it is, such as en-IN; None: that of the country."""
    legal_name: Mapped[str | None] = mapped_column(String(200))
    """This and what follows stands on invoices and receipts; without it `name` does."""
    address: Mapped[str | None] = mapped_column(String(500))
    """In lines."""
    phone: Mapped[str | None] = mapped_column(String(20))
    email: Mapped[str | None] = mapped_column(String(320))
    tax_number: Mapped[str | None] = mapped_column(String(60))
    footer: Mapped[str | None] = mapped_column(String(500))
    """In lines: how to pay, thanks, the register of the company."""
    dunning_before: Mapped[list[int]] = mapped_column(ARRAY(Integer), default=lambda: [3], server_default="{3}")
    """How many days before the due day of an invoice its customer is reminded."""
    dunning_after: Mapped[list[int]] = mapped_column(ARRAY(Integer), default=lambda: [1, 3], server_default="{1,3}")
    """And how many days after it."""
    dunning_grace_days: Mapped[int] = mapped_column(default=3, server_default="3")
    """How many days after the due day a service goes on."""
    dunning_holidays: Mapped[list[date]] = mapped_column(ARRAY(Date), default=list, server_default="{}")
    """Days that are no days of grace, and on which nobody is suspended for an invoice."""
    dunning_at: Mapped[time] = mapped_column(Time, default=time(9), server_default="09:00")
    """When reminders go out and services are suspended, by the tenant's clock."""
    message_language: Mapped[str] = mapped_column(String(35), default="en", server_default="en")
    """In which customers are written to who have none of their own."""
    sms_enabled: Mapped[bool] = mapped_column(default=True, server_default=true())
    quiet_from: Mapped[time | None] = mapped_column(Time)
    """From then on SMS that can wait do so, by the tenant's clock; past midnight when `quiet_until` is earlier."""
    quiet_until: Mapped[time | None] = mapped_column(Time)
    page_color: Mapped[str | None] = mapped_column(String(7))
    """Of the pages on which customers pay and redeem, as #rrggbb; None: the product's own."""
    hosting_follows_invoices: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Whether hosting accounts are suspended for as long as a service of their customer is because of debts."""
    usage_detail_days: Mapped[int] = mapped_column(default=400, server_default="400")
    """How long usage is known by the quarter of an hour; 0: for ever."""
    created_at: Mapped[datetime] = moment()


class TenantLogo(Base):
    """The picture on a tenant's letterhead, as it was made from what was sent."""

    __tablename__ = "tenant_logos"
    __table_args__ = (CheckConstraint("width > 0 AND height > 0", name="size"),)

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    media_type: Mapped[str] = mapped_column(String(20))
    width: Mapped[int]
    height: Mapped[int]
    body: Mapped[bytes] = mapped_column(deferred=True)


class Operator(TenantRow):
    """A person of the ISP or of a reseller. `ancestors` lists every operator above, root first."""

    __tablename__ = "operators"
    __table_args__ = of_tenant(
        refers("parent_id", "operators"),
        UniqueConstraint("tenant_id", "email"),
        CheckConstraint("sms_credits >= 0", name="sms_credits"),
        CheckConstraint("credit_limit_minor >= 0", name="credit_limit"),
        Index("ix_operators_ancestors", "ancestors", postgresql_using="gin"),
    )

    name: Mapped[str] = mapped_column(String(120))
    email: Mapped[str] = mapped_column(String(320))
    password_hash: Mapped[str] = mapped_column(String(200))
    role: Mapped[Role] = mapped_column(names(Role))
    level: Mapped[int]
    parent_id: Mapped[UUID | None]
    ancestors: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid()), default=list)
    permissions: Mapped[list[str]] = mapped_column(ARRAY(String(40)), default=list)
    active: Mapped[bool] = mapped_column(default=True)
    token_version: Mapped[int] = mapped_column(default=1)
    sms_credits: Mapped[int] = mapped_column(default=0)
    """What a reseller may still send, in parts of messages."""
    credits_told_at: Mapped[datetime | None] = mapped_column(Instant)
    """When it was last told that few are left."""
    credit_limit_minor: Mapped[int | None] = mapped_column(BigInteger)
    """How far below zero the wallet may go by what a reseller buys; None: not at all."""
    created_at: Mapped[datetime] = moment()


class SignIn(TenantRow):
    """One signed-in operator on one device; every token names one of these, so it can be ended at once."""

    __tablename__ = "sign_ins"
    __table_args__ = of_tenant(
        refers("operator_id", "operators"),
        refers("acting_id", "operators"),
        CheckConstraint("(acting_id IS NULL) = (acting_version IS NULL)", name="acting"),
        Index("ix_sign_ins_operator", "tenant_id", "operator_id", "id"),
        Index("ix_sign_ins_acting", "tenant_id", "acting_id", postgresql_where=text("acting_id IS NOT NULL")),
    )

    operator_id: Mapped[UUID]
    token_version: Mapped[int]
    created_at: Mapped[datetime] = moment()
    expires_at: Mapped[datetime] = mapped_column(Instant, index=True)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    address: Mapped[str | None] = mapped_column(INET)
    user_agent: Mapped[str | None] = mapped_column(String(300))
    acting_id: Mapped[UUID | None]
    """Who has signed in in the operator's place, from above; None: the operator."""
    acting_version: Mapped[int | None]
    """The token_version of whoever that is."""


class AuditEntry(TenantRow):
    """Who did what to which object. Rows are only ever added."""

    __tablename__ = "audit_entries"
    __table_args__ = of_tenant(
        refers("operator_id", "operators"),
        Index("ix_audit_entries_subject", "tenant_id", "subject_id", "id"),
        Index("ix_audit_entries_operator", "tenant_id", "operator_id", "id"),
        Index("ix_audit_entries_action", "tenant_id", "action", "id", postgresql_ops={"action": "text_pattern_ops"}),
    )

    at: Mapped[datetime] = moment()
    operator_id: Mapped[UUID | None]
    action: Mapped[str] = mapped_column(String(60))
    subject_id: Mapped[UUID | None]
    details: Mapped[dict[str, object]] = mapped_column(JSONB, default=dict)


class IdempotencyKey(Base):
    """The first answer to an effect, kept so that a repeated request gets it again."""

    __tablename__ = "idempotency_keys"

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    operator_id: Mapped[UUID] = mapped_column(primary_key=True)
    operation: Mapped[str] = mapped_column(String(60), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    input_hash: Mapped[bytes]
    answer: Mapped[dict[str, object] | None] = mapped_column(JSONB)
    created_at: Mapped[datetime] = moment(index=True)


class ScheduledRun(Base):
    """A scheduled task of one tenant that has run for one day."""

    __tablename__ = "scheduled_runs"

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    task: Mapped[str] = mapped_column(String(40), primary_key=True)
    run_on: Mapped[date] = mapped_column(primary_key=True)
    ran_at: Mapped[datetime] = moment()

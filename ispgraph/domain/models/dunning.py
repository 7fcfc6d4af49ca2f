"""How a customer is billed, when a service is to be suspended, and what was done about invoices that were not paid."""

import enum
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from ispgraph.db import Base
from ispgraph.domain.models.base import Instant, moment, names, refers
from ispgraph.domain.models.billing import PaymentMethod
from ispgraph.domain.models.catalogue import BillingCycle

LAST_DAY_OF_ALL = 28
"""The last day that every month has."""
MOST_GRACE_DAYS = 60
MOST_REMIND_DAYS = 30


class DunningKind(enum.Enum):
    REMINDER = "REMINDER"
    SUSPENSION = "SUSPENSION"


class DunningOutcome(enum.Enum):
    SENT = "SENT"
    PASSED_OVER = "PASSED_OVER"
    """A reminder whose day went by while no program ran, or that something stronger took the place of."""
    SUSPENDED = "SUSPENDED"


class BillingProfile(Base):
    """What is agreed with one customer about billing. There is no row where nothing is: the defaults count.

    Whether a service is renewed from the wallet is its own business: `Service.auto_renew`.
    """

    __tablename__ = "billing_profiles"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "customer_id"], ["customers.tenant_id", "customers.id"], ondelete="CASCADE"),
        CheckConstraint("billing_cycle <> 'ONE_TIME'", name="recurs"),
        CheckConstraint(f"billing_day BETWEEN 1 AND {LAST_DAY_OF_ALL}", name="billing_day"),
        CheckConstraint(f"grace_days BETWEEN 0 AND {MOST_GRACE_DAYS}", name="grace_days"),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    customer_id: Mapped[UUID] = mapped_column(primary_key=True)
    billing_cycle: Mapped[BillingCycle | None] = mapped_column(names(BillingCycle))
    """None: that of the package."""
    billing_day: Mapped[int | None]
    """The day of the month on which periods end; None: as they happen to."""
    grace_days: Mapped[int | None]
    """None: as many as the tenant gives."""
    auto_generate: Mapped[bool] = mapped_column(default=True)
    """Whether the billing run makes invoices."""
    auto_suspend: Mapped[bool] = mapped_column(default=True)
    """Whether services are suspended when invoices are not paid."""
    payment_method: Mapped[PaymentMethod | None] = mapped_column(names(PaymentMethod))
    contact_name: Mapped[str | None] = mapped_column(String(255))
    """With the next two: who is written to about invoices; None: the customer."""
    contact_email: Mapped[str | None] = mapped_column(String(320))
    contact_mobile: Mapped[str | None] = mapped_column(String(20))
    updated_at: Mapped[datetime] = moment()


class SuspendRule(Base):
    """That a service is to be suspended on the day in its `suspend_on`. There is a row where that is set."""

    __tablename__ = "suspend_rules"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "service_id"], ["services.tenant_id", "services.id"], ondelete="CASCADE"),
        CheckConstraint(f"recurring_day BETWEEN 1 AND {LAST_DAY_OF_ALL}", name="recurring_day"),
        CheckConstraint(f"remind_days_before BETWEEN 1 AND {MOST_REMIND_DAYS}", name="remind_days_before"),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    service_id: Mapped[UUID] = mapped_column(primary_key=True)
    recurring_day: Mapped[int | None]
    """The day of every month; None: once."""
    remind_days_before: Mapped[int | None]
    reminded_for: Mapped[date | None]
    """Of which day of suspension the customer was told."""


class DunningStep(Base):
    """One thing done about an invoice that is not paid: once for ever. Rows are only ever added.

    `counted_from` is the due day, or the day of a refund by which it was owed again; `days` are counted from there,
    below zero before it, and 0 for a suspension, of which there is one.
    """

    __tablename__ = "dunning_steps"
    __table_args__ = (refers("invoice_id", "invoices"),)

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    invoice_id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[DunningKind] = mapped_column(names(DunningKind), primary_key=True)
    counted_from: Mapped[date] = mapped_column(primary_key=True)
    days: Mapped[int] = mapped_column(primary_key=True)
    planned_on: Mapped[date]
    rule: Mapped[str] = mapped_column(Text)
    """Which rule made the day, for a person."""
    outcome: Mapped[DunningOutcome] = mapped_column(names(DunningOutcome))
    done_at: Mapped[datetime] = mapped_column(Instant)

"""What operators earn by the payments of their customers, and the money that goes between them and the provider.

All of it is only ever added. Amounts in minor units of the tenant's currency.
"""

import enum
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, Numeric, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from ispgraph.domain.models.base import Instant, TenantRow, moment, names, of_tenant, refers
from ispgraph.domain.models.billing import PaymentMethod


class CommissionRate(TenantRow):
    """What an operator earns from a moment on, until the next rate for the same package or, without one, in general.

    A share in percent, or a fixed amount for each invoice; with neither the rate before ends. Of two from the same
    moment the one that was said later counts.
    """

    __tablename__ = "commission_rates"
    __table_args__ = of_tenant(
        refers("operator_id", "operators"),
        refers("package_id", "packages"),
        refers("by_id", "operators"),
        Index("ix_commission_rates_operator", "tenant_id", "operator_id", "valid_from", "id"),
        CheckConstraint("percent BETWEEN 0 AND 100", name="percent"),
        CheckConstraint("fixed_minor > 0", name="fixed"),
        CheckConstraint("percent IS NULL OR fixed_minor IS NULL", name="one_of_both"),
    )

    operator_id: Mapped[UUID]
    package_id: Mapped[UUID | None]
    percent: Mapped[Decimal | None] = mapped_column(Numeric(6, 3))
    fixed_minor: Mapped[int | None] = mapped_column(BigInteger)
    valid_from: Mapped[datetime] = mapped_column(Instant)
    created_at: Mapped[datetime] = moment()
    by_id: Mapped[UUID | None]


class CommissionShare(TenantRow):
    """By which rate an operator earns from one allocation: the one that held when it was made. Once for each."""

    __tablename__ = "commission_shares"
    __table_args__ = of_tenant(
        refers("allocation_id", "allocations"),
        refers("invoice_id", "invoices"),
        refers("operator_id", "operators"),
        refers("rate_id", "commission_rates"),
        UniqueConstraint("tenant_id", "allocation_id", "operator_id"),
        Index("ix_commission_shares_invoice", "tenant_id", "invoice_id"),
    )

    allocation_id: Mapped[UUID]
    invoice_id: Mapped[UUID]
    operator_id: Mapped[UUID]
    rate_id: Mapped[UUID]


class Commission(TenantRow):
    """What was booked for an operator on account of an invoice: earned above zero, taken back below."""

    __tablename__ = "commissions"
    __table_args__ = of_tenant(
        refers("operator_id", "operators"),
        refers("invoice_id", "invoices"),
        refers("journal_id", "journals"),
        UniqueConstraint("tenant_id", "journal_id", "operator_id"),
        Index("ix_commissions_invoice", "tenant_id", "invoice_id", "operator_id"),
        CheckConstraint("amount_minor <> 0", name="amount"),
    )

    operator_id: Mapped[UUID]
    invoice_id: Mapped[UUID]
    journal_id: Mapped[UUID]
    amount_minor: Mapped[int] = mapped_column(BigInteger)


class OperatorPaymentKind(enum.Enum):
    TOP_UP = "TOP_UP"
    """The operator pays into the wallet."""
    PAYOUT = "PAYOUT"
    """The operator is paid from the wallet."""
    ADJUSTMENT = "ADJUSTMENT"
    """The wallet is put right, and no money changes hands."""


class OperatorEntryKind(enum.Enum):
    """What moved an operator's wallet: commission, or a payment of one of the kinds above."""

    COMMISSION = "COMMISSION"
    TOP_UP = "TOP_UP"
    PAYOUT = "PAYOUT"
    ADJUSTMENT = "ADJUSTMENT"


class OperatorPayment(TenantRow):
    """Money between an operator and the provider: into the operator's wallet above zero, out of it below."""

    __tablename__ = "operator_payments"
    __table_args__ = of_tenant(
        refers("operator_id", "operators"),
        refers("journal_id", "journals"),
        refers("by_id", "operators"),
        UniqueConstraint("tenant_id", "journal_id"),
        Index("ix_operator_payments_operator", "tenant_id", "operator_id", "id"),
        CheckConstraint(
            "CASE kind WHEN 'TOP_UP' THEN amount_minor > 0 WHEN 'PAYOUT' THEN amount_minor < 0"
            " ELSE amount_minor <> 0 END",
            name="amount",
        ),
        CheckConstraint("(kind = 'ADJUSTMENT') = (method IS NULL)", name="method"),
    )

    operator_id: Mapped[UUID]
    kind: Mapped[OperatorPaymentKind] = mapped_column(names(OperatorPaymentKind))
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    method: Mapped[PaymentMethod | None] = mapped_column(names(PaymentMethod))
    reference: Mapped[str | None] = mapped_column(String(255))
    notes: Mapped[str | None] = mapped_column(String(500))
    journal_id: Mapped[UUID]
    at: Mapped[datetime] = moment()
    by_id: Mapped[UUID | None]

"""Invoices, payments, and the ledger that both are posted to. All amounts in minor units of the tenant's currency."""

import enum
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    Numeric,
    String,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.orm import Mapped, mapped_column

from ispgraph.db import Base
from ispgraph.domain.models.base import Instant, TenantRow, moment, names, of_tenant, refers


class InvoiceStatus(enum.Enum):
    DRAFT = "DRAFT"
    OPEN = "OPEN"
    PARTIALLY_PAID = "PARTIALLY_PAID"
    PAID = "PAID"
    VOID = "VOID"


class PaymentMethod(enum.Enum):
    CASH = "CASH"
    BANK_TRANSFER = "BANK_TRANSFER"
    CARD = "CARD"
    MOBILE_MONEY = "MOBILE_MONEY"
    ONLINE = "ONLINE"
    WALLET = "WALLET"
    VOUCHER = "VOUCHER"
    OTHER = "OTHER"


class PaymentStatus(enum.Enum):
    PENDING = "PENDING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    REFUNDED = "REFUNDED"


class InvoiceKind(enum.Enum):
    INVOICE = "INVOICE"
    CREDIT_NOTE = "CREDIT_NOTE"
    """Takes back a part of an invoice, or all of it: its amounts are below zero, and what it gives is in the wallet."""


class PaymentCategory(enum.Enum):
    SERVICE = "SERVICE"
    ADVANCE = "ADVANCE"
    INSTALLATION = "INSTALLATION"
    EQUIPMENT = "EQUIPMENT"
    MAINTENANCE = "MAINTENANCE"
    LATE_FEE = "LATE_FEE"
    RECHARGE = "RECHARGE"
    OTHER = "OTHER"


class Account(enum.Enum):
    """The chart of accounts. Receivable and wallet are kept per customer, the operator wallet per operator, cash per
    method of payment. Vouchers: what resellers have paid for and nobody has redeemed, less what was redeemed of the
    provider's own."""

    RECEIVABLE = "RECEIVABLE"
    WALLET = "WALLET"
    REVENUE = "REVENUE"
    TAX = "TAX"
    CASH = "CASH"
    GATEWAY_CLEARING = "GATEWAY_CLEARING"
    COMMISSION = "COMMISSION"
    OPERATOR_WALLET = "OPERATOR_WALLET"
    ADJUSTMENT = "ADJUSTMENT"
    VOUCHERS = "VOUCHERS"


class NumberSeries(Base):
    """The last number given in a series of one tenant. Taken under its row lock, last in a transaction, so that
    numbers have no gaps: a rolled back transaction gives its number back."""

    __tablename__ = "number_series"

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    series: Mapped[str] = mapped_column(String(20), primary_key=True)
    last: Mapped[int] = mapped_column(BigInteger, default=0)


class Invoice(TenantRow):
    """A demand for money. From OPEN on only its status and what is paid of it may change (trigger)."""

    __tablename__ = "invoices"
    __table_args__ = of_tenant(
        refers("customer_id", "customers"),
        refers("service_id", "services"),
        UniqueConstraint("tenant_id", "number"),
        Index("ix_invoices_customer", "tenant_id", "customer_id", "id"),
        Index("ix_invoices_status", "tenant_id", "status", "id"),
        Index("ix_invoices_number", "tenant_id", "number", postgresql_ops={"number": "text_pattern_ops"}),
        CheckConstraint("total_minor = subtotal_minor + tax_minor", name="total"),
        CheckConstraint("paid_minor BETWEEN 0 AND greatest(total_minor, 0)", name="paid"),
        CheckConstraint("(status = 'DRAFT') = (number IS NULL)", name="numbered_when_open"),
        CheckConstraint("period_start < period_end", name="period"),
        refers("credits_id", "invoices"),
        Index("ix_invoices_credits", "tenant_id", "credits_id", postgresql_where="credits_id IS NOT NULL"),
        CheckConstraint(
            "CASE kind WHEN 'INVOICE' THEN credits_id IS NULL AND total_minor >= 0"
            " ELSE credits_id IS NOT NULL AND total_minor < 0 END",
            name="credit_notes",
        ),
    )

    kind: Mapped[InvoiceKind] = mapped_column(
        names(InvoiceKind), default=InvoiceKind.INVOICE, server_default=InvoiceKind.INVOICE.value
    )
    credits_id: Mapped[UUID | None]
    """Which invoice a credit note takes back."""
    customer_id: Mapped[UUID]
    service_id: Mapped[UUID | None]
    number: Mapped[str | None] = mapped_column(String(30))
    status: Mapped[InvoiceStatus] = mapped_column(names(InvoiceStatus), default=InvoiceStatus.DRAFT)
    issued_on: Mapped[date | None]
    due_on: Mapped[date | None]
    period_start: Mapped[datetime | None] = mapped_column(Instant)
    period_end: Mapped[datetime | None] = mapped_column(Instant)
    subtotal_minor: Mapped[int] = mapped_column(BigInteger)
    tax_minor: Mapped[int] = mapped_column(BigInteger)
    total_minor: Mapped[int] = mapped_column(BigInteger)
    paid_minor: Mapped[int] = mapped_column(BigInteger, default=0)
    notes: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = moment()


class InvoiceLine(TenantRow):
    """One line of an invoice; `amount_minor` is without tax, the price with it where `tax_included`."""

    __tablename__ = "invoice_lines"
    __table_args__ = of_tenant(
        refers("invoice_id", "invoices"),
        Index("ix_invoice_lines_invoice", "tenant_id", "invoice_id", "position"),
    )

    invoice_id: Mapped[UUID]
    position: Mapped[int] = mapped_column(Integer)
    description: Mapped[str] = mapped_column(String(300))
    quantity: Mapped[Decimal] = mapped_column(Numeric(14, 4))
    unit_price_minor: Mapped[int] = mapped_column(BigInteger)
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    tax_rate: Mapped[Decimal] = mapped_column(Numeric(6, 3))
    tax_minor: Mapped[int] = mapped_column(BigInteger)
    tax_included: Mapped[bool] = mapped_column(default=False, server_default=false())
    explanation: Mapped[str | None] = mapped_column(Text)


class BilledPeriod(TenantRow):
    """Time of a service that is charged, once: no two that are not released overlap, whatever invoices they are on.

    A void releases it. A package that is changed within a period cuts it in two: what is not used is released with its
    part of the price, and says which document gave it back.
    """

    __tablename__ = "billed_periods"
    __table_args__ = of_tenant(
        refers("service_id", "services"),
        refers("invoice_id", "invoices"),
        refers("package_id", "packages"),
        refers("given_back_by_id", "invoices"),
        Index("ix_billed_periods_invoice", "tenant_id", "invoice_id"),
        Index(
            "ix_billed_periods_given_back",
            "tenant_id",
            "given_back_by_id",
            postgresql_where="given_back_by_id IS NOT NULL",
        ),
        CheckConstraint("given_back_by_id IS NULL OR released_at IS NOT NULL", name="given_back"),
        CheckConstraint("starts_at < ends_at", name="period"),
        CheckConstraint("price_minor >= 0", name="price"),
        ExcludeConstraint(
            ("service_id", "="),
            (text("tstzrange(starts_at, ends_at)"), "&&"),
            where=text("released_at IS NULL"),
            name="ex_billed_periods_once",
        ),
    )

    service_id: Mapped[UUID]
    invoice_id: Mapped[UUID]
    package_id: Mapped[UUID]
    starts_at: Mapped[datetime] = mapped_column(Instant)
    ends_at: Mapped[datetime] = mapped_column(Instant)
    price_minor: Mapped[int] = mapped_column(BigInteger)
    """For the whole of it; the tax, of `tax_rate` percent, is on top of it or, `tax_included`, in it."""
    tax_rate: Mapped[Decimal] = mapped_column(Numeric(6, 3))
    tax_included: Mapped[bool]
    released_at: Mapped[datetime | None] = mapped_column(Instant)
    given_back_by_id: Mapped[UUID | None]
    """The invoice or credit note that has a credit for it."""


class Payment(TenantRow):
    """Money received from a customer."""

    __tablename__ = "payments"
    __table_args__ = of_tenant(
        refers("customer_id", "customers"),
        refers("collected_by_id", "operators"),
        UniqueConstraint("tenant_id", "number"),
        Index("ix_payments_customer", "tenant_id", "customer_id", "id"),
        Index("ix_payments_reference", "tenant_id", "reference", postgresql_where="reference IS NOT NULL"),
        CheckConstraint("amount_minor > 0", name="amount"),
    )

    customer_id: Mapped[UUID]
    number: Mapped[str] = mapped_column(String(30))
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    method: Mapped[PaymentMethod] = mapped_column(names(PaymentMethod))
    status: Mapped[PaymentStatus] = mapped_column(names(PaymentStatus))
    category: Mapped[PaymentCategory] = mapped_column(names(PaymentCategory))
    reference: Mapped[str | None] = mapped_column(String(255))
    notes: Mapped[str | None] = mapped_column(String(500))
    received_at: Mapped[datetime] = moment()
    collected_by_id: Mapped[UUID | None]


class Allocation(TenantRow):
    """The part of a payment that settles one invoice. What is not allocated went to the wallet.

    Only `released_minor` changes: what a void or a refund has taken from the invoice again. It shrinks only where a
    refund is undone.
    """

    __tablename__ = "allocations"
    __table_args__ = of_tenant(
        refers("payment_id", "payments"),
        refers("invoice_id", "invoices"),
        Index("ix_allocations_payment", "tenant_id", "payment_id"),
        Index("ix_allocations_invoice", "tenant_id", "invoice_id"),
        CheckConstraint("amount_minor > 0", name="amount"),
        CheckConstraint("released_minor BETWEEN 0 AND amount_minor", name="released"),
    )

    payment_id: Mapped[UUID]
    invoice_id: Mapped[UUID]
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    released_minor: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    created_at: Mapped[datetime] = moment()


class AllocationRelease(TenantRow):
    """What was taken from an invoice again, and when: the `released_minor` of an allocation, one by one. Below zero
    where a refund was undone."""

    __tablename__ = "allocation_releases"
    __table_args__ = of_tenant(
        refers("allocation_id", "allocations"),
        Index("ix_allocation_releases_at", "tenant_id", "at"),
        CheckConstraint("amount_minor <> 0", name="amount"),
    )

    allocation_id: Mapped[UUID]
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime] = moment()


class Refund(TenantRow):
    """Money of a payment that was given back, by the way it came. Rows are only ever added: one that did not come about
    is undone by another, below zero."""

    __tablename__ = "refunds"
    __table_args__ = of_tenant(
        refers("payment_id", "payments"),
        refers("by_id", "operators"),
        refers("undoes_id", "refunds"),
        UniqueConstraint("tenant_id", "undoes_id"),
        Index("ix_refunds_payment", "tenant_id", "payment_id"),
        CheckConstraint("amount_minor <> 0 AND (amount_minor < 0) = (undoes_id IS NOT NULL)", name="amount"),
    )

    payment_id: Mapped[UUID]
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(String(255))
    at: Mapped[datetime] = moment()
    by_id: Mapped[UUID | None]
    undoes_id: Mapped[UUID | None]


class Journal(TenantRow):
    """One balanced event of the ledger: its postings sum to zero (deferred trigger)."""

    __tablename__ = "journals"
    __table_args__ = of_tenant(
        refers("invoice_id", "invoices"),
        refers("payment_id", "payments"),
        refers("refund_id", "refunds"),
        refers("by_id", "operators"),
        Index("ix_journals_at", "tenant_id", "at"),
    )

    at: Mapped[datetime] = moment()
    description: Mapped[str] = mapped_column(String(300))
    invoice_id: Mapped[UUID | None]
    payment_id: Mapped[UUID | None]
    refund_id: Mapped[UUID | None]
    by_id: Mapped[UUID | None]


class Posting(TenantRow):
    """One side of a journal. Debits are above zero, credits below."""

    __tablename__ = "postings"
    __table_args__ = of_tenant(
        refers("journal_id", "journals"),
        refers("customer_id", "customers"),
        refers("operator_id", "operators"),
        Index("ix_postings_journal", "tenant_id", "journal_id"),
        Index(
            "ix_postings_customer",
            "tenant_id",
            "customer_id",
            "id",
            postgresql_include=["account", "amount_minor"],
        ),
        Index(
            "ix_postings_operator",
            "tenant_id",
            "operator_id",
            "id",
            postgresql_include=["amount_minor"],
            postgresql_where="operator_id IS NOT NULL",
        ),
        CheckConstraint("amount_minor <> 0", name="amount"),
        CheckConstraint("(account IN ('RECEIVABLE', 'WALLET')) = (customer_id IS NOT NULL)", name="customer_account"),
        CheckConstraint("(account = 'OPERATOR_WALLET') = (operator_id IS NOT NULL)", name="operator_account"),
        CheckConstraint("(account = 'CASH') = (method IS NOT NULL)", name="cash_method"),
    )

    journal_id: Mapped[UUID]
    account: Mapped[Account] = mapped_column(names(Account))
    customer_id: Mapped[UUID | None]
    operator_id: Mapped[UUID | None]
    method: Mapped[PaymentMethod | None] = mapped_column(names(PaymentMethod))
    amount_minor: Mapped[int] = mapped_column(BigInteger)


class CustomerBalance(Base):
    """The sums of a customer's postings, one row for every customer, kept by triggers: the application only reads.

    `wallet_minor` above zero is money held for the customer, `receivable_minor` above zero what the customer owes.
    """

    __tablename__ = "customer_balances"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "customer_id"], ["customers.tenant_id", "customers.id"], ondelete="CASCADE"),
        Index("ix_customer_balances_balance", "tenant_id", "balance_minor", "customer_id"),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    customer_id: Mapped[UUID] = mapped_column(primary_key=True)
    receivable_minor: Mapped[int] = mapped_column(BigInteger)
    wallet_minor: Mapped[int] = mapped_column(BigInteger)
    balance_minor: Mapped[int] = mapped_column(BigInteger, Computed("wallet_minor - receivable_minor", persisted=True))
    """Above zero is credit, below zero is debt."""

"""Customers who are to go from one operator to another, and the invoices that somebody else still earns by."""

import enum
from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from ispgraph.domain.models.base import Instant, TenantRow, moment, names, of_tenant, refers


class TransferStatus(enum.Enum):
    PENDING_SOURCE = "PENDING_SOURCE"
    """Whoever has the customer is to agree."""
    PENDING_TARGET = "PENDING_TARGET"
    """Whoever is to get the customer is to agree."""
    APPROVED = "APPROVED"
    """Both have agreed, and the customer has changed hands."""
    REJECTED = "REJECTED"


class CustomerTransfer(TenantRow):
    """The request that a customer changes hands, with who agreed when. It is decided once, and kept.

    The customer's name and account number are those of the request: who sees the transfer may not see the customer.
    """

    __tablename__ = "customer_transfers"
    __table_args__ = of_tenant(
        refers("customer_id", "customers"),
        refers("from_operator_id", "operators"),
        refers("to_operator_id", "operators"),
        refers("requested_by_id", "operators"),
        refers("source_confirmed_by_id", "operators"),
        refers("target_confirmed_by_id", "operators"),
        refers("decided_by_id", "operators"),
        Index(
            "uq_customer_transfers_pending",
            "tenant_id",
            "customer_id",
            unique=True,
            postgresql_where=text("status IN ('PENDING_SOURCE', 'PENDING_TARGET')"),
        ),
        Index("ix_customer_transfers_customer", "tenant_id", "customer_id", "id"),
        Index("ix_customer_transfers_status", "tenant_id", "status", "id"),
        Index("ix_customer_transfers_from", "tenant_id", "from_operator_id", "id"),
        Index("ix_customer_transfers_to", "tenant_id", "to_operator_id", "id"),
        CheckConstraint("from_operator_id <> to_operator_id", name="operators"),
        CheckConstraint(
            "CASE status WHEN 'PENDING_SOURCE' THEN source_confirmed_at IS NULL"
            " WHEN 'PENDING_TARGET' THEN source_confirmed_at IS NOT NULL AND target_confirmed_at IS NULL"
            " WHEN 'APPROVED' THEN source_confirmed_at IS NOT NULL AND target_confirmed_at IS NOT NULL"
            " ELSE true END",
            name="confirmed",
        ),
        CheckConstraint("(status IN ('APPROVED', 'REJECTED')) = (decided_at IS NOT NULL)", name="decided"),
    )

    customer_id: Mapped[UUID]
    customer_name: Mapped[str] = mapped_column(String(255))
    account_number: Mapped[str] = mapped_column(String(24))
    from_operator_id: Mapped[UUID]
    to_operator_id: Mapped[UUID]
    transfer_invoices: Mapped[bool]
    """Whether the new operator earns by the invoices that are open; otherwise the former one goes on to."""
    reason: Mapped[str | None] = mapped_column(String(500))
    status: Mapped[TransferStatus] = mapped_column(names(TransferStatus))
    created_at: Mapped[datetime] = moment()
    requested_by_id: Mapped[UUID]
    source_confirmed_at: Mapped[datetime | None] = mapped_column(Instant)
    source_confirmed_by_id: Mapped[UUID | None]
    target_confirmed_at: Mapped[datetime | None] = mapped_column(Instant)
    target_confirmed_by_id: Mapped[UUID | None]
    decided_at: Mapped[datetime | None] = mapped_column(Instant)
    decided_by_id: Mapped[UUID | None]
    note: Mapped[str | None] = mapped_column(String(500))
    """What was said last, with a confirmation or the rejection."""


class InvoiceEarner(TenantRow):
    """Who earns by an invoice in place of the customer's operator, with those above: it was open when the customer
    was transferred without it. It goes when a later transfer takes the open invoices along."""

    __tablename__ = "invoice_earners"
    __table_args__ = of_tenant(
        refers("invoice_id", "invoices"),
        refers("operator_id", "operators"),
        refers("transfer_id", "customer_transfers"),
        UniqueConstraint("tenant_id", "invoice_id"),
    )

    invoice_id: Mapped[UUID]
    operator_id: Mapped[UUID]
    transfer_id: Mapped[UUID]

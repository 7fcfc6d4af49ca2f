"""Links by which customers pay, and what became of each attempt to pay with a gateway."""

import enum
from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, LargeBinary, String, Text, UniqueConstraint, Uuid
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from ispgraph.domain.models.base import Instant, TenantRow, moment, names, of_tenant, refers


class PaymentLinkStatus(enum.Enum):
    ACTIVE = "ACTIVE"
    PAID = "PAID"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"


class GatewayPaymentState(enum.Enum):
    STARTED = "STARTED"
    """We have asked the gateway, and do not know its answer yet."""
    PENDING = "PENDING"
    """The gateway, or for a bank transfer the customer, has it."""
    PAID = "PAID"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    IN_DOUBT = "IN_DOUBT"
    """What the gateway did or said leaves it open; the reason says why."""


class GatewayVerdict(enum.Enum):
    APPLIED = "APPLIED"
    """It brought the money."""
    NOTED = "NOTED"
    """It changed the state of a payment, or nothing."""
    ASKED = "ASKED"
    """It was not believed by itself: the gateway is asked."""
    UNKNOWN = "UNKNOWN"
    """It is about no payment of ours."""


class PaymentLink(TenantRow):
    """A page for one customer to pay on, at an address that nobody can guess.

    The token in the address is stored as its SHA-256, by which the page is found, and sealed, so that the address can
    be shown again; neither opens the page by itself.
    """

    __tablename__ = "payment_links"
    __table_args__ = of_tenant(
        refers("customer_id", "customers"),
        refers("invoice_id", "invoices"),
        refers("created_by_id", "operators"),
        UniqueConstraint("token_hash"),
        Index("ix_payment_links_customer", "tenant_id", "customer_id", "id"),
        CheckConstraint("amount_minor > 0", name="amount"),
        CheckConstraint("invoice_id IS NULL OR amount_minor IS NULL", name="asks_for_one"),
    )

    token_hash: Mapped[bytes] = mapped_column(LargeBinary)
    token_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    customer_id: Mapped[UUID]
    invoice_id: Mapped[UUID | None]
    amount_minor: Mapped[int | None] = mapped_column(BigInteger)
    """None: what is due of the invoice, or without one of everything that is open, at each time."""
    gateway_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid()), default=list)
    """Those that are offered; empty: every one in use."""
    expires_at: Mapped[datetime] = mapped_column(Instant)
    cancelled_at: Mapped[datetime | None] = mapped_column(Instant)
    open_count: Mapped[int] = mapped_column(default=0)
    last_opened_at: Mapped[datetime | None] = mapped_column(Instant)
    created_at: Mapped[datetime] = moment()
    created_by_id: Mapped[UUID | None]


class GatewayPayment(TenantRow):
    """One attempt to pay with one gateway."""

    __tablename__ = "gateway_payments"
    __table_args__ = of_tenant(
        refers("gateway_id", "gateways"),
        refers("link_id", "payment_links"),
        refers("customer_id", "customers"),
        refers("invoice_id", "invoices"),
        refers("payment_id", "payments"),
        UniqueConstraint("tenant_id", "reference"),
        # Money that moved is applied once, for ever.
        Index(
            "uq_gateway_payments_receipt",
            "tenant_id",
            "gateway_id",
            "receipt",
            unique=True,
            postgresql_where="receipt IS NOT NULL",
        ),
        Index(
            "uq_gateway_payments_form",
            "tenant_id",
            "link_id",
            "form_key",
            unique=True,
            postgresql_where="form_key IS NOT NULL",
        ),
        Index("ix_gateway_payments_customer", "tenant_id", "customer_id", "id"),
        Index("ix_gateway_payments_link", "tenant_id", "link_id", "id"),
        Index("ix_gateway_payments_theirs", "tenant_id", "gateway_id", "provider_reference"),
        Index(
            "ix_gateway_payments_next_check",
            "tenant_id",
            "next_check_at",
            postgresql_where="next_check_at IS NOT NULL",
        ),
        CheckConstraint("amount_minor > 0", name="amount"),
        CheckConstraint("(state = 'PAID') = (payment_id IS NOT NULL)", name="paid"),
        CheckConstraint("payment_id IS NULL OR (received_minor > 0 AND receipt IS NOT NULL)", name="received"),
    )

    gateway_id: Mapped[UUID]
    link_id: Mapped[UUID | None]
    customer_id: Mapped[UUID]
    invoice_id: Mapped[UUID | None]
    reference: Mapped[str] = mapped_column(String(40))
    """What the gateway knows it by, for ever."""
    form_key: Mapped[str | None] = mapped_column(String(64))
    """Which form was sent off: sent twice it is one attempt."""
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    state: Mapped[GatewayPaymentState] = mapped_column(names(GatewayPaymentState))
    provider_reference: Mapped[str | None] = mapped_column(String(255))
    redirect_url: Mapped[str | None] = mapped_column(Text)
    instructions: Mapped[str | None] = mapped_column(Text)
    payer_note: Mapped[str | None] = mapped_column(String(200))
    """What the payer says of a bank transfer."""
    received_minor: Mapped[int | None] = mapped_column(BigInteger)
    """What really came, which may be another amount than was asked for."""
    receipt: Mapped[str | None] = mapped_column(String(255))
    told_receipt: Mapped[str | None] = mapped_column(String(255))
    """What the payer has it by, where a report alone tells that, and the gateway does not when it is asked."""
    payment_id: Mapped[UUID | None]
    reason: Mapped[str | None] = mapped_column(Text)
    started_at: Mapped[datetime] = moment()
    settled_at: Mapped[datetime | None] = mapped_column(Instant)
    asked_at: Mapped[datetime | None] = mapped_column(Instant)
    next_check_at: Mapped[datetime | None] = mapped_column(Instant)
    checks: Mapped[int] = mapped_column(default=0)
    check_job_id: Mapped[UUID | None]
    """The last job that was promised to ask the gateway."""


class GatewayEvent(TenantRow):
    """A report of a gateway that was authentic. Rows are only ever added; one that comes again is not."""

    __tablename__ = "gateway_events"
    __table_args__ = of_tenant(
        refers("gateway_id", "gateways"),
        refers("gateway_payment_id", "gateway_payments"),
        UniqueConstraint("tenant_id", "gateway_id", "event_id"),
        Index("ix_gateway_events_payment", "tenant_id", "gateway_payment_id", "id"),
    )

    gateway_id: Mapped[UUID]
    event_id: Mapped[str] = mapped_column(String(255))
    gateway_payment_id: Mapped[UUID | None]
    verdict: Mapped[GatewayVerdict] = mapped_column(names(GatewayVerdict))
    state: Mapped[str | None] = mapped_column(String(20))
    """As the gateway says, and so are the next three."""
    amount_minor: Mapped[int | None] = mapped_column(BigInteger)
    currency: Mapped[str | None] = mapped_column(String(3))
    receipt: Mapped[str | None] = mapped_column(String(255))
    body_digest: Mapped[bytes] = mapped_column(LargeBinary)
    """SHA-256 of what came, which itself is not kept: it may hold more of the payer than we need to know."""
    sent_at: Mapped[datetime | None] = mapped_column(Instant)
    received_at: Mapped[datetime] = moment()

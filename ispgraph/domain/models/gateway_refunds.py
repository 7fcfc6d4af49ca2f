"""Refunds that the gateway has to carry out that took the money."""

import enum
from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from ispgraph.domain.models.base import Instant, TenantRow, moment, names, of_tenant, refers


class GatewayRefundState(enum.Enum):
    PENDING = "PENDING"
    """The gateway has not said yes or no."""
    ACCEPTED = "ACCEPTED"
    """The gateway has taken it on, and does it later."""
    DONE = "DONE"
    FAILED = "FAILED"
    """The gateway has said no: it is undone in the books."""
    IN_DOUBT = "IN_DOUBT"
    """Whether the money went back is for an operator to find out."""


class GatewayRefund(TenantRow):
    """How a refund that is booked stands with the gateway. Its id is the key by which the gateway does it once."""

    __tablename__ = "gateway_refunds"
    __table_args__ = of_tenant(
        refers("refund_id", "refunds"),
        refers("gateway_payment_id", "gateway_payments"),
        refers("customer_id", "customers"),
        UniqueConstraint("tenant_id", "refund_id"),
        Index("ix_gateway_refunds_payment", "tenant_id", "gateway_payment_id"),
        Index("ix_gateway_refunds_customer", "tenant_id", "customer_id", "id"),
        Index("ix_gateway_refunds_next_try", "tenant_id", "next_try_at", postgresql_where="next_try_at IS NOT NULL"),
        CheckConstraint("(state IN ('PENDING', 'ACCEPTED')) = (next_try_at IS NOT NULL)", name="tried"),
        CheckConstraint("state <> 'ACCEPTED' OR provider_reference IS NOT NULL", name="accepted"),
    )

    refund_id: Mapped[UUID]
    gateway_payment_id: Mapped[UUID]
    customer_id: Mapped[UUID]
    state: Mapped[GatewayRefundState] = mapped_column(names(GatewayRefundState), default=GatewayRefundState.PENDING)
    provider_reference: Mapped[str | None] = mapped_column(String(255))
    """The gateway's name of the refund."""
    reason: Mapped[str | None] = mapped_column(Text)
    """Why it waits, failed, or is in doubt."""
    may_be_done: Mapped[bool] = mapped_column(default=False)
    """Whether the gateway was asked for it, and may have done it although no good answer came."""
    tries: Mapped[int] = mapped_column(default=0)
    started_at: Mapped[datetime] = moment()
    settled_at: Mapped[datetime | None] = mapped_column(Instant)
    next_try_at: Mapped[datetime | None] = mapped_column(Instant)
    asking_until: Mapped[datetime | None] = mapped_column(Instant)
    """Until when nobody else asks: of two at once a gateway that knows no keys would do both."""
    job_id: Mapped[UUID | None]
    """The last job that was promised to ask the gateway."""

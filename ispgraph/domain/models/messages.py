"""What is written to customers."""

import enum
from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from ispgraph.domain.models.base import Instant, TenantRow, moment, names, of_tenant, refers


class MessageChannel(enum.Enum):
    SMS = "SMS"
    EMAIL = "EMAIL"


class MessageStatus(enum.Enum):
    QUEUED = "QUEUED"
    SENT = "SENT"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"


class Message(TenantRow):
    """One message to a customer, as it was or will be sent."""

    __tablename__ = "messages"
    __table_args__ = of_tenant(
        refers("customer_id", "customers"),
        refers("created_by_id", "operators"),
        Index("ix_messages_customer", "tenant_id", "customer_id", "id"),
    )

    customer_id: Mapped[UUID]
    channel: Mapped[MessageChannel] = mapped_column(names(MessageChannel))
    to: Mapped[str] = mapped_column(String(320))
    event: Mapped[str] = mapped_column(String(60))
    """What happened: `service.suspended` and the like."""
    body: Mapped[str] = mapped_column(Text)
    status: Mapped[MessageStatus] = mapped_column(names(MessageStatus), default=MessageStatus.QUEUED)
    segments: Mapped[int]
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = moment()
    created_by_id: Mapped[UUID | None]
    sent_at: Mapped[datetime | None] = mapped_column(Instant)
    delivered_at: Mapped[datetime | None] = mapped_column(Instant)

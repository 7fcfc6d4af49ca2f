"""What is written to customers and operators, in whose words, what becomes of it, and what operators may send."""

import enum
from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, String, Text, false, text
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


class CreditKind(enum.Enum):
    """Why the credits of an operator changed."""

    ADDED = "ADDED"
    """By an operator above; below zero: taken back."""
    RESERVED = "RESERVED"
    """For a message that was queued."""
    SETTLED = "SETTLED"
    """The message was taken by the gateway, in another number of parts than was thought."""
    RETURNED = "RETURNED"
    """The message was not sent."""


class Message(TenantRow):
    """One message to a customer or to an operator, as it was or will be sent."""

    __tablename__ = "messages"
    __table_args__ = of_tenant(
        refers("customer_id", "customers"),
        refers("operator_id", "operators"),
        refers("created_by_id", "operators"),
        refers("charged_id", "operators"),
        refers("service_id", "services"),
        refers("gateway_id", "gateways"),
        CheckConstraint("num_nonnulls(customer_id, operator_id) = 1", name="recipient"),
        Index("ix_messages_customer", "tenant_id", "customer_id", "id"),
        Index("ix_messages_due", "not_before", "tenant_id", postgresql_where=text("status = 'QUEUED'")),
        Index(
            "uq_messages_once",
            *("tenant_id", "once", "channel"),
            unique=True,
            postgresql_where=text("once IS NOT NULL"),
        ),
        Index(
            "ix_messages_reference",
            *("tenant_id", "gateway_id", "provider_reference"),
            postgresql_where=text("provider_reference IS NOT NULL"),
        ),
    )

    customer_id: Mapped[UUID | None]
    operator_id: Mapped[UUID | None]
    channel: Mapped[MessageChannel] = mapped_column(names(MessageChannel))
    to: Mapped[str] = mapped_column(String(320))
    event: Mapped[str] = mapped_column(String(60))
    """What happened: `service.suspended` and the like; `sms` where an operator has written."""
    language: Mapped[str] = mapped_column(String(35), default="en", server_default="en")
    subject: Mapped[str | None] = mapped_column(String(200))
    body: Mapped[str] = mapped_column(Text)
    """A password in it is a row of asterisks, see `service_id`."""
    status: Mapped[MessageStatus] = mapped_column(names(MessageStatus), default=MessageStatus.QUEUED)
    segments: Mapped[int]
    error: Mapped[str | None] = mapped_column(Text)
    once: Mapped[str | None] = mapped_column(String(120))
    """What it is about: of several messages with one such name and channel only the first is queued."""
    service_id: Mapped[UUID | None]
    """Whose network password takes the place of the asterisks while the message is sent."""
    charged_id: Mapped[UUID | None]
    """The operator whose credits it costs."""
    reserved: Mapped[int] = mapped_column(default=0, server_default="0")
    """How many credits."""
    not_before: Mapped[datetime] = moment(server_default=text("'-infinity'"))
    """When it is to be sent, or tried again; of one that is in flight, when it is lost."""
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    in_flight: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Whether a worker has begun to send it."""
    gateway_id: Mapped[UUID | None]
    provider_reference: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[datetime] = moment()
    created_by_id: Mapped[UUID | None]
    sent_at: Mapped[datetime | None] = mapped_column(Instant)
    delivered_at: Mapped[datetime | None] = mapped_column(Instant)


class MessageTemplate(TenantRow):
    """A tenant's own words for an event in one language, in place of those of the catalogue; or words of its own."""

    __tablename__ = "message_templates"
    __table_args__ = of_tenant(
        Index("uq_message_templates_key", "tenant_id", "key", "channel", "language", unique=True),
    )

    key: Mapped[str] = mapped_column(String(60))
    channel: Mapped[MessageChannel] = mapped_column(names(MessageChannel))
    language: Mapped[str] = mapped_column(String(35))
    subject: Mapped[str | None] = mapped_column(String(200))
    body: Mapped[str] = mapped_column(Text)
    active: Mapped[bool] = mapped_column(default=True)
    updated_at: Mapped[datetime] = moment()


class SmsCreditEntry(TenantRow):
    """One change of an operator's SMS credits. Rows are only ever added; their sum is `operators.sms_credits`."""

    __tablename__ = "sms_credit_entries"
    __table_args__ = of_tenant(
        refers("operator_id", "operators"),
        refers("message_id", "messages"),
        refers("created_by_id", "operators"),
        CheckConstraint("balance >= 0", name="balance"),
        Index("ix_sms_credit_entries_operator", "tenant_id", "operator_id", "id"),
        # Of one message credits are reserved once, and given back once.
        Index("uq_sms_credit_entries_message", "tenant_id", "message_id", "kind", unique=True),
    )

    operator_id: Mapped[UUID]
    kind: Mapped[CreditKind] = mapped_column(names(CreditKind))
    credits: Mapped[int]
    balance: Mapped[int]
    """What the operator had afterwards."""
    message_id: Mapped[UUID | None]
    note: Mapped[str | None] = mapped_column(String(255))
    created_at: Mapped[datetime] = moment()
    created_by_id: Mapped[UUID | None]


class DeliveryReport(TenantRow):
    """What a gateway told of a message that nobody knew yet: it may be faster than its own answer."""

    __tablename__ = "delivery_reports"
    __table_args__ = of_tenant(
        refers("gateway_id", "gateways"),
        Index("ix_delivery_reports_reference", "tenant_id", "gateway_id", "provider_reference"),
    )

    gateway_id: Mapped[UUID]
    provider_reference: Mapped[str] = mapped_column(String(200))
    status: Mapped[MessageStatus] = mapped_column(names(MessageStatus))
    reason: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = moment()

"""Who is told of what happens, and what is to be sent to each."""

import enum
from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, LargeBinary, String, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from ispgraph.domain.models.base import Instant, TenantRow, moment, names, of_tenant, refers

_PENDING = "status = 'PENDING'"


class WebhookStatus(enum.Enum):
    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    """Nothing is sent; what happens waits."""
    DISABLED = "DISABLED"
    """It said that it is gone (410): what happens is not kept for it."""


class DeliveryStatus(enum.Enum):
    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    GIVEN_UP = "GIVEN_UP"
    """After the last attempt, or because the endpoint is gone."""
    WITHHELD = "WITHHELD"
    """The owner of the endpoint may not see what it is about."""


class WebhookEndpoint(TenantRow):
    """An address outside that is told of events. Its documents are carried out as its owner, who saved it last."""

    __tablename__ = "webhook_endpoints"
    __table_args__ = of_tenant(
        refers("owner_id", "operators"),
        Index("ix_webhook_endpoints_owner", "tenant_id", "owner_id", "id"),
        CheckConstraint("(former_secret IS NULL) = (former_until IS NULL)", name="former"),
    )

    owner_id: Mapped[UUID]
    name: Mapped[str] = mapped_column(String(100))
    url: Mapped[str] = mapped_column(String(500))
    events: Mapped[list[str]] = mapped_column(ARRAY(String(40)))
    document: Mapped[str | None] = mapped_column(Text)
    """The query that makes the payload."""
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    """Sealed; with it everything is signed."""
    former_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    """With it as well, until `former_until`."""
    former_until: Mapped[datetime | None] = mapped_column(Instant)
    status: Mapped[WebhookStatus] = mapped_column(names(WebhookStatus), default=WebhookStatus.ACTIVE)
    problem: Mapped[str | None] = mapped_column(String(300))
    """Why it is not ACTIVE, or what the last attempt met."""
    failures: Mapped[int] = mapped_column(default=0)
    """Attempts since the last that succeeded."""
    failing_since: Mapped[datetime | None] = mapped_column(Instant)
    rests_until: Mapped[datetime | None] = mapped_column(Instant)
    """After many failures it is left alone for a while."""
    delivered_at: Mapped[datetime | None] = mapped_column(Instant)
    """When it last took something."""
    created_at: Mapped[datetime] = moment()
    updated_at: Mapped[datetime] = moment()
    removed_at: Mapped[datetime | None] = mapped_column(Instant)
    """When it was deleted: nobody sees it any more."""


class WebhookDelivery(TenantRow):
    """One event for one endpoint, made by triggers. Of one subject they are sent in the order of `place`."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = of_tenant(
        refers("endpoint_id", "webhook_endpoints"),
        Index("ix_webhook_deliveries_place", "tenant_id", "place"),
        Index("ix_webhook_deliveries_endpoint", "tenant_id", "endpoint_id", "place"),
        Index(
            "ix_webhook_deliveries_due", "tenant_id", "endpoint_id", "next_attempt_at", postgresql_where=text(_PENDING)
        ),
        Index(
            "ix_webhook_deliveries_subject",
            *("tenant_id", "endpoint_id", "subject", "place"),
            postgresql_where=text(_PENDING),
        ),
        Index("ix_webhook_deliveries_ended", "tenant_id", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
        CheckConstraint("(status = 'PENDING') = (ended_at IS NULL)", name="ended"),
    )

    endpoint_id: Mapped[UUID]
    event_id: Mapped[UUID]
    """The same for every endpoint, and at every attempt."""
    place: Mapped[int] = mapped_column(BigInteger, Identity())
    event: Mapped[str] = mapped_column(String(40))
    """One of `webhooks.catalogue`."""
    subject: Mapped[str] = mapped_column(String(40))
    """What it is about: the public id."""
    customer: Mapped[str | None] = mapped_column(String(40))
    """Whose that is: the public id."""
    details: Mapped[dict[str, object]] = mapped_column(JSONB)
    """Of the instant of the event: `status`, and `formerStatus`."""
    occurred_at: Mapped[datetime] = mapped_column(Instant)
    status: Mapped[DeliveryStatus] = mapped_column(
        names(DeliveryStatus), default=DeliveryStatus.PENDING, server_default=DeliveryStatus.PENDING.value
    )
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    next_attempt_at: Mapped[datetime] = mapped_column(Instant, server_default=text("'2000-01-01Z'"))
    """When it is due; while it is sent, when it is taken to be lost."""
    body: Mapped[str | None] = mapped_column(Text)
    """Made at the first attempt: what is sent again is the same."""
    response_status: Mapped[int | None]
    response_body: Mapped[str | None] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(String(300))
    log: Mapped[list[dict[str, object]]] = mapped_column(JSONB, default=list, server_default="[]")
    """The attempts, as `WebhookAttempt` shows them."""
    created_at: Mapped[datetime] = moment()
    ended_at: Mapped[datetime | None] = mapped_column(Instant)

"""By whom messages are carried and money is taken: the providers a tenant has an account with."""

import enum
from datetime import datetime

from sqlalchemy import Index, LargeBinary, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from ispgraph.domain.models.base import TenantRow, moment, names, of_tenant


class GatewayKind(enum.Enum):
    SMS = "SMS"
    EMAIL = "EMAIL"
    PAYMENT = "PAYMENT"


class Gateway(TenantRow):
    """A tenant's account with one provider."""

    __tablename__ = "gateways"
    __table_args__ = of_tenant(
        Index("uq_gateways_name", "tenant_id", "kind", "name", unique=True),
        Index("ix_gateways_order", "tenant_id", "kind", "position", "id"),
    )

    kind: Mapped[GatewayKind] = mapped_column(names(GatewayKind))
    provider: Mapped[str] = mapped_column(String(40))
    """One of those `gateway_providers` describes."""
    name: Mapped[str] = mapped_column(String(100))
    """What operators, and payers on the payment page, see."""
    settings: Mapped[dict[str, str]] = mapped_column(JSONB, default=dict)
    """What may be shown, by the provider's names."""
    secrets: Mapped[bytes] = mapped_column(LargeBinary)
    """The others: a JSON object of texts, sealed."""
    test_mode: Mapped[bool] = mapped_column(default=False)
    """Whether the provider's sandbox is meant."""
    active: Mapped[bool] = mapped_column(default=True)
    position: Mapped[int] = mapped_column(default=0)
    """Of several the lowest is first: messages take the first, payers choose in this order."""
    created_at: Mapped[datetime] = moment()
    updated_at: Mapped[datetime] = moment()

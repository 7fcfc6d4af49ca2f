"""What lets customers in, and those who look after their portals: sign-ins, and codes that were sent to set a
password."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, String
from sqlalchemy.dialects.postgresql import INET
from sqlalchemy.orm import Mapped, mapped_column

from ispgraph.domain.models.base import Instant, TenantRow, moment, of_tenant, refers


class CustomerSignIn(TenantRow):
    """One sign-in of a customer, or of the admin of its portal, on one device; every token names one of these."""

    __tablename__ = "customer_sign_ins"
    __table_args__ = of_tenant(
        refers("customer_id", "customers"),
        refers("admin_id", "portal_admins"),
        Index("ix_customer_sign_ins_customer", "tenant_id", "customer_id", "id"),
    )

    customer_id: Mapped[UUID]
    admin_id: Mapped[UUID | None]
    """The admin of the customer's portal; None: the customer."""
    token_version: Mapped[int]
    """That of whoever has signed in, as it was then."""
    created_at: Mapped[datetime] = moment()
    expires_at: Mapped[datetime] = mapped_column(Instant, index=True)
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    address: Mapped[str | None] = mapped_column(INET)
    user_agent: Mapped[str | None] = mapped_column(String(300))


class CustomerPasswordReset(TenantRow):
    """A code that was sent to a customer, or to the admin of its portal, to set a password. Only its digest is kept."""

    __tablename__ = "customer_password_resets"
    __table_args__ = of_tenant(
        refers("customer_id", "customers"),
        refers("admin_id", "portal_admins"),
        Index("ix_customer_password_resets_customer", "tenant_id", "customer_id", "id"),
    )

    customer_id: Mapped[UUID]
    admin_id: Mapped[UUID | None]
    digest: Mapped[bytes]
    created_at: Mapped[datetime] = moment()
    expires_at: Mapped[datetime] = mapped_column(Instant)
    used_at: Mapped[datetime | None] = mapped_column(Instant)
    """When it was used, or became void."""

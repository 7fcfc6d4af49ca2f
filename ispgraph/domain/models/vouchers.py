"""Vouchers for hotspots, and what those who redeemed them have paid for."""

import enum
from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from ispgraph.db import Base
from ispgraph.domain.models.base import Instant, TenantRow, moment, of_tenant, refers


class VoucherStatus(enum.Enum):
    UNUSED = "UNUSED"
    REDEEMED = "REDEEMED"
    EXPIRED = "EXPIRED"
    """Not redeemed in time."""
    CANCELLED = "CANCELLED"


class VoucherBatch(TenantRow):
    """Vouchers that were made together: for one package, at one price."""

    __tablename__ = "voucher_batches"
    __table_args__ = of_tenant(
        refers("package_id", "packages"),
        refers("created_by_id", "operators"),
        refers("paid_by_id", "operators"),
        CheckConstraint("count > 0 AND made BETWEEN 0 AND count AND returned BETWEEN 0 AND count", name="count"),
        CheckConstraint("price_minor >= 0", name="price"),
        CheckConstraint("sold BETWEEN 0 AND count AND (sold = 0 OR paid_by_id IS NULL)", name="sold"),
    )

    package_id: Mapped[UUID]
    count: Mapped[int]
    made: Mapped[int] = mapped_column(default=0)
    """How many of them there are already."""
    prefix: Mapped[str | None] = mapped_column(String(8))
    price_minor: Mapped[int] = mapped_column(BigInteger)
    """What one is worth, tax included, whatever the package costs when it is redeemed."""
    paid_by_id: Mapped[UUID | None]
    """The reseller from whose wallet all of them were paid for."""
    returned: Mapped[int] = mapped_column(default=0)
    """How many of them were given back, and so not to be paid for."""
    sold: Mapped[int] = mapped_column(default=0, server_default="0")
    """For how many of the provider's own money was handed in."""
    expires_at: Mapped[datetime | None] = mapped_column(Instant)
    created_at: Mapped[datetime] = moment()
    created_by_id: Mapped[UUID]
    cancelled_at: Mapped[datetime | None] = mapped_column(Instant)


class Voucher(TenantRow):
    """Whoever has the code can redeem it, once. The code cannot be read here without the network key."""

    __tablename__ = "vouchers"
    __table_args__ = of_tenant(
        refers("batch_id", "voucher_batches"),
        refers("package_id", "packages"),
        refers("redeemed_by_id", "customers"),
        refers("payment_id", "payments"),
        UniqueConstraint("tenant_id", "lookup"),
        UniqueConstraint("tenant_id", "batch_id", "number"),
        UniqueConstraint("tenant_id", "payment_id"),
        Index("ix_vouchers_redeemed_by", "tenant_id", "redeemed_by_id", postgresql_where="redeemed_by_id IS NOT NULL"),
        CheckConstraint("(redeemed_at IS NULL) = (redeemed_by_id IS NULL)", name="redeemed"),
        CheckConstraint("redeemed_at IS NULL OR cancelled_at IS NULL", name="ended_once"),
        CheckConstraint("payment_id IS NULL OR redeemed_at IS NOT NULL", name="paid_when_redeemed"),
    )

    batch_id: Mapped[UUID]
    number: Mapped[int]
    """From 1 within the batch: what people call it by."""
    package_id: Mapped[UUID]
    lookup: Mapped[str] = mapped_column(String(64))
    """By which a code is found: `voucher_codes.lookup`."""
    code: Mapped[bytes] = mapped_column(LargeBinary)
    """Sealed (`domain.secrets`) and bound to this row."""
    expires_at: Mapped[datetime | None] = mapped_column(Instant)
    redeemed_by_id: Mapped[UUID | None]
    redeemed_at: Mapped[datetime | None] = mapped_column(Instant)
    payment_id: Mapped[UUID | None]
    """None as well for one that is worth nothing."""
    cancelled_at: Mapped[datetime | None] = mapped_column(Instant)
    created_at: Mapped[datetime] = moment()


class ServiceAllowance(Base):
    """What a hotspot service may use until its time is over, in place of what its package gives in a period: data and
    time that were paid for, and what was left of those before.

    It counts while the service has this package. Counted from `since`, the beginning of a day, and both include what
    was used of that day before.
    """

    __tablename__ = "service_allowances"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "service_id"], ["services.tenant_id", "services.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(["tenant_id", "package_id"], ["packages.tenant_id", "packages.id"]),
        CheckConstraint("octets >= 0 AND seconds >= 0", name="amounts"),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    service_id: Mapped[UUID] = mapped_column(primary_key=True)
    package_id: Mapped[UUID]
    since: Mapped[datetime] = mapped_column(Instant)
    until: Mapped[datetime] = mapped_column(Instant)
    octets: Mapped[int | None] = mapped_column(BigInteger)
    seconds: Mapped[int | None] = mapped_column(BigInteger)

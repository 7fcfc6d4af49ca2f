"""What is sold, where, and what a tenant wants to know about its customers."""

import enum
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, Numeric, String, Text, UniqueConstraint, false
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from ispgraph.domain.models.base import TenantRow, moment, names, of_tenant, refers


class ConnectionType(enum.Enum):
    PPPOE = "PPPOE"
    HOTSPOT = "HOTSPOT"
    STATIC_IP = "STATIC_IP"
    OTHER = "OTHER"


class BillingCycle(enum.Enum):
    DAILY = "DAILY"
    WEEKLY = "WEEKLY"
    MONTHLY = "MONTHLY"
    QUARTERLY = "QUARTERLY"
    YEARLY = "YEARLY"
    ONE_TIME = "ONE_TIME"


class ResetPeriod(enum.Enum):
    DAY = "DAY"
    WEEK = "WEEK"
    MONTH = "MONTH"
    BILLING_PERIOD = "BILLING_PERIOD"


class CustomFieldType(enum.Enum):
    TEXT = "TEXT"
    NUMBER = "NUMBER"
    DATE = "DATE"
    BOOLEAN = "BOOLEAN"
    SELECT = "SELECT"


class Zone(TenantRow):
    """A part of the area served; zones may lie within zones."""

    __tablename__ = "zones"
    __table_args__ = of_tenant(
        refers("parent_id", "zones"),
        UniqueConstraint("tenant_id", "name"),
        UniqueConstraint("tenant_id", "code"),
    )

    name: Mapped[str] = mapped_column(String(100))
    code: Mapped[str | None] = mapped_column(String(20))
    parent_id: Mapped[UUID | None]
    created_at: Mapped[datetime] = moment()


class TaxProfile(TenantRow):
    """A rate of tax, in per cent. The default one is for every package that names none."""

    __tablename__ = "tax_profiles"
    __table_args__ = of_tenant(
        UniqueConstraint("tenant_id", "name"),
        Index("uq_tax_profiles_default", "tenant_id", unique=True, postgresql_where="is_default"),
        CheckConstraint("rate BETWEEN 0 AND 100", name="rate"),
    )

    name: Mapped[str] = mapped_column(String(100))
    rate: Mapped[Decimal] = mapped_column(Numeric(6, 3))
    is_default: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = moment()


class Package(TenantRow):
    """What a customer can buy. Rates in kbit/s, money in minor units; a quota is per period."""

    __tablename__ = "packages"
    __table_args__ = of_tenant(
        refers("tax_profile_id", "tax_profiles"),
        UniqueConstraint("tenant_id", "name"),
        CheckConstraint("price_minor >= 0", name="price"),
        CheckConstraint("download_kbps > 0 AND upload_kbps > 0", name="rates"),
        CheckConstraint("validity_days BETWEEN 1 AND 3660", name="validity"),
        CheckConstraint("data_quota_bytes > 0", name="data_quota"),
        CheckConstraint("time_quota_seconds > 0", name="time_quota"),
    )

    name: Mapped[str] = mapped_column(String(100))
    description: Mapped[str | None] = mapped_column(Text)
    active: Mapped[bool] = mapped_column(default=True)
    connection_types: Mapped[list[str]] = mapped_column(ARRAY(String(20)))
    download_kbps: Mapped[int]
    upload_kbps: Mapped[int]
    price_minor: Mapped[int] = mapped_column(BigInteger)
    billing_cycle: Mapped[BillingCycle] = mapped_column(names(BillingCycle))
    validity_days: Mapped[int]
    tax_profile_id: Mapped[UUID | None]
    """None: the tenant's default profile, or its rate."""
    daily_rate_minor: Mapped[int | None] = mapped_column(BigInteger)
    data_quota_bytes: Mapped[int | None] = mapped_column(BigInteger)
    time_quota_seconds: Mapped[int | None]
    fup_threshold_bytes: Mapped[int | None] = mapped_column(BigInteger)
    fup_threshold_seconds: Mapped[int | None]
    fup_download_kbps: Mapped[int | None]
    fup_upload_kbps: Mapped[int | None]
    fup_reset_period: Mapped[ResetPeriod | None] = mapped_column(names(ResetPeriod))
    fup_notify_at_percent: Mapped[int | None]
    bind_mac_on_first_login: Mapped[bool] = mapped_column(default=False, server_default=false())
    allow_partial_day: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Whether a recharge may end with some hours of a day."""
    """Whether the first device that gets on line becomes the only one of a service that is bound to none."""
    created_at: Mapped[datetime] = moment()
    updated_at: Mapped[datetime] = moment()


class CustomField(TenantRow):
    """A question of the tenant's own about each customer."""

    __tablename__ = "custom_fields"
    __table_args__ = of_tenant(UniqueConstraint("tenant_id", "key"))

    key: Mapped[str] = mapped_column(String(40))
    label: Mapped[str] = mapped_column(String(100))
    type: Mapped[CustomFieldType] = mapped_column(names(CustomFieldType))
    required: Mapped[bool] = mapped_column(default=False)
    options: Mapped[list[str]] = mapped_column(ARRAY(String(100)), default=list)
    created_at: Mapped[datetime] = moment()

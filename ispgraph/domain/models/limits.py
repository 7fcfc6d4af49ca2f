"""What is agreed about the speed, time and volume of one service, and what is watched of it."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from ispgraph.db import Base
from ispgraph.domain.models.base import Instant

MAXIMUM_LIMIT_KBPS = 10_000_000


def _of_service() -> ForeignKeyConstraint:
    # Neither money nor usage: who deletes a service that was never used takes these along.
    there = ["services.tenant_id", "services.id"]
    return ForeignKeyConstraint(["tenant_id", "service_id"], there, ondelete="CASCADE")


def _rates(prefix: str) -> str:
    down, up = f"{prefix}_download_kbps", f"{prefix}_upload_kbps"
    return (
        f"({down} IS NULL) = ({up} IS NULL) AND ({down} = 0) IS NOT DISTINCT FROM ({up} = 0) "
        f"AND {down} BETWEEN 0 AND {MAXIMUM_LIMIT_KBPS} AND {up} BETWEEN 0 AND {MAXIMUM_LIMIT_KBPS}"
    )


class ServiceLimit(Base):
    """The limits that operators set for one service, beside those of its package. There is no row where there is none.

    Rates in kbit/s; 0 and 0: the router's own. The permanent ones wait while there are temporary ones.
    """

    __tablename__ = "service_limits"
    __table_args__ = (
        _of_service(),
        CheckConstraint(_rates("speed"), name="speed"),
        CheckConstraint(_rates("temporary"), name="temporary"),
        CheckConstraint("(temporary_until IS NULL) = (temporary_download_kbps IS NULL)", name="temporary_until"),
        CheckConstraint(
            "session_seconds > 0 AND daily_seconds > 0 AND weekly_seconds > 0 AND monthly_seconds > 0", name="seconds"
        ),
        CheckConstraint("daily_bytes > 0 AND monthly_bytes > 0", name="bytes"),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    service_id: Mapped[UUID] = mapped_column(primary_key=True)
    speed_download_kbps: Mapped[int | None]
    speed_upload_kbps: Mapped[int | None]
    temporary_download_kbps: Mapped[int | None]
    temporary_upload_kbps: Mapped[int | None]
    temporary_until: Mapped[datetime | None] = mapped_column(Instant)
    session_seconds: Mapped[int | None]
    daily_seconds: Mapped[int | None]
    weekly_seconds: Mapped[int | None]
    monthly_seconds: Mapped[int | None]
    windows: Mapped[list[dict[str, object]] | None] = mapped_column(JSONB(none_as_null=True))
    """When the service may be used: rows of `days` (1 is Monday), `from` and `to` (wall clock of the tenant's zone)."""
    daily_bytes: Mapped[int | None] = mapped_column(BigInteger)
    monthly_bytes: Mapped[int | None] = mapped_column(BigInteger)
    """Of a billing period, or a calendar month where the service has none."""
    rollover: Mapped[bool] = mapped_column(default=False)
    rollover_since: Mapped[datetime | None] = mapped_column(Instant)
    """Since when what is left goes over: a period that ended before has left nothing."""


class ServiceWatch(Base):
    """What a scheduler knows of one service: what the network was last told, and when that may change."""

    __tablename__ = "service_watches"
    __table_args__ = (_of_service(), Index("ix_service_watches_look_at", "tenant_id", "look_at"))

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    service_id: Mapped[UUID] = mapped_column(primary_key=True)
    look_at: Mapped[datetime] = mapped_column(Instant)
    standing: Mapped[str | None] = mapped_column(String(40))
    """What the network was told of it: `off`, `router`, or the rates. None: nothing is known of it."""
    alarm_day: Mapped[date | None]
    """With the next two: accounting that tells of another day, or of as much on this one, has it looked at at once."""
    alarm_octets: Mapped[int | None] = mapped_column(BigInteger)
    alarm_seconds: Mapped[int | None] = mapped_column(BigInteger)
    fup_activated_at: Mapped[datetime | None] = mapped_column(Instant)
    fup_manual: Mapped[bool] = mapped_column(default=False)
    fup_notified_since: Mapped[datetime | None] = mapped_column(Instant)
    """The beginning of the period in which the customer was told that the threshold is near."""
    fup_reset_at: Mapped[datetime | None] = mapped_column(Instant)
    """Somebody had fair use counted anew; what was used up to then, in the period it fell into:"""
    fup_forgiven_octets: Mapped[int] = mapped_column(BigInteger, default=0)
    fup_forgiven_seconds: Mapped[int] = mapped_column(BigInteger, default=0)

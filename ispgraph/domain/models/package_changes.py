"""Requests for another package of a service, those that were carried out at once among them."""

import enum
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from ispgraph.domain.models.base import Instant, TenantRow, moment, names, of_tenant, refers

_OPEN = "status = 'SCHEDULED'"


class PackageChangeStatus(enum.Enum):
    SCHEDULED = "SCHEDULED"
    APPLIED = "APPLIED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"


class PackageChange(TenantRow):
    """From one package to another, at the beginning of a day of the tenant's calendar, or at once on that day."""

    __tablename__ = "package_changes"
    __table_args__ = of_tenant(
        refers("service_id", "services"),
        refers("from_package_id", "packages"),
        refers("to_package_id", "packages"),
        refers("requested_by_id", "operators"),
        refers("invoice_id", "invoices"),
        Index("ix_package_changes_service", "tenant_id", "service_id", "id"),
        Index("uq_package_changes_scheduled", "tenant_id", "service_id", unique=True, postgresql_where=_OPEN),
        Index("ix_package_changes_due", "tenant_id", "effective_on", postgresql_where=_OPEN),
        CheckConstraint("(status = 'APPLIED') = (applied_at IS NOT NULL)", name="applied"),
    )

    service_id: Mapped[UUID]
    from_package_id: Mapped[UUID]
    to_package_id: Mapped[UUID]
    effective_on: Mapped[date]
    status: Mapped[PackageChangeStatus] = mapped_column(names(PackageChangeStatus))
    requested_at: Mapped[datetime] = moment()
    requested_by_id: Mapped[UUID | None]
    reason: Mapped[str | None] = mapped_column(String(500))
    applied_at: Mapped[datetime | None] = mapped_column(Instant)
    invoice_id: Mapped[UUID | None]
    """The invoice or the credit note that it made, if money was due."""
    message: Mapped[str | None] = mapped_column(String(500))
    """Why it failed, or what took its place."""

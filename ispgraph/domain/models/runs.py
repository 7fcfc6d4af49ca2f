"""Billing runs: what each of them did, or would do."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from ispgraph.domain.models.base import Instant, TenantRow, moment, of_tenant, refers


class BillingRun(TenantRow):
    """The periods that came to an end by a moment, billed by one job, which tells how far it is.

    The figures grow with each part that is committed, so they are right also when a run is broken off and goes on.
    """

    __tablename__ = "billing_runs"
    __table_args__ = of_tenant(
        refers("job_id", "jobs"),
        refers("started_by_id", "operators"),
        UniqueConstraint("tenant_id", "job_id"),
        CheckConstraint("total_minor = subtotal_minor + tax_minor", name="total"),
    )

    job_id: Mapped[UUID]
    started_by_id: Mapped[UUID | None]
    """None: the product itself."""
    as_of: Mapped[datetime] = mapped_column(Instant)
    dry_run: Mapped[bool]
    """Nothing is written but this."""
    services: Mapped[int] = mapped_column(default=0)
    invoices: Mapped[int] = mapped_column(default=0)
    subtotal_minor: Mapped[int] = mapped_column(BigInteger, default=0)
    tax_minor: Mapped[int] = mapped_column(BigInteger, default=0)
    total_minor: Mapped[int] = mapped_column(BigInteger, default=0)
    failed: Mapped[int] = mapped_column(default=0)
    """How many services could not be billed."""
    failures: Mapped[list[dict[str, str]]] = mapped_column(JSONB, default=list)
    """The first of them: rows of service, reason."""
    lines: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, default=list)
    """Of a dry run the first lines that would be written: rows of service, customer, description, explanation,
    period_start, period_end, subtotal_minor, tax_minor, total_minor."""
    created_at: Mapped[datetime] = moment()

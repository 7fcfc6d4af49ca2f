"""Bills: invoices for the time of a service, and the books of what time is charged."""

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain.billing import invoices, payments
from ispgraph.domain.billing.periods import Period
from ispgraph.domain.billing.proration import Sold
from ispgraph.domain.models import BilledPeriod, Invoice, Service, Tenant
from ispgraph.domain.permissions import Viewer

ONCE = "ex_billed_periods_once"
"""The constraint that refuses to charge for the same time twice."""


async def issue(
    session: AsyncSession,
    *,
    tenant: Tenant,
    service: Service,
    lines: Sequence[invoices.Line],
    period: Period,
    charged: Sold | None,
    at: datetime,
    by: Viewer | None,
    notes: str | None = None,
    due_on: date | None = None,
) -> Invoice:
    """An invoice for time of a service, open, and paid from the customer's wallet as far as that goes.

    `charged` is what the whole period is sold as, when these lines charge for it: nobody can charge for it again. None
    for what is asked for besides, such as the rest of a price. Holds the tenant's counters of numbers from here to the
    end of the transaction. Raises IntegrityError by `ONCE`.
    """
    invoice = await invoices.draft(
        session,
        tenant=tenant,
        customer_id=service.customer_id,
        service_id=service.id,
        lines=lines,
        period_start=period.start,
        period_end=period.end,
        notes=notes,
    )
    if charged is not None:
        session.add(_row(invoice, service, period, charged))
        await session.flush()
    await invoices.open(session, invoice, tenant=tenant, at=at, by=by, due_on=due_on)
    await payments.from_wallet(
        session, tenant=tenant, customer_id=service.customer_id, invoices=[invoice], at=at, by=by
    )
    return invoice


def _row(invoice: Invoice, service: Service, period: Period, charged: Sold) -> BilledPeriod:
    return BilledPeriod(
        tenant_id=invoice.tenant_id,
        service_id=service.id,
        invoice_id=invoice.id,
        package_id=service.package_id,
        starts_at=period.start,
        ends_at=period.end,
        price_minor=charged.price_minor,
        tax_rate=charged.tax_rate,
        tax_included=charged.tax_included,
    )


async def of_invoice(session: AsyncSession, invoice_id: UUID) -> Sequence[BilledPeriod]:
    """The time that an invoice charges for, and that was not released."""
    rows = select(BilledPeriod).where(BilledPeriod.invoice_id == invoice_id, BilledPeriod.released_at.is_(None))
    return (await session.scalars(rows.order_by(BilledPeriod.starts_at))).all()


async def release(session: AsyncSession, invoice_id: UUID, at: datetime) -> None:
    """The time of an invoice that was taken back can be charged again."""
    for row in await of_invoice(session, invoice_id):
        row.released_at = at
    await session.flush()


async def move(session: AsyncSession, service: Service, period: Period) -> None:
    """The only period that was charged of a service is another one: it began later than it was sold."""
    rows = select(BilledPeriod).where(BilledPeriod.service_id == service.id, BilledPeriod.released_at.is_(None))
    for row in (await session.scalars(rows)).all():
        row.starts_at, row.ends_at = period.start, period.end
    await session.flush()

"""Bills: invoices for the time of a service, and the books of what time is charged."""

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain import money
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
    charged: Sold,
    at: datetime,
    by: Viewer | None,
    due_on: date | None = None,
) -> Invoice:
    """An invoice for time of a service, open, and paid from the customer's wallet as far as that goes.

    `charged` is what the whole period is sold as, and nobody can charge for it again. Holds the tenant's
    counters of numbers from here to the end of the transaction. Raises IntegrityError by `ONCE`.
    """
    invoice = await invoices.draft(
        session,
        tenant=tenant,
        customer_id=service.customer_id,
        service_id=service.id,
        lines=lines,
        period_start=period.start,
        period_end=period.end,
    )
    await charge(session, invoice, service, period, charged)
    await invoices.open(session, invoice, tenant=tenant, at=at, by=by, due_on=due_on)
    await payments.from_wallet(
        session, tenant=tenant, customer_id=service.customer_id, invoices=[invoice], at=at, by=by
    )
    return invoice


async def charge(
    session: AsyncSession, invoice: Invoice, service: Service, period: Period, charged: Sold
) -> BilledPeriod:
    """An invoice charges for time of a service, which has the package that is sold at the price of `charged`: nobody
    else can. Raises IntegrityError by `ONCE`."""
    row = BilledPeriod(
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
    session.add(row)
    await session.flush()
    return row


async def ahead(session: AsyncSession, service_id: UUID, at: datetime | None) -> Sequence[BilledPeriod]:
    """The time of a service that is charged and is not over at an instant, or ever; in the order of time."""
    rows = select(BilledPeriod).where(BilledPeriod.service_id == service_id, BilledPeriod.released_at.is_(None))
    if at is not None:
        rows = rows.where(BilledPeriod.ends_at > at)
    return (await session.scalars(rows.order_by(BilledPeriod.starts_at))).all()


async def cut(
    session: AsyncSession, row: BilledPeriod, at: datetime, minor: int, released_at: datetime, by: Invoice
) -> None:
    """Release what is charged from an instant on, and `minor` of the price with it: the document `by` gives it back,
    or charges for that time in its place."""
    given_back_by = None if by.id == row.invoice_id else by.id
    if at > row.starts_at:
        session.add(_given_back(row, at, minor, released_at, given_back_by))
        row.ends_at, row.price_minor = at, row.price_minor - minor
    else:
        row.released_at, row.given_back_by_id = released_at, given_back_by
    await session.flush()


async def lower(session: AsyncSession, row: BilledPeriod, minor: int, released_at: datetime, by: Invoice) -> None:
    """The credit note `by` gives back `minor` of what a time costs; the time stays charged."""
    row.price_minor -= minor
    session.add(_given_back(row, row.starts_at, minor, released_at, by.id))
    await session.flush()


def _given_back(
    row: BilledPeriod, since: datetime, minor: int, released_at: datetime, by_id: UUID | None
) -> BilledPeriod:
    """So much of the price of a time, from an instant to its end, as time that is not charged any more."""
    return BilledPeriod(
        tenant_id=row.tenant_id,
        service_id=row.service_id,
        invoice_id=row.invoice_id,
        package_id=row.package_id,
        starts_at=since,
        ends_at=row.ends_at,
        price_minor=minor,
        tax_rate=row.tax_rate,
        tax_included=row.tax_included,
        released_at=released_at,
        given_back_by_id=by_id,
    )


async def given_back(session: AsyncSession, invoice_id: UUID) -> UUID | None:
    """The last document that gives back some of what an invoice charges for; None when there is none."""
    rows = select(BilledPeriod.given_back_by_id).where(
        BilledPeriod.invoice_id == invoice_id, BilledPeriod.given_back_by_id.is_not(None)
    )
    return await session.scalar(rows.order_by(BilledPeriod.given_back_by_id.desc()).limit(1))


async def restore(session: AsyncSession, document_id: UUID) -> None:
    """What a document gave back is charged again, as it was: the document is void, and its own time released."""
    rows = select(BilledPeriod).where(BilledPeriod.given_back_by_id == document_id).order_by(BilledPeriod.starts_at)
    for row in (await session.scalars(rows)).all():
        row.given_back_by_id = None
        # A price that was lowered goes up again; it may be that of two rows by now, where a change was taken back.
        lowered = select(BilledPeriod).where(
            BilledPeriod.invoice_id == row.invoice_id,
            BilledPeriod.released_at.is_(None),
            BilledPeriod.starts_at < row.ends_at,
            BilledPeriod.ends_at > row.starts_at,
        )
        if charged := (await session.scalars(lowered.order_by(BilledPeriod.starts_at))).all():
            weights = [each.price_minor for each in charged]
            shares = money.allocate(row.price_minor, weights if any(weights) else [1] * len(charged))
            for each, share in zip(charged, shares, strict=True):
                each.price_minor += share
            row.price_minor = 0
        else:
            row.released_at = None
        await session.flush()


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
    for row in await ahead(session, service.id, None):
        row.starts_at, row.ends_at = period.start, period.end
    await session.flush()

"""What customers are told of by itself: new invoices, payments, services that begin, and those whose time ends.

Invoices and ends of time are looked at once a day with dunning, at the tenant's time of day for it: so a billing run
of many invoices makes none of them wait. Each is told once, by its name (`once`), whoever looks how often.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import messages
from ispgraph.domain.billing import periods
from ispgraph.domain.billing.invoices import AWAITING
from ispgraph.domain.models import (
    BillingProfile,
    Customer,
    Invoice,
    InvoiceKind,
    Package,
    Payment,
    Service,
    ServiceStatus,
    Tenant,
)
from ispgraph.domain.permissions import Viewer

CHUNK = 200
# Older ones are no news: an outage of the scheduler is made up for up to here.
_NEWS_DAYS = 2
_AHEAD = timedelta(days=3)


async def payment_received(
    session: AsyncSession, tenant: Tenant, customer: Customer, payment: Payment, *, by: Viewer | None
) -> None:
    """Thank for money that came in."""
    await messages.tell(
        session,
        customer,
        "payment.received",
        by=by,
        once=f"payment.received/{payment.id.hex}",
        amount=messages.amount(tenant, payment.amount_minor),
        number=payment.number,
    )


async def on_line(
    session: AsyncSession, customer: Customer, service: Service, *, begins: bool, by: Viewer | None
) -> None:
    """Tell that a service is active: where it begins with that, how to get on line."""
    if not begins:
        await messages.tell(session, customer, "service.activated", by=by)
        return
    package = await session.get_one(Package, service.package_id)
    await messages.tell(session, customer, "service.welcome", by=by, package=package.name, username=service.username)


async def invoices_issued(session: AsyncSession, tenant_id: UUID, day: date, after: UUID | None) -> UUID | None:
    """Tell of the next invoices that were issued lately and are not paid, by id. The last one's id; None at the end."""
    rows = select(Invoice).where(Invoice.status.in_(AWAITING), Invoice.kind == InvoiceKind.INVOICE)
    rows = rows.where(Invoice.issued_on >= day - timedelta(days=_NEWS_DAYS)).order_by(Invoice.id).limit(CHUNK)
    if after is not None:
        rows = rows.where(Invoice.id > after)
    found = (await session.scalars(rows)).all()
    if not found:
        return None
    tenant = await session.get_one(Tenant, tenant_id)
    owners = {row.customer_id for row in found}
    customers = await _customers(session, owners)
    profiles = select(BillingProfile).where(BillingProfile.customer_id.in_(owners))
    contacts = {
        row.customer_id: messages.Contact(row.contact_name, row.contact_mobile, row.contact_email)
        for row in await session.scalars(profiles)
    }
    for invoice in found:
        # Who is late already, or was due on the day itself, is reminded.
        if invoice.due_on is not None and invoice.due_on > day:
            await messages.tell(
                session,
                customers[invoice.customer_id],
                "invoice.issued",
                by=None,
                contact=contacts.get(invoice.customer_id),
                once=f"invoice.issued/{invoice.id.hex}",
                number=invoice.number or "",
                day=f"{periods.day_in_words(invoice.due_on)} {invoice.due_on.year}",
                amount=messages.amount(tenant, invoice.total_minor - invoice.paid_minor),
            )
    return found[-1].id


async def time_ends(session: AsyncSession, tenant_id: UUID, day: date, after: UUID | None) -> UUID | None:
    """Tell of the next services whose time ends within three days, or ended in the last two, by id. The last one's id;
    None at the end. Who renews by itself is told when the wallet is short, and not here."""
    now = clock.now()
    rows = select(Service).where(
        Service.status.in_((ServiceStatus.ACTIVE, ServiceStatus.EXPIRED)),
        Service.auto_renew.is_(False),
        Service.expires_at > now - timedelta(days=_NEWS_DAYS),
        Service.expires_at <= now + _AHEAD,
    )
    rows = rows.order_by(Service.id).limit(CHUNK)
    if after is not None:
        rows = rows.where(Service.id > after)
    found = (await session.scalars(rows)).all()
    if not found:
        return None
    tenant = await session.get_one(Tenant, tenant_id)
    customers = await _customers(session, {row.customer_id for row in found})
    named = select(Package.id, Package.name).where(Package.id.in_({row.package_id for row in found}))
    packages: Mapping[UUID, str] = {row.id: row.name for row in await session.execute(named)}
    for service in found:
        assert service.expires_at is not None
        event = "service.expiring" if service.expires_at > now else "service.expired"
        await messages.tell(
            session,
            customers[service.customer_id],
            event,
            by=None,
            once=f"{event}/{service.id.hex}/{int(service.expires_at.timestamp())}",
            package=packages[service.package_id],
            until=instant(tenant, service.expires_at),
        )
    return found[-1].id


def instant(tenant: Tenant, at: datetime) -> str:
    """A moment by the tenant's clock, as it is written to customers."""
    return f"{at.astimezone(ZoneInfo(tenant.time_zone)):%Y-%m-%d %H:%M}"


async def _customers(session: AsyncSession, found: set[UUID]) -> Mapping[UUID, Customer]:
    rows: Sequence[Customer] = (await session.scalars(select(Customer).where(Customer.id.in_(found)))).all()
    return {row.id: row for row in rows}

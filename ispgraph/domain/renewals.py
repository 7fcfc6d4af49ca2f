"""Renewal from the wallet: another period for a service that is to renew itself, shortly before its time is over."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import audit, messages, services
from ispgraph.domain.billing import bills, invoices, ledger, periods, prices, proration
from ispgraph.domain.billing.periods import Period
from ispgraph.domain.models import BillingCycle, Customer, CustomerBalance, Package, Service, ServiceStatus, Tenant
from ispgraph.domain.network import changes

AHEAD = timedelta(hours=1)
"""How long before its end a service is renewed."""
_RENEWED = (ServiceStatus.ACTIVE, ServiceStatus.EXPIRED)


async def due(session: AsyncSession, at: datetime) -> Sequence[UUID]:
    """The services to be renewed: of customers whose wallets may cover it, or who were not told that they do not."""
    may_cover = CustomerBalance.wallet_minor >= Package.price_minor
    not_told = Service.renewal_told_for.is_distinct_from(Service.expires_at)
    rows = (
        select(Service.id)
        .join(Package, Package.id == Service.package_id)
        .join(CustomerBalance, CustomerBalance.customer_id == Service.customer_id)
        .where(Service.auto_renew, Service.status.in_(_RENEWED), Service.expires_at <= at + AHEAD)
        .where(Package.billing_cycle != BillingCycle.ONE_TIME, or_(may_cover, not_told))
    )
    return (await session.scalars(rows.order_by(Service.expires_at, Service.id))).all()


async def renew(session: AsyncSession, service_id: UUID) -> None:
    """One more period of its package, when the wallet covers it in full; else the customer is told, once for the end of
    a period. Of several who try, one does.

    The period begins where the service ends, or now when that is over: what was not served is not charged.
    """
    # As whoever changes a service: the customer first, and nothing of the service is believed before.
    owner = select(Service.customer_id).where(Service.id == service_id).scalar_subquery()
    lock = select(Customer).where(Customer.id == owner).with_for_update(key_share=True)
    customer = (await session.scalars(lock)).one()
    others = (await services.services_of(session, [customer.id]))[customer.id]
    service = next(row for row in others if row.id == service_id)
    now = clock.now()
    ends = service.expires_at
    if not service.auto_renew or service.status not in _RENEWED or ends is None or ends > now + AHEAD:
        return
    tenant = await session.get_one(Tenant, service.tenant_id)
    package = await session.get_one(Package, service.package_id)
    sold = await prices.sold(session, package, tenant, customer, now)
    anchor, period = _next(service.billing_anchor or ends, sold, max(ends, now), tenant.time_zone)
    if await bills.ahead(session, service.id, period.start):
        # Charged already, and not ours to charge again.
        return
    line = proration.whole(sold, period, tenant.time_zone)
    costs = invoices.amounts([line]).total_minor
    held = (await ledger.balances(session, [customer.id]))[customer.id].wallet_minor
    if held < costs:
        await _tell(session, customer, service, tenant, package, costs, held)
        return
    invoice = await bills.issue(
        session, tenant=tenant, service=service, lines=[line], period=period, charged=sold, at=now, by=None
    )
    service.expires_at, service.billing_anchor = period.end, anchor
    services.resumed(customer, service, others)
    await changes.changed(session, service, by=None)
    details = {"service": str(service.id), "invoice": invoice.number, "until": period.end.isoformat()}
    audit.noticed(session, tenant.id, "customer.renew", customer.id, details)


def _next(anchor: datetime, sold: proration.Sold, start: datetime, zone: str) -> tuple[datetime, Period]:
    """The period that begins then: the next one that is counted from the anchor, or else one counted from then on."""
    period = periods.period(anchor, sold.cycle, periods.number_at(anchor, sold.cycle, start, zone), zone)
    if period.start == start:
        return anchor, period
    return start, periods.period(start, sold.cycle, 0, zone)


async def _tell(
    session: AsyncSession,
    customer: Customer,
    service: Service,
    tenant: Tenant,
    package: Package,
    costs_minor: int,
    held_minor: int,
) -> None:
    ends = service.expires_at
    if ends is None or service.renewal_told_for == ends:
        return
    service.renewal_told_for = ends
    await messages.tell(
        session,
        customer,
        "renewal.short",
        by=None,
        until=f"{ends.astimezone(ZoneInfo(tenant.time_zone)):%Y-%m-%d %H:%M}",
        package=package.name,
        price=messages.amount(tenant, costs_minor),
        held=messages.amount(tenant, held_minor),
    )

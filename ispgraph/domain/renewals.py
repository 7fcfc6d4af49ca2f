"""Renewal from the wallet: another period for a service that is to renew itself, shortly before its time is over."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import audit, messages, services
from ispgraph.domain.billing import bills, charges, invoices, ledger, periods, prices, proration
from ispgraph.domain.billing.periods import Period
from ispgraph.domain.models import Customer, Package, Service, ServiceStatus, Tenant
from ispgraph.domain.network import changes

AHEAD = timedelta(hours=1)
"""How long before its end a service is renewed."""
_RENEWED = (ServiceStatus.ACTIVE, ServiceStatus.EXPIRED)
# By what the next period costs: a shorter one, or one at an agreed price, may cost less than the package does.
_DUE = text(f"""
    SELECT s.id FROM {charges.OF_SERVICES}
      JOIN customer_balances w ON w.tenant_id = s.tenant_id AND w.customer_id = s.customer_id
     CROSS JOIN LATERAL {charges.CYCLE} y
     CROSS JOIN LATERAL (SELECT {charges.AGREED} AS minor) a
     WHERE s.auto_renew AND s.status IN ('ACTIVE', 'EXPIRED') AND s.expires_at <= :until
       AND k.billing_cycle <> 'ONE_TIME'
       AND (s.renewal_told_for IS DISTINCT FROM s.expires_at OR w.wallet_minor >= {charges.PRICE})
     ORDER BY s.expires_at, s.id""")  # noqa: S608


async def due(session: AsyncSession, at: datetime) -> Sequence[UUID]:
    """The services to be renewed: of customers whose wallets may cover it, or who were not told that they do not."""
    return (await session.scalars(_DUE, {"at": at, "until": at + AHEAD})).all()


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

"""The periods of services: when the first one begins."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain.billing import bills, cycles, periods
from ispgraph.domain.models import BillingProfile, Package, Service, Tenant


async def begin(session: AsyncSession, service: Service, at: datetime) -> None:
    """The first period of a service that waited begins; one whose end was set already keeps that.

    It is as long as the package says, and was sold. The next one ends on the billing day of the customer, if there is
    one (`billing.cycles`).
    """
    service.started_at = at
    if service.expires_at is None:
        package = await session.get_one(Package, service.package_id)
        tenant = await session.get_one(Tenant, service.tenant_id)
        cycle = periods.cycle_of(package.billing_cycle, package.validity_days)
        service.billing_anchor = at
        period = periods.period(at, cycle, 0, tenant.time_zone)
        service.expires_at = period.end
        await bills.move(session, service, period)
        profile = await session.get(BillingProfile, (service.tenant_id, service.customer_id))
        if profile is not None and profile.billing_day is not None and cycle.months:
            service.billing_anchor = cycles.on_day(period.end, profile.billing_day, tenant.time_zone)

"""The periods of services: when the first one begins."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain.billing import bills, periods
from ispgraph.domain.models import Package, Service, Tenant


async def begin(session: AsyncSession, service: Service, at: datetime) -> None:
    """The first period of a service that waited begins; one whose end was set already keeps that."""
    service.started_at = at
    if service.expires_at is None:
        package = await session.get_one(Package, service.package_id)
        tenant = await session.get_one(Tenant, service.tenant_id)
        cycle = periods.cycle_of(package.billing_cycle, package.validity_days)
        service.billing_anchor = at
        period = periods.period(at, cycle, 0, tenant.time_zone)
        service.expires_at = period.end
        await bills.move(session, service, period)

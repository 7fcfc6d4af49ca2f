"""What a package costs one customer: the agreed price, in the cycle of the customer's billing profile. `charges` says
the same in SQL for many at once."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain.billing import cycles, overrides
from ispgraph.domain.billing.periods import Cycle
from ispgraph.domain.billing.proration import Sold
from ispgraph.domain.models import BillingProfile, Customer, Package, Tenant


async def sold(
    session: AsyncSession,
    package: Package,
    tenant: Tenant,
    customer: Customer,
    at: datetime,
    wanted: Cycle | None = None,
) -> Sold:
    """A period of a package as this customer is charged for it at a moment; as it would be in the `wanted` cycle."""
    agreed = await overrides.sold(
        session, package, tenant, operator_id=customer.operator_id, customer_id=customer.id, at=at
    )
    wanted = wanted or await cycle(session, package, customer.id)
    price = cycles.price_minor(agreed.price_minor, daily_rate_minor(package, agreed), agreed.cycle, wanted)
    return replace(agreed, cycle=wanted, price_minor=price)


async def cycle(session: AsyncSession, package: Package, customer_id: UUID) -> Cycle:
    """How long the periods of a package are for this customer."""
    profile = await session.get(BillingProfile, (package.tenant_id, customer_id))
    return cycles.chosen(package.billing_cycle, package.validity_days, profile.billing_cycle if profile else None)


def daily_rate_minor(package: Package, agreed: Sold) -> int | None:
    """The package's own rate of a day; None when another price was agreed, which then is split by days."""
    return package.daily_rate_minor if agreed.price_minor == package.price_minor else None

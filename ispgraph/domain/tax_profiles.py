"""Rates of tax by name, and which one is for a package."""

from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain import audit, values
from ispgraph.domain.conflicts import taken
from ispgraph.domain.errors import ErrorCode, Faults, not_found
from ispgraph.domain.models import Package, TaxProfile, Tenant
from ispgraph.domain.permissions import Viewer

_UNIQUE = {"uq_tax_profiles_tenant_id_name": ("input", "name")}


def rate(package: Any, tenant: Any) -> ColumnElement[Decimal]:
    """The rate of a package in percent: of its profile, else of the tenant's default profile, else the tenant's own.

    What is sold without a package has None for one.
    """
    default = select(TaxProfile.rate).where(TaxProfile.tenant_id == tenant.id, TaxProfile.is_default)
    rates = [default.correlate_except(TaxProfile).scalar_subquery(), tenant.tax_rate]
    if package is not None:
        own = select(TaxProfile.rate).where(TaxProfile.id == package.tax_profile_id)
        rates.insert(0, own.correlate_except(TaxProfile).scalar_subquery())
    return func.coalesce(*rates)


async def rate_of(session: AsyncSession, package: Package | None, tenant: Tenant) -> Decimal:
    """`rate` of rows at hand, as the database has them."""
    statement = select(rate(None if package is None else Package, Tenant)).where(Tenant.id == tenant.id)
    if package is not None:
        statement = statement.where(Package.tenant_id == Tenant.id, Package.id == package.id)
    return (await session.scalars(statement)).one()


def check_rate(faults: Faults, given: Decimal, *field: str) -> None:
    """A fault at the path when this is no rate of tax."""
    if not (given.is_finite() and 0 <= given <= 100 and given == round(given, 3)):
        faults.add(ErrorCode.INVALID, "A tax rate is from 0 to 100 per cent with at most three decimals.", *field)


async def save(
    session: AsyncSession, profile_id: UUID | None, *, name: str, rate: Decimal, is_default: bool, by: Viewer
) -> TaxProfile:
    """A new profile, or the one with this id with other terms. Invoices already made keep their rates.

    A new default takes the place of the one before. The same terms again change nothing.
    """
    # One at a time in a house: of two new defaults the second sees the first.
    await session.get_one(Tenant, by.tenant_id, with_for_update={"key_share": True})
    profile = None if profile_id is None else await session.get(TaxProfile, profile_id, with_for_update=True)
    if profile_id is not None and profile is None:
        raise not_found("tax profile", "input", "id")
    faults = Faults("input")
    called = values.checked(faults, values.text, name, 100, at=("name",))
    same = select(TaxProfile.id).where(TaxProfile.name == called, TaxProfile.id.is_distinct_from(profile_id))
    if called is not None and await session.scalar(same):
        faults.add(ErrorCode.TAKEN, "There is a tax profile of this name.", "name")
    check_rate(faults, rate, "rate")
    faults.raise_if_any()
    terms = {"name": called, "rate": rate, "is_default": is_default}
    changes = {key: value for key, value in terms.items() if profile is None or value != getattr(profile, key)}
    if profile is not None and not changes:
        return profile
    if is_default:
        others = and_(TaxProfile.is_default, TaxProfile.id.is_distinct_from(profile_id))
        await session.execute(update(TaxProfile).where(others).values(is_default=False))
    action = "tax_profile.create" if profile is None else "tax_profile.update"
    profile = profile or TaxProfile(tenant_id=by.tenant_id)
    for key, value in changes.items():
        setattr(profile, key, value)
    session.add(profile)
    async with taken(_UNIQUE):
        await session.flush()
    details: dict[str, object] = {key: str(value) for key, value in changes.items()}
    audit.record(session, by=by, action=action, subject_id=profile.id, details=details)
    return profile

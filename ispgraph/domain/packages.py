"""What is sold: rates, price, period, quota and fair use. Whoever is on line is told of a change."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, any_, func, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import amounts, audit, customers, jobs, tax_profiles, values, watches
from ispgraph.domain.billing.periods import cycle_of
from ispgraph.domain.billing.proration import Sold
from ispgraph.domain.conflicts import taken
from ispgraph.domain.errors import ErrorCode, Faults, not_found
from ispgraph.domain.models import (
    BillingCycle,
    ConnectionType,
    Job,
    Package,
    ResetPeriod,
    Service,
    ServiceStatus,
    TaxProfile,
    Tenant,
)
from ispgraph.domain.permissions import Viewer

MAXIMUM_KBPS = 100_000_000
MAXIMUM_DAYS = 3660

# A change of these may concern whoever is on line.
_NETWORK = frozenset(
    (
        *("download_kbps", "upload_kbps", "billing_cycle", "validity_days", "data_quota_bytes", "time_quota_seconds"),
        *("fup_threshold_bytes", "fup_threshold_seconds", "fup_download_kbps", "fup_upload_kbps"),
        *("fup_reset_period", "fup_notify_at_percent"),
    )
)
_UNIQUE = {"uq_packages_tenant_id_name": ("input", "name")}


@dataclass(frozen=True, slots=True)
class FairUse:
    """From one of the thresholds on, the rest of the period runs at the lower rates."""

    threshold_bytes: int | None
    threshold_seconds: int | None
    download_kbps: int
    upload_kbps: int
    reset_period: ResetPeriod
    notify_at_percent: int


@dataclass(frozen=True, slots=True)
class Terms:
    """Everything a package says, as given: amounts in the tenant's currency, rates in kbit/s, a quota per period."""

    name: str
    description: str | None
    connection_types: Sequence[ConnectionType]
    download_kbps: int
    upload_kbps: int
    price: Decimal
    billing_cycle: BillingCycle
    validity_days: int
    daily_rate: Decimal | None
    data_quota_bytes: int | None
    time_quota_seconds: int | None
    fup: FairUse | None
    active: bool
    bind_mac_on_first_login: bool = False
    allow_partial_day: bool = False
    tax_profile_id: UUID | None = None


def on_offer(package: Any, given: Mapping[str, Any]) -> ColumnElement[bool]:
    """Whether a package is among those asked for: with `active_only`, active; with `connection_type`, fit for it."""
    fit = given["connection_type"] == any_(package.connection_types) if "connection_type" in given else true()
    return and_(fit, package.active) if "active_only" in given else and_(true(), fit)


def customer_count(package: Any, by: Viewer) -> ColumnElement[int]:
    """How many customers in the viewer's scope have an active service of a package."""
    return (
        select(func.count(Service.customer_id.distinct()))
        .where(Service.package_id == package.id, Service.status == ServiceStatus.ACTIVE)
        .where(customers.belonging(by, Service.customer_id))
        .scalar_subquery()
    )


async def sold(session: AsyncSession, package: Package, tenant: Tenant) -> Sold:
    """A period of a package as it is sold now: its price, and its tax."""
    return Sold(
        name=package.name,
        cycle=cycle_of(package.billing_cycle, package.validity_days),
        price_minor=package.price_minor,
        currency=tenant.currency,
        tax_rate=await tax_profiles.rate_of(session, package, tenant),
        tax_included=tenant.tax_inclusive,
    )


async def create(session: AsyncSession, terms: Terms, *, by: Viewer) -> Package:
    """A new package."""
    package = Package(tenant_id=by.tenant_id, **await _columns(session, terms, None, by.currency))
    session.add(package)
    async with taken(_UNIQUE):
        await session.flush()
    audit.record(session, by=by, action="package.create", subject_id=package.id, details={"name": package.name})
    return package


async def check(session: AsyncSession, terms: Terms, currency: str) -> None:
    """Whether a new package could have these terms. Raises DomainError as `create`."""
    await _columns(session, terms, None, currency)


async def update(session: AsyncSession, package_id: UUID, terms: Terms, *, by: Viewer) -> tuple[Package, Sequence[Job]]:
    """The package on new terms, all of them. Invoices already made keep theirs; the same terms again change nothing.

    Beside it the jobs that tell the network of those on line: one for each of them, or one for all when they are many.
    """
    package = await session.get(Package, package_id, with_for_update=True)
    if package is None:
        raise not_found("package", "packageId")
    columns = await _columns(session, terms, package_id, by.currency)
    changes = {name: (getattr(package, name), new) for name, new in columns.items() if getattr(package, name) != new}
    if not changes:
        return package, []
    for name, (_, new) in changes.items():
        setattr(package, name, new)
    package.updated_at = clock.now()
    async with taken(_UNIQUE):
        await session.flush()
    details = {name: [_plain(old), _plain(new)] for name, (old, new) in changes.items()}
    audit.record(session, by=by, action="package.update", subject_id=package.id, details=details)
    return package, await _spread(session, package, by) if _NETWORK & changes.keys() else []


async def _spread(session: AsyncSession, package: Package, by: Viewer) -> Sequence[Job]:
    await watches.hurry(session, package.id)
    if await watches.count(session, package.id) <= watches.CHUNK:
        return (await watches.look(session, package_id=package.id, by=by.operator_id)).jobs
    arguments: dict[str, object] = {"package": str(package.id)}
    return [await jobs.enqueue(session, jobs.PACKAGE, tenant_id=by.tenant_id, by=by.operator_id, arguments=arguments)]


async def _columns(session: AsyncSession, terms: Terms, own_id: UUID | None, currency: str) -> dict[str, object]:
    faults = Faults("input")
    name = values.checked(faults, values.text, terms.name, 100, at=("name",))
    same = select(Package.id).where(Package.name == name, Package.id.is_distinct_from(own_id))
    if name is not None and await session.scalar(same):
        faults.add(ErrorCode.TAKEN, "There is a package of this name.", "name")
    description = None
    if terms.description is not None and terms.description.strip():
        description = values.checked(faults, values.text, terms.description, 2000, at=("description",), lines=True)
    _check_ranges(faults, terms)
    price = _amount(faults, terms.price, currency, "price")
    daily_rate = None if terms.daily_rate is None else _amount(faults, terms.daily_rate, currency, "dailyRate")
    fair_use = _fair_use(faults, terms)
    if terms.tax_profile_id is not None and await session.get(TaxProfile, terms.tax_profile_id) is None:
        faults.add(ErrorCode.NOT_FOUND, "There is no such tax profile.", "taxProfileId")
    faults.raise_if_any()
    return fair_use | {
        "name": name,
        "description": description,
        "active": terms.active,
        "connection_types": [kind.value for kind in terms.connection_types],
        "download_kbps": terms.download_kbps,
        "upload_kbps": terms.upload_kbps,
        "price_minor": price,
        "billing_cycle": terms.billing_cycle,
        "validity_days": terms.validity_days,
        "daily_rate_minor": daily_rate,
        "tax_profile_id": terms.tax_profile_id,
        "data_quota_bytes": terms.data_quota_bytes,
        "time_quota_seconds": terms.time_quota_seconds,
        "bind_mac_on_first_login": terms.bind_mac_on_first_login,
        "allow_partial_day": terms.allow_partial_day,
    }


def _check_ranges(faults: Faults, terms: Terms) -> None:
    if not terms.connection_types:
        faults.add(ErrorCode.REQUIRED, "Name at least one connection type.", "connectionTypes")
    elif len(set(terms.connection_types)) < len(terms.connection_types):
        faults.add(ErrorCode.INVALID, "A connection type stands here twice.", "connectionTypes")
    _between(faults, terms.download_kbps, 1, MAXIMUM_KBPS, "downloadKbps")
    _between(faults, terms.upload_kbps, 1, MAXIMUM_KBPS, "uploadKbps")
    _between(faults, terms.validity_days, 1, MAXIMUM_DAYS, "validityDays")
    _positive(faults, terms.data_quota_bytes, "dataQuotaBytes")
    _positive(faults, terms.time_quota_seconds, "timeQuotaSeconds")


def _fair_use(faults: Faults, terms: Terms) -> dict[str, object]:
    names = ("threshold_bytes", "threshold_seconds", "download_kbps", "upload_kbps", "reset_period")
    fup = terms.fup
    if fup is None:
        return {f"fup_{name}": None for name in (*names, "notify_at_percent")}
    if fup.threshold_bytes is None and fup.threshold_seconds is None:
        faults.add(ErrorCode.REQUIRED, "Fair use needs a threshold, of bytes or of seconds.", "fup", "thresholdBytes")
    _positive(faults, fup.threshold_bytes, "fup", "thresholdBytes")
    _positive(faults, fup.threshold_seconds, "fup", "thresholdSeconds")
    for rate, full, field in (
        (fup.download_kbps, terms.download_kbps, "downloadKbps"),
        (fup.upload_kbps, terms.upload_kbps, "uploadKbps"),
    ):
        if _between(faults, rate, 1, MAXIMUM_KBPS, "fup", field) and rate > full:
            faults.add(ErrorCode.INVALID, f"Fair use is not faster than the package ({full}).", "fup", field)
    if (fup.download_kbps, fup.upload_kbps) == (terms.download_kbps, terms.upload_kbps):
        faults.add(ErrorCode.INVALID, "Fair use must be slower than the package.", "fup", "downloadKbps")
    _between(faults, fup.notify_at_percent, 1, 100, "fup", "notifyAtPercent")
    return {f"fup_{name}": getattr(fup, name) for name in (*names, "notify_at_percent")}


def _between(faults: Faults, number: int, least: int, most: int, *field: str) -> bool:
    if least <= number <= most:
        return True
    faults.add(ErrorCode.INVALID, f"This must be from {least} to {most}.", *field)
    return False


def _positive(faults: Faults, number: int | None, *field: str) -> None:
    if number is not None and number < 1:
        faults.add(ErrorCode.INVALID, "This must be above zero; leave it out for no limit.", *field)


def _amount(faults: Faults, amount: Decimal, currency: str, field: str) -> int | None:
    minor = amounts.minor(faults, amount, currency, field)
    if minor is not None and minor < 0:
        faults.add(ErrorCode.INVALID, "This must not be below zero.", field)
    return minor


def _plain(value: object) -> object:
    if isinstance(value, UUID):
        return str(value)
    return value.value if isinstance(value, enum.Enum) else value

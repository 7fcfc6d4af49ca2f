"""Billing profiles: what is agreed with one customer, and what a change of it would bring."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Date, Integer, Select, and_, case, cast, func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from ispgraph.domain.billing import cycles, debts, periods, prices
from ispgraph.domain.billing.cycles import Upcoming
from ispgraph.domain.billing.periods import Cycle
from ispgraph.domain.models import (
    BillingCycle,
    BillingProfile,
    Customer,
    Package,
    PaymentMethod,
    Service,
    ServiceStatus,
    Tenant,
)
from ispgraph.domain.models.base import names

MUCH_GRACE_DAYS = 7
"""More days of grace than this, on top of those there were, want to be confirmed."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a profile says, or what counts where it says nothing."""

    billing_cycle: BillingCycle | None = None
    billing_day: int | None = None
    grace_days: int | None = None
    auto_generate: bool = True
    auto_suspend: bool = True
    auto_renew: bool = False
    payment_method: PaymentMethod | None = None
    contact_name: str | None = None
    contact_email: str | None = None
    contact_mobile: str | None = None


STORED = tuple(each.name for each in fields(Terms) if each.name != "auto_renew")
"""What has a column of its own; whether a service is renewed from the wallet stands with the service."""


@dataclass(frozen=True, slots=True)
class Impact:
    """What a change brings. `proration_minor`, with tax, is what the shorter periods cost that come next. `anchors` are
    those of the services whose periods end otherwise."""

    next_invoice_on: date | None
    next_suspension_on: date | None
    proration_minor: int
    requires_confirmation: bool
    explanation: str
    anchors: Mapping[UUID, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Served:
    """A service that is charged for again and again, with its package, and the rate of the tax."""

    service: Service
    package: Package
    ends_at: datetime

    @property
    def anchor(self) -> datetime:
        return self.service.billing_anchor or self.ends_at

    def cycle(self, terms: Terms) -> Cycle:
        return cycles.chosen(self.package.billing_cycle, self.package.validity_days, terms.billing_cycle)


def terms_of(profile: BillingProfile | None, services: Sequence[Service]) -> Terms:
    """What is agreed with a customer of these services."""
    renews = any(service.auto_renew for service in services if service.is_primary)
    if profile is None:
        return Terms(auto_renew=renews)
    stored = {name: getattr(profile, name) for name in STORED}
    return Terms(**stored, auto_renew=renews)


async def weigh(
    session: AsyncSession, customer: Customer, services: Sequence[Service], before: Terms, after: Terms
) -> Impact:
    """What it brings a customer with these services when other terms count."""
    tenant = await session.get_one(Tenant, customer.tenant_id)
    served = await _served(session, services)
    found = _Weighed(tenant, customer, before, after)
    for one in served:
        await found.look_at(session, one)
    bills_on = min((periods.local_date(one.ends_at, tenant.time_zone) for one in served), default=None)
    owed = await debts.of_customer(session, customer.id, tenant)
    usual = debts.rules_of(tenant, None)
    grace = usual.grace_days
    rules = replace(
        usual,
        grace_days=grace if after.grace_days is None else after.grace_days,
        suspends=after.auto_suspend,
    )
    more = rules.grace_days - (grace if before.grace_days is None else before.grace_days)
    said = [*found.said, *_said(before, after, more, rules.grace_days, bills_on)]
    return Impact(
        next_invoice_on=bills_on if after.auto_generate else None,
        next_suspension_on=_earlier(debts.next_suspension(owed, services, rules), _set_for(services)),
        proration_minor=found.minor,
        requires_confirmation=(
            found.big
            or (before.auto_generate and not after.auto_generate)
            or (before.auto_suspend and not after.auto_suspend)
            or more > MUCH_GRACE_DAYS
        ),
        explanation=" ".join(said) or "Neither what is charged changes by this, nor when.",
        anchors=found.anchors,
    )


@dataclass(slots=True)
class _Weighed:
    """What is found service by service."""

    tenant: Tenant
    customer: Customer
    before: Terms
    after: Terms
    minor: int = 0
    big: bool = False
    said: list[str] = field(default_factory=list)
    anchors: dict[UUID, datetime] = field(default_factory=dict)

    async def look_at(self, session: AsyncSession, one: _Served) -> None:
        zone = self.tenant.time_zone
        was, cycle = one.cycle(self.before), one.cycle(self.after)
        anchor = one.anchor if cycle == was else one.ends_at
        day = self.after.billing_day
        moved = day is not None and (day != self.before.billing_day or anchor != one.anchor)
        if day is not None and moved and cycle.months:
            anchor = cycles.on_day(one.ends_at, day, zone)
        self.big = self.big or cycle != was
        next_one = cycles.upcoming(anchor, cycle, one.ends_at, zone)
        if cycle == was and next_one == cycles.upcoming(one.anchor, was, one.ends_at, zone):
            return
        self.anchors[one.service.id] = anchor
        self.said.append(await self._charged(session, one, cycle, next_one))

    async def _charged(self, session: AsyncSession, one: _Served, cycle: Cycle, next_one: Upcoming) -> str:
        zone = self.tenant.time_zone
        sold = await prices.sold(session, one.package, self.tenant, self.customer, one.ends_at, cycle)
        line = cycles.line(sold, next_one, zone)
        kept = f"{one.package.name} stays as it is paid for, until {_day(one.ends_at, zone)}."
        if next_one.partial:
            self.big = True
            self.minor += line.amount_minor + line.tax_minor
            follows = f"Then comes {line.description}: {line.explanation} Whole periods of {cycle.words} follow."
        else:
            follows = f"Then comes {line.description}: {line.explanation}"
        return f"{kept} {follows}"


def _said(before: Terms, after: Terms, more_grace: int, grace_days: int, bills_on: date | None) -> list[str]:
    """What changes besides the periods, for a person."""
    said = []
    if before.auto_generate != after.auto_generate:
        again = f"Invoices are made by themselves again{f', the next one on {bills_on}' if bills_on else ''}."
        said.append(again if after.auto_generate else "No invoices are made by themselves any more.")
    if before.auto_suspend != after.auto_suspend:
        off = "Services are not suspended any more when an invoice is not paid."
        said.append("Services are suspended again when an invoice is not paid." if after.auto_suspend else off)
    if more_grace:
        said.append(f"Services go on for {periods.in_days(grace_days)} after an invoice was due.")
    if before.auto_renew != after.auto_renew:
        off = "Services are not renewed from the wallet any more."
        said.append("Services are renewed from the wallet." if after.auto_renew else off)
    return said


def _day(at: datetime, zone: str) -> str:
    day = periods.local_date(at, zone)
    return f"{periods.day_in_words(day)} {day.year}"


async def _served(session: AsyncSession, services: Sequence[Service]) -> list[_Served]:
    packages = select(Package).where(Package.id.in_({service.package_id for service in services}))
    by_id = {row.id: row for row in await session.scalars(packages)}
    return [
        _Served(service, by_id[service.package_id], service.expires_at)
        for service in services
        if service.status is not ServiceStatus.TERMINATED
        and service.expires_at is not None
        and by_id[service.package_id].billing_cycle is not BillingCycle.ONE_TIME
    ]


def _set_for(services: Sequence[Service]) -> date | None:
    days = [service.suspend_on for service in services if service.status is ServiceStatus.ACTIVE]
    return min((day for day in days if day is not None), default=None)


def _earlier(one: date | None, other: date | None) -> date | None:
    return min((day for day in (one, other) if day is not None), default=None)


async def suspended_on(session: AsyncSession, customer: Customer, services: Sequence[Service], on: date) -> Impact:
    """What it brings when the primary service is suspended on a day: money neither comes nor goes."""
    tenant = await session.get_one(Tenant, customer.tenant_id)
    profile = await session.get(BillingProfile, (customer.tenant_id, customer.id))
    terms = terms_of(profile, services)
    served = await _served(session, services)
    bills_on = min((periods.local_date(one.ends_at, tenant.time_zone) for one in served), default=None)
    owed = await debts.of_customer(session, customer.id, tenant)
    said = ["Nothing is charged and nothing is given back."]
    for one in served:
        if one.service.is_primary and (unused := (periods.local_date(one.ends_at, tenant.time_zone) - on).days) > 0:
            paid = _day(one.ends_at, tenant.time_zone)
            said.append(f"{one.package.name} is paid for until {paid}: {periods.in_days(unused)} of it are not used.")
    if bills_on is not None and terms.auto_generate:
        said.append(f"The next invoice is made on {bills_on} all the same.")
    return Impact(
        next_invoice_on=bills_on if terms.auto_generate else None,
        next_suspension_on=_earlier(on, debts.next_suspension(owed, services, debts.rules_of(tenant, profile))),
        proration_minor=0,
        requires_confirmation=False,
        explanation=" ".join(said),
    )


def shown(customer: Any, zone: str) -> Select[Any]:
    """The profile of a customer, whether there is a row or not, as a row of what `BillingProfile` shows."""
    tenant, profile = aliased(Tenant), aliased(BillingProfile)
    primary, package = aliased(Service), aliased(Package)
    once = package.billing_cycle == BillingCycle.ONE_TIME
    kind = names(BillingCycle)
    cycle = func.coalesce(
        case((once, package.billing_cycle), else_=profile.billing_cycle),
        package.billing_cycle,
        literal(BillingCycle.MONTHLY, kind),
        type_=kind,
    )
    counted = func.coalesce(primary.billing_anchor, primary.expires_at, customer.joined_at)
    rows: Any = select(
        cycle.label("billing_cycle"),
        func.coalesce(profile.billing_day, cast(func.extract("day", func.timezone(zone, counted)), Integer)).label(
            "billing_day"
        ),
        func.coalesce(profile.grace_days, tenant.dunning_grace_days).label("grace_days"),
        func.coalesce(profile.auto_generate, True).label("auto_generate"),
        func.coalesce(profile.auto_suspend, True).label("auto_suspend"),
        func.coalesce(primary.auto_renew, False).label("auto_renew"),
        profile.payment_method,
        profile.contact_name,
        profile.contact_email,
        profile.contact_mobile,
        case((func.coalesce(profile.auto_generate, True), _bills_on(customer, zone))).label("next_invoice_on"),
        func.least(
            debts.next_suspension_on(customer, tenant, profile, zone), _set_in_sql(customer), type_=Date()
        ).label("next_suspension_on"),
    )
    found: Select[Any] = (
        rows.select_from(tenant)
        .outerjoin(profile, and_(profile.tenant_id == tenant.id, profile.customer_id == customer.id))
        .outerjoin(primary, and_(primary.customer_id == customer.id, primary.is_primary))
        .outerjoin(package, package.id == primary.package_id)
        .where(tenant.id == customer.tenant_id)
    )
    return found


def _bills_on(customer: Any, zone: str) -> Any:
    service, package = aliased(Service), aliased(Package)
    return (
        select(func.min(cast(func.timezone(zone, service.expires_at), Date)))
        .join(package, package.id == service.package_id)
        .where(service.customer_id == customer.id, service.status != ServiceStatus.TERMINATED)
        .where(package.billing_cycle != BillingCycle.ONE_TIME)
        .correlate_except(service, package)
        .scalar_subquery()
    )


def _set_in_sql(customer: Any) -> Any:
    service = aliased(Service)
    return (
        select(func.min(service.suspend_on))
        .where(service.customer_id == customer.id, service.status == ServiceStatus.ACTIVE)
        .correlate_except(service)
        .scalar_subquery()
    )

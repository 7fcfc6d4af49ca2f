"""Changing a customer's billing profile: weighed first, and confirmed where much depends on it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import audit, customers, idempotency, services, suspend_dates, values, watches
from ispgraph.domain.billing import cycles, dunning_run, periods, profiles
from ispgraph.domain.billing.profiles import Impact, Terms
from ispgraph.domain.errors import ErrorCode, Faults, fail, not_found
from ispgraph.domain.models import BillingCycle, BillingProfile, Customer, Package, Service, ServiceStatus
from ispgraph.domain.models.dunning import LAST_DAY_OF_ALL, MOST_GRACE_DAYS
from ispgraph.domain.permissions import Viewer

UPDATE = "customerUpdateBillingProfile"
Given = Mapping[str, Any]
"""New terms by the names of `Terms`, as typed; None takes away what can be taken away. What is not named stays."""


@dataclass(frozen=True, slots=True)
class _Known:
    customer: Customer
    services: Sequence[Service]
    profile: BillingProfile | None
    before: Terms


async def impact(session: AsyncSession, customer_id: UUID, given: Given, *, by: Viewer) -> Impact:
    """What a change would bring, without making it. Raises DomainError as `update` does, below `input`."""
    known = await _looked_at(session, customer_id, by)
    after = replace(known.before, **await _checked(session, known, given, by, ("input",)))
    return await profiles.weigh(session, known.customer, known.services, known.before, after)


async def suspend_date_impact(session: AsyncSession, customer_id: UUID, on: date, *, by: Viewer) -> Impact:
    """What it would bring to have the primary service suspended on a day to come. Raises DomainError."""
    suspend_dates.check_day(on, periods.local_date(clock.now(), by.time_zone), "suspendOn")
    known = await _looked_at(session, customer_id, by)
    return await profiles.suspended_on(session, known.customer, known.services, on)


async def update(
    session: AsyncSession,
    customer_id: UUID,
    given: Given,
    *,
    confirmed: bool,
    idempotency_key: str | None,
    by: Viewer,
) -> Customer:
    """The customer with these terms. What counts already changes nothing.

    Raises DomainError REQUIRED at input, confirmImpact for a change that wants to be confirmed and was not; INVALID for
    bad values, below input, profile.
    """
    meant = {"customer": customer_id, "confirmed": confirmed, **{key: str(value) for key, value in given.items()}}
    answer = await idempotency.claim(session, by=by, operation=UPDATE, key=idempotency_key, given=meant)
    if answer is not None:
        return await _seen(session, UUID(str(answer["customer"])), by, "input")
    customer = await customers.lock(session, customer_id, by=by)
    known = await _known(session, customer, (await services.services_of(session, [customer.id]))[customer.id])
    after = replace(known.before, **await _checked(session, known, given, by, ("input", "profile")))
    if after != known.before:
        found = await profiles.weigh(session, customer, known.services, known.before, after)
        if found.requires_confirmation and not confirmed:
            message = f"This changes much and wants to be confirmed. {found.explanation}"
            raise fail(ErrorCode.REQUIRED, message, "input", "confirmImpact")
        await _keep(session, known, after, found, by)
        # There may be more grace now.
        await dunning_run.relieve(session, customer, by=by, dunned_only=True)
    kept = {"customer": str(customer.id)}
    await idempotency.keep(session, by=by, operation=UPDATE, key=idempotency_key, answer=kept)
    return customer


async def _keep(session: AsyncSession, known: _Known, after: Terms, found: Impact, by: Viewer) -> None:
    customer = known.customer
    row = known.profile or BillingProfile(tenant_id=customer.tenant_id, customer_id=customer.id)
    for name in profiles.STORED:
        setattr(row, name, getattr(after, name))
    row.updated_at = clock.now()
    session.add(row)
    moved = {}
    for service in known.services:
        if service.status is not ServiceStatus.TERMINATED and after.auto_renew != known.before.auto_renew:
            service.auto_renew = after.auto_renew
        if (anchor := found.anchors.get(service.id)) is not None:
            moved[str(service.id)] = [_plain(service.billing_anchor), _plain(anchor)]
            service.billing_anchor = anchor
    await session.flush()
    # Quotas are those of billing periods.
    await watches.hurry_services(session, found.anchors)
    old, new = asdict(known.before), asdict(after)
    changed: dict[str, object] = {
        name: [_plain(old[name]), _plain(new[name])] for name in new if old[name] != new[name]
    }
    details = {"changed": changed, "anchors": moved, "explanation": found.explanation}
    audit.record(session, by=by, action="customer.update_billing_profile", subject_id=customer.id, details=details)


async def _seen(session: AsyncSession, customer_id: UUID, by: Viewer, *prefix: str) -> Customer:
    customer = await customers.find(session, customer_id, by=by)
    if customer is None:
        raise not_found("customer", *prefix, "customerId")
    return customer


async def _looked_at(session: AsyncSession, customer_id: UUID, by: Viewer) -> _Known:
    """Without locking anything."""
    customer = await _seen(session, customer_id, by)
    rows = select(Service).where(Service.customer_id == customer.id).order_by(Service.id)
    return await _known(session, customer, (await session.scalars(rows)).all())


async def _known(session: AsyncSession, customer: Customer, owned: Sequence[Service]) -> _Known:
    key = (customer.tenant_id, customer.id)
    profile = await session.get(BillingProfile, key, populate_existing=True)
    return _Known(customer, owned, profile, profiles.terms_of(profile, owned))


async def _checked(
    session: AsyncSession, known: _Known, given: Given, by: Viewer, prefix: tuple[str, ...]
) -> dict[str, Any]:
    """The terms that were given, as they are kept."""
    faults = Faults(*prefix)
    found = dict(given)
    if given.get("billing_cycle") is BillingCycle.ONE_TIME:
        message = "What is sold once is a package of its own: choose a cycle that comes again."
        faults.add(ErrorCode.INVALID, message, "billingCycle")
    if (day := given.get("billing_day")) is not None:
        if not 1 <= day <= LAST_DAY_OF_ALL:
            message = f"A billing day is from 1 to {LAST_DAY_OF_ALL}: the shortest month has no more."
            faults.add(ErrorCode.INVALID, message, "billingDay")
        elif not await _has_months(session, known, found.get("billing_cycle", known.before.billing_cycle)):
            message = "The periods of this customer are so many days, so they end on no fixed day of the month."
            faults.add(ErrorCode.INVALID, message, "billingDay")
    if (grace := given.get("grace_days")) is not None and not 0 <= grace <= MOST_GRACE_DAYS:
        faults.add(ErrorCode.INVALID, f"Days of grace are from 0 to {MOST_GRACE_DAYS}.", "graceDays")
    renewable = any(service.status is not ServiceStatus.TERMINATED for service in known.services)
    if given.get("auto_renew") and not renewable:
        faults.add(ErrorCode.INVALID_STATE, "This customer has no service that could be renewed.", "autoRenew")
    for name, read, options, at in (
        ("contact_name", values.text, (255,), "contactName"),
        ("contact_email", values.email, (), "contactEmail"),
        ("contact_mobile", values.phone, (by.country,), "contactMobile"),
    ):
        if name in given:
            blank = given[name] is None or not given[name].strip()
            found[name] = None if blank else values.checked(faults, read, given[name], *options, at=(at,))
    faults.raise_if_any()
    return found


async def _has_months(session: AsyncSession, known: _Known, cycle: BillingCycle | None) -> bool:
    """Whether the periods of any of the services are months; of none, they may come to be."""
    serving: Collection[UUID] = {
        service.package_id for service in known.services if service.status is not ServiceStatus.TERMINATED
    }
    rows = (await session.scalars(select(Package).where(Package.id.in_(serving)))).all()
    found = [cycles.chosen(row.billing_cycle, row.validity_days, cycle) for row in rows]
    return not found or any(each.months for each in found)


def _plain(value: Any) -> object:
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(getattr(value, "value", value))

"""Another package for a service: quoted, carried out at once or at the beginning of a day, and what was asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import action_rules, audit, customers, idempotency, messages, money, services
from ispgraph.domain.billing import debts, dunning_run, ledger, periods, plans, prices, quotes
from ispgraph.domain.billing.plans import Plan
from ispgraph.domain.billing.quotes import Quote
from ispgraph.domain.errors import DomainError, ErrorCode, Faults, fail, not_found
from ispgraph.domain.models import (
    Customer,
    OpenSession,
    Package,
    PackageChange,
    PackageChangeStatus,
    Service,
    ServiceStatus,
    Tenant,
)
from ispgraph.domain.network import changes, previews
from ispgraph.domain.onboarding import answers
from ispgraph.domain.pages import newest_first
from ispgraph.domain.permissions import Viewer
from ispgraph.domain.services import Chosen, Done

CHANGE, CANCEL = "customerChangePackage", "packageChangeCancel"
NEWEST = newest_first("package_changes", PackageChange.id)
LONGEST_REASON = 500
FARTHEST = timedelta(days=366)
REPLACED = "Another request took its place."


@dataclass(frozen=True, slots=True)
class Wish:
    """Which package is asked for, and from which day of the tenant's calendar on; None for now."""

    package_id: UUID
    effective_on: date | None = None


@dataclass(frozen=True, slots=True)
class _Case:
    """A change as it would be: everything it was computed from, and what it comes to."""

    tenant: Tenant
    customer: Customer
    service: Service
    others: Sequence[Service]
    before: Package
    plan: Plan
    held: ledger.Balance
    """What the customer has with us, and owes us, before."""
    effective_on: date
    waits: bool
    """Whether its day is yet to come."""


async def quote(session: AsyncSession, chosen: Chosen, wish: Wish, *, token_key: bytes, by: Viewer) -> Quote:
    """What a change would come to. Raises DomainError for what would not be done."""
    case = await _case(session, chosen, wish, *await services.seen(session, chosen, by))
    before = await previews.of_service(session, case.service.id)
    after = await previews.of_changed(session, case.service, *_values(case))
    until = clock.now() + quotes.LASTS
    return Quote(
        token=quotes.token(token_key, _facts(case), until),
        expires_at=datetime.fromtimestamp(int(until.timestamp()), UTC),
        lines=case.plan.lines,
        next_invoice_on=_next_invoice_on(case),
        effective_at=case.plan.at,
        radius_before=before.rows,
        radius_after=after.rows,
        warnings=await _warnings(session, case, before, after),
    )


async def change(
    session: AsyncSession,
    chosen: Chosen,
    wish: Wish,
    *,
    quote_token: str | None,
    reason: str | None,
    idempotency_key: str | None,
    token_keys: Sequence[bytes],
    by: Viewer,
) -> Done:
    """Give a service another package, or ask for that on a day to come; a request before that is still open gives way.

    Raises DomainError NO_CHANGE for the package that it has, INVALID_STATE for one that is not sold any more and for a
    service that was terminated, INVALID for one that is not for its connection and for a day that is over, QUOTE_STALE.
    """
    faults = Faults(*chosen.above)
    told = answers.optional(faults, reason, LONGEST_REASON, "reason")
    faults.raise_if_any()
    given = {"package": wish.package_id, "on": wish.effective_on, "token": quote_token, "reason": told}
    if (first := await services.done_before(session, CHANGE, idempotency_key, chosen, given, by)) is not None:
        return first
    customer, service, others = await services.locked(session, chosen, by)
    case = await _case(session, chosen, wish, customer, service, others)
    quotes.require(token_keys, quote_token, _facts(case))
    before = await previews.of_service(session, service.id)
    if case.waits:
        after = await previews.of_changed(session, service, *_values(case))
        warnings = await _warnings(session, case, before, after)
    await _replace(session, service)
    row = PackageChange(
        tenant_id=service.tenant_id,
        service_id=service.id,
        from_package_id=case.before.id,
        to_package_id=wish.package_id,
        effective_on=case.effective_on,
        status=PackageChangeStatus.SCHEDULED,
        requested_at=clock.now(),
        requested_by_id=by.operator_id,
        reason=told,
    )
    session.add(row)
    await session.flush()
    details = {"service": str(service.id), "from": str(case.before.id), "to": str(wish.package_id), "reason": told}
    if case.waits:
        details["on"] = case.effective_on.isoformat()
        audit.record(session, by=by, action="customer.plan_package", subject_id=customer.id, details=details)
        return await services.kept(session, CHANGE, idempotency_key, Done(customer, (), warnings), by)
    audit.record(session, by=by, action="customer.change_package", subject_id=customer.id, details=details)
    done = await _carry_out(session, case, row, before, by)
    return await services.kept(session, CHANGE, idempotency_key, done, by)


async def cancel(session: AsyncSession, change_id: UUID, *, idempotency_key: str | None, by: Viewer) -> PackageChange:
    """Take back a request that waits for its day. Raises DomainError INVALID_STATE for one that does not."""
    at = ("packageChangeId",)
    given = {"change": change_id}
    first = await idempotency.claim(session, by=by, operation=CANCEL, key=idempotency_key, given=given)
    found = select(PackageChange, Service.customer_id).join(Service, Service.id == PackageChange.service_id)
    row = (await session.execute(found.where(PackageChange.id == change_id))).one_or_none()
    if row is None:
        raise not_found("package change", *at)
    customer = await customers.lock(session, row.customer_id, by=by, at=at)
    request = await session.get_one(PackageChange, change_id, with_for_update=True, populate_existing=True)
    if first is not None:
        return request
    if request.status is not PackageChangeStatus.SCHEDULED:
        raise fail(ErrorCode.INVALID_STATE, "This request does not wait for its day any more.", *at)
    request.status = PackageChangeStatus.CANCELLED
    details = {"service": str(request.service_id), "to": str(request.to_package_id)}
    audit.record(session, by=by, action="customer.cancel_package", subject_id=customer.id, details=details)
    await idempotency.keep(session, by=by, operation=CANCEL, key=idempotency_key, answer={"change": str(change_id)})
    return request


# -- on a day


async def due(session: AsyncSession, today: date) -> Sequence[UUID]:
    """The requests whose day has begun, in the order of their days."""
    rows = select(PackageChange.id).where(
        PackageChange.status == PackageChangeStatus.SCHEDULED, PackageChange.effective_on <= today
    )
    return (await session.scalars(rows.order_by(PackageChange.effective_on, PackageChange.id))).all()


async def carry_out(session: AsyncSession, change_id: UUID) -> None:
    """Carry out a request whose day has begun, on the terms of today. Of several who try, one does.

    Raises DomainError when it cannot be; `failed` keeps why.
    """
    request = await session.get_one(PackageChange, change_id)
    # As whoever changes a service: the customer first, and nothing of the service is believed before.
    owner = select(Service.customer_id).where(Service.id == request.service_id).scalar_subquery()
    lock = select(Customer).where(Customer.id == owner).with_for_update(key_share=True)
    customer = (await session.scalars(lock)).one()
    others = (await services.services_of(session, [customer.id]))[customer.id]
    service = next(row for row in others if row.id == request.service_id)
    await session.refresh(request, with_for_update=True)
    if request.status is not PackageChangeStatus.SCHEDULED:
        return
    wish, chosen = Wish(request.to_package_id), Chosen(customer.id, service.id)
    case = await _case(session, chosen, wish, customer, service, others)
    before = await previews.of_service(session, service.id)
    request.from_package_id = case.before.id
    await _carry_out(session, case, request, before, None)
    details = {"service": str(service.id), "from": str(case.before.id), "to": str(request.to_package_id)}
    audit.noticed(session, customer.tenant_id, "customer.change_package", customer.id, details)


async def failed(session: AsyncSession, change_id: UUID, error: DomainError) -> None:
    """A request could not be carried out."""
    request = await session.get_one(PackageChange, change_id, with_for_update=True)
    if request.status is PackageChangeStatus.SCHEDULED:
        request.status = PackageChangeStatus.FAILED
        request.message = str(error)[:500]


# -- what a change is


async def _case(
    session: AsyncSession,
    chosen: Chosen,
    wish: Wish,
    customer: Customer,
    service: Service,
    others: Sequence[Service],
) -> _Case:
    tenant = await session.get_one(Tenant, service.tenant_id)
    now = clock.now()
    today = periods.local_date(now, tenant.time_zone)
    day = wish.effective_on or today
    action_rules.require(action_rules.change_package(service), *chosen.field)
    faults = Faults(*chosen.above)
    if not today <= day <= today + FARTHEST:
        faults.add(ErrorCode.INVALID, f"This must be from {today} to {today + FARTHEST}.", "effectiveOn")
    package = await session.get(Package, wish.package_id)
    if package is None:
        faults.add(ErrorCode.NOT_FOUND, "There is no such package.", "packageId")
    elif package.id == service.package_id:
        faults.add(ErrorCode.NO_CHANGE, "This is the package that the service has.", "packageId")
    elif not package.active:
        faults.add(ErrorCode.INVALID_STATE, f"The package {package.name} is not sold any more.", "packageId")
    else:
        answers.fits(faults, package, service.connection_type, "packageId")
    faults.raise_if_any()
    assert package is not None
    at = now if day == today else datetime.combine(day, time(), ZoneInfo(tenant.time_zone)).astimezone(UTC)
    sold = await prices.sold(session, package, tenant, customer, at)
    before = await session.get_one(Package, service.package_id)
    plan = await plans.plan(session, tenant=tenant, service=service, package=package, sold=sold, at=at)
    held = (await ledger.balances(session, [customer.id]))[customer.id]
    return _Case(tenant, customer, service, others, before, plan, held, day, day > today)


async def _carry_out(
    session: AsyncSession, case: _Case, request: PackageChange, before: previews.Preview, by: Viewer | None
) -> Done:
    invoice = await plans.carry_out(session, case.plan, tenant=case.tenant, service=case.service, by=by)
    services.resumed(case.customer, case.service, case.others)
    # What was given back has settled what was owed, or there is more time now.
    freed = await dunning_run.relieve(session, case.customer, by=by, dunned_only=True)
    request.status = PackageChangeStatus.APPLIED
    request.applied_at = case.plan.at
    request.invoice_id = invoice.id if invoice else None
    after = await previews.of_service(session, case.service.id)
    warnings = await _warnings(session, case, before, after)
    if case.plan.package.id != case.before.id:
        now, former = case.plan.package.name, case.before.name
        await messages.tell(session, case.customer, "package.changed", by=by, package=now, former=former)
    jobs = await changes.besides(session, case.service, freed, by=by.operator_id if by else None)
    return Done(case.customer, jobs, warnings, invoice)


async def _replace(session: AsyncSession, service: Service) -> None:
    waiting = select(PackageChange).where(
        PackageChange.service_id == service.id, PackageChange.status == PackageChangeStatus.SCHEDULED
    )
    for row in await session.scalars(waiting.with_for_update()):
        row.status, row.message = PackageChangeStatus.CANCELLED, REPLACED
    await session.flush()


def _values(case: _Case) -> tuple[Mapping[str, object], Mapping[str, object]]:
    """What of the service and its customer would be another value."""
    plan, service = case.plan, case.service
    values: dict[str, object] = {
        "package_id": plan.package.id,
        "expires_at": plan.ends_at,
        "billing_anchor": plan.anchor,
    }
    if service.status is not ServiceStatus.EXPIRED:
        return values, {}
    statuses = {other.status for other in case.others if other is not service} | {ServiceStatus.ACTIVE}
    return values | {"status": ServiceStatus.ACTIVE}, {"status": services.status_of_customer(statuses)}


def _next_invoice_on(case: _Case) -> date | None:
    if case.plan.ends_at is None or not case.plan.sold.cycle.recurs:
        return None
    return periods.local_date(case.plan.ends_at, case.tenant.time_zone)


def _facts(case: _Case) -> quotes.Facts:
    rows = [each.row for each in case.plan.given_back]
    return quotes.facts(
        CHANGE,
        tenant=case.tenant,
        service=case.service,
        package=case.plan.package,
        sold=case.plan.sold,
        held=case.held,
        today=periods.local_date(clock.now(), case.tenant.time_zone),
        on=case.effective_on,
        charged=[[row.id, row.starts_at, row.ends_at, row.price_minor, row.tax_rate] for row in rows],
    )


async def _warnings(
    session: AsyncSession, case: _Case, before: previews.Preview, after: previews.Preview
) -> Sequence[str]:
    """What follows that one may not expect. `before` was seen before the change, `after` with it."""
    old, new, found = case.before, case.plan.package, []
    if new.download_kbps < old.download_kbps or new.upload_kbps < old.upload_kbps:
        rates = f"{new.download_kbps}/{new.upload_kbps} kbit/s in place of {old.download_kbps}/{old.upload_kbps}"
        found.append(f"{new.name} is slower: {rates} (down/up).")
    if new.data_quota_bytes is not None and not 0 < (old.data_quota_bytes or 0) <= new.data_quota_bytes:
        found.append(f"{new.name} has less data for a period than {old.name}.")
    if after.barred is not None:
        found.append(f"The service is off line on {new.name}: {after.barred.lower()}.")
    elif after.fup_active and not before.fup_active:
        found.append(f"Fair use of {new.name} counts at once: its threshold is reached already.")
    if case.service.status is ServiceStatus.SUSPENDED:
        gives = debts.suspended_for_debt(case.service) and case.plan.amounts.total_minor < 0
        unless = " unless what is given back settles what is owed" if gives else ""
        found.append(f"The service is suspended, and stays so{unless}.")
    if case.held.receivable_minor > 0:
        found.append(f"The customer owes {money.shown(case.held.receivable_minor, case.tenant.currency)}.")
    if after.ends_sessions(before) and await _on_line(session, case.service):
        found.append("The open session ends, because it cannot be kept: the customer has to dial in again.")
    if case.waits and case.service.expires_at is not None and case.service.expires_at < case.plan.at:
        found.append("The time of the service is over before that day.")
    return found


async def _on_line(session: AsyncSession, service: Service) -> bool:
    rows = select(OpenSession.session_id).where(OpenSession.service_id == service.id)
    return await session.scalar(rows.limit(1)) is not None

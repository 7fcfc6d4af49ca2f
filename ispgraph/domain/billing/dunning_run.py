"""Dunning carried out: reminders written, services suspended, and put on line again when the debt is gone.

Whoever does something about an invoice holds the lock of its customer, as whoever takes money for it does, and looks
again at what is owed and what was done. So of several schedulers, or of one and a cashier, the second sees what the
first has done, and every step is done once.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import exists, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import hosting, messages, services
from ispgraph.domain.billing import debts, dunning, periods
from ispgraph.domain.billing import invoices as billing
from ispgraph.domain.billing.debts import Debt
from ispgraph.domain.billing.dunning import Due, Step
from ispgraph.domain.models import (
    Customer,
    DunningKind,
    DunningOutcome,
    DunningStep,
    Invoice,
    InvoiceKind,
    Job,
    Service,
    ServiceStatus,
    SuspendReason,
    Tenant,
)
from ispgraph.domain.network import changes
from ispgraph.domain.permissions import Viewer

CHUNK = 200
"""How many invoices are looked at in one transaction."""


# Whether dunning has stopped a service, or would have since it was stopped.
_DUNNED = exists().where(
    Invoice.tenant_id == Service.tenant_id,
    Invoice.customer_id == Service.customer_id,
    DunningStep.tenant_id == Invoice.tenant_id,
    DunningStep.invoice_id == Invoice.id,
    DunningStep.outcome == DunningOutcome.SUSPENDED,
    DunningStep.done_at >= Service.suspended_at,
)


@dataclass(frozen=True, slots=True)
class _Ripe:
    """A debt about which something is to be done, and the service that stops when it is not paid, if there is one."""

    debt: Debt
    due: Due
    service: Service | None


async def chunk(session: AsyncSession, tenant_id: UUID, day: date, after: UUID | None) -> UUID | None:
    """Do what is due on a day about the next open invoices of a tenant, by id. The last one's id; None at the end.

    A service that is suspended for another reason, or not active, is left alone: the step waits for it. The debts that
    a service is off line for when they run out of grace count as one: whoever puts it on line by hand gives time for
    all of them.
    """
    tenant = await session.get_one(Tenant, tenant_id)
    ahead = date.fromordinal(day.toordinal() + max(tenant.dunning_before, default=0))
    rows = select(Invoice).where(Invoice.status.in_(billing.AWAITING), Invoice.due_on <= ahead)
    rows = rows.where(Invoice.kind == InvoiceKind.INVOICE).order_by(Invoice.id).limit(CHUNK)
    if after is not None:
        rows = rows.where(Invoice.id > after)
    looked = (await session.scalars(rows)).all()
    if not looked:
        return None
    found = await _ripe(session, looked, await _services(session, looked), tenant, day)
    if found:
        await _act(session, tenant, [one.debt.invoice for one in found], day)
    return looked[-1].id


async def relief(session: AsyncSession, tenant_id: UUID, day: date, after: UUID | None) -> UUID | None:
    """Put those on line again whose debt is gone by a way on which nobody has looked at once: by what a tenant has
    decided there is more grace now. The next services by id; the last one's id; None at the end.

    Whom an operator has suspended by hand, before any invoice was past its grace, is not among them.
    """
    rows = select(Service.id, Service.customer_id).where(
        Service.status == ServiceStatus.SUSPENDED,
        Service.suspend_reason == SuspendReason.NON_PAYMENT,
        or_(Service.expires_at.is_(None), Service.expires_at > clock.now()),
        _DUNNED,
    )
    rows = rows.order_by(Service.id).limit(CHUNK)
    if after is not None:
        rows = rows.where(Service.id > after)
    held = (await session.execute(rows)).all()
    if not held:
        return None
    owing = select(Invoice).where(Invoice.customer_id.in_({row.customer_id for row in held}))
    owing = owing.where(Invoice.status.in_(billing.AWAITING))
    tenant = await session.get_one(Tenant, tenant_id)
    owed = await debts.of(session, (await session.scalars(owing)).all(), tenant)
    late = [debt for debt in owed if debt.suspension_on is not None and debt.suspension_on <= day]
    owned = await _services(session, [debt.invoice for debt in late])
    kept = {one.id for debt in late for one in owned[debt.invoice.customer_id] if debt.concerns(one)}
    freed = {row.customer_id for row in held if row.id not in kept}
    locked = select(Customer).where(Customer.id.in_(freed)).order_by(Customer.id).with_for_update(key_share=True)
    for customer in (await session.scalars(locked)).all():
        await relieve(session, customer, by=None)
    last: UUID = held[-1].id
    return last


async def relieve(
    session: AsyncSession, customer: Customer, *, by: Viewer | None, dunned_only: bool = False
) -> Sequence[Job]:
    """Put the services of a locked customer on line again that are `free` now; whatever gives or pays something, or
    gives time, ends with this. All that was changed before is flushed: the services are read anew."""
    await session.flush()
    owned = (await services.services_of(session, [customer.id]))[customer.id]
    freed = await free(session, customer, owned, dunned_only=dunned_only)
    for service in freed:
        chosen = services.Chosen(customer.id, service.id)
        await services.put_on_line(session, customer, service, owned, chosen, told="Paid", notify=True, by=by)
    jobs = await changes.all_changed(session, freed, by=by.operator_id if by else None) if freed else {}
    return [job for each in jobs.values() for job in each]


async def free(
    session: AsyncSession,
    customer: Customer,
    owned: Sequence[Service],
    *,
    dunned_only: bool = False,
    prolonged: Service | None = None,
) -> Sequence[Service]:
    """Of a customer's services those that were suspended because of debts, where none of these is past its grace any
    more. One whose time is over is not, unless it is to be `prolonged`.

    With `dunned_only` also not one that an operator has suspended by hand before any invoice was past its grace: only
    a payment frees it, as nobody knows what else was to be paid.
    """
    now = clock.now()
    held = [
        service
        for service in owned
        if debts.suspended_for_debt(service)
        and (service.expires_at is None or service.expires_at > now or service is prolonged)
    ]
    if held and dunned_only:
        rows = select(Service.id).where(Service.id.in_([service.id for service in held]), _DUNNED)
        dunned = set(await session.scalars(rows))
        held = [service for service in held if service.id in dunned]
    if not held:
        return []
    tenant = await session.get_one(Tenant, customer.tenant_id)
    today = periods.local_date(now, tenant.time_zone)
    late = [
        debt
        for debt in await debts.of_customer(session, customer.id, tenant)
        if debt.suspension_on is not None and debt.suspension_on <= today
    ]
    return [service for service in held if not any(debt.concerns(service) for debt in late)]


async def _ripe(
    session: AsyncSession,
    rows: Sequence[Invoice],
    owned: Mapping[UUID, Sequence[Service]],
    tenant: Tenant,
    day: date,
) -> list[_Ripe]:
    found = []
    for debt in await debts.of(session, rows, tenant):
        service = next((one for one in owned[debt.invoice.customer_id] if debt.concerns(one)), None)
        stops = service is not None and (service.status is ServiceStatus.ACTIVE or debts.suspended_for_debt(service))
        due = dunning.due(debt.steps, debt.keys, day, can_suspend=stops)
        if due.taken is not None or due.passed:
            found.append(_Ripe(debt, due, service))
    return found


async def _act(session: AsyncSession, tenant: Tenant, rows: Sequence[Invoice], day: date) -> None:
    owners = {row.customer_id for row in rows}
    # In the order of their ids, as everybody who locks several.
    held = select(Customer).where(Customer.id.in_(owners)).order_by(Customer.id)
    again = select(Invoice).where(Invoice.id.in_([row.id for row in rows])).order_by(Invoice.id)
    fresh = {"populate_existing": True}
    customers = {
        row.id: row for row in await session.scalars(held.with_for_update(key_share=True), execution_options=fresh)
    }
    owned = await services.services_of(session, owners)
    await hosting.look_ahead(session, owners)
    changed: dict[UUID, Service] = {}
    for one in await _ripe(session, (await session.scalars(again, execution_options=fresh)).all(), owned, tenant, day):
        customer = customers[one.debt.invoice.customer_id]
        for step in one.due.passed:
            _done(session, one.debt, step, DunningOutcome.PASSED_OVER)
        if one.due.taken is None:
            continue
        if one.due.taken.kind is DunningKind.REMINDER:
            await _remind(session, tenant, customer, one.debt, day)
            _done(session, one.debt, one.due.taken, DunningOutcome.SENT)
        elif (service := one.service) is not None:
            if service.status is ServiceStatus.ACTIVE:
                await _suspend(session, customer, service, owned[customer.id], one.debt)
                changed[service.id] = service
            _done(session, one.debt, one.due.taken, DunningOutcome.SUSPENDED)
    if changed:
        await changes.all_changed(session, list(changed.values()), by=None)


async def _suspend(
    session: AsyncSession, customer: Customer, service: Service, owned: Sequence[Service], debt: Debt
) -> None:
    await services.take_off_line(
        session,
        customer,
        service,
        owned,
        services.Chosen(customer.id, service.id),
        reason=SuspendReason.NON_PAYMENT,
        told=f"Invoice {debt.invoice.number}",
        notify=True,
        by=None,
    )


async def _remind(session: AsyncSession, tenant: Tenant, customer: Customer, debt: Debt, day: date) -> None:
    invoice, profile = debt.invoice, debt.profile
    assert invoice.due_on is not None
    told = {
        "number": invoice.number or "",
        "day": f"{periods.day_in_words(invoice.due_on)} {invoice.due_on.year}",
        "amount": messages.amount(tenant, invoice.total_minor - invoice.paid_minor),
    }
    late = day > invoice.due_on
    if late:
        planned = [step for step in debt.steps if step.kind is DunningKind.SUSPENSION and step.key not in debt.keys]
        stops = [f"{periods.day_in_words(step.on)} {step.on.year}" for step in planned if step.on > day]
        told["otherwise"] = f"Your internet service will be suspended on {stops[0]}." if stops else ""
    contact = None
    if profile is not None:
        contact = messages.Contact(profile.contact_name, profile.contact_mobile, profile.contact_email)
    event = "invoice.overdue" if late else "invoice.due"
    await messages.tell(session, customer, event, by=None, contact=contact, **told)


def _done(session: AsyncSession, debt: Debt, step: Step, outcome: DunningOutcome) -> None:
    session.add(
        DunningStep(
            tenant_id=debt.invoice.tenant_id,
            invoice_id=debt.invoice.id,
            kind=step.kind,
            counted_from=step.counted_from,
            days=step.days,
            planned_on=step.on,
            rule=step.rule,
            outcome=outcome,
            done_at=clock.now(),
        )
    )


async def _services(session: AsyncSession, rows: Collection[Invoice]) -> Mapping[UUID, Sequence[Service]]:
    """The services of those who owe these invoices, not locked."""
    found: dict[UUID, list[Service]] = {row.customer_id: [] for row in rows}
    for service in await session.scalars(select(Service).where(Service.customer_id.in_(found)).order_by(Service.id)):
        found[service.customer_id].append(service)
    return found

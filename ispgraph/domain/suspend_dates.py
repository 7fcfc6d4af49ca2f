"""Days on which services are to be suspended: once, or on a day of every month. The scheduler does it, and reminds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import action_rules, audit, messages, services
from ispgraph.domain.billing import periods
from ispgraph.domain.errors import ErrorCode, Faults, fail
from ispgraph.domain.models import Customer, Service, ServiceStatus, SuspendReason, SuspendRule, Tenant
from ispgraph.domain.models.dunning import LAST_DAY_OF_ALL, MOST_REMIND_DAYS
from ispgraph.domain.network import changes
from ispgraph.domain.permissions import Viewer
from ispgraph.domain.services import Chosen, Done

SET = "customerSetSuspendDate"
CHUNK = 200
FURTHEST = timedelta(days=3660)
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Wanted:
    """On which day: one to come, or a day of every month; neither takes it away."""

    suspend_on: date | None
    recurring_day: int | None
    remind_days_before: int | None


async def set_date(
    session: AsyncSession, chosen: Chosen, wanted: Wanted, *, idempotency_key: str | None, by: Viewer
) -> Done:
    """Have a service suspended on a day to come, or on a day of every month, in place of what was set before.

    With all of `wanted` None it is not any more. Raises DomainError INVALID for a day that has come, NO_CHANGE when
    there is nothing to take away, INVALID_STATE for a service that was terminated.
    """
    today = periods.local_date(clock.now(), by.time_zone)
    check(wanted, today)
    given = {
        "on": wanted.suspend_on,
        "recurring": wanted.recurring_day,
        "remind": wanted.remind_days_before,
    }
    if (first := await services.done_before(session, SET, idempotency_key, chosen, given, by)) is not None:
        return first
    customer, service, _ = await services.locked(session, chosen, by)
    action_rules.require(action_rules.set_suspend_date(service), *chosen.field)
    rule = await session.get(SuspendRule, (by.tenant_id, service.id))
    before = _told(service, rule)
    on = wanted.suspend_on
    if wanted.recurring_day is not None:
        on = next_day(today, wanted.recurring_day)
    if on is None:
        if rule is None:
            raise fail(ErrorCode.NO_CHANGE, "No day is set on which this service is suspended.", *chosen.field)
        await session.delete(rule)
        rule = None
    else:
        rule = rule or SuspendRule(tenant_id=by.tenant_id, service_id=service.id)
        rule.recurring_day = wanted.recurring_day
        rule.remind_days_before = wanted.remind_days_before
        rule.reminded_for = None
        session.add(rule)
    service.suspend_on = on
    details = {"service": str(service.id), "before": before, "after": _told(service, rule)}
    audit.record(session, by=by, action="customer.set_suspend_date", subject_id=customer.id, details=details)
    return await services.kept(session, SET, idempotency_key, Done(customer, []), by)


def check(wanted: Wanted, today: date) -> None:
    """Raises DomainError for what is no rule, below `input`."""
    faults = Faults("input")
    on, day, remind = wanted.suspend_on, wanted.recurring_day, wanted.remind_days_before
    if on is not None:
        _check_day(faults, on, today, "suspendOn")
    if on is not None and day is not None:
        faults.add(ErrorCode.INVALID, "Give one day, or a day of every month, not both.", "recurringDayOfMonth")
    if day is not None and not 1 <= day <= LAST_DAY_OF_ALL:
        message = f"A day of every month is from 1 to {LAST_DAY_OF_ALL}: the shortest month has no more."
        faults.add(ErrorCode.INVALID, message, "recurringDayOfMonth")
    if remind is not None and not 1 <= remind <= MOST_REMIND_DAYS:
        faults.add(ErrorCode.INVALID, f"A reminder is 1 to {MOST_REMIND_DAYS} days before.", "remindDaysBefore")
    if remind is not None and on is None and day is None:
        faults.add(ErrorCode.REQUIRED, "Say on which day.", "suspendOn")
    faults.raise_if_any()


def check_day(on: date, today: date, *field: str) -> None:
    """Raises DomainError INVALID for a day on which nobody can be suspended any more, or that is too far away."""
    faults = Faults()
    _check_day(faults, on, today, *field)
    faults.raise_if_any()


def _check_day(faults: Faults, on: date, today: date, *field: str) -> None:
    if on <= today:
        message = f"This day must come after today, {today}. To suspend a service now, suspend it."
        faults.add(ErrorCode.INVALID, message, *field)
    elif on > today + FURTHEST:
        faults.add(ErrorCode.INVALID, f"This day must come before {today + FURTHEST + _DAY}.", *field)


def next_day(today: date, day: int) -> date:
    """The first such day of a month after today."""
    if day > today.day:
        return today.replace(day=day)
    year, month = divmod(today.year * 12 + today.month, 12)
    return date(year, month + 1, day)


async def chunk(session: AsyncSession, tenant_id: UUID, day: date, after: UUID | None) -> UUID | None:
    """Do what is due on a day about the next services of a tenant, by id. The last one's id; None at the end.

    A day that went by while nothing ran is made up for once; a reminder is not. A service that is not active on its day
    is left alone.
    """
    due = _due(day).limit(CHUNK)
    if after is not None:
        due = due.where(Service.id > after)
    rows = (await session.execute(due)).all()
    if not rows:
        return None
    owners = {row.customer_id for row in rows}
    held = select(Customer).where(Customer.id.in_(owners)).order_by(Customer.id).with_for_update(key_share=True)
    customers = {row.id: row for row in await session.scalars(held)}
    owned = await services.services_of(session, owners)
    # Locked, and so asked again: another scheduler may have been faster.
    again = (await session.execute(_due(day).where(Service.id.in_([row.id for row in rows])))).all()
    tenant = await session.get_one(Tenant, tenant_id)
    changed = []
    for row in again:
        service = next(each for each in owned[row.customer_id] if each.id == row.id)
        rule = await session.get_one(SuspendRule, (tenant_id, row.id), populate_existing=True)
        customer = customers[row.customer_id]
        assert service.suspend_on is not None
        if service.suspend_on > day:
            await _remind(session, customer, service, rule)
        elif await _suspend(session, customer, service, owned[row.customer_id], rule, day, tenant):
            changed.append(service)
    if changed:
        await changes.all_changed(session, changed, by=None)
    last: UUID = rows[-1].id
    return last


def _due(day: date) -> Select[UUID, UUID]:
    ruled = and_(SuspendRule.tenant_id == Service.tenant_id, SuspendRule.service_id == Service.id)
    to_tell = and_(
        Service.suspend_on - func.coalesce(SuspendRule.remind_days_before, 0) <= day,
        SuspendRule.remind_days_before.is_not(None),
        SuspendRule.reminded_for.is_distinct_from(Service.suspend_on),
    )
    rows = select(Service.id, Service.customer_id).join(SuspendRule, ruled)
    return rows.where(or_(Service.suspend_on <= day, to_tell)).order_by(Service.id)


async def _remind(session: AsyncSession, customer: Customer, service: Service, rule: SuspendRule) -> None:
    on = service.suspend_on
    rule.reminded_for = on
    if on is not None and service.status is ServiceStatus.ACTIVE:
        told = f"{periods.day_in_words(on)} {on.year}"
        await messages.tell(session, customer, "service.suspend_soon", by=None, day=told)


async def _suspend(
    session: AsyncSession,
    customer: Customer,
    service: Service,
    owned: Sequence[Service],
    rule: SuspendRule,
    day: date,
    tenant: Tenant,
) -> bool:
    """Whether it was active."""
    on = service.suspend_on
    active = service.status is ServiceStatus.ACTIVE
    if rule.recurring_day is None:
        await session.delete(rule)
        service.suspend_on = None
    else:
        today = max(day, periods.local_date(clock.now(), tenant.time_zone))
        service.suspend_on = next_day(today, rule.recurring_day)
    if active:
        every = "" if rule.recurring_day is None else f", as on day {rule.recurring_day} of every month"
        await services.take_off_line(
            session,
            customer,
            service,
            owned,
            Chosen(customer.id, service.id),
            reason=SuspendReason.OTHER,
            told=f"The day set for it has come: {on}{every}",
            notify=True,
            by=None,
        )
    return active


def _told(service: Service, rule: SuspendRule | None) -> dict[str, object] | None:
    if rule is None:
        return None
    return {
        "suspend_on": str(service.suspend_on),
        "recurring_day": rule.recurring_day,
        "remind_days_before": rule.remind_days_before,
    }

"""Bills that a person asks for: time of a service, a period or a part of one, or an amount for something else."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import action_rules, amounts, audit, customers, idempotency, services, tax_profiles
from ispgraph.domain.billing import bills, dunning_run, invoices, payments, periods, prices, proration
from ispgraph.domain.billing.periods import Period
from ispgraph.domain.billing.proration import Sold
from ispgraph.domain.conflicts import taken
from ispgraph.domain.errors import ErrorCode, Faults, fail, not_found
from ispgraph.domain.models import BilledPeriod, Customer, Invoice, Package, Service, ServiceStatus, Tenant
from ispgraph.domain.network import changes
from ispgraph.domain.onboarding import answers
from ispgraph.domain.permissions import Viewer
from ispgraph.domain.services import Chosen

OPERATION = "customerGenerateBill"
WITHOUT_NAME = "Charge"
"""What an amount is for, when nobody says."""

_FAR = timedelta(days=3660)
_ONCE = {bills.ONCE: ("input", "periodStart")}
_NOT_BILLED = {
    ServiceStatus.PENDING: "This service has not begun: its first period was billed when it was made.",
    ServiceStatus.EXPIRED: action_rules.TIME_IS_OVER,
    ServiceStatus.TERMINATED: "This service was terminated: it has no more time to bill.",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A bill as asked for. Without an amount it is for time of the service; the first day of that time, and the day
    before which it ends, are left out for the next period. `tax_rate` in percent, None: the usual one."""

    package_id: UUID | None = None
    amount: Decimal | None = None
    period_start: date | None = None
    period_end: date | None = None
    prorate: bool = False
    due_on: date | None = None
    description: str | None = None
    tax_rate: Decimal | None = None

    def as_given(self) -> Mapping[str, object]:
        """For the comparison of keys."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class _Time:
    """Time of a service, and the whole period that it is, or is a part of."""

    part: Period
    whole: Period

    @property
    def is_whole(self) -> bool:
        return self.part == self.whole


async def generate(
    session: AsyncSession, chosen: Chosen, wanted: Wanted, *, idempotency_key: str | None, by: Viewer
) -> tuple[Invoice, Customer]:
    """An open invoice over an amount, which charges no time, or over time of a service; wallets pay what they can.

    Time is charged once: raises DomainError TAKEN for what is on another invoice. What follows the time that is paid
    for is served too; a part leaves the rest of its period to be billed. INVALID_STATE for a service that is not to be
    billed, INVALID for what cannot be.
    """
    today = periods.local_date(clock.now(), by.time_zone)
    minor, told = _checked(wanted, today, by.currency)
    given = {**wanted.as_given(), "customer": chosen.customer_id, "service": chosen.service_id}
    first = await idempotency.claim(session, by=by, operation=OPERATION, key=idempotency_key, given=given)
    if first is not None:
        return await _again(session, UUID(str(first["invoice"])), by)
    tenant = await session.get_one(Tenant, by.tenant_id)
    if minor is None:
        customer, service, _ = await services.locked(session, chosen, by)
        invoice = await _of_time(session, tenant, service, wanted, told, chosen, by)
    else:
        customer = await customers.lock(session, chosen.customer_id, by=by)
        invoice = await _of_amount(session, tenant, chosen, wanted, minor, told, by)
    details = {"invoice": invoice.number, "total_minor": invoice.total_minor}
    audit.record(session, by=by, action="invoice.generate", subject_id=customer.id, details=details)
    # There may be more time now.
    await dunning_run.relieve(session, customer, by=by, dunned_only=True)
    answer = {"invoice": str(invoice.id)}
    await idempotency.keep(session, by=by, operation=OPERATION, key=idempotency_key, answer=answer)
    return invoice, customer


def _checked(wanted: Wanted, today: date, currency: str) -> tuple[int | None, str | None]:
    """The amount in minor units, and the description."""
    faults = Faults("input")
    told = answers.optional(faults, wanted.description, 300, "description")
    minor = None if wanted.amount is None else amounts.minor(faults, wanted.amount, currency, "amount")
    if minor is not None and minor <= 0:
        faults.add(ErrorCode.INVALID, "The amount must be more than zero.", "amount")
    if wanted.amount is not None and wanted.package_id is not None:
        faults.add(ErrorCode.INVALID, "A bill is for a package or over an amount, not both.", "amount")
    if wanted.amount is not None and wanted.prorate:
        faults.add(ErrorCode.INVALID, "Only the price of a package is prorated.", "prorate")
    if wanted.tax_rate is not None:
        tax_profiles.check_rate(faults, wanted.tax_rate, "taxRate")
    if wanted.due_on is not None and wanted.due_on < today:
        faults.add(ErrorCode.INVALID, "This day is over.", "dueOn")
    start, end = wanted.period_start, wanted.period_end
    for day, field in ((start, "periodStart"), (end, "periodEnd")):
        if day is not None and abs(day - today) > _FAR:
            faults.add(ErrorCode.INVALID, "This is more than ten years away.", field)
    if start is not None and end is not None and end <= start:
        faults.add(ErrorCode.INVALID, "A period ends after it begins.", "periodEnd")
    if wanted.amount is not None and (start is None) != (end is None):
        missing = "periodStart" if start is None else "periodEnd"
        faults.add(ErrorCode.REQUIRED, "Give both ends of the period that the amount is for, or none.", missing)
    faults.raise_if_any()
    return minor, told


async def _again(session: AsyncSession, invoice_id: UUID, by: Viewer) -> tuple[Invoice, Customer]:
    invoice = await session.get_one(Invoice, invoice_id)
    customer = await customers.find(session, invoice.customer_id, by=by)
    if customer is None:
        raise not_found("customer", "input", "customerId")
    return invoice, customer


# -- an amount


async def _of_amount(
    session: AsyncSession, tenant: Tenant, chosen: Chosen, wanted: Wanted, minor: int, told: str | None, by: Viewer
) -> Invoice:
    if chosen.service_id is not None:
        service = await session.get(Service, chosen.service_id)
        if service is None or service.customer_id != chosen.customer_id:
            raise not_found("service", *chosen.field)
    rate = await tax_profiles.rate_of(session, None, tenant) if wanted.tax_rate is None else wanted.tax_rate
    at, zone = clock.now(), ZoneInfo(tenant.time_zone)
    start, end = (
        None if day is None else datetime(day.year, day.month, day.day, tzinfo=zone)
        for day in (wanted.period_start, wanted.period_end)
    )
    invoice = await invoices.draft(
        session,
        tenant=tenant,
        customer_id=chosen.customer_id,
        service_id=chosen.service_id,
        lines=[invoices.Line(told or WITHOUT_NAME, minor, rate, tax_included=tenant.tax_inclusive)],
        period_start=start,
        period_end=end,
    )
    await invoices.open(session, invoice, tenant=tenant, at=at, by=by, due_on=wanted.due_on)
    customer_id = chosen.customer_id
    await payments.from_wallet(session, tenant=tenant, customer_id=customer_id, invoices=[invoice], at=at, by=by)
    return invoice


# -- time


async def _of_time(
    session: AsyncSession,
    tenant: Tenant,
    service: Service,
    wanted: Wanted,
    told: str | None,
    chosen: Chosen,
    by: Viewer,
) -> Invoice:
    if service.status in _NOT_BILLED:
        raise fail(ErrorCode.INVALID_STATE, _NOT_BILLED[service.status], *chosen.field)
    if wanted.package_id is not None and wanted.package_id != service.package_id:
        message = "The service has another package: change it, or bill an amount."
        raise fail(ErrorCode.INVALID, message, "input", "packageId")
    package = await session.get_one(Package, service.package_id)
    customer = await session.get_one(Customer, service.customer_id)
    sold = await prices.sold(session, package, tenant, customer, clock.now())
    if wanted.tax_rate is not None:
        sold = replace(sold, tax_rate=wanted.tax_rate)
    at = clock.now()
    time = _time(service, sold, wanted, tenant.time_zone, at, chosen)
    await _check_free(session, service, time.part)
    if time.is_whole:
        line = proration.whole(sold, time.whole, tenant.time_zone)
    else:
        line = proration.part(sold, time.whole, time.part, tenant.time_zone)
    async with taken(_ONCE, "This time was charged just now."):
        invoice = await bills.issue(
            session,
            tenant=tenant,
            service=service,
            lines=[line if told is None else replace(line, description=told)],
            period=time.part,
            charged=replace(sold, price_minor=line.unit_price_minor),
            at=at,
            by=by,
            due_on=wanted.due_on,
        )
    await _serve(session, service, time, at, by)
    return invoice


def _time(service: Service, sold: Sold, wanted: Wanted, zone: str, at: datetime, chosen: Chosen) -> _Time:
    """Which time is meant. Days begin and end at the time of day at which the periods of the service do."""
    end = service.expires_at
    if end is None:
        raise fail(ErrorCode.INVALID_STATE, "This service has no end that is paid for.", *chosen.field)
    if not sold.cycle.recurs:
        raise fail(ErrorCode.INVALID_STATE, "A package that is sold once has no next period.", *chosen.field)
    anchor = service.billing_anchor or end
    start, anchor = _start(wanted.period_start, end, anchor, zone, at)
    number = periods.number_at(anchor, sold.cycle, start, zone)
    whole = periods.period(anchor, sold.cycle, number, zone)
    if start > whole.start and proration.days_left(whole, start, zone) == 0:
        # No day of it is left, so what is left goes with the next.
        whole = Period(start, periods.boundary(anchor, sold.cycle, number + 2, zone))
    last = whole.end if wanted.period_end is None else _at_the_time_of(anchor, wanted.period_end, zone)
    if last > whole.end:
        until = periods.local_date(whole.end, zone)
        message = f"This period ends on {until.isoformat()}: bill the next one on its own."
        raise fail(ErrorCode.INVALID, message, "input", "periodEnd")
    if last <= start:
        raise fail(ErrorCode.INVALID, "A period ends after it begins.", "input", "periodEnd")
    asked = wanted.period_start is not None or wanted.period_end is not None
    time = _Time(Period(start, last), whole)
    if asked and not time.is_whole and not wanted.prorate:
        message = "This is a part of a period: ask to prorate its price, or bill the whole."
        raise fail(ErrorCode.INVALID, message, "input", "prorate")
    return time


def _start(day: date | None, end: datetime, anchor: datetime, zone: str, at: datetime) -> tuple[datetime, datetime]:
    """When the time begins, and what its periods are counted from: anew, where there was none that was paid for."""
    if day is None or day == periods.local_date(end, zone):
        return end, anchor
    today = periods.local_date(at, zone)
    start = at if day == today and end <= at else _at_the_time_of(anchor, day, zone)
    if start < end:
        return start, anchor
    if day > today:
        free = periods.local_date(end, zone).isoformat()
        raise fail(ErrorCode.INVALID, f"The time from {free} on is still to be billed.", "input", "periodStart")
    return start, start


def _at_the_time_of(anchor: datetime, day: date, zone: str) -> datetime:
    """The anchor's time of day on another day."""
    days = (day - periods.local_date(anchor, zone)).days
    return periods.boundary(anchor, periods.Cycle(0, 1), days, zone)


async def _check_free(session: AsyncSession, service: Service, part: Period) -> None:
    """No moment of it is charged. Whoever charges it meanwhile is met by the constraint."""
    overlap = func.tstzrange(BilledPeriod.starts_at, BilledPeriod.ends_at).op("&&")(
        func.tstzrange(part.start, part.end)
    )
    rows = select(Invoice.number).join(BilledPeriod, BilledPeriod.invoice_id == Invoice.id)
    mine = rows.where(BilledPeriod.service_id == service.id, BilledPeriod.released_at.is_(None), overlap)
    number = await session.scalar(mine.order_by(BilledPeriod.starts_at).limit(1))
    if number is not None:
        message = f"Time from this day on is charged on {number} already."
        raise fail(ErrorCode.TAKEN, message, "input", "periodStart")


async def _serve(session: AsyncSession, service: Service, time: _Time, at: datetime, by: Viewer) -> None:
    """What was billed next is served: the service ends later. Who was off line for that comes back."""
    end = service.expires_at
    if end is None or time.part.end <= end:
        return
    service.billing_anchor = service.billing_anchor or end
    if time.part.start > end:
        service.billing_anchor = time.part.start
    service.expires_at = time.part.end
    await session.flush()
    if end <= at < time.part.end and service.status is ServiceStatus.ACTIVE:
        await changes.changed(session, service, by=by.operator_id)

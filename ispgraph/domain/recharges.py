"""Daily recharge: some days more for a service, paid at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import action_rules, audit, money, notices, services
from ispgraph.domain.billing import (
    bills,
    dunning_run,
    invoices,
    ledger,
    overrides,
    payments,
    periods,
    prices,
    proration,
    quotes,
)
from ispgraph.domain.billing.invoices import Line
from ispgraph.domain.billing.periods import Cycle, Period
from ispgraph.domain.billing.proration import Sold
from ispgraph.domain.billing.quotes import Quote
from ispgraph.domain.errors import ErrorCode, Faults, fail
from ispgraph.domain.models import (
    Customer,
    Invoice,
    Package,
    Payment,
    PaymentCategory,
    PaymentMethod,
    Service,
    ServiceStatus,
    Tenant,
)
from ispgraph.domain.network import changes, previews
from ispgraph.domain.onboarding import answers
from ispgraph.domain.permissions import Viewer
from ispgraph.domain.services import Chosen, Done

RECHARGE = "customerDailyRecharge"
MOST_DAYS = 30


@dataclass(frozen=True, slots=True)
class Wish:
    """How many days and hours more, and of which package; None for the one that the service has."""

    days: int
    package_id: UUID | None = None
    hours: int = 0


@dataclass(frozen=True, slots=True)
class Paid:
    """How the recharge is paid, as typed."""

    method: PaymentMethod
    reference: str | None


@dataclass(frozen=True, slots=True)
class _Case:
    tenant: Tenant
    customer: Customer
    service: Service
    others: Sequence[Service]
    package: Package
    sold: Sold
    period: Period
    line: Line
    held: ledger.Balance
    freed: bool
    """Whether it is off line because of debts of which none is left that would keep it there."""


def span(start: datetime, days: int, hours: int, zone: str) -> Period:
    """So many days of the calendar in a zone, and then so many hours by the clock."""
    whole = periods.boundary(start, Cycle(0, days), 1, zone) if days else start
    return Period(start, whole + timedelta(hours=hours))


def line(sold: Sold, daily_rate_minor: int | None, days: int, start: datetime, zone: str, hours: int = 0) -> Line:
    """What some days from an instant on cost: the one rule of the product.

    So many times the daily rate of the package; without one, as much of the price of a period as they are of the days
    of a period that began then, rounded once. An hour is the 24th part of a day, whatever the clocks do.
    """
    long = periods.in_days(days) if days else ""
    if hours:
        long += f"{' and ' if days else ''}{hours} {'hour' if hours == 1 else 'hours'}"
    description = f"{sold.name}, {long}, {periods.span(span(start, days, hours, zone), zone)}"
    if daily_rate_minor is not None:
        rate = money.shown(daily_rate_minor, sold.currency)
        if hours:
            return Line(
                description=description,
                unit_price_minor=money.half_up(daily_rate_minor * Fraction(24 * days + hours, 24)),
                tax_rate=sold.tax_rate,
                tax_included=sold.tax_included,
                explanation=f"{long} at {rate} for 24 hours, {sold.tax}.",
            )
        return Line(
            description=description,
            unit_price_minor=daily_rate_minor,
            quantity=Decimal(days),
            tax_rate=sold.tax_rate,
            tax_included=sold.tax_included,
            explanation=f"{periods.in_days(days)} at {rate} a day, {sold.tax}.",
        )
    of = proration.days(periods.period(start, sold.cycle, 0, zone), zone)
    return Line(
        description=description,
        unit_price_minor=money.half_up(sold.price_minor * Fraction(24 * days + hours, 24 * of)),
        tax_rate=sold.tax_rate,
        tax_included=sold.tax_included,
        explanation=f"{long} at {sold.price} for {periods.in_days(of)}, {sold.tax}.",
    )


async def quote(session: AsyncSession, chosen: Chosen, wish: Wish, *, token_key: bytes, by: Viewer) -> Quote:
    """What a recharge would come to. Raises DomainError for what would not be done."""
    case = await _case(session, chosen, wish, *await services.seen(session, chosen, by))
    until = clock.now() + quotes.LASTS
    before = await previews.of_service(session, case.service.id)
    after = await previews.of_changed(session, case.service, *_values(case))
    return Quote(
        token=quotes.token(token_key, _facts(case, wish), until),
        expires_at=datetime.fromtimestamp(int(until.timestamp()), UTC),
        lines=[case.line],
        next_invoice_on=periods.local_date(case.period.end, case.tenant.time_zone),
        effective_at=case.period.start,
        radius_before=before.rows,
        radius_after=after.rows,
        warnings=_warnings(case, after),
    )


async def recharge(
    session: AsyncSession,
    chosen: Chosen,
    wish: Wish,
    paid: Paid,
    *,
    auto_renew: bool | None,
    quote_token: str | None,
    idempotency_key: str | None,
    token_keys: Sequence[bytes],
    by: Viewer,
) -> Done:
    """Let a service go on for some days from its end, or from now when that is over; invoiced and paid at once.

    Raises DomainError INSUFFICIENT_FUNDS when the wallet is to pay and does not cover it, INVALID_STATE for a service
    that has not begun, has no end, or was terminated, and for another package before the time is over; QUOTE_STALE.
    """
    faults = Faults(*chosen.above)
    reference = answers.optional(faults, paid.reference, 255, "reference")
    if paid.method is PaymentMethod.VOUCHER:
        faults.add(ErrorCode.INVALID, "A voucher is redeemed, not recorded as a payment.", "method")
    faults.raise_if_any()
    given = {
        "days": wish.days,
        "hours": wish.hours,
        "package": wish.package_id,
        "method": paid.method.value,
        "reference": reference,
        "renew": auto_renew,
        "token": quote_token,
    }
    if (first := await services.done_before(session, RECHARGE, idempotency_key, chosen, given, by)) is not None:
        return first
    customer, service, others = await services.locked(session, chosen, by)
    case = await _case(session, chosen, wish, customer, service, others)
    quotes.require(token_keys, quote_token, _facts(case, wish))
    service.package_id, service.expires_at = case.package.id, case.period.end
    # What follows is counted from where these days end.
    service.billing_anchor = case.period.end
    if auto_renew is not None:
        service.auto_renew = auto_renew
    invoice = await _invoice(session, case, by)
    payment = await _payment(session, case, invoice, Paid(paid.method, reference), by)
    if payment is not None and payment.method is not PaymentMethod.WALLET:
        await notices.payment_received(session, case.tenant, customer, payment, by=by)
    services.resumed(customer, service, others)
    freed = await dunning_run.relieve(session, customer, by=by, dunned_only=True)
    warnings = _warnings(case, await previews.of_service(session, service.id))
    jobs = await changes.besides(session, service, freed, by=by.operator_id)
    details = {
        "service": str(service.id),
        "days": wish.days,
        "hours": wish.hours,
        "invoice": invoice.number,
        "method": paid.method.value,
        "until": case.period.end.isoformat(),
    }
    audit.record(session, by=by, action="customer.recharge", subject_id=customer.id, details=details)
    done = Done(customer, jobs, warnings, invoice, payment)
    return await services.kept(session, RECHARGE, idempotency_key, done, by)


async def _case(
    session: AsyncSession,
    chosen: Chosen,
    wish: Wish,
    customer: Customer,
    service: Service,
    others: Sequence[Service],
) -> _Case:
    now = clock.now()
    faults = Faults(*chosen.above)
    if not 0 <= wish.hours <= 23:
        faults.add(ErrorCode.INVALID, "This must be from 0 to 23.", "hours")
    elif not (0 if wish.hours else 1) <= wish.days <= MOST_DAYS:
        faults.add(ErrorCode.INVALID, f"This must be from {0 if wish.hours else 1} to {MOST_DAYS}.", "days")
    action_rules.require(action_rules.recharge_days(service), *chosen.field)
    assert service.expires_at is not None
    package = await session.get(Package, wish.package_id or service.package_id)
    if package is None:
        faults.add(ErrorCode.NOT_FOUND, "There is no such package.", "packageId")
    elif package.id != service.package_id:
        if service.expires_at > now:
            message = "The time of this service is not over: change its package first."
            faults.add(ErrorCode.INVALID_STATE, message, "packageId")
        if not package.active:
            faults.add(ErrorCode.INVALID_STATE, f"The package {package.name} is not sold any more.", "packageId")
        answers.fits(faults, package, service.connection_type, "packageId")
    if package is not None and wish.hours and not package.allow_partial_day:
        faults.add(ErrorCode.INVALID, f"Of {package.name} only whole days are sold.", "hours")
    faults.raise_if_any()
    assert package is not None
    tenant = await session.get_one(Tenant, service.tenant_id)
    sold = await overrides.sold(
        session, package, tenant, operator_id=customer.operator_id, customer_id=customer.id, at=now
    )
    start, zone = max(now, service.expires_at), tenant.time_zone
    period = span(start, wish.days, wish.hours, zone)
    priced = line(sold, prices.daily_rate_minor(package, sold), wish.days, start, zone, wish.hours)
    held = (await ledger.balances(session, [customer.id]))[customer.id]
    free = await dunning_run.free(session, customer, [service], dunned_only=True, prolonged=service)
    return _Case(tenant, customer, service, others, package, sold, period, priced, held, bool(free))


async def _invoice(session: AsyncSession, case: _Case, by: Viewer) -> Invoice:
    invoice = await invoices.draft(
        session,
        tenant=case.tenant,
        customer_id=case.customer.id,
        service_id=case.service.id,
        lines=[case.line],
        period_start=case.period.start,
        period_end=case.period.end,
    )
    price = case.line.amount_minor + (case.line.tax_minor if case.sold.tax_included else 0)
    await bills.charge(session, invoice, case.service, case.period, replace(case.sold, price_minor=price))
    return await invoices.open(session, invoice, tenant=case.tenant, at=clock.now(), by=by)


async def _payment(session: AsyncSession, case: _Case, invoice: Invoice, paid: Paid, by: Viewer) -> Payment | None:
    if invoice.total_minor == 0:
        return None
    if paid.method is PaymentMethod.WALLET:
        spent = await payments.from_wallet(
            session, tenant=case.tenant, customer_id=case.customer.id, invoices=[invoice], at=clock.now(), by=by
        )
        if spent is None or spent.amount_minor < invoice.total_minor:
            shown = money.shown(case.held.wallet_minor, case.tenant.currency)
            raise fail(ErrorCode.INSUFFICIENT_FUNDS, f"The wallet holds {shown}.", "input", "method")
        return spent
    return await payments.record(
        session,
        tenant=case.tenant,
        customer_id=case.customer.id,
        amount_minor=invoice.total_minor,
        method=paid.method,
        category=PaymentCategory.RECHARGE,
        reference=paid.reference,
        notes=None,
        at=clock.now(),
        by=by,
        invoices=[invoice],
    )


def _values(case: _Case) -> tuple[Mapping[str, object], Mapping[str, object]]:
    """What of the service and its customer would be another value."""
    values: dict[str, object] = {
        "package_id": case.package.id,
        "expires_at": case.period.end,
        "billing_anchor": case.period.end,
    }
    if case.service.status is not ServiceStatus.EXPIRED and not case.freed:
        return values, {}
    if case.freed:
        values |= {"suspend_reason": None, "suspended_at": None}
    statuses = {other.status for other in case.others if other is not case.service} | {ServiceStatus.ACTIVE}
    return values | {"status": ServiceStatus.ACTIVE}, {"status": services.status_of_customer(statuses)}


def _facts(case: _Case, wish: Wish) -> quotes.Facts:
    return quotes.facts(
        RECHARGE,
        tenant=case.tenant,
        service=case.service,
        package=case.package,
        sold=case.sold,
        held=case.held,
        today=periods.local_date(clock.now(), case.tenant.time_zone),
        days=wish.days,
        hours=wish.hours,
    )


def _warnings(case: _Case, after: previews.Preview) -> Sequence[str]:
    found = []
    if case.service.status is ServiceStatus.SUSPENDED and not case.freed:
        found.append("The service is suspended, and stays so.")
    if case.held.receivable_minor > 0:
        found.append(f"The customer owes {money.shown(case.held.receivable_minor, case.tenant.currency)}.")
    if after.barred is not None:
        found.append(f"The service is off line all the same: {after.barred.lower()}.")
    return found

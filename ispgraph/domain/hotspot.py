"""Recharging hotspot services: by a voucher, or by a payment.

What is bought is added to what is left: time goes on from the end of what there is, and data and time on line that were
not used stay (`allowance_granted` in the migrations). While there is time left it has to be the same package, or a day
of a fast one would make a month of a slow one fast.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import BigInteger, cast, func, select
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids
from ispgraph.domain import (
    action_rules,
    audit,
    customers,
    idempotency,
    messages,
    money,
    packages,
    secrets,
    services,
    usernames,
    voucher_codes,
    vouchers,
)
from ispgraph.domain.billing import bills, invoices, ledger, overrides, payments, periods, proration
from ispgraph.domain.billing.periods import Period
from ispgraph.domain.billing.proration import Sold
from ispgraph.domain.errors import ErrorCode, Faults, fail
from ispgraph.domain.models import (
    ConnectionType,
    Customer,
    Invoice,
    Job,
    Package,
    Payment,
    PaymentCategory,
    PaymentMethod,
    Service,
    ServiceStatus,
    Tenant,
    Voucher,
    VoucherBatch,
)
from ispgraph.domain.network import changes
from ispgraph.domain.onboarding import answers
from ispgraph.domain.permissions import Viewer
from ispgraph.domain.services import Chosen

RECHARGE = "customerHotspotRecharge"
_CODE, _PACKAGE, _METHOD = ("input", "voucherCode"), ("input", "packageId"), ("input", "method")


@dataclass(frozen=True, slots=True)
class Wish:
    """A voucher's code, or a package (None: the one that the service has) and how it is paid; as typed."""

    voucher_code: str | None
    package_id: UUID | None
    method: PaymentMethod | None
    reference: str | None


@dataclass(frozen=True, slots=True)
class Login:
    """How one gets on line: shown once, afterwards the password is sealed."""

    username: str
    password: str


@dataclass(frozen=True, slots=True)
class Recharged:
    """What a recharge did. `login` is that of a service that was made for it, told once."""

    customer: Customer
    service: Service
    jobs: Sequence[Job]
    payment: Payment | None
    voucher: Voucher | None
    login: Login | None = None


@dataclass(frozen=True, slots=True)
class Bought:
    """What is bought, as what it is sold, and the locked voucher and its batch when one pays."""

    package: Package
    sold: Sold
    voucher: tuple[Voucher, VoucherBatch] | None
    field: tuple[str, ...]
    """The path to what says which package."""


async def recharge(
    session: AsyncSession,
    chosen: Chosen,
    wish: Wish,
    *,
    network_key: bytes,
    idempotency_key: str | None,
    by: Viewer,
) -> Recharged:
    """Let a hotspot service of a customer go on. A customer who has no service gets one, with credentials.

    Raises DomainError with everything that is wrong; INVALID_STATE for a voucher that was redeemed, for a service that
    is suspended, terminated or has no end, and for another package while there is time left; INSUFFICIENT_FUNDS.
    """
    faults = Faults("input")
    reference = answers.optional(faults, wish.reference, 255, "reference")
    _check(faults, wish)
    faults.raise_if_any()
    code = voucher_codes.read(wish.voucher_code or "")
    given = {
        "customer": chosen.customer_id,
        "service": chosen.service_id,
        "package": wish.package_id,
        "method": wish.method.value if wish.method else None,
        "reference": reference,
        # Of what is no code at all it does not matter which it is.
        "voucher": voucher_codes.lookup(network_key, by.tenant_id, code) if code else None,
    }
    first = await idempotency.claim(session, by=by, operation=RECHARGE, key=idempotency_key, given=given)
    if first is not None:
        return await _again(session, first)
    customer = await customers.lock(session, chosen.customer_id, by=by)
    others = (await services.services_of(session, [customer.id]))[customer.id]
    service = meant(others, chosen)
    bought = await _bought(session, customer, service, wish, network_key, by)
    login = None
    if service is None:
        # It is the primary one: of the others, if there are any, none is left.
        for other in others:
            other.is_primary = False
        await session.flush()
        username = await usernames.reserve(session, customer.tenant_id, usernames.proposed(customer.name))
        service, login = await new_service(session, customer, bought.package, username, network_key)
        others = [*others, service]
    payment, jobs = await go_on(session, customer, service, others, bought, replace(wish, reference=reference), by)
    await _tell(session, customer, service, bought.package, by)
    done = Recharged(customer, service, jobs, payment, bought.voucher and bought.voucher[0], login)
    await _keep(session, idempotency_key, done, by)
    return done


async def new_service(
    session: AsyncSession, customer: Customer, package: Package, username: str, network_key: bytes
) -> tuple[Service, Login]:
    """A hotspot service whose time is over, with a password of its own."""
    key, password = ids.uuid7(), secrets.generate_password()
    service = Service(
        id=key,
        tenant_id=customer.tenant_id,
        customer_id=customer.id,
        package_id=package.id,
        connection_type=ConnectionType.HOTSPOT,
        status=ServiceStatus.EXPIRED,
        username=username,
        password=secrets.seal(network_key, password, secrets.service_password(customer.tenant_id, key)),
        expires_at=clock.now(),
    )
    session.add(service)
    await session.flush()
    return service, Login(username, password)


async def by_voucher(
    session: AsyncSession, tenant: Tenant, typed: str, *, network_key: bytes, at: tuple[str, ...] = _CODE
) -> Bought:
    """What a voucher buys, which can be redeemed and is locked. Raises DomainError NOT_FOUND, INVALID_STATE."""
    voucher, batch = await vouchers.held(session, typed, tenant_id=tenant.id, network_key=network_key, at=at)
    package = await session.get_one(Package, voucher.package_id)
    listed = await packages.sold(session, package, tenant)
    # It is worth what it was sold for, tax included, whatever the package costs by now.
    sold = replace(listed, price_minor=batch.price_minor, tax_included=True)
    return Bought(package, sold, (voucher, batch), at)


async def go_on(
    session: AsyncSession,
    customer: Customer,
    service: Service,
    others: Sequence[Service],
    bought: Bought,
    wish: Wish,
    by: Viewer | None,
) -> tuple[Payment | None, Sequence[Job]]:
    """Add what was bought to a service that is locked with the customer and the others, invoiced and paid at once.
    `by` is None for somebody who redeems a voucher alone."""
    now = clock.now()
    tenant = await session.get_one(Tenant, customer.tenant_id)
    package, sold = bought.package, bought.sold
    _require_fit(service, bought)
    start = _left_until(service) or now
    period = Period(start, periods.boundary(start, sold.cycle, 1, tenant.time_zone))
    quotas = (package.data_quota_bytes, package.time_quota_seconds)
    if quotas != (None, None):
        octets, seconds = (cast(each, BigInteger) for each in quotas)
        until = cast(period.end, TIMESTAMP(timezone=True))
        granted = func.allowance_granted(service.id, package.id, octets, seconds, until, now)
        await session.execute(select(granted))
    service.package_id, service.expires_at, service.billing_anchor = package.id, period.end, period.end
    service.started_at = service.started_at or now
    invoice = await _invoice(session, tenant, service, bought, period, by)
    payment = await _payment(session, tenant, invoice, bought, wish, by)
    if bought.voucher is not None:
        voucher = bought.voucher[0]
        voucher.redeemed_at, voucher.redeemed_by_id = now, customer.id
        voucher.payment_id = payment.id if payment else None
    services.resumed(customer, service, others)
    await session.flush()
    details = {
        "service": str(service.id),
        "package": str(package.id),
        "invoice": invoice.number,
        "voucher": str(bought.voucher[0].id) if bought.voucher else None,
        "method": payment.method.value if payment else None,
        "until": period.end.isoformat(),
    }
    action = "customer.hotspot_recharge"
    audit.record(session, by=by, action=action, subject_id=customer.id, details=details, tenant_id=tenant.id)
    return payment, await changes.changed(session, service, by=by.operator_id if by else None)


def _check(faults: Faults, wish: Wish) -> None:
    if wish.voucher_code is not None:
        for value, field in ((wish.package_id, "packageId"), (wish.method, "method"), (wish.reference, "reference")):
            if value is not None and value is not PaymentMethod.VOUCHER:
                faults.add(ErrorCode.INVALID, "The voucher says this: leave it out.", field)
    elif wish.method is None:
        faults.add(ErrorCode.REQUIRED, "Give the code of a voucher, or how it is paid.", "method")
    elif wish.method is PaymentMethod.VOUCHER:
        faults.add(ErrorCode.REQUIRED, "Give the code of the voucher.", "voucherCode")


def meant(others: Sequence[Service], chosen: Chosen) -> Service | None:
    """The hotspot service that was chosen, or the only one; None for a customer without any service."""
    if chosen.service_id is not None:
        named = services.meant(others, chosen)
        if named.connection_type is not ConnectionType.HOTSPOT:
            message = f"This is no hotspot service, but {named.connection_type.value}: only hotspots are recharged so."
            raise fail(ErrorCode.INVALID_STATE, message, *chosen.field)
        return named
    living = [row for row in others if row.status is not ServiceStatus.TERMINATED]
    found = [row for row in living if row.connection_type is ConnectionType.HOTSPOT]
    if not found and living:
        raise fail(ErrorCode.INVALID_STATE, "This customer has no hotspot service.", *chosen.field)
    if len(found) > 1 and not found[0].is_primary:
        primary = next((row for row in found if row.is_primary), None)
        if primary is None:
            message = "This customer has several hotspot services: say which."
            raise fail(ErrorCode.REQUIRED, message, *chosen.above, "serviceId")
        return primary
    return found[0] if found else None


async def _bought(
    session: AsyncSession, customer: Customer, service: Service | None, wish: Wish, network_key: bytes, by: Viewer
) -> Bought:
    tenant = await session.get_one(Tenant, customer.tenant_id)
    if wish.voucher_code is not None:
        return await by_voucher(session, tenant, wish.voucher_code, network_key=network_key)
    key = wish.package_id or (service.package_id if service else None)
    if key is None:
        raise fail(ErrorCode.REQUIRED, "Say which package: there is no service yet.", *_PACKAGE)
    package = await session.get(Package, key)
    faults = Faults()
    if package is None:
        raise fail(ErrorCode.NOT_FOUND, "There is no such package.", *_PACKAGE)
    if not package.active and (service is None or package.id != service.package_id):
        faults.add(ErrorCode.INVALID_STATE, f"The package {package.name} is not sold any more.", *_PACKAGE)
    answers.fits(faults, package, ConnectionType.HOTSPOT, *_PACKAGE)
    faults.raise_if_any()
    at = clock.now()
    sold = await overrides.sold(
        session, package, tenant, operator_id=customer.operator_id, customer_id=customer.id, at=at
    )
    return Bought(package, sold, None, _PACKAGE)


def _require_fit(service: Service, bought: Bought) -> None:
    action_rules.require(action_rules.recharge_hotspot(service), "input", "serviceId")
    if _left_until(service) and service.package_id != bought.package.id:
        message = "The time of this service is not over: until then it takes the package that it has."
        raise fail(ErrorCode.INVALID_STATE, message, *bought.field)


def _left_until(service: Service) -> datetime | None:
    """When the time ends that a service has left; None when it has none."""
    end = service.expires_at
    return end if service.status is ServiceStatus.ACTIVE and end is not None and end > clock.now() else None


async def _invoice(
    session: AsyncSession, tenant: Tenant, service: Service, bought: Bought, period: Period, by: Viewer | None
) -> Invoice:
    invoice = await invoices.draft(
        session,
        tenant=tenant,
        customer_id=service.customer_id,
        service_id=service.id,
        lines=[proration.whole(bought.sold, period, tenant.time_zone)],
        period_start=period.start,
        period_end=period.end,
    )
    await bills.charge(session, invoice, service, period, bought.sold)
    return await invoices.open(session, invoice, tenant=tenant, at=clock.now(), by=by)


async def _payment(
    session: AsyncSession, tenant: Tenant, invoice: Invoice, bought: Bought, wish: Wish, by: Viewer | None
) -> Payment | None:
    if invoice.total_minor == 0:
        return None
    at, customer_id = clock.now(), invoice.customer_id
    if bought.voucher is not None:
        return await payments.by_voucher(
            session,
            tenant=tenant,
            customer_id=customer_id,
            amount_minor=invoice.total_minor,
            reference=f"Voucher {bought.voucher[0].number}",
            at=at,
            by=by,
            invoice=invoice,
        )
    if wish.method is PaymentMethod.WALLET:
        held = (await ledger.balances(session, [customer_id]))[customer_id]
        spent = await payments.from_wallet(
            session, tenant=tenant, customer_id=customer_id, invoices=[invoice], at=at, by=by
        )
        if spent is None or spent.amount_minor < invoice.total_minor:
            shown = money.shown(held.wallet_minor, tenant.currency)
            raise fail(ErrorCode.INSUFFICIENT_FUNDS, f"The wallet holds {shown}.", *_METHOD)
        return spent
    assert wish.method is not None
    return await payments.record(
        session,
        tenant=tenant,
        customer_id=customer_id,
        amount_minor=invoice.total_minor,
        method=wish.method,
        category=PaymentCategory.RECHARGE,
        reference=wish.reference,
        notes=None,
        at=at,
        by=by,
        invoices=[invoice],
    )


async def _tell(session: AsyncSession, customer: Customer, service: Service, package: Package, by: Viewer) -> None:
    tenant = await session.get_one(Tenant, customer.tenant_id)
    assert service.expires_at is not None
    await messages.tell(
        session,
        customer,
        "hotspot.recharged",
        by=by,
        username=service.username,
        package=package.name,
        until=f"{service.expires_at.astimezone(ZoneInfo(tenant.time_zone)):%Y-%m-%d %H:%M}",
    )


async def _keep(session: AsyncSession, key: str | None, done: Recharged, by: Viewer) -> None:
    answer: dict[str, object] = {"customer": str(done.customer.id), "service": str(done.service.id)}
    answer |= {name: str(row.id) for name, row in (("payment", done.payment), ("voucher", done.voucher)) if row}
    answer["jobs"] = [str(job.id) for job in done.jobs]
    await idempotency.keep(session, by=by, operation=RECHARGE, key=key, answer=answer)


async def _again(session: AsyncSession, answer: dict[str, Any]) -> Recharged:
    jobs = select(Job).where(Job.id.in_(UUID(job) for job in answer["jobs"])).order_by(Job.id)
    payment, voucher = answer.get("payment"), answer.get("voucher")
    return Recharged(
        await session.get_one(Customer, UUID(answer["customer"])),
        await session.get_one(Service, UUID(answer["service"])),
        list(await session.scalars(jobs)),
        await session.get(Payment, UUID(payment)) if payment else None,
        await session.get(Voucher, UUID(voucher)) if voucher else None,
    )

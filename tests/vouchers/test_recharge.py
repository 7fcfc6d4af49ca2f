"""Recharging hotspots: what it gives, what it costs, and once only."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text, update

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain.models import (
    BillingCycle,
    ConnectionType,
    Message,
    Package,
    Payment,
    Posting,
    Role,
    Service,
    ServiceAllowance,
    ServiceStatus,
    Tenant,
    Voucher,
)
from tests import subscribers
from tests.billing.changing import sound
from tests.factories import House, uuid_of
from tests.vouchers.stall import Stall
from tests.wizard import faults

pytestmark = pytest.mark.usefixtures("moved_clock")
# Noon in Dhaka.
NOON = datetime(2026, 3, 10, 6, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def noon() -> None:
    """Every test begins at the same moment."""
    clock.set_clock(NOON.isoformat())


async def left(stall: Stall, service: Service | str) -> tuple[int | None, int | None]:
    """Bytes and seconds that are left for a session that begins now."""
    key = uuid_of(service) if isinstance(service, str) else service.id
    async with stall.house.database.read(stall.house.tenant.id) as session:
        rows = text("SELECT octets_left, seconds_left FROM service_standing(:service, :at)")
        return tuple((await session.execute(rows, {"service": key, "at": clock.now()})).one())  # type: ignore[return-value]


async def days(stall: Stall, service: Service) -> float:
    """When the time of a service ends: so many days after the beginning of the test."""
    found = (await row(stall, service)).expires_at
    assert found is not None
    return round((found - NOON) / DAY, 3)


async def row(stall: Stall, service: Service) -> Service:
    async with stall.house.database.read(stall.house.tenant.id) as session:
        return await session.get_one(Service, service.id)


async def test_a_voucher_is_redeemed_and_books_balance(stall: Stall, owner: Database) -> None:
    async with owner.transaction(stall.house.tenant.id) as session:
        await session.execute(update(Tenant).values(tax_rate=10))
    (code,) = await stall.codes(prefix="cafe")
    # It is worth what it was sold for.
    async with stall.house.database.transaction(stall.house.tenant.id) as session:
        await session.execute(update(Package).values(price_minor=1))
    customer, service = await stall.guest()
    done = await stall.recharge(customer, voucherCode=code.lower().replace("-", " "), idempotencyKey="k")
    assert done["errors"] == []
    seen = done["customer"]
    assert (seen["status"], seen["balance"]["amount"]) == ("ACTIVE", "0.00")
    assert (seen["service"]["status"], seen["service"]["expiresAt"][:16]) == ("ACTIVE", "2026-03-17T06:00")
    (invoice,) = seen["invoices"]["nodes"]
    assert (invoice["status"], invoice["total"]["amount"], invoice["tax"]["amount"]) == ("PAID", "77.00", "7.00")
    payment = done["payment"]
    assert (payment["method"], payment["category"], payment["amount"]["amount"]) == ("VOUCHER", "RECHARGE", "77.00")
    assert (done["voucher"]["status"], done["voucher"]["redeemedBy"]["id"]) == ("REDEEMED", seen["id"])
    assert done["credentials"] is None
    assert [job["kind"] for job in done["jobs"]] == ["service.provision"]
    assert await left(stall, service) == (1_000, None)
    again = await stall.recharge(customer, voucherCode=code, idempotencyKey="k")
    assert (again["payment"], again["voucher"], again["jobs"]) == (payment, done["voucher"], done["jobs"])
    other, _ = await stall.guest()
    lost = await stall.recharge(other, voucherCode=code)
    assert faults(lost) == [("INVALID_STATE", "input.voucherCode")]
    assert lost["errors"][0]["message"] == "This voucher was redeemed already."
    async with stall.house.database.read(stall.house.tenant.id) as session:
        rows = await session.execute(select(Posting.account, Posting.amount_minor).order_by(Posting.id))
        assert [(account.value, minor) for account, minor in rows] == [
            ("RECEIVABLE", 7_700),
            ("REVENUE", -7_000),
            ("TAX", -700),
            ("VOUCHERS", 7_700),
            ("RECEIVABLE", -7_700),
        ]
        bodies = {message.body for message in await session.scalars(select(Message))}
        assert len(bodies) == 1
        # The password is read when the message goes out: messages are kept, and read by many.
        told = f"ready until 2026-03-17 12:00. Package: Week Username: {service.username} Password: ********"
        assert told in bodies.pop()
    await sound(owner)


async def test_of_twenty_at_once_one_has_the_voucher(stall: Stall, owner: Database) -> None:
    (code,) = await stall.codes()
    guests = [(await stall.guest())[0] for _ in range(20)]
    barrier = asyncio.Barrier(len(guests))

    async def redeem(customer: Any) -> dict[str, Any]:
        await barrier.wait()
        return await stall.recharge(customer, voucherCode=code)

    answers = await asyncio.gather(*(redeem(customer) for customer in guests))
    won = [answer for answer in answers if not answer["errors"]]
    assert len(won) == 1
    assert {tuple(faults(answer)) for answer in answers if answer["errors"]} == {
        (("INVALID_STATE", "input.voucherCode"),)
    }
    async with stall.house.database.read(stall.house.tenant.id) as session:
        (voucher,) = await session.scalars(select(Voucher))
        assert len((await session.scalars(select(Payment))).all()) == 1
        services = await session.scalars(select(Service).where(Service.status == ServiceStatus.ACTIVE))
        assert [service.customer_id for service in services] == [voucher.redeemed_by_id]
    await sound(owner)


async def test_the_same_customer_at_once(stall: Stall, owner: Database) -> None:
    codes = await stall.codes(3)
    customer, service = await stall.guest()
    answers = await asyncio.gather(*(stall.recharge(customer, voucherCode=code) for code in (*codes, *codes)))
    assert sum(not answer["errors"] for answer in answers) == 3
    assert await days(stall, service) == 21
    assert await left(stall, service) == (3_000, None)
    await sound(owner)


async def test_what_is_left_stays(stall: Stall, owner: Database) -> None:
    codes = await stall.codes(4)
    customer, service = await stall.guest()
    await stall.recharge(customer, voucherCode=codes[0])
    await stall.use(service, 400)
    assert await left(stall, service) == (600, None)
    clock.set_clock((NOON + 2 * DAY).isoformat())
    await stall.use(service, 100)
    await stall.recharge(customer, voucherCode=codes[1])
    assert await days(stall, service) == 14
    assert await left(stall, service) == (1_500, None)
    # Periods of the package pass, and what was paid for is neither lost nor renewed by them.
    clock.set_clock((NOON + 9 * DAY).isoformat())
    await stall.use(service, 1_600)
    assert await left(stall, service) == (-100, None)
    # What was used beyond is forgiven, as by RADIUS, which let it through.
    await stall.recharge(customer, voucherCode=codes[2])
    assert await left(stall, service) == (1_000, None)
    assert await days(stall, service) == 21
    # When the time is over, what is left of the data is as well.
    clock.set_clock((NOON + 30 * DAY).isoformat())
    await stall.recharge(customer, voucherCode=codes[3])
    assert await left(stall, service) == (1_000, None)
    assert await days(stall, service) == 37
    await sound(owner)


async def test_what_the_wizard_sold_stays_as_well(stall: Stall) -> None:
    values = {"status": ServiceStatus.ACTIVE, "expires_at": NOON + 3 * DAY, "billing_anchor": NOON + 3 * DAY}
    customer, service = await stall.guest(**values)
    await stall.use(service, 300, at=NOON - DAY)
    assert await left(stall, service) == (700, None)
    (code,) = await stall.codes()
    assert (await stall.recharge(customer, voucherCode=code))["errors"] == []
    assert await left(stall, service) == (1_700, None)
    assert await days(stall, service) == 10


async def test_time_on_line_stays_too(stall: Stall) -> None:
    hours = await stall.house.package(
        "Hours", time_quota_seconds=7_200, validity_days=3, billing_cycle=BillingCycle.ONE_TIME, price_minor=500
    )
    codes = await stall.codes(2, package=hours)
    customer, service = await stall.guest()
    await stall.recharge(customer, voucherCode=codes[0])
    await stall.use(service, 5, 2_000)
    assert await left(stall, service) == (None, 5_200)
    clock.set_clock((NOON + DAY).isoformat())
    await stall.recharge(customer, voucherCode=codes[1])
    assert await left(stall, service) == (None, 12_400)
    clock.set_clock((NOON + 5 * DAY).isoformat())
    assert await left(stall, service) == (None, 12_400)


async def test_after_it_the_package_counts_by_periods_again(stall: Stall) -> None:
    codes = await stall.codes(1)
    customer, service = await stall.guest()
    await stall.recharge(customer, voucherCode=codes[0])
    await stall.use(service, 1_000)
    async with stall.house.database.transaction(stall.house.tenant.id) as session:
        await session.execute(update(Service).values(expires_at=NOON + 14 * DAY, billing_anchor=NOON + 14 * DAY))
    clock.set_clock((NOON + 7 * DAY + timedelta(minutes=1)).isoformat())
    assert await left(stall, service) == (1_000, None)
    # And another package has its own.
    other = await stall.house.package("Other", data_quota_bytes=50)
    clock.set_clock((NOON + DAY).isoformat())
    async with stall.house.database.transaction(stall.house.tenant.id) as session:
        await session.execute(update(Service).values(package_id=other.id))
    assert (await left(stall, service))[0] == 50 - 1_000


async def test_by_a_payment(stall: Stall, owner: Database) -> None:
    customer, service = await stall.guest()
    done = await stall.recharge(customer, method="CASH", reference="slip 7")
    assert (done["errors"], done["voucher"]) == ([], None)
    assert (done["payment"]["method"], done["payment"]["category"], done["payment"]["reference"]) == (
        "CASH",
        "RECHARGE",
        "slip 7",
    )
    assert await left(stall, service) == (1_000, None)
    poor = await stall.recharge(customer, method="WALLET")
    assert faults(poor) == [("INSUFFICIENT_FUNDS", "input.method")]
    advance = """mutation ($input: AdvancePaymentInput!) { customerRecordAdvancePayment(input: $input) {
      errors { code } } }"""
    given = {"customerId": ids.encode("cus", customer.id), "amount": "70", "method": "CASH"}
    await stall.api.data(advance, stall.house.admin, input=given)
    assert await days(stall, service) == 7
    rich = await stall.recharge(customer, method="WALLET")
    assert (rich["errors"], rich["customer"]["wallet"]["amount"]) == ([], "0.00")
    assert await days(stall, service) == 14
    await sound(owner)


async def test_who_has_no_service_gets_one(stall: Stall, owner: Database) -> None:
    customer = await stall.customer(name="Nia Example")
    assert faults(await stall.recharge(customer, method="CASH")) == [("REQUIRED", "input.packageId")]
    (code,) = await stall.codes()
    done = await stall.recharge(customer, voucherCode=code, idempotencyKey="k")
    assert done["errors"] == []
    service = done["customer"]["service"]
    assert (service["username"], service["connectionType"], service["status"]) == ("niaexample", "HOTSPOT", "ACTIVE")
    assert (done["credentials"]["username"], len(done["credentials"]["password"])) == ("niaexample", 10)
    assert done["customer"]["status"] == "ACTIVE"
    assert (await stall.recharge(customer, voucherCode=code, idempotencyKey="k"))["credentials"] is None
    assert await left(stall, service["id"]) == (1_000, None)
    async with stall.house.database.read(stall.house.tenant.id) as session:
        bodies = " ".join(message.body for message in await session.scalars(select(Message)))
    assert done["credentials"]["password"] not in bodies
    await sound(owner)


async def test_what_is_refused_changes_nothing(stall: Stall, owner: Database, other_house: House) -> None:
    (code,) = await stall.codes()
    customer, service = await stall.guest()
    other = await stall.house.package("Other", connection_types=["HOTSPOT"], price_minor=100)
    line = await stall.house.package("Line", connection_types=["PPPOE"])
    key = ids.encode("pkg", other.id)
    for given, fault in (
        ({}, ("REQUIRED", "input.method")),
        ({"method": "VOUCHER"}, ("REQUIRED", "input.voucherCode")),
        ({"voucherCode": code, "method": "CASH"}, ("INVALID", "input.method")),
        ({"voucherCode": code, "packageId": key}, ("INVALID", "input.packageId")),
        ({"voucherCode": "nonsense"}, ("NOT_FOUND", "input.voucherCode")),
        ({"voucherCode": ""}, ("NOT_FOUND", "input.voucherCode")),
        ({"method": "CASH", "packageId": ids.encode("pkg", line.id)}, ("INVALID", "input.packageId")),
        ({"method": "CASH", "packageId": "pkg_" + "0" * 32}, ("NOT_FOUND", "input.packageId")),
        ({"voucherCode": code, "serviceId": "svc_" + "0" * 32}, ("NOT_FOUND", "input.serviceId")),
    ):
        assert faults(await stall.recharge(customer, **given)) == [fault], given
    # Another tenant's voucher is none.
    foreign = Stall(stall.api, other_house, stall.settings, await other_house.package(), owner)
    (theirs,) = await foreign.codes()
    assert faults(await stall.recharge(customer, voucherCode=theirs)) == [("NOT_FOUND", "input.voucherCode")]
    dialler = await stall.customer()
    dialled = await subscribers.service(stall.house, dialler)
    assert faults(await stall.recharge(dialler, voucherCode=code)) == [("INVALID_STATE", "input.customerId")]
    refused = await stall.recharge(dialler, voucherCode=code, serviceId=ids.encode("svc", dialled.id))
    assert faults(refused) == [("INVALID_STATE", "input.serviceId")]
    for status in (ServiceStatus.SUSPENDED, ServiceStatus.PENDING, ServiceStatus.TERMINATED):
        async with stall.house.database.transaction(stall.house.tenant.id) as session:
            await session.execute(update(Service).where(Service.id == service.id).values(status=status))
        given = {"voucherCode": code, "serviceId": ids.encode("svc", service.id)}
        assert faults(await stall.recharge(customer, **given)) == [("INVALID_STATE", "input.serviceId")]
    values = {"status": ServiceStatus.ACTIVE, "expires_at": None}
    async with stall.house.database.transaction(stall.house.tenant.id) as session:
        await session.execute(update(Service).where(Service.id == service.id).values(values))
    assert faults(await stall.recharge(customer, voucherCode=code)) == [("INVALID_STATE", "input.serviceId")]
    values = {"expires_at": NOON + DAY, "package_id": other.id}
    async with stall.house.database.transaction(stall.house.tenant.id) as session:
        await session.execute(update(Service).where(Service.id == service.id).values(values))
    assert faults(await stall.recharge(customer, voucherCode=code)) == [("INVALID_STATE", "input.voucherCode")]
    async with stall.house.database.read(stall.house.tenant.id) as session:
        assert (await session.scalars(select(Payment))).all() == []
        assert (await session.scalars(select(ServiceAllowance))).all() == []
        assert [voucher.redeemed_at for voucher in await session.scalars(select(Voucher))] == [None]
    # Nothing of it has used the voucher up.
    clock.set_clock((NOON + 2 * DAY).isoformat())
    assert (await stall.recharge(customer, voucherCode=code))["errors"] == []
    await sound(owner)


async def test_expired_and_cancelled_vouchers(stall: Stall) -> None:
    (code,) = await stall.codes(expiresAt=(NOON + DAY).isoformat())
    customer, _ = await stall.guest()
    clock.set_clock((NOON + DAY).isoformat())
    lost = await stall.recharge(customer, voucherCode=code)
    assert [error["message"] for error in lost["errors"]] == ["This voucher has expired."]


async def test_several_services(stall: Stall) -> None:
    customer, first = await stall.guest(is_primary=False)
    second = await subscribers.service(
        stall.house,
        customer,
        is_primary=False,
        connection_type=ConnectionType.HOTSPOT,
        status=ServiceStatus.EXPIRED,
        expires_at=NOON,
        package_id=stall.package.id,
    )
    codes = await stall.codes(2)
    assert faults(await stall.recharge(customer, voucherCode=codes[0])) == [("REQUIRED", "input.serviceId")]
    done = await stall.recharge(customer, voucherCode=codes[0], serviceId=ids.encode("svc", second.id))
    assert done["errors"] == []
    assert (await row(stall, first)).status is ServiceStatus.EXPIRED
    assert (await row(stall, second)).status is ServiceStatus.ACTIVE


async def test_a_free_voucher_has_no_payment(stall: Stall, owner: Database) -> None:
    free = await stall.house.package("Free", price_minor=0, connection_types=["HOTSPOT"])
    (code,) = await stall.codes(package=free)
    customer, _ = await stall.guest()
    done = await stall.recharge(customer, voucherCode=code)
    assert (done["errors"], done["payment"], done["voucher"]["status"]) == ([], None, "REDEEMED")
    await sound(owner)


async def test_it_is_void_to_the_wallet_and_never_money_back(stall: Stall, owner: Database) -> None:
    (code,) = await stall.codes()
    customer, _ = await stall.guest()
    done = await stall.recharge(customer, voucherCode=code)
    refund = """mutation ($id: ID!) { paymentRefund(paymentId: $id, reason: "Asked for") { errors { code } } }"""
    refused = (await stall.api.data(refund, stall.house.admin, id=done["payment"]["id"]))["paymentRefund"]
    assert [error["code"] for error in refused["errors"]] == ["INVALID_STATE"]
    void = """mutation ($id: ID!) { invoiceVoid(invoiceId: $id, reason: "Wrong") { errors { code message } } }"""
    key = done["customer"]["invoices"]["nodes"][0]["id"]
    assert (await stall.api.data(void, stall.house.admin, id=key))["invoiceVoid"]["errors"] == []
    document = "query ($id: ID!) { node(id: $id) { ... on Customer { wallet { amount } } } }"
    found = await stall.api.data(document, stall.house.admin, id=ids.encode("cus", customer.id))
    assert found["node"]["wallet"]["amount"] == "70.00"
    await sound(owner)


async def test_who_may_not(stall: Stall) -> None:
    accountant = await stall.house.operator(Role.ACCOUNTANT)
    answer = await stall.api(
        'mutation { customerHotspotRecharge(input: {customerId: "x"}) { errors { code } } }', accountant
    )
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    reseller = await stall.house.operator(Role.OPERATOR)
    customer, _ = await stall.guest()
    (code,) = await stall.codes()
    assert faults(await stall.recharge(customer, reseller, voucherCode=code)) == [("NOT_FOUND", "input.customerId")]
    own, _ = await stall.guest()
    async with stall.house.database.transaction(stall.house.tenant.id) as session:
        await session.execute(text("UPDATE customers SET operator_id = :o"), {"o": reseller.id})
    # Whoever has the code can redeem it.
    done = await stall.recharge(own, reseller, voucherCode=code)
    assert (done["errors"], done["voucher"]["status"]) == ([], "REDEEMED")

"""Whose last overdue invoice is settled is on line again at once, whichever way it was settled, and only then."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from ispgraph import clock, daily, ids, scheduler
from ispgraph.db import Database
from ispgraph.domain.models import Customer, Invoice, InvoiceStatus, Job, Message, Service
from tests.api import Api
from tests.billing import office
from tests.billing.changing import Buyer, sound
from tests.billing.conftest import Till
from tests.factories import House, uuid_of

PAY = """mutation ($input: InvoicePaymentInput!) { done: invoiceRecordPayment(input: $input) { errors { code } } }"""
ADVANCE = """mutation ($input: AdvancePaymentInput!) { done: customerRecordAdvancePayment(input: $input) {
  errors { code } } }"""
CREDIT = """mutation ($id: ID!, $amount: Decimal!) { done: invoiceCredit(invoiceId: $id, amount: $amount,
  reason: "A day without service") { errors { code } } }"""
VOID = """mutation ($id: ID!) { done: invoiceVoid(invoiceId: $id, reason: "Wrong") { errors { code } } }"""
BILL = """mutation ($input: GenerateBillInput!) { done: customerGenerateBill(input: $input) { errors { code } } }"""
PROFILE = """mutation ($input: UpdateBillingProfileInput!) { done: customerUpdateBillingProfile(input: $input) {
  errors { code } } }"""
SUSPEND = "mutation ($input: SuspendInput!) { done: customerSuspend(input: $input) { errors { code } } }"
WALLET = """mutation ($input: AdjustBalanceInput!) { done: customerAdjustBalance(input: $input) { errors { code } } }"""

pytestmark = pytest.mark.usefixtures("moved_clock")


class Late:
    """One who is off line for an invoice of 50.00, of 1 February 2026, in the middle of a month that is paid."""

    def __init__(self, buyer: Buyer, till: Till) -> None:
        self.buyer, self.till, self.house = buyer, till, buyer.house
        self.key: UUID = uuid_of(buyer.customer)
        self.bills: list[Invoice] = []

    async def bill(self, minor: int = 5_000) -> Invoice:
        """Another invoice, of today."""
        self.bills.append(await self.till.bill(self.key, minor))
        return self.bills[-1]

    async def day(self, day: str) -> None:
        """The scheduler looks at debts on this day."""
        clock.set_clock(f"{day}T04:00:00Z")
        await daily.in_chunks(self.house.database, {}, {})

    async def does(self, document: str, **variables: Any) -> None:
        """A mutation that is not refused."""
        payload = (await self.buyer.api.data(document, self.house.admin, **variables))["done"]
        assert payload["errors"] == []

    async def status(self) -> str:
        """Of the service."""
        async with self.house.database.read(self.house.tenant.id) as session:
            return (await session.get_one(Service, uuid_of(self.buyer.service))).status.value

    async def told(self) -> list[str]:
        """What was written of the service, by SMS."""
        of_the_line = Message.event.in_(("service.suspended", "service.activated"))
        rows = select(Message.event).where(Message.channel == "SMS", of_the_line)
        async with self.house.database.read(self.house.tenant.id) as session:
            return list(await session.scalars(rows.order_by(Message.id)))

    async def jobs(self) -> int:
        """How many jobs there are."""
        async with self.house.database.read(self.house.tenant.id) as session:
            return len((await session.scalars(select(Job.id))).all())

    async def first(self) -> str:
        """The id of the invoice for the month."""
        async with self.house.database.read(self.house.tenant.id) as session:
            row = (await session.scalars(select(Invoice.id).where(Invoice.number == self.buyer.invoice))).one()
        return ids.encode("inv", row)


@pytest.fixture
async def late(api: Api, house: House, till: Till) -> Late:
    package = await house.package(price_minor=31_000)
    late = Late(await Buyer.enrolled(api, house, package, at="2026-01-31T04:00:00Z", pays="310"), till)
    clock.set_clock("2026-02-01T04:00:00Z")
    await late.bill()
    await late.day("2026-02-12")
    assert await late.status() == "SUSPENDED"
    assert await late.told() == ["service.suspended"]
    return late


async def freed(late: Late, owner: Database, jobs: int) -> None:
    """On line again, told once, and the network as well; the next day has nothing to add."""
    assert await late.status() == "ACTIVE"
    assert await late.told() == ["service.suspended", "service.activated"]
    assert await late.jobs() == jobs + 1
    await sound(owner)
    await late.day("2026-02-13")
    assert await late.jobs() == jobs + 1


@pytest.mark.parametrize("way", ["cash", "wallet", "advance", "void", "credit", "credit of another"])
async def test_at_the_desk(late: Late, owner: Database, way: str) -> None:
    key = ids.encode("inv", late.bills[0].id)
    if way == "wallet":
        given = {"customerId": late.buyer.customer, "amount": "50", "reason": "Goodwill"}
        await late.does(WALLET, input=given)
        assert await late.status() == "SUSPENDED", "what is in the wallet has not been spent on it"
    jobs = await late.jobs()
    if way in ("cash", "wallet"):
        await late.does(PAY, input={"invoiceId": key, "amount": "50", "method": way.upper()})
    elif way == "advance":
        await late.does(ADVANCE, input={"customerId": late.buyer.customer, "amount": "60", "method": "CASH"})
    elif way == "void":
        await late.does(VOID, id=key)
    else:
        await late.does(CREDIT, id=key if way == "credit" else await late.first(), amount="50")
    await freed(late, owner, jobs)


async def test_a_part_is_not_enough_and_the_last_one_is(late: Late, owner: Database) -> None:
    await late.bill(2_000)
    await late.day("2026-02-23")
    jobs = await late.jobs()
    await late.does(CREDIT, id=await late.first(), amount="50")
    assert await late.status() == "SUSPENDED", "the other one is past its grace as well"
    await late.does(CREDIT, id=await late.first(), amount="19.99")
    assert await late.status() == "SUSPENDED"
    await late.does(CREDIT, id=await late.first(), amount="0.01")
    assert (await late.status(), await late.jobs()) == ("ACTIVE", jobs + 1)
    await sound(owner)


async def test_what_a_smaller_package_gives_back(late: Late, owner: Database) -> None:
    smaller = await late.house.package("Home 5", price_minor=3_100)
    jobs = await late.jobs()
    quote = await late.buyer.quote(smaller)
    stays = "The service is suspended, and stays so unless what is given back settles what is owed."
    assert stays in quote["warnings"]
    done = await late.buyer.change(smaller)
    assert done["errors"] == []
    assert done["customer"]["status"] == done["customer"]["service"]["status"] == "ACTIVE"
    assert done["customer"]["service"]["package"]["name"] == "Home 5"
    assert len(done["jobs"]) == 1
    assert not any("suspended" in warning for warning in done["warnings"])
    await freed(late, owner, jobs)


async def test_the_same_on_a_day_to_come(late: Late, owner: Database) -> None:
    smaller = await late.house.package("Home 5", price_minor=3_100)
    assert (await late.buyer.change(smaller, effectiveOn="2026-02-13"))["errors"] == []
    jobs = await late.jobs()
    clock.set_clock("2026-02-12T18:00:10Z")
    await scheduler.change_packages(late.house.database)
    await freed(late, owner, jobs)


async def test_a_package_that_costs_more_settles_nothing(late: Late) -> None:
    better = await late.house.package("Home 50", price_minor=62_000)
    done = await late.buyer.change(better)
    assert "The service is suspended, and stays so." in done["warnings"]
    assert done["customer"]["service"]["status"] == "SUSPENDED"


async def test_more_grace(late: Late, owner: Database) -> None:
    jobs = await late.jobs()
    profile = {"customerId": late.buyer.customer, "profile": {"graceDays": 20}, "confirmImpact": True}
    await late.does(PROFILE, input=profile)
    await freed(late, owner, jobs)


@pytest.mark.parametrize("way", ["recharge", "bill"])
async def test_time_for_one_who_paid_after_it_was_over(late: Late, owner: Database, way: str) -> None:
    clock.set_clock("2026-03-02T04:00:00Z")
    await late.does(ADVANCE, input={"customerId": late.buyer.customer, "amount": "50", "method": "CASH"})
    assert await late.status() == "SUSPENDED", "there is no time that could be served"
    jobs = await late.jobs()
    if way == "recharge":
        quote = await late.buyer.days(5)
        assert not any("suspended" in warning for warning in quote["warnings"])
        assert "Auth-Type" in [row["attribute"] for row in quote["radiusBefore"]]
        assert "Auth-Type" not in [row["attribute"] for row in quote["radiusAfter"]]
        done = await late.buyer.recharge(5, quoteToken=quote["token"])
        assert (done["errors"], len(done["jobs"])) == ([], 1)
        assert done["customer"]["service"]["status"] == "ACTIVE"
        assert not any("suspended" in warning for warning in done["warnings"])
        assert await late.jobs() == jobs + 1
    else:
        await late.does(BILL, input={"customerId": late.buyer.customer})
    assert await late.status() == "ACTIVE"
    assert await late.told() == ["service.suspended", "service.activated"]
    await sound(owner)


@pytest.mark.parametrize("way", ["recharge", "bill"])
async def test_time_alone_does_not_pay_a_debt(late: Late, way: str) -> None:
    clock.set_clock("2026-03-02T04:00:00Z")
    if way == "recharge":
        quote = await late.buyer.days(5)
        assert "The service is suspended, and stays so." in quote["warnings"]
        assert (await late.buyer.recharge(5))["errors"] == []
    else:
        await late.does(BILL, input={"customerId": late.buyer.customer})
    assert await late.status() == "SUSPENDED"


async def test_whom_an_operator_has_suspended_by_hand_is_freed_by_a_payment_alone(
    api: Api, house: House, till: Till
) -> None:
    package = await house.package(price_minor=31_000)
    someone = Late(await Buyer.enrolled(api, house, package, at="2026-01-31T04:00:00Z", pays="310"), till)
    clock.set_clock("2026-02-10T04:00:00Z")
    await someone.does(SUSPEND, input={"customerId": someone.buyer.customer, "reason": "NON_PAYMENT"})
    smaller = await house.package("Home 5", price_minor=3_100)
    await someone.buyer.change(smaller)
    await someone.buyer.recharge(3)
    profile = {"customerId": someone.buyer.customer, "profile": {"graceDays": 20}, "confirmImpact": True}
    await someone.does(PROFILE, input=profile)
    await someone.does(BILL, input={"customerId": someone.buyer.customer})
    await someone.day("2026-02-11")
    assert await someone.status() == "SUSPENDED"
    await someone.does(ADVANCE, input={"customerId": someone.buyer.customer, "amount": "1", "method": "CASH"})
    assert await someone.status() == "ACTIVE"


async def test_a_run_pays_its_own_bills_from_the_wallet_and_no_others(late: Late, owner: Database) -> None:
    async with late.house.database.read(late.house.tenant.id) as session:
        customer = await session.get_one(Customer, late.key)
    paid_until = datetime(2026, 2, 12, 4, tzinfo=UTC)
    other = await office.service(late.house, paid_until, customer=customer, is_primary=False)
    await late.does(WALLET, input={"customerId": late.buyer.customer, "amount": "1000", "reason": "Goodwill"})
    await office.bill(late.house)
    ((invoice, _),) = await office.billed(late.house, other.id)
    assert invoice.status is InvoiceStatus.PAID
    (owed,) = await late.till.again(late.bills)
    assert (owed.paid_minor, await late.status()) == (0, "SUSPENDED")
    jobs = await late.jobs()
    key = ids.encode("inv", owed.id)
    await late.does(PAY, input={"invoiceId": key, "amount": "50", "method": "WALLET"})
    await freed(late, owner, jobs)

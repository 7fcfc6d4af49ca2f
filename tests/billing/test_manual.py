"""customerGenerateBill: periods, parts of them, and amounts, with every figure written out."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select, update

from ispgraph import clock, ids, invariants
from ispgraph.db import Database
from ispgraph.domain.models import (
    AuditEntry,
    BilledPeriod,
    Customer,
    Job,
    Operator,
    Role,
    Service,
    ServiceStatus,
    TaxProfile,
    Tenant,
)
from ispgraph.domain.permissions import DEFAULTS, Permission
from tests.api import Api
from tests.billing import office
from tests.billing.conftest import Till
from tests.factories import House

DOCUMENT = """mutation ($input: GenerateBillInput!) { customerGenerateBill(input: $input) {
  invoice { number status issuedOn dueOn periodStart periodEnd subtotal { amount } tax { amount } total { amount }
    amountDue { amount } lines { description explanation unitPrice { amount } taxRate taxIncluded } }
  customer { wallet { amount } amountDue { amount } } errors { code message field } } }"""
# 12:00 in Dhaka on 10 March; paid until 11:00 on 20 March, from 20 January on.
NOON = "2027-03-10T06:00:00Z"
END = datetime(2027, 3, 20, 5, tzinfo=UTC)
ANCHOR = datetime(2027, 1, 20, 5, tzinfo=UTC)


@dataclass
class Clerk:
    """One operator who bills one customer, with one service."""

    api: Api
    operator: Operator
    till: Till
    customer: Customer
    service: Service

    @property
    def house(self) -> House:
        return self.till.house

    async def bill(self, **given: Any) -> dict[str, Any]:
        asked = {"customerId": ids.encode("cus", self.customer.id), **given}
        found: dict[str, Any] = (await self.api.data(DOCUMENT, self.operator, input=asked))["customerGenerateBill"]
        return found

    async def refused(self, **given: Any) -> list[tuple[str, str]]:
        """The faults, when nothing was changed."""
        before = await office.everything(self.house)
        payload = await self.bill(**given)
        assert payload["invoice"] is None
        assert await office.everything(self.house) == before
        return [(error["code"], ".".join(error["field"])) for error in payload["errors"]]

    async def again(self) -> Service:
        return await office.again(self.house, self.service)

    async def put(self, **values: Any) -> None:
        """Change the service's row."""
        async with self.house.database.transaction(self.house.tenant.id) as session:
            await session.execute(update(Service).where(Service.id == self.service.id).values(**values))


@pytest.fixture
async def clerk(api: Api, till: Till, moved_clock: None) -> Clerk:
    clock.set_clock(NOON)
    customer = await till.customer()
    package = await till.house.package("Home", price_minor=31_00)
    service = await office.service(till.house, END, package, customer=customer, billing_anchor=ANCHOR)
    return Clerk(api, till.house.admin, till, customer, service)


async def sound(owner: Database) -> None:
    """No rule of the books is broken."""
    assert [finding for finding in await invariants.check(owner) if finding.broken] == []


async def test_the_next_period_is_billed_and_served(clerk: Clerk, owner: Database) -> None:
    await clerk.till.pay(1100, customer_id=clerk.customer.id)
    invoice = (await clerk.bill())["invoice"]
    assert invoice == {
        "number": "INV-2027-000001",
        "status": "PARTIALLY_PAID",
        "issuedOn": "2027-03-10",
        "dueOn": "2027-03-17",
        "periodStart": "2027-03-20T05:00:00Z",
        "periodEnd": "2027-04-20T05:00:00Z",
        "subtotal": {"amount": "31.00"},
        "tax": {"amount": "0.00"},
        "total": {"amount": "31.00"},
        "amountDue": {"amount": "20.00"},
        "lines": [
            {
                "description": "Home, 1 month, 20 March to 20 April 2027",
                "explanation": "1 month at 31.00 USD, without tax.",
                "unitPrice": {"amount": "31.00"},
                "taxRate": "0",
                "taxIncluded": False,
            }
        ],
    }
    now = await clerk.again()
    assert (now.expires_at, now.billing_anchor) == (datetime(2027, 4, 20, 5, tzinfo=UTC), ANCHOR)
    again = (await clerk.bill())["invoice"]
    assert (again["periodStart"], again["periodEnd"]) == ("2027-04-20T05:00:00Z", "2027-05-20T05:00:00Z")
    async with clerk.house.database.read(clerk.house.tenant.id) as session:
        made = select(AuditEntry).where(AuditEntry.action == "invoice.generate").order_by(AuditEntry.id)
        entries = (await session.scalars(made)).all()
    assert [entry.details for entry in entries] == [
        {"invoice": f"INV-2027-00000{n}", "total_minor": 3100} for n in (1, 2)
    ]
    await sound(owner)


async def test_parts_of_a_period_sum_to_its_price(clerk: Clerk, owner: Database) -> None:
    first = (await clerk.bill(periodEnd="2027-03-27", prorate=True, description="A week"))["invoice"]
    assert (first["total"]["amount"], first["lines"][0]["description"]) == ("7.00", "A week")
    assert first["lines"][0]["explanation"] == "7 of 31 days of 31.00 USD, without tax."
    assert (await clerk.again()).expires_at == datetime(2027, 3, 27, 5, tzinfo=UTC)
    second = (await clerk.bill(periodStart="2027-03-27", periodEnd="2027-04-05", prorate=True))["invoice"]
    assert second["lines"][0]["description"] == "Home, 9 of 31 days, 27 March to 5 April 2027"
    # What nobody bills the next run does, from the day on which the last part ended.
    clock.set_clock("2027-04-06T00:00:00Z")
    await office.bill(clerk.house)
    made = await office.billed(clerk.house)
    assert [invoice.total_minor for invoice, _ in made] == [700, 900, 1500]
    assert made[-1][1].description == "Home, 15 of 31 days, 5 April to 20 April 2027"
    assert (await clerk.again()).expires_at == datetime(2027, 4, 20, 5, tzinfo=UTC)
    await sound(owner)


@pytest.mark.parametrize("price", [1, 99_99])
async def test_however_it_is_split_the_parts_are_the_price(clerk: Clerk, price: int) -> None:
    package = await clerk.house.package("Odd", price_minor=price)
    await clerk.put(package_id=package.id)
    for day in ("2027-03-21", "2027-03-25", "2027-04-01", "2027-04-19", "2027-04-20"):
        assert (await clerk.bill(periodEnd=day, prorate=True))["errors"] == []
    made = await office.billed(clerk.house)
    assert sum(invoice.total_minor for invoice, _ in made) == price
    async with clerk.house.database.read(clerk.house.tenant.id) as session:
        rows = (await session.scalars(select(BilledPeriod).order_by(BilledPeriod.starts_at))).all()
    assert [row.price_minor for row in rows] == [invoice.total_minor for invoice, _ in made]
    assert [row.ends_at for row in rows[:-1]] == [row.starts_at for row in rows[1:]]


async def test_time_is_charged_once(clerk: Clerk) -> None:
    await clerk.bill(periodEnd="2027-03-30", prorate=True)
    for given in (
        {"periodStart": "2027-03-20", "periodEnd": "2027-03-25", "prorate": True},
        {"periodStart": "2027-03-29", "prorate": True},
        {"periodStart": "2027-03-20"},
    ):
        assert await clerk.refused(**given) == [("TAKEN", "input.periodStart")]
    done = await asyncio.gather(*(clerk.bill(periodStart="2027-03-30", prorate=True) for _ in range(4)))
    assert sum(payload["invoice"] is not None for payload in done) == 1
    losers = [payload["errors"][0] for payload in done if payload["errors"]]
    assert {(error["code"], ".".join(error["field"])) for error in losers} == {("TAKEN", "input.periodStart")}


async def test_what_a_void_released_can_be_billed_again(clerk: Clerk, owner: Database) -> None:
    await clerk.bill()
    ((invoice, _),) = await office.billed(clerk.house)
    await clerk.till.void(invoice)
    again = (await clerk.bill(periodStart="2027-03-20"))["invoice"]
    assert (again["number"], again["total"]["amount"]) == ("INV-2027-000002", "31.00")
    assert (await clerk.again()).expires_at == datetime(2027, 4, 20, 5, tzinfo=UTC)
    await sound(owner)


async def test_who_lapsed_begins_anew_on_the_day_that_is_given(clerk: Clerk, owner: Database) -> None:
    clock.set_clock("2027-05-03T09:00:00Z")
    invoice = (await clerk.bill(periodStart="2027-05-03"))["invoice"]
    start = datetime.fromisoformat(invoice["periodStart"])
    assert timedelta(0) <= start - datetime(2027, 5, 3, 9, tzinfo=UTC) < timedelta(minutes=1)
    assert invoice["lines"][0]["description"] == "Home, 1 month, 3 May to 3 June 2027"
    now = await clerk.again()
    assert (now.billing_anchor, now.expires_at) == (start, datetime.fromisoformat(invoice["periodEnd"]))
    async with clerk.house.database.read(clerk.house.tenant.id) as session:
        (job,) = await session.scalars(select(Job))
    assert (job.kind, job.service_id) == ("service.provision", clerk.service.id)
    await sound(owner)


async def test_an_amount_charges_no_time(clerk: Clerk, owner: Database) -> None:
    async with owner.transaction(clerk.house.tenant.id) as session:
        values = {"tax_rate": Decimal(20), "tax_inclusive": True}
        await session.execute(update(Tenant).where(Tenant.id == clerk.house.tenant.id).values(**values))
    given = {"amount": "12.00", "periodStart": "2027-03-20", "periodEnd": "2027-04-20"}
    first = (await clerk.bill(**given, dueOn="2027-03-10", description="A mast"))["invoice"]
    assert [first[name]["amount"] for name in ("subtotal", "tax", "total")] == ["10.00", "2.00", "12.00"]
    assert (first["dueOn"], first["lines"][0]["description"]) == ("2027-03-10", "A mast")
    assert first["periodStart"] == "2027-03-19T18:00:00Z"
    second = (await clerk.bill(amount="12.00", taxRate="0"))["invoice"]
    assert [second[name]["amount"] for name in ("subtotal", "tax", "total")] == ["12.00", "0.00", "12.00"]
    assert (second["lines"][0]["description"], second["periodStart"]) == ("Charge", None)
    async with clerk.house.database.read(clerk.house.tenant.id) as session:
        assert (await session.scalars(select(BilledPeriod))).all() == []
    assert (await clerk.again()).expires_at == END
    assert (await clerk.bill())["errors"] == []
    await sound(owner)


async def test_another_rate_of_tax_is_that_of_the_bill_alone(clerk: Clerk, owner: Database) -> None:
    profile = TaxProfile(name="Usual", rate=Decimal(10), is_default=True)
    await clerk.house.add(profile)
    totals = [
        (await clerk.bill(**given))["invoice"]["total"]["amount"]
        for given in ({}, {"taxRate": "12.5"}, {"taxRate": "0"})
    ]
    assert totals == ["34.10", "34.88", "31.00"]
    await sound(owner)


async def test_the_same_key_bills_once(clerk: Clerk) -> None:
    first = await clerk.bill(idempotencyKey="k")
    assert await clerk.bill(idempotencyKey="k") == first
    assert await clerk.refused(idempotencyKey="k", taxRate="1") == [("IDEMPOTENCY_KEY_REUSED", "input.idempotencyKey")]


BAD: list[tuple[dict[str, Any], tuple[str, str]]] = [
    ({"amount": "0"}, ("INVALID", "input.amount")),
    ({"amount": "-1.00"}, ("INVALID", "input.amount")),
    ({"amount": "1.001"}, ("INVALID", "input.amount")),
    ({"amount": "1", "prorate": True}, ("INVALID", "input.prorate")),
    ({"amount": "1", "periodStart": "2027-03-20"}, ("REQUIRED", "input.periodEnd")),
    ({"amount": "1", "periodEnd": "2027-03-20"}, ("REQUIRED", "input.periodStart")),
    ({"taxRate": "100.1"}, ("INVALID", "input.taxRate")),
    ({"taxRate": "-1"}, ("INVALID", "input.taxRate")),
    ({"dueOn": "2027-03-09"}, ("INVALID", "input.dueOn")),
    ({"periodStart": "2027-03-20", "periodEnd": "2027-03-20"}, ("INVALID", "input.periodEnd")),
    ({"periodEnd": "2027-03-19"}, ("INVALID", "input.periodEnd")),
    ({"periodEnd": "2027-04-21", "prorate": True}, ("INVALID", "input.periodEnd")),
    ({"periodStart": "2027-03-21"}, ("INVALID", "input.periodStart")),
    ({"periodStart": "9999-12-31"}, ("INVALID", "input.periodStart")),
    ({"periodEnd": "9999-12-31"}, ("INVALID", "input.periodEnd")),
    ({"periodEnd": "2027-04-01"}, ("INVALID", "input.prorate")),
    ({"description": "x" * 301}, ("INVALID", "input.description")),
    ({"packageId": "pkg_" + "0" * 32}, ("INVALID", "input.packageId")),
    ({"serviceId": "svc_" + "0" * 32}, ("NOT_FOUND", "input.serviceId")),
    ({"amount": "1", "serviceId": "svc_" + "0" * 32}, ("NOT_FOUND", "input.serviceId")),
]


async def test_what_cannot_be_is_refused(clerk: Clerk) -> None:
    before = await office.everything(clerk.house)
    for given, (code, field) in BAD:
        payload = await clerk.bill(**given)
        assert payload["invoice"] is None
        assert [(error["code"], ".".join(error["field"])) for error in payload["errors"]] == [(code, field)], given
    assert await office.everything(clerk.house) == before


async def test_a_package_and_an_amount_are_two_bills(clerk: Clerk) -> None:
    package = ids.encode("pkg", clerk.service.package_id)
    assert await clerk.refused(packageId=package, amount="5") == [("INVALID", "input.amount")]
    assert (await clerk.bill(packageId=package))["errors"] == []


async def test_only_what_has_begun_and_goes_on_is_billed(clerk: Clerk) -> None:
    for status in (ServiceStatus.PENDING, ServiceStatus.EXPIRED, ServiceStatus.TERMINATED):
        await clerk.put(status=status)
        assert await clerk.refused() == [("INVALID_STATE", "input.customerId")]
    await clerk.put(status=ServiceStatus.ACTIVE, expires_at=None)
    assert await clerk.refused() == [("INVALID_STATE", "input.customerId")]
    assert (await clerk.bill(amount="1.00"))["errors"] == []


async def test_who_may_bill_whom(clerk: Clerk) -> None:
    permissions = sorted(each.value for each in DEFAULTS[Role.STAFF] - {Permission.GENERATE_BILLS})
    staff = await clerk.house.operator(Role.STAFF, permissions=permissions)
    asked = {"customerId": ids.encode("cus", clerk.customer.id)}
    answer = await clerk.api(DOCUMENT, staff, input=asked)
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    spelt = sorted({each.value for each in DEFAULTS[Role.OPERATOR]} | {"GENERATE_BILLS"})
    reseller = await clerk.house.operator(Role.OPERATOR, permissions=spelt)
    for given in ({}, {"amount": "1.00"}):
        payload = (await clerk.api.data(DOCUMENT, reseller, input={**asked, **given}))["customerGenerateBill"]
        assert [(error["code"], error["field"]) for error in payload["errors"]] == [
            ("NOT_FOUND", ["input", "customerId"])
        ]

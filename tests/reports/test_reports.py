"""Reports through the API: figures written out, what is refused, who sees what, pages, and the number of statements."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain.billing import corrections, invoices, ledger, payments
from ispgraph.domain.models import (
    Account,
    Customer,
    Invoice,
    InvoiceKind,
    InvoiceLine,
    InvoiceStatus,
    Payment,
    PaymentCategory,
    PaymentMethod,
    Role,
)
from ispgraph.domain.permissions import Permission
from tests.api import Api
from tests.billing.conftest import Till
from tests.factories import House
from tests.reports.walk import customer_of
from tests.statements import counted

MONTHS = """query ($from: Date!, $to: Date!) {
  revenueReport(from: $from, to: $to) { total { net { amount } } periods { start end figures {
    invoices invoiced { amount } voided { amount } credited { amount } net { amount } } } }
  taxReport(from: $from, to: $to) { total { tax { amount } } rates { rate figures { net { amount } tax { amount } } } }
  collectionsReport(from: $from, to: $to) { periods { figures { payments refunds net { amount } } }
    operators { operator { name } method figures { received { amount } refunded { amount } } } } }"""
OWED = """query ($on: Date) { receivablesReport(on: $on) { on customerCount total { total { amount }
  notDue { amount } days1To30 { amount } days31To60 { amount } days61To90 { amount } over90Days { amount } } } }"""
PAGE = """query ($first: Int, $after: String, $last: Int, $before: String) { receivablesReport {
  customers(first: $first, after: $after, last: $last, before: $before) { nodes { customer { name } }
    totalCount edges { cursor node { owed { total { amount } } } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } } }"""


def at(text: str) -> None:
    """Put the clock to an instant."""
    clock.set_clock(text)


@dataclass
class Desk:
    """The admin, a till, and a customer."""

    api: Api
    till: Till
    customer: Customer

    async def months(self, first: str, end: str) -> dict[str, Any]:
        """The three reports of money that moved."""
        return await self.api.data(MONTHS, self.till.house.admin, **{"from": first, "to": end})

    async def owed(self, on: str | None = None) -> dict[str, Any]:
        """What is owed, without its zeros."""
        found = (await self.api.data(OWED, self.till.house.admin, on=on))["receivablesReport"]
        return {name: each["amount"] for name, each in found["total"].items() if each["amount"] != "0.00"}

    async def bill(self, minor: int, rate: str = "0") -> Invoice:
        """An open invoice of the customer."""
        return await self.till.bill(self.customer.id, minor, rate=rate)


@pytest.fixture
async def desk(api: Api, till: Till) -> Desk:
    """The desk of the house, in Asia/Dhaka, six hours ahead of UTC."""
    return Desk(api, till, await till.customer())


async def test_things_count_when_they_happen(desk: Desk, moved_clock: None) -> None:
    at("2026-01-31T17:59:00Z")
    january = await desk.bill(10_000, "15")
    at("2026-01-31T18:01:00Z")
    february = await desk.bill(20_000, "5")
    paid = await desk.till.pay(12_000, january)
    at("2026-03-15T10:00:00Z")
    await desk.till.refund(paid, 2_000)
    at("2026-03-20T10:00:00Z")
    await desk.till.void(january)

    found = await desk.months("2026-01-01", "2026-04-01")

    revenue = found["revenueReport"]
    assert revenue["total"] == {"net": {"amount": "200.00"}}
    assert [
        (each["start"], each["end"], each["figures"]["invoices"], *(_amounts(each["figures"])))
        for each in revenue["periods"]
    ] == [
        ("2026-01-01", "2026-02-01", 1, "100.00", "0.00", "0.00", "100.00"),
        ("2026-02-01", "2026-03-01", 1, "200.00", "0.00", "0.00", "200.00"),
        ("2026-03-01", "2026-04-01", 0, "0.00", "100.00", "0.00", "-100.00"),
    ]
    tax = found["taxReport"]
    assert tax["total"] == {"tax": {"amount": "10.00"}}
    assert [(each["rate"], *_amounts(each["figures"])) for each in tax["rates"]] == [
        ("5.000", "200.00", "10.00"),
        ("15.000", "0.00", "0.00"),
    ]
    taken = found["collectionsReport"]
    assert [(each["figures"]["payments"], each["figures"]["refunds"]) for each in taken["periods"]] == [
        (0, 0),
        (1, 0),
        (0, 1),
    ]
    assert [each["figures"]["net"]["amount"] for each in taken["periods"]] == ["0.00", "120.00", "-20.00"]
    assert taken["operators"] == [
        {
            "operator": {"name": desk.till.house.admin.name},
            "method": "CASH",
            "figures": {"received": {"amount": "120.00"}, "refunded": {"amount": "20.00"}},
        }
    ]
    # A stretch that cuts months cuts the figures too.
    cut = (await desk.months("2026-02-02", "2026-03-16"))["revenueReport"]["periods"]
    assert [(each["start"], each["end"], each["figures"]["net"]["amount"]) for each in cut] == [
        ("2026-02-02", "2026-03-01", "0.00"),
        ("2026-03-01", "2026-03-16", "0.00"),
    ]
    # A day in the past is what it was: before the refund and the void, and before the payment.
    assert february.due_on == date(2026, 2, 8)
    assert await desk.owed("2026-01-31") == {"total": "115.00", "notDue": "115.00"}
    assert await desk.owed("2026-02-01") == {"total": "210.00", "notDue": "210.00"}
    assert await desk.owed("2026-03-14") == {"total": "210.00", "days31To60": "210.00"}
    assert await desk.owed("2026-03-15") == {"total": "225.00", "days31To60": "225.00"}
    assert await desk.owed("2026-03-20") == {"total": "210.00", "days31To60": "210.00"}
    assert await desk.owed() == await desk.owed("2026-03-20")
    assert await desk.owed("2026-01-30") == {}


def _amounts(figures: dict[str, Any]) -> list[str]:
    return [each["amount"] for each in figures.values() if isinstance(each, dict)]


async def test_midnight_belongs_to_the_day_that_begins(desk: Desk, moved_clock: None) -> None:
    house = desk.till.house
    midnight = datetime.fromisoformat("2026-02-01T00:00:00+06:00")
    for instant, minor in ((midnight, 100), (midnight - timedelta(microseconds=1), 30)):
        async with house.database.transaction(house.tenant.id) as session:
            draft = await desk.till.draft(session, desk.customer.id, minor)
            await invoices.open(session, draft, tenant=house.tenant, at=instant, by=desk.till.by)
            paid = {"tenant": house.tenant, "customer_id": desk.customer.id, "invoices": [], "notes": None}
            paid |= {"method": PaymentMethod.CARD, "category": PaymentCategory.ADVANCE, "reference": None}
            await payments.record(session, amount_minor=minor, at=instant, by=desk.till.by, **paid)
    at("2026-03-01T00:00:00Z")
    for first, end, minor in (("2026-01-31", "2026-02-01", 30), ("2026-02-01", "2026-02-02", 100)):
        found = await desk.months(first, end)
        assert found["revenueReport"]["total"]["net"]["amount"] == f"{minor / 100:.2f}"
        assert found["collectionsReport"]["periods"][0]["figures"]["net"]["amount"] == f"{minor / 100:.2f}"
    assert [(await desk.owed(on))["total"] for on in ("2026-01-31", "2026-02-01")] == ["0.30", "1.30"]


async def test_what_happens_at_midnight_is_not_of_the_day_before(desk: Desk, moved_clock: None) -> None:
    house, by = desk.till.house, desk.till.by

    def month(number: int) -> datetime:
        return datetime.fromisoformat(f"2026-0{number}-01T00:00:00+06:00")

    at("2026-01-10T06:00:00Z")
    invoice = await desk.bill(100)
    async with house.database.transaction(house.tenant.id) as session:
        given = {"tenant": house.tenant, "customer_id": desk.customer.id, "notes": None, "reference": None}
        given |= {"method": PaymentMethod.CARD, "category": PaymentCategory.SERVICE, "amount_minor": 100}
        row = await session.get_one(Invoice, invoice.id)
        payment = await payments.record(session, at=month(2), by=by, invoices=[row], **given)
    async with house.database.transaction(house.tenant.id) as session:
        paid = await session.get_one(Payment, payment.id)
        await corrections.refund(session, paid, None, reason="x", currency="USD", at=month(3), by=by)
    async with house.database.transaction(house.tenant.id) as session:
        await corrections.void(session, await session.get_one(Invoice, invoice.id), reason="x", at=month(4), by=by)
    at("2026-05-01T00:00:00Z")
    days = ("01-31", "02-01", "02-28", "03-01", "03-31", "04-01")
    owed = [(await desk.owed(f"2026-{day}")).get("total") for day in days]
    assert owed == ["1.00", None, None, "1.00", "1.00", None]


async def test_each_age_ends_where_the_next_begins(desk: Desk, moved_clock: None) -> None:
    at("2026-01-01T06:00:00Z")
    invoice = await desk.bill(100)
    assert invoice.due_on is not None
    at("2026-12-01T06:00:00Z")
    ages = {}
    for days in (0, 1, 30, 31, 60, 61, 90, 91, 300):
        found = await desk.owed((invoice.due_on + timedelta(days=days)).isoformat())
        (ages[days],) = found.keys() - {"total"}
    assert ages == {
        0: "notDue",
        **{1: "days1To30", 30: "days1To30", 31: "days31To60", 60: "days31To60"},
        **{61: "days61To90", 90: "days61To90", 91: "over90Days", 300: "over90Days"},
    }


async def test_a_credit_note_is_neither_an_invoice_nor_owed(desk: Desk, moved_clock: None) -> None:
    at("2026-01-10T06:00:00Z")
    invoice = await desk.bill(10_000, "15")
    at("2026-02-10T06:00:00Z")
    await _credit(desk, invoice, 4_000, 600)
    found = await desk.months("2026-01-01", "2026-03-01")
    assert [_amounts(each["figures"]) for each in found["revenueReport"]["periods"]] == [
        ["100.00", "0.00", "0.00", "100.00"],
        ["0.00", "0.00", "40.00", "-40.00"],
    ]
    assert [(each["rate"], *_amounts(each["figures"])) for each in found["taxReport"]["rates"]] == [
        ("15.000", "60.00", "9.00")
    ]
    assert (await desk.owed())["total"] == "115.00"


async def _credit(desk: Desk, invoice: Invoice, net: int, tax: int) -> None:
    """A credit note: its amounts are below zero, and what it gives is in the wallet."""
    house = desk.till.house
    async with house.database.transaction(house.tenant.id) as session:
        note = Invoice(
            id=ids.uuid7(),
            tenant_id=house.tenant.id,
            kind=InvoiceKind.CREDIT_NOTE,
            credits_id=invoice.id,
            customer_id=invoice.customer_id,
            status=InvoiceStatus.DRAFT,
            subtotal_minor=-net,
            tax_minor=-tax,
            total_minor=-net - tax,
            paid_minor=0,
        )
        session.add(note)
        await session.flush()
        line = InvoiceLine(tenant_id=house.tenant.id, invoice_id=note.id, position=1, description="Back", quantity=1)
        line.unit_price_minor = line.amount_minor = -net
        line.tax_rate, line.tax_minor = Decimal(15), -tax
        session.add(line)
        await session.flush()
        note.status, note.number, note.issued_on = InvoiceStatus.PAID, "CN-1", date(2026, 2, 10)
        entries = [
            ledger.Entry(Account.WALLET, -net - tax, customer_id=invoice.customer_id),
            ledger.Entry(Account.REVENUE, net),
            ledger.Entry(Account.TAX, tax),
        ]
        given = {"description": "Credit", "at": clock.now(), "by": None, "invoice_id": note.id}
        await ledger.post(session, tenant_id=house.tenant.id, postings=entries, **given)  # type: ignore[arg-type]


REPORTS = ("revenueReport", "taxReport", "collectionsReport")


async def test_stretches_of_time_that_are_none(api: Api, house: House) -> None:
    for report in REPORTS:
        document = f"""query ($from: Date!, $to: Date!, $by: ReportGranularity!) {{
          {report}(from: $from, to: $to, granularity: $by) {{ periods {{ start }} }} }}"""
        for first, end, by in (
            ("2026-01-01", "2026-01-01", "MONTH"),
            ("2026-01-02", "2026-01-01", "DAY"),
            ("2023-01-01", "2026-01-02", "MONTH"),
            ("2025-01-01", "2026-01-03", "DAY"),
            ("1900-01-01", "9999-12-31", "DAY"),
        ):
            answer = await api(document, house.admin, **{"from": first, "to": end, "by": by})
            (error,) = answer["errors"]
            assert (error["extensions"]["code"], error["extensions"]["field"]) == ("BAD_REQUEST", ["from"])
        last = await api.data(document, house.admin, **{"from": "9997-01-01", "to": "9999-12-31", "by": "MONTH"})
        assert last[report]["periods"][-1] == {"start": "9999-12-01"}


async def test_the_longest_stretches(api: Api, house: House) -> None:
    document = """{ months: revenueReport(from: "2023-01-01", to: "2026-01-01") { periods { start } }
      days: revenueReport(from: "2024-01-01", to: "2025-01-01", granularity: DAY) { periods { start } } }"""
    found = await api.data(document, house.admin)
    assert [len(each["periods"]) for each in found.values()] == [36, 366]


async def test_a_day_to_come_is_refused(api: Api, house: House, moved_clock: None) -> None:
    # In Dhaka it is the second already.
    at("2026-06-01T18:00:00Z")
    assert (await api.data(OWED, house.admin, on="2026-06-02"))["receivablesReport"]["on"] == "2026-06-02"
    assert (await api.data(OWED, house.admin))["receivablesReport"]["on"] == "2026-06-02"
    answer = await api(OWED, house.admin, on="2026-06-03")
    (error,) = answer["errors"]
    assert (error["extensions"]["code"], error["extensions"]["field"]) == ("BAD_REQUEST", ["on"])
    assert (await api.data(OWED, house.admin, on="1900-01-01"))["receivablesReport"]["customerCount"] == 0


async def test_who_may(api: Api, house: House, other_house: House, desk: Desk) -> None:
    await desk.till.pay(100, await desk.bill(5_000))
    staff = await house.operator(Role.STAFF)
    for report in REPORTS:
        document = f'{{ {report}(from: "2026-01-01", to: "2026-02-01") {{ periods {{ start }} }} }}'
        answer = await api(document, staff)
        assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]
    answer = await api(OWED, staff)
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]
    # Totals need one right, names of customers another.
    blind = await house.operator(Role.ACCOUNTANT, permissions=[Permission.VIEW_REPORTS.value])
    assert (await api.data(OWED, blind))["receivablesReport"]["total"]["total"] == {"amount": "49.00"}
    answer = await api(PAGE, blind)
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]
    # Another house has its own books, and a reseller those of the subtree.
    reseller = await house.operator(Role.OPERATOR)
    for stranger in (other_house.admin, reseller):
        today = clock.now().date()
        span = {"from": (today - timedelta(days=5)).isoformat(), "to": (today + timedelta(days=5)).isoformat()}
        found = await api.data(MONTHS, stranger, **span)
        assert found["revenueReport"]["total"]["net"] == {"amount": "0.00"}
        assert (found["taxReport"]["rates"], found["collectionsReport"]["operators"]) == ([], [])
        assert (await api.data(OWED, stranger))["receivablesReport"]["customerCount"] == 0


async def _debtors(desk: Desk, amounts: Sequence[int]) -> list[UUID]:
    house, keys = desk.till.house, []
    for number, amount in enumerate(amounts):
        customer = await customer_of(house, house.admin, number)
        await desk.till.bill(customer.id, amount)
        keys.append(customer.id)
    return keys


async def test_debtors_by_pages(api: Api, house: House, desk: Desk) -> None:
    amounts = [300, 500, 500, 100, 200, 500, 400]
    keys = await _debtors(desk, amounts)
    ordered = sorted(zip(amounts, keys, strict=True), reverse=True)
    names = [f"Customer {keys.index(key)}" for _, key in ordered]

    async def page(**given: Any) -> dict[str, Any]:
        found = (await api.data(PAGE, house.admin, **given))["receivablesReport"]["customers"]
        assert found["totalCount"] == 7
        seen: dict[str, Any] = found
        return seen

    whole = await page()
    assert [each["customer"]["name"] for each in whole["nodes"]] == names
    assert [each["node"]["owed"]["total"]["amount"] for each in whole["edges"]] == [
        f"{amount / 100:.2f}" for amount, _ in ordered
    ]
    cursors = [each["cursor"] for each in whole["edges"]]
    seen, after = [], None
    while True:
        found = await page(first=2, after=after)
        seen += [each["customer"]["name"] for each in found["nodes"]]
        after = found["pageInfo"]["endCursor"]
        if not found["pageInfo"]["hasNextPage"]:
            break
    assert seen == names
    back = await page(last=3, before=cursors[5])
    assert [each["customer"]["name"] for each in back["nodes"]] == names[2:5]
    assert back["pageInfo"] == {
        "hasNextPage": True,
        "hasPreviousPage": True,
        "startCursor": cursors[2],
        "endCursor": cursors[4],
    }
    for given, field in (
        ({"first": 101}, "first"),
        ({"first": 1, "last": 1}, "last"),
        ({"after": "W10"}, "after"),
        ({"before": "x"}, "before"),
    ):
        answer = await api(PAGE, house.admin, **given)
        (error,) = answer["errors"]
        assert (error["extensions"]["code"], error["extensions"]["field"]) == ("BAD_REQUEST", [field])


async def test_the_number_of_statements_does_not_grow(api: Api, house: House, database: Database, desk: Desk) -> None:
    today = clock.now().date()
    span = {"from": (today - timedelta(days=40)).isoformat(), "to": (today + timedelta(days=5)).isoformat()}
    numbers = []
    for count in (2, 9):
        await _debtors_of_operators(desk, count)
        with counted(database) as seen:
            await api.data(MONTHS, house.admin, **span)
        money_moved = len(seen)
        with counted(database) as seen:
            await api.data(PAGE, house.admin)
        numbers.append((money_moved, len(seen)))
    # Of each report one, the rates of tax, the operators; of what is owed the totals, a page, and its customers.
    assert numbers == [(5, 3), (5, 3)], seen


async def _debtors_of_operators(desk: Desk, count: int) -> None:
    house = desk.till.house
    for _ in range(count):
        operator = await house.operator(Role.ACCOUNTANT)
        customer = await desk.till.customer()
        till = Till(house, await house.viewer(operator))
        await till.pay(100, await till.bill(customer.id, 300, rate="5"))

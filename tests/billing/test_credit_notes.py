"""Credit notes: a part of an invoice given back with exactly its tax, and what can be void afterwards."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain.billing import documents, invoices
from ispgraph.domain.models import BilledPeriod, Invoice
from tests.api import Api
from tests.billing.changing import Buyer, faults, sound, wallet
from tests.billing.conftest import Till
from tests.factories import House, uuid_of

NOTE = """invoice { id kind number status credits { number } total { amount } amountDue { amount } tax { amount }
  lines { description explanation amount { amount } tax { amount } taxRate } }
  customer { wallet { amount } balance { amount } } errors { code message field }"""
CREDIT = f"""mutation ($id: ID!, $amount: Decimal!, $reason: String!, $key: String) {{
  invoiceCredit(invoiceId: $id, amount: $amount, reason: $reason, idempotencyKey: $key) {{ {NOTE} }} }}"""
VOID = f'mutation ($id: ID!) {{ invoiceVoid(invoiceId: $id, reason: "Wrong") {{ {NOTE} }} }}'


async def credit(api: Api, till: Till, invoice: str, amount: str, **given: Any) -> dict[str, Any]:
    """Give so much back."""
    asked = {"id": invoice, "amount": amount, "reason": "A day without service", **given}
    payload: dict[str, Any] = (await api.data(CREDIT, till.house.admin, **asked))["invoiceCredit"]
    return payload


async def void(api: Api, house: House, invoice: str) -> dict[str, Any]:
    """Take an invoice or a credit note back."""
    payload: dict[str, Any] = (await api.data(VOID, house.admin, id=invoice))["invoiceVoid"]
    return payload


async def two_rates(till: Till) -> Invoice:
    """An open invoice of 100.00 with 15 % tax and 33.33 with 7.5 %: 150.83 in all."""
    customer = await till.customer()
    lines = [invoices.Line("Line", 10_000, Decimal(15)), invoices.Line("Other", 3_333, Decimal("7.5"))]
    async with till.database.transaction(till.house.tenant.id) as session:
        row = await invoices.draft(
            session,
            tenant=till.house.tenant,
            customer_id=customer.id,
            service_id=None,
            lines=lines,
            period_start=None,
            period_end=None,
        )
        return await invoices.open(session, row, tenant=till.house.tenant, at=clock.now(), by=till.by)


async def test_in_parts_the_tax_is_shared_to_the_last_unit(api: Api, till: Till, owner: Database) -> None:
    invoice = await two_rates(till)
    key = ids.encode("inv", invoice.id)
    assert invoice.total_minor == 15_083
    done = await credit(api, till, key, "50.00")
    assert done["errors"] == []
    note = done["invoice"]
    assert (note["kind"], note["number"][:4], note["status"]) == ("CREDIT_NOTE", "CRN-", "PAID")
    assert (note["credits"]["number"], note["total"]["amount"], note["amountDue"]["amount"]) == (
        invoice.number,
        "-50.00",
        "0.00",
    )
    # 115.00 and 35.83: 38.12 and 11.88 of them.
    assert [(line["amount"]["amount"], line["tax"]["amount"]) for line in note["lines"]] == [
        ("-33.15", "-4.97"),
        ("-11.05", "-0.83"),
    ]
    assert {line["explanation"] for line in note["lines"]} == {"A day without service"}
    # It settles the invoice itself, which is open.
    assert wallet(done) == ("0.00", "-100.83")
    taxes = [note["tax"]["amount"]]
    for amount in ("0.01", "33.32", "67.50"):
        taxes.append((await credit(api, till, key, amount))["invoice"]["tax"]["amount"])
    assert sum(map(Decimal, taxes)) == Decimal("-17.50")
    assert faults(await credit(api, till, key, "0.01")) == [("INVALID_STATE", ["invoiceId"])]
    (again,) = await till.again([invoice])
    assert (again.status.value, again.paid_minor) == ("PAID", 15_083)
    await sound(owner)


async def test_refusals(api: Api, till: Till) -> None:
    invoice = await till.bill((await till.customer()).id, 10_000)
    key = ids.encode("inv", invoice.id)
    for amount in ("0", "-1", "0.001", "100.01"):
        assert faults(await credit(api, till, key, amount)) == [("INVALID", ["amount"])]
    assert faults(await credit(api, till, key, "1", reason=" ")) == [("REQUIRED", ["reason"])]
    assert faults(await credit(api, till, "inv_" + "0" * 32, "1")) == [("NOT_FOUND", ["invoiceId"])]
    note = (await credit(api, till, key, "1", key="k"))["invoice"]["id"]
    assert (await credit(api, till, key, "1", key="k"))["invoice"]["id"] == note
    assert faults(await credit(api, till, note, "1")) == [("INVALID_STATE", ["invoiceId"])]
    await till.void(await till.bill(invoice.customer_id, 5))


async def test_the_later_paper_is_void_first(api: Api, till: Till, owner: Database) -> None:
    invoice = await till.bill((await till.customer()).id, 10_000, rate="10")
    await till.pay(11_000, invoice)
    key = ids.encode("inv", invoice.id)
    note = (await credit(api, till, key, "22"))["invoice"]
    refused = await void(api, till.house, key)
    assert faults(refused) == [("INVALID_STATE", ["invoiceId"])]
    assert note["number"] in refused["errors"][0]["message"]
    # Of several it is the last that goes first.
    last = (await credit(api, till, key, "11"))["invoice"]
    assert last["number"] in (await void(api, till.house, key))["errors"][0]["message"]
    assert (await void(api, till.house, last["id"]))["errors"] == []
    # What it gave was spent: it cannot be taken back.
    await till.spend(1, other := await till.bill(invoice.customer_id, 1))
    assert faults(await void(api, till.house, note["id"])) == [("INSUFFICIENT_FUNDS", ["invoiceId"])]
    await till.void(other)
    done = await void(api, till.house, note["id"])
    assert (done["errors"], done["invoice"]["status"], wallet(done)) == ([], "VOID", ("0.00", "0.00"))
    done = await void(api, till.house, key)
    assert (done["errors"], wallet(done)) == ([], ("110.00", "110.00"))
    await sound(owner)


async def test_of_many_at_once_no_more_is_given_than_there_was(api: Api, till: Till, owner: Database) -> None:
    invoice = await till.bill((await till.customer()).id, 10_000)
    key = ids.encode("inv", invoice.id)
    done = await asyncio.gather(*(credit(api, till, key, "30") for _ in range(6)))
    assert sorted(len(one["errors"]) for one in done) == [0, 0, 0, 1, 1, 1]
    await sound(owner)


async def test_the_paper_says_what_it_credits(api: Api, till: Till) -> None:
    invoice = await till.bill((await till.customer()).id, 10_000, rate="10")
    note = (await credit(api, till, ids.encode("inv", invoice.id), "22"))["invoice"]["id"]
    async with till.database.read(till.house.tenant.id) as session:
        paper = await documents.find_invoice(session, uuid_of(note))
    assert paper is not None
    assert (paper.title, paper.headline[0], paper.stamp) == ("Credit note", "Amount credited", None)
    assert "22" in paper.headline[1]
    assert ("Credits invoice", invoice.number) in paper.facts
    assert "Paid" not in dict(paper.sums)


@pytest.mark.usefixtures("moved_clock")
async def test_a_change_gives_back_what_was_not_credited_before(
    api: Api, house: House, till: Till, owner: Database
) -> None:
    package = await house.package(price_minor=31_000)
    buyer = await Buyer.enrolled(api, house, package, at="2026-01-01T04:00:00Z", pays="310")
    async with house.database.read(house.tenant.id) as session:
        first = (await session.scalars(select(Invoice))).one()
    key = ids.encode("inv", first.id)
    note = (await credit(api, till, key, "31"))["invoice"]["id"]
    free = await house.package("Free", price_minor=0)
    clock.set_clock("2026-01-22T10:00:00Z")
    # Of 279.00 there are 10 of 31 days left.
    done = await buyer.change(free)
    assert done["invoice"]["total"]["amount"] == "-90.00"
    assert wallet(done) == ("121.00", "121.00")
    assert faults(await void(api, house, key)) == [("INVALID_STATE", ["invoiceId"])]
    assert faults(await void(api, house, note)) == [("INVALID_STATE", ["invoiceId"])]
    assert faults(await credit(api, till, key, "189.01")) == [("INVALID", ["amount"])]
    assert (await void(api, house, done["invoice"]["id"]))["errors"] == []
    assert (await void(api, house, note))["errors"] == []
    async with house.database.read(house.tenant.id) as session:
        rows = (await session.scalars(select(BilledPeriod).where(BilledPeriod.released_at.is_(None)))).all()
    # Before the 22nd and from then on, as it was bought.
    assert [row.price_minor for row in sorted(rows, key=lambda row: row.starts_at)] == [21_000, 10_000]
    assert (await void(api, house, key))["errors"] == []
    await sound(owner)

"""What a payment settles, and what two of them at once may not do."""

import asyncio

import pytest
from sqlalchemy import select

from ispgraph.domain.billing import ledger
from ispgraph.domain.errors import DomainError, ErrorCode
from ispgraph.domain.models import (
    Account,
    Allocation,
    Invoice,
    InvoiceStatus,
    Journal,
    PaymentMethod,
    PaymentStatus,
    Posting,
)
from tests.api import Api
from tests.billing.conftest import Till


async def _balance(till: Till, invoice: Invoice) -> ledger.Balance:
    async with till.database.read(till.house.tenant.id) as session:
        return (await ledger.balances(session, [invoice.customer_id]))[invoice.customer_id]


@pytest.mark.parametrize(
    ("amount", "status", "paid", "wallet"),
    [
        (1, InvoiceStatus.PARTIALLY_PAID, 1, 0),
        (49_999, InvoiceStatus.PARTIALLY_PAID, 49_999, 0),
        (50_000, InvoiceStatus.PAID, 50_000, 0),
        (50_001, InvoiceStatus.PAID, 50_000, 1),
        (120_000, InvoiceStatus.PAID, 50_000, 70_000),
    ],
)
async def test_part_exact_and_over(till: Till, amount: int, status: InvoiceStatus, paid: int, wallet: int) -> None:
    invoice = await till.bill((await till.customer()).id, 50_000)
    payment = await till.pay(amount, invoice)
    [stored] = await till.again([invoice])
    assert (stored.status, stored.paid_minor) == (status, paid)
    assert payment.status is PaymentStatus.COMPLETED
    assert payment.number.startswith("PAY-")
    assert payment.number.endswith("-000001")
    assert await _balance(till, invoice) == ledger.Balance(wallet, 50_000 - paid)


async def test_the_ledger_says_where_the_money_went(till: Till) -> None:
    customer = await till.customer()
    invoice = await till.bill(customer.id, 10_000, rate="15")
    payment = await till.pay(12_000, invoice)
    async with till.database.read(till.house.tenant.id) as session:
        rows = await session.execute(
            select(Posting.account, Posting.method, Posting.customer_id, Posting.amount_minor, Journal.description)
            .join(Journal, Journal.id == Posting.journal_id)
            .order_by(Posting.id)
        )
        found = [tuple(row) for row in rows]
        shares = [(row.invoice_id, row.amount_minor) for row in await session.scalars(select(Allocation))]
    billed, paid = f"Invoice {invoice.number}", f"Payment {payment.number}"
    assert found == [
        (Account.RECEIVABLE, None, customer.id, 11_500, billed),
        (Account.REVENUE, None, None, -10_000, billed),
        (Account.TAX, None, None, -1_500, billed),
        (Account.CASH, PaymentMethod.CASH, None, 12_000, paid),
        (Account.RECEIVABLE, None, customer.id, -11_500, paid),
        (Account.WALLET, None, customer.id, -500, paid),
    ]
    assert shares == [(invoice.id, 11_500)]


async def test_the_oldest_invoice_is_settled_first(till: Till) -> None:
    customer = await till.customer()
    bills = [await till.bill(customer.id, price) for price in (300, 200, 100)]
    await till.pay(450, bills[2], bills[0], bills[1])
    stored = await till.again(bills)
    assert [row.paid_minor for row in stored] == [300, 150, 0]
    assert [row.status.value for row in stored] == ["PAID", "PARTIALLY_PAID", "OPEN"]


async def test_money_without_an_invoice_goes_to_the_wallet(till: Till) -> None:
    customer = await till.customer()
    await till.pay(700, customer_id=customer.id)
    async with till.database.read(till.house.tenant.id) as session:
        held = (await ledger.balances(session, [customer.id]))[customer.id]
    assert (held, held.balance_minor) == (ledger.Balance(700, 0), 700)


@pytest.mark.parametrize("method", [PaymentMethod.WALLET, PaymentMethod.VOUCHER])
async def test_methods_that_bring_no_money_are_refused(till: Till, method: PaymentMethod) -> None:
    invoice = await till.bill((await till.customer()).id, 500)
    with pytest.raises(DomainError) as refused:
        async with till.database.transaction(till.house.tenant.id) as session:
            await till.take(session, 500, invoice, method=method)
    assert [(fault.code, fault.field) for fault in refused.value.faults] == [(ErrorCode.INVALID, ("input", "method"))]


async def test_a_draft_cannot_be_paid_nor_another_customers_invoice(till: Till) -> None:
    customer, stranger = await till.customer(), await till.customer()
    invoice = await till.bill(customer.id, 500)
    with pytest.raises(ValueError, match="own invoices"):
        await till.pay(500, invoice, customer_id=stranger.id)
    async with till.database.transaction(till.house.tenant.id) as session:
        draft = await till.draft(session, customer.id, 500)
    with pytest.raises(DomainError) as refused:
        await till.pay(500, draft)
    assert refused.value.faults[0].code is ErrorCode.INVALID_STATE
    assert (await till.again([invoice]))[0].paid_minor == 0


async def test_two_payments_at_once_settle_an_invoice_once(till: Till) -> None:
    # Given both have read the invoice as unpaid before either writes
    invoice = await till.bill((await till.customer()).id, 1_000)
    barrier = asyncio.Barrier(2)

    async def pay() -> None:
        async with till.database.transaction(till.house.tenant.id) as session:
            stale = await session.get_one(Invoice, invoice.id)
            assert stale.paid_minor == 0
            await barrier.wait()
            await till.take(session, 800, stale)

    await asyncio.gather(pay(), pay())
    [stored] = await till.again([invoice])
    assert (stored.paid_minor, stored.status) == (1_000, InvoiceStatus.PAID)
    assert await _balance(till, invoice) == ledger.Balance(600, 0)


async def test_payments_of_the_same_invoices_in_any_order_do_not_deadlock(till: Till) -> None:
    customer = await till.customer()
    bills = [await till.bill(customer.id, 100) for _ in range(4)]
    barrier = asyncio.Barrier(8)

    async def pay(order: list[Invoice]) -> None:
        async with till.database.transaction(till.house.tenant.id) as session:
            await barrier.wait()
            await till.take(session, 60, *order)

    await asyncio.gather(*(pay(bills if turn % 2 else bills[::-1]) for turn in range(8)))
    assert [row.paid_minor for row in await till.again(bills)] == [100] * 4
    assert (await _balance(till, bills[0])).balance_minor == 80


LEDGER = """query ($id: ID!, $after: String) { customer(by: {id: $id}) { ledger(first: 3, after: $after) {
  totalCount pageInfo { endCursor hasNextPage }
  nodes { account debit { amount } credit { amount } balance { amount } } } } }"""
INVOICES = """query ($id: ID!, $status: [InvoiceStatus!]) { customer(by: {id: $id}) {
  invoices(status: $status) { nodes { id } } } }"""


async def test_a_customers_entries_run_to_the_balance(till: Till, api: Api) -> None:
    customer = await till.customer()
    other = await till.bill((await till.customer()).id, 9_999)
    invoice = await till.bill(customer.id, 500)
    await till.pay(200, invoice)
    await till.pay(400, invoice)
    assert (await _balance(till, other)).balance_minor == -9_999
    rows, after = [], None
    for more in (True, False):
        data = await api.data(LEDGER, till.house.admin, id=f"cus_{customer.id.hex}", after=after)
        found = data["customer"]["ledger"]
        assert (found["totalCount"], found["pageInfo"]["hasNextPage"]) == (4, more)
        after = found["pageInfo"]["endCursor"]
        rows += found["nodes"]
    assert [(row["account"], row["debit"], row["credit"], row["balance"]["amount"]) for row in rows] == [
        ("WALLET", None, {"amount": "1.00"}, "1.00"),
        ("RECEIVABLE", None, {"amount": "3.00"}, "0.00"),
        ("RECEIVABLE", None, {"amount": "2.00"}, "-3.00"),
        ("RECEIVABLE", {"amount": "5.00"}, None, "-5.00"),
    ]


async def test_a_customers_invoices_and_nobody_elses(till: Till, api: Api) -> None:
    customer = await till.customer()
    await till.bill((await till.customer()).id, 1)
    bills = [await till.bill(customer.id, price) for price in (10, 20)]
    await till.pay(10, bills[0])
    known = [f"inv_{bill.id.hex}" for bill in bills]
    for status, wanted in ((None, known[::-1]), (["OPEN", "PARTIALLY_PAID"], known[1:]), ([], [])):
        data = await api.data(INVOICES, till.house.admin, id=f"cus_{customer.id.hex}", status=status)
        assert [row["id"] for row in data["customer"]["invoices"]["nodes"]] == wanted

"""Invoices, payments and the ledger as a front end reads them."""

from datetime import datetime

from ispgraph import clock
from ispgraph.domain.models import Role
from tests.api import Api
from tests.billing.conftest import Till

ACCOUNT = """
query ($id: ID!) { customer(by: {id: $id}) {
  balance { amount currency } wallet { amount } amountDue { amount }
  invoices { totalCount nodes {
    id number status overdue issuedOn dueOn notes customer { id }
    lines { description quantity unitPrice { amount } amount { amount } taxRate explanation }
    subtotal { amount } tax { amount } total { amount } amountPaid { amount } amountDue { amount }
    payments { number }
  } }
  payments(status: [COMPLETED]) { nodes {
    id number method status category amount { amount } receivedAt collectedBy { id }
    allocations { invoice { number } amount { amount } }
  } }
  ledger { nodes { id account description debit { amount } credit { amount } balance { amount currency }
    invoice { number } payment { number } at } }
} }
"""


async def test_an_account_reads_as_it_was_booked(api: Api, till: Till, moved_clock: None) -> None:
    # Given an invoice of 100.00 and 15 % tax, paid in two parts, the second of which is too much
    clock.set_clock("2026-03-01T12:00:00Z")
    customer = await till.customer()
    invoice = await till.bill(customer.id, 10_000, rate="15")
    await till.pay(1_500, invoice)
    await till.pay(12_000, invoice)

    data = (await api.data(ACCOUNT, till.house.admin, id=f"cus_{customer.id.hex}"))["customer"]

    assert data["balance"] == {"amount": "20.00", "currency": "USD"}
    assert (data["wallet"]["amount"], data["amountDue"]["amount"]) == ("20.00", "0.00")
    assert data["invoices"]["totalCount"] == 1
    [shown] = data["invoices"]["nodes"]
    assert shown["id"] == f"inv_{invoice.id.hex}"
    assert shown["customer"]["id"] == f"cus_{customer.id.hex}"
    assert (shown["number"], shown["status"], shown["overdue"]) == ("INV-2026-000001", "PAID", False)
    assert (shown["issuedOn"], shown["dueOn"]) == ("2026-03-01", "2026-03-08")
    assert [shown[name]["amount"] for name in ("subtotal", "tax", "total", "amountPaid", "amountDue")] == [
        "100.00",
        "15.00",
        "115.00",
        "115.00",
        "0.00",
    ]
    [line] = shown["lines"]
    assert (line["quantity"], line["unitPrice"]["amount"], line["taxRate"]) == ("1", "100.00", "15")
    assert [payment["number"] for payment in shown["payments"]] == ["PAY-2026-000001", "PAY-2026-000002"]

    newest, oldest = data["payments"]["nodes"]
    assert [(p["number"], p["amount"]["amount"]) for p in (newest, oldest)] == [
        ("PAY-2026-000002", "120.00"),
        ("PAY-2026-000001", "15.00"),
    ]
    assert newest["collectedBy"]["id"] == f"opr_{till.house.admin.id.hex}"
    assert newest["allocations"] == [{"invoice": {"number": "INV-2026-000001"}, "amount": {"amount": "100.00"}}]

    entries = data["ledger"]["nodes"]
    assert [
        (e["account"], (e["debit"] or {}).get("amount"), (e["credit"] or {}).get("amount"), e["balance"]["amount"])
        for e in entries
    ] == [
        ("WALLET", None, "20.00", "20.00"),
        ("RECEIVABLE", None, "100.00", "0.00"),
        ("RECEIVABLE", None, "15.00", "-100.00"),
        ("RECEIVABLE", "115.00", None, "-115.00"),
    ]
    assert entries[3]["invoice"] == {"number": "INV-2026-000001"}
    assert entries[0]["payment"] == {"number": "PAY-2026-000002"}
    assert datetime.fromisoformat(entries[0]["at"]).tzinfo is not None


async def test_an_invoice_becomes_overdue_by_the_tenants_calendar(api: Api, till: Till, moved_clock: None) -> None:
    clock.set_clock("2026-03-01T12:00:00Z")
    invoice = await till.bill((await till.customer()).id, 500)
    ask = f'{{ node(id: "inv_{invoice.id.hex}") {{ ... on Invoice {{ overdue amountDue {{ amount }} }} }} }}'
    # 8 March ends at 18:00 UTC in Dhaka
    for instant, overdue in (("2026-03-08T17:59:00Z", False), ("2026-03-08T18:01:00Z", True)):
        clock.set_clock(instant)
        found = (await api.data(ask, till.house.admin))["node"]
        assert found == {"overdue": overdue, "amountDue": {"amount": "5.00"}}
    await till.pay(500, invoice)
    assert (await api.data(ask, till.house.admin))["node"] == {"overdue": False, "amountDue": {"amount": "0.00"}}


async def test_money_of_a_customer_out_of_scope_is_not_there(api: Api, till: Till) -> None:
    # Given a reseller, who is not responsible for the admin's customer
    reseller = await till.house.operator(Role.OPERATOR)
    customer = await till.customer()
    invoice = await till.bill(customer.id, 500)
    payment = await till.pay(600, invoice)
    shown = (await api.data(ACCOUNT, till.house.admin, id=f"cus_{customer.id.hex}"))["customer"]
    known = [f"inv_{invoice.id.hex}", f"pay_{payment.id.hex}", *(entry["id"] for entry in shown["ledger"]["nodes"])]
    for public in known:
        ask = f'{{ node(id: "{public}") {{ id }} }}'
        assert (await api.data(ask, till.house.admin))["node"] == {"id": public}
        assert (await api.data(ask, reseller))["node"] is None

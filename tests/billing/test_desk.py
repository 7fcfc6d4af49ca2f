"""Money at the desk: invoices paid, advances, refunds and voids, through the API, with every figure written out."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import func, select, update

from ispgraph import clock, ids, invariants
from ispgraph.db import Database
from ispgraph.domain.billing import periods
from ispgraph.domain.models import AuditEntry, Customer, Invoice, InvoiceLine, Operator, Payment, Posting, Role, Tenant
from ispgraph.domain.permissions import DEFAULTS
from tests.api import Api
from tests.billing.conftest import Till
from tests.wizard import Wizard

PAYMENT = """payment { id number status amount { amount } refunded { amount } method category reference notes
  collectedBy { name } allocations { amount { amount } invoice { number } } }
  customer { wallet { amount } balance { amount } amountDue { amount } } errors { code message field }"""
PAY = f"mutation ($input: InvoicePaymentInput!) {{ invoiceRecordPayment(input: $input) {{ {PAYMENT} }} }}"
ADVANCE = f"mutation ($input: AdvancePaymentInput!) {{ customerRecordAdvancePayment(input: $input) {{ {PAYMENT} }} }}"
OTHER = f"mutation ($input: OtherPaymentInput!) {{ customerRecordOtherPayment(input: $input) {{ {PAYMENT} }} }}"
REFUND = f"""mutation ($id: ID!, $amount: Decimal, $reason: String!, $key: String) {{
  paymentRefund(paymentId: $id, amount: $amount, reason: $reason, idempotencyKey: $key) {{ {PAYMENT} }} }}"""
VOID = """mutation ($id: ID!, $reason: String!) { invoiceVoid(invoiceId: $id, reason: $reason) {
  invoice { number status amountPaid { amount } amountDue { amount } payments { number } }
  customer { wallet { amount } balance { amount } } errors { code message field } } }"""
LEDGER = """query ($by: CustomerBy!) { customer(by: $by) { wallet { amount } balance { amount }
  invoices { nodes { number status amountDue { amount } } }
  ledger { nodes { account description debit { amount } credit { amount } balance { amount } } } } }"""


@dataclass
class Desk:
    """One operator at the desk, with one customer before it."""

    api: Api
    operator: Operator
    till: Till
    customer: Customer

    async def _ask(self, document: str, field: str, **variables: Any) -> dict[str, Any]:
        payload: dict[str, Any] = (await self.api.data(document, self.operator, **variables))[field]
        return payload

    async def pay(self, invoice: Invoice, amount: str, method: str = "CASH", **given: Any) -> dict[str, Any]:
        asked = {"invoiceId": ids.encode("inv", invoice.id), "amount": amount, "method": method, **given}
        return await self._ask(PAY, "invoiceRecordPayment", input=asked)

    async def advance(self, amount: str, method: str = "CASH", **given: Any) -> dict[str, Any]:
        asked = {"customerId": ids.encode("cus", self.customer.id), "amount": amount, "method": method, **given}
        return await self._ask(ADVANCE, "customerRecordAdvancePayment", input=asked)

    async def other(self, amount: str, category: str, method: str = "CASH", **given: Any) -> dict[str, Any]:
        asked = {"customerId": ids.encode("cus", self.customer.id), "amount": amount, "method": method, **given}
        return await self._ask(OTHER, "customerRecordOtherPayment", input={**asked, "category": category})

    async def refund(self, payment: str, amount: str | None = None, **given: Any) -> dict[str, Any]:
        asked = {"id": payment, "amount": amount, "reason": "Asked for", **given}
        return await self._ask(REFUND, "paymentRefund", **asked)

    async def void(self, invoice: Invoice, reason: str = "Wrong customer") -> dict[str, Any]:
        return await self._ask(VOID, "invoiceVoid", id=ids.encode("inv", invoice.id), reason=reason)

    async def book(self) -> dict[str, Any]:
        """The customer's ledger and invoices."""
        by = {"id": ids.encode("cus", self.customer.id)}
        found: dict[str, Any] = (await self.api.data(LEDGER, self.operator, by=by))["customer"]
        return found

    async def bill(self, *prices: int, rate: str = "0") -> Invoice:
        """An open invoice of the customer; prices in minor units."""
        return await self.till.bill(self.customer.id, *prices, rate=rate)


@pytest.fixture
async def desk(api: Api, till: Till) -> Desk:
    return Desk(api, till.house.admin, till, await till.customer())


def wallet(payload: dict[str, Any]) -> tuple[str, str]:
    """The wallet and the balance that a payload shows."""
    return payload["customer"]["wallet"]["amount"], payload["customer"]["balance"]["amount"]


def faults(payload: dict[str, Any]) -> list[tuple[str, list[str] | None]]:
    """Codes and fields."""
    return [(error["code"], error["field"]) for error in payload["errors"]]


async def sound(owner: Database) -> None:
    """check-invariants finds nothing."""
    assert [finding.rule.name for finding in await invariants.check(owner) if finding.broken] == []


async def test_part_full_and_over(desk: Desk, owner: Database) -> None:
    first, second = await desk.bill(10_000, rate="15"), await desk.bill(5_000)
    paid = await desk.pay(first, "15.00", "CARD", reference=" slip 4 ", notes="at the counter")
    assert paid["errors"] == []
    assert paid["payment"]["allocations"] == [{"amount": {"amount": "15.00"}, "invoice": {"number": first.number}}]
    assert (paid["payment"]["method"], paid["payment"]["reference"], paid["payment"]["category"]) == (
        "CARD",
        "slip 4",
        "SERVICE",
    )
    assert paid["payment"]["collectedBy"] == {"name": desk.operator.name}
    # 100.00 are due of the first; what is more goes to the second, and then to the wallet.
    paid = await desk.pay(first, "170.25")
    assert [(share["invoice"]["number"], share["amount"]["amount"]) for share in paid["payment"]["allocations"]] == [
        (first.number, "100.00"),
        (second.number, "50.00"),
    ]
    assert wallet(paid) == ("20.25", "20.25")
    assert [row["status"] for row in (await desk.book())["invoices"]["nodes"]] == ["PAID", "PAID"]
    assert faults(await desk.pay(first, "1")) == [("INVALID_STATE", ["input", "invoiceId"])]
    await sound(owner)


async def test_the_named_invoice_comes_before_older_ones(desk: Desk) -> None:
    older, newer = await desk.bill(3_000), await desk.bill(2_000)
    paid = await desk.pay(newer, "25")
    shares = [(share["invoice"]["number"], share["amount"]["amount"]) for share in paid["payment"]["allocations"]]
    assert shares == [(newer.number, "20.00"), (older.number, "5.00")]


async def test_the_wallet_pays(desk: Desk, owner: Database) -> None:
    advance = await desk.advance("30")
    assert (advance["payment"]["category"], wallet(advance)) == ("ADVANCE", ("30.00", "30.00"))
    invoice = await desk.bill(4_000)
    assert faults(await desk.pay(invoice, "30.01", "WALLET")) == [("INSUFFICIENT_FUNDS", ["input", "amount"])]
    assert faults(await desk.pay(invoice, "40.01", "WALLET")) == [("INVALID", ["input", "amount"])]
    paid = await desk.pay(invoice, "25", "WALLET")
    assert wallet(paid) == ("5.00", "-10.00")
    assert [(row["account"], row["debit"], row["credit"]) for row in (await desk.book())["ledger"]["nodes"]][:2] == [
        ("RECEIVABLE", None, {"amount": "25.00"}),
        ("WALLET", {"amount": "25.00"}, None),
    ]
    # Given back, it is in the wallet again, not in a hand.
    back = await desk.refund(paid["payment"]["id"])
    assert (back["errors"], back["payment"]["status"], wallet(back)) == ([], "REFUNDED", ("30.00", "-10.00"))
    await sound(owner)


async def test_an_advance_settles_what_is_open(desk: Desk, owner: Database) -> None:
    older, newer = await desk.bill(1_000), await desk.bill(2_000)
    paid = await desk.advance("12", invoiceId=ids.encode("inv", newer.id))
    assert paid["payment"]["allocations"] == [{"amount": {"amount": "12.00"}, "invoice": {"number": newer.number}}]
    paid = await desk.advance("20", "BANK_TRANSFER")
    shares = [(share["invoice"]["number"], share["amount"]["amount"]) for share in paid["payment"]["allocations"]]
    assert (shares, wallet(paid)) == ([(older.number, "10.00"), (newer.number, "8.00")], ("2.00", "2.00"))
    stranger = await desk.till.bill((await desk.till.customer()).id, 500)
    assert faults(await desk.advance("1", invoiceId=ids.encode("inv", stranger.id))) == [
        ("NOT_FOUND", ["input", "invoiceId"])
    ]
    assert faults(await desk.advance("1", invoiceId=ids.encode("inv", newer.id))) == [
        ("INVALID_STATE", ["input", "invoiceId"])
    ]
    await sound(owner)


async def test_what_is_no_service_is_invoiced_and_paid_at_once(desk: Desk, owner: Database) -> None:
    open_one = await desk.bill(5_000)
    async with owner.transaction(desk.till.house.tenant.id) as session:
        await session.execute(update(Tenant).values(tax_rate=15))
    paid = await desk.other("115.00", "EQUIPMENT", reference="router 7")
    assert (paid["errors"], paid["payment"]["category"], wallet(paid)) == ([], "EQUIPMENT", ("0.00", "-50.00"))
    (share,) = paid["payment"]["allocations"]
    assert share["amount"] == {"amount": "115.00"}
    nodes = (await desk.book())["invoices"]["nodes"]
    assert [(row["number"] == open_one.number, row["status"]) for row in nodes] == [(False, "PAID"), (True, "OPEN")]
    async with desk.till.database.read(desk.till.house.tenant.id) as session:
        lines = (await session.scalars(select(InvoiceLine).order_by(InvoiceLine.id.desc()))).first()
    assert lines is not None
    assert (lines.description, lines.amount_minor, lines.tax_minor) == ("Equipment", 10_000, 1_500)
    assert faults(await desk.other("1", "SERVICE")) == [("INVALID", ["input", "category"])]
    assert faults(await desk.other("0", "RECHARGE")) == [
        ("INVALID", ["input", "category"]),
        ("INVALID", ["input", "amount"]),
    ]
    assert faults(await desk.other("1", "LATE_FEE", "WALLET")) == [("INSUFFICIENT_FUNDS", ["input", "amount"])]
    assert len((await desk.book())["invoices"]["nodes"]) == 2
    await sound(owner)


async def test_a_refund_takes_the_wallet_first_then_the_last_settled(desk: Desk, owner: Database) -> None:
    first, second = await desk.bill(1_000), await desk.bill(2_000)
    payment = (await desk.pay(first, "37"))["payment"]["id"]
    back = await desk.refund(payment, "5")
    assert (wallet(back), back["payment"]["refunded"]["amount"]) == (("2.00", "2.00"), "5.00")
    back = await desk.refund(payment, "4.50")
    assert (wallet(back), back["payment"]["status"]) == (("0.00", "-2.50"), "COMPLETED")
    shares = [(s["invoice"]["number"], s["amount"]["amount"]) for s in back["payment"]["allocations"]]
    assert shares == [(first.number, "10.00"), (second.number, "17.50")]
    assert faults(await desk.refund(payment, "27.51")) == [("INVALID", ["amount"])]
    back = await desk.refund(payment)
    assert (back["payment"]["status"], back["payment"]["allocations"], wallet(back)) == (
        "REFUNDED",
        [],
        ("0.00", "-30.00"),
    )
    assert faults(await desk.refund(payment, "0.01")) == [("INVALID_STATE", ["paymentId"])]
    assert {row["status"] for row in (await desk.book())["invoices"]["nodes"]} == {"OPEN"}
    await sound(owner)


async def test_what_was_spent_from_the_wallet_cannot_be_given_back(desk: Desk, owner: Database) -> None:
    payment = (await desk.advance("50"))["payment"]["id"]
    invoice = await desk.bill(4_500)
    spent = (await desk.pay(invoice, "45", "WALLET"))["payment"]["id"]
    refused = await desk.refund(payment)
    assert faults(refused) == [("INSUFFICIENT_FUNDS", ["amount"])]
    assert "At most 5.00" in refused["errors"][0]["message"]
    assert (await desk.refund(spent))["errors"] == []
    back = await desk.refund(payment)
    assert (back["errors"], wallet(back)) == ([], ("0.00", "-45.00"))
    await sound(owner)


async def test_a_void_puts_what_was_paid_into_the_wallet(desk: Desk, owner: Database) -> None:
    invoice = await desk.bill(10_000, rate="7.5")
    await desk.advance("2.50")
    await desk.pay(invoice, "100")
    done = await desk.void(invoice)
    assert done["errors"] == []
    assert done["invoice"] == {
        "number": invoice.number,
        "status": "VOID",
        "amountPaid": {"amount": "0.00"},
        "amountDue": {"amount": "0.00"},
        "payments": [],
    }
    assert wallet(done) == ("102.50", "102.50")
    texts = [row["description"] for row in (await desk.book())["ledger"]["nodes"]]
    assert texts[0] == texts[1] == f"Void of {invoice.number}: Wrong customer"
    assert faults(await desk.void(invoice)) == [("INVALID_STATE", ["invoiceId"])]
    assert faults(await desk.pay(invoice, "1")) == [("INVALID_STATE", ["input", "invoiceId"])]
    # The money itself can then go back to where it came from.
    async with desk.till.database.read(desk.till.house.tenant.id) as session:
        payments = (await session.scalars(select(Payment).order_by(Payment.id))).all()
    for payment in payments:
        assert (await desk.refund(ids.encode("pay", payment.id)))["errors"] == []
    assert (await desk.book())["wallet"] == {"amount": "0.00"}
    await sound(owner)


async def test_voiding_what_the_wallet_paid_undoes_that_payment(desk: Desk, owner: Database) -> None:
    await desk.advance("10")
    invoice = await desk.bill(1_000)
    spent = (await desk.pay(invoice, "10", "WALLET"))["payment"]["id"]
    assert wallet(await desk.void(invoice)) == ("10.00", "10.00")
    assert faults(await desk.refund(spent)) == [("INVALID_STATE", ["paymentId"])]
    await sound(owner)


async def test_nothing_to_pay_can_be_void(desk: Desk, owner: Database) -> None:
    done = await desk.void(await desk.bill(0))
    assert (done["errors"], done["invoice"]["status"]) == ([], "VOID")
    await sound(owner)


BAD_AMOUNTS = ["0", "-1", "-0", "0.001", "999999999999999999"]
NO_AMOUNTS = ["NaN", "1e309", "1E+30", "Infinity", "1,000", "١٠٠", "0x10", "", " ", "1 000", "--1", "1_000"]


@pytest.mark.parametrize("amount", BAD_AMOUNTS)
async def test_amounts_that_are_none_are_named(desk: Desk, amount: str) -> None:
    invoice = await desk.bill(1_000)
    payment = ids.encode("pay", (await desk.till.pay(5, customer_id=desk.customer.id)).id)
    before = await _rows(desk)
    assert faults(await desk.pay(invoice, amount)) == [("INVALID", ["input", "amount"])]
    assert faults(await desk.advance(amount)) == [("INVALID", ["input", "amount"])]
    assert faults(await desk.refund(payment, amount)) == [("INVALID", ["amount"])]
    assert await _rows(desk) == before


@pytest.mark.parametrize("amount", NO_AMOUNTS)
async def test_texts_that_are_no_amount_are_a_bad_request(desk: Desk, amount: str) -> None:
    invoice = await desk.bill(1_000)
    before = await _rows(desk)
    key = ids.encode("inv", invoice.id)
    answer = await desk.api(PAY, desk.operator, input={"invoiceId": key, "amount": amount, "method": "CASH"})
    assert answer["errors"][0]["extensions"]["code"] == "BAD_REQUEST"
    answer = await desk.api(REFUND, desk.operator, id="pay_" + "0" * 32, amount=amount, reason="x")
    assert answer["errors"][0]["extensions"]["code"] == "BAD_REQUEST"
    assert await _rows(desk) == before


async def _rows(desk: Desk) -> int:
    async with desk.till.database.read(desk.till.house.tenant.id) as session:
        return await session.scalar(select(func.count()).select_from(Posting)) or 0


async def test_refusals_name_what_is_wrong(desk: Desk) -> None:
    invoice = await desk.bill(1_000)
    assert faults(await desk.pay(invoice, "1", "VOUCHER")) == [("INVALID", ["input", "method"])]
    assert faults(await desk.advance("1", "WALLET")) == [("INVALID", ["input", "method"])]
    assert faults(await desk.pay(invoice, "0", reference="x" * 256, notes="x" * 501)) == [
        ("INVALID", ["input", "amount"]),
        ("INVALID", ["input", "reference"]),
        ("INVALID", ["input", "notes"]),
    ]
    assert faults(await desk.void(invoice, " ")) == [("REQUIRED", ["reason"])]
    assert faults(await desk.refund("pay_" + "0" * 32)) == [("NOT_FOUND", ["paymentId"])]
    assert faults(await desk.refund("inv_" + "0" * 32)) == [("NOT_FOUND", ["paymentId"])]


async def test_who_waits_for_the_first_payment_begins_with_it(api: Api, desk: Desk, owner: Database) -> None:
    house = desk.till.house
    async with owner.transaction(house.tenant.id) as session:
        (await session.merge(house.tenant)).pending_until_paid = True
    made = await (await (await Wizard.begin(api, house.admin)).fill(await house.package(), pays="0")).confirm()
    assert made["customer"]["status"] == "PENDING"
    document = """mutation ($input: AdvancePaymentInput!) { customerRecordAdvancePayment(input: $input) {
      errors { code } customer { status jobs { nodes { kind } } service { status startedAt expiresAt } } } }"""
    before = clock.now()
    asked = {"customerId": made["customer"]["id"], "amount": "1", "method": "CASH"}
    paid = (await api.data(document, house.admin, input=asked))["customerRecordAdvancePayment"]
    service = paid["customer"]["service"]
    assert (paid["errors"], paid["customer"]["status"], service["status"]) == ([], "ACTIVE", "ACTIVE")
    began = datetime.fromisoformat(service["startedAt"])
    assert before <= began <= clock.now()
    month = periods.Cycle(1, 0)
    assert datetime.fromisoformat(service["expiresAt"]) == periods.boundary(began, month, 1, house.tenant.time_zone)
    assert paid["customer"]["jobs"]["nodes"][0] == {"kind": "service.provision"}
    await sound(owner)


async def test_the_same_key_pays_once(desk: Desk, owner: Database) -> None:
    invoice = await desk.bill(10_000)
    first = await desk.pay(invoice, "40", idempotencyKey="a")
    assert await desk.pay(invoice, "40.00", idempotencyKey="a") == first
    assert faults(await desk.pay(invoice, "41", idempotencyKey="a")) == [
        ("IDEMPOTENCY_KEY_REUSED", ["input", "idempotencyKey"])
    ]
    back = await desk.refund(first["payment"]["id"], "10", key="b")
    assert (await desk.refund(first["payment"]["id"], "10", key="b"))["payment"] == back["payment"]
    assert (await desk.book())["balance"] == {"amount": "-70.00"}
    await sound(owner)


async def test_who_may(api: Api, desk: Desk) -> None:
    invoice = await desk.bill(1_000)
    staff = await desk.till.house.operator(Role.STAFF)
    clerk = Desk(api, staff, desk.till, desk.customer)
    paid = await clerk.pay(invoice, "4")
    assert paid["errors"] == []
    for document, given in ((REFUND, {"id": paid["payment"]["id"]}), (VOID, {"id": ids.encode("inv", invoice.id)})):
        answer = await api(document, staff, reason="x", **given)
        assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    everything = [each.value for each in DEFAULTS[Role.ADMIN]]
    reseller = await desk.till.house.operator(Role.OPERATOR, permissions=everything)
    foreign = Desk(api, reseller, desk.till, desk.customer)
    assert faults(await foreign.pay(invoice, "1")) == [("NOT_FOUND", ["input", "invoiceId"])]
    assert faults(await foreign.advance("1")) == [("NOT_FOUND", ["input", "customerId"])]
    assert faults(await foreign.refund(paid["payment"]["id"])) == [("NOT_FOUND", ["paymentId"])]
    assert faults(await foreign.void(invoice)) == [("NOT_FOUND", ["invoiceId"])]


async def test_it_is_on_record_who_did_it(desk: Desk) -> None:
    invoice = await desk.bill(1_000)
    payment = (await desk.pay(invoice, "4"))["payment"]
    await desk.refund(payment["id"], "1")
    await desk.void(invoice, "Billed twice")
    async with desk.till.database.read(desk.till.house.tenant.id) as session:
        rows = (await session.scalars(select(AuditEntry).order_by(AuditEntry.id))).all()
    told = [(row.action, row.subject_id, row.operator_id) for row in rows if row.action.split(".")[0] != "operator"]
    who = (desk.customer.id, desk.operator.id)
    assert told[-3:] == [("payment.record", *who), ("payment.refund", *who), ("invoice.void", *who)]
    assert rows[-1].details == {"invoice": invoice.number, "total_minor": 1_000, "reason": "Billed twice"}


async def at_once(*works: Callable[[], Awaitable[Any]]) -> list[Any]:
    """All of them, let go at the same moment."""
    barrier = asyncio.Barrier(len(works))

    async def one(work: Callable[[], Awaitable[Any]]) -> Any:
        await barrier.wait()
        return await work()

    return await asyncio.gather(*(one(work) for work in works))


ROUNDS = pytest.mark.parametrize("rounds", [5, pytest.param(100, marks=pytest.mark.long)])


@ROUNDS
async def test_two_at_once_have_one_legal_outcome(desk: Desk, owner: Database, rounds: int) -> None:
    for _ in range(rounds):
        # Pay and pay: the second finds what the first has left.
        invoice = await desk.bill(1_000)
        done = await at_once(lambda i=invoice: desk.pay(i, "7"), lambda i=invoice: desk.pay(i, "7"))
        assert [each["errors"] for each in done] == [[], []]
        assert sorted(_settled(each, invoice) for each in done) == ["3.00", "7.00"]
        # Pay and void: paid first, it goes to the wallet; void first, it is refused.
        invoice = await desk.bill(1_000)
        paid, voided = await at_once(lambda i=invoice: desk.pay(i, "10"), lambda i=invoice: desk.void(i))
        assert voided["errors"] == []
        assert faults(paid) in ([], [("INVALID_STATE", ["input", "invoiceId"])])
        # Refund and refund: once.
        payment = (await desk.advance("9"))["payment"]["id"]
        done = await at_once(lambda p=payment: desk.refund(p, "9"), lambda p=payment: desk.refund(p, "9"))
        assert sorted(faults(each) for each in done) == [[], [("INVALID_STATE", ["paymentId"])]]
    await sound(owner)


def _settled(payload: dict[str, Any], invoice: Invoice) -> str:
    return next(
        share["amount"]["amount"]
        for share in payload["payment"]["allocations"]
        if share["invoice"]["number"] == invoice.number
    )


@ROUNDS
async def test_a_wallet_is_spent_once(desk: Desk, owner: Database, rounds: int) -> None:
    for _ in range(rounds):
        await desk.advance("10")
        bills = [await desk.bill(1_000) for _ in range(3)]
        done = await at_once(*(lambda i=bill: desk.pay(i, "10", "WALLET") for bill in bills))
        assert sorted(faults(each) for each in done) == [[], *[[("INSUFFICIENT_FUNDS", ["input", "amount"])]] * 2]
        for bill, each in zip(bills, done, strict=True):
            if each["errors"]:
                await desk.void(bill)
    await sound(owner)

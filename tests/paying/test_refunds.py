"""Giving back what came by a gateway: booked at once, done by the gateway once, undone where it refuses."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from ispgraph import clock, ids, invariants
from ispgraph.adapters.payments.bkash_double import BKashDouble
from ispgraph.adapters.payments.doubles import Fault, serve
from ispgraph.adapters.payments.mpesa_double import MPesaDouble
from ispgraph.adapters.payments.sslcommerz_double import SSLCommerzDouble
from ispgraph.db import Database
from ispgraph.domain.models import Gateway, Invoice, InvoiceStatus, Payment, PaymentStatus, Posting
from ispgraph.settings import Settings
from tests.api import Api
from tests.billing.changing import around_today
from tests.paying.counter import Counter, account, counter
from tests.paying.test_gateways import BKASH, MPESA, east

FIELDS = """id status amount { amount } refunded { amount }
  refunds { amount { amount } reason at by { name } gatewayRefund { id state reason amount { amount } gateway
    providerReference payment { id } customer { id } tries startedAt settledAt nextTryAt } }"""
REFUND = f"""mutation ($id: ID!, $amount: Decimal, $key: String, $at: Boolean) {{
  paymentRefund(paymentId: $id, amount: $amount, reason: "Moved away", idempotencyKey: $key, atGateway: $at) {{
    payment {{ {FIELDS} }} customer {{ balance {{ amount }} }} errors {{ code message field }} }} }}"""
PAYMENT = f"query ($id: ID!) {{ node(id: $id) {{ ... on Payment {{ {FIELDS} }} }} }}"
LIST = """query ($state: [GatewayRefundState!]) { gatewayRefunds(state: $state) { nodes { id state } }
  jobs { nodes { kind ... on GatewayRefundJob { gatewayRefund { id } } } } }"""
TAKEN = """query ($from: Date!, $to: Date!) { collectionsReport(from: $from, to: $to) {
  total { payments received { amount } refunds refunded { amount } } operators { figures { refunds } } } }"""
SEARCH = """query ($reference: String) { gatewayPayments(reference: $reference) { nodes {
  receipt payment { reference } } } }"""
CHECK = "mutation ($id: ID!) { gatewayRefundCheck(gatewayRefundId: $id) { gatewayRefund { state } errors { code } } }"


@dataclass
class Refunds:
    """A counter at which somebody has paid 100.00 by card."""

    at: Counter
    owner: Database
    payment: Payment

    async def give(self, **given: Any) -> dict[str, Any]:
        """Ask for a refund."""
        wish = {"id": ids.encode("pay", self.payment.id), **given}
        found: dict[str, Any] = (await self.at.api.data(REFUND, self.at.house.admin, **wish))["paymentRefund"]
        return found

    async def given(self, **given: Any) -> dict[str, Any]:
        """The same, which is done."""
        found = await self.give(**given)
        assert found["errors"] == [], found
        return found

    async def shown(self) -> dict[str, Any]:
        answer = await self.at.api.data(PAYMENT, self.at.house.admin, id=ids.encode("pay", self.payment.id))
        found: dict[str, Any] = answer["node"]
        return found

    async def states(self) -> list[tuple[str, str | None]]:
        """How each refund stands with the gateway, and why."""
        theirs = [each["gatewayRefund"] for each in (await self.shown())["refunds"] if each["gatewayRefund"]]
        return [(each["state"], each["reason"]) for each in theirs]

    async def decide(self, field: str, key: str | None = None) -> dict[str, Any]:
        """Say what is true of the last refund by a gateway."""
        found = [each["gatewayRefund"] for each in (await self.shown())["refunds"] if each["gatewayRefund"]][-1]
        name = f"gatewayRefund{field}"
        more = ', reason: "Nothing on the statement"' if field == "Reject" else ""
        more += f', idempotencyKey: "{key}"' if key else ""
        document = f"mutation ($id: ID!) {{ {name}(gatewayRefundId: $id{more}) {{ errors {{ code }} }} }}"
        payload: dict[str, Any] = (await self.at.api.data(document, self.at.house.admin, id=found["id"]))[name]
        return payload

    async def sound(self) -> None:
        broken = {found.rule.name: found.culprits for found in await invariants.check(self.owner) if found.broken}
        assert broken == {}

    async def cash(self) -> int:
        """What is left of the money, as the ledger has it."""
        return sum(row.amount_minor for row in await self.at.rows(select(Posting)) if row.method is not None)


async def paid(at: Counter, owner: Database, amount: int = 10_000) -> Refunds:
    """The bill is paid by card."""
    await at.till.bill(at.customer.id, amount)
    await at.double.pay(await at.session(await at.path()))
    (payment,) = await at.payments()
    return Refunds(at, owner, payment)


@pytest.fixture
async def refunds(counter: Counter, owner: Database) -> AsyncIterator[Refunds]:
    """With the books sound in the end."""
    found = await paid(counter, owner)
    yield found
    await found.sound()


async def test_parts_and_all_of_it_go_back_by_the_gateway(refunds: Refunds) -> None:
    at = refunds.at
    first = await refunds.given(amount="30", key="once")
    (told,) = first["payment"]["refunds"]
    assert (told["amount"]["amount"], told["reason"]) == ("30.00", "Moved away")
    theirs = told["gatewayRefund"]
    assert (theirs["state"], theirs["reason"]) == ("PENDING", "Card is still to be asked.")
    assert theirs["payment"]["id"] == ids.encode("pay", refunds.payment.id)
    assert theirs["customer"]["id"] == ids.encode("cus", at.customer.id)
    assert at.double.refunds == {}
    # Until the gateway has answered, nobody promises more; the same wish again is the same.
    assert [error["code"] for error in (await refunds.give(amount="10"))["errors"]] == ["INVALID_STATE"]
    assert len((await refunds.given(amount="30", key="once"))["payment"]["refunds"]) == 1
    listed = await at.api.data(LIST, at.house.admin, state=["PENDING"])
    assert [each["id"] for each in listed["gatewayRefunds"]["nodes"]] == [theirs["id"]]
    assert {"kind": "gateway.refund", "gatewayRefund": {"id": theirs["id"]}} in listed["jobs"]["nodes"]

    assert await at.work() == 1
    (done,) = at.double.refunds.values()
    (attempt,) = await at.attempts()
    assert (done["amount"], done["payment_intent"]) == (3_000, attempt.receipt)
    (told,) = (await refunds.shown())["refunds"]
    assert (told["gatewayRefund"]["state"], told["gatewayRefund"]["providerReference"]) == ("DONE", done["id"])
    assert [error["code"] for error in (await refunds.give(amount="70.01"))["errors"]] == ["INVALID"]
    rest = await refunds.given()
    assert (rest["payment"]["status"], rest["customer"]["balance"]["amount"]) == ("REFUNDED", "-100.00")
    await at.work()
    assert [each["amount"] for each in at.double.refunds.values()] == [3_000, 7_000]
    assert [state for state, _ in await refunds.states()] == ["DONE", "DONE"]
    assert [error["code"] for error in (await refunds.give())["errors"]] == ["INVALID_STATE"]
    assert await at.janitor() == 0
    assert await refunds.cash() == 0


async def test_two_clerks_at_once_give_it_back_once(refunds: Refunds) -> None:
    answers = await asyncio.gather(*(refunds.give(amount="60") for _ in range(4)))
    assert sorted(len(answer["errors"]) for answer in answers) == [0, 1, 1, 1]
    await refunds.at.work()
    assert [each["amount"] for each in refunds.at.double.refunds.values()] == [6_000]


async def test_an_answer_that_is_lost_is_asked_for_again(refunds: Refunds, moved_clock: None) -> None:
    at = refunds.at
    faults = (Fault.RESET_AFTER, Fault.ERROR_AFTER, Fault.RESET, Fault.ERROR)
    for number, fault in enumerate(faults, start=1):
        at.double.fail("refund", fault)
        await refunds.given(amount="15")
        await at.work()
        *before, (state, reason) = await refunds.states()
        assert before == [("DONE", None)] * (number - 1)
        assert state == "PENDING"
        assert reason is not None
        assert "closed the connection" in reason or "status 500" in reason
        # It may be done there late: nobody asks meanwhile.
        assert [error["code"] for error in (await refunds.decide("Check"))["errors"]] == ["INVALID_STATE"]
        assert await at.janitor() == 0
        # Stripe keeps a key for a day.
        at.double.forget_keys()
        clock.set_clock(f"+{number * 600}")
        assert await at.janitor() == 1
        assert await refunds.states() == [("DONE", None)] * number
        assert [each["amount"] for each in at.double.refunds.values()] == [1_500] * number
    clock.set_clock("+90000")
    assert await at.janitor() == 0


async def test_what_the_gateway_refuses_is_undone_once(refunds: Refunds) -> None:
    at = refunds.at
    (attempt,) = await at.attempts()
    assert attempt.receipt is not None
    # Too old there.
    at.double.payments[attempt.receipt]["status"] = "processing"
    owed = await refunds.given(amount="60")
    assert owed["customer"]["balance"]["amount"] == "-60.00"
    await at.work()
    ((state, reason),) = await refunds.states()
    assert state == "FAILED"
    assert reason is not None
    assert "No such payment_intent" in reason
    shown = await refunds.shown()
    assert [each["amount"]["amount"] for each in shown["refunds"]] == ["60.00", "-60.00"]
    assert (shown["status"], shown["refunded"]["amount"]) == ("COMPLETED", "0.00")
    (invoice,) = await at.rows(select(Invoice))
    assert (invoice.status, invoice.paid_minor) == (InvoiceStatus.PAID, 10_000)
    assert await refunds.cash() == 10_000
    taken = await at.api.data(TAKEN, at.house.admin, **around_today())
    assert taken["collectionsReport"]["total"] == {
        "payments": 1,
        "received": {"amount": "100.00"},
        "refunds": 0,
        "refunded": {"amount": "0.00"},
    }
    assert {each["figures"]["refunds"] for each in taken["collectionsReport"]["operators"]} == {0}
    assert await at.janitor() == 0
    assert [error["code"] for error in (await refunds.decide("Reject"))["errors"]] == ["INVALID_STATE"]
    # It can be given back otherwise, as before.
    await refunds.given(at=False)
    assert await at.work() == 0
    assert await refunds.cash() == 0


async def test_what_was_opened_and_paid_again_meanwhile_is_in_the_wallet(refunds: Refunds) -> None:
    at = refunds.at
    at.double.refunding = "pending"
    await refunds.given()
    await at.work()
    assert await refunds.states() == [("ACCEPTED", "The gateway has taken it on, and does it later.")]
    (invoice,) = await at.rows(select(Invoice))
    await at.till.pay(7_500, invoice)
    # Days later the bank does not take it.
    (theirs,) = at.double.refunds.values()
    theirs |= {"status": "failed", "failure_reason": "lost_or_stolen_card"}
    check = await at.api.data(CHECK, at.house.admin, id=(await refunds.shown())["refunds"][0]["gatewayRefund"]["id"])
    assert check["gatewayRefundCheck"]["errors"] == []
    assert await at.work() == 1
    assert await refunds.states() == [("FAILED", "lost_or_stolen_card")]
    (invoice,) = await at.rows(select(Invoice))
    assert (invoice.status, invoice.paid_minor) == (InvoiceStatus.PAID, 10_000)
    again = await refunds.given(amount="75", at=False)
    assert again["customer"]["balance"]["amount"] == "0.00"


async def test_what_was_given_back_there_already_is_for_an_operator(refunds: Refunds) -> None:
    at = refunds.at
    (attempt,) = await at.attempts()
    assert attempt.receipt is not None
    # By hand, in the gateway's own panel.
    at.double.payments[attempt.receipt]["refunded"] = 10_000
    for word, cash, end in (("Reject", 10_000, "FAILED"), ("Confirm", 0, "DONE")):
        await refunds.given()
        await at.work()
        state, reason = (await refunds.states())[-1]
        assert state == "IN_DOUBT"
        assert reason is not None
        assert "already been refunded" in reason
        assert await at.janitor() == 0
        for _ in range(2):
            assert (await refunds.decide(word, key=word))["errors"] == []
        assert [error["code"] for error in (await refunds.decide(word))["errors"]] == ["INVALID_STATE"]
        assert (await refunds.states())[-1][0] == end
        assert await refunds.cash() == cash
        await refunds.sound()
    assert (await at.payments())[0].status is PaymentStatus.REFUNDED
    assert await at.work() == 0


async def test_a_no_after_an_answer_that_was_lost_decides_nothing(refunds: Refunds, moved_clock: None) -> None:
    at = refunds.at
    at.double.fail("refund", Fault.RESET_AFTER)
    await refunds.given()
    await at.work()
    at.double.key = "sk_test_other"
    clock.set_clock("+600")
    await at.janitor()
    ((state, reason),) = await refunds.states()
    assert state == "IN_DOUBT"
    assert reason is not None
    assert "login was refused" in reason
    assert len(at.double.refunds) == 1
    # The operator puts the key right, and has it asked again.
    at.double.key = "sk_test_of_north"
    await refunds.decide("Check")
    await at.work()
    assert await refunds.states() == [("DONE", None)]
    assert len(at.double.refunds) == 1


async def test_who_never_answers_is_given_up(refunds: Refunds, moved_clock: None) -> None:
    at = refunds.at
    await refunds.given()
    at.double.fail("refunds", *[Fault.ERROR] * 9)
    at.double.fail("refund", *[Fault.ERROR] * 9)
    await at.work()
    clock.set_clock(f"+{timedelta(days=3, minutes=1).total_seconds()}")
    assert await at.janitor() == 1
    assert [state for state, _ in await refunds.states()] == ["IN_DOUBT"]
    assert await at.janitor() == 0
    assert at.double.refunds == {}


async def test_a_refund_that_is_only_booked_asks_nobody(refunds: Refunds) -> None:
    await refunds.given(at=False, amount="10")
    assert await refunds.at.work() == 0
    cash = await refunds.at.till.pay(500, customer_id=refunds.at.customer.id)
    refunds.payment = cash
    assert [error["field"] for error in (await refunds.give(at=True))["errors"]] == [["atGateway"]]
    await refunds.given()
    assert await refunds.at.work() == 0


@pytest.mark.long
async def test_bkash_without_keys_gives_back_each_part_once(
    api: Api, settings: Settings, owner: Database, database: Database, moved_clock: None
) -> None:
    double = BKashDouble(**BKASH)
    async with counter(api, await east(owner, database, "BDT"), settings) as at, serve(double.app) as theirs:
        gateway = await account(at.house, "bkash", {**BKASH, "base_url": theirs}, "bKash")
        refunds = await _paid_there(at, owner, gateway, lambda: double.confirm(next(iter(double.deals))))
        (deal,) = double.deals.values()
        await refunds.given(amount="20")
        await at.work()
        double.fail("refund", Fault.RESET_AFTER)
        await refunds.given(amount="20")
        await at.work()
        assert [state for state, _ in await refunds.states()] == ["DONE", "PENDING"]
        clock.set_clock("+600")
        await at.janitor()
        assert [state for state, _ in await refunds.states()] == ["DONE", "DONE"]
        assert [each["refundAmount"] for each in deal.refunds] == ["20.00", "20.00"]
        await refunds.sound()


@pytest.mark.long
async def test_sslcommerz_takes_it_on_and_does_it_later(
    api: Api, settings: Settings, owner: Database, database: Database, moved_clock: None
) -> None:
    double = SSLCommerzDouble(store_id="s1", password="s1@ssl")
    async with counter(api, await east(owner, database, "BDT"), settings) as at, serve(double.app) as theirs:
        hidden = {"store_id": "s1", "store_passwd": "s1@ssl", "base_url": theirs}
        gateway = await account(at.house, "sslcommerz", hidden, "Bank card")
        refunds = await _paid_there(at, owner, gateway, lambda: double.pay(next(iter(double.sales))))
        await refunds.given()
        await at.work()
        assert [state for state, _ in await refunds.states()] == ["ACCEPTED"]
        double.refunding = "refunded"
        clock.set_clock("+90000")
        await at.janitor()
        assert await refunds.states() == [("DONE", None)]
        await refunds.sound()


async def test_m_pesa_tells_its_receipt_late_and_gives_nothing_back_by_itself(
    api: Api, settings: Settings, owner: Database, database: Database
) -> None:
    double = MPesaDouble(key="key", secret="secret", shortcode="600123", passkey="passkey-of-shop")
    async with counter(api, await east(owner, database, "KES"), settings) as at, serve(double.app) as theirs:
        gateway = await account(at.house, "mpesa", {**MPESA, "base_url": theirs}, "M-Pesa")
        double.hold = True
        refunds = await _paid_there(
            at, owner, gateway, lambda: double.answer(next(iter(double.prompts))), mobile="+254712345678"
        )
        ((request, prompt),) = double.prompts.items()
        # The gateway was asked before its report came, and names the money by the request.
        assert refunds.payment.reference == request
        for _ in range(2):
            assert [each.status for each in await double.send(double.reports[0])] == [200]
        assert [payment.reference for payment in await at.payments()] == [prompt.receipt]
        for named in (prompt.receipt, (await at.attempts())[0].reference):
            found = await at.api.data(SEARCH, at.house.admin, reference=named)
            assert found["gatewayPayments"]["nodes"] == [
                {"receipt": prompt.receipt, "payment": {"reference": prompt.receipt}}
            ]
        assert (await at.api.data(SEARCH, at.house.admin, reference="X"))["gatewayPayments"]["nodes"] == []
        wanted = await refunds.give(at=True)
        assert [(error["code"], error["field"]) for error in wanted["errors"]] == [("INVALID", ["atGateway"])]
        assert "M-Pesa gives nothing back by itself" in wanted["errors"][0]["message"]
        # Reversed in the portal of M-Pesa, and recorded here.
        booked = await refunds.given()
        assert [each["gatewayRefund"] for each in booked["payment"]["refunds"]] == [None]
        await refunds.sound()


async def _paid_there(at: Counter, owner: Database, gateway: Gateway, pay: Any, **more: str) -> Refunds:
    await at.till.bill(at.customer.id, 10_000)
    assert (await at.begin(await at.path(), gateway, **more)).status_code == 303
    if (paying := pay()) is not None:
        await paying
    (attempt,) = await at.attempts()
    await at.api.data(
        "mutation ($id: ID!) { gatewayPaymentCheck(gatewayPaymentId: $id) { errors { code } } }",
        at.house.admin,
        id=ids.encode("gpy", attempt.id),
    )
    await at.work()
    (payment,) = await at.payments()
    return Refunds(at, owner, payment)

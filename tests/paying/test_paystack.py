"""The adapter of Paystack against its double, over HTTP. They publish no vectors: signatures are also made here."""

import hashlib
import hmac
import json
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from ispgraph import clock
from ispgraph.adapters.errors import AdapterError, BadReply, Forged, Refusal, Refused, TimedOut
from ispgraph.adapters.payments.base import Notice, State
from ispgraph.adapters.payments.doubles import Fault
from ispgraph.adapters.payments.paystack import Paystack
from ispgraph.adapters.payments.paystack_double import PaystackDouble
from tests.paying.shop import UNVERIFIED, Shop, account, shop

SECRET = "sk_live_of_the_shop"
NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


@asynccontextmanager
async def paystack(patience: float = 5.0, secret: str = SECRET) -> AsyncIterator[tuple[Shop, PaystackDouble]]:
    double = PaystackDouble(secret=SECRET)
    async with shop(double, "paystack", {"secret_key": secret}, patience) as made:
        double.webhook = made.callback_url
        yield made, double


def read(body: bytes, signature: str | None = None, exponent: int = 2) -> Notice:
    """Signed as the documentation says it, apart from both adapter and double."""
    right = hmac.new(SECRET.encode(), body, hashlib.sha512).hexdigest()
    headers = {"X-Paystack-Signature": right if signature is None else signature}
    adapter = Paystack(account("paystack", {"secret_key": SECRET}), httpx.AsyncClient(verify=UNVERIFIED))
    return adapter.notice("POST", {}, headers, body, NOW, exponent)


def event(**changes: object) -> bytes:
    said = {"id": 1, "status": "success", "reference": "PAY-0001", "amount": 150_050, "currency": "NGN"}
    return json.dumps({"event": "charge.success", "data": {**said, **changes}}).encode()


async def test_a_payment_is_started_paid_reported_and_asked_for() -> None:
    async with paystack() as (made, double):
        started = await made.gateway.start(made.intent(currency="NGN"))
        asked = json.loads(double.asked("initialize")[0].body)
        assert (asked["amount"], asked["currency"], asked["reference"]) == (150_050, "NGN", "PAY-0001")
        before = await made.gateway.check(started.provider_reference, "PAY-0001", exponent=2)
        assert (before.state, before.receipt) == (State.PENDING, None)

        back = await made.client.post(str(started.redirect_url), data={"choice": "pay"}, follow_redirects=True)
        assert back.text.startswith("GET /return?trxref=PAY-0001")
        for provider_reference in (started.provider_reference, ""):
            after = await made.gateway.check(provider_reference, "PAY-0001", exponent=2)
            assert (after.state, after.amount_minor, after.currency) == (State.PAID, 150_050, "NGN")
            assert after.receipt == str(double.transactions["PAY-0001"]["id"])
        notice = made.read(made.heard[0])
        assert (notice.status, notice.ask) == (after, False)
        assert notice.at is not None
        assert abs(notice.at - clock.now()) < timedelta(minutes=1)


async def test_the_payer_can_go_back_and_the_bank_can_say_no() -> None:
    async with paystack() as (made, double):
        started = await made.gateway.start(made.intent(currency="NGN"))
        back = await made.client.post(str(started.redirect_url), data={"choice": "cancel"})
        assert back.headers["location"].endswith("/cancel")
        double.fail_payment("PAY-0001", "Declined by the bank")
        status = await made.gateway.check("", "PAY-0001", exponent=2)
        assert (status.state, status.reason, status.receipt) == (State.FAILED, "Declined by the bank", None)


async def test_reports_come_again_of_another_amount_and_forged() -> None:
    async with paystack() as (made, double):
        double.times = 3
        await made.gateway.start(made.intent(currency="NGN"))
        await double.pay("PAY-0001")
        assert len(made.heard) == 3
        assert len({made.read(heard).event_id for heard in made.heard}) == 1
        await double.send(double.reports[0], amount="1")
        told = made.read(made.heard[3]).status
        assert told is not None
        assert told.amount_minor == 1
        await double.send(double.reports[0], secret="sk_live_of_another")
        with pytest.raises(Forged):
            made.read(made.heard[4])


async def test_a_start_whose_answer_was_lost_is_there_and_can_be_asked_for() -> None:
    async with paystack() as (made, double):
        double.fail("initialize", Fault.RESET_AFTER)
        with pytest.raises(BadReply) as lost:
            await made.gateway.start(made.intent(currency="NGN"))
        assert lost.value.outcome_unknown
        assert (await made.gateway.check("", "PAY-0001", exponent=2)).state is State.PENDING
        with pytest.raises(Refused) as again:
            await made.gateway.start(made.intent(currency="NGN"))
        assert again.value.kind is Refusal.ALREADY_EXISTS
        with pytest.raises(Refused) as never:
            await made.gateway.check("", "PAY-0002", exponent=2)
        assert never.value.kind is Refusal.NO_SUCH_ITEM


async def test_the_answer_about_another_payment_is_not_believed() -> None:
    async with paystack() as (made, double):
        await made.gateway.start(made.intent(currency="NGN"))
        double.transactions["PAY-0002"] = double.transactions["PAY-0001"]
        with pytest.raises(BadReply, match="another payment"):
            await made.gateway.check("", "PAY-0002", exponent=2)


async def test_money_goes_back_once_per_key_and_no_more_than_was_paid() -> None:
    async with paystack() as (made, double):
        await made.gateway.start(made.intent(currency="NGN"))
        await double.pay("PAY-0001")
        receipt = (await made.gateway.check("", "PAY-0001", exponent=2)).receipt
        double.fail("refund", Fault.RESET_AFTER)
        with pytest.raises(BadReply) as unsure:
            await made.gateway.refund("", receipt, 50_000, "NGN", 2, key="r1")
        assert unsure.value.outcome_unknown
        first = await made.gateway.refund("", receipt, 50_000, "NGN", 2, key="r1")
        assert not first.done
        assert [one["amount"] for one in double.refunds] == [50_000]
        double.refunds[0]["status"] = "processed"
        assert (await made.gateway.refund("", receipt, 50_000, "NGN", 2, key="r1")).done
        assert (await made.gateway.refund_status("", receipt, first.refund_reference)).done
        # Another key is another refund, also of the same amount.
        await made.gateway.refund("", receipt, 50_000, "NGN", 2, key="r2")
        with pytest.raises(Refused, match="more than"):
            await made.gateway.refund("", receipt, 50_051, "NGN", 2, key="r3")
        with pytest.raises(Refused):
            await made.gateway.refund("", None, 1, "NGN", 2, key="r4")
        with pytest.raises(Refused):
            await made.gateway.refund("", receipt, 1, "EUR", 2, key="r5")
        assert len(double.refunds) == 2


# --- bad weather


@pytest.mark.parametrize(
    ("fault", "error"), [(Fault.HANG, TimedOut), (Fault.ERROR, BadReply), (Fault.HANG_AFTER, TimedOut)]
)
async def test_what_can_go_wrong_while_starting_leaves_the_outcome_unknown(
    fault: Fault, error: type[AdapterError]
) -> None:
    async with paystack(patience=0.2) as (made, double):
        double.fail("initialize", fault)
        with pytest.raises(error) as caught:
            await made.gateway.start(made.intent(currency="NGN"))
        assert caught.value.outcome_unknown
        double.fail("verify", fault)
        with pytest.raises(error) as asked:
            await made.gateway.check("", "PAY-0001", exponent=2)
        assert not asked.value.outcome_unknown


async def test_no_error_tells_the_key() -> None:
    wrong = "sk_live_that_is_wrong"
    async with paystack(secret=wrong) as (made, _):
        with pytest.raises(Refused) as caught:
            await made.gateway.start(made.intent(currency="NGN"))
        assert caught.value.kind is Refusal.BAD_LOGIN
        told = "".join(traceback.format_exception(caught.value)) + repr(made.gateway) + repr(made.opened)
        assert "Invalid key" in told
        assert wrong not in told


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"currency": "BDT"}, "and not BDT"),
        ({"currency": "NGN", "amount_minor": 99}, "Invalid Amount"),
        ({"currency": "NGN", "amount_minor": 1_500_055, "exponent": 3}, "at most 2 decimals"),
    ],
)
async def test_what_paystack_does_not_take_is_refused(changes: dict[str, object], why: str) -> None:
    async with paystack() as (made, double):
        with pytest.raises(Refused, match=why):
            await made.gateway.start(made.intent(**changes))
        assert not double.transactions


# --- signatures


def test_a_signed_report_is_read() -> None:
    status = read(event()).status
    assert status is not None
    assert (status.state, status.reference, status.amount_minor) == (State.PAID, "PAY-0001", 150_050)
    assert (status.receipt, status.currency) == ("1", "NGN")


def test_one_byte_changed_is_forged() -> None:
    body = event()
    right = hmac.new(SECRET.encode(), body, hashlib.sha512).hexdigest()
    for place in (0, 40, len(body) - 1):
        changed = bytearray(body)
        changed[place] ^= 1
        with pytest.raises(Forged):
            read(bytes(changed), right)


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "é" * 128,
        hmac.new(b"another", event(), hashlib.sha512).hexdigest(),
        hmac.new(SECRET.encode(), event(), hashlib.sha256).hexdigest(),
        hashlib.sha512(event()).hexdigest(),
    ],
)
def test_any_other_signature_is_forged(signature: str) -> None:
    with pytest.raises(Forged):
        read(event(), signature)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"event": 1}', event(amount="150050"), event(amount=-1), event(amount=None)]
)
def test_signed_nonsense_is_a_bad_reply(body: bytes) -> None:
    with pytest.raises(BadReply):
        read(body)


def test_reports_about_other_things_are_authentic_and_say_nothing() -> None:
    first, second = (json.dumps({"event": "transfer.success", "data": {"n": n}}).encode() for n in (1, 2))
    refunded = event().replace(b"charge.success", b"refund.processed")
    assert read(first).status is read(refunded).status is None
    assert read(first).event_id == read(first).event_id != read(second).event_id

"""The adapter of Stripe against its double, over HTTP, and against the signature that Stripe publishes."""

import hashlib
import hmac
import json
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ispgraph import clock
from ispgraph.adapters.errors import AdapterError, BadReply, Forged, Refusal, Refused, TimedOut, Unreachable
from ispgraph.adapters.payments import amounts, open_gateway
from ispgraph.adapters.payments.base import Stale, State, Unsupported
from ispgraph.adapters.payments.doubles import Fault
from ispgraph.adapters.payments.stripe import Stripe
from ispgraph.adapters.payments.stripe_double import StripeDouble
from tests.paying.shop import INTENT, UNVERIFIED, Shop, account, shop

KEY, SECRET = "sk_test_of_the_shop", "whsec_of_the_shop"
NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


@asynccontextmanager
async def stripe(patience: float = 5.0, key: str = KEY) -> AsyncIterator[tuple[Shop, StripeDouble]]:
    double = StripeDouble(key=KEY, signing=[SECRET])
    settings = {"secret_key": key, "webhook_secret": SECRET}
    async with shop(double, "stripe", settings, patience=patience) as made:
        double.endpoints = [made.callback_url]
        yield made, double


def alone(secret: str = SECRET) -> Stripe:
    return Stripe(
        account("stripe", {"secret_key": KEY, "webhook_secret": secret}), httpx.AsyncClient(verify=UNVERIFIED)
    )


def signed(body: bytes, at: datetime, *secrets: str) -> dict[str, str]:
    """Made here by the published scheme, apart from both adapter and double."""
    stamp = int(at.timestamp())
    parts = [hmac.new(one.encode(), b"%d." % stamp + body, hashlib.sha256).hexdigest() for one in secrets]
    return {"Stripe-Signature": ",".join([f"t={stamp}", *(f"v1={part}" for part in parts)])}


def event(kind: str, **session: object) -> bytes:
    said = {
        "id": "cs_1",
        "client_reference_id": "PAY-0001",
        "mode": "payment",
        "payment_status": "paid",
        "status": "complete",
        "amount_total": 1500,
        "currency": "usd",
        "payment_intent": "pi_1",
    }
    return json.dumps({"id": "evt_1", "type": kind, "created": 1, "data": {"object": said | session}}).encode()


# --- paying


async def test_a_payment_is_started_paid_reported_and_asked_for() -> None:
    async with stripe() as (made, double):
        started = await made.gateway.start(made.intent())
        assert started.redirect_url is not None
        asked = double.asked("create")[0]
        assert asked.headers["idempotency-key"] == "PAY-0001"
        assert asked.form["client_reference_id"] == asked.form["metadata[reference]"] == "PAY-0001"
        assert asked.form["line_items[0][price_data][unit_amount]"] == "150050"
        assert asked.form["expires_at"] == str(int(INTENT.expires_at.timestamp()))
        before = await made.gateway.check(started.provider_reference, "PAY-0001", exponent=2)
        assert (before.state, before.receipt, before.amount_minor) == (State.PENDING, None, 150_050)

        page = await made.client.get(started.redirect_url)
        assert page.status_code == 200
        paid = await made.client.post(started.redirect_url, data={"choice": "pay"}, follow_redirects=True)
        assert paid.text.startswith("GET /return")

        after = await made.gateway.check(started.provider_reference, "PAY-0001", exponent=2)
        assert (after.state, after.amount_minor, after.currency) == (State.PAID, 150_050, "BDT")
        assert after.receipt is not None
        assert after.receipt.startswith("pi_")
        # Both events of one payment came; one of them counts.
        notices = [made.read(heard) for heard in made.heard]
        assert [notice.status for notice in notices] == [None, after]
        assert [notice.ask for notice in notices] == [False, False]
        assert len({notice.event_id for notice in notices}) == 2


async def test_the_payer_can_go_back_and_the_page_can_expire() -> None:
    async with stripe() as (made, double):
        started = await made.gateway.start(made.intent())
        back = await made.client.post(str(started.redirect_url), data={"choice": "cancel"})
        assert back.headers["location"].endswith("/cancel")
        await double.expire(started.provider_reference)
        assert made.read(made.heard[0]).status is not None
        status = await made.gateway.check(started.provider_reference, "PAY-0001", exponent=2)
        assert status.state is State.EXPIRED
        assert made.read(made.heard[0]).status == status
        assert (await made.client.get(str(started.redirect_url))).status_code == 410


@pytest.mark.parametrize(("good", "state"), [(True, State.PAID), (False, State.FAILED)])
async def test_a_bank_debit_is_pending_until_it_is_settled(good: bool, state: State) -> None:
    async with stripe() as (made, double):
        started = await made.gateway.start(made.intent())
        await made.client.post(str(started.redirect_url), data={"choice": "debit"})
        pending = await made.gateway.check(started.provider_reference, "PAY-0001", exponent=2)
        assert (pending.state, pending.receipt) == (State.PENDING, None)
        await double.settle(started.provider_reference, good=good)
        told = [made.read(heard).status for heard in made.heard]
        assert [status.state for status in told if status] == [State.PENDING, state]
        settled = await made.gateway.check(started.provider_reference, "PAY-0001", exponent=2)
        assert settled.state is state
        assert settled.reason == (None if good else "Debit refused.")


async def test_reports_come_again_out_of_order_of_another_amount_and_forged() -> None:
    async with stripe() as (made, double):
        double.hold = True
        started = await made.gateway.start(made.intent())
        await double.pay(started.provider_reference)
        intent_event, session_event = double.reports
        await double.send(session_event, times=3)
        await double.send(intent_event)
        ids = [made.read(heard).event_id for heard in made.heard]
        assert ids[0] == ids[1] == ids[2] != ids[3]
        await double.send(session_event, amount="1")
        told = made.read(made.heard[4]).status
        assert told is not None
        assert told.amount_minor == 1
        await double.send(session_event, secret="whsec_of_another")
        with pytest.raises(Forged):
            made.read(made.heard[5])
        await double.send(session_event, aged=400)
        with pytest.raises(Stale):
            made.read(made.heard[6])
        assert {delivery.status for delivery in double.deliveries} == {200}


async def test_started_again_it_is_the_same_session_and_another_intent_is_not() -> None:
    async with stripe() as (made, double):
        double.fail("create", Fault.RESET_AFTER)
        with pytest.raises(BadReply) as lost:
            await made.gateway.start(made.intent())
        assert lost.value.outcome_unknown
        started = await made.gateway.start(made.intent())
        assert list(double.sessions) == [started.provider_reference]
        with pytest.raises(BadReply) as other:
            await made.gateway.start(made.intent(amount_minor=100))
        assert other.value.outcome_unknown


@pytest.mark.usefixtures("moved_clock")
async def test_an_intent_that_is_open_for_long_is_capped_and_the_same_when_sent_again() -> None:
    async with stripe() as (made, double):
        clock.set_clock("2026-05-01T10:20:00Z")
        until = clock.now() + timedelta(days=7)
        first = await made.gateway.start(made.intent(expires_at=until))
        clock.set_clock("2026-05-01T10:21:00Z")
        again = await made.gateway.start(made.intent(expires_at=until))
        assert first == again
        assert int(double.asked("create")[0].form["expires_at"]) <= (clock.now() + timedelta(hours=24)).timestamp()


async def test_a_session_of_another_reference_is_not_believed() -> None:
    async with stripe() as (made, _):
        started = await made.gateway.start(made.intent())
        with pytest.raises(BadReply, match="another payment"):
            await made.gateway.check(started.provider_reference, "PAY-0002", exponent=2)
        with pytest.raises(Unsupported):
            await made.gateway.check("", "PAY-0001", exponent=2)
        with pytest.raises(Refused) as missing:
            await made.gateway.check("cs_none?and=more", "PAY-0001", exponent=2)
        assert missing.value.kind is Refusal.NO_SUCH_ITEM
        assert "cs_none?and=more" in missing.value.text


async def test_money_goes_back_once_per_key_and_no_more_than_was_paid() -> None:
    async with stripe() as (made, double):
        started = await made.gateway.start(made.intent())
        await double.pay(started.provider_reference)
        receipt = (await made.gateway.check(started.provider_reference, "PAY-0001", exponent=2)).receipt
        double.fail("refund", Fault.ERROR_AFTER)
        refund = ("", receipt, 50_000, "BDT", 2)
        with pytest.raises(BadReply) as unsure:
            await made.gateway.refund(*refund, key="r1")
        assert unsure.value.outcome_unknown
        first = await made.gateway.refund(*refund, key="r1")
        assert first.done
        assert [entry["amount"] for entry in double.refunds.values()] == [50_000]
        with pytest.raises(Refused, match="greater than"):
            await made.gateway.refund("", receipt, 100_051, "BDT", 2, key="r2")
        await made.gateway.refund("", receipt, 100_050, "BDT", 2, key="r3")
        with pytest.raises(Refused) as done:
            await made.gateway.refund("", receipt, 1, "BDT", 2, key="r4")
        assert done.value.kind is Refusal.ALREADY_EXISTS
        with pytest.raises(Refused):
            await made.gateway.refund("", None, 1, "BDT", 2, key="r5")


async def test_a_refund_can_wait_and_can_fail() -> None:
    async with stripe() as (made, double):
        started = await made.gateway.start(made.intent())
        await double.pay(started.provider_reference)
        receipt = (await made.gateway.check(started.provider_reference, "PAY-0001", exponent=2)).receipt
        double.refunding = "pending"
        assert not (await made.gateway.refund("", receipt, 100, "BDT", 2, key="r1")).done
        double.refunding = "failed"
        failed = await made.gateway.refund("", receipt, 100, "BDT", 2, key="r2")
        assert (failed.done, failed.failed) == (False, "expired_or_canceled_card")
        waiting, _ = double.refunds.values()
        waiting["status"] = "succeeded"
        assert (await made.gateway.refund_status("", receipt, waiting["id"])).done


async def test_a_refund_is_found_by_its_key_when_stripe_has_forgotten_that() -> None:
    async with stripe() as (made, double):
        started = await made.gateway.start(made.intent())
        await double.pay(started.provider_reference)
        receipt = (await made.gateway.check(started.provider_reference, "PAY-0001", exponent=2)).receipt
        first = await made.gateway.refund("", receipt, 50_000, "BDT", 2, key="r1")
        double.forget_keys()
        again = await made.gateway.refund("", receipt, 50_000, "BDT", 2, key="r1", again=True)
        assert again == first
        other = await made.gateway.refund("", receipt, 50_000, "BDT", 2, key="r2", again=True)
        assert other.refund_reference != first.refund_reference
        assert len(double.refunds) == 2


# --- bad weather


@pytest.mark.parametrize(
    ("fault", "error", "paid"),
    [
        (Fault.HANG, TimedOut, 0),
        (Fault.ERROR, BadReply, 0),
        (Fault.RESET, BadReply, 0),
        (Fault.HANG_AFTER, TimedOut, 1),
        (Fault.ERROR_AFTER, BadReply, 1),
    ],
)
async def test_what_can_go_wrong_while_starting_leaves_the_outcome_unknown(
    fault: Fault, error: type[AdapterError], paid: int
) -> None:
    async with stripe(patience=0.2) as (made, double):
        double.fail("create", fault)
        with pytest.raises(error) as caught:
            await made.gateway.start(made.intent())
        assert caught.value.outcome_unknown
        assert len(double.sessions) == paid


async def test_a_question_that_fails_leaves_nothing_in_doubt() -> None:
    async with stripe(patience=0.2) as (made, double):
        started = await made.gateway.start(made.intent())
        double.fail("retrieve", Fault.HANG, Fault.ERROR, Fault.RESET)
        for error in (TimedOut, BadReply, BadReply):
            with pytest.raises(error) as caught:
                await made.gateway.check(started.provider_reference, "PAY-0001", exponent=2)
            assert not caught.value.outcome_unknown


async def test_who_is_not_there_was_not_asked() -> None:
    async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
        for url in ("http://127.0.0.1:9", "no address", "ftp://127.0.0.1"):
            opened = account("stripe", {"secret_key": KEY, "webhook_secret": SECRET, "base_url": url})
            with pytest.raises(Unreachable) as caught:
                await open_gateway(opened, client).start(INTENT)
            assert not caught.value.outcome_unknown


async def test_no_error_tells_the_key() -> None:
    wrong = "sk_test_that_is_wrong"
    async with stripe(key=wrong) as (made, _):
        with pytest.raises(Refused) as caught:
            await made.gateway.start(made.intent())
        assert caught.value.kind is Refusal.BAD_LOGIN
        told = "".join(traceback.format_exception(caught.value)) + repr(made.gateway) + repr(made.opened)
        assert "Invalid API Key" in told
        assert wrong not in told
        assert SECRET not in told


async def test_what_stripe_does_not_take_is_told_in_its_words() -> None:
    async with stripe() as (made, _):
        with pytest.raises(Refused, match="at least 50 cents"):
            await made.gateway.start(made.intent(amount_minor=49))
        with pytest.raises(Refused, match="30 minutes"):
            await made.gateway.start(made.intent(expires_at=clock.now() + timedelta(minutes=5)))
        with pytest.raises(Refused, match="Invalid currency"):
            await made.gateway.start(made.intent(currency="TAKA"))


# --- signatures

# Stripe's own vector: github.com/stripe/stripe-dotnet, src/StripeTests/Services/Events/EventUtilityTest.cs.
PUBLISHED = b"""{
  "id": "evt_123",
  "object": "event",
  "account": "acct_123",
  "api_version": "2017-05-25",
  "created": 1533204620,
  "data": {
    "object": {
      "id": "cus_123",
      "object": "customer",
      "created": 123456789,
      "email": "test@stripe.com",
      "livemode": false,
      "metadata": {}
    }
  },
  "livemode": false,
  "pending_webhooks": 1,
  "request": {
    "id": "req_123",
    "idempotency_key": "idempotency-key-123"
  },
  "type": "customer.created"
}
"""
PUBLISHED_SIGNATURE = (
    "t=1533204620,v1=2220f87ef101a04665f11cdf770523143f875572008577fa0f20882ddb9cc3c7,"
    "v0=63f3a72374a733066c4be69ed7f8e5ac85c22c9f0a6a612ab9a025a9e4ee7eef"
)


def published(body: bytes = PUBLISHED, header: str = PUBLISHED_SIGNATURE, after: int = 100) -> str:
    now = datetime.fromtimestamp(1533204620 + after, UTC)
    return alone("webhook_secret").notice("POST", {}, {"stripe-signature": header}, body, now, 2).event_id


def test_the_signature_that_stripe_publishes_holds() -> None:
    assert published() == "evt_123"
    assert published(header=PUBLISHED_SIGNATURE + ",v1=" + "deadbeef" * 8) == "evt_123"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "t",
        ",,",
        "t,v1=,v0=",
        PUBLISHED_SIGNATURE.replace("t=1533204620", "t="),
        PUBLISHED_SIGNATURE.replace("t=1533204620", "t=1533204621"),
        PUBLISHED_SIGNATURE.replace("v1=2", "v1=3"),
        PUBLISHED_SIGNATURE.replace("v1=", "v0="),
        PUBLISHED_SIGNATURE + ",t=1533204620",
        PUBLISHED_SIGNATURE.replace("t=1533204620", "t=-1"),
        PUBLISHED_SIGNATURE.replace("t=1533204620", "t=１533204620"),
        "t=1533204620," + ",".join(["v1=" + "0" * 64] * 5000),
        "v1=" + "é" * 64 + ",t=1533204620",
    ],
)
def test_any_other_signature_is_forged(header: str) -> None:
    with pytest.raises(Forged):
        published(header=header)


def test_one_byte_changed_is_forged() -> None:
    for place in (0, 100, len(PUBLISHED) - 1):
        changed = bytearray(PUBLISHED)
        changed[place] ^= 1
        with pytest.raises(Forged):
            published(bytes(changed))


@pytest.mark.parametrize("after", [-301, 301])
def test_a_true_signature_is_good_for_five_minutes(after: int) -> None:
    assert published(after=after - 1 if after > 0 else after + 1) == "evt_123"
    with pytest.raises(Stale):
        published(after=after)


def test_while_a_secret_is_replaced_either_signature_is_enough() -> None:
    body = event("checkout.session.completed")
    for secrets in ((SECRET, "whsec_new"), ("whsec_new", SECRET)):
        notice = alone().notice("POST", {}, signed(body, NOW, *secrets), body, NOW, 2)
        assert notice.status is not None
        assert notice.status.state is State.PAID
    with pytest.raises(Forged):
        alone().notice("POST", {}, signed(body, NOW, "whsec_new", "whsec_newer"), body, NOW, 2)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b'{"id": 1, "type": "x"}',
        b'{"id": "e", "type": "x", "n": NaN}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_signed_nonsense_is_a_bad_reply(body: bytes) -> None:
    with pytest.raises(BadReply):
        alone().notice("POST", {}, signed(body, NOW, SECRET), body, NOW, 2)


@pytest.mark.parametrize("amount", [None, -1, 1.5, "1500", True])
def test_an_amount_that_is_none_is_a_bad_reply(amount: object) -> None:
    body = event("checkout.session.completed", amount_total=amount)
    with pytest.raises(BadReply):
        alone().notice("POST", {}, signed(body, NOW, SECRET), body, NOW, 2)


def test_reports_about_other_things_are_authentic_and_say_nothing() -> None:
    others = ("invoice.paid", "payment_intent.succeeded", "charge.succeeded")
    for body in (*map(event, others), event("checkout.session.completed", mode="subscription")):
        assert alone().notice("POST", {}, signed(body, NOW, SECRET), body, NOW, 2).status is None


# --- amounts


@pytest.mark.parametrize(
    ("currency", "exponent", "minor", "units"),
    [
        ("USD", 2, 1050, "1050"),
        ("JPY", 0, 500, "500"),
        ("UGX", 0, 5000, "500000"),
        ("ISK", 0, 500, "50000"),
        ("KWD", 3, 5120, "5120"),
        ("MGA", 2, 100_000, "1000"),
        ("IQD", 3, 5120, "512"),
    ],
)
async def test_every_currency_is_counted_as_stripe_counts_it(
    currency: str, exponent: int, minor: int, units: str
) -> None:
    async with stripe() as (made, double):
        wanted = made.intent(currency=currency, exponent=exponent, amount_minor=minor)
        started = await made.gateway.start(wanted)
        assert double.asked("create")[0].form["line_items[0][price_data][unit_amount]"] == units
        status = await made.gateway.check(started.provider_reference, "PAY-0001", exponent=exponent)
        assert (status.amount_minor, status.currency) == (minor, currency)


@pytest.mark.parametrize(
    ("currency", "exponent", "minor"),
    [("KWD", 3, 5124), ("MGA", 2, 150), ("ISK", 2, 150), ("UGX", 2, 150), ("USD", 2, 0), ("USD", 2, -5)],
)
async def test_an_amount_that_stripe_can_not_take_is_never_rounded(currency: str, exponent: int, minor: int) -> None:
    async with stripe() as (made, double):
        with pytest.raises(Refused):
            await made.gateway.start(made.intent(currency=currency, exponent=exponent, amount_minor=minor))
        assert not double.log


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9 * 10**15), st.sampled_from([0, 2, 3]), st.sampled_from([0, 2, 3]))
def test_amounts_go_there_and_back(minor: int, exponent: int, places: int) -> None:
    try:
        units, said = amounts.whole(minor, exponent, places), amounts.written(minor, exponent, places)
    except Refused:
        assert minor % 10 ** (exponent - places)
        return
    assert amounts.from_whole(units, places, exponent) == amounts.read(said, exponent) == minor
    assert said.replace(".", "").lstrip("0") == str(units)

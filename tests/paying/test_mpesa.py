"""The adapter of M-Pesa against a double of Daraja, over HTTP. Nothing is signed there: our address is checked."""

import json
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ispgraph import clock
from ispgraph.adapters.errors import AdapterError, BadReply, Forged, Refusal, Refused, TimedOut
from ispgraph.adapters.payments import open_gateway
from ispgraph.adapters.payments.base import State, Unsupported
from ispgraph.adapters.payments.doubles import Fault
from ispgraph.adapters.payments.mpesa_double import MPesaDouble
from tests.paying.shop import Shop, shop

SETTINGS = {
    "consumer_key": "key-of-shop",
    "consumer_secret": "secret-of-shop",
    "shortcode": "600123",
    "passkey": "passkey-of-shop",
}
REFERENCE = "PAY-0001-2026-ABCDEF"


@asynccontextmanager
async def mpesa(patience: float = 5.0, **other: str) -> AsyncIterator[tuple[Shop, MPesaDouble]]:
    double = MPesaDouble(key="key-of-shop", secret="secret-of-shop", shortcode="600123", passkey="passkey-of-shop")
    async with shop(double, "mpesa", SETTINGS | other, patience) as made:
        yield made, double


def wanted(made: Shop, **other: Any) -> Any:
    usual = {"reference": REFERENCE, "currency": "KES", "amount_minor": 150_000, "customer_mobile": "+254712345678"}
    return made.intent(**(usual | other))


def checkout(provider_reference: str) -> str:
    return provider_reference.rpartition(":")[0]


async def test_a_phone_is_asked_and_what_it_answers_is_reported_and_asked_for() -> None:
    async with mpesa() as (made, double):
        started = await made.gateway.start(wanted(made))
        assert started.redirect_url is None
        assert started.instructions
        asked = json.loads(double.asked("push")[0].body)
        assert (asked["Amount"], asked["PhoneNumber"], asked["PartyB"]) == (1500, "254712345678", "600123")
        assert asked["TransactionType"] == "CustomerPayBillOnline"
        assert asked["AccountReference"] == "-2026-ABCDEF"
        before = await made.gateway.check(started.provider_reference, REFERENCE, exponent=2)
        assert (before.state, before.receipt) == (State.PENDING, None)

        shown = f"{made.url}/phone/{checkout(started.provider_reference)}"
        assert "1500 KES" in (await made.client.get(shown)).text
        await made.client.post(shown, data={"choice": "0"})
        notice = made.read(made.heard[0])
        assert notice.ask
        assert notice.at is not None
        assert abs(notice.at - clock.now()) < timedelta(minutes=1)
        assert notice.status is not None
        assert (notice.status.state, notice.status.reference) == (State.PAID, REFERENCE)
        assert (notice.status.amount_minor, notice.status.currency) == (150_000, "KES")
        assert notice.status.receipt == double.prompts[checkout(started.provider_reference)].receipt
        after = await made.gateway.check(started.provider_reference, REFERENCE, exponent=2)
        assert replace(after, receipt=None) == replace(notice.status, receipt=None)
        assert after.provider_reference == started.provider_reference
        assert after.receipt == checkout(started.provider_reference)
        assert json.loads(double.deliveries[0].answer)["ResultCode"] == 0
        assert len(double.asked("token")) == 1


@pytest.mark.parametrize(
    ("result", "state"), [(1, State.FAILED), (1032, State.CANCELLED), (1037, State.EXPIRED), (2001, State.FAILED)]
)
async def test_what_comes_to_nothing_says_why(result: int, state: State) -> None:
    async with mpesa() as (made, double):
        started = await made.gateway.start(wanted(made))
        await double.answer(checkout(started.provider_reference), result)
        status = await made.gateway.check(started.provider_reference, REFERENCE, exponent=2)
        assert (status.state, status.amount_minor, status.receipt) == (state, None, None)
        assert status.reason
        assert made.read(made.heard[0]).status == status


async def test_goods_are_bought_at_a_till() -> None:
    async with mpesa(till_number="5551234") as (made, double):
        await made.gateway.start(wanted(made))
        asked = json.loads(double.asked("push")[0].body)
        assert (asked["TransactionType"], asked["PartyB"]) == ("CustomerBuyGoodsOnline", "5551234")
        assert asked["BusinessShortCode"] == "600123"


async def test_reports_come_again_of_another_amount_and_to_an_address_of_another() -> None:
    async with mpesa() as (made, double):
        double.hold = True
        started = await made.gateway.start(wanted(made))
        await double.answer(checkout(started.provider_reference))
        report = double.reports[0]
        await double.send(report, times=3)
        assert len({made.read(heard).event_id for heard in made.heard}) == 1
        await double.send(report, amount="1")
        changed = made.read(made.heard[3])
        assert changed.ask
        assert changed.status is not None
        assert changed.status.amount_minor == 100
        # Asked for, it is what it was.
        assert (await made.gateway.check(started.provider_reference, REFERENCE, exponent=2)).amount_minor == 150_000

        heard = made.heard[0]
        code = heard.query["code"]
        other = "0" if code[0] != "0" else "1"
        for query in (
            {},
            {**heard.query, "code": ""},
            {**heard.query, "code": other + code[1:]},
            {**heard.query, "code": "é"},
            {**heard.query, "reference": "PAY-0002"},
            {**heard.query, "amount": "15"},
            {name: value for name, value in heard.query.items() if name != "amount"},
        ):
            with pytest.raises(Forged):
                made.read(heard, query=query)
        # Another account's address is none of ours.
        stranger = replace(made.opened, settings={**made.opened.settings, "passkey": "another"})
        with pytest.raises(Forged):
            open_gateway(stranger, made.client).notice("POST", heard.query, {}, heard.body, clock.now(), 2)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"Body": []}',
        b'{"Body": {"stkCallback": {"ResultCode": 0}}}',
        b'{"Body": {"stkCallback": {"CheckoutRequestID": "ws_1"}}}',
        b'{"Body": {"stkCallback": {"CheckoutRequestID": "ws_1", "ResultCode": [0]}}}',
        b'{"Body": {"stkCallback": {"CheckoutRequestID": "ws_1", "ResultCode": 0, "CallbackMetadata": '
        b'{"Item": [{"Name": "Amount", "Value": 1.005}]}}}}',
    ],
)
async def test_nonsense_at_our_address_is_a_bad_reply(body: bytes) -> None:
    async with mpesa() as (made, double):
        started = await made.gateway.start(wanted(made))
        await double.answer(checkout(started.provider_reference))
        with pytest.raises(BadReply):
            made.read(made.heard[0], body=body)


async def test_a_callback_address_that_has_a_query_keeps_it() -> None:
    async with mpesa() as (made, double):
        started = await made.gateway.start(wanted(made, callback_url=f"{made.callback_url}?a=b"))
        await double.answer(checkout(started.provider_reference))
        assert made.heard[0].query["a"] == "b"
        assert made.read(made.heard[0]).status is not None


async def test_what_is_not_ours_can_not_be_asked_for() -> None:
    async with mpesa() as (made, _):
        for provider_reference in ("", "ws_CO_1", "ws_CO_1:", "ws_CO_1:1.5"):
            with pytest.raises(Unsupported):
                await made.gateway.check(provider_reference, REFERENCE, exponent=2)
        with pytest.raises(Refused, match="Invalid CheckoutRequestID"):
            await made.gateway.check("ws_CO_1:15", REFERENCE, exponent=2)
        with pytest.raises(Unsupported):
            await made.gateway.refund("ws_CO_1:15", "R", 100, "KES", 2, key="r1")


async def test_the_answer_about_another_payment_is_not_believed() -> None:
    async with mpesa() as (made, double):
        started = await made.gateway.start(wanted(made))
        await double.answer(checkout(started.provider_reference))
        double.prompts["ws_CO_1"] = double.prompts[checkout(started.provider_reference)]
        with pytest.raises(BadReply, match="another payment"):
            await made.gateway.check("ws_CO_1:1500", REFERENCE, exponent=2)


async def test_a_token_is_kept_and_replaced_when_it_is_refused() -> None:
    async with mpesa() as (made, double):
        await made.gateway.start(wanted(made))
        await open_gateway(made.opened, made.client).start(wanted(made))
        assert len(double.asked("token")) == 1
        double.revoke()
        await made.gateway.start(wanted(made))
        assert (len(double.asked("token")), len(double.prompts)) == (2, 3)


async def test_the_password_has_the_time_of_nairobi(moved_clock: Any) -> None:
    async with mpesa() as (made, double):
        clock.set_clock("2026-03-31T22:30:00Z")
        await made.gateway.start(wanted(made))
        assert json.loads(double.asked("push")[0].body)["Timestamp"].startswith("202604010130")


# --- bad weather


@pytest.mark.parametrize(
    ("operation", "fault", "error", "unknown"),
    [
        ("push", Fault.HANG, TimedOut, True),
        ("push", Fault.ERROR_AFTER, BadReply, True),
        ("push", Fault.RESET_AFTER, BadReply, True),
        ("token", Fault.RESET, BadReply, False),
    ],
)
async def test_what_can_go_wrong_while_starting(
    operation: str, fault: Fault, error: type[AdapterError], unknown: bool
) -> None:
    async with mpesa(patience=0.2) as (made, double):
        double.fail(operation, fault)
        with pytest.raises(error) as caught:
            await made.gateway.start(wanted(made))
        assert caught.value.outcome_unknown is unknown


async def test_a_payment_whose_start_was_lost_is_named_by_its_report() -> None:
    async with mpesa() as (made, double):
        double.fail("push", Fault.RESET_AFTER)
        with pytest.raises(BadReply):
            await made.gateway.start(wanted(made))
        (request,) = double.prompts
        await double.answer(request)
        told = made.read(made.heard[0]).status
        assert told is not None
        assert (told.reference, told.provider_reference) == (REFERENCE, f"{request}:1500")
        assert told.provider_reference is not None
        assert (await made.gateway.check(told.provider_reference, REFERENCE, exponent=2)).state is State.PAID


async def test_no_error_tells_the_credentials() -> None:
    for wrong in ({"consumer_secret": "a-wrong-secret"}, {"passkey": "a-wrong-passkey"}):
        async with mpesa(**wrong) as (made, _):
            with pytest.raises(Refused) as caught:
                await made.gateway.start(wanted(made))
            told = "".join(traceback.format_exception(caught.value)) + repr(made.gateway) + repr(made.opened)
            assert not any(secret in told for secret in wrong.values())
    assert "Wrong credentials" in told
    assert caught.value.kind is Refusal.INVALID_VALUE


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"amount_minor": 150_050}, "1500.50 can not be taken there: no decimals"),
        ({"currency": "UGX"}, "KES alone, and not UGX"),
        ({"customer_mobile": None}, "mobile number"),
        ({"customer_mobile": "+8801700000001"}, "mobile number"),
        ({"amount_minor": 25_000_100}, "Invalid Amount"),
    ],
)
async def test_what_mpesa_does_not_take_is_refused(changes: dict[str, object], why: str) -> None:
    async with mpesa() as (made, double):
        with pytest.raises(Refused, match=why):
            await made.gateway.start(wanted(made, **changes))
        assert not double.prompts

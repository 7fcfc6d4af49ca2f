"""The adapter of bKash against its double, over HTTP."""

import json
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import httpx
import pytest

from ispgraph import clock
from ispgraph.adapters.errors import AdapterError, BadReply, Refusal, Refused, TimedOut
from ispgraph.adapters.payments import open_gateway, tokens
from ispgraph.adapters.payments.base import State, Unsupported
from ispgraph.adapters.payments.bkash_double import BKashDouble
from ispgraph.adapters.payments.doubles import Fault
from tests.paying.shop import UNVERIFIED, Shop, shop

SETTINGS = {"app_key": "app-1", "app_secret": "secret-of-app-1", "username": "shop", "password": "password-of-shop"}


@asynccontextmanager
async def bkash(patience: float = 5.0, **other: str) -> AsyncIterator[tuple[Shop, BKashDouble]]:
    double = BKashDouble(**SETTINGS)  # type: ignore[arg-type]
    async with shop(double, "bkash", SETTINGS | other, patience) as made:
        yield made, double


async def test_a_payment_is_started_confirmed_and_executed_by_asking() -> None:
    async with bkash() as (made, double):
        started = await made.gateway.start(made.intent())
        asked = json.loads(double.asked("create")[0].body)
        assert (asked["amount"], asked["currency"], asked["mode"]) == ("1500.50", "BDT", "0011")
        assert asked["merchantInvoiceNumber"] == "PAY-0001"
        before = await made.gateway.check(started.provider_reference, "PAY-0001", exponent=2)
        assert (before.state, before.receipt, before.amount_minor) == (State.PENDING, None, 150_050)
        assert not double.asked("execute")

        back = await made.client.post(str(started.redirect_url), data={"choice": "pay"})
        query = dict(parse_qsl(urlsplit(back.headers["location"]).query))
        notice = made.gateway.notice("GET", query, {}, b"", clock.now(), 2)
        assert notice.ask
        assert notice.status is not None
        assert (notice.status.state, notice.status.provider_reference) == (State.PENDING, started.provider_reference)
        assert double.deals[started.provider_reference].status == "Initiated"

        for _ in range(3):
            after = await made.gateway.check(started.provider_reference, "PAY-0001", exponent=2)
            assert (after.state, after.amount_minor, after.currency) == (State.PAID, 150_050, "BDT")
            assert after.receipt == double.deals[started.provider_reference].trx_id
        assert len(double.asked("execute")) == 1
        assert len(double.asked("grant")) == 1


async def test_an_execution_whose_answer_was_lost_is_found_by_asking_again() -> None:
    async with bkash(patience=0.2) as (made, double):
        started = await made.gateway.start(made.intent())
        double.confirm(started.provider_reference)
        double.fail("execute", Fault.HANG, Fault.RESET_AFTER)
        for error in (TimedOut, BadReply):
            with pytest.raises(error) as caught:
                await made.gateway.check(started.provider_reference, "PAY-0001", exponent=2)
            assert caught.value.outcome_unknown
        paid = await made.gateway.check(started.provider_reference, "PAY-0001", exponent=2)
        assert paid.state is State.PAID
        assert len(double.asked("execute")) == 2


@pytest.mark.parametrize(
    ("choice", "told", "state"),
    [("cancel", State.CANCELLED, State.CANCELLED), ("fail", State.FAILED, State.PENDING)],
)
async def test_who_does_not_confirm_has_not_paid(choice: str, told: State, state: State) -> None:
    async with bkash() as (made, double):
        started = await made.gateway.start(made.intent())
        back = await made.client.post(str(started.redirect_url), data={"choice": choice})
        query = dict(parse_qsl(urlsplit(back.headers["location"]).query))
        notice = made.gateway.notice("GET", query, {}, b"", clock.now(), 2)
        assert notice.status is not None
        assert (notice.status.state, notice.ask) == (told, True)
        assert (await made.gateway.check(started.provider_reference, "PAY-0001", exponent=2)).state is state
        assert not double.asked("execute")


@pytest.mark.parametrize(("status", "state"), [("Expired", State.EXPIRED), ("Declined", State.FAILED)])
async def test_what_ended_is_told(status: str, state: State) -> None:
    async with bkash() as (made, double):
        started = await made.gateway.start(made.intent())
        double.end(started.provider_reference, status)
        assert (await made.gateway.check(started.provider_reference, "PAY-0001", exponent=2)).state is state


async def test_an_empty_wallet_fails_and_says_why() -> None:
    async with bkash() as (made, double):
        started = await made.gateway.start(made.intent())
        double.confirm(started.provider_reference, poor=True)
        status = await made.gateway.check(started.provider_reference, "PAY-0001", exponent=2)
        assert (status.state, status.reason, status.receipt) == (State.FAILED, "Insufficient Balance", None)


async def test_a_wrong_amount_is_told_and_another_reference_not_believed() -> None:
    async with bkash() as (made, double):
        started = await made.gateway.start(made.intent())
        double.confirm(started.provider_reference, "1")
        with pytest.raises(BadReply, match="another payment"):
            await made.gateway.check(started.provider_reference, "PAY-0002", exponent=2)
        assert not double.asked("execute")
        assert (await made.gateway.check(started.provider_reference, "PAY-0001", exponent=2)).amount_minor == 100
        with pytest.raises(Refused, match="Invalid Payment ID"):
            await made.gateway.check("TR-none", "PAY-0001", exponent=2)
        with pytest.raises(Unsupported):
            await made.gateway.check("", "PAY-0001", exponent=2)


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"paymentID": "TR1"},
        {"paymentID": "TR1", "status": "paid"},
        {"status": "success"},
        # Anyone can send these: they reach neither a log nor the database.
        *({"paymentID": payment, "status": "success"} for payment in ("", "TR\x001", "TR1\nforged", "é", "T" * 65)),
    ],
)
async def test_a_report_about_nothing_is_a_bad_reply(query: dict[str, str]) -> None:
    async with bkash() as (made, _):
        with pytest.raises(BadReply):
            made.gateway.notice("GET", query, {}, b"", clock.now(), 2)


# --- tokens


async def test_a_token_is_kept_renewed_and_replaced_when_it_is_refused() -> None:
    async with bkash() as (made, double):
        await made.gateway.start(made.intent(reference="A"))
        await open_gateway(made.opened, made.client).start(made.intent(reference="B"))
        assert len(double.asked("grant")) == 1
        double.revoke()
        await made.gateway.start(made.intent(reference="C"))
        assert len(double.asked("grant")) == 2
        # It is about to expire.
        key = tokens.key_of(made.opened)
        former = tokens.kept(key)
        assert former is not None
        tokens.keep(key, replace(former, until=clock.now()))
        await made.gateway.start(made.intent(reference="D"))
        assert (len(double.asked("grant")), len(double.asked("refresh"))) == (2, 1)
        # The renewal is not taken.
        double.renewals.clear()
        tokens.keep(key, replace(former, until=clock.now()))
        await made.gateway.start(made.intent(reference="E"))
        assert (len(double.asked("grant")), len(double.asked("refresh"))) == (3, 2)
        assert len(double.deals) == 5


async def test_no_account_uses_the_token_of_another() -> None:
    async with bkash() as (made, double), httpx.AsyncClient(trust_env=False, verify=UNVERIFIED) as client:
        await made.gateway.start(made.intent())
        for other in (
            replace(made.opened, id=uuid4()),
            replace(made.opened, tenant_id=uuid4()),
            replace(made.opened, settings={**made.opened.settings, "password": "another"}),
        ):
            assert tokens.kept(tokens.key_of(other)) is None
        # Credentials that were changed to wrong ones do not go on working.
        changed = replace(made.opened, settings={**made.opened.settings, "password": "another"})
        with pytest.raises(Refused):
            await open_gateway(changed, client).start(made.intent())
        assert len(double.deals) == 1


def test_only_so_many_tokens_are_kept() -> None:
    for number in range(1100):
        tokens.keep((str(number), b""), tokens.Token("t", clock.now()))
    assert tokens.kept(("99", b"")) is None
    assert tokens.kept(("1099", b"")) is not None
    for number in range(1100):
        tokens.drop((str(number), b""))


# --- giving back


async def test_money_goes_back_and_the_same_amount_not_twice() -> None:
    async with bkash() as (made, double):
        started = await made.gateway.start(made.intent())
        payment = started.provider_reference
        double.confirm(payment)
        receipt = (await made.gateway.check(payment, "PAY-0001", exponent=2)).receipt
        double.fail("refund", Fault.RESET_AFTER)
        with pytest.raises(BadReply) as unsure:
            await made.gateway.refund(payment, receipt, 50_000, "BDT", 2, key="r1")
        assert unsure.value.outcome_unknown
        with pytest.raises(Refused) as again:
            await made.gateway.refund(payment, receipt, 50_000, "BDT", 2, key="r1")
        assert again.value.kind is Refusal.ALREADY_EXISTS
        assert double.deals[payment].refunds[0]["refundTrxId"] in again.value.text
        found = await made.gateway.refund(payment, receipt, 50_000, "BDT", 2, key="r1", again=True)
        assert (found.done, found.refund_reference) == (True, double.deals[payment].refunds[0]["refundTrxId"])
        assert len(double.deals[payment].refunds) == 1
        done = await made.gateway.refund(payment, receipt, 25_020, "BDT", 2, key="r2", again=True)
        assert done.done
        assert [one["refundAmount"] for one in double.deals[payment].refunds] == ["500.00", "250.20"]
        # Another one of the same amount, where the first is known.
        more = await made.gateway.refund(
            payment, receipt, 25_020, "BDT", 2, key="r5", again=True, others=[done.refund_reference]
        )
        assert more.refund_reference != done.refund_reference
        assert (await made.gateway.refund_status(payment, receipt, more.refund_reference)).done
        with pytest.raises(Refused, match="not valid"):
            await made.gateway.refund(payment, receipt, 100_000, "BDT", 2, key="r3")
        for wrong in ((None, "BDT"), (receipt, "USD")):
            with pytest.raises(Refused):
                await made.gateway.refund(payment, wrong[0], 100, wrong[1], 2, key="r4")


# --- bad weather


@pytest.mark.parametrize(
    ("operation", "fault", "error", "unknown"),
    [
        ("create", Fault.HANG, TimedOut, True),
        ("create", Fault.ERROR_AFTER, BadReply, True),
        ("create", Fault.RESET_AFTER, BadReply, True),
        ("grant", Fault.HANG, TimedOut, False),
        ("grant", Fault.ERROR, BadReply, False),
    ],
)
async def test_what_can_go_wrong_while_starting(
    operation: str, fault: Fault, error: type[AdapterError], unknown: bool
) -> None:
    async with bkash(patience=0.2) as (made, double):
        double.fail(operation, fault)
        with pytest.raises(error) as caught:
            await made.gateway.start(made.intent())
        assert caught.value.outcome_unknown is unknown


async def test_no_error_tells_the_credentials() -> None:
    wrong = {"password": "a-wrong-password", "app_secret": "a-wrong-secret"}
    async with bkash(**wrong) as (made, _):
        with pytest.raises(Refused) as caught:
            await made.gateway.start(made.intent())
        assert caught.value.kind is Refusal.BAD_LOGIN
        told = "".join(traceback.format_exception(caught.value)) + repr(made.gateway) + repr(made.opened)
        assert not any(secret in told for secret in wrong.values())
        token = tokens.Token("the token", clock.now(), "the renewal")
        assert "the" not in repr(token)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"currency": "USD"}, "BDT alone, and not USD"),
        ({"amount_minor": 50}, "Invalid amount"),
        ({"amount_minor": 1_500_055, "exponent": 3}, "1500.055 can not be taken there: at most 2 decimals"),
    ],
)
async def test_what_bkash_does_not_take_is_refused(changes: dict[str, object], why: str) -> None:
    async with bkash() as (made, double):
        with pytest.raises(Refused, match=why):
            await made.gateway.start(made.intent(**changes))
        assert not double.deals

"""The adapter of SSLCommerz against its double, over HTTP. They publish no vectors: signatures are also made here."""

import hashlib
import logging
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote_plus

import httpx
import pytest

from ispgraph.adapters.errors import AdapterError, BadReply, Forged, Refusal, Refused, TimedOut
from ispgraph.adapters.payments.base import Notice, State
from ispgraph.adapters.payments.doubles import Fault
from ispgraph.adapters.payments.sslcommerz import SSLCommerz
from ispgraph.adapters.payments.sslcommerz_double import SSLCommerzDouble
from tests.paying.shop import UNVERIFIED, Shop, account, shop

STORE, PASSWORD = "shop001live", "shop001@ssl"
NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
LONG = "PAY-0123456789-0123456789-0123456789-012"


@asynccontextmanager
async def sslcommerz(patience: float = 5.0, password: str = PASSWORD) -> AsyncIterator[tuple[Shop, SSLCommerzDouble]]:
    double = SSLCommerzDouble(store_id=STORE, password=PASSWORD)
    async with shop(double, "sslcommerz", {"store_id": STORE, "store_passwd": password}, patience) as made:
        yield made, double


def signed(password: str = PASSWORD, cover: tuple[str, ...] = (), **fields: str) -> bytes:
    """A report as the vendor's documentation says it, apart from both adapter and double; `cover`: what is signed."""
    keys = cover or tuple(fields)
    chosen = [(key, fields[key]) for key in keys] + [("store_passwd", hashlib.md5(password.encode()).hexdigest())]
    text = "&".join(f"{key}={value}" for key, value in sorted(chosen))
    sent = fields | {"verify_key": ",".join(keys), "verify_sign": hashlib.md5(text.encode()).hexdigest()}
    return "&".join(f"{key}={quote_plus(value)}" for key, value in sent.items()).encode()


def read(body: bytes, exponent: int = 2) -> Notice:
    adapter = SSLCommerz(
        account("sslcommerz", {"store_id": STORE, "store_passwd": PASSWORD}), httpx.AsyncClient(verify=UNVERIFIED)
    )
    return adapter.notice("POST", {}, {}, body, NOW, exponent)


PAID = {
    "tran_id": "PAY-0001",
    "val_id": "v1",
    "amount": "1500.50",
    "currency": "BDT",
    "currency_type": "BDT",
    "currency_amount": "1500.50",
    "bank_tran_id": "b1",
    "status": "VALID",
    "store_id": STORE,
    "tran_date": "2026-05-01 17:59:00",
    "value_a": "PAY-0001",
}


@pytest.mark.parametrize("reference", ["PAY-0001", LONG])
async def test_a_payment_is_started_paid_reported_and_validated(reference: str) -> None:
    async with sslcommerz() as (made, double):
        started = await made.gateway.start(made.intent(reference=reference))
        form = double.asked("create")[0].form
        assert (form["total_amount"], form["currency"], form["value_a"]) == ("1500.50", "BDT", reference)
        assert len(form["tran_id"]) <= 30
        before = await made.gateway.check(started.provider_reference, reference, exponent=2)
        assert (before.state, before.amount_minor, before.receipt) == (State.PENDING, None, None)

        back = await made.client.post(str(started.redirect_url), data={"choice": "pay"})
        assert made.intent().return_url in back.text
        notice = made.read(made.heard[0])
        assert notice.ask
        assert notice.status is not None
        assert (notice.status.state, notice.status.reference) == (State.PAID, reference)
        assert (notice.status.amount_minor, notice.status.currency) == (150_050, "BDT")
        assert notice.at is not None
        for provider_reference in (started.provider_reference, ""):
            status = await made.gateway.check(provider_reference, reference, exponent=2)
            assert (status.state, status.amount_minor, status.currency) == (State.PAID, 150_050, "BDT")
            assert (status.reference, status.provider_reference) == (reference, provider_reference or None)
            assert status.receipt == notice.status.receipt is not None
        assert len(double.asked("validate")) == 2


async def test_another_currency_is_told_as_it_was_asked_for() -> None:
    async with sslcommerz() as (made, double):
        await made.gateway.start(made.intent(currency="USD", amount_minor=1234))
        await double.pay("PAY-0001")
        status = await made.gateway.check("", "PAY-0001", exponent=2)
        assert (status.amount_minor, status.currency) == (1234, "USD")
        told = made.read(made.heard[0]).status
        assert told is not None
        assert (told.amount_minor, told.currency) == (1234, "USD")


@pytest.mark.parametrize(
    ("choice", "state"), [("cancel", State.CANCELLED), ("fail", State.FAILED), ("", State.EXPIRED)]
)
async def test_what_comes_to_nothing_is_told(choice: str, state: State) -> None:
    async with sslcommerz() as (made, double):
        started = await made.gateway.start(made.intent())
        if choice:
            await made.client.post(str(started.redirect_url), data={"choice": choice})
        else:
            await double.end("PAY-0001", "EXPIRED")
        told = made.read(made.heard[0]).status
        assert told is not None
        assert (told.state, told.receipt) == (state, None)
        asked = await made.gateway.check(started.provider_reference, "PAY-0001", exponent=2)
        assert (asked.state, asked.receipt) == (state, None)


async def test_who_only_looked_may_still_pay() -> None:
    async with sslcommerz() as (made, double):
        await made.gateway.start(made.intent())
        await double.end("PAY-0001", "UNATTEMPTED")
        assert (await made.gateway.check("", "PAY-0001", exponent=2)).state is State.PENDING


async def test_a_wrong_amount_and_a_risk_are_told() -> None:
    async with sslcommerz() as (made, double):
        await made.gateway.start(made.intent())
        await double.pay("PAY-0001", "10.00", risky=True)
        status = await made.gateway.check("", "PAY-0001", exponent=2)
        assert (status.amount_minor, status.reason) == (1000, "Risk: Foreign card")


async def test_reports_come_again_of_another_amount_and_forged() -> None:
    async with sslcommerz() as (made, double):
        double.hold = True
        await made.gateway.start(made.intent())
        await double.pay("PAY-0001")
        report = double.reports[0]
        await double.send(report, times=3)
        assert len({made.read(heard).event_id for heard in made.heard}) == 1
        # Even a signed report of another amount is only a reason to ask.
        await double.send(report, amount="1.00")
        changed = made.read(made.heard[3])
        assert changed.ask
        assert changed.status is not None
        assert changed.status.amount_minor == 100
        assert (await made.gateway.check("", "PAY-0001", exponent=2)).amount_minor == 150_050
        await double.send(report, secret="another password")
        with pytest.raises(Forged):
            made.read(made.heard[4])


async def test_a_payment_that_is_not_validated_is_not_paid() -> None:
    async with sslcommerz() as (made, double):
        await made.gateway.start(made.intent())
        await double.pay("PAY-0001")
        sale = double.sales["PAY-0001"]
        sale.val_id, told = "", sale.val_id
        with pytest.raises(BadReply, match="another payment"):
            await made.gateway.check("", "PAY-0001", exponent=2)
        sale.val_id, sale.verdict = told, "FAILED"
        with pytest.raises(BadReply, match="does not validate"):
            await made.gateway.check("", "PAY-0001", exponent=2)
        sale.verdict = ""
        assert (await made.gateway.check("", "PAY-0001", exponent=2)).state is State.PAID


async def test_money_goes_back_once_per_key_and_no_more_than_was_paid() -> None:
    async with sslcommerz() as (made, double):
        await made.gateway.start(made.intent())
        await double.pay("PAY-0001")
        receipt = (await made.gateway.check("", "PAY-0001", exponent=2)).receipt
        double.fail("transactions", Fault.RESET_AFTER)
        with pytest.raises(BadReply) as unsure:
            await made.gateway.refund("", receipt, 50_000, "BDT", 2, key="0" * 36)
        assert unsure.value.outcome_unknown
        first = await made.gateway.refund("", receipt, 50_000, "BDT", 2, key="0" * 36)
        assert not first.done
        assert len(double.refunds) == 1
        for said, done, failed in (
            ("processing", False, None),
            ("refunded", True, None),
            ("cancelled", False, "The refund was cancelled at SSLCommerz"),
        ):
            double.refunding = said
            stands = await made.gateway.refund_status("", receipt, first.refund_reference)
            assert (stands.done, stands.failed) == (done, failed)
        with pytest.raises(Refused, match="greater than"):
            await made.gateway.refund("", receipt, 100_051, "BDT", 2, key="r2")
        with pytest.raises(Refused):
            await made.gateway.refund("", None, 1, "BDT", 2, key="r3")
        with pytest.raises(Refused, match="BDT alone"):
            await made.gateway.refund("", receipt, 100, "USD", 2, key="r4")


# --- bad weather


@pytest.mark.parametrize(
    ("fault", "error"), [(Fault.HANG, TimedOut), (Fault.ERROR_AFTER, BadReply), (Fault.RESET_AFTER, BadReply)]
)
async def test_what_can_go_wrong_while_starting_leaves_the_outcome_unknown(
    fault: Fault, error: type[AdapterError]
) -> None:
    async with sslcommerz(patience=0.2) as (made, double):
        double.fail("create", fault)
        with pytest.raises(error) as caught:
            await made.gateway.start(made.intent())
        assert caught.value.outcome_unknown
        # Started again it is another page for the same payment.
        assert (await made.gateway.start(made.intent())).redirect_url


async def test_a_question_that_fails_leaves_nothing_in_doubt() -> None:
    async with sslcommerz(patience=0.2) as (made, double):
        await made.gateway.start(made.intent())
        await double.pay("PAY-0001")
        double.fail("transactions", Fault.HANG, Fault.ERROR)
        double.fail("validate", Fault.RESET)
        for error in (TimedOut, BadReply, BadReply):
            with pytest.raises(error) as caught:
                await made.gateway.check("", "PAY-0001", exponent=2)
            assert not caught.value.outcome_unknown
        assert (await made.gateway.check("", "PAY-0001", exponent=2)).state is State.PAID


async def test_neither_an_error_nor_the_log_tells_the_password(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    wrong = "a password that is wrong"
    async with sslcommerz(password=wrong) as (made, _):
        errors = []
        for attempt in (made.gateway.start(made.intent()), made.gateway.check("", "PAY-0001", exponent=2)):
            with pytest.raises(Refused) as caught:
                await attempt
            assert caught.value.kind is Refusal.BAD_LOGIN
            errors.append("".join(traceback.format_exception(caught.value)))
        told = "".join(errors) + repr(made.gateway) + repr(made.opened) + caplog.text
        assert wrong not in told
        assert quote_plus(wrong) not in told


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"amount_minor": 999}, "10.00"),
        ({"currency": "JPY"}, "currency"),
        ({"amount_minor": 1_500_055, "exponent": 3}, "decimals"),
    ],
)
async def test_what_they_do_not_take_is_refused(changes: dict[str, object], why: str) -> None:
    async with sslcommerz() as (made, _):
        with pytest.raises(Refused, match=why):
            await made.gateway.start(made.intent(**changes))


# --- signatures


def test_a_signed_report_is_read() -> None:
    notice = read(signed(**PAID))
    assert notice.status is not None
    assert (notice.status.state, notice.status.reference, notice.status.receipt) == (State.PAID, "PAY-0001", "b1")
    assert notice.at == datetime(2026, 5, 1, 11, 59, tzinfo=UTC)


def test_amount_and_currency_are_of_the_same_pair() -> None:
    notice = read(signed(**{**PAID, "currency_type": "", "currency_amount": "12.34", "amount": "1480.80"}))
    assert notice.status is not None
    assert (notice.status.amount_minor, notice.status.currency) == (148_080, "BDT")


def test_one_byte_changed_is_forged() -> None:
    body = signed(**PAID)
    with pytest.raises(Forged):
        read(body.replace(b"1500.50", b"1500.51"))
    with pytest.raises(Forged):
        read(body.replace(b"PAY-0001", b"PAY-0002"))
    with pytest.raises(Forged):
        read(body[:-1] + (b"0" if body[-1:] != b"0" else b"1"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"tran_id=PAY-0001&status=VALID",
        b"tran_id=PAY-0001&status=VALID&verify_key=tran_id,status&verify_sign=",
        signed("another password", **PAID),
        # What is not under the signature can be added by anyone.
        signed(cover=("tran_id", "val_id"), **PAID),
        signed(cover=("status", "val_id"), **PAID),
        signed(**PAID) + b"&status=VALID",
        signed(**{**PAID, "store_id": "another"}),
    ],
)
def test_anything_else_is_forged(body: bytes) -> None:
    with pytest.raises(Forged):
        read(body)


def test_fields_outside_the_signature_are_not_read() -> None:
    covered = tuple(name for name in PAID if name != "bank_tran_id")
    body = signed(cover=covered, **PAID)
    assert dict(parse_qsl(body.decode()))["bank_tran_id"] == "b1"
    notice = read(body)
    assert notice.status is not None
    assert notice.status.receipt is None


@pytest.mark.parametrize("amount", ["", "-1.00", "1e3", "1500.505", "1,500.00", "NaN", "١٥٠٠"])
def test_an_amount_that_is_none_is_a_bad_reply(amount: str) -> None:
    with pytest.raises(BadReply):
        read(signed(**{**PAID, "currency_amount": amount, "amount": amount}))

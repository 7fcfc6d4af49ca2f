"""What all payment adapters share: how they are opened, and what can come of a request, over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from ispgraph.adapters.errors import AdapterError, BadReply, TimedOut, Unreachable
from ispgraph.adapters.payments import open_gateway, wire
from ispgraph.adapters.payments.base import Unsupported
from ispgraph.adapters.payments.doubles import serve
from ispgraph.adapters.payments.wire import Wire
from ispgraph.domain.payment_providers import BANK_TRANSFER, PAYMENT
from tests.paying.shop import UNVERIFIED, account

OFFERED = [provider for provider in PAYMENT if provider is not BANK_TRANSFER]
HOSTS = {
    "stripe": ("api.stripe.com", "api.stripe.com"),
    "sslcommerz": ("sandbox.sslcommerz.com", "securepay.sslcommerz.com"),
    "bkash": ("tokenized.sandbox.bka.sh", "tokenized.pay.bka.sh"),
    "mpesa": ("sandbox.safaricom.co.ke", "api.safaricom.co.ke"),
    "paystack": ("api.paystack.co", "api.paystack.co"),
}


@pytest.mark.parametrize("provider", OFFERED, ids=lambda provider: provider.slug)
@pytest.mark.parametrize("test_mode", [True, False])
async def test_an_account_opens_with_what_is_required_of_it_and_calls_its_provider(
    provider: object, test_mode: bool
) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        raise httpx.ConnectError("no network in this test")

    slug = provider.slug  # type: ignore[attr-defined]
    required = {one.name: f"x-{one.name}" for one in provider.settings if one.required}  # type: ignore[attr-defined]
    opened = replace(account(slug, required), test_mode=test_mode)
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        gateway = open_gateway(opened, client)
        with pytest.raises(Unreachable):
            await gateway.check("ws_CO_1:1500", "PAY-0001", exponent=2)
        kind, body = gateway.acknowledgement()
        assert kind
        assert body
    assert [(url.scheme, url.host) for url in asked] == [("https", HOSTS[slug][0 if test_mode else 1])]
    hidden = [f"x-{one.name}" for one in provider.settings if one.secret]  # type: ignore[attr-defined]
    assert hidden
    assert not any(secret in repr(gateway) + repr(opened) for secret in hidden)


async def test_nothing_is_started_for_a_bank_transfer() -> None:
    async with httpx.AsyncClient(verify=UNVERIFIED) as client:
        for provider in ("bank_transfer", "unheard-of"):
            with pytest.raises(Unsupported):
                open_gateway(account(provider, {}), client)


@asynccontextmanager
async def called(patience: float = 5.0) -> AsyncIterator[Wire]:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 2**16
            await asyncio.sleep(0)

    async def drip() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.05)

    async def answer(request: Request) -> Response:
        kind = request.path_params["kind"]
        if kind == "elsewhere":
            return RedirectResponse("/200")
        if kind in ("endless", "drip"):
            return StreamingResponse(endless() if kind == "endless" else drip())
        return Response("{}", status_code=int(kind))

    app = Starlette(routes=[Route("/{kind}", answer, methods=["GET", "POST"])])
    async with serve(app) as url, httpx.AsyncClient(timeout=patience, trust_env=False, verify=UNVERIFIED) as client:
        yield Wire(client, url, "The provider", ())


@pytest.mark.parametrize("effect", [True, False])
@pytest.mark.parametrize(
    ("kind", "error", "may_be_done"),
    [
        ("500", BadReply, True),
        ("503", BadReply, True),
        ("elsewhere", BadReply, True),
        ("endless", BadReply, True),
        ("429", Unreachable, False),
    ],
)
async def test_what_is_no_answer(kind: str, error: type[AdapterError], may_be_done: bool, effect: bool) -> None:
    async with called() as wired:
        with pytest.raises(error) as caught:
            await wired.ask("POST", f"/{kind}", effect=effect)
        assert caught.value.outcome_unknown is (effect and may_be_done)
        assert (await wired.ask("POST", "/402", effect=effect)).status == 402
        assert (await wired.ask("POST", "/500", effect=effect, answers=(500,))).status == 500


async def test_no_conversation_goes_on_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_SECONDS", 0.3)
    async with called() as wired:
        with pytest.raises(TimedOut) as caught:
            await wired.ask("POST", "/drip", effect=True)
        assert caught.value.outcome_unknown


async def test_a_client_that_raises_our_errors_is_understood() -> None:
    def lost(request: httpx.Request) -> httpx.Response:
        raise BadReply("lost", outcome_unknown=True)

    async with httpx.AsyncClient(transport=httpx.MockTransport(lost)) as client:
        for effect in (True, False):
            with pytest.raises(BadReply) as caught:
                await Wire(client, "https://provider.test", "The provider", ()).ask("GET", "/", effect=effect)
            assert caught.value.outcome_unknown is effect


def test_what_a_provider_says_is_told_on_one_line_without_our_secrets() -> None:
    made = Wire(httpx.AsyncClient(verify=UNVERIFIED), "https://provider.test", "It", ("sk_1", "sk_12", ""))
    assert made.clean("bad key\nsk_12 or sk_1\x00!") == "bad key … or … !"
    assert len(made.clean("x" * 1000)) == 300
    assert made.clean(None) == ""


def test_a_word_can_be_shown_and_stored() -> None:
    assert wire.text("pi_1") == "pi_1"
    for strange in (None, 1, "", "a\x00b", "a\nb", "\ud800", "x" * 256):
        assert wire.text(strange) is None

"""What the tests of payment adapters share: accounts, intents, and a shop that hears the providers' reports."""

import ssl
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ispgraph import clock
from ispgraph.adapters.payments import open_gateway
from ispgraph.adapters.payments.base import Intent, Notice, PaymentGateway
from ispgraph.adapters.payments.doubles import Double, serve
from ispgraph.domain.gateways import Opened
from ispgraph.domain.models import GatewayKind

# Nothing here is encrypted.
UNVERIFIED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

INTENT = Intent(
    reference="PAY-0001",
    amount_minor=150_050,
    currency="BDT",
    exponent=2,
    description="Invoice INV-2026-000001",
    customer_name="Test Payer",
    customer_email="payer@example.net",
    customer_mobile="+8801700000001",
    return_url="http://shop.test/return",
    cancel_url="http://shop.test/cancel",
    callback_url="http://shop.test/callback",
    expires_at=clock.now() + timedelta(hours=2),
)


def account(provider: str, settings: dict[str, str]) -> Opened:
    return Opened(uuid.uuid4(), uuid.uuid4(), GatewayKind.PAYMENT, provider, "The account", True, settings)


@dataclass(frozen=True)
class Heard:
    """One report as it came."""

    method: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass
class Shop:
    """An adapter and the double it talks to. Reports arrive over HTTP at `callback_url`."""

    gateway: PaymentGateway
    opened: Opened
    url: str
    """Of the double."""
    callback_url: str
    client: httpx.AsyncClient
    heard: list[Heard] = field(default_factory=list)

    def intent(self, **other: Any) -> Intent:
        home = self.callback_url.removesuffix("/callback")
        urls = {"return_url": f"{home}/return", "cancel_url": f"{home}/cancel", "callback_url": self.callback_url}
        return replace(INTENT, **(urls | other))

    def read(self, heard: Heard, *, late: float = 0.0, exponent: int = 2, **changes: Any) -> Notice:
        heard = replace(heard, **changes)
        now = clock.now() + timedelta(seconds=late)
        return self.gateway.notice(heard.method, heard.query, heard.headers, heard.body, now, exponent)


@asynccontextmanager
async def shop(double: Double, provider: str, settings: dict[str, str], patience: float = 5.0) -> AsyncIterator[Shop]:
    """`settings` without base_url."""
    heard: list[Heard] = []

    async def callback(request: Request) -> Response:
        body = await request.body()
        heard.append(Heard(request.method, dict(request.query_params), dict(request.headers), body))
        kind, answer = made.gateway.acknowledgement()
        return Response(answer, media_type=kind)

    async def returned(request: Request) -> Response:
        return Response(f"{request.method} {request.url.path}?{request.url.query} {(await request.body()).decode()}")

    routes = [
        Route("/callback", callback, methods=["GET", "POST"]),
        Route("/return", returned, methods=["GET", "POST"]),
        Route("/cancel", returned, methods=["GET", "POST"]),
    ]
    async with (
        serve(double.app) as url,
        serve(Starlette(routes=routes)) as home,
        httpx.AsyncClient(timeout=patience, trust_env=False, verify=UNVERIFIED) as client,
    ):
        opened = account(provider, {**settings, "base_url": url})
        made = Shop(open_gateway(opened, client), opened, url, f"{home}/callback", client, heard)
        yield made

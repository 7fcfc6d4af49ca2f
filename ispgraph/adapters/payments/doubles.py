"""What the doubles of the providers have in common: real servers that can be told to fail, and that keep a log.

A double speaks its provider's protocol from what the provider publishes, and shares no code with the adapter. Tests and
examples run one with `serve`, pay on its page with a browser or by its methods, and read what was asked of it.
"""

import asyncio
import enum
import html
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

Answer = Callable[[Request], Awaitable[Response]]


class Fault(enum.Enum):
    """What goes wrong with one request. AFTER: the work is done, and its answer is lost."""

    HANG = "HANG"
    ERROR = "ERROR"
    RESET = "RESET"
    HANG_AFTER = "HANG_AFTER"
    ERROR_AFTER = "ERROR_AFTER"
    RESET_AFTER = "RESET_AFTER"


# Reports go to addresses of this machine, in the clear; to load what the world trusts would take longer than all else.
_NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_BEFORE = (Fault.HANG, Fault.ERROR, Fault.RESET)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that came."""

    operation: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        """The body, if a form was sent."""
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


@dataclass(slots=True)
class Report:
    """What the provider tells the merchant; `said` is in its own form."""

    url: str
    said: dict[str, Any]
    about: str
    """The provider's id of the payment."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One report as it was sent, and the status it was answered with; 0: there was no answer."""

    report: Report
    body: bytes
    status: int
    answer: bytes = b""


@dataclass
class Double:
    """The part that every double has. Not safe to be shared between event loops."""

    log: list[Asked] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    """Everything that was or, on hold, would have been told."""
    deliveries: list[Delivery] = field(default_factory=list)
    hold: bool = False
    """True: nothing is told by itself; a test sends the reports in its own order."""
    times: int = 1
    """How often each report is sent by itself."""

    def __post_init__(self) -> None:
        self._faults: dict[str, deque[Fault]] = {}
        self.app = Starlette(routes=self.routes())

    def routes(self) -> list[Route]:
        """The provider's paths."""
        raise NotImplementedError

    def signed(self, report: Report, *, aged: float, secret: str | None) -> tuple[dict[str, str], bytes]:
        """Headers and body of a report, signed `aged` seconds ago; `secret`, if given, in place of the right one."""
        raise NotImplementedError

    def altered(self, report: Report, amount: str) -> Report:
        """The same report of another amount, in the provider's form."""
        raise NotImplementedError

    def fail(self, operation: str, *faults: Fault) -> None:
        """The next requests of an operation fail so, one after the other."""
        self._faults.setdefault(operation, deque()).extend(faults)

    def heal(self) -> None:
        """Nothing fails any more."""
        self._faults.clear()

    def asked(self, operation: str) -> list[Asked]:
        """What was asked so far."""
        return [request for request in self.log if request.operation == operation]

    def route(self, path: str, operation: str, answer: Answer, method: str = "POST") -> Route:
        """A path whose requests are logged, and can fail."""

        async def endpoint(request: Request) -> Response:
            body = await request.body()
            self.log.append(Asked(operation, dict(request.headers), dict(request.query_params), body))
            faults = self._faults.get(operation)
            fault = faults.popleft() if faults else None
            if fault in _BEFORE:
                return await _failed(request, fault)
            done = await answer(request)
            return done if fault is None else await _failed(request, fault)

        return Route(path, endpoint, methods=[method])

    async def tell(self, report: Report) -> None:
        """Keep a report, and send it unless they are on hold."""
        self.reports.append(report)
        if not self.hold:
            await self.send(report, times=self.times)

    async def send(
        self,
        report: Report,
        *,
        times: int = 1,
        amount: str | None = None,
        aged: float = 0.0,
        secret: str | None = None,
    ) -> list[Delivery]:
        """Send a report: of another amount (and signed so), signed `aged` seconds ago, or with another secret."""
        report = report if amount is None else self.altered(report, amount)
        headers, body = self.signed(report, aged=aged, secret=secret)
        sent = []
        async with httpx.AsyncClient(timeout=10, trust_env=False, verify=_NO_CERTIFICATES) as client:
            for _ in range(times):
                try:
                    response = await client.post(report.url, headers=headers, content=body)
                    sent.append(Delivery(report, body, response.status_code, response.content))
                except httpx.HTTPError:
                    sent.append(Delivery(report, body, 0))
        self.deliveries += sent
        return sent


async def _failed(request: Request, fault: Fault) -> Response:
    if fault in (Fault.HANG, Fault.HANG_AFTER):
        while (await request.receive())["type"] != "http.disconnect":
            pass
    elif fault in (Fault.RESET, Fault.RESET_AFTER):
        for connection in list(request.app.state.server.server_state.connections):
            if connection.client == tuple(request.scope["client"]):
                _cut(connection)
    return JSONResponse({"message": "Internal Server Error"}, status_code=500)


def _cut(connection: Any) -> None:
    if connection.transport is not None:
        connection.transport.abort()


async def form_of(request: Request) -> dict[str, str]:
    """What was sent as a form."""
    return dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))


def page(title: str, amount: str, action: str, choices: Mapping[str, str]) -> HTMLResponse:
    """The provider's page: an amount that can be changed, and a button for each choice."""
    buttons = "".join(
        f'<button name="choice" value="{html.escape(value)}">{html.escape(label)}</button>'
        for value, label in choices.items()
    )
    return HTMLResponse(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width">'
        f"<h1>{html.escape(title)}</h1><p>{html.escape(amount)}</p>"
        f'<form method="post" action="{html.escape(action)}">'
        f'<label>Amount <input name="amount" placeholder="{html.escape(amount)}"></label> {buttons}</form></html>'
    )


@asynccontextmanager
async def serve(app: ASGIApp, port: int = 0) -> AsyncIterator[str]:
    """Run an application on this machine, on a port or a free one. Gives its address, such as ``http://127.0.0.1:40001``."""
    config = uvicorn.Config(app, "127.0.0.1", port, log_config=None, access_log=False, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    if isinstance(app, Starlette):
        app.state.server = server
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        # At once, and not as politely as uvicorn would: who still waits for an answer of a double waits in vain.
        for listener in server.servers:
            listener.close()
        for connection in list(server.server_state.connections):
            _cut(connection)
        unfinished = set(server.server_state.tasks)
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)
        await asyncio.sleep(0)

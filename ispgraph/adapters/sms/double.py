"""What the doubles of providers on HTTP have in common: they are real servers on this machine, keep a log of what they
were asked, and fail when they are told to. Nothing here is meant for anything but demonstrations and tests.

Doubles share no code with the adapters: what both had from one place, neither would find wrong."""

import asyncio
import enum
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send


class Weather(enum.Enum):
    """How a double answers: as it should; with a status 500 and nothing done; not at all; and, once it has done what
    was asked, with a connection that breaks off, or not at all."""

    CALM = "CALM"
    BROKEN = "BROKEN"
    HANGS = "HANGS"
    RESET_AFTER = "RESET_AFTER"
    HANGS_AFTER = "HANGS_AFTER"


@dataclass(frozen=True, slots=True)
class Taken:
    """A message that a double has taken as its own."""

    to: str
    body: str
    sender: str
    id: str
    given: dict[str, Any]
    """All that was asked, as it was asked."""


@dataclass
class Double:
    """A provider. `taken` holds what it would send out; `asked` every request, also those that it refused."""

    weather: Weather = Weather.CALM
    taken: list[Taken] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    """Set when it stops: whoever hangs ends."""

    def take(self, to: str, body: str, sender: str, id: str, given: dict[str, Any]) -> Taken:
        """Have a message, and give it back."""
        self.taken.append(Taken(to, body, sender, id, given))
        return self.taken[-1]

    async def answer(self, request: Request) -> Response:
        """What the provider itself answers."""
        raise NotImplementedError

    def paths(self) -> dict[str, list[str]]:
        """Which paths it answers on, and to which methods."""
        raise NotImplementedError

    def app(self) -> Starlette:
        """The provider as an ASGI application."""

        def route(path: str, methods: list[str]) -> Route:
            async def endpoint(request: Request) -> Response:
                return await self._in_its_weather(request)

            return Route(path, endpoint, methods=methods)

        return Starlette(routes=[route(path, methods) for path, methods in self.paths().items()])

    async def _in_its_weather(self, request: Request) -> Response:
        self.asked.append(f"{request.method} {request.url.path}")
        if self.weather is Weather.BROKEN:
            return JSONResponse({"error": "internal"}, status_code=500)
        if self.weather is Weather.HANGS:
            await self.ended.wait()
        answer = await self.answer(request)
        if self.weather is Weather.HANGS_AFTER:
            await self.ended.wait()
        return _BreaksOff() if self.weather is Weather.RESET_AFTER else answer


class _BreaksOff(Response):
    """An answer whose connection is closed in the middle."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})
        # That the body is shorter than was said makes the server close the connection.
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def form_of(request: Request) -> dict[str, str]:
    """The form that was sent; of what was sent twice the last."""
    sent = parse_qs((await request.body()).decode(), keep_blank_values=True)
    return {name: values[-1] for name, values in sent.items()}


# GSM 03.38: all of printable ASCII but one, of which some take two places, and these.
_SEVEN_BIT = frozenset(map(chr, range(0x20, 0x7F))) - {"`"}
_SEVEN_BIT |= frozenset("\n\f\r¡£¤¥§¿ÄÅÆÇÉÑÖØÜßàäåæèéìñòöøùü€ΓΔΘΛΞΠΣΦΨΩ")


def in_seven_bits(text: str) -> bool:
    """Whether a text can be sent in the alphabet of which 160 fit into a message."""
    return _SEVEN_BIT.issuperset(text)


@asynccontextmanager
async def serve(double: Double) -> AsyncIterator[str]:
    """The double on a free port of 127.0.0.1: the beginning of its addresses, without a slash at the end."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        config = uvicorn.Config(double.app(), log_config=None, lifespan="off", access_log=False)
        server = _Quiet(config)
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            while not server.started:
                await asyncio.sleep(0.01)
                if task.done():
                    await task
            yield f"http://127.0.0.1:{port}"
        finally:
            double.ended.set()
            server.should_exit = True
            await task


class _Quiet(uvicorn.Server):
    """One that leaves the signals of the program to the program."""

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """None of them."""
        return nullcontext()

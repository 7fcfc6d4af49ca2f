"""What live readings are compared with: a bare WebSocket, stock Strawberry, and the product with its intervals off.

`python -m bench.live_servers raw|stock|ours PORT`: each prints `ready`. All listen to the same Redis topic, and are
served by the same uvicorn in the same way.
"""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum
from typing import Any

import orjson
import redis.asyncio
import strawberry
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from strawberry.asgi import GraphQL

from ispgraph import app
from ispgraph.api.server import Server
from ispgraph.resolvers import live
from ispgraph.settings import Settings

_NAMES = ("customerId", "at", "online", "downloadBps", "uploadBps", "downloadBytes", "uploadBytes", "source")


def _values(row: list[Any]) -> dict[str, Any]:
    """A row of the wire (`domain.live.readings`) as a client gets to see it."""
    figures = (str(figure) for figure in row[6:10])
    return dict(zip(_NAMES, (f"cus_{row[0]}", row[4], row[5], *figures, row[10]), strict=True))


async def _events() -> AsyncIterator[list[Any]]:
    client = redis.asyncio.from_url(os.environ["ISPGRAPH_REDIS_URL"])
    async with client.pubsub(ignore_subscribe_messages=True) as channel:
        await channel.subscribe(os.environ["BENCH_TOPIC"])
        async for message in channel.listen():
            yield orjson.loads(message["data"])


# -- a bare WebSocket: what cannot be done without


class _Raw:
    def __init__(self) -> None:
        self.everybody: set[WebSocket] = set()
        self.by_customer: dict[str, set[WebSocket]] = {}

    async def serve(self, socket: WebSocket) -> None:
        await socket.accept("graphql-transport-ws")
        await socket.receive_text()
        await socket.send_text('{"type":"connection_ack"}')
        asked = orjson.loads(await socket.receive_text())["payload"]
        customer = asked.get("variables", {}).get("id")
        group = self.everybody if customer is None else self.by_customer.setdefault(customer, set())
        group.add(socket)
        try:
            while True:
                await socket.receive_text()
        except WebSocketDisconnect:
            group.discard(socket)

    async def send(self) -> None:
        async for rows in _events():
            if self.everybody:
                text = _message("liveUsageAll", [_values(row) for row in rows])
                for socket in list(self.everybody):
                    await socket.send_text(text)
            for row in rows:
                for socket in list(self.by_customer.get(f"cus_{row[0]}", ())):
                    await socket.send_text(_message("liveUsage", _values(row)))


def _message(name: str, value: Any) -> str:
    return orjson.dumps({"id": "1", "type": "next", "payload": {"data": {name: value}}}).decode()


def raw() -> Starlette:
    """The application."""
    server = _Raw()
    return _with(server.send, WebSocketRoute("/graphql", server.serve))


# -- stock Strawberry: one Redis connection, a queue for each subscriber


@strawberry.enum
class Source(Enum):
    ROUTER = "ROUTER"
    ACCOUNTING = "ACCOUNTING"


@strawberry.type
class LiveUsage:
    customer_id: strawberry.ID
    at: str
    online: bool
    download_bps: str
    upload_bps: str
    download_bytes: str
    upload_bytes: str
    source: Source


_queues: dict[str | None, set[asyncio.Queue[Any]]] = {}


def _usage(row: list[Any]) -> LiveUsage:
    down, up, down_bytes, up_bytes = (str(figure) for figure in row[6:10])
    return LiveUsage(
        customer_id=strawberry.ID(f"cus_{row[0]}"),
        at=row[4],
        online=row[5],
        download_bps=down,
        upload_bps=up,
        download_bytes=down_bytes,
        upload_bytes=up_bytes,
        source=Source(row[10]),
    )


async def _spread() -> None:
    async for rows in _events():
        found = [_usage(row) for row in rows]
        for queue in _queues.get(None, ()):
            queue.put_nowait(found)
        for each in found:
            for queue in _queues.get(each.customer_id, ()):
                queue.put_nowait(each)


async def _watch(customer: str | None) -> AsyncGenerator[Any, None]:
    queue: asyncio.Queue[Any] = asyncio.Queue()
    _queues.setdefault(customer, set()).add(queue)
    try:
        while True:
            yield await queue.get()
    finally:
        _queues[customer].discard(queue)


@strawberry.type
class Query:
    nothing: int = 0


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def live_usage(
        self, customer_id: strawberry.ID, interval_seconds: int | None = 2
    ) -> AsyncGenerator[LiveUsage, None]:
        async for each in _watch(customer_id):
            yield each

    @strawberry.subscription
    async def live_usage_all(self, interval_seconds: int | None = 5) -> AsyncGenerator[list[LiveUsage], None]:
        async for each in _watch(None):
            yield each


def stock() -> Starlette:
    """The application."""
    view: Any = GraphQL(strawberry.Schema(query=Query, subscription=Subscription))
    return _with(_spread, WebSocketRoute("/graphql", view))


def _with(work: Any, route: WebSocketRoute) -> Starlette:
    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(work())
        yield
        task.cancel()

    made = Starlette(routes=[route], lifespan=lifespan)
    made.state.stopping = asyncio.Event()
    return made


# -- the product


def ours() -> Starlette:
    """The API as it is, but for the intervals: a viewer gets every reading, as with the others."""
    live._interval = lambda _seconds, _usual: 0
    return app.create_app(Settings.from_env())


if __name__ == "__main__":
    made = {"raw": raw, "stock": stock, "ours": ours}[sys.argv[1]]
    Server(made(), "127.0.0.1", int(sys.argv[2])).serve_program()

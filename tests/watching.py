"""Clients that watch: over a WebSocket (graphql-transport-ws), and over server-sent events."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import websockets
from websockets.exceptions import ConnectionClosed

USAGE = """subscription ($id: ID!, $every: Int) { liveUsage(customerId: $id, intervalSeconds: $every) {
  customerId at online downloadBps uploadBps downloadBytes uploadBytes source } }"""
USAGE_ALL = """subscription ($router: ID, $every: Int) { liveUsageAll(routerId: $router, intervalSeconds: $every) {
  customerId online downloadBps source } }"""


class Watcher:
    """One connection with any number of operations; what came is kept by the id of the operation."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.came: dict[str, list[tuple[float, dict[str, Any]]]] = {}
        self.ended: dict[str, dict[str, Any]] = {}
        self.close_code: int | None = None
        self._reading: asyncio.Task[None] | None = None

    async def begin(self, token: str) -> None:
        """Say who we are, and read from now on."""
        await self.send(type="connection_init", payload={"Authorization": f"Bearer {token}"})
        assert json.loads(await self.socket.recv())["type"] == "connection_ack"
        self._reading = asyncio.create_task(self._read())

    async def send(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def subscribe(self, name: str, document: str, **variables: Any) -> None:
        self.came[name] = []
        await self.send(id=name, type="subscribe", payload={"query": document, "variables": variables})

    def events(self, name: str = "1") -> list[dict[str, Any]]:
        """What came for an operation: the value of its root field."""
        assert all("data" in payload for _, payload in self.came[name]), self.came[name]
        return [next(iter(payload["data"].values())) for _, payload in self.came[name]]

    async def until(
        self, condition: Callable[[list[dict[str, Any]]], Any], name: str = "1", seconds: float = 15
    ) -> Any:
        """Wait until something is true of what came; what it is."""
        end = time.monotonic() + seconds
        while not (found := condition(self.events(name))):
            assert time.monotonic() < end, (self.came[name][-3:], self.ended, self.close_code)
            await asyncio.sleep(0.02)
        return found

    async def end(self, name: str = "1", seconds: float = 15) -> dict[str, Any]:
        """The `complete` or `error` of an operation."""
        async with asyncio.timeout(seconds):
            while name not in self.ended:
                await asyncio.sleep(0.02)
        return self.ended[name]

    async def closed(self, seconds: float = 15) -> int | None:
        """The code with which the server closed."""
        assert self._reading is not None
        await asyncio.wait_for(asyncio.shield(self._reading), seconds)
        return self.close_code

    async def leave(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        await self.socket.close()

    async def _read(self) -> None:
        try:
            while True:
                message = json.loads(await self.socket.recv())
                if message["type"] == "ping":
                    await self.send(type="pong")
                elif message["type"] == "next":
                    self.came[message["id"]].append((time.monotonic(), message["payload"]))
                else:
                    self.ended[message["id"]] = message
        except ConnectionClosed:
            self.close_code = self.socket.close_code


@asynccontextmanager
async def watcher(url: str, token: str, **options: Any) -> AsyncIterator[Watcher]:
    """Connected to the API at `url`."""
    async with websockets.connect(url, subprotocols=["graphql-transport-ws"], compression=None, **options) as socket:
        made = Watcher(socket)
        await made.begin(token)
        yield made
        await made.leave()


@asynccontextmanager
async def event_stream(url: str, token: str, document: str, **variables: Any) -> AsyncIterator[AsyncIterator[Any]]:
    """The values of the root field as they come by server-sent events."""
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
    body = {"query": document, "variables": variables}
    async with (
        httpx.AsyncClient(timeout=20, trust_env=False) as http,
        http.stream("POST", url.replace("ws://", "http://"), json=body, headers=headers) as answer,
    ):

        async def values() -> AsyncIterator[Any]:
            async for line in answer.aiter_lines():
                if line.startswith("data: {"):
                    yield json.loads(line.removeprefix("data: "))

        yield values()

"""A small balancer of TCP: each connection goes to a backend that says it is ready; if it cannot be had, to another."""

import asyncio
import contextlib
import itertools

import httpx

LOOK_SECONDS = 0.2


class Balancer:
    """Start with `async with Balancer() as balancer`, and add ports of APIs as they come."""

    def __init__(self) -> None:
        self.ready: set[int] = set()
        # One for each backend: that one takes long to answer keeps no requests going to another, which drains.
        self._looking: dict[int, asyncio.Task[None]] = {}
        self._turn = itertools.count()
        self._carried: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Balancer":
        self._http = httpx.AsyncClient(timeout=5)
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        tasks = [*self._looking.values(), *self._carried]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._http.aclose()

    def add(self, port: int) -> None:
        """Send requests there as soon as it is ready."""
        self._looking[port] = asyncio.create_task(self._look(port))

    def remove(self, port: int) -> None:
        """Send no more requests there; what is under way goes on."""
        if port in self._looking:
            self._looking.pop(port).cancel()
        self.ready.discard(port)

    async def has(self, port: int, *, ready: bool, seconds: float = 240) -> None:
        """Wait until a backend is, or is no longer, ready."""
        async with asyncio.timeout(seconds):
            while (port in self.ready) is not ready:
                await asyncio.sleep(0.02)

    async def _look(self, port: int) -> None:
        while True:
            try:
                well = (await self._http.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200
            except httpx.HTTPError:
                well = False
            (self.ready.add if well else self.ready.discard)(port)
            await asyncio.sleep(LOOK_SECONDS)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carried.add(task)
        try:
            await self._carry(reader, writer)
        finally:
            self._carried.discard(task)
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ports = sorted(self.ready)
        first = next(self._turn)
        for number in range(len(ports)):
            try:
                far = await asyncio.open_connection("127.0.0.1", ports[(first + number) % len(ports)])
            except OSError:
                continue
            try:
                await asyncio.gather(_pass(reader, far[1]), _pass(far[0], writer))
            finally:
                far[1].close()
            return


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    # One side has ended: what the other still says arrives, and then both are over.
    if not reader.at_eof():
        writer.close()

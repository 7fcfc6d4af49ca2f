"""The RouterOS API over TCP and TLS: who may connect."""

import asyncio
import socket
import ssl
from collections.abc import Coroutine
from typing import Any

from ispgraph.lab.connection import Connection, Router, reset


class ApiServer:
    """Listens for API clients of one router, on plain TCP and, with a context, on TLS."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._places: list[tuple[str, int, ssl.SSLContext | None]] = []
        self._servers: list[asyncio.Server] = []
        self._reserved: list[socket.socket] = []
        self._connections: dict[Connection, asyncio.Task[Any] | None] = {}
        self._changing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, address: str, port: int, context: ssl.SSLContext | None) -> int:
        """Raises OSError when the port is taken. Gives the real port."""
        server = await asyncio.start_server(self._accept, address, port, ssl=context, backlog=256)
        self._servers.append(server)
        real: int = server.sockets[0].getsockname()[1]
        self._places.append((address, real, context))
        return real

    def refuse(self, refusing: bool) -> None:
        """Refuse new connections, or take them again; the ports stay ours."""
        self._spawn(self._refuse(refusing))

    def drop(self) -> None:
        """Reset every connection."""
        for connection in list(self._connections):
            connection.abort()

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for held in self._reserved:
            held.close()
        self._servers, self._reserved, self._places = [], [], []
        running = [task for task in self._connections.values() if task is not None]
        self.drop()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, *self._tasks, return_exceptions=True)

    async def _refuse(self, refusing: bool) -> None:
        async with self._changing:
            if refusing and self._servers:
                for server in self._servers:
                    server.close()
                self._servers = []
                # A socket that is bound but does not listen refuses, and keeps the port from others.
                self._reserved = [_reserve(address, port) for address, port, _ in self._places]
            elif not refusing and self._reserved:
                for held in self._reserved:
                    held.close()
                self._reserved = []
                for address, port, context in self._places:
                    self._servers.append(
                        await asyncio.start_server(self._accept, address, port, ssl=context, backlog=256)
                    )

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        faults, counters = self._router.faults, self._router.counters
        most = self._router.max_connections()
        if faults.reset or (most is not None and len(self._connections) >= most):
            reset(writer)
            return
        connection = Connection(self._router, reader, writer)
        self._connections[connection] = asyncio.current_task()
        counters.connections = len(self._connections)
        counters.highest_connections = max(counters.highest_connections, counters.connections)
        try:
            if faults.hang:
                while await reader.read(65536):
                    continue
            else:
                await connection.serve()
        except asyncio.CancelledError:
            # The server is stopping; asyncio would report the end of this task as a failure.
            return
        except OSError:
            return
        finally:
            self._connections.pop(connection, None)
            counters.connections = len(self._connections)
            writer.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _reserve(address: str, port: int) -> socket.socket:
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind((address, port))
    return held

"""What the database announces when it commits, passed on to whoever listens."""

import asyncio
import logging
from collections.abc import Callable
from uuid import UUID

import asyncpg

from ispgraph import pubsub
from ispgraph.domain.live import changes

_AGAIN_SECONDS = 1.0
_PROBE_SECONDS = 5.0
_GATHER_SECONDS = 0.02

_log = logging.getLogger(__name__)

Notice = Callable[[UUID, list[str]], None]


class Announcements:
    """Listens on a connection of its own, which is made again whenever it is lost.

    `notice` is called with the tenant and the words of each announcement. Announcements that come while there is no
    connection are lost; whoever depends on them looks by itself as well.
    """

    def __init__(self, database_url: str, notice: Notice) -> None:
        self._url = database_url
        self._notice = notice
        self._pending: dict[tuple[str, str], None] = {}
        self._some = asyncio.Event()

    async def run(self) -> None:
        """For ever."""
        sending = asyncio.create_task(self._send())
        try:
            while True:
                try:
                    await self._listen()
                except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                    _log.warning("announcements are lost: the database: %s", type(error).__name__)
                await asyncio.sleep(_AGAIN_SECONDS)
        finally:
            sending.cancel()

    async def _listen(self) -> None:
        connection = await asyncpg.connect(self._url, timeout=5)
        try:
            await connection.add_listener(changes.CHANNEL, lambda *told: self._take(str(told[3])))
            while True:
                await asyncio.sleep(_PROBE_SECONDS)
                # A connection whose other end has vanished says nothing by itself.
                await connection.execute("select 1", timeout=_PROBE_SECONDS)
        finally:
            connection.terminate()

    def _take(self, text: str) -> None:
        kind, tenant, *rest = text.split(" ")
        tenant_id = UUID(tenant)
        words = [kind, *rest]
        self._notice(tenant_id, words)
        self._pending[changes.topic(tenant_id), " ".join(words)] = None
        self._some.set()

    async def _send(self) -> None:
        while True:
            await self._some.wait()
            await asyncio.sleep(_GATHER_SECONDS)
            self._some.clear()
            pending, self._pending = list(self._pending), {}
            await pubsub.send(pending)

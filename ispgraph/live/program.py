"""The program `ispgraph live`: reads the routers that are watched, and passes on what the database announces."""

import asyncio
import logging
import signal
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any
from uuid import UUID

import redis.asyncio
import uvloop
from redis.exceptions import RedisError

from ispgraph import cancelling, logs, metrics, pubsub, replica, revisions, traces, watching
from ispgraph.db import Database
from ispgraph.live import announcements
from ispgraph.live.directory import Directory
from ispgraph.live.leases import LEASE_MILLISECONDS, Leases
from ispgraph.live.poller import Poller
from ispgraph.settings import Settings
from ispgraph.watching import Watchers

_TICK_SECONDS = 0.5
# A tenant that nobody watches any more is kept in mind for so long, with the connections to its routers.
_LINGER_SECONDS = 15.0
_POOL = 8

_log = logging.getLogger(__name__)

_LONGEST_FAREWELL = 2.0
"""How long the program may take to leave its routers, in seconds, before it is told again to end."""

_Key = tuple[UUID, UUID | None]


def main(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT. Prints `ready`."""
    logs.configure("live", settings)
    revisions.require(settings.database_url)
    metrics.serve(settings)
    with traces.running("live", settings):
        uvloop.run(_until_told(settings))


async def _until_told(settings: Settings) -> None:
    loop = asyncio.get_running_loop()
    live = Live(settings)
    work = asyncio.create_task(live.run())
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    print("ready", flush=True)  # noqa: T201  the word that whoever started us waits for
    waiting = asyncio.create_task(told.wait())
    await asyncio.wait([work, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    await cancelling.until_done(work, _LONGEST_FAREWELL)
    await live.close()
    if not work.cancelled():
        work.result()


class Live:
    """Pollers for all that is watched and that no other program reads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._database = Database.of(settings, pool_size=_POOL)
        self._client = redis.asyncio.from_url(settings.redis_url, socket_connect_timeout=2, socket_timeout=2)
        self._watchers = Watchers(self._client)
        self._leases = Leases(self._client)
        self._directories: dict[UUID, tuple[Directory, asyncio.Task[None]]] = {}
        self._watched: dict[UUID, float] = {}
        self._pollers: dict[_Key, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """For ever."""
        pubsub.connect(self._settings.redis_url)
        replica.connect(self._settings)
        announcing = _start(announcements.pass_on(self._database))
        renewed = asyncio.get_running_loop().time()
        try:
            async with pubsub.listen(lambda *_: self._wake.set(), watching.TOPIC):
                while True:
                    try:
                        await self._look()
                        renewed = asyncio.get_running_loop().time()
                    except (RedisError, OSError) as error:
                        _log.warning("nobody can be served: Redis: %s", error)
                        if asyncio.get_running_loop().time() - renewed > LEASE_MILLISECONDS / 1000:
                            await self._keep_only(set())
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_TICK_SECONDS):
                            await self._wake.wait()
                    self._wake.clear()
        finally:
            announcing.cancel()
            await asyncio.wait([announcing])

    async def close(self) -> None:
        """Leave the routers to others, at once."""
        held = set(self._pollers)
        await self._keep_only(set())
        with suppress(RedisError, OSError):
            await self._leases.release(_name(key) for key in held)
        kept_up = [task for _, task in self._directories.values()]
        for task in kept_up:
            task.cancel()
        if kept_up:
            await asyncio.wait(kept_up)
        await replica.disconnect()
        pubsub.disconnect()
        await self._client.aclose()
        await self._database.dispose()

    async def _look(self) -> None:
        wanted = await self._watchers.read()
        now = asyncio.get_running_loop().time()
        for tenant_id, each in wanted.items():
            self._watched[tenant_id] = now
            if tenant_id not in self._directories:
                directory = Directory(tenant_id, self._database, self._wake.set)
                self._directories[tenant_id] = (directory, _start(directory.run()))
            self._directories[tenant_id][0].want(each)
        for tenant_id in self._directories.keys() - wanted.keys():
            self._directories[tenant_id][0].want(watching.Wanted())
            if now - self._watched[tenant_id] > _LINGER_SECONDS:
                self._directories.pop(tenant_id)[1].cancel()
        keys = {
            (tenant_id, router_id)
            for tenant_id, (directory, _) in self._directories.items()
            for router_id in directory.places
        }
        # Those that are not watched just now keep their connection for a while, if they are ours.
        keys |= {key for key, task in self._pollers.items() if key[0] in self._directories and not task.done()}
        held = await self._leases.hold(_name(key) for key in keys)
        await self._keep_only({key for key in keys if _name(key) in held})

    async def _keep_only(self, keys: set[_Key]) -> None:
        """Have pollers for these and no others."""
        over = {key for key, task in self._pollers.items() if task.done() or key not in keys}
        ended = [self._pollers.pop(key) for key in over]
        for task in ended:
            task.cancel()
        if ended:
            await asyncio.wait(ended)
        for task in ended:
            if not task.cancelled() and (error := task.exception()) is not None:
                _log.error("reading a router failed", exc_info=error)
        for key in keys:
            if key not in self._pollers:
                poller = Poller(self._directories[key[0]][0], key[1], self._database, self._settings)
                self._pollers[key] = _start(poller.run())


def _start(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.create_task(work)


def _name(key: _Key) -> str:
    return f"{key[0].hex}:{key[1].hex if key[1] else ''}"

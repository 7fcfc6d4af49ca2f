"""Reading from a replica of the database, where that tells nothing older than what was acknowledged.

Whoever commits on behalf of a tenant leaves in Redis, before anybody is told, how far the log of the primary was by
then. A reading for that tenant goes to the replica when that has replayed as much; otherwise to the primary. So within
a tenant everybody sees what anybody was told. What is written for no tenant at hand (accounting packets, what moves by
itself) shows as late as the replica is, and one that is later than settings allow is not asked at all.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar
from uuid import UUID

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import db, metrics
from ispgraph.db import Database
from ispgraph.settings import Settings

T = TypeVar("T")

# What is flushed when a commit has ended, for only that is sent to a replica; unless commits do not wait for it.
_WRITTEN = """select ((case when current_setting('synchronous_commit') = 'off' then pg_current_wal_insert_lsn()
                         else pg_current_wal_flush_lsn() end) - '0/0')::bigint::text"""
# Nothing of a server that was made a primary itself: its log has nothing to do with ours any more.
_REPLAYED = "select case when pg_is_in_recovery() then (pg_last_wal_replay_lsn() - '0/0')::bigint::text end"
_REDIS_SECONDS = 0.5
_LOOK_SECONDS = 0.25
_AGAIN_SECONDS = 0.5
# So long a replica that did not answer, or Redis, is left alone.
_REST_SECONDS = 2.0
# Longer than any replica is believed that is behind; and not for ever, for a log may begin anew after a restore.
_KEPT_SECONDS = 3600
_SAMPLES = 240
# Connections, room, shutting down and starting up: what one statement is not to blame for.
_AWAY = ("08", "53", "57P")
_FAILED = (SQLAlchemyError, OSError, TimeoutError)

# Marks of two writers may arrive in any order.
_RAISE = """local known = tonumber(redis.call('get', KEYS[1]) or '0')
redis.call('set', KEYS[1], math.max(known, tonumber(ARGV[1])), 'ex', ARGV[2])
return 1"""

_log = logging.getLogger(__name__)


class Replica:
    """What one program knows of the replica."""

    def __init__(self, settings: Settings, url: str) -> None:
        self._standby = Database.beside(settings, url)
        self._client = redis.asyncio.from_url(
            settings.redis_url,
            socket_timeout=_REDIS_SECONDS,
            socket_connect_timeout=_REDIS_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._latest = settings.replica_lag_seconds
        self._owed: dict[UUID, list[Database]] = {}
        self._paying: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._looked = self._current_at = float("-inf")
        self._rest_until = 0.0
        self._replayed = -1
        self._written: deque[tuple[float, int]] = deque(maxlen=_SAMPLES)

    async def note(self, database: Database, tenant_id: UUID) -> None:
        """Something of this tenant has been committed. Never fails: what cannot be said is said later."""
        if tenant_id not in self._owed:
            try:
                await self._raise(tenant_id, int(await _position(database, _WRITTEN)))
                return
            except (*_FAILED, RedisError) as error:
                _log.warning("reading goes to the primary: a write was not noted: %s", type(error).__name__)
        # A list of its own each time: what is owed anew while it is paid stays owed.
        self._owed[tenant_id] = [database]
        if self._paying is None or self._paying.done():
            self._paying = asyncio.create_task(self._pay())

    async def _raise(self, tenant_id: UUID, position: int) -> None:
        await self._client.eval(_RAISE, 1, _key(tenant_id), position, _KEPT_SECONDS)

    async def _pay(self) -> None:
        while self._owed:
            await asyncio.sleep(_AGAIN_SECONDS)
            for tenant_id, owed in list(self._owed.items()):
                try:
                    await self._raise(tenant_id, int(await _position(owed[0], _WRITTEN)))
                except (*_FAILED, RedisError):
                    break
                if self._owed[tenant_id] is owed:
                    del self._owed[tenant_id]

    async def read_texts(self, primary: Database, tenant_id: UUID, sql: str, arguments: Sequence[Any]) -> Any:
        """As of `Database`, from wherever it may be read."""
        return await self._read(primary, tenant_id, lambda database: database.read_texts(sql, arguments))

    async def look_up(self, primary: Database, tenant_id: UUID, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """What `work` finds in a session; it may be called twice."""

        async def find(database: Database) -> T:
            async with database.read(tenant_id) as session:
                return await work(session)

        return await self._read(primary, tenant_id, find)

    async def _read(self, primary: Database, tenant_id: UUID, find: Callable[[Database], Awaitable[T]]) -> T:
        outcome = await self._choose(primary, tenant_id)
        if outcome == "REPLICA":
            try:
                found = await find(self._standby)
            except _FAILED as error:
                # It is away, or what was read stood in the way of what it has to replay. Whatever else was wrong, the
                # primary says again.
                outcome = "FAILED"
                _log.warning("the replica did not answer: %s", type(error).__name__)
                state = db.sqlstate(error) if isinstance(error, DBAPIError) else None
                if state is None or state.startswith(_AWAY):
                    self._rest()
            else:
                metrics.REPLICA_READS.labels(outcome).inc()
                return found
        metrics.REPLICA_READS.labels(outcome).inc()
        return await find(primary)

    async def _choose(self, primary: Database, tenant_id: UUID) -> str:
        """REPLICA, or why not."""
        now = time.monotonic()
        if now < self._rest_until:
            return "AWAY"
        if tenant_id in self._owed:
            return "BEHIND"
        try:
            if now - self._looked > _LOOK_SECONDS:
                await self._look(primary)
            age = time.monotonic() - self._current_at
            metrics.REPLICA_LAG.set(age)
            if age > self._latest:
                return "BEHIND"
            mark = await self._client.get(_key(tenant_id))
            if mark is None:
                # Nothing was written for long, or Redis has lost what it knew.
                await self.note(primary, tenant_id)
                return "BEHIND"
            if int(mark) > self._replayed:
                await self._look(primary)
        except (*_FAILED, RedisError) as error:
            _log.warning("the replica is not asked: %s", type(error).__name__)
            self._rest()
            return "AWAY"
        return "REPLICA" if int(mark) <= self._replayed else "BEHIND"

    def _rest(self) -> None:
        self._rest_until = time.monotonic() + _REST_SECONDS
        self._current_at = float("-inf")
        self._written.clear()

    async def _look(self, primary: Database) -> None:
        """Find out how far both are; who asks while somebody does already waits for that answer."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._ask(primary))
        await asyncio.shield(self._looking)

    async def _ask(self, primary: Database) -> None:
        begun = time.monotonic()
        if begun - self._looked > _LOOK_SECONDS:
            self._written.append((begun, int(await _position(primary, _WRITTEN))))
            self._looked = begun
        self._replayed = int(await _position(self._standby, _REPLAYED))
        while self._written and self._written[0][1] <= self._replayed:
            self._current_at = self._written.popleft()[0]

    async def close(self) -> None:
        """Let go of all connections."""
        for task in (self._paying, self._looking):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        await self._standby.dispose()
        await self._client.aclose()


_replica: Replica | None = None


def connect(settings: Settings) -> None:
    """Where settings name a replica, let this program say what it writes, and read there. Nothing is opened yet."""
    global _replica
    if settings.replica_database_url is not None:
        _replica = Replica(settings, settings.replica_database_url)
        db.note_commits(_replica.note)


async def disconnect() -> None:
    """Undo `connect`."""
    global _replica
    if _replica is not None:
        db.note_commits(None)
        await _replica.close()
        _replica = None


async def read_texts(primary: Database, tenant_id: UUID, sql: str, arguments: Sequence[Any]) -> list[str | None]:
    """As of `Database`; from the replica where there is one that is as far as this tenant was told."""
    if _replica is None:
        return await primary.read_texts(sql, arguments)
    found: list[str | None] = await _replica.read_texts(primary, tenant_id, sql, arguments)
    return found


async def look_up(primary: Database, tenant_id: UUID, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
    """What `work` finds in a session that only reads, of the replica or of the primary. It may be called twice."""
    if _replica is not None:
        return await _replica.look_up(primary, tenant_id, work)
    async with primary.read(tenant_id) as session:
        return await work(session)


async def _position(database: Database, sql: str) -> str:
    found = (await database.read_texts(sql, []))[0]
    if found is None:
        raise ConnectionError("it is no replica any more")
    return found


def _key(tenant_id: UUID) -> str:
    return f"ispgraph:written:{tenant_id.hex}"

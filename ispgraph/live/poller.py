"""Reading one router, once per interval for all who watch anybody on it; and telling what the books know while it is
away, or cannot be asked."""

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError

from ispgraph import clock, metrics, pubsub, traces
from ispgraph.adapters import routeros
from ispgraph.adapters.errors import AdapterError
from ispgraph.db import Database
from ispgraph.domain import secrets
from ispgraph.domain.live import lines, readings
from ispgraph.domain.live.lines import Line
from ispgraph.domain.live.readings import LiveUsageSource, Reading, printed
from ispgraph.domain.models import ConnectionType, Router
from ispgraph.live import counters
from ispgraph.live.counters import Sample
from ispgraph.live.directory import Directory, Place
from ispgraph.settings import Settings

CHUNK = 500
# Two samples this far apart make the first rate; nobody waits for a long interval.
_FIRST_SECONDS = 1.0
# A router that takes longer to answer is waited for, while the books speak.
_PATIENCE_SECONDS = 2.0
_COMMAND_SECONDS = 10.0
_SHORTEST_BACKOFF, _LONGEST_BACKOFF = 1.0, 30.0
# The connection outlives the last watcher by so much.
_IDLE_SECONDS = 10.0
_LOOK_SECONDS = 0.25
# One of so many readings is traced: there is one each second of each router that is watched.
_TRACED = 60

_log = logging.getLogger(__name__)


class Poller:
    """Reads one router of one tenant; without a router, only the books."""

    def __init__(self, directory: Directory, router_id: UUID | None, database: Database, settings: Settings) -> None:
        self._directory = directory
        self._router_id = router_id
        self._database = database
        self._settings = settings
        self._connection = contextlib.AsyncExitStack()
        self._api: routeros.Router | None = None
        self._asking: asyncio.Task[Sample] | None = None
        self._before: Sample | None = None
        self._backoff = _SHORTEST_BACKOFF
        self._not_before = 0.0
        self._has_login = True
        self._read = 0

    async def run(self) -> None:
        """Read and publish until nobody has watched for a while."""
        loop = asyncio.get_running_loop()
        watched = loop.time()
        due = loop.time()
        try:
            while True:
                place = self._directory.places.get(self._router_id)
                if place is not None:
                    watched = loop.time()
                    traced = self._read % _TRACED == 0
                    self._read += 1
                    with traces.span("live reading", parent=traces.ROOT) if traced else contextlib.nullcontext():
                        soon = await self._turn(place)
                    due += _FIRST_SECONDS if soon else place.seconds
                    if due < loop.time():
                        # It took longer than it should: what was missed is not made up for.
                        due = loop.time() + place.seconds / 2
                else:
                    due = loop.time() + _LOOK_SECONDS
                    if due > watched + _IDLE_SECONDS:
                        return
                await self._until(due)
        finally:
            await self._drop()

    async def _until(self, due: float) -> None:
        """Sleep, but look every now and then whether somebody wants it sooner."""
        loop = asyncio.get_running_loop()
        slept = loop.time()
        while True:
            await asyncio.sleep(min(max(due - loop.time(), 0), _LOOK_SECONDS))
            place = self._directory.places.get(self._router_id)
            if loop.time() >= due - 0.001 or (place is not None and loop.time() >= slept + place.seconds):
                return

    async def _turn(self, place: Place) -> bool:
        """One reading; whether another should come soon, because this one could only begin to count."""
        current = list(place.lines.values())
        try:
            taken = await self._sample(current, min(place.seconds * 0.8, _PATIENCE_SECONDS))
        except (AdapterError, SQLAlchemyError, OSError) as error:
            why = type(error).__name__ if isinstance(error, SQLAlchemyError) else error
            _log.warning("router %s is not read: %s", self._router_id, why)
            await self._fail()
            metrics.READINGS.labels("FAILED").inc()
            taken = None
        if taken is None:
            await self._publish(await self._books(current))
            return False
        metrics.READINGS.labels("DONE").inc()
        before, self._before = self._before, taken
        self._backoff = _SHORTEST_BACKOFF
        found = [self._reading(line, taken, before) for line in current]
        await self._publish(each for each in found if each is not None)
        return before is None and None in found

    def _reading(self, line: Line, taken: Sample, before: Sample | None) -> Reading | None:
        if counters.unnamed(line, taken):
            return lines.told(line, clock.now(), self._directory.before(line))
        online = bool(counters.found(line, taken))
        passed = counters.speed(line, taken, before)
        if passed is None:
            return None
        if line.kind is ConnectionType.STATIC_IP:
            # It has no session: what passes is all there is to see.
            online = passed.up_bps + passed.down_bps > 0
        return Reading(
            customer_id=line.customer_id.hex,
            operator_id=line.operator_id.hex,
            router_id=line.router_id.hex if line.router_id else None,
            session_id=line.session_id.hex if line.session_id and online else None,
            at=printed(clock.now()),
            online=online,
            download_bps=passed.down_bps,
            upload_bps=passed.up_bps,
            download_bytes=passed.down_bytes,
            upload_bytes=passed.up_bytes,
            source=LiveUsageSource.ROUTER,
        )

    async def _sample(self, current: list[Line], patience: float) -> Sample | None:
        """The router's counters, if it answers in time; what comes later is used the next time. Raises AdapterError."""
        loop = asyncio.get_running_loop()
        if self._router_id is None or loop.time() < self._not_before:
            return None
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(current))
        done, _ = await asyncio.wait([self._asking], timeout=patience)
        if not done:
            return None
        asked, self._asking = self._asking, None
        try:
            return asked.result()
        except _NoLogin:
            self._not_before = loop.time() + _LONGEST_BACKOFF
            return None

    async def _ask(self, current: list[Line]) -> Sample:
        api = self._api or await self._connect()
        tables = {}
        for path, where, columns in counters.menus(current):
            tables[path] = await api.print(path, where=where, columns=columns)
        taken = counters.sample(asyncio.get_running_loop().time(), tables)
        if not any(line.session_id and not counters.found(line, taken) for line in current):
            return taken
        path, where, columns = counters.SESSIONS
        return counters.sample(taken.at, tables | {path: await api.print(path, where=where, columns=columns)})

    async def _connect(self) -> routeros.Router:
        async with self._database.read(self._directory.tenant_id) as session:
            row = await session.get(Router, self._router_id)
        address = self._address(row) if row is not None else None
        if address is None:
            raise _NoLogin
        opened = routeros.connect(address, command_deadline=_COMMAND_SECONDS)
        self._api = await self._connection.enter_async_context(opened)
        return self._api

    def _address(self, row: Router) -> routeros.Address | None:
        if row.api_username is None or row.api_password is None:
            return None
        bound_to = secrets.router_api(row.tenant_id, row.id)
        return routeros.Address(
            host=row.address,
            port=row.api_port,
            username=row.api_username,
            password=secrets.unseal(self._settings.network_key, row.api_password, bound_to),
            tls=row.api_tls,
            fingerprint=row.api_fingerprint,
        )

    async def _fail(self) -> None:
        await self._drop()
        self._not_before = asyncio.get_running_loop().time() + self._backoff
        self._backoff = min(self._backoff * 2, _LONGEST_BACKOFF)

    async def _drop(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])
            self._asking = None
        self._api = self._before = None
        await self._connection.aclose()

    async def _books(self, current: list[Line]) -> list[Reading]:
        try:
            found = await self._directory.reread([line.customer_id for line in current])
        except (SQLAlchemyError, OSError) as error:
            _log.warning("the books are not read: the database: %s", type(error).__name__)
            return []
        now = clock.now()
        return [lines.told(line, now, self._directory.before(line)) for line in found]

    async def _publish(self, found: Iterable[Reading]) -> None:
        all_found = list(found)
        where = readings.topic(self._directory.tenant_id)
        events = [
            (where, readings.encoded(all_found[place : place + CHUNK])) for place in range(0, len(all_found), CHUNK)
        ]
        if events:
            await pubsub.send(events)


class _NoLogin(Exception):
    """We were not told how to log in to the router."""

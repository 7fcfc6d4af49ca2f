"""Which lines are watched in one tenant, on which routers, and how often each router is to be read for it."""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError

from ispgraph import pubsub
from ispgraph.db import Database
from ispgraph.domain.live import changes, lines
from ispgraph.domain.live.lines import Line, Update
from ispgraph.watching import Wanted

# All lines are read again this often: an announcement may be lost, and it shows how accounting goes on.
REFRESH_SECONDS = 10.0
_GATHER_SECONDS = 0.15

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Place:
    """What is watched on one router; or on none, of those who have no router."""

    seconds: int
    lines: dict[UUID, Line] = field(default_factory=dict)


class Directory:
    """The watched lines of one tenant, kept up to date by `run`; `arranged` is called when other routers matter."""

    def __init__(self, tenant_id: UUID, database: Database, arranged: Callable[[], None]) -> None:
        self.tenant_id = tenant_id
        self.places: dict[UUID | None, Place] = {}
        self._database = database
        self._arranged = arranged
        self._wanted = Wanted()
        self._lines: dict[UUID, Line] = {}
        self._updates: dict[UUID, tuple[Update, Update | None]] = {}
        self._dirty: set[UUID] = set()
        self._everything = True
        self._changed = asyncio.Event()

    def want(self, wanted: Wanted) -> None:
        """From now on this is watched."""
        if wanted == self._wanted:
            return
        fresh = wanted.customers.keys() - self._lines.keys()
        self._everything = self._everything or wanted.routers.keys() != self._wanted.routers.keys()
        self._wanted = wanted
        self._dirty |= fresh
        self._arrange()
        self._changed.set()

    def notice(self, words: list[str]) -> None:
        """Something was announced in this tenant."""
        if words[0] == "router":
            return
        customer = words[1:] if words[0] == "customer" else words[2:]
        if not customer:
            self._everything = self._everything or words[0] == "customer"
        elif self._wanted.routers or UUID(customer[0]) in self._wanted.customers:
            self._dirty.add(UUID(customer[0]))
        self._changed.set()

    async def run(self) -> None:
        """Keep up, for ever."""
        async with pubsub.listen(lambda _topic, text: self.notice(text.split(" ")), changes.topic(self.tenant_id)):
            await self._keep_up()

    async def _keep_up(self) -> None:
        loop = asyncio.get_running_loop()
        due = 0.0
        while True:
            try:
                if self._everything or loop.time() >= due:
                    self._everything = False
                    self._dirty.clear()
                    due = loop.time() + REFRESH_SECONDS
                    await self._read_all()
                elif self._dirty:
                    some, self._dirty = self._dirty, set()
                    await self.reread(some)
                self._arrange()
            except (SQLAlchemyError, OSError) as error:
                _log.warning("who is on which router is not known: the database: %s", type(error).__name__)
                self._everything = True
                await asyncio.sleep(1)
            try:
                async with asyncio.timeout_at(max(due, loop.time() + 0.01)):
                    await self._changed.wait()
                await asyncio.sleep(_GATHER_SECONDS)
            except TimeoutError:
                pass
            self._changed.clear()

    async def reread(self, customers: Collection[UUID]) -> list[Line]:
        """The lines of these customers as they are now. Raises SQLAlchemyError, OSError."""
        async with self._database.read(self.tenant_id) as session:
            found = await lines.of_customers(session, customers)
        for customer_id in customers:
            self._lines.pop(customer_id, None)
        self._take(found)
        return found

    def before(self, line: Line) -> Update | None:
        """The accounting update before the last one of a line's session, if it was seen here."""
        known = self._updates.get(line.session_id) if line.session_id is not None else None
        return known[1] if known is not None and known[0] == line.update else None

    async def _read_all(self) -> None:
        wanted = self._wanted
        async with self._database.read(self.tenant_id) as session:
            found = await lines.of_customers(session, wanted.customers) if wanted.customers else []
            routers = [None] if None in wanted.routers else list(wanted.routers)
            for router_id in routers:
                found += await lines.of_router(session, router_id)
        self._lines = {}
        self._take(found)
        there = {line.session_id for line in found}
        self._updates = {key: known for key, known in self._updates.items() if key in there}

    def _take(self, found: Iterable[Line]) -> None:
        for line in found:
            self._lines[line.customer_id] = line
            if line.session_id is not None and line.update is not None:
                last, _ = self._updates.get(line.session_id, (None, None))
                if last is None or last.seconds < line.update.seconds:
                    self._updates[line.session_id] = (line.update, last)

    def _arrange(self) -> None:
        places: dict[UUID | None, Place] = {}
        everywhere = self._wanted.routers.get(None)
        for line in self._lines.values():
            of_all = self._wanted.routers.get(line.router_id) if line.router_id is not None else None
            asked = (self._wanted.customers.get(line.customer_id), of_all, everywhere)
            seconds = [each for each in asked if each is not None]
            if seconds:
                place = places.setdefault(line.router_id, Place(min(seconds)))
                place.seconds = min(place.seconds, *seconds)
                place.lines[line.customer_id] = line
        other = places.keys() != self.places.keys()
        self.places = places
        if other:
            self._arranged()

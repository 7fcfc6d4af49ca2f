"""Readings on their way to those who watch, in one process of the API: each is printed once for all who want it alike.

A watcher is a function that takes what is printed, at once. Whoever cannot take more is the business of its connection.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import redis.asyncio

from ispgraph import clock, pubsub
from ispgraph.db import Database
from ispgraph.domain.live import lines, readings
from ispgraph.domain.live.authority import Authority, Held, Subtrees
from ispgraph.domain.live.readings import Reading
from ispgraph.domain.permissions import Permission, Viewer
from ispgraph.watching import Register, Wanted

CHUNK = 500
"""So many readings are in one message at most."""
# A reading that comes a little early is taken, or every other one would be missed.
_EARLY = 0.9
# Readings this much older than the time between two are not shown as the first.
_STALE_SECONDS = 3.0

Take = Callable[[Any], None]
Print = Callable[[Any], Any]


@dataclass(slots=True)
class _Group:
    """Watchers who want the same, printed alike."""

    print: Print
    seconds: int
    takers: set[Take] = field(default_factory=set)
    due: float = 0.0
    buffer: dict[str, Reading] = field(default_factory=dict)
    flushing: asyncio.TimerHandle | None = None


@dataclass(frozen=True, slots=True)
class _Crowd:
    """Which customers a watcher of many is told of."""

    router_id: str | None
    scope_id: UUID | None


@dataclass(slots=True)
class _Tenant:
    id: UUID
    subtrees: Subtrees
    watches: int = 0
    customers: dict[str, dict[Any, _Group]] = field(default_factory=dict)
    crowds: dict[_Crowd, dict[Any, _Group]] = field(default_factory=dict)
    latest: dict[str, tuple[float, Reading]] = field(default_factory=dict)
    listening: Any = None


class Feed:
    """All watchers of one process."""

    def __init__(self, database: Database, client: "redis.asyncio.Redis") -> None:
        self.authority = Authority(database)
        self._database = database
        self._register = Register(client, self._wanted)
        self._tenants: dict[UUID, _Tenant] = {}
        self._changing = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()

    async def customer(
        self, by: Viewer, customer_id: UUID, seconds: int, key: Any, print_: Print, take: Take
    ) -> "Watch":
        """Hand over a customer's readings, at most one in so many seconds; the first before this returns.

        Those who give the same key, for which `print_` must do the same, share what it makes of a Reading.
        """
        watch = await self._watch(by, customer_id, take)
        try:
            take(print_(await self._first(by.tenant_id, watch.tenant, customer_id, seconds)))
        except BaseException:
            watch.close()
            raise
        watch.enter(watch.tenant.customers, customer_id.hex, (key, seconds), lambda: _Group(print_, seconds))
        return watch

    async def crowd(
        self, by: Viewer, router_id: UUID | None, seconds: int, key: Any, print_: Print, take: Take
    ) -> "Watch":
        """Hand over lists of readings of all whom a viewer may see, on one router or on any; else as `customer`."""
        watch = await self._watch(by, None, take)
        try:
            for some in _chunks(await self._all(by, watch.tenant, router_id)):
                take(print_(some))
        except BaseException:
            watch.close()
            raise
        which = _Crowd(router_id.hex if router_id else None, by.scope_id)
        watch.enter(watch.tenant.crowds, which, (key, seconds), lambda: _Group(print_, seconds))
        return watch

    async def close(self) -> None:
        """Tell the live programs that nobody is here any more."""
        await asyncio.gather(*self._leaving, return_exceptions=True)
        await self._register.close()

    def changed(self) -> None:
        """Somebody watches, or does not any more."""
        self._register.changed()

    def left(self, tenant: _Tenant) -> None:
        """One who watched a tenant does not any more."""
        tenant.watches -= 1
        if not tenant.watches:
            leaving = asyncio.create_task(self._leave(tenant))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)

    async def _watch(self, by: Viewer, customer_id: UUID | None, take: Take) -> "Watch":
        held = self.authority.hold(by, Permission.VIEW_CUSTOMERS, customer_id)
        try:
            return Watch(self, await self._tenant(by.tenant_id), held, take)
        except BaseException:
            held.close()
            raise

    async def _tenant(self, tenant_id: UUID) -> _Tenant:
        async with self._changing:
            tenant = self._tenants.get(tenant_id)
            if tenant is None:
                tenant = _Tenant(tenant_id, await self.authority.subtrees(tenant_id))
                tenant.listening = pubsub.listen(
                    lambda _topic, text: self._spread(tenant, readings.decoded(text)), readings.topic(tenant_id)
                )
                await tenant.listening.__aenter__()
                self._tenants[tenant_id] = tenant
            tenant.watches += 1
            return tenant

    async def _leave(self, tenant: _Tenant) -> None:
        async with self._changing:
            if not tenant.watches and self._tenants.get(tenant.id) is tenant:
                del self._tenants[tenant.id]
                await tenant.listening.__aexit__(None, None, None)

    def _wanted(self) -> dict[UUID, Wanted]:
        wanted: dict[UUID, Wanted] = {}
        for tenant_id, tenant in self._tenants.items():
            mine = Wanted(
                {
                    UUID(hex=key): min(each.seconds for each in groups.values())
                    for key, groups in tenant.customers.items()
                }
            )
            for which, groups in tenant.crowds.items():
                seconds = min(each.seconds for each in groups.values())
                router_id = UUID(hex=which.router_id) if which.router_id else None
                mine.routers[router_id] = min(seconds, mine.routers.get(router_id, seconds))
            if mine.customers or mine.routers:
                wanted[tenant_id] = mine
        return wanted

    async def _first(self, tenant_id: UUID, tenant: _Tenant, customer_id: UUID, seconds: int) -> Reading:
        known = tenant.latest.get(customer_id.hex)
        if known is not None and asyncio.get_running_loop().time() - known[0] < seconds + _STALE_SECONDS:
            return known[1]
        async with self._database.read(tenant_id) as session:
            return (await lines.standing(session, [customer_id], clock.now()))[0]

    async def _all(self, by: Viewer, tenant: _Tenant, router_id: UUID | None) -> list[Reading]:
        async with self._database.read(by.tenant_id) as session:
            found = await lines.of_router(session, router_id)
        now = clock.now()
        return [lines.told(each, now) for each in found if tenant.subtrees.holds(by.scope_id, each.operator_id)]

    def _spread(self, tenant: _Tenant, found: Iterable[Reading]) -> None:
        now = asyncio.get_running_loop().time()
        for each in found:
            groups = tenant.customers.get(each.customer_id)
            if groups is not None:
                tenant.latest[each.customer_id] = (now, each)
                for group in groups.values():
                    if now >= group.due:
                        group.due = now + group.seconds * _EARLY
                        _hand_over(group, each)
            for which, crowd in tenant.crowds.items():
                if which.router_id in (None, each.router_id) and (
                    which.scope_id is None or tenant.subtrees.holds(which.scope_id, UUID(hex=each.operator_id))
                ):
                    for group in crowd.values():
                        self._gather(group, each, now)

    def _gather(self, group: _Group, reading: Reading, now: float) -> None:
        group.buffer[reading.customer_id] = reading
        if group.flushing is None:
            # All that comes in one go is one message; what came before its time waits.
            group.flushing = asyncio.get_running_loop().call_at(max(now, group.due), _flush, group)


class Watch:
    """One watcher, until `close`. `ended` is done when the right to be told is over; nothing ends by it alone."""

    __slots__ = ("_feed", "_groups", "_held", "_key", "_open", "_place", "_take", "tenant")

    def __init__(self, feed: Feed, tenant: _Tenant, held: Held, take: Take) -> None:
        self.tenant = tenant
        self._feed = feed
        self._held = held
        self._take = take
        self._open = True
        self._groups: dict[Any, dict[Any, _Group]] | None = None
        self._place: Any = None
        self._key: Any = None

    @property
    def ended(self) -> "asyncio.Future[None]":
        """See above."""
        return self._held.ended

    def enter(self, groups: dict[Any, dict[Any, _Group]], place: Any, key: Any, make: Callable[[], _Group]) -> None:
        """Stand among those who watch the same."""
        self._groups, self._place, self._key = groups, place, key
        among = groups.setdefault(place, {})
        if key not in among:
            among[key] = make()
        among[key].takers.add(self._take)
        self._feed.changed()

    def close(self) -> None:
        """Hand over nothing any more."""
        if not self._open:
            return
        self._open = False
        self._held.close()
        if self._groups is not None:
            among = self._groups[self._place]
            group = among[self._key]
            group.takers.discard(self._take)
            if not group.takers:
                del among[self._key]
                if group.flushing is not None:
                    group.flushing.cancel()
            if not among:
                del self._groups[self._place]
                self.tenant.latest.pop(self._place, None)
            self._feed.changed()
        self._feed.left(self.tenant)


def _flush(group: _Group) -> None:
    group.flushing = None
    group.due = asyncio.get_running_loop().time() + group.seconds * _EARLY
    found, group.buffer = list(group.buffer.values()), {}
    for some in _chunks(found):
        _hand_over(group, some)


def _chunks(found: Sequence[Reading]) -> list[Sequence[Reading]]:
    return [found[place : place + CHUNK] for place in range(0, len(found), CHUNK)] or [[]]


def _hand_over(group: _Group, what: Any) -> None:
    printed = group.print(what)
    for take in tuple(group.takers):
        take(printed)

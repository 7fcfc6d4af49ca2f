"""Readings on their way to those who watch, in one process of the API: each is printed once for all who want it alike.

A watcher is a function that takes what is printed, at once. Whoever cannot take more is the business of its connection.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import redis.asyncio

from ispgraph import clock, pubsub
from ispgraph.db import Database
from ispgraph.domain.live import lines, readings
from ispgraph.domain.live.authority import Authority, Subtrees
from ispgraph.domain.live.readings import Reading
from ispgraph.domain.permissions import Viewer
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
    buffer: dict[UUID, Reading] = field(default_factory=dict)
    flushing: asyncio.TimerHandle | None = None


@dataclass(frozen=True, slots=True)
class _Crowd:
    """Which customers a watcher of many is told of."""

    router_id: UUID | None
    scope_id: UUID | None


@dataclass(slots=True)
class _Tenant:
    subtrees: Subtrees
    customers: dict[UUID, dict[Any, _Group]] = field(default_factory=dict)
    crowds: dict[_Crowd, dict[Any, _Group]] = field(default_factory=dict)
    latest: dict[UUID, tuple[float, Reading]] = field(default_factory=dict)
    listening: Any = None


class Feed:
    """All watchers of one process."""

    def __init__(self, database: Database, client: "redis.asyncio.Redis") -> None:
        self.authority = Authority(database)
        self._database = database
        self._register = Register(client)
        self._tenants: dict[UUID, _Tenant] = {}
        self._changing = asyncio.Lock()

    @asynccontextmanager
    async def customer(
        self, by: Viewer, customer_id: UUID, seconds: int, key: Any, print_: Print, take: Take
    ) -> AsyncIterator[None]:
        """Hand over a customer's readings, at most one in so many seconds, while the block runs; the first before it.

        Those who give the same key, for which `print_` must do the same, share what it makes of a Reading.
        """
        async with self._tenant(by.tenant_id) as tenant:
            take(print_(await self._first(by.tenant_id, tenant, customer_id, seconds)))
            groups = tenant.customers.setdefault(customer_id, {})
            group = groups.setdefault((key, seconds), _Group(print_, seconds))
            group.takers.add(take)
            self._want()
            try:
                yield
            finally:
                group.takers.discard(take)
                if not group.takers:
                    groups.pop((key, seconds), None)
                if not groups:
                    tenant.customers.pop(customer_id, None)
                    tenant.latest.pop(customer_id, None)
                self._want()

    @asynccontextmanager
    async def crowd(
        self, by: Viewer, router_id: UUID | None, seconds: int, key: Any, print_: Print, take: Take
    ) -> AsyncIterator[None]:
        """Hand over lists of readings of all whom a viewer may see, on one router or on any; else as `customer`."""
        async with self._tenant(by.tenant_id) as tenant:
            which = _Crowd(router_id, by.scope_id)
            for some in _chunks(await self._all(by, tenant, router_id)):
                take(print_(some))
            groups = tenant.crowds.setdefault(which, {})
            group = groups.setdefault((key, seconds), _Group(print_, seconds))
            group.takers.add(take)
            self._want()
            try:
                yield
            finally:
                group.takers.discard(take)
                if not group.takers:
                    groups.pop((key, seconds), None)
                    if group.flushing is not None:
                        group.flushing.cancel()
                if not groups:
                    tenant.crowds.pop(which, None)
                self._want()

    async def close(self) -> None:
        """Tell the live programs that nobody is here any more."""
        await self._register.close()

    @asynccontextmanager
    async def _tenant(self, tenant_id: UUID) -> AsyncIterator[_Tenant]:
        async with self._changing:
            tenant = self._tenants.get(tenant_id)
            if tenant is None:
                tenant = _Tenant(await self.authority.subtrees(tenant_id))
                tenant.listening = pubsub.listen(
                    lambda _topic, text: self._spread(tenant, readings.decoded(text)), readings.topic(tenant_id)
                )
                await tenant.listening.__aenter__()
                self._tenants[tenant_id] = tenant
        try:
            yield tenant
        finally:
            await asyncio.shield(self._leave(tenant_id, tenant))

    async def _leave(self, tenant_id: UUID, tenant: _Tenant) -> None:
        async with self._changing:
            if not tenant.customers and not tenant.crowds and self._tenants.get(tenant_id) is tenant:
                del self._tenants[tenant_id]
                await tenant.listening.__aexit__(None, None, None)

    def _want(self) -> None:
        wanted: dict[UUID, Wanted] = {}
        for tenant_id, tenant in self._tenants.items():
            mine = Wanted(
                {key: min(each.seconds for each in groups.values()) for key, groups in tenant.customers.items()}
            )
            for which, groups in tenant.crowds.items():
                seconds = min(each.seconds for each in groups.values())
                mine.routers[which.router_id] = min(seconds, mine.routers.get(which.router_id, seconds))
            if mine.customers or mine.routers:
                wanted[tenant_id] = mine
        self._register.want(wanted)

    async def _first(self, tenant_id: UUID, tenant: _Tenant, customer_id: UUID, seconds: int) -> Reading:
        known = tenant.latest.get(customer_id)
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
                if which.router_id in (None, each.router_id) and tenant.subtrees.holds(
                    which.scope_id, each.operator_id
                ):
                    for group in crowd.values():
                        self._gather(group, each, now)

    def _gather(self, group: _Group, reading: Reading, now: float) -> None:
        group.buffer[reading.customer_id] = reading
        if group.flushing is None:
            # All that comes in one go is one message; what came before its time waits.
            group.flushing = asyncio.get_running_loop().call_at(max(now, group.due), _flush, group)


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

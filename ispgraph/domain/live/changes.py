"""Following what changes: sessions that open and close, a customer, routers. Rows are read again at each change.

Triggers of the database announce changes, and the live programs pass them on once they have committed. An announcement
may be lost, so the rows are looked at now and then without one; it may tell nothing new, and then nobody is told.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID

from sqlalchemy import Select, literal_column, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import pubsub
from ispgraph.domain import customers, visibility
from ispgraph.domain.jobs import Read
from ispgraph.domain.live.authority import Held
from ispgraph.domain.models import Customer, CustomerBalance, OpenSession, Router, Service, Session
from ispgraph.domain.permissions import Viewer
from ispgraph.domain.sessions import opened

SWEEP_SECONDS = 10.0
_MOST = 500
_REMEMBERED = 5000
# Of these the listener is behind so far that it looks at everything instead.
_LONGEST = 10_000

Matches = Callable[[list[str]], str | None]
"""The part of an announcement that a follower wants to be told of, if any."""


def topic(tenant_id: UUID) -> str:
    """Where a tenant's changes are announced: `session ID [CUSTOMER]`, `customer [ID]` (none: many) or `router ID`."""
    return f"changes:{tenant_id.hex}"


class _Pending:
    """What was announced since one last asked."""

    def __init__(self, matches: Matches) -> None:
        self._matches = matches
        self._names: dict[str, None] = {}
        self._some = asyncio.Event()

    def receive(self, _topic: str, text: str) -> None:
        name = self._matches(text.split(" "))
        if name is not None and len(self._names) < _LONGEST:
            self._names[name] = None
            self._some.set()

    async def take(self, held: Held, seconds: float) -> list[str] | None:
        """Names, after at most so long, or when there are some; None when the right to be told has ended."""
        waiting: asyncio.Future[Any] = asyncio.ensure_future(self._some.wait())
        try:
            await asyncio.wait((waiting, held.ended), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                await waiting
        if held.ended.done():
            return None
        self._some.clear()
        names, self._names = list(self._names), {}
        return names


@asynccontextmanager
async def _announced(tenant_id: UUID, matches: Matches) -> AsyncIterator[_Pending]:
    pending = _Pending(matches)
    async with pubsub.listen(pending.receive, topic(tenant_id)):
        yield pending


async def sessions(read: Read, customer_id: UUID | None, held: Held) -> AsyncGenerator[Session, None]:
    """Sessions that open, close, or open again; of one customer, first those that are open. Ends with the right."""
    by = held.viewer
    seen: OrderedDict[UUID, Any] = OrderedDict()
    wanted = str(customer_id) if customer_id is not None else None

    def matches(words: list[str]) -> str | None:
        return words[1] if words[0] == "session" and wanted in (None, *words[2:]) else None

    async with _announced(by.tenant_id, matches) as pending:
        found = await _sessions(read, _open(by, customer_id))
        first = customer_id is not None
        while True:
            for row in found:
                fresh = seen.get(row.id) != row.state
                seen[row.id] = row.state
                if fresh and first:
                    yield row
            while len(seen) > max(_REMEMBERED, 2 * len(found)):
                seen.popitem(last=False)
            first = True
            names = await pending.take(held, SWEEP_SECONDS)
            if names is None:
                return
            if names:
                found = []
                for place in range(0, len(names), _MOST):
                    keys = [UUID(name) for name in names[place : place + _MOST]]
                    found += await _sessions(read, _visible(by).where(Session.id.in_(keys)))
            else:
                found = await _missed(read, by, customer_id, seen)


async def _missed(read: Read, by: Viewer, customer_id: UUID | None, seen: Any) -> list[Session]:
    """What opened without a word, and of those that were open what is now closed."""
    found = await _sessions(read, _open(by, customer_id))
    there = {row.id for row in found}
    closed = [key for key, state in seen.items() if state.value == "OPEN" and key not in there]
    return found + (await _sessions(read, _visible(by).where(Session.id.in_(closed))) if closed else [])


def _visible(by: Viewer) -> Select[Session]:
    return _of(by, select(Session))


def _of(by: Viewer, rows: Select[Session]) -> Select[Session]:
    return rows.where(visibility.condition(by, Session, Session)).order_by(Session.started_at, Session.id)


def _open(by: Viewer, customer_id: UUID | None) -> Select[Session]:
    return _of(by, opened() if customer_id is None else opened(OpenSession.customer_id == customer_id))


async def _sessions(read: Read, rows: Select[Session]) -> list[Session]:
    async with read() as session:
        return list(await session.scalars(rows))


async def customer(read: Read, customer_id: UUID, held: Held) -> AsyncGenerator[Customer, None]:
    """A customer as it is, and again whenever it, a service or the balance changes. Ends with the right."""
    by = held.viewer
    wanted = str(customer_id)

    def matches(words: list[str]) -> str | None:
        return wanted if words[0] == "customer" and words[2:] in ([], [wanted]) else None

    seen: object = None
    async with _announced(by.tenant_id, matches) as pending:
        while True:
            async with read() as session:
                row = await customers.find(session, customer_id, by=by)
                version = await _version(session, customer_id)
            if row is None:
                return
            if version != seen:
                seen = version
                yield row
            if await pending.take(held, SWEEP_SECONDS) is None:
                return


async def _version(session: AsyncSession, customer_id: UUID) -> object:
    """Something else after every change of what belongs to a customer."""
    written: Any = literal_column("xmin::text")
    row = (
        await session.execute(
            select(
                select(written).select_from(Customer).where(Customer.id == customer_id).scalar_subquery(),
                select(literal_column("string_agg(xmin::text || ' ' || id, ',' ORDER BY id)"))
                .select_from(Service)
                .where(Service.customer_id == customer_id)
                .scalar_subquery(),
                select(written)
                .select_from(CustomerBalance)
                .where(CustomerBalance.customer_id == customer_id)
                .scalar_subquery(),
            )
        )
    ).one()
    return tuple(row)


async def routers(read: Read, held: Held) -> AsyncGenerator[Router, None]:
    """Every router as it is, and again each whose status changes. Ends with the right."""
    by = held.viewer
    seen: dict[UUID, Any] = {}

    def matches(words: list[str]) -> str | None:
        return words[1] if words[0] == "router" else None

    async with _announced(by.tenant_id, matches) as pending:
        while True:
            for row in await _routers(read, by):
                if seen.get(row.id) != row.status:
                    seen[row.id] = row.status
                    yield row
            if await pending.take(held, SWEEP_SECONDS) is None:
                return


async def _routers(read: Read, by: Viewer) -> Collection[Router]:
    rows = select(Router).where(visibility.condition(by, Router, Router)).order_by(Router.name)
    async with read() as session:
        return list(await session.scalars(rows))

"""What one request carries through the graph."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar
from uuid import UUID

import strawberry
from redis.asyncio import Redis
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from strawberry.dataloader import DataLoader

from ispgraph import replica
from ispgraph.db import Base, Database
from ispgraph.domain.budgets import Budgets
from ispgraph.domain.live.feed import Feed
from ispgraph.domain.permissions import Permission, Viewer, Within
from ispgraph.schema.errors import ApiError
from ispgraph.settings import Settings

T = TypeVar("T")

# Of the root field at hand: fields of a query are carried out at the same time, each in a task of its own.
_WITHIN: ContextVar[Within | None] = ContextVar("within", default=None)


def forbidden(permission: Permission) -> ApiError:
    """The refusal of what needs a permission."""
    return ApiError("FORBIDDEN", f"This needs the permission {permission.value}.")


class _Shared(DataLoader[Any, Any]):
    """A loader that goes on when one of those who wait for a row is cancelled: others may wait for the same row.

    graphql-core cancels what stands beside a field that failed.
    """

    def load(self, key: Any) -> Awaitable[Any]:
        return asyncio.shield(super().load(key))


class Loaders:
    """Related rows, fetched once per request and many at a time; each batch reads in a short session of its own."""

    def __init__(self, read: Callable[[], Any]) -> None:
        self._read = read
        self._by_key: dict[tuple[Any, ...], DataLoader[Any, Any]] = {}

    async def one(self, model: type[Base], key: UUID | None) -> Any:
        """The row with this id, or None. Visibility beyond the tenant is the caller's business."""
        if key is None:
            return None
        loader = self.batched((model,), lambda session, keys: _by_id(session, model, keys))
        return await loader.load(key)

    def batched(self, name: tuple[Any, ...], load: Callable[[AsyncSession, list[Any]], Any]) -> DataLoader[Any, Any]:
        """A loader of this request by name; `load(session, keys)` answers values in the order of the keys."""

        async def batch(keys: list[Any]) -> Sequence[Any]:
            async with self._read() as session:
                values: Sequence[Any] = await load(session, keys)
            return values

        return self.loader(name, batch)

    def loader(self, name: tuple[Any, ...], load: Callable[[list[Any]], Any]) -> DataLoader[Any, Any]:
        """As `batched`, for a load that needs no session."""
        if name not in self._by_key:
            self._by_key[name] = _Shared(load_fn=load)
        return self._by_key[name]

    def forget(self) -> None:
        """Drop everything fetched: a mutation has changed rows."""
        self._by_key.clear()


class Carrier(Protocol):
    """Carries response maps of one operation, as JSON, past everything else."""

    def push(self, body: bytes) -> None:
        """Send a response map, or have it wait for a slow reader."""

    def keep(self, ended: "asyncio.Future[None]", release: Callable[[], None]) -> None:
        """Go on after the operation has been carried out, which then leaves nothing behind, until `ended` is done or
        the client has enough. `release` is called once, at the end or before."""


@dataclass
class Context:
    """One HTTP request or one operation on a WebSocket. `session` is set while a mutation's transaction is open."""

    database: Database
    redis: Redis
    settings: Settings
    viewer: Viewer | None = None
    address: str | None = None
    user_agent: str | None = None
    request: Any = None
    response: Any = None
    connection_params: Any = None
    current_session: AsyncSession | None = None
    feed: Feed | None = None
    carrier: Carrier | None = None
    """Set by connections that have one."""
    budgets: Budgets | None = None
    """What the operation is charged to, where it is charged."""
    cost: int = 0
    """Of the operation, once it was found fit."""
    loaders: Loaders = field(init=False)

    def __post_init__(self) -> None:
        self.loaders = Loaders(self.read)

    @property
    def session(self) -> AsyncSession:
        """The session of the root mutation field that is being carried out."""
        if self.current_session is None:
            raise RuntimeError("only a mutation has a session")
        return self.current_session

    def live_feed(self) -> Feed:
        """Where this process gets live readings from."""
        if self.feed is None:
            raise RuntimeError("this program has no live readings")
        return self.feed

    def viewer_or_refuse(self, permission: Permission | None = None) -> Viewer:
        """The signed-in viewer. Raises ApiError UNAUTHENTICATED, or FORBIDDEN without the permission."""
        if self.viewer is None:
            raise ApiError("UNAUTHENTICATED", "Sign in first.")
        if permission is not None and not self.viewer.may(permission):
            raise forbidden(permission)
        within = _WITHIN.get()
        return self.viewer if within is None else replace(self.viewer, within=within)

    def answers_again(self) -> None:
        """What the root field at hand asks for was done before, and permitted then: only its answer is given again."""
        within = _WITHIN.get()
        if within is not None:
            within.asked = True

    @contextmanager
    def permitted(self, permission: Permission | None) -> Iterator[Within | None]:
        """While a root field is carried out that needs the permission, or only somebody who is signed in.

        What comes out is there when the permission is held in some zones alone; the viewer has it as well then.
        Raises ApiError as `viewer_or_refuse`.
        """
        viewer = self.viewer_or_refuse()
        if permission is None or viewer.may(permission):
            yield None
            return
        zones = viewer.zones_of(permission)
        if not zones:
            raise forbidden(permission)
        within = Within(zones)
        token = _WITHIN.set(within)
        try:
            yield within
        finally:
            _WITHIN.reset(token)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A short session for reading: query fields run at the same time and must not share one."""
        async with self.database.read(self.viewer_or_refuse().tenant_id) as session:
            yield session

    async def look_up(self, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """What `work` finds, of a replica where there is one: for what is long and only asked for by queries. It may be
        called twice."""
        return await replica.look_up(self.database, self.viewer_or_refuse().tenant_id, work)


Info = strawberry.Info[Context, None]


async def _by_id(session: AsyncSession, model: Any, keys: list[UUID]) -> list[Any]:
    rows = {row.id: row for row in await session.scalars(select(model).where(model.id.in_(keys)))}
    return [rows.get(key) for key in keys]

"""A small schema for tests of the ground that every operation stands on, and what stands in for authentication."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import strawberry
from graphql import GraphQLError
from sqlalchemy.exc import InterfaceError
from strawberry.schema.config import StrawberryConfig

from ispgraph import clock
from ispgraph.schema.errors import ApiError, ApiSchema
from ispgraph.schema.limits import EXTENSIONS
from ispgraph.schema.scalars import SCALAR_MAP
from ispgraph.settings import Settings


class Kept:
    """A `carried` subscription that has been carried out, for tests in another thread than the server's."""

    def __init__(self, carrier: Any) -> None:
        self.loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self.loop.create_future()
        self.released = 0
        self._carrier = carrier

    def release(self) -> None:
        self.released += 1

    def push(self, *texts: str) -> None:
        """Push these in one go."""
        self.loop.call_soon_threadsafe(self.push_now, *texts)

    def push_now(self, *texts: str) -> None:
        for text in texts:
            self._carrier.push(f'{{"data":{{"carried":"{text}"}}}}'.encode())

    def end(self) -> None:
        self.loop.call_soon_threadsafe(self.ended.set_result, None)


kept: dict[str, Kept] = {}
late_began = threading.Event()
late_may_end = threading.Event()


@dataclass
class ToyViewer:
    """Has what the API needs of a viewer."""

    tenant_id: UUID = field(default_factory=uuid4)
    session_id: UUID = field(default_factory=uuid4)
    expires_at: datetime = field(default_factory=lambda: clock.now() + timedelta(hours=1))
    customer_id: UUID | None = None


@dataclass
class ToyContext:
    """Has what the API needs of a context."""

    settings: Settings
    viewer: ToyViewer | None = None


class ToyTokens:
    """Stands in for authentication: tokens of a dictionary; removing one revokes it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.viewers: dict[str, ToyViewer] = {"good": ToyViewer()}
        self.away = False
        self.refusals = 0
        self.asked = 0

    async def context(self, request: Any, connection_params: Any = None) -> ToyContext:
        """What `create_api` calls as its context factory."""
        self.asked += 1
        if self.away:
            self.refusals += 1
            raise ConnectionRefusedError("the database is away")
        given = (connection_params or {}).get("Authorization") or request.headers.get("authorization")
        if given is None:
            return ToyContext(self.settings)
        viewer = self.viewers.get(str(given).removeprefix("Bearer "))
        if viewer is None or viewer.expires_at <= clock.now():
            raise ApiError("UNAUTHENTICATED", "The token is not valid.")
        return ToyContext(self.settings, viewer)


def settings(**changes: Any) -> Settings:
    """Settings that name no server."""
    given = {"database_url": "postgresql://nowhere", "redis_url": "redis://nowhere", "introspection": "open", **changes}
    return Settings(token_key=bytes(32), network_key=bytes(32), **given)


@strawberry.type
class PageInfo:
    has_next_page: bool = False


@strawberry.type
class Invoice:
    a: int = 1
    b: int = 2
    c: int = 3
    d: int = 4
    e: int = 5

    @strawberry.field
    def customer(self) -> "Customer":
        return Customer()


@strawberry.type
class InvoiceConnection:
    page_info: PageInfo = strawberry.field(default_factory=PageInfo)
    nodes: list[Invoice] = strawberry.field(default_factory=list)


@strawberry.type
class Customer:
    id: strawberry.ID = strawberry.ID("1")
    name: str = "Rahima"
    services: list[Invoice] = strawberry.field(default_factory=list)

    @strawberry.field
    def friend(self) -> "Customer":
        return Customer()

    @strawberry.field
    def invoices(self, first: int | None = None, last: int | None = None) -> InvoiceConnection:
        return InvoiceConnection()


@strawberry.type
class CustomerConnection:
    page_info: PageInfo = strawberry.field(default_factory=PageInfo)
    nodes: list[Customer] = strawberry.field(default_factory=list)


@strawberry.input(one_of=True)
class CustomerBy:
    id: strawberry.ID | None = strawberry.UNSET
    name: str | None = strawberry.UNSET


@strawberry.type
class Query:
    @strawberry.field
    def hello(self) -> str:
        return "world"

    @strawberry.field
    def echo(self, text: str) -> str:
        return text

    @strawberry.field
    def whole(self, number: int) -> int:
        return number

    @strawberry.field
    def customer(self, by: CustomerBy | None = None) -> Customer:
        return Customer()

    @strawberry.field
    def customers(self, first: int | None = None, last: int | None = None) -> CustomerConnection:
        return CustomerConnection(nodes=[Customer()])

    @strawberry.field
    def recent(self, first: int = 10) -> list[Customer]:
        return []

    @strawberry.field
    def found(self, ids: list[strawberry.ID]) -> list[Customer]:
        return []

    @strawberry.field
    def broken(self) -> str | None:
        raise KeyError("the secret word")

    @strawberry.field
    def plain_error(self) -> str | None:
        raise GraphQLError("the secret word")

    @strawberry.field
    def refused(self) -> str | None:
        raise ApiError("FORBIDDEN", "Not for you.", permission="VIEW_CUSTOMERS")

    @strawberry.field
    def away(self) -> str | None:
        statement = " ".join(("SELECT", "the secret", "word"))
        raise InterfaceError(statement, {"parameter": statement}, Exception(statement))

    @strawberry.field
    async def late(self) -> str:
        late_began.set()
        await asyncio.to_thread(late_may_end.wait, 10)
        return "done"

    @strawberry.field
    async def slow(self) -> str:
        await asyncio.Event().wait()
        return "never"


@strawberry.type
class Mutation:
    @strawberry.mutation
    def sign_in(self, name: str = "x") -> str:
        return name

    @strawberry.mutation
    def rename(self, name: str) -> str:
        return name


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, to: int = 3) -> AsyncIterator[int]:
        for number in range(to):
            yield number

    @strawberry.subscription
    async def forever(self) -> AsyncIterator[int]:
        yield 0
        await asyncio.Event().wait()

    @strawberry.subscription
    async def flood(self) -> AsyncIterator[str]:
        while True:
            yield "x" * 60_000
            await asyncio.sleep(0)

    @strawberry.subscription
    async def pushed(self, info: strawberry.Info, count: int, size: int = 1) -> AsyncIterator[str]:
        for number in range(count):
            info.context.carrier.push(f'{{"data":{{"pushed":"{number:>{size}}"}}}}'.encode())
            await asyncio.sleep(0)
        await asyncio.Event().wait()
        yield "never"

    @strawberry.subscription
    async def carried(self, info: strawberry.Info, name: str) -> AsyncIterator[str]:
        made = kept[name] = Kept(info.context.carrier)
        made.push_now("first")
        info.context.carrier.keep(made.ended, made.release)
        for never in ():
            yield never

    @strawberry.subscription
    async def carried_and_over(self, info: strawberry.Info) -> AsyncIterator[str]:
        made = kept["over"] = Kept(info.context.carrier)
        made.push_now("first")
        info.context.carrier.keep(made.ended, made.release)
        made.ended.set_result(None)
        await asyncio.sleep(0.05)
        for never in ():
            yield never

    @strawberry.subscription
    async def fails(self) -> AsyncIterator[int]:
        yield 1
        raise KeyError("the secret word")


def build() -> ApiSchema:
    """The toy schema with the limits of the real one."""
    return ApiSchema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        extensions=EXTENSIONS,
        config=StrawberryConfig(scalar_map=SCALAR_MAP),
    )

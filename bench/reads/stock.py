"""The same two queries as a careful user of Strawberry serves them without the product: ORM rows, one DataLoader for
each relation and its arguments, batches that take the last few of each parent with LATERAL, and the parser and
validation caches on. Same tables, row-level security, authentication and HTTP server."""

import asyncio
import enum
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, NewType
from uuid import UUID
from zoneinfo import ZoneInfo

import redis.asyncio
import strawberry
from sqlalchemy import ARRAY, Select, Text, Uuid, bindparam, cast, column, func, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.dataloader import DataLoader
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.schema.config import StrawberryConfig

from ispgraph import clock, ids
from ispgraph.api.server import Server
from ispgraph.db import Database
from ispgraph.domain import models
from ispgraph.domain.permissions import Viewer
from ispgraph.resolvers.context import ContextFactory
from ispgraph.settings import Settings

BigInt = NewType("BigInt", int)
CustomerStatus = strawberry.enum(models.CustomerStatus)
InvoiceStatus = strawberry.enum(models.InvoiceStatus)
PaymentMethod = strawberry.enum(models.PaymentMethod)
Load = Callable[..., Awaitable[dict[Any, Any]]]


@strawberry.enum
class UsageGranularity(enum.Enum):
    DAY = "DAY"


@dataclass
class Context:
    """One request: who asks, and its loaders."""

    database: Database
    viewer: Viewer
    loaders: dict[tuple[Any, ...], DataLoader[Any, Any]] = field(default_factory=dict)

    async def load(self, rows: Load, key: UUID, *arguments: Any) -> Any:
        """What `rows(session, keys, *arguments)` finds for a key, batched with the others of this request."""
        name = (rows, *arguments)
        if name not in self.loaders:

            async def batch(keys: list[Any]) -> Sequence[Any]:
                async with self.database.read(self.viewer.tenant_id) as session:
                    found = await rows(session, keys, *arguments)
                return [found.get(key) for key in keys]

            self.loaders[name] = DataLoader(load_fn=batch)
        return await self.loaders[name].load(key)


Info = strawberry.Info[Context, None]


def _grouped(rows: Iterable[Any], name: str) -> dict[Any, list[Any]]:
    groups: dict[Any, list[Any]] = defaultdict(list)
    for row in rows:
        groups[getattr(row, name)].append(row)
    return groups


def _last_of_each(model: Any, keys: list[UUID], count: int, *order: str) -> Select[Any]:
    """The last `count` rows of each customer, by an index scan for each."""
    wanted = (
        func.unnest(cast(bindparam("keys", keys), ARRAY(Uuid)))
        .table_valued(column("id", Uuid), name="wanted")
        .render_derived()
    )
    rows = (
        select(model)
        .where(model.customer_id == wanted.c.id)
        .order_by(*(getattr(model, name).desc() for name in order))
        .limit(count)
        .lateral("last_rows")
    )
    return select(aliased(model, rows)).select_from(wanted.join(rows, true()))


async def _packages(session: AsyncSession, keys: list[UUID]) -> dict[UUID, models.Package]:
    return {row.id: row for row in await session.scalars(select(models.Package).where(models.Package.id.in_(keys)))}


async def _services(session: AsyncSession, keys: list[UUID]) -> dict[UUID, models.Service]:
    rows = select(models.Service).where(models.Service.customer_id.in_(keys), models.Service.is_primary)
    return {row.customer_id: row for row in await session.scalars(rows)}


async def _balances(session: AsyncSession, keys: list[UUID]) -> dict[UUID, models.CustomerBalance]:
    rows = select(models.CustomerBalance).where(models.CustomerBalance.customer_id.in_(keys))
    return {row.customer_id: row for row in await session.scalars(rows)}


async def _invoices(session: AsyncSession, keys: list[UUID], count: int) -> dict[UUID, list[models.Invoice]]:
    return _grouped(await session.scalars(_last_of_each(models.Invoice, keys, count, "id")), "customer_id")


async def _sessions(session: AsyncSession, keys: list[UUID], count: int) -> dict[UUID, list[models.Session]]:
    rows = _last_of_each(models.Session, keys, count, "started_at", "id")
    return _grouped(await session.scalars(rows), "customer_id")


async def _payments(session: AsyncSession, keys: list[UUID]) -> dict[UUID, list[models.Payment]]:
    rows = (
        select(models.Allocation.invoice_id, models.Payment)
        .join(models.Payment, models.Payment.id == models.Allocation.payment_id)
        .where(models.Allocation.invoice_id.in_(keys))
        .order_by(models.Payment.id)
    )
    found: dict[UUID, list[models.Payment]] = defaultdict(list)
    for invoice_id, payment in await session.execute(rows):
        found[invoice_id].append(payment)
    return found


async def _days(session: AsyncSession, keys: list[UUID], since: date, to: date) -> dict[UUID, list[models.UsageDay]]:
    day = models.UsageDay
    rows = select(day).where(day.customer_id.in_(keys), day.day >= since, day.day < to).order_by(day.day)
    return _grouped(await session.scalars(rows), "customer_id")


@strawberry.type
class Money:
    amount: Decimal


def _money(minor: int) -> Money:
    return Money(amount=Decimal(minor).scaleb(-2))


@strawberry.type
class Package:
    name: str


@strawberry.type
class Service:
    package_id: strawberry.Private[UUID]

    @strawberry.field
    async def package(self, info: Info) -> Package:
        return Package(name=(await info.context.load(_packages, self.package_id)).name)


@strawberry.type
class Payment:
    number: str
    method: PaymentMethod
    amount: Money


@strawberry.type
class Invoice:
    key: strawberry.Private[UUID]
    number: str | None
    status: InvoiceStatus
    total: Money

    @strawberry.field
    async def payments(self, info: Info) -> list[Payment]:
        rows = await info.context.load(_payments, self.key) or []
        return [Payment(number=row.number, method=row.method, amount=_money(row.amount_minor)) for row in rows]


@strawberry.type
class Session:
    started_at: datetime
    stopped_at: datetime | None
    download_bytes: BigInt
    upload_bytes: BigInt
    terminate_cause: str | None


@strawberry.type
class UsagePoint:
    start: datetime
    download_bytes: BigInt
    upload_bytes: BigInt


@strawberry.type
class Usage:
    points: list[UsagePoint]

    @strawberry.field
    def total_bytes(self) -> BigInt:
        return BigInt(sum(point.download_bytes + point.upload_bytes for point in self.points))


@strawberry.type
class InvoiceConnection:
    nodes: list[Invoice]


@strawberry.type
class SessionConnection:
    nodes: list[Session]


@strawberry.type
class Customer:
    key: strawberry.Private[UUID]
    name: str
    status: CustomerStatus

    @strawberry.field
    def id(self) -> strawberry.ID:
        return strawberry.ID(ids.encode("cus", self.key))

    @strawberry.field
    async def service(self, info: Info) -> Service | None:
        row = await info.context.load(_services, self.key)
        return Service(package_id=row.package_id) if row else None

    @strawberry.field
    async def balance(self, info: Info) -> Money:
        return _money((await info.context.load(_balances, self.key)).balance_minor)

    @strawberry.field
    async def invoices(self, info: Info, first: int = 20) -> InvoiceConnection:
        rows = await info.context.load(_invoices, self.key, first) or []
        return InvoiceConnection(
            nodes=[
                Invoice(key=row.id, number=row.number, status=row.status, total=_money(row.total_minor)) for row in rows
            ]
        )

    @strawberry.field
    async def sessions(self, info: Info, first: int = 20) -> SessionConnection:
        rows = await info.context.load(_sessions, self.key, first) or []
        return SessionConnection(
            nodes=[
                Session(
                    started_at=row.started_at,
                    stopped_at=row.stopped_at,
                    download_bytes=BigInt(row.output_octets),
                    upload_bytes=BigInt(row.input_octets),
                    terminate_cause=row.terminate_cause,
                )
                for row in rows
            ]
        )

    @strawberry.field
    async def usage(
        self,
        info: Info,
        since: Annotated[datetime | None, strawberry.argument(name="from")] = None,
        to: datetime | None = None,
        granularity: UsageGranularity = UsageGranularity.DAY,
    ) -> Usage:
        zone = ZoneInfo(info.context.viewer.time_zone)
        today = clock.now().astimezone(zone).date()
        first = since.astimezone(zone).date() if since else today.replace(day=1)
        after = to.astimezone(zone).date() if to else today + timedelta(days=1)
        rows = await info.context.load(_days, self.key, first, after) or []
        return Usage(
            points=[
                UsagePoint(
                    start=datetime.combine(row.day, time(), zone).astimezone(ZoneInfo("UTC")),
                    download_bytes=BigInt(row.output_octets),
                    upload_bytes=BigInt(row.input_octets),
                )
                for row in rows
            ]
        )


@strawberry.type
class CustomerConnection:
    nodes: list[Customer]


@strawberry.input
class CustomerWhere:
    status: list[CustomerStatus] | None = None


@strawberry.input
class CustomerBy:
    id: strawberry.ID


def _customer(row: models.Customer) -> Customer:
    return Customer(key=row.id, name=row.name, status=row.status)


@strawberry.type
class Query:
    @strawberry.field
    async def customers(
        self,
        info: Info,
        where: CustomerWhere | None = None,
        search: str | None = None,
        first: int = 20,
        after: str | None = None,
    ) -> CustomerConnection:
        rows = select(models.Customer).order_by(models.Customer.id.desc()).limit(first)
        if where is not None and where.status is not None:
            rows = rows.where(models.Customer.status.in_(where.status))
        if search is not None:
            forms = cast([search, None, None, None, None, None], ARRAY(Text))
            found = select(func.customer_matches(forms, type_=Uuid()).label("key")).subquery()
            keys = select(found.c.key).order_by(found.c.key.desc()).subquery()
            rows = rows.join(keys, keys.c.key == models.Customer.id).order_by(None).order_by(keys.c.key.desc())
        if after is not None:
            rows = rows.where(models.Customer.id < ids.decode("cus", after))
        async with info.context.database.read(info.context.viewer.tenant_id) as session:
            return CustomerConnection(nodes=[_customer(row) for row in await session.scalars(rows)])

    @strawberry.field
    async def customer(self, info: Info, by: CustomerBy) -> Customer | None:
        async with info.context.database.read(info.context.viewer.tenant_id) as session:
            row = await session.get(models.Customer, ids.decode("cus", by.id))
        return _customer(row) if row else None


class _Endpoint(GraphQL[Context, None]):
    def __init__(self, schema: strawberry.Schema, database: Database, identify: ContextFactory) -> None:
        super().__init__(schema, graphql_ide=None)
        self._database = database
        self._identify = identify

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> Context:
        viewer = (await self._identify(request, None)).viewer
        assert viewer is not None
        return Context(self._database, viewer)


def create_app(settings: Settings) -> Starlette:
    """Strawberry's own ASGI application at /graphql."""
    database = Database(settings.database_url, pool_size=settings.database_pool)
    client = redis.asyncio.from_url(settings.redis_url)
    schema = strawberry.Schema(
        Query,
        config=StrawberryConfig(scalar_map={BigInt: strawberry.scalar(name="BigInt", serialize=str, parse_value=int)}),
        extensions=[lambda: ParserCache(maxsize=100), lambda: ValidationCache(maxsize=100)],
    )

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await client.aclose()
        await database.dispose()

    app = Starlette(lifespan=lifespan)
    app.add_route("/graphql", _Endpoint(schema, database, ContextFactory(database, client, settings)))
    app.state.stopping = asyncio.Event()
    return app


def main(settings: Settings) -> None:
    """Serve until SIGTERM."""
    Server(create_app(settings), settings.host, settings.port).serve_program()


if __name__ == "__main__":
    main(Settings.from_env())

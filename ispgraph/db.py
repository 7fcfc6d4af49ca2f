"""The database: one engine, the only commit, and the tenant that row-level security sees."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
from sqlalchemy import MetaData, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InvalidatePoolError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from ispgraph import traced_statements, traces
from ispgraph.settings import Settings

T = TypeVar("T")

# A serialization failure or a deadlock: nothing was done, the whole transaction may run again.
RETRIABLE = {"40001", "40P01"}
_TRIES = 5
_TIMEOUTS = {
    "statement_timeout": "10s",
    "lock_timeout": "8s",
    "idle_in_transaction_session_timeout": "15s",
}
# PgBouncer keeps these two for each client, and refuses a connection that asks for others.
_NAMES = {"timezone": "UTC", "application_name": "ispgraph"}
_STATEMENT_SECONDS = 10.0
_TENANT = "select set_config('app.tenant_id', $1, true)"
_TENANT_AND_TIMEOUTS = ", ".join([_TENANT, *(f"set_config('{name}', '{of}', true)" for name, of in _TIMEOUTS.items())])
_AFTER_COMMIT = "ispgraph.after_commit"
_USED = "ispgraph.used"
_REST_SECONDS = 1.0
_PREPARED_STATEMENTS = 300

# What is over after one more try: a connection that PostgreSQL has closed, a statement prepared before a migration.
_STALE = (
    # Of the whole class 08: PgBouncer says so when its server is gone.
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    # What asyncpg meets when the connection is closed just as a statement goes out.
    asyncpg.InternalClientError,
    asyncpg.InvalidCachedStatementError,
    asyncpg.OutdatedSchemaCacheError,
    asyncpg.AdminShutdownError,
    ConnectionError,
)

AfterCommit = Callable[[], Awaitable[None]]


class Base(DeclarativeBase):
    """Root of every table; names of constraints follow one convention so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Database:
    """Pools of connections as one role: one for sessions, one for finished statements that only read.

    `shared` says that each transaction may meet another connection of the server, as behind PgBouncer: nothing is set
    for longer than a transaction then, and unless `prepared`, no statement is kept by the server.
    """

    def __init__(self, url: str, *, pool_size: int = 10, shared: bool = False, prepared: bool = True) -> None:
        self._url = url
        self._pool_size = pool_size
        self._shared = shared
        self._prepared = prepared
        self._readers: asyncpg.Pool[Any] | None = None
        self._opening = asyncio.Lock()
        self.engine: AsyncEngine = create_async_engine(
            make_url(url).set(drivername="postgresql+asyncpg"),
            pool_size=pool_size,
            hide_parameters=True,
            max_overflow=0,
            pool_timeout=30,
            connect_args={
                "server_settings": self._at_start(),
                "timeout": 5,
                # A statement without a name is at home in one transaction, as everything of a session is.
                **({} if prepared else {"statement_cache_size": 0, "prepared_statement_cache_size": 0}),
                **({} if prepared else {"prepared_statement_name_func": str}),
            },
        )
        event.listen(self.engine.sync_engine, "checkin", _note_use)
        event.listen(self.engine.sync_engine, "checkout", _look_at)
        if traces.on():
            traced_statements.watch(self.engine.sync_engine)

    @classmethod
    def of(cls, settings: Settings, *, pool_size: int) -> "Database":
        """As the application's role, by way of a pooler where settings name one."""
        return cls._by(settings, settings.database_url, pool_size)

    @classmethod
    def beside(cls, settings: Settings, url: str) -> "Database":
        """Another server with the same in it, by way of a pooler if the first one is."""
        return cls._by(settings, url, settings.database_pool)

    @classmethod
    def _by(cls, settings: Settings, url: str, pool_size: int) -> "Database":
        shared = settings.direct_database_url is not None
        return cls(url, pool_size=pool_size, shared=shared, prepared=settings.prepared_statements)

    def _at_start(self) -> dict[str, str]:
        return _NAMES if self._shared else _NAMES | _TIMEOUTS

    async def _begin(self, session: AsyncSession, tenant_id: UUID | None) -> None:
        # Local to the transaction: a pooled connection never remembers the tenant before (a plain SET would).
        value = "" if tenant_id is None else str(tenant_id)
        with traces.within("pool"):
            connection = await session.connection()
        await connection.exec_driver_sql(_TENANT_AND_TIMEOUTS if self._shared else _TENANT, (value,))

    @asynccontextmanager
    async def transaction(self, tenant_id: UUID | None) -> AsyncIterator[AsyncSession]:
        """One transaction on behalf of a tenant: the only place that commits.

        What was registered with `after_commit` runs when the commit has succeeded, and is dropped otherwise.
        """
        async with AsyncSession(self.engine, expire_on_commit=False) as session:
            with traces.within("transaction"):
                async with session.begin():
                    await self._begin(session, tenant_id)
                    yield session
            if _noted is not None and tenant_id is not None:
                await _noted(self, tenant_id)
            for act in session.info.pop(_AFTER_COMMIT, []):
                await act()

    @asynccontextmanager
    async def read(self, tenant_id: UUID | None) -> AsyncIterator[AsyncSession]:
        """A short session for reading; whatever was changed in it is rolled back."""
        async with AsyncSession(self.engine, expire_on_commit=False, autoflush=False) as session:
            await self._begin(session, tenant_id)
            yield session

    async def run(self, tenant_id: UUID | None, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """`work` in one transaction, run again from the start when PostgreSQL asks for that (40001, 40P01)."""
        for attempt in range(_TRIES):
            try:
                async with self.transaction(tenant_id) as session:
                    return await work(session)
            except DBAPIError as error:
                if sqlstate(error) not in RETRIABLE or attempt == _TRIES - 1:
                    raise
            await asyncio.sleep(random.uniform(0.01, 0.05) * 2**attempt)  # noqa: S311  jitter, not a secret
        raise AssertionError("unreachable")

    async def read_texts(self, sql: str, arguments: Sequence[Any]) -> list[str | None]:
        """The first column of a statement that reads, and that sets the tenant itself.

        It runs outside of a transaction block and is tried again once on a fresh connection. Raises DBAPIError.
        """
        readers = self._readers or await self._open()
        # The server's own timeout begins with the statement, so that none could be set in it.
        seconds = _STATEMENT_SECONDS if self._shared else None
        try:
            try:
                rows = await _fetch(readers, sql, arguments, seconds)
            except _STALE:
                # A server that ends one connection mostly ends them all, and the pool has not heard of the others yet.
                await readers.expire_connections()
                rows = await _fetch(readers, sql, arguments, seconds)
        except asyncpg.PostgresError as error:
            raise DBAPIError(None, None, error, hide_parameters=True) from error
        except (asyncpg.InterfaceError, asyncpg.InternalClientError, TimeoutError) as error:
            raise OperationalError(None, None, error, hide_parameters=True) from error
        return [row[0] for row in rows]

    async def _open(self) -> "asyncpg.Pool[Any]":
        async with self._opening:
            if self._readers is None:
                self._readers = await asyncpg.create_pool(
                    self._url,
                    min_size=0,
                    max_size=self._pool_size,
                    timeout=5,
                    server_settings=self._at_start(),
                    statement_cache_size=_PREPARED_STATEMENTS if self._prepared else 0,
                    max_cacheable_statement_size=0,
                    # Nothing is left behind that would have to be reset: a reading sets its tenant for itself alone.
                    reset=_keep,
                )
            return self._readers

    async def dispose(self) -> None:
        """Close every pooled connection."""
        await self.engine.dispose()
        if self._readers is not None:
            await self._readers.close()


_noted: Callable[[Database, UUID], Awaitable[None]] | None = None


def note_commits(noted: Callable[[Database, UUID], Awaitable[None]] | None) -> None:
    """Have `noted` called after each commit on behalf of a tenant, before anything follows from it."""
    global _noted
    _noted = noted


async def _fetch(
    readers: "asyncpg.Pool[Any]", sql: str, arguments: Sequence[Any], seconds: float | None
) -> Sequence[Any]:
    with traces.within("pool"):
        connection = await readers.acquire()
    try:
        with traces.within("SELECT", "CLIENT", traced_statements.told(sql)):
            return await connection.fetch(sql, *arguments, timeout=seconds)
    finally:
        await readers.release(connection)


async def _keep(_connection: Any) -> None:
    return None


def after_commit(session: AsyncSession, act: AfterCommit) -> None:
    """Run `act` once the surrounding transaction has committed; drop it when it rolls back."""
    session.info.setdefault(_AFTER_COMMIT, []).append(act)


def _note_use(_connection: Any, record: Any) -> None:
    record.info[_USED] = time.monotonic()


def _look_at(connection: Any, record: Any, _proxy: Any) -> None:
    """Before a pooled connection is used: one that was closed mostly knows it, and after a rest it is asked.

    SQLAlchemy's own way asks each time, in three round trips, which were a tenth of a short transaction.
    """
    if (used := record.info.get(_USED)) is None:
        return
    if connection.driver_connection.is_closed():
        raise InvalidatePoolError
    if time.monotonic() - used > _REST_SECONDS:
        try:
            connection.ping()
        except Exception as error:
            raise InvalidatePoolError from error


def sqlstate(error: DBAPIError) -> str | None:
    """PostgreSQL's code for what went wrong; None when it did not come to that."""
    original: Any = error.orig
    return getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)

"""The database: one engine, the only commit, and the tenant that row-level security sees."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import MetaData, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase

T = TypeVar("T")

# A serialization failure or a deadlock: nothing was done, the whole transaction may run again.
_RETRIABLE = {"40001", "40P01"}
_TRIES = 5
_TIMEOUTS = {
    "statement_timeout": "10s",
    "lock_timeout": "8s",
    "idle_in_transaction_session_timeout": "15s",
    "timezone": "UTC",
    "application_name": "ispgraph",
}
_AFTER_COMMIT = "ispgraph.after_commit"

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
    """A pool of connections as one role."""

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.engine: AsyncEngine = create_async_engine(
            make_url(url).set(drivername="postgresql+asyncpg"),
            pool_size=pool_size,
            hide_parameters=True,
            max_overflow=0,
            pool_timeout=30,
            pool_pre_ping=True,
            connect_args={"server_settings": _TIMEOUTS, "timeout": 5},
        )

    @asynccontextmanager
    async def transaction(self, tenant_id: UUID | None) -> AsyncIterator[AsyncSession]:
        """One transaction on behalf of a tenant: the only place that commits.

        What was registered with `after_commit` runs when the commit has succeeded, and is dropped otherwise.
        """
        async with AsyncSession(self.engine, expire_on_commit=False) as session:
            async with session.begin():
                await _set_tenant(session, tenant_id)
                yield session
            for act in session.info.pop(_AFTER_COMMIT, []):
                await act()

    @asynccontextmanager
    async def read(self, tenant_id: UUID | None) -> AsyncIterator[AsyncSession]:
        """A short session for reading; whatever was changed in it is rolled back."""
        async with AsyncSession(self.engine, expire_on_commit=False, autoflush=False) as session:
            await _set_tenant(session, tenant_id)
            yield session

    async def run(self, tenant_id: UUID | None, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """`work` in one transaction, run again from the start when PostgreSQL asks for that (40001, 40P01)."""
        for attempt in range(_TRIES):
            try:
                async with self.transaction(tenant_id) as session:
                    return await work(session)
            except DBAPIError as error:
                if _sqlstate(error) not in _RETRIABLE or attempt == _TRIES - 1:
                    raise
            await asyncio.sleep(random.uniform(0.01, 0.05) * 2**attempt)  # noqa: S311  jitter, not a secret
        raise AssertionError("unreachable")

    async def dispose(self) -> None:
        """Close every pooled connection."""
        await self.engine.dispose()


def after_commit(session: AsyncSession, act: AfterCommit) -> None:
    """Run `act` once the surrounding transaction has committed; drop it when it rolls back."""
    session.info.setdefault(_AFTER_COMMIT, []).append(act)


async def _set_tenant(session: AsyncSession, tenant_id: UUID | None) -> None:
    # Local to the transaction: a pooled connection never remembers the tenant before (a plain SET would).
    value = "" if tenant_id is None else str(tenant_id)
    await session.execute(text("select set_config('app.tenant_id', :tenant, true)"), {"tenant": value})


def _sqlstate(error: DBAPIError) -> str | None:
    original: Any = error.orig
    return getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)

"""Mutations that are tried and leave nothing behind."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.db import Database


class _UndoneError(Exception):
    pass


@contextmanager
def undone(database: Database) -> Iterator[None]:
    """Meanwhile the transaction of each mutation is rolled back after its last statement; its answer is as ever."""
    run = database.run

    async def tried(tenant_id: UUID | None, work: Callable[[AsyncSession], Awaitable[Any]]) -> Any:
        done: list[Any] = []

        async def roll_back(session: AsyncSession) -> None:
            done.append(await work(session))
            await session.flush()
            raise _UndoneError

        try:
            await run(tenant_id, roll_back)
        except _UndoneError:
            return done[-1]

    with patch.object(database, "run", tried):
        yield

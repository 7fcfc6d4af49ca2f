"""A migrated database of its own in which foreign keys do not count: for SQL functions asked thousands of questions."""

import asyncio
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import asyncpg
from sqlalchemy import make_url

from tests.servers import TEMPLATE


class Bare:
    """The database. Without an event loop of its own, for tests by Hypothesis have none."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    def fetch(
        self, query: str, *arguments: Any, fill: Mapping[tuple[str, ...], Sequence[tuple[Any, ...]]] | None = None
    ) -> list[Any]:
        """The rows of a query, in a transaction that puts `fill` into tables first and is rolled back.

        `fill` has the rows by the name of their table, and after it those of their columns.
        """

        async def run() -> list[Any]:
            connection = await asyncpg.connect(self._dsn)
            try:
                await connection.execute("SET session_replication_role = replica; BEGIN")
                for (table, *columns), rows in (fill or {}).items():
                    await connection.copy_records_to_table(table, records=rows, columns=columns)
                return await connection.fetch(query, *arguments)
            finally:
                await connection.close()

        return asyncio.run(run())


@contextmanager
def made() -> Iterator[Bare]:
    """The database while it is there."""
    admin, name = os.environ["ISPGRAPH_TEST_POSTGRES"], f"test_bare_{secrets.token_hex(6)}"
    asyncio.run(_admin(admin, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}"))
    try:
        yield Bare(make_url(admin).set(database=name).render_as_string(hide_password=False))
    finally:
        asyncio.run(_admin(admin, f"DROP DATABASE {name} WITH (FORCE)"))


async def _admin(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(statement)
    await connection.close()

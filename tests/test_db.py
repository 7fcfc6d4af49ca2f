"""The pools, when PostgreSQL closes connections under them."""

import asyncio

import asyncpg
import pytest
from sqlalchemy import literal, select, text

from ispgraph import db
from ispgraph.db import Database
from tests.conftest import Dsns

END_ALL = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
  WHERE usename = 'ispgraph_app' AND datname = current_database()"""


async def test_a_reading_survives_the_end_of_every_connection(database: Database, dsns: Dsns) -> None:
    # Whether a reading meets connections that are dead, dying or still whole is a matter of microseconds.
    superuser = await asyncpg.connect(dsns.superuser)
    for n in range(40):
        await asyncio.gather(*(database.read_texts("select pg_sleep(0.01)::text", []) for _ in range(10)))
        await superuser.execute(END_ALL)
        assert await database.read_texts("select $1::text", [str(n)]) == [str(n)]
    await superuser.close()


async def test_a_transaction_after_the_end_of_every_connection(database: Database, dsns: Dsns) -> None:
    superuser = await asyncpg.connect(dsns.superuser)

    async def work(number: int) -> int | None:
        async with database.transaction(None) as session:
            return await session.scalar(select(literal(number)))

    for n in range(5):
        await asyncio.gather(*(work(number) for number in range(10)))
        await superuser.execute(END_ALL)
        await asyncio.sleep(0.05)
        assert await asyncio.gather(*(work(number) for number in range(n, n + 10))) == list(range(n, n + 10))
    await superuser.close()


async def test_a_connection_that_ended_in_silence_is_noticed_after_a_rest(
    database: Database, dsns: Dsns, monkeypatch: pytest.MonkeyPatch
) -> None:
    superuser = await asyncpg.connect(dsns.superuser)
    pid = text("select pg_backend_pid()")
    async with database.transaction(None) as session:
        first = await session.scalar(pid)
        ended = (await (await session.connection()).get_raw_connection()).driver_connection
    await superuser.execute(END_ALL)
    await asyncio.sleep(0.05)
    await superuser.close()
    closed = asyncpg.Connection.is_closed
    with monkeypatch.context() as patched:
        # As if nothing had been heard of the end.
        patched.setattr(asyncpg.Connection, "is_closed", lambda one: one is not ended and closed(one))
        patched.setattr(db, "_REST_SECONDS", 0.0)
        async with database.transaction(None) as session:
            assert await session.scalar(pid) != first

"""The pool of readings, when PostgreSQL closes connections under it."""

import asyncio

import asyncpg

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

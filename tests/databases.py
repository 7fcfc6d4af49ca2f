"""The database of a test: cloned from the migrated template, then emptied and used again by the next tests.

A new database costs little by itself, but each connection to it starts without plans, without compiled functions and
without the catalogue in memory: the first request takes thirty times as long as the second.
"""

import os
import secrets
from dataclasses import dataclass
from typing import Any

import asyncpg
from sqlalchemy import make_url

from ispgraph.db import Database
from tests.servers import TEMPLATE

# For so many tests one copy is used: dead rows pile up in it. With 1 each test has a new one, to find out whether
# another test is to blame. In one that was emptied the room of deleted rows is used again, so that rows which are read
# in no order may come in another one than they were written in: see `disorder`.
_USES = int(os.environ.get("ISPGRAPH_TEST_REUSE", "60"))

# What a test may have changed besides rows: tables, columns, defaults, types, functions, views, triggers, policies,
# constraints, rights, extensions, settings; and statistics, which would lead the next test to other plans. Whatever is
# changed or made has the number of a later transaction.
_FORM = """
SELECT (SELECT (count(*), sum(xmin::text::bigint), sum(reltuples), sum(relpages)) FROM pg_class
         WHERE relnamespace = 'public'::regnamespace),
       (SELECT (count(*), sum(xmin::text::bigint)) FROM pg_proc WHERE pronamespace = 'public'::regnamespace),
       (SELECT (count(*), sum(xmin::text::bigint)) FROM pg_attribute WHERE attrelid >= 16384),
       (SELECT (count(*), sum(xmin::text::bigint)) FROM pg_attrdef),
       (SELECT (count(*), sum(xmin::text::bigint)) FROM pg_type WHERE typnamespace = 'public'::regnamespace),
       (SELECT (count(*), sum(xmin::text::bigint)) FROM pg_trigger),
       (SELECT (count(*), sum(xmin::text::bigint)) FROM pg_policy),
       (SELECT (count(*), sum(xmin::text::bigint)) FROM pg_constraint),
       (SELECT (count(*), sum(xmin::text::bigint)) FROM pg_rewrite),
       (SELECT (count(*), sum(xmin::text::bigint)) FROM pg_namespace),
       (SELECT (count(*), sum(xmin::text::bigint)) FROM pg_extension),
       (SELECT count(*) FROM pg_statistic),
       (SELECT count(*) FROM pg_db_role_setting
         WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())))
"""
# Without triggers and foreign keys, which would forbid it; in no order for the same reason.
_EMPTY = """
DO $$
DECLARE
    each regclass;
BEGIN
    SET LOCAL session_replication_role = replica;
    FOR each IN
        SELECT oid FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'alembic_version'
          AND pg_relation_size(oid) > 0
    LOOP
        EXECUTE 'DELETE FROM ' || each;
    END LOOP;
    FOR each IN SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'S' LOOP
        PERFORM setval(each, 1, false);
    END LOOP;
END
$$
"""
_OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"


@dataclass(frozen=True)
class Dsns:
    """The same database as each role."""

    owner: str
    app: str
    radius: str
    superuser: str


class Clone:
    """A copy of the template, with open connections as the application and as the owner."""

    def __init__(self, name: str, admin: str) -> None:
        self.name = name
        self.dsns = Dsns(
            *(_dsn(admin, role, name) for role in ("ispgraph_owner", "ispgraph_app", "ispgraph_radius")),
            superuser=make_url(admin).set(database=name).render_as_string(hide_password=False),
        )
        self.app = Database(self.dsns.app, pool_size=10)
        self.owner = Database(self.dsns.owner, pool_size=2)
        self._uses = 0
        self._eye: asyncpg.Connection[asyncpg.Record] | None = None
        self._form: Any = None

    async def look(self) -> None:
        """Remember what the database is like before the first test."""
        self._eye = await asyncpg.connect(self.dsns.superuser)
        self._form = await self._eye.fetchrow(_FORM)

    async def emptied(self) -> bool:
        """Whether the next test may have it: nothing but rows was changed, nobody else is connected, all rows gone."""
        self._uses += 1
        pools = [self.app, self.owner]
        if self._eye is None or self._uses >= _USES or any(busy(pool) for pool in pools):
            return False
        ours = sum(connections(pool) for pool in pools) + 1
        if await self._eye.fetchval(_OTHERS) != ours or await self._eye.fetchrow(_FORM) != self._form:
            return False
        await self._eye.execute(_EMPTY)
        return True

    async def drop(self, admin: "asyncpg.Connection[asyncpg.Record]") -> None:
        """Close everything and delete it."""
        if self._eye is not None:
            await self._eye.close()
        await self.app.dispose()
        await self.owner.dispose()
        await admin.execute(f"DROP DATABASE {self.name} WITH (FORCE)")


class Clones:
    """The databases of one process of the run: one at a time, mostly the same."""

    def __init__(self) -> None:
        self._admin: asyncpg.Connection[asyncpg.Record] | None = None
        self._spare: Clone | None = None

    async def take(self) -> Clone:
        """A database as the template is."""
        if self._spare is not None:
            clone, self._spare = self._spare, None
            return clone
        url = os.environ["ISPGRAPH_TEST_POSTGRES"]
        if self._admin is None or self._admin.is_closed():
            self._admin = await asyncpg.connect(url)
        name = f"test_{secrets.token_hex(6)}"
        # Files are copied as they are: to log each page, which is the default, takes three times as long.
        await self._admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} OWNER ispgraph_owner STRATEGY FILE_COPY")
        clone = Clone(name, url)
        if _USES > 1:
            await clone.look()
        return clone

    async def give_back(self, clone: Clone) -> None:
        """The test is over."""
        if self._spare is None and await clone.emptied():
            self._spare = clone
        else:
            assert self._admin is not None
            await clone.drop(self._admin)

    async def close(self) -> None:
        """The run is over."""
        if self._spare is not None and self._admin is not None:
            await self._spare.drop(self._admin)
        if self._admin is not None:
            await self._admin.close()


def busy(database: Database) -> bool:
    """Whether a connection is in use, or the pools were closed."""
    readers = database._readers
    return database.engine.pool.checkedout() > 0 or (
        readers is not None and (readers.is_closing() or readers.get_idle_size() < readers.get_size())
    )


def connections(database: Database) -> int:
    """How many connections are open."""
    readers = database._readers
    return database.engine.pool.checkedin() + (readers.get_size() if readers is not None else 0)


def _dsn(admin: str, role: str, database: str) -> str:
    password = os.environ[f"ISPGRAPH_TEST_{role.upper()}"]
    url = make_url(admin).set(username=role, password=password, database=database)
    return url.render_as_string(hide_password=False)

"""Runs migrations as the owner role, named by ISPGRAPH_OWNER_DATABASE_URL."""

import asyncio
import os
import re
import time
from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo
from alembic.script import Script
from sqlalchemy import Connection, make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from ispgraph.db import Base
from ispgraph.domain import models

assert models.__all__, "importing the models registers every table"


# "migrate" in ASCII: no other program of this database should take this number.
_LOCK = 0x6D696772617465
_ASK_SECONDS = 0.2
# Whoever wants the table after us waits as long as we do.
_LOCK_TIMEOUT = "1s"
_HAS_COLUMN = "SELECT true FROM pg_attribute WHERE attrelid = 'alembic_version'::regclass AND attname = 'oldest_code'"

_PARTITION = re.compile(r"sessions_(before|after|\d{4}_q[1-4])")


def _is_compared(name: str | None, kind: str, _parents: object) -> bool:
    return kind != "table" or not _PARTITION.fullmatch(name or "")


def _run(connection: Connection) -> None:
    # Partitions are made and dropped as time goes on: only the table above them is a model's.
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        include_name=_is_compared,
        # What has been reached is kept, and no lock is held longer than one revision takes.
        transaction_per_migration=True,
        on_version_apply=_applied,
    )
    with context.begin_transaction():
        context.run_migrations()


def _applied(*, ctx: MigrationContext, step: MigrationInfo, **_: Any) -> None:
    """Leave word of the oldest version whose programs still work, for these to find when they start."""
    if step.is_upgrade and isinstance(step.up_revision, Script):
        title = (step.up_revision.doc or "").partition("\n")[0]
        context.config.attributes.get("say", _silent)(f"{step.up_revision.revision} {title}")
    connection = ctx.connection
    assert connection is not None
    if connection.exec_driver_sql(_HAS_COLUMN).scalar():
        behind = step.revision_map.iterate_revisions(step.destination_revision_ids, "base")
        oldest = max((getattr(each.module, "oldest_code", None) or "" for each in behind), default="")
        connection.exec_driver_sql("UPDATE alembic_version SET oldest_code = NULLIF($1, '')", (oldest,))


def _silent(_text: str) -> None:
    """Nobody wants to know."""


def _alone(connection: Connection) -> None:
    """Wait until no other migration runs, and have the next ones wait.

    By asking again and again: to wait within a statement would keep an index from being made concurrently.
    """
    while not connection.exec_driver_sql("SELECT pg_try_advisory_lock($1)", (_LOCK,)).scalar():
        connection.rollback()
        time.sleep(_ASK_SECONDS)
    connection.commit()


async def _connect() -> None:
    url = make_url(os.environ["ISPGRAPH_OWNER_DATABASE_URL"]).set(drivername="postgresql+asyncpg")
    timeouts = {"lock_timeout": _LOCK_TIMEOUT, "application_name": "ispgraph migrate"}
    engine = create_async_engine(url, poolclass=NullPool, connect_args={"server_settings": timeouts})
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_alone)
            await connection.run_sync(_run)
            await connection.commit()
    finally:
        await engine.dispose()


asyncio.run(_connect())

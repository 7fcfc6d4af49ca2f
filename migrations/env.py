"""Runs migrations as the owner role, named by ISPGRAPH_OWNER_DATABASE_URL."""

import asyncio
import os
import re

from alembic import context
from sqlalchemy import Connection, make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from ispgraph.db import Base
from ispgraph.domain import models

assert models.__all__, "importing the models registers every table"


_PARTITION = re.compile(r"sessions_(before|after|\d{4}_q[1-4])")


def _is_compared(name: str | None, kind: str, _parents: object) -> bool:
    return kind != "table" or not _PARTITION.fullmatch(name or "")


def _run(connection: Connection) -> None:
    # Partitions are made and dropped as time goes on: only the table above them is a model's.
    context.configure(
        connection=connection, target_metadata=Base.metadata, compare_type=True, include_name=_is_compared
    )
    with context.begin_transaction():
        context.run_migrations()


async def _connect() -> None:
    url = make_url(os.environ["ISPGRAPH_OWNER_DATABASE_URL"]).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(url, poolclass=NullPool, connect_args={"server_settings": {"lock_timeout": "10s"}})
    async with engine.connect() as connection:
        await connection.run_sync(_run)
        await connection.commit()
    await engine.dispose()


asyncio.run(_connect())

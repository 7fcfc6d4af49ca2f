"""What the database announces when something commits, passed on to whoever listens."""

import asyncio
import logging
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from ispgraph import pubsub
from ispgraph.db import Database
from ispgraph.domain.live import changes

_LOOK_SECONDS = 0.2
_AGAIN_SECONDS = 1.0
_MOST = 1000

_log = logging.getLogger(__name__)


async def pass_on(database: Database) -> None:
    """For ever. What is taken and then lost on the way is found by those who look at the rows by themselves."""
    while True:
        try:
            found = await _taken(database)
        except (SQLAlchemyError, OSError) as error:
            _log.warning("what changes is not told: the database: %s", type(error).__name__)
            await asyncio.sleep(_AGAIN_SECONDS)
            continue
        told = dict.fromkeys((changes.topic(row.tenant_id), row.words) for row in found)
        if told:
            await pubsub.send(list(told))
        if len(found) < _MOST:
            await asyncio.sleep(_LOOK_SECONDS)


async def _taken(database: Database) -> list[Any]:
    async with database.transaction(None) as session:
        rows = await session.execute(text("select tenant_id, words from announced(:limit)"), {"limit": _MOST})
        return list(rows)

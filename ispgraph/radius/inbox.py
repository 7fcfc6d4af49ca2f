"""Interims that RADIUS has acknowledged and put away are added to their sessions and to the usage, once a second.

A login that has a limit, a Start, a Stop or a reboot adds what waits of its sessions by itself; all others read what
was added until now.
"""

import asyncio
import logging

from sqlalchemy.exc import SQLAlchemyError

from ispgraph.db import Database
from ispgraph.domain import sessions

_SECONDS = 1.0
# So many packets are added in a transaction.
_LIMIT = 1000

_log = logging.getLogger(__name__)


async def serve(database: Database) -> None:
    """Add what waits until cancelled. Any number of programs may."""
    while True:
        try:
            await add(database)
        except (SQLAlchemyError, OSError) as error:
            _log.warning("the database is away (%s); accounting waits to be added", type(error).__name__)
        await asyncio.sleep(_SECONDS)


async def add(database: Database) -> None:
    """Add all that waits now but for sessions that somebody else is at."""
    async with database.read(None) as session:
        tenants = await sessions.waiting(session)
    for tenant_id in tenants:
        try:
            added = _LIMIT
            while added >= _LIMIT:
                async with database.transaction(tenant_id) as session:
                    added = await sessions.add_waiting(session, limit=_LIMIT)
        except Exception:
            # One tenant's trouble is not the others'; it is tried again soon.
            _log.exception("adding the accounting packets of tenant %s failed", tenant_id)

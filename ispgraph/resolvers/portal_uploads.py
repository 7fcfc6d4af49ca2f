"""Taking the pictures of a portal: drawn anew in threads, kept in the storage, and noted, each for itself.

No transaction is open meanwhile. What was begun and not ended, by a crash or a client that went away, is PENDING, and
the file it left behind is cleared away.
"""

import asyncio
import logging
from collections.abc import Sequence
from uuid import UUID

from ispgraph.adapters.errors import AdapterError
from ispgraph.adapters.storage import Storage, open_storage
from ispgraph.db import Database
from ispgraph.domain.errors import ErrorCode, fail
from ispgraph.domain.models import AssetKind
from ispgraph.domain.permissions import Viewer
from ispgraph.domain.portals import assets, pictures
from ispgraph.domain.portals.assets import Attempt
from ispgraph.domain.uploads import Received
from ispgraph.domain.values import Unfit
from ispgraph.settings import Settings

AT_ONCE = 2
"""So many pictures one process draws at the same time: each may take a hundred megabytes, and a core."""
_UNFORESEEN = "This picture could not be taken, for a reason that the log of the server has."
_log = logging.getLogger(__name__)
_turns: dict[asyncio.AbstractEventLoop, asyncio.Semaphore] = {}


async def upload(
    database: Database,
    settings: Settings,
    customer_id: UUID,
    given: Sequence[tuple[AssetKind, Received]],
    *,
    by: Viewer,
) -> UUID:
    """Take the pictures of a customer's portal; the id of the portal. How it went is in the rows.

    Raises DomainError when nothing was begun.
    """
    storage = open_storage(settings)
    if storage is None:
        raise fail(ErrorCode.NOT_CONFIGURED, "This installation has no storage for files yet.")
    kinds = [kind for kind, _ in given]
    portal, attempts = await database.run(
        by.tenant_id, lambda session: assets.begin(session, customer_id, kinds, by=by)
    )
    files = [file for _, file in given]
    await asyncio.gather(
        *(_take(database, storage, attempt, file, by) for attempt, file in zip(attempts, files, strict=True))
    )
    return portal.id


async def _take(database: Database, storage: Storage, attempt: Attempt, file: Received, by: Viewer) -> None:
    try:
        async with _turn():
            picture = await asyncio.to_thread(_drawn, attempt.kind, file)
        await storage.put(attempt.key, picture.body, pictures.CONTENT_TYPE)
    except (Unfit, AdapterError) as error:
        reason = str(error)
    except Exception:  # one picture's trouble, whatever a decoder may meet, is not the others'
        _log.exception("drawing a picture of portal %s failed", attempt.portal_id)
        reason = _UNFORESEEN
    else:
        await database.run(by.tenant_id, lambda session: assets.taken(session, attempt, picture, by=by))
        return
    await database.run(by.tenant_id, lambda session: assets.failed(session, attempt, reason, by=by))


def _drawn(kind: AssetKind, file: Received) -> pictures.Picture:
    return pictures.drawn(kind, file.read(pictures.FORMS[kind].largest_bytes + 1))


def _turn() -> asyncio.Semaphore:
    loop = asyncio.get_running_loop()
    if loop not in _turns:
        for old in [each for each in _turns if each.is_closed()]:
            del _turns[old]
        _turns[loop] = asyncio.Semaphore(AT_ONCE)
    return _turns[loop]

"""The program `rotate-network-key`: seal with the first network key whatever a former one has sealed.

It works while everything runs, in short transactions, and may be killed and begun again. In the end it looks at every
row once more: only when nothing is left that needs a former key is that key done with.
"""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TextIO
from uuid import UUID

from sqlalchemy import text

from ispgraph.db import Database
from ispgraph.domain import network_keys, secrets
from ispgraph.domain.network_keys import Place
from ispgraph.settings import Settings, SettingsError


@dataclass(slots=True)
class Found:
    """What there is of one place, of all tenants."""

    name: str
    seen: int = 0
    former: int = 0
    lost: int = 0


def main(settings: Settings, *, check: bool) -> int:
    """Seal anew, verify, and print what was found; the exit status is 1 while something needs a former key, or cannot
    be opened at all. With `check` only look. Raises SettingsError when there is but one key and nothing to do."""
    if not check and len(secrets.keys(settings.network_key)) < 2:
        raise SettingsError("ISPGRAPH_NETWORK_KEY must be NEW,OLD: the key that seals, and the one that sealed before")
    return asyncio.run(_run(settings, check))


async def _run(settings: Settings, check: bool) -> int:
    database = Database(settings.database_url, pool_size=2)
    try:
        async with database.read(None) as session:
            tenants: Sequence[UUID] = (await session.scalars(text("SELECT tenant_id FROM all_tenants()"))).all()
        if not check:
            for place in network_keys.PLACES:
                done = await _walk(database, place, tenants, settings.network_key, anew=True)
                if done.former:
                    _say(f"{done.name}: {done.former} of {done.seen} sealed anew", sys.stdout)
        found = [
            await _walk(database, place, tenants, settings.network_key, anew=False) for place in network_keys.PLACES
        ]
    finally:
        await database.dispose()
    return report(found, sys.stdout)


async def _walk(database: Database, place: Place, tenants: Sequence[UUID], key: bytes, *, anew: bool) -> Found:
    found, work = Found(place.name), network_keys.reseal if anew else network_keys.check
    for tenant_id in tenants:
        after: Sequence[object] | None = None
        while True:
            batch = partial(work, place=place, tenant_id=tenant_id, network_key=key, after=after)
            passed = await database.run(tenant_id, batch)
            found.seen += passed.seen
            found.former += passed.former
            found.lost += passed.lost
            after = passed.end
            if after is None:
                break
    return found


def report(found: Sequence[Found], out: TextIO) -> int:
    """What is left, and the exit status."""
    for each in found:
        if each.former:
            _say(f"{each.name}: {each.former} of {each.seen} are sealed with a former key", out)
        if each.lost:
            _say(f"{each.name}: {each.lost} of {each.seen} are sealed with a key that is not here", out)
    if any(each.former or each.lost for each in found):
        _say("A former key is still needed: have every program seal with the new one, and begin again.", out)
        return 1
    _say(f"All {sum(each.seen for each in found)} sealed values are of the first key.", out)
    return 0


def _say(line: str, out: TextIO) -> None:
    out.write(f"{line}\n")
    out.flush()

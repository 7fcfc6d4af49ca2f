"""The program `verify-audit`: whether the audit entries of each tenant are those that were sealed, in their order.

It connects as the application, reads chunk by chunk, and changes nothing. Of each chain the first bad row is named. The
report as JSON tells where each chain ends: kept on another machine and given back later (`--expect`), it is what finds
that the end of a chain was cut off.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from ispgraph import ids
from ispgraph.db import Database
from ispgraph.domain.audit_chain import START, Entry, Keys, content, link
from ispgraph.domain.models import Tenant
from ispgraph.settings import Settings, SettingsError

Reader = AsyncSession | AsyncConnection

CHUNK = 2000
PATIENCE = timedelta(minutes=10)
"""How long an entry may wait for its link."""
LATE = timedelta(hours=1)
"""How much older than what was sealed before it an entry may be: no transaction takes longer."""
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
_BEFORE_ALL = -(2**63)

# Who owns the database may take away what keeps columns from being NULL, and has instants that Python does not.
_LINKS = text("""
SELECT l.tenant_id, l.sequence, l.entry_id, coalesce(l.key_name, '') AS key_name,
       coalesce(cast(trunc(extract(epoch FROM l.sealed_at) * 1000000) AS text), '') AS sealed_at,
       coalesce(l.content, '') AS content, coalesce(l.hash, '') AS hash, e.id, e.operator_id, e.subject_id,
       coalesce(cast(trunc(extract(epoch FROM e.at) * 1000000) AS text), '') AS at,
       coalesce(e.action, '') AS action, coalesce(cast(e.details AS text), '') AS details
  FROM audit_links l LEFT JOIN audit_entries e ON e.tenant_id = l.tenant_id AND e.id = l.entry_id
 WHERE l.tenant_id = :tenant AND l.sequence > :after ORDER BY l.sequence, l.entry_id LIMIT :chunk""")
_ENTRIES = text("""
SELECT e.id, coalesce(cast(trunc(extract(epoch FROM e.at) * 1000000) AS text), '') AS at,
       l.entry_id IS NOT NULL AS sealed, u.entry_id IS NOT NULL AS waiting
  FROM (SELECT tenant_id, id, at FROM audit_entries
         WHERE tenant_id = :tenant AND id > :after ORDER BY id LIMIT :chunk) e
  LEFT JOIN audit_links l ON l.tenant_id = e.tenant_id AND l.entry_id = e.id
  LEFT JOIN audit_unsealed u ON u.tenant_id = e.tenant_id AND u.entry_id = e.id
 ORDER BY e.id""")
_COUNT = text("SELECT count(*) FROM audit_links WHERE tenant_id = :tenant AND sequence <= :last")

_TWICE = text("""
SELECT sequence FROM audit_links WHERE tenant_id = :tenant GROUP BY 1 HAVING count(*) > 1 ORDER BY 1 LIMIT 1""")


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where a chain ended when it was last verified: the number of the last link, and its sum in hexadecimal digits."""

    sequence: int
    hash: str


@dataclass(frozen=True, slots=True)
class Problem:
    """The first bad row of a chain: the number of its link, None without one, its entry, and what is wrong."""

    sequence: int | None
    entry: str | None
    what: str


@dataclass(slots=True)
class Chain:
    """What was found of one tenant. `sequence` and `hash` are the end of what is sound."""

    tenant: str
    sequence: int = 0
    hash: str = START.hex()
    waiting: int = 0
    """Entries without a link that are to get one."""
    waiting_since: datetime | None = None
    problem: Problem | None = None


async def verify(session: Reader, tenant_id: UUID, slug: str, keys: Keys, expected: Anchor | None = None) -> Chain:
    """Verify the chain of the tenant at hand, up to `expected` and beyond."""
    chain = Chain(slug)
    sealed_last = await _links(session, tenant_id, chain, keys, expected)
    await _entries(session, tenant_id, chain, sealed_last)
    if chain.problem is None and expected is not None and expected.sequence > chain.sequence:
        what = f"is missing: the chain once went up to link {expected.sequence}, and its end was cut off"
        chain.problem = Problem(chain.sequence + 1, None, what)
    return chain


async def _links(
    session: Reader, tenant_id: UUID, chain: Chain, keys: Keys, expected: Anchor | None
) -> datetime | None:
    """Follow the links as long as they are sound; when the last of them was sealed."""
    before, newest, sealed_at = START, _instant("-Infinity"), None
    known = 0 if expected is None else expected.sequence
    async for row in _rows(session, _LINKS, tenant_id, "sequence", _BEFORE_ALL):
        what = _wrong(row, chain.sequence + 1, before, keys)
        if what is None and expected is not None and row.sequence == known and row.hash.hex() != expected.hash:
            what = "is sound, but is not the one that once stood here: the chain was made anew"
        if what is None:
            made = min(_instant(row.at), ids.instant(row.id))
            if made + LATE < newest and row.sequence > known:
                what = f"is of {made:%Y-%m-%d %H:%M} and was put in after one of {newest:%Y-%m-%d %H:%M} was sealed"
            newest = max(newest, made)
        if what is not None:
            place = row.sequence if row.sequence == chain.sequence + 1 else chain.sequence + 1
            entry = row.entry_id if place == row.sequence else None
            chain.problem = Problem(place, entry and ids.encode("aud", entry), what)
            return sealed_at
        before, sealed_at = row.hash, _instant(row.sealed_at)
        chain.sequence, chain.hash = row.sequence, row.hash.hex()
    # Within a chunk a link that stands there twice was seen.
    asked = {"tenant": tenant_id, "last": chain.sequence}
    if chain.sequence >= CHUNK and await session.scalar(_COUNT, asked) != chain.sequence:
        twice = await session.scalar(_TWICE, {"tenant": tenant_id})
        chain.problem = Problem(twice + 1, None, f"is not alone: there is another link {twice}")
    return sealed_at


def _wrong(row: Any, sequence: int, before: bytes, keys: Keys) -> str | None:
    """What is wrong with a link that should be the one of this number, or with its entry."""
    if row.sequence != sequence:
        return "is missing" if row.sequence > sequence else f"is not alone: there is another link {row.sequence}"
    key = keys.by_name.get(row.key_name)
    if key is None:
        return f"was sealed with a key ({row.key_name}) that is not in ISPGRAPH_AUDIT_KEY"
    if link(key, before, row, row.sealed_at) != row.hash:
        return "was changed, or what stood before it was"
    if row.id is None:
        return "has lost its entry, which was deleted"
    entry = Entry(row.id, row.at, row.operator_id, row.action, row.subject_id, row.details)
    if content(key, row.tenant_id, entry) != row.content:
        return "has another entry than the one that was sealed: the entry was changed"
    return None


async def _entries(session: Reader, tenant_id: UUID, chain: Chain, sealed_last: datetime | None) -> None:
    """Look for entries without a link. Those that wait for one are counted; any other is a problem."""
    nobody = UUID(int=0)
    async for row in _rows(session, _ENTRIES, tenant_id, "id", nobody):
        if row.sealed:
            continue
        name = ids.encode("aud", row.id)
        if not row.waiting:
            chain.problem = chain.problem or Problem(None, name, "has no link and does not wait for one")
            continue
        at = _instant(row.at)
        chain.waiting += 1
        chain.waiting_since = min(at, chain.waiting_since or at)
        if sealed_last is not None and at + PATIENCE < sealed_last:
            what = f"waits for its link since {at:%Y-%m-%d %H:%M}, though others got theirs later"
            chain.problem = chain.problem or Problem(None, name, what)


def _instant(told: str) -> datetime:
    """An instant as it was sealed, or the nearest that Python can count on from."""
    try:
        return _FIRST + timedelta(microseconds=max(int(told), 0))
    except ValueError:
        return _LAST if told == "Infinity" else _FIRST
    except OverflowError:
        return _LAST


async def _rows(session: Reader, query: Any, tenant_id: UUID, key: str, after: Any) -> AsyncIterator[Any]:
    more = True
    while more:
        rows = (await session.execute(query, {"tenant": tenant_id, "after": after, "chunk": CHUNK})).all()
        for row in rows:
            yield row
        more = len(rows) == CHUNK
        after = getattr(rows[-1], key) if rows else after


def read_anchors(told: str) -> Mapping[str, Anchor]:
    """The ends of chains from an earlier report as JSON, by tenant. Raises SettingsError for any other text."""
    try:
        chains = json.loads(told)["chains"]
        return {str(each["tenant"]): Anchor(int(each["sequence"]), str(each["hash"])) for each in chains}
    except (ValueError, TypeError, KeyError) as error:
        raise SettingsError("--expect must name what `verify-audit --json` has printed") from error


async def check(
    database: Database, keys: Keys, only: str | None = None, expected: Mapping[str, Anchor] | None = None
) -> list[Chain]:
    """Verify the chain of each tenant, or of one. Raises SettingsError when there is none of this name."""
    expected = expected or {}
    async with database.read(None) as session:
        tenants = (await session.scalars(text("SELECT tenant_id FROM all_tenants()"))).all()
    chains = []
    for tenant_id in tenants:
        async with database.read(tenant_id) as session:
            slug = (await session.execute(select(Tenant.slug).where(Tenant.id == tenant_id))).scalar_one()
            if only in (None, slug):
                chains.append(await verify(session, tenant_id, slug, keys, expected.get(slug)))
    if only is not None and not chains:
        raise SettingsError(f"there is no tenant {only}")
    found = {chain.tenant for chain in chains}
    for slug in sorted(set(expected) - found if only is None else ()):
        chains.append(Chain(slug, problem=Problem(None, None, "the tenant is gone, with all of its entries")))
    return sorted(chains, key=lambda chain: chain.tenant)


def report(chains: list[Chain], as_json: bool, out: TextIO) -> None:
    """One line for each tenant, and one more for what is wrong with it; or all of it as one JSON object."""
    if as_json:
        told = [
            asdict(chain) | {"waiting_since": chain.waiting_since and chain.waiting_since.isoformat()}
            for chain in chains
        ]
        out.write(json.dumps({"ok": not any(chain.problem for chain in chains), "chains": told}, indent=2) + "\n")
        return
    for chain in chains:
        state = "BROKEN" if chain.problem else "ok"
        out.write(f"{chain.tenant:28} {state:7} {chain.sequence} sealed, the last {chain.hash}\n")
        if chain.problem is not None:
            number = "" if chain.problem.sequence is None else f"link {chain.problem.sequence} "
            entry = "" if chain.problem.entry is None else f"({chain.problem.entry}) "
            out.write(f"    {number}{entry}{chain.problem.what}\n")
        if chain.waiting:
            since = f"{chain.waiting_since:%Y-%m-%d %H:%M}"
            out.write(f"    {chain.waiting} not sealed yet, the oldest of {since}: the scheduler seals them\n")


def main(settings: Settings, *, tenant: str | None, as_json: bool, expect: Path | None) -> int:
    """Verify, report on standard output, and give the exit status: 1 when a chain is broken.

    `expect` is a file with an earlier report as JSON.
    """
    expected = None
    if expect is not None:
        try:
            expected = read_anchors(expect.read_text())
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"--expect {expect} cannot be read") from error
    chains = asyncio.run(_checked(settings, tenant, expected))
    report(chains, as_json, sys.stdout)
    return 1 if any(chain.problem for chain in chains) else 0


async def _checked(settings: Settings, tenant: str | None, expected: Mapping[str, Anchor] | None) -> list[Chain]:
    database = Database.of(settings, pool_size=1)
    try:
        return await check(database, Keys.of(settings), tenant, expected)
    finally:
        await database.dispose()

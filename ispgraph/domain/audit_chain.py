"""The chain over a tenant's audit entries: any later change of them is found by whoever has the key.

Entries are written inside business transactions, which must not wait for each other. So they are sealed shortly after
they are committed: `seal` takes those that wait, by id, and gives each a link that counts on from the one before. An
entry whose transaction took longer than that of a younger one gets its link when it is seen.

A link holds two HMAC-SHA256 sums. `content` is that of the entry:

    "ispgraph audit entry 1", tenant, id, at, operator, action, subject, details

and `hash` that of the link:

    "ispgraph audit link 1", the link before, tenant, sequence, entry, sealed_at, key_name, content

Each of these fields is written as the number of its UTF-8 bytes, a colon, and the bytes, and nothing stands between
them. Ids are 32 hexadecimal digits, and sums 64; an id that is NULL is empty, and before the first link stand 64 zeros.
Instants are whole microseconds since 1970 (Infinity, if that stands there). `details` is the text that PostgreSQL
prints of the JSONB. The key never goes into the database: who owns that alone cannot make a link.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Text, Uuid, any_, bindparam, cast, delete, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain.models import AuditEntry, AuditLink, AuditUnsealed
from ispgraph.settings import Settings

CHUNK = 1000
START = bytes(32)
"""What stands before the first link."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# "audi" in ASCII: the first half of the lock that one sealer of a tenant has.
_LOCK = 0x61756469


@dataclass(frozen=True, slots=True)
class Keys:
    """The key that seals, by name, and those that sealed before it."""

    name: str
    by_name: Mapping[str, bytes]

    @classmethod
    def of(cls, settings: Settings) -> "Keys":
        """Those of ISPGRAPH_AUDIT_KEY; without it made of those of ISPGRAPH_TOKEN_KEY."""
        made = (hmac.digest(key, b"ispgraph audit", sha256) for key in settings.token_keys)
        keys = settings.audit_keys or tuple(made)
        by_name = {hmac.digest(key, b"name", sha256).hex()[:16]: key for key in keys}
        return cls(next(iter(by_name)), by_name)

    @property
    def sealing(self) -> bytes:
        """The key that seals."""
        return self.by_name[self.name]


@dataclass(frozen=True, slots=True)
class Entry:
    """An audit entry; `at` and `details` in the form that is sealed, which PostgreSQL makes."""

    id: UUID
    at: str
    operator_id: UUID | None
    action: str
    subject_id: UUID | None
    details: str


def content(key: bytes, tenant_id: UUID, entry: Entry) -> bytes:
    """The sum of an entry."""
    return _sum(
        key,
        "ispgraph audit entry 1",
        tenant_id.hex,
        entry.id.hex,
        entry.at,
        "" if entry.operator_id is None else entry.operator_id.hex,
        entry.action,
        "" if entry.subject_id is None else entry.subject_id.hex,
        entry.details,
    )


def link(key: bytes, before: bytes, row: Any, sealed_at: str) -> bytes:
    """The sum of a link, an AuditLink or a row with its columns, that follows the link with the sum `before`."""
    return _sum(
        key,
        "ispgraph audit link 1",
        before.hex(),
        row.tenant_id.hex,
        str(row.sequence),
        row.entry_id.hex,
        sealed_at,
        row.key_name,
        row.content.hex(),
    )


def _sum(key: bytes, *fields: str) -> bytes:
    told = bytearray()
    for field in fields:
        written = field.encode()
        told += b"%d:" % len(written) + written
    return hmac.digest(key, told, sha256)


async def waiting_tenants(session: AsyncSession) -> Sequence[UUID]:
    """The tenants with entries that wait for their links."""
    return (await session.scalars(text("SELECT tenant_id FROM unsealed_tenants()"))).all()


async def seal(session: AsyncSession, tenant_id: UUID, keys: Keys) -> int:
    """Give up to CHUNK of the tenant's entries that wait their links; how many."""
    # Of two sealers the second counts on from where the first has come.
    await session.execute(select(func.pg_advisory_xact_lock(_LOCK, func.hashtext(str(tenant_id)))))
    newest = select(AuditLink.sequence, AuditLink.hash).order_by(AuditLink.sequence.desc()).limit(1)
    head = (await session.execute(newest.where(AuditLink.tenant_id == tenant_id))).one_or_none()
    sequence, before = (0, START) if head is None else head
    entries = await session.execute(
        select(
            AuditEntry.id,
            cast(func.trunc(func.extract("epoch", AuditEntry.at) * 1_000_000), Text),
            AuditEntry.operator_id,
            AuditEntry.action,
            AuditEntry.subject_id,
            cast(AuditEntry.details, Text).label("details"),
        )
        .join(AuditUnsealed, (AuditUnsealed.tenant_id == tenant_id) & (AuditUnsealed.entry_id == AuditEntry.id))
        .where(AuditEntry.tenant_id == tenant_id)
        .order_by(AuditUnsealed.entry_id)
        .limit(CHUNK)
    )
    at, links = clock.now(), []
    told = str((at - _EPOCH) // timedelta(microseconds=1))
    for entry in entries:
        sequence += 1
        row = AuditLink(
            tenant_id=tenant_id,
            sequence=sequence,
            entry_id=entry.id,
            sealed_at=at,
            key_name=keys.name,
            content=content(keys.sealing, tenant_id, Entry(*entry)),
        )
        row.hash = before = link(keys.sealing, before, row, told)
        links.append(row)
    if not links:
        return 0
    columns = [column.name for column in AuditLink.__table__.columns]
    await session.execute(insert(AuditLink), [{name: getattr(row, name) for name in columns} for row in links])
    sealed = bindparam("sealed", [row.entry_id for row in links], ARRAY(Uuid()))
    mine = (AuditUnsealed.tenant_id == tenant_id) & (AuditUnsealed.entry_id == any_(sealed))
    await session.execute(delete(AuditUnsealed).where(mine))
    return len(links)

"""The same key and the same input get the first answer again; the effect happens once.

The claim, the effect and the answer are one transaction: a crash leaves all of them or none. A second request with the
key waits for the first one's end at the claim.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain.errors import ErrorCode, fail
from ispgraph.domain.models import IdempotencyKey
from ispgraph.domain.permissions import Viewer

KEPT = timedelta(days=7)


async def claim(
    session: AsyncSession,
    *,
    by: Viewer,
    operation: str,
    key: str | None,
    given: Mapping[str, object],
    or_given: Sequence[Mapping[str, object]] = (),
) -> dict[str, object] | None:
    """None when the key is new and now ours, or there is none; the first answer when it was used with the same input.
    `or_given` are other spellings of this input: those that were in use before.

    Raises DomainError IDEMPOTENCY_KEY_REUSED when it was used with another input.
    """
    if key is None:
        return None
    if not 1 <= len(key) <= 255:
        raise fail(ErrorCode.INVALID, "An idempotency key has 1 to 255 characters.", "input", "idempotencyKey")
    digest = _digest(given)
    names = {"tenant_id": by.tenant_id, "operator_id": by.operator_id, "operation": operation, "key": key}
    claimed = await session.execute(
        insert(IdempotencyKey).values(**names, input_hash=digest, created_at=clock.now()).on_conflict_do_nothing()
    )
    if claimed.rowcount:  # type: ignore[attr-defined]
        return None
    row = await session.scalar(select(IdempotencyKey).filter_by(**names))
    if row is None or row.input_hash not in (digest, *map(_digest, or_given)):
        message = "This idempotency key was used with another input."
        raise fail(ErrorCode.IDEMPOTENCY_KEY_REUSED, message, "input", "idempotencyKey")
    return row.answer or {}


def _digest(given: Mapping[str, object]) -> bytes:
    return hashlib.sha256(json.dumps(given, sort_keys=True, default=str).encode()).digest()


async def keep(
    session: AsyncSession, *, by: Viewer, operation: str, key: str | None, answer: Mapping[str, object]
) -> None:
    """Store what a claimed key answers from now on, if there is one. The answer holds ids, never secrets."""
    if key is None:
        return
    await session.execute(
        update(IdempotencyKey)
        .filter_by(tenant_id=by.tenant_id, operator_id=by.operator_id, operation=operation, key=key)
        .values(answer=dict(answer))
    )


@dataclass(frozen=True, slots=True)
class Once:
    """A key, and what it is used for: where the claim and the answer lie apart."""

    by: Viewer
    operation: str
    key: str | None
    given: Mapping[str, object]
    or_given: Sequence[Mapping[str, object]] = ()

    async def claim(self, session: AsyncSession) -> dict[str, object] | None:
        """As the function of this name."""
        return await claim(
            session, by=self.by, operation=self.operation, key=self.key, given=self.given, or_given=self.or_given
        )

    async def keep(self, session: AsyncSession, answer: Mapping[str, object]) -> None:
        """As the function of this name."""
        await keep(session, by=self.by, operation=self.operation, key=self.key, answer=answer)

    async def used(self, session: AsyncSession) -> bool:
        """Whether the key was used for this before, with whatever input."""
        names = {"tenant_id": self.by.tenant_id, "operator_id": self.by.operator_id, "operation": self.operation}
        rows = select(IdempotencyKey.key).filter_by(**names, key=self.key)
        return self.key is not None and await session.scalar(rows) is not None


async def prune(session: AsyncSession) -> None:
    """Forget keys older than a week; what must be unique for ever has a natural key."""
    await session.execute(delete(IdempotencyKey).where(IdempotencyKey.created_at < clock.now() - KEPT))

"""Who is behind a token, asked of the database and believed for half a second.

The half second is what keeps a burst of requests from one panel cheap, and what bounds how long another process may
still accept a sign-in that was just ended.
"""

import asyncio
import time
from uuid import UUID

from sqlalchemy import Select, any_, func, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from ispgraph import clock
from ispgraph.db import Database, after_commit
from ispgraph.domain.models import Operator, Role, SignIn, Tenant
from ispgraph.domain.permissions import Permission, Viewer, scope_of
from ispgraph.domain.tokens import Claims

_BELIEVED_SECONDS = 0.5
_MOST = 10_000


class _Recent:
    """What was just read. `generation` tells a reader that what it read may be older than the last `drop`."""

    def __init__(self) -> None:
        self.viewers: dict[Claims, tuple[float, Viewer]] = {}
        self.generation = 0
        self.reading: dict[tuple[Claims, int], asyncio.Task[Viewer | None]] = {}

    def keep(self, claims: Claims, viewer: Viewer, generation: int) -> None:
        if generation == self.generation:
            if len(self.viewers) >= _MOST:
                self.viewers.clear()
            self.viewers[claims] = (time.monotonic() + _BELIEVED_SECONDS, viewer)

    async def drop(self) -> None:
        self.generation += 1
        self.viewers.clear()


_recent = _Recent()


async def of_claims(database: Database, claims: Claims) -> Viewer | None:
    """The viewer of a verified token; None once the sign-in has ended or the operator may no longer sign in."""
    until, known = _recent.viewers.get(claims, (0.0, None))
    if known is not None and until > time.monotonic():
        return known
    # All who present one token at a time wait for one reading: a panel's sockets are asked in step.
    key = (claims, _recent.generation)
    reading = _recent.reading.get(key)
    if reading is None or reading.get_loop() is not asyncio.get_running_loop():
        reading = _recent.reading[key] = asyncio.create_task(_read(database, claims, _recent.generation))
        reading.add_done_callback(lambda done: _recent.reading.get(key) is done and _recent.reading.pop(key))
    return await asyncio.shield(reading)


async def _read(database: Database, claims: Claims, generation: int) -> Viewer | None:
    async with database.read(claims.tenant_id) as session:
        viewer = await find(session, claims)
    if viewer is not None:
        _recent.keep(claims, viewer, generation)
    return viewer


async def find(session: AsyncSession, claims: Claims) -> Viewer | None:
    """As `of_claims`, within a session and always from the database."""
    row = (await session.execute(_behind(claims))).one_or_none()
    if row is None:
        return None
    operator: Operator = row.Operator
    above = {UUID(key): Role(role) for key, role in row.above.items()}
    return Viewer(
        tenant_id=operator.tenant_id,
        operator_id=operator.id,
        name=operator.name,
        role=operator.role,
        level=operator.level,
        permissions=frozenset(Permission(name) for name in operator.permissions),
        scope_id=scope_of(operator, above),
        session_id=claims.session_id,
        expires_at=claims.expires_at,
        currency=row.currency,
        country=row.country,
        time_zone=row.time_zone,
    )


def forget_after_commit(session: AsyncSession) -> None:
    """Believe nothing in this process that was read before the transaction at hand commits."""
    after_commit(session, _recent.drop)


def _behind(claims: Claims) -> Select[tuple[Operator, str, str, str, dict[str, str]]]:
    higher = aliased(Operator)
    above = (
        select(func.coalesce(func.jsonb_object_agg(higher.id, higher.role), func.jsonb_build_object(), type_=JSONB))
        .where(higher.tenant_id == Operator.tenant_id, higher.id == any_(Operator.ancestors))
        .correlate(Operator)
        .scalar_subquery()
    )
    return (
        select(Operator, Tenant.currency, Tenant.country, Tenant.time_zone, above.label("above"))
        .join(SignIn, (SignIn.tenant_id == Operator.tenant_id) & (SignIn.operator_id == Operator.id))
        .join(Tenant, Tenant.id == Operator.tenant_id)
        .where(
            SignIn.id == claims.session_id,
            SignIn.ended_at.is_(None),
            SignIn.expires_at > clock.now(),
            SignIn.token_version == Operator.token_version,
            Operator.id == claims.operator_id,
            Operator.token_version == claims.version,
            Operator.active,
        )
    )

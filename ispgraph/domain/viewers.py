"""Who is behind a token, asked of the database and believed for half a second.

The half second is what keeps a burst of requests from one panel cheap, and what bounds how long another process may
still accept a sign-in that was just ended. Tokens that are presented at the same moment, as those of all who listen are
every second, are asked about in one statement for each tenant.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids
from ispgraph.db import Database, after_commit
from ispgraph.domain import viewer_rows
from ispgraph.domain.models import (
    ApiToken,
    Operator,
    Role,
    Tenant,
)
from ispgraph.domain.permissions import LEVELS, Permission, Viewer, scope_of
from ispgraph.domain.tokens import Claims

_BELIEVED_SECONDS = 0.5
_MOST = 10_000
API_TOKEN = "ispg_"  # noqa: S105  the beginning of all of them
"""What the tokens of programs begin with."""
_USED = timedelta(minutes=1)


class _Recent:
    """What was just read. `generation` tells a reader that what it read may be older than the last `drop`."""

    def __init__(self) -> None:
        self.viewers: dict[Claims, tuple[float, Viewer]] = {}
        self.programs: dict[bytes, tuple[float, Viewer]] = {}
        self.generation = 0
        self.reading: dict[tuple[Claims, int], _Batch] = {}
        self.gathering: dict[tuple[Database, UUID], _Batch] = {}

    def keep(self, claims: Claims, viewer: Viewer, generation: int) -> None:
        if generation == self.generation:
            if len(self.viewers) >= _MOST:
                self.viewers.clear()
            self.viewers[claims] = (time.monotonic() + _BELIEVED_SECONDS, viewer)

    async def drop(self) -> None:
        self.generation += 1
        self.viewers.clear()
        self.programs.clear()


_recent = _Recent()


async def of_claims(database: Database, claims: Claims) -> Viewer | None:
    """The viewer of a verified token; None once the sign-in has ended or whoever it is may no longer sign in."""
    until, known = _recent.viewers.get(claims, (0.0, None))
    if known is not None and until > time.monotonic():
        return known
    # All who present one token at a time wait for one reading: a panel's sockets are asked in step.
    key = (claims, _recent.generation)
    batch = _recent.reading.get(key)
    if batch is None or batch.task.get_loop() is not asyncio.get_running_loop():
        batch = _recent.reading[key] = _gather(database, claims)
    return (await asyncio.shield(batch.task)).get(claims)


async def of_api_token(database: Database, token: str) -> Viewer | None:
    """The operator for whom a program with this token acts; None once the token has ended, or the operator may no
    longer sign in. That it was used is noted once a minute."""
    named = _named(token)
    if named is None:
        return None
    (tenant_id, token_id), generation = named, _recent.generation
    digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
    until, known = _recent.programs.get(digest, (0.0, None))
    if known is not None and until > time.monotonic():
        return known
    now = clock.now()
    async with database.read(tenant_id) as session:
        row = (await session.execute(viewer_rows.program(), {"token": token_id, "now": now})).one_or_none()
    if row is None or not hmac.compare_digest(row.digest, digest):
        return None
    if row.last_used_at is None or row.last_used_at <= now - _USED:
        used = update(ApiToken).where(ApiToken.id == token_id).values(last_used_at=now)
        async with database.transaction(tenant_id) as session:
            await session.execute(used)
    claims = Claims(tenant_id, row.id, token_id, row.token_version, row.ends_at)
    viewer = _viewer(claims, row)
    if generation == _recent.generation:
        if len(_recent.programs) >= _MOST:
            _recent.programs.clear()
        _recent.programs[digest] = (time.monotonic() + _BELIEVED_SECONDS, viewer)
    return viewer


def _named(token: str) -> tuple[UUID, UUID] | None:
    """The tenant and the row that a program's token names."""
    _, _, rest = token.removeprefix(API_TOKEN).partition("_")
    try:
        raw = base64.b64decode(rest + "=" * (-len(rest) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return (UUID(bytes=raw[:16]), UUID(bytes=raw[16:32])) if len(raw) == 64 else None


class _Batch:
    """Tokens of one tenant that are asked about together; more may come until it begins to read."""

    def __init__(self, database: Database, tenant_id: UUID, generation: int) -> None:
        self.generation = generation
        self.claims: list[Claims] = []
        self.task = asyncio.create_task(self._read(database, tenant_id))

    async def _read(self, database: Database, tenant_id: UUID) -> dict[Claims, Viewer]:
        if _recent.gathering.get((database, tenant_id)) is self:
            del _recent.gathering[database, tenant_id]
        try:
            async with database.read(tenant_id) as session:
                found = await _behind(session, self.claims)
        finally:
            for claims in self.claims:
                if _recent.reading.get((claims, self.generation)) is self:
                    del _recent.reading[claims, self.generation]
        for claims, viewer in found.items():
            _recent.keep(claims, viewer, self.generation)
        return found


def _gather(database: Database, claims: Claims) -> _Batch:
    batch = _recent.gathering.get((database, claims.tenant_id))
    if (
        batch is None
        or batch.generation != _recent.generation
        or batch.task.get_loop() is not asyncio.get_running_loop()
    ):
        batch = _Batch(database, claims.tenant_id, _recent.generation)
        _recent.gathering[database, claims.tenant_id] = batch
    batch.claims.append(claims)
    return batch


async def find(session: AsyncSession, claims: Claims) -> Viewer | None:
    """As `of_claims`, within a session and always from the database."""
    return (await _behind(session, [claims])).get(claims)


async def of_operator(session: AsyncSession, operator_id: UUID) -> Viewer | None:
    """What is done for an operator while nobody is there may as much as that one may now; None for one who may not
    sign in. No sign-in stands behind it."""
    return await _at_work(session, operator_id, operator_id, clock.now() + _USED)


async def on_behalf(session: AsyncSession, operator_id: UUID, *, job_id: UUID, acting_id: UUID | None) -> Viewer | None:
    """The operator whose wish a job carries out, with what it may do by now; None when it may not sign in any more.

    `acting_id` had signed in in its place, and is named in the record.
    """
    viewer = await _at_work(session, operator_id, job_id, clock.now())
    return None if viewer is None else replace(viewer, acting_id=acting_id)


async def _at_work(session: AsyncSession, operator_id: UUID, behind: UUID, until: datetime) -> Viewer | None:
    asked = {"operator": operator_id, "now": clock.now()}
    row = (await session.execute(viewer_rows.at_work(), asked)).one_or_none()
    return None if row is None else _viewer(Claims(row.tenant_id, row.id, behind, row.token_version, until), row)


def standing_in(tenant: Tenant, who: Operator, permissions: frozenset[Permission]) -> Viewer:
    """Who does what nobody has signed in for: in the operator's name, for all of the house, with these rights."""
    return Viewer(
        tenant_id=tenant.id,
        operator_id=who.id,
        name=who.name,
        role=who.role,
        level=who.level,
        permissions=permissions,
        scope_id=None,
        session_id=ids.uuid7(),
        expires_at=clock.now(),
        currency=tenant.currency,
        country=tenant.country,
        time_zone=tenant.time_zone,
        usage_detail_days=tenant.usage_detail_days,
    )


async def _behind(session: AsyncSession, presented: Sequence[Claims]) -> dict[Claims, Viewer]:
    found = {}
    for statement, viewer, of_customers in (
        (viewer_rows.signed_in, _viewer, False),
        (viewer_rows.customers, _customer, True),
    ):
        mine = [claims for claims in presented if claims.of_customer is of_customers]
        if not mine:
            continue
        asked = {"sign_ins": [claims.session_id for claims in mine], "now": clock.now()}
        rows = {row.sign_in_id: row for row in await session.execute(statement(), asked)}
        for claims in mine:
            row = rows.get(claims.session_id)
            if row is not None and (row.id, row.token_version) == (claims.operator_id, claims.version):
                found[claims] = viewer(claims, row)
    return found


def _customer(claims: Claims, row: Any) -> Viewer:
    return Viewer(
        tenant_id=row.tenant_id,
        operator_id=row.id,
        name=row.name,
        role=Role.CUSTOMER,
        level=LEVELS[Role.CUSTOMER],
        permissions=frozenset(),
        scope_id=row.id,
        session_id=claims.session_id,
        expires_at=claims.expires_at,
        currency=row.currency,
        country=row.country,
        time_zone=row.time_zone,
        usage_detail_days=row.usage_detail_days,
        customer_id=row.id,
        admin_id=row.admin_id,
    )


def _viewer(claims: Claims, row: Any) -> Viewer:
    at_most = frozenset(Permission) if row.at_most is None else frozenset(map(Permission, row.at_most))
    own = frozenset(map(Permission, row.permissions)) & at_most
    granted = [
        (Permission(name), None if zone is None else UUID(zone), ends is not None)
        for name, zone, ends in row.granted
        if Permission(name) in at_most
    ]
    looks_at = {zone for permission, zone, _ in granted if permission is Permission.VIEW_CUSTOMERS and zone is not None}
    everywhere = {permission for permission, zone, _ in granted if zone is None}
    for_good = own | {permission for permission, zone, ends in granted if zone is None and not ends}
    return Viewer(
        tenant_id=row.tenant_id,
        operator_id=row.id,
        name=row.name,
        role=row.role,
        level=row.level,
        permissions=own | everywhere,
        lent=frozenset(everywhere - for_good),
        zoned=frozenset(
            (permission, zone)
            for permission, zone, _ in granted
            if zone is not None and permission not in own | everywhere
        ),
        zones_seen=tuple(sorted(looks_at)) if looks_at and Permission.VIEW_CUSTOMERS not in own | everywhere else None,
        acting_id=row.acting_id,
        by_token=row.by_token,
        scope_id=scope_of(row, {UUID(key): Role(role) for key, role in row.above.items()}),
        session_id=claims.session_id,
        expires_at=claims.expires_at,
        currency=row.currency,
        country=row.country,
        time_zone=row.time_zone,
        usage_detail_days=row.usage_detail_days,
    )


def forget_after_commit(session: AsyncSession) -> None:
    """Believe nothing in this process that was read before the transaction at hand commits."""
    after_commit(session, _recent.drop)

"""Permissions that an operator has beside its own ones: for a while, for the customers of one zone, or both."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import audit, operators, viewers
from ispgraph.domain.errors import ErrorCode, Faults, fail, not_found
from ispgraph.domain.models import Operator, OperatorGrant, Zone
from ispgraph.domain.permissions import IN_ZONES, Permission, Viewer
from ispgraph.domain.references import optional_id, typed_id

MOST = 200
"""How many one operator may have at a time."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A grant to be, with public ids."""

    operator_id: str
    permission: Permission
    zone_id: str | None
    expires_at: datetime | None


def in_force(grant: Any, at: Any) -> ColumnElement[bool]:
    """Whether a grant counts at an instant."""
    return and_(grant.ended_at.is_(None), or_(grant.expires_at.is_(None), grant.expires_at > at))


def visible(by: Viewer, grant: Any = OperatorGrant) -> ColumnElement[bool]:
    """The grants of the operators whom a viewer may see."""
    found: ColumnElement[bool] = grant.operator_id.in_(select(Operator.id).where(operators.visible(by)))
    return found


async def give(session: AsyncSession, wanted: Wanted, *, by: Viewer) -> OperatorGrant:
    """Grant a permission to an operator below the viewer; one for the same zone, or for all of them, ends with it.

    Raises DomainError: NOT_PERMITTED for a permission that the viewer has not got for good, INVALID for one that is
    about more than one customer and was limited to a zone, or for a time that is over, LIMIT_EXCEEDED.
    """
    now = clock.now()
    row = await operators.lock_below(session, wanted.operator_id, "input", "operatorId", by=by)
    faults = Faults("input")
    if wanted.permission not in by.lasting:
        faults.add(ErrorCode.NOT_PERMITTED, operators.beyond([wanted.permission], by), "permission")
    zone_id = optional_id("zon", wanted.zone_id, "input", "zoneId")
    if zone_id is not None and await session.get(Zone, zone_id) is None:
        faults.add(ErrorCode.NOT_FOUND, "There is no such zone.", "zoneId")
    if zone_id is not None and wanted.permission not in IN_ZONES:
        message = "This permission is not about single customers, so it cannot be limited to a zone."
        faults.add(ErrorCode.INVALID, message, "zoneId")
    if wanted.expires_at is not None and wanted.expires_at <= now:
        faults.add(ErrorCode.INVALID, "A grant ends later than now.", "expiresAt")
    if zone_id is None and wanted.expires_at is None:
        message = "A grant ends some time or is limited to a zone: operatorSetPermissions gives for good."
        faults.add(ErrorCode.REQUIRED, message, "expiresAt")
    faults.raise_if_any()
    held = select(OperatorGrant).where(OperatorGrant.operator_id == row.id, OperatorGrant.ended_at.is_(None))
    same = held.where(
        OperatorGrant.permission == wanted.permission.value, OperatorGrant.zone_id.is_not_distinct_from(zone_id)
    )
    former = await session.scalar(same.with_for_update())
    if former is not None:
        former.ended_at, former.ended_by_id = now, by.operator_id
        await session.flush()
    counting = select(func.count()).where(OperatorGrant.operator_id == row.id, in_force(OperatorGrant, now))
    if (await session.scalar(counting) or 0) >= MOST:
        raise fail(ErrorCode.LIMIT_EXCEEDED, f"An operator has at most {MOST} grants.", "input", "operatorId")
    grant = OperatorGrant(
        tenant_id=by.tenant_id,
        operator_id=row.id,
        permission=wanted.permission.value,
        zone_id=zone_id,
        expires_at=wanted.expires_at,
        created_at=now,
        granted_by_id=by.operator_id,
    )
    session.add(grant)
    await session.flush()
    details = {**_details(grant), "in_place_of": str(former.id) if former else None}
    audit.record(session, by=by, action="operator.grant", subject_id=row.id, details=details)
    viewers.forget_after_commit(session)
    return grant


async def take_back(session: AsyncSession, grant_id: str, *, by: Viewer) -> OperatorGrant:
    """End a grant of an operator below the viewer, in effect with that one's next request.

    Raises DomainError NOT_FOUND, NOT_PERMITTED, INVALID_STATE for one that has ended.
    """
    key, now = typed_id("gra", grant_id, "grantId"), clock.now()
    rows = select(OperatorGrant).where(OperatorGrant.id == key, visible(by)).with_for_update()
    grant = await session.scalar(rows)
    if grant is None:
        raise not_found("grant", "grantId")
    if not operators.commands(by, await session.get_one(Operator, grant.operator_id)):
        raise fail(ErrorCode.NOT_PERMITTED, "You may manage operators below you only.", "grantId")
    if grant.ended_at is not None or (grant.expires_at is not None and grant.expires_at <= now):
        raise fail(ErrorCode.INVALID_STATE, "This grant has ended already.", "grantId")
    grant.ended_at, grant.ended_by_id = now, by.operator_id
    details = _details(grant)
    audit.record(session, by=by, action="operator.revoke_grant", subject_id=grant.operator_id, details=details)
    await session.flush()
    viewers.forget_after_commit(session)
    return grant


def _details(grant: OperatorGrant) -> dict[str, object]:
    return {
        "grant": str(grant.id),
        "permission": grant.permission,
        "zone": str(grant.zone_id) if grant.zone_id else None,
        "expires_at": grant.expires_at.isoformat() if grant.expires_at else None,
    }

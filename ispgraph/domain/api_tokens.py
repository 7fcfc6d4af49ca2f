"""Long-lived tokens of programs that act for an operator, with a part of that one's permissions."""

import base64
import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids
from ispgraph.domain import audit, operators, sign_in, values, viewers
from ispgraph.domain.errors import ErrorCode, Faults, fail, not_found
from ispgraph.domain.models import ApiToken, Operator
from ispgraph.domain.permissions import Permission, Viewer
from ispgraph.domain.references import typed_id

MOST = 50
"""How many one operator may have at a time."""
LONGEST = timedelta(days=730)


@dataclass(frozen=True, slots=True)
class Made:
    """A new token, told once."""

    token: str
    row: ApiToken


def visible(by: Viewer, row: Any = ApiToken) -> ColumnElement[bool]:
    """The viewer's tokens, and, with the permission MANAGE_OPERATORS, those of the operators below."""
    return operators.own_or_below(by, row.operator_id)


def in_force(row: Any, at: Any) -> ColumnElement[bool]:
    """Whether a token lets anybody in at an instant."""
    found: ColumnElement[bool] = row.revoked_at.is_(None) & (row.expires_at > at)
    return found


async def create(
    session: AsyncSession, name: str, permissions: Collection[Permission], expires_at: datetime, *, by: Viewer
) -> Made:
    """A token for the viewer. It never may more than the viewer may at the time it is used.

    Raises DomainError with all that is wrong: NOT_PERMITTED for a permission that the viewer has not, and for whoever
    acts for another or is a program; INVALID for an end that is over or too far, LIMIT_EXCEEDED.
    """
    sign_in.require_person(by)
    faults, now = Faults("input"), clock.now()
    called = values.checked(faults, values.text, name, 120, at=("name",))
    missing = set(permissions) - by.permissions - {permission for permission, _ in by.zoned}
    if missing:
        message = f"You do not have these yourself: {', '.join(operators.spelt(missing))}."
        faults.add(ErrorCode.NOT_PERMITTED, message, "permissions")
    if not now < expires_at <= now + LONGEST:
        faults.add(ErrorCode.INVALID, f"A token ends within {LONGEST.days} days.", "expiresAt")
    faults.raise_if_any()
    await session.get_one(Operator, by.operator_id, with_for_update=True)
    counting = select(func.count()).where(ApiToken.operator_id == by.operator_id, in_force(ApiToken, now))
    if (await session.scalar(counting) or 0) >= MOST:
        raise fail(ErrorCode.LIMIT_EXCEEDED, f"You have {MOST} tokens: revoke one first.", "input", "name")
    key = ids.uuid7()
    prefix = f"{viewers.API_TOKEN}{key.hex[-8:]}"
    rest = base64.urlsafe_b64encode(by.tenant_id.bytes + key.bytes + secrets.token_bytes(32)).decode().rstrip("=")
    token = f"{prefix}_{rest}"
    row = ApiToken(
        id=key,
        tenant_id=by.tenant_id,
        operator_id=by.operator_id,
        name=called,
        prefix=prefix,
        digest=hashlib.sha256(token.encode()).digest(),
        permissions=operators.spelt(permissions),
        expires_at=expires_at,
        created_at=now,
    )
    session.add(row)
    await session.flush()
    details = {"token": prefix, "permissions": row.permissions, "expires_at": expires_at.isoformat()}
    audit.record(session, by=by, action="operator.create_api_token", subject_id=by.operator_id, details=details)
    return Made(token, row)


async def revoke(session: AsyncSession, token_id: str, *, by: Viewer) -> ApiToken:
    """End a token of the viewer, or of an operator below, at once.

    Raises DomainError NOT_FOUND, INVALID_STATE for one that is revoked or over, NOT_PERMITTED for whoever acts for
    another.
    """
    sign_in.require_person(by)
    key = typed_id("atk", token_id, "tokenId")
    row = await session.scalar(select(ApiToken).where(ApiToken.id == key, visible(by)).with_for_update())
    if row is None:
        raise not_found("API token", "tokenId")
    now = clock.now()
    if row.revoked_at is not None or row.expires_at <= now:
        raise fail(ErrorCode.INVALID_STATE, "This token has ended already.", "tokenId")
    row.revoked_at = now
    await session.flush()
    details = {"token": row.prefix}
    audit.record(session, by=by, action="operator.revoke_api_token", subject_id=row.operator_id, details=details)
    viewers.forget_after_commit(session)
    return row

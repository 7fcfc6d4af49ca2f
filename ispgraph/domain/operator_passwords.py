"""Operators' passwords: changed by whoever knows the present one, set anew by whoever reads the operator's e-mail."""

import hmac
from datetime import timedelta
from uuid import UUID

from redis.asyncio import Redis
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain import (
    audit,
    messages,
    operator_changes,
    password_codes,
    passwords,
    secrets,
    sign_in,
    throttle,
    values,
)
from ispgraph.domain.errors import DomainError, ErrorCode, Faults, fail
from ispgraph.domain.idempotency import Once
from ispgraph.domain.messaging import texts
from ispgraph.domain.models import Operator, PasswordReset, SignIn
from ispgraph.domain.permissions import Viewer
from ispgraph.domain.sign_in import Caller, SignedIn
from ispgraph.settings import Settings

LASTS = timedelta(hours=1)
REQUESTS_FREE = 3
"""So many requests for an address are free of a wait."""


async def prove(database: Database, redis: Redis, password: str, caller: Caller, *, at: str, by: Viewer) -> Operator:
    """The viewer, who has given the password. Raises DomainError INVALID at input and `at`, and throttle.Throttled."""
    sign_in.require_person(by)
    attempt = await throttle.begin(redis, by.operator_id.hex, caller.address, realm="own-")
    async with database.read(by.tenant_id) as session:
        row = await session.get_one(Operator, by.operator_id)
    if not await passwords.verify(row.password_hash, password):
        raise fail(ErrorCode.INVALID, "This is not your password.", "input", at)
    await throttle.give_back(redis, attempt)
    return row


async def change(
    database: Database,
    redis: Redis,
    settings: Settings,
    *,
    current: str,
    new: str,
    idempotency_key: str | None,
    caller: Caller,
    by: Viewer,
) -> SignedIn:
    """Set another password. Every other sign-in ends; this one goes on with the token that comes out. Done before with
    the key: a token of the sign-in that asks, for whoever gives what is the password by now.

    Raises DomainError: INVALID for a wrong present password or an unfit new one, NO_CHANGE when it is the same,
    NOT_PERMITTED as `sign_in.require_person`; and throttle.Throttled.
    """
    once = change_once(settings, idempotency_key, current, new, by)
    again = await database.run(by.tenant_id, once.used)
    proved = await prove(database, redis, new if again else current, caller, at="currentPassword", by=by)
    hashed = None if again else await other(current, new, proved.email)

    async def work(session: AsyncSession) -> SignedIn:
        if await once.claim(session) is not None or hashed is None:
            return await sign_in.renew(session, settings, by=by)
        row = await _locked(session, by.operator_id)
        if row is None or row.password_hash != proved.password_hash:
            raise fail(ErrorCode.INVALID, "This is not your password.", "input", "currentPassword")
        await _set(session, row, hashed, but=by.session_id)
        kept = await session.get_one(SignIn, by.session_id, with_for_update=True, populate_existing=True)
        kept.token_version = row.token_version
        await session.flush()
        await once.keep(session, {"operator": str(row.id)})
        audit.record(session, by=by, action="operator.change_password", subject_id=row.id)
        await messages.tell_operator(session, row, "operator.security", what="your password was changed")
        return await sign_in.renew(session, settings, by=by)

    return await database.run(by.tenant_id, work)


def change_once(settings: Settings, key: str | None, current: str, new: str, by: Viewer) -> Once:
    """One change of a password, of which neither password is kept."""
    given = {name: secrets.digest(settings.network_key, each) for name, each in (("current", current), ("new", new))}
    return Once(by, "passwordChange", key, given)


async def other(current: str, new: str, email: str | None) -> str:
    """Another password, hashed. Raises DomainError INVALID for an unfit one, NO_CHANGE when it is the same."""
    faults = Faults("input")
    values.checked(faults, passwords.fit, new, email, at=("newPassword",))
    faults.raise_if_any()
    if current == new:
        raise fail(ErrorCode.NO_CHANGE, "This is your password already.", "input", "newPassword")
    return await passwords.hashed(new)


async def request(
    database: Database, redis: Redis, settings: Settings, *, email: str, tenant: str | None, caller: Caller
) -> None:
    """Send a code to whoever has this address, if anybody; nothing tells whether it was sent. Former codes are void.

    Raises DomainError REQUIRED without an address, and throttle.Throttled.
    """
    account, slug = sign_in.account_and_slug(email, tenant)
    if not account:
        raise fail(ErrorCode.REQUIRED, "This is required.", "input", "email")
    await throttle.begin(redis, account, caller.address, realm="reset-", account_free=REQUESTS_FREE)
    for place in await sign_in.places(database, account, slug):

        async def work(session: AsyncSession, place: sign_in.Place = place) -> None:
            await _request(session, settings, place.operator_id)

        await database.run(place.tenant_id, work)


async def _request(session: AsyncSession, settings: Settings, operator_id: UUID) -> None:
    row = await _locked(session, operator_id)
    if row is None:
        return
    await session.execute(delete(PasswordReset).where(PasswordReset.operator_id == row.id))
    key, now = ids.uuid7(), clock.now()
    code = password_codes.code(settings.network_key, row.tenant_id, key)
    session.add(
        PasswordReset(
            id=key,
            tenant_id=row.tenant_id,
            operator_id=row.id,
            digest=password_codes.digest(code),
            created_at=now,
            expires_at=now + LASTS,
        )
    )
    page = f"{settings.origin}{password_codes.PAGE}/{texts.MASK}"
    await messages.tell_operator(session, row, password_codes.EVENT, once=password_codes.once(key), code="", url=page)
    audit.noticed(session, row.tenant_id, "operator.request_password", row.id, {})


async def reset(database: Database, *, code: str, new: str) -> None:
    """Set a password by the code that was sent. Every sign-in ends; a second factor stays as it is.

    Raises DomainError INVALID for a code that was never sent, is over or was used, and for an unfit password.
    """
    named = password_codes.meant(code)
    if named is None:
        raise no_code()
    tenant_id, reset_id = named

    async def work(session: AsyncSession) -> None:
        asked = await session.get(PasswordReset, reset_id, with_for_update=True)
        if (
            asked is None
            or not hmac.compare_digest(asked.digest, password_codes.digest(code))
            or asked.used_at is not None
            or asked.expires_at <= clock.now()
        ):
            raise no_code()
        row = await _locked(session, asked.operator_id)
        if row is None:
            raise no_code()
        faults = Faults("input")
        values.checked(faults, passwords.fit, new, row.email, at=("newPassword",))
        faults.raise_if_any()
        await _set(session, row, await passwords.hashed(new), but=None)
        audit.noticed(session, row.tenant_id, "operator.reset_password", row.id, {})
        told = "your password was set anew by a code that was sent to this address"
        await messages.tell_operator(session, row, "operator.security", what=told)

    await database.run(tenant_id, work)


async def _locked(session: AsyncSession, operator_id: UUID) -> Operator | None:
    rows = select(Operator).where(Operator.id == operator_id, Operator.active).with_for_update()
    return await session.scalar(rows.execution_options(populate_existing=True))


async def _set(session: AsyncSession, row: Operator, hashed: str, *, but: UUID | None) -> None:
    row.password_hash = hashed
    await session.flush()
    await operator_changes.shut_out(session, [row.id], but=but)
    await operator_changes.void_resets(session, [row.id])
    await session.refresh(row)


def no_code() -> DomainError:
    """The answer to a code that sets no password."""
    return fail(ErrorCode.INVALID, "This code is wrong, was used, or is older than an hour.", "input", "code")

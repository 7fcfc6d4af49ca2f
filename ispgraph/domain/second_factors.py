"""The second factor of an operator's sign-in: begun, confirmed, and done without. See `one_time_codes`."""

import secrets as randomness
from collections.abc import Sequence
from dataclasses import dataclass

import pyotp
from redis.asyncio import Redis
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.db import Database
from ispgraph.domain import (
    audit,
    messages,
    one_time_codes,
    operator_changes,
    operator_passwords,
    operators,
    secrets,
    sign_in,
    throttle,
)
from ispgraph.domain.errors import ErrorCode, fail
from ispgraph.domain.idempotency import Once
from ispgraph.domain.models import Operator, SecondFactor, Tenant
from ispgraph.domain.permissions import Viewer
from ispgraph.domain.sign_in import Caller
from ispgraph.settings import Settings

RECOVERY_CODES = 10
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


@dataclass(frozen=True, slots=True)
class Begun:
    """What a device needs to know; it is told until the factor counts."""

    secret: str | None
    uri: str | None
    """The same for a picture (otpauth)."""


async def begin(
    database: Database,
    redis: Redis,
    settings: Settings,
    *,
    password: str,
    idempotency_key: str | None,
    caller: Caller,
    by: Viewer,
) -> Begun:
    """A new secret for the viewer, which counts when a code of it has come back. The answer to a repetition holds the
    same one, as long as it waits to be confirmed.

    Raises DomainError INVALID for a wrong password, INVALID_STATE while there is a second factor; and
    throttle.Throttled.
    """
    proved = await operator_passwords.prove(database, redis, password, caller, at="password", by=by)
    bound_to = secrets.second_factor(by.tenant_id, by.operator_id)
    once = Once(by, "twoFactorBegin", idempotency_key, {})

    async def work(session: AsyncSession) -> Begun:
        await session.get_one(Operator, by.operator_id, with_for_update=True)
        first = await once.claim(session)
        if first is not None:
            # Kept sealed in its own row, and nowhere else.
            row = await one_time_codes.locked(session, by.operator_id)
            if row is None or row.confirmed_at is not None or str(row.id) != first["factor"]:
                return Begun(None, None)
            return await told(session, secrets.unseal(settings.network_key, row.secret, bound_to))
        if await one_time_codes.confirmed(session, by.operator_id):
            raise fail(ErrorCode.INVALID_STATE, "You have a second factor: disable it first.")
        await session.execute(delete(SecondFactor).where(SecondFactor.operator_id == by.operator_id))
        secret = pyotp.random_base32()
        sealed = secrets.seal(settings.network_key, secret, bound_to)
        row = SecondFactor(tenant_id=by.tenant_id, operator_id=by.operator_id, secret=sealed)
        session.add(row)
        await session.flush()
        audit.record(session, by=by, action="operator.begin_second_factor", subject_id=by.operator_id)
        await once.keep(session, {"factor": str(row.id)})
        return await told(session, secret)

    async def told(session: AsyncSession, secret: str) -> Begun:
        issuer = (await session.get_one(Tenant, by.tenant_id)).name
        return Begun(secret, pyotp.TOTP(secret).provisioning_uri(name=proved.email, issuer_name=issuer))

    return await database.run(by.tenant_id, work)


async def confirm(
    database: Database,
    redis: Redis,
    settings: Settings,
    *,
    code: str,
    idempotency_key: str | None,
    caller: Caller,
    by: Viewer,
) -> Sequence[str] | None:
    """A code of the new secret: from now on one is asked at each sign-in. The recovery codes, told once: None in the
    answer to a repetition.

    Raises DomainError INVALID for a wrong code, INVALID_STATE when nothing waits for one; and throttle.Throttled.
    """
    sign_in.require_person(by)
    attempt = await throttle.begin(redis, by.operator_id.hex, caller.address, realm="code-")
    codes = ["".join(randomness.choice(_ALPHABET) for _ in range(12)) for _ in range(RECOVERY_CODES)]

    given = {"code": secrets.digest(settings.network_key, code)}
    once = Once(by, "twoFactorConfirm", idempotency_key, given)

    async def work(session: AsyncSession) -> bool:
        row = await one_time_codes.locked(session, by.operator_id)
        if await once.claim(session) is not None:
            return False
        if row is None or row.confirmed_at is not None:
            raise fail(ErrorCode.INVALID_STATE, "Nothing waits to be confirmed: begin anew.", "input", "code")
        if not one_time_codes.takes(row, code, settings.network_key):
            raise one_time_codes.wrong_code()
        row.confirmed_at = clock.now()
        pepper = randomness.token_bytes(32)
        row.recovery = [one_time_codes.digest(pepper, each) for each in codes]
        row.recovery_pepper = one_time_codes.kept(row, settings.network_key, pepper)
        audit.record(session, by=by, action="operator.confirm_second_factor", subject_id=by.operator_id)
        operator = await session.get_one(Operator, by.operator_id)
        await messages.tell_operator(
            session, operator, "operator.security", what="a code is asked at each sign-in from now on"
        )
        return True

    done = await database.run(by.tenant_id, work)
    await throttle.give_back(redis, attempt)
    if not done:
        return None
    return [f"{each[:4]}-{each[4:8]}-{each[8:]}" for each in codes]


async def disable(
    database: Database,
    redis: Redis,
    settings: Settings,
    *,
    password: str,
    code: str,
    idempotency_key: str | None,
    caller: Caller,
    by: Viewer,
) -> None:
    """Do without a second factor. Raises DomainError INVALID for a wrong password or code, INVALID_STATE without one;
    and throttle.Throttled."""
    await operator_passwords.prove(database, redis, password, caller, at="password", by=by)
    attempt = await throttle.begin(redis, by.operator_id.hex, caller.address, realm="code-")

    given = {"code": secrets.digest(settings.network_key, code)}
    once = Once(by, "twoFactorDisable", idempotency_key, given)

    async def work(session: AsyncSession) -> None:
        if await once.claim(session) is not None:
            return
        if not await one_time_codes.confirmed(session, by.operator_id):
            raise fail(ErrorCode.INVALID_STATE, "You have no second factor.")
        if not await one_time_codes.take(session, settings, by.operator_id, code):
            raise one_time_codes.wrong_code()
        await session.execute(delete(SecondFactor).where(SecondFactor.operator_id == by.operator_id))
        audit.record(session, by=by, action="operator.disable_second_factor", subject_id=by.operator_id)
        operator = await session.get_one(Operator, by.operator_id)
        await messages.tell_operator(
            session, operator, "operator.security", what="no code is asked at your sign-ins any more"
        )

    await database.run(by.tenant_id, work)
    await throttle.give_back(redis, attempt)


async def remove(session: AsyncSession, operator_id: str, *, by: Viewer) -> Operator:
    """Take the second factor from an operator below the viewer who has lost the device; all sign-ins end.

    Raises DomainError NOT_FOUND, NOT_PERMITTED, INVALID_STATE for one who has none.
    """
    row = await operators.lock_below(session, operator_id, "operatorId", by=by)
    operator_changes.require_superior(row, by, "operatorId")
    gone = delete(SecondFactor).where(SecondFactor.operator_id == row.id).returning(SecondFactor.id)
    if await session.scalar(gone) is None:
        raise fail(ErrorCode.INVALID_STATE, "This operator has no second factor.", "operatorId")
    await operator_changes.shut_out(session, [row.id])
    await session.refresh(row)
    audit.record(session, by=by, action="operator.remove_second_factor", subject_id=row.id)
    await messages.tell_operator(
        session, row, "operator.security", what=f"{by.name} has removed the second factor of your sign-in"
    )
    return row

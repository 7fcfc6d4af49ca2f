"""One-time passwords (TOTP, RFC 6238): six digits, thirty seconds, SHA-1, as every app knows them.

A code of the step before or after is taken too, for clocks that differ; none is taken twice, nor one older than the
last that was taken. Where the device is lost, each of ten recovery codes does once.
"""

import hmac
from collections.abc import Sequence
from uuid import UUID

import pyotp
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import audit, messages, secrets
from ispgraph.domain.errors import DomainError, ErrorCode, fail
from ispgraph.domain.models import Operator, SecondFactor
from ispgraph.settings import Settings

STEP_SECONDS = 30


async def confirmed(session: AsyncSession, operator_id: UUID) -> bool:
    """Whether an operator's second factor counts."""
    rows = select(SecondFactor.id).where(
        SecondFactor.operator_id == operator_id, SecondFactor.confirmed_at.is_not(None)
    )
    return await session.scalar(rows) is not None


async def take(session: AsyncSession, settings: Settings, operator_id: UUID, code: str) -> bool:
    """Whether a code, or a recovery code, is right; then it is used up, when the transaction commits."""
    row = await locked(session, operator_id)
    if row is None or row.confirmed_at is None:
        return False
    if takes(row, code, settings.network_key):
        return True
    spelt = code.replace("-", "").replace(" ", "").lower()
    known = [digest(pepper, spelt) for pepper in _peppers(row, settings.network_key)]
    left = [each for each in row.recovery if not any(hmac.compare_digest(each, one) for one in known)]
    if len(left) == len(row.recovery):
        return False
    row.recovery = left
    audit.noticed(session, row.tenant_id, "operator.use_recovery_code", operator_id, {"left": len(left)})
    operator = await session.get_one(Operator, operator_id)
    told = f"a recovery code was used to sign in; {len(left)} are left"
    await messages.tell_operator(session, operator, "operator.security", what=told)
    return True


async def locked(session: AsyncSession, operator_id: UUID) -> SecondFactor | None:
    """The second factor of an operator, locked; it may wait to be confirmed."""
    rows = select(SecondFactor).where(SecondFactor.operator_id == operator_id).with_for_update()
    return await session.scalar(rows.execution_options(populate_existing=True))


def takes(row: SecondFactor, code: str, key: bytes) -> bool:
    """Whether a code of the device is right; then it is used up."""
    given = code.replace(" ", "")
    totp = pyotp.TOTP(secrets.unseal(key, row.secret, secrets.second_factor(row.tenant_id, row.operator_id)))
    now = int(clock.now().timestamp()) // STEP_SECONDS
    for step in (now - 1, now, now + 1):
        right = hmac.compare_digest(totp.generate_otp(step).encode(), given.encode("utf-8", "surrogatepass"))
        if right and step > row.last_step:
            row.last_step = step
            return True
    return False


def digest(pepper: bytes, code: str) -> bytes:
    """What is kept of a recovery code."""
    return hmac.digest(pepper, f"recovery:{code}".encode(), "sha256")


def kept(row: SecondFactor, key: bytes, pepper: bytes) -> bytes:
    """What recovery codes are digested with, as it is kept with them. They cannot be digested anew when the network key
    is changed: nobody knows them."""
    return secrets.seal(key, pepper.hex(), secrets.recovery_pepper(row.tenant_id, row.operator_id))


def _peppers(row: SecondFactor, key: bytes) -> Sequence[bytes]:
    if row.recovery_pepper is None:
        return secrets.peppers(key)
    bound_to = secrets.recovery_pepper(row.tenant_id, row.operator_id)
    return [bytes.fromhex(secrets.unseal(key, row.recovery_pepper, bound_to))]


def wrong_code() -> DomainError:
    """The answer to a code that is not right, or was used."""
    return fail(ErrorCode.INVALID, "This code is wrong, or was used already.", "input", "code")

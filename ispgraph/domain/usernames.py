"""Network usernames: wished or made from the name, and unique within the tenant also when fifty ask at once."""

import re
import unicodedata
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain.errors import ErrorCode, fail
from ispgraph.domain.models import Service

_LONGEST = 64
_ROOM_FOR_NUMBER = 8


def proposed(name: str) -> str:
    """A username from a person's name: ASCII letters and digits, lower case, without spaces. Never empty."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]", "", plain)[: _LONGEST - _ROOM_FOR_NUMBER] or "customer"


async def free(session: AsyncSession, wished: str) -> str:
    """`wished`, or the same with the lowest number that is free; a realm stays behind: ann2@isp.example.

    A long name is cut to make room for the number. Raises DomainError TAKEN when the realm leaves no room.
    """
    if await session.scalar(select(Service.id).where(Service.username == wished)) is None:
        return wished
    local, at, realm = wished.partition("@")
    room = _LONGEST - _ROOM_FOR_NUMBER - len(at + realm)
    if room < 1:
        message = f"The username {wished} is taken, and too long for a number to be added."
        raise fail(ErrorCode.TAKEN, message, "draft", "connection", "username")
    local = local[:room]
    names = select(Service.username).where(
        Service.username.startswith(local, autoescape=True), Service.username.endswith(at + realm, autoescape=True)
    )
    taken = set(await session.scalars(names))
    return next(name for number in range(1, len(taken) + 2) if (name := f"{local}{number}{at}{realm}") not in taken)


async def reserve(session: AsyncSession, tenant_id: UUID, wished: str) -> str:
    """As `free`, holding off other reservations of the tenant until the transaction ends."""
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"username:{tenant_id}", 0))))
    return await free(session, wished)

"""What customers are told of the limits of their services: a volume is nearly used or used up, a time is over.

`service_standing` in the migrations says which limits are met; each is told once in its period, by its name (`once`).
A limit that is another one from now on, because more was bought or agreed on, is told of anew.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import messages, notices
from ispgraph.domain.models import Customer, Package, Service, Session, Tenant

_DECIMAL = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))
_BINARY = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"))
_SECONDS = ((3600, "hour"), (60, "minute"))


async def met(session: AsyncSession, service: Service, limits: Sequence[Mapping[str, Any]]) -> None:
    """Tell of the limits that are met: rows of `limits_met` in the migrations."""
    customer, package, tenant = await _about(session, service)
    for limit in limits:
        allowed, used = limit["allowed"], limit["used"]
        said: dict[str, Any]
        if limit["unit"] == "SECONDS":
            event, said = "time.reached", {"limit": duration(allowed)}
        elif used >= allowed:
            event, said = "quota.reached", {"quota": volume(allowed)}
        else:
            event, said = "quota.near", {"quota": volume(allowed), "percent": str(used * 100 // allowed)}
        await messages.tell(
            session,
            customer,
            event,
            by=None,
            once=f"{event}/{service.id.hex}/{limit['kind']}/{limit['since']}/{limit['given']}",
            package=package.name,
            until=notices.instant(tenant, datetime.fromtimestamp(limit["until"], UTC)),
            **said,
        )


async def session_over(session: AsyncSession, service: Service, over: Session, seconds: int) -> None:
    """Tell that a session is ended because it was as long as it may be. Another one can begin at once."""
    customer, package, tenant = await _about(session, service)
    await messages.tell(
        session,
        customer,
        "time.reached",
        by=None,
        once=f"time.reached/{service.id.hex}/SESSION/{over.id.hex}",
        package=package.name,
        until=notices.instant(tenant, clock.now()),
        limit=f"{duration(seconds)} of a session",
    )


def volume(octets: int) -> str:
    """Octets as people say them, such as 50 GB, 1.5 TB or 10 GiB, rounded down to two places."""
    binary = octets % 2**20 == 0 and octets % 10**6 != 0
    for size, unit in _BINARY if binary else _DECIMAL:
        if octets >= size:
            whole, hundredths = divmod(octets * 100 // size, 100)
            return f"{whole}.{hundredths:02}".rstrip("0").rstrip(".") + f" {unit}"
    return f"{octets} bytes"


def duration(seconds: int) -> str:
    """Seconds as people say them, such as 10 hours, or 1 hour 30 minutes."""
    parts = []
    for size, unit in (*_SECONDS, (1, "second")):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}{'' if count == 1 else 's'}")
    return " ".join(parts)


async def _about(session: AsyncSession, service: Service) -> tuple[Customer, Package, Tenant]:
    return (
        await session.get_one(Customer, service.customer_id),
        await session.get_one(Package, service.package_id),
        await session.get_one(Tenant, service.tenant_id),
    )

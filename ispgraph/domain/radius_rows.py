"""The RADIUS rows of a service as the application may see them: without the password. The SQL functions decide."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain.models import Package


@dataclass(frozen=True, slots=True)
class RadiusRow:
    """One attribute: `list` is check or reply, `op` the operator of the FreeRADIUS tables."""

    list: str
    attribute: str
    op: str
    value: str


async def of_service(session: AsyncSession, service_id: UUID) -> Sequence[RadiusRow]:
    """What FreeRADIUS would be told about a service now."""
    rows = await session.execute(
        text("SELECT list, attribute, op, value FROM radius_rows(:service, :at) WITH ORDINALITY ORDER BY ordinality"),
        {"service": service_id, "at": clock.now()},
    )
    return [RadiusRow(*row) for row in rows]


async def of_plan(
    session: AsyncSession,
    package: Package,
    *,
    profile: str | None,
    ip_address: str | None,
    subnet: str | None,
    expires_at: datetime | None,
) -> Sequence[RadiusRow]:
    """What FreeRADIUS would be told about a service that is not there yet, were it active."""
    rows = await session.execute(
        text("""
        SELECT list, attribute, op, value FROM radius_policy_rows(
          NULL, '********', :profile, CAST(:ip_address AS inet), CAST(:subnet AS cidr), :up, :down, :quota, :time_quota,
          :expires_at, :at) WITH ORDINALITY ORDER BY ordinality"""),
        {
            "profile": profile,
            "ip_address": ip_address,
            "subnet": subnet,
            "up": package.upload_kbps,
            "down": package.download_kbps,
            "quota": package.data_quota_bytes,
            "time_quota": package.time_quota_seconds,
            "expires_at": expires_at,
            "at": clock.now(),
        },
    )
    return [RadiusRow(*row) for row in rows]

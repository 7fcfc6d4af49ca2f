"""How long usage is known by the quarter of an hour; by the day it is known for ever."""

from datetime import date
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain.errors import ErrorCode, Faults

SHORTEST = 62
"""Days: what a chart by the hour may show at once, and more than a month's period."""
LONGEST = 3700
_SERVICES = 500
# So many rows are deleted within a tenth of a second or so.
_ROWS = 5000
_FIRST = UUID(int=0)

_FORGET = text("SELECT last, finished FROM usage_detail_pruned(:after, :services, :rows, :at)")


def checked(faults: Faults, days: int | None) -> dict[str, int]:
    """The setting, if it was given; of no use once a fault was found."""
    if days is None:
        return {}
    if days != 0 and not SHORTEST <= days <= LONGEST:
        message = f"Quarters of an hour are kept for {SHORTEST} to {LONGEST} days, or with 0 for ever."
        faults.add(ErrorCode.INVALID, message, "usageDetailDays")
    return {"usage_detail_days": days}


async def forget(session: AsyncSession, *, tenant_id: UUID, day: date, after: UUID | None) -> UUID | None:
    """Forget what the tenant keeps no longer of the next services. The id after which to go on; None: that was all.

    A day on which a billing period began at another time than midnight is kept, as long as the period or what is
    carried over from it counts.
    """
    asked = {"after": after, "services": _SERVICES, "rows": _ROWS, "at": clock.now()}
    found = (await session.execute(_FORGET, asked)).one()
    return None if found.finished else found.last or _FIRST

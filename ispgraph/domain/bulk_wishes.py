"""What can be wished for many customers at once, checked before anything is promised.

What is wrong for everybody is told now; what is wrong for one customer is told with what came of that customer.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import package_changes, services
from ispgraph.domain.billing import periods
from ispgraph.domain.errors import ErrorCode, Faults
from ispgraph.domain.messaging import credits, sms
from ispgraph.domain.models import Package, SuspendReason
from ispgraph.domain.onboarding import answers
from ispgraph.domain.permissions import Viewer


def suspend(reason: SuspendReason, note: str | None, *, notify: bool) -> Mapping[str, Any]:
    """As `services.suspend`. Raises DomainError INVALID."""
    return {"reason": reason.value, "note": services.note_of(note), "notify": notify}


def activate(note: str | None, *, notify: bool) -> Mapping[str, Any]:
    """As `services.activate`. Raises DomainError INVALID."""
    return {"note": services.note_of(note), "notify": notify}


async def change_package(
    session: AsyncSession, package_id: UUID, on: date | None, reason: str | None, *, by: Viewer
) -> Mapping[str, Any]:
    """As `package_changes.change`, each at the price of its customer. Raises DomainError NOT_FOUND, INVALID_STATE,
    INVALID."""
    faults = Faults("input")
    told = answers.optional(faults, reason, package_changes.LONGEST_REASON, "reason")
    package = await session.get(Package, package_id)
    if package is None:
        faults.add(ErrorCode.NOT_FOUND, "There is no such package.", "packageId")
    elif not package.active:
        faults.add(ErrorCode.INVALID_STATE, f"The package {package.name} is not sold any more.", "packageId")
    today = periods.local_date(clock.now(), by.time_zone)
    if on is not None and not today <= on <= today + package_changes.FARTHEST:
        message = f"This must be from {today} to {today + package_changes.FARTHEST}."
        faults.add(ErrorCode.INVALID, message, "effectiveOn")
    faults.raise_if_any()
    return {"package": str(package_id), "on": on.isoformat() if on else None, "reason": told}


async def message(session: AsyncSession, wish: sms.Wish, count: int, *, by: Viewer) -> Mapping[str, Any]:
    """As `sms.send`. Raises DomainError NOT_CONFIGURED, INVALID, and INSUFFICIENT_FUNDS when a reseller has not even a
    credit for each of so many customers."""
    await sms.require_sendable(session, wish, by=by)
    await credits.require(session, count, by=by)
    return {"body": wish.body, "template": wish.template_key}

"""What can be wished for many customers at once, checked before anything is promised.

What is wrong for everybody is told now; what is wrong for one customer is told with what came of that customer.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Wished:
    """What is done, as JSON, and what tells whether it can be: asked after the idempotency key, for what was promised
    once is answered again whatever has become of it."""

    wish: Mapping[str, Any]
    check: Callable[[AsyncSession, Viewer], Awaitable[None]]


def suspend(reason: SuspendReason, note: str | None, *, notify: bool) -> Wished:
    """As `services.suspend`. Raises DomainError INVALID."""
    return Wished({"reason": reason.value, "note": services.note_of(note), "notify": notify}, _anything)


def activate(note: str | None, *, notify: bool) -> Wished:
    """As `services.activate`. Raises DomainError INVALID."""
    return Wished({"note": services.note_of(note), "notify": notify}, _anything)


def change_package(package_id: UUID, on: date | None, reason: str | None) -> Wished:
    """As `package_changes.change`, each at the price of its customer. It raises NOT_FOUND, INVALID_STATE, INVALID."""
    faults = Faults("input")
    told = answers.optional(faults, reason, package_changes.LONGEST_REASON, "reason")

    async def check(session: AsyncSession, by: Viewer) -> None:
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

    wish = {"package": str(package_id), "on": on.isoformat() if on else None, "reason": told}
    return Wished(wish, check)


def message(wish: sms.Wish, count: int) -> Wished:
    """As `sms.send`. It raises NOT_CONFIGURED, INVALID, and INSUFFICIENT_FUNDS when a reseller has not even a credit
    for each of so many customers."""

    async def check(session: AsyncSession, by: Viewer) -> None:
        await sms.require_sendable(session, wish, by=by)
        await credits.require(session, count, by=by)

    return Wished({"body": wish.body, "template": wish.template_key}, check)


async def _anything(_session: AsyncSession, _by: Viewer) -> None:
    """What is wrong is told of each customer."""

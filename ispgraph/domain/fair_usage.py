"""Fair use: from a threshold of its package on, a service is slower until its period ends.

It follows from usage alone whether it is active (`service_standing` in the migrations); the scheduler notices, tells
the network once, and keeps when that was. Usage is never changed: whoever has it counted anew leaves a mark that says
how much of the period is forgiven.
"""

from typing import Any

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import action_rules, audit, services
from ispgraph.domain.errors import ErrorCode, fail
from ispgraph.domain.models import Customer, Package, Service, ServiceWatch
from ispgraph.domain.network import changes
from ispgraph.domain.permissions import Viewer
from ispgraph.domain.services import Chosen, Done

ACTIVATE, RESET = "customerActivateFup", "customerResetFup"


async def activate(session: AsyncSession, chosen: Chosen, *, idempotency_key: str | None, by: Viewer) -> Done:
    """Have fair use begin now for a service that has reached its threshold, before the scheduler notices.

    Raises DomainError INVALID_STATE below the threshold or without one, NO_CHANGE when it is active.
    """
    if (first := await services.done_before(session, ACTIVATE, idempotency_key, chosen, {}, by)) is not None:
        return first
    customer, service, watch, standing = await _locked(session, chosen, by)
    package = await session.get_one(Package, service.package_id)
    refusal = action_rules.activate_fair_use(service, package, standing, watch.fup_activated_at)
    action_rules.require(refusal, *chosen.field)
    before = _state(watch)
    watch.fup_activated_at = clock.now()
    watch.fup_manual = True
    return await _done(session, ACTIVATE, customer, service, (before, watch, standing), idempotency_key, by)


async def reset(session: AsyncSession, chosen: Chosen, *, idempotency_key: str | None, by: Viewer) -> Done:
    """Count fair use anew from now on. What was used stays in the books.

    Raises DomainError INVALID_STATE for a package without fair use, NO_CHANGE when nothing counts yet.
    """
    if (first := await services.done_before(session, RESET, idempotency_key, chosen, {}, by)) is not None:
        return first
    customer, service, watch, standing = await _locked(session, chosen, by)
    if standing.fup_octets == 0 and standing.fup_seconds == 0:
        raise fail(ErrorCode.NO_CHANGE, "Nothing counts for fair use yet.", *chosen.field)
    before = _state(watch)
    again = watch.fup_reset_at is not None and watch.fup_reset_at >= standing.fup_since
    watch.fup_forgiven_octets = standing.fup_octets + (watch.fup_forgiven_octets if again else 0)
    watch.fup_forgiven_seconds = standing.fup_seconds + (watch.fup_forgiven_seconds if again else 0)
    watch.fup_reset_at = clock.now()
    watch.fup_activated_at = watch.fup_notified_since = None
    watch.fup_manual = False
    return await _done(session, RESET, customer, service, (before, watch, standing), idempotency_key, by)


async def _locked(session: AsyncSession, chosen: Chosen, by: Viewer) -> tuple[Customer, Service, ServiceWatch, Any]:
    """The customer, the service, its watch, and how it stands. Raises DomainError INVALID_STATE."""
    customer, service, _ = await services.locked(session, chosen, by)
    rows = select(ServiceWatch).where(ServiceWatch.service_id == service.id).with_for_update()
    watch = (await session.scalars(rows)).one()
    standing = (await session.execute(_STANDING, {"service": service.id, "at": clock.now()})).one()
    action_rules.require(action_rules.fair_use(service, standing), *chosen.field)
    return customer, service, watch, standing


_STANDING = text(
    "SELECT fup_active, fup_since, fup_octets, fup_seconds FROM service_standing(:service, :at)",
)


async def _done(
    session: AsyncSession,
    operation: str,
    customer: Customer,
    service: Service,
    states: tuple[dict[str, object], ServiceWatch, Any],
    key: str | None,
    by: Viewer,
) -> Done:
    before, watch, standing = states
    used = {"octets": standing.fup_octets, "seconds": standing.fup_seconds}
    details = {"service": str(service.id), "before": before, "after": _state(watch), "used": used}
    action = "customer.activate_fup" if operation == ACTIVATE else "customer.reset_fup"
    audit.record(session, by=by, action=action, subject_id=customer.id, details=details)
    jobs = await changes.changed(session, service, by=by.operator_id)
    return await services.kept(session, operation, key, Done(customer, jobs), by)


def _state(watch: ServiceWatch) -> dict[str, object]:
    def plain(at: Any) -> object:
        return at.isoformat() if at else None

    return {
        "activated_at": plain(watch.fup_activated_at),
        "manual": watch.fup_manual,
        "reset_at": plain(watch.fup_reset_at),
        "forgiven_octets": watch.fup_forgiven_octets,
        "forgiven_seconds": watch.fup_forgiven_seconds,
    }

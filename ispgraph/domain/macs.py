"""The devices that a service is bound to, by their hardware addresses. A service that is bound to none may be used from
all; that its package may bind it to the first one that gets on line is done where sessions begin, in the database."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Text, cast, delete, func, literal_column, select
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain import action_rules, audit, values
from ispgraph.domain.conflicts import taken
from ispgraph.domain.errors import ErrorCode, Faults, fail
from ispgraph.domain.models import (
    ConnectionType,
    Customer,
    Package,
    Router,
    RouterMode,
    Service,
    ServiceMac,
    ServiceStatus,
)
from ispgraph.domain.network import changes
from ispgraph.domain.permissions import Viewer
from ispgraph.domain.services import Chosen, Done, done_before, kept, locked

BIND, UNBIND = "customerAddMacBinding", "customerRemoveMacBinding"
MOST = 10
"""So many devices a service may be bound to."""

_DIALS = (ConnectionType.PPPOE, ConnectionType.HOTSPOT)
_FIELD = ("input", "macAddress")
_UNIQUE = {"uq_service_macs_login": _FIELD, "uq_service_macs_tenant_id_service_id_mac": _FIELD}
_ELSEWHERE = "This device logs in for another hotspot service: remove it there first."
_BY_NAME = "A device of this hotspot no longer gets on line by its address alone, but with username and password."
_FROM_ANY = "This service can now be used from any device."
_BOUND_AGAIN = "This service will be bound to the next device that gets on line."


def addresses(service: Any) -> ColumnElement[Any]:
    """The hardware addresses of a service's devices, as an array of texts."""
    text = func.upper(cast(ServiceMac.mac, Text))
    found = func.array_agg(aggregate_order_by(text, ServiceMac.id))
    return (
        select(func.coalesce(found, literal_column("'{}'::text[]")))
        .where(ServiceMac.service_id == service.id)
        .scalar_subquery()
    )


async def bind(
    session: AsyncSession, chosen: Chosen, address: str | None, *, idempotency_key: str | None, by: Viewer
) -> Done:
    """Let a service be used from this device, and from no other that is not bound to it: whoever is on line from
    another is ended by the jobs.

    Raises DomainError INVALID for what is no address of one device, NO_CHANGE when it is bound already, TAKEN when it
    logs in for another hotspot service, LIMIT_EXCEEDED for more than can be, INVALID_STATE for a service that nobody
    logs in to.
    """
    faults = Faults("input")
    mac = values.checked(faults, values.mac, address, at=("macAddress",)) or ""
    faults.raise_if_any()
    if (first := await done_before(session, BIND, idempotency_key, chosen, {"mac": mac}, by)) is not None:
        return first
    customer, service, _ = await locked(session, chosen, by)
    _can_be_bound(service, chosen)
    before = await _bound(session, service)
    if mac in before:
        raise fail(ErrorCode.NO_CHANGE, "This service is bound to this device already.", *_FIELD)
    await _has_room(session, service, before)
    hotspot = service.connection_type is ConnectionType.HOTSPOT
    if hotspot and await session.scalar(select(ServiceMac.id).where(ServiceMac.mac == mac, ServiceMac.logs_in)):
        raise fail(ErrorCode.TAKEN, _ELSEWHERE, *_FIELD)
    session.add(ServiceMac(tenant_id=by.tenant_id, service_id=service.id, mac=mac, logs_in=hotspot))
    async with taken(_UNIQUE, _ELSEWHERE):
        await session.flush()
    _record(session, "customer.bindMac", customer, service, before, [*before, mac], by)
    jobs = await changes.changed(session, service, by=by.operator_id)
    return await kept(session, BIND, idempotency_key, Done(customer, jobs), by)


async def unbind(
    session: AsyncSession, chosen: Chosen, address: str | None, *, idempotency_key: str | None, by: Viewer
) -> Done:
    """Take this device from a service, or without an address all of them; whoever is on line from a device that may no
    longer is ended by the jobs.

    Raises DomainError NO_CHANGE when the service is not bound to it, or to none at all.
    """
    mac = None
    if address is not None:
        faults = Faults("input")
        mac = values.checked(faults, values.mac, address, at=("macAddress",))
        faults.raise_if_any()
    if (first := await done_before(session, UNBIND, idempotency_key, chosen, {"mac": mac}, by)) is not None:
        return first
    customer, service, _ = await locked(session, chosen, by)
    before = await _bound(session, service)
    if mac is None:
        action_rules.require(action_rules.unbind_all(len(before)), *chosen.field)
    elif mac not in before:
        raise fail(ErrorCode.NO_CHANGE, "This service is not bound to this device.", *_FIELD)
    left = [each for each in before if mac is not None and each != mac]
    gone = delete(ServiceMac).where(ServiceMac.service_id == service.id)
    await session.execute(gone if mac is None else gone.where(ServiceMac.mac == mac))
    _record(session, "customer.unbindMac", customer, service, before, left, by)
    jobs = await changes.changed(session, service, by=by.operator_id)
    warnings = await _warnings(session, service) if not left else []
    return await kept(session, UNBIND, idempotency_key, Done(customer, jobs, warnings), by)


async def _bound(session: AsyncSession, service: Service) -> list[str]:
    rows = select(ServiceMac.mac).where(ServiceMac.service_id == service.id).order_by(ServiceMac.id)
    return [str(mac).upper() for mac in await session.scalars(rows)]


def _can_be_bound(service: Service, chosen: Chosen) -> None:
    if service.connection_type not in _DIALS:
        message = "Nobody logs in to this service: only PPPoE and hotspot services can be bound to devices."
        raise fail(ErrorCode.INVALID_STATE, message, *chosen.field)
    if service.status is ServiceStatus.TERMINATED:
        raise fail(ErrorCode.INVALID_STATE, "This service was terminated: it is not used any more.", *chosen.field)


async def _has_room(session: AsyncSession, service: Service, before: Sequence[str]) -> None:
    if len(before) >= MOST:
        message = f"A service is bound to at most {MOST} devices: remove one first."
        raise fail(ErrorCode.LIMIT_EXCEEDED, message, *_FIELD)
    if before and await _kept_on_router(session, service.router_id):
        message = "The router keeps its users itself, and can bind each to one device only: remove the other first."
        raise fail(ErrorCode.LIMIT_EXCEEDED, message, *_FIELD)


async def _kept_on_router(session: AsyncSession, router_id: UUID | None) -> bool:
    router = None if router_id is None else await session.get(Router, router_id)
    return router is not None and router.mode is RouterMode.LOCAL


async def _warnings(session: AsyncSession, service: Service) -> list[str]:
    package = await session.get_one(Package, service.package_id)
    found = [_BOUND_AGAIN if package.bind_mac_on_first_login else _FROM_ANY]
    if service.connection_type is ConnectionType.HOTSPOT:
        found.append(_BY_NAME)
    return found


def _record(
    session: AsyncSession,
    action: str,
    customer: Customer,
    service: Service,
    before: Sequence[str],
    after: Sequence[str],
    by: Viewer,
) -> None:
    details = {"service": str(service.id), "before": list(before), "after": list(after)}
    audit.record(session, by=by, action=action, subject_id=customer.id, details=details)

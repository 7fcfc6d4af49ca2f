"""Watching services whose state changes by itself: a limit is used up, a window closes, a temporary speed is over.

Every service has a watch, which says when to look at it again: at the next moment at which the clock alone changes
something, and at once when accounting tells of as much as is left (`usage_is_watched` in the migrations). So only what
is due is looked at, however many services there are. The network is told when it was last told something else.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import and_, func, select, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import jobs, limit_notices, messages, sessions
from ispgraph.domain.models import (
    Customer,
    Job,
    OpenSession,
    Package,
    Service,
    ServiceLimit,
    ServiceWatch,
    Session,
    Tenant,
)
from ispgraph.domain.network import changes

# How many services are looked at in one transaction.
CHUNK = 200
_NOW = text("'-infinity'")
_SEEN = text("SELECT service_id, changed, notice, overstayed, met FROM watch_services(:services, :at)").columns(
    met=JSONB()
)


@dataclass(slots=True)
class Looked:
    """How many services were looked at, and the jobs that were promised."""

    services: int = 0
    jobs: list[Job] = field(default_factory=list)


async def due_tenants(session: AsyncSession) -> list[UUID]:
    """The tenants with services that are to be looked at now."""
    return list(await session.scalars(text("SELECT tenant_id FROM due_watches(:at)"), {"at": clock.now()}))


async def hurry(session: AsyncSession, package_id: UUID) -> None:
    """Have all services of a package looked at as soon as possible."""
    await hurry_services(session, select(Service.id).where(Service.package_id == package_id).scalar_subquery())


async def hurry_services(session: AsyncSession, service_ids: Any) -> None:
    """Have these services looked at as soon as possible: ids, or a select of them."""
    await session.execute(
        update(ServiceWatch)
        .where(ServiceWatch.service_id.in_(service_ids))
        .values(look_at=_NOW)
        .execution_options(synchronize_session=False)
    )


async def look(session: AsyncSession, *, package_id: UUID | None = None, by: UUID | None = None) -> Looked:
    """Look at up to CHUNK of the tenant's services that are due, of one package or of all, and promise what follows.

    Whoever is being changed by somebody else is passed over: that comes next time. `by` is an operator.
    """
    now = clock.now()
    watched = and_(ServiceWatch.tenant_id == Service.tenant_id, ServiceWatch.service_id == Service.id)
    due = select(Service).join(ServiceWatch, watched).where(ServiceWatch.look_at <= now)
    if package_id is not None:
        due = due.where(Service.package_id == package_id)
    due = due.order_by(ServiceWatch.look_at, Service.id).limit(CHUNK)
    # The service before its watch, as whoever changes one does.
    held = due.with_for_update(of=[Service, ServiceWatch], key_share=True, skip_locked=True)
    found = {row.id: row for row in await session.scalars(held.execution_options(populate_existing=True))}
    looked = Looked(len(found))
    if not found:
        return looked
    for seen in (await session.execute(_SEEN, {"services": list(found), "at": now})).all():
        service = found[seen.service_id]
        if seen.changed:
            service.desired_version += 1
            looked.jobs += await changes.promised(session, service, by=by)
        if seen.notice:
            await _tell(session, service)
        if seen.met:
            await limit_notices.met(session, service, seen.met)
        if seen.overstayed:
            looked.jobs += await _end(session, service)
    return looked


async def _tell(session: AsyncSession, service: Service) -> None:
    """Say that the threshold of fair use is near."""
    customer = await session.get_one(Customer, service.customer_id)
    package = await session.get_one(Package, service.package_id)
    tenant = await session.get_one(Tenant, service.tenant_id)
    standing = (await session.execute(_FUP, {"service": service.id, "at": clock.now()})).one()
    await messages.tell(
        session,
        customer,
        "fup.near",
        by=None,
        percent=str(int(standing.fup_percent)),
        package=package.name,
        download=str(package.fup_download_kbps),
        upload=str(package.fup_upload_kbps),
        until=f"{standing.fup_until.astimezone(ZoneInfo(tenant.time_zone)):%Y-%m-%d %H:%M}",
    )


_FUP = text("SELECT fup_percent, fup_until FROM service_standing(:service, :at)")


async def _end(session: AsyncSession, service: Service) -> list[Job]:
    """End the sessions that are longer than they may be, unless that is under way."""
    under_way = select(Job.id).where(
        Job.service_id == service.id,
        Job.customer_id == service.customer_id,
        Job.kind == jobs.DISCONNECT,
        Job.status.in_(jobs.UNFINISHED),
    )
    if await session.scalar(under_way.limit(1)) is not None:
        return []
    seconds = await session.scalar(select(ServiceLimit.session_seconds).where(ServiceLimit.service_id == service.id))
    begun = clock.now() - timedelta(seconds=seconds or 0)
    over = sessions.opened(OpenSession.service_id == service.id, OpenSession.started_at <= begun)
    rows = list(await session.scalars(over.order_by(Session.id)))
    if not rows:
        return []
    await limit_notices.session_over(session, service, rows[0], seconds or 0)
    return await changes.disconnected(session, service, rows, by=None)


async def count(session: AsyncSession, package_id: UUID) -> int:
    """How many services a package has."""
    return await session.scalar(select(func.count()).where(Service.package_id == package_id)) or 0

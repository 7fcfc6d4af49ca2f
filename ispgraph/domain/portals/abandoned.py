"""Portals that were begun and left: their creators are told, and a day later the subdomain is free again."""

from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import audit, customer_sign_in, messages
from ispgraph.domain.errors import ErrorCode, fail
from ispgraph.domain.models import (
    Customer,
    Operator,
    Portal,
    PortalAdmin,
    PortalAsset,
    PortalFile,
    PortalLogEntry,
    Tenant,
)
from ispgraph.domain.permissions import Viewer
from ispgraph.domain.portals import assets, records

ABANDONED = "portal.abandoned"
CHUNK = 100


async def look(session: AsyncSession) -> None:
    """Tell of a tenant's portals that were left, forget those that nobody went on with, and clear the storage."""
    now = clock.now()
    left = [Portal.finished_at.is_(None), Portal.expires_at <= now]
    rows = select(Portal).where(*left).order_by(Portal.id).limit(CHUNK).with_for_update(skip_locked=True)
    for portal in (await session.scalars(rows.where(Portal.told_at.is_(None)))).all():
        portal.told_at = now
        await _tell(session, portal, now + records.GRACE)
    for portal in (await session.scalars(rows.where(Portal.told_at <= now - records.GRACE))).all():
        details = {"subdomain": portal.subdomain, "steps": portal.completed_steps}
        audit.noticed(session, portal.tenant_id, "portal.forget", portal.customer_id, details)
        await _remove(session, portal)
    tenant_id = await session.scalar(select(PortalFile.tenant_id).limit(1))
    if tenant_id is not None:
        await assets.look(session, tenant_id)


async def discard(session: AsyncSession, customer_id: UUID, *, by: Viewer) -> None:
    """Give an unfinished portal up: its subdomain is free at once. Raises DomainError INVALID_STATE for another."""
    portal = await records.lock(session, customer_id, by=by, at=("customerId",))
    if portal.finished_at is not None:
        message = "This portal is finished: set it inactive instead."
        raise fail(ErrorCode.INVALID_STATE, message, "customerId")
    details = {"subdomain": portal.subdomain}
    audit.record(session, by=by, action="portal.discard", subject_id=portal.customer_id, details=details)
    await _remove(session, portal)


async def _tell(session: AsyncSession, portal: Portal, until: datetime) -> None:
    creator = await session.get_one(Operator, portal.created_by_id)
    if not creator.active:
        return
    tenant = await session.get_one(Tenant, portal.tenant_id)
    customer = await session.get_one(Customer, portal.customer_id)
    await messages.tell_operator(
        session,
        creator,
        ABANDONED,
        once=f"{ABANDONED}:{portal.id.hex}:{portal.version}",
        portal=portal.display_name,
        subdomain=portal.subdomain,
        account=customer.account_number,
        missing=", ".join(step.value.lower() for step in records.STEPS if step.value not in portal.completed_steps),
        until=f"{until.astimezone(ZoneInfo(tenant.time_zone)):%Y-%m-%d %H:%M}",
    )


async def _remove(session: AsyncSession, portal: Portal) -> None:
    of_portal = {"portal_id": None, "unused_since": clock.now()}
    await customer_sign_in.forget_admins(session, portal.id)
    for table in (PortalLogEntry, PortalAdmin, PortalAsset):
        await session.execute(delete(table).where(table.portal_id == portal.id))
    await session.execute(update(PortalFile).where(PortalFile.portal_id == portal.id).values(of_portal))
    await session.delete(portal)
    await session.flush()

"""Portals: drafted, resumed by others, active; and the log of what was tried."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, String, and_, any_, case, cast, delete, func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids
from ispgraph.domain import audit, conflicts, customers, values
from ispgraph.domain.errors import DomainError, ErrorCode, Faults, fail
from ispgraph.domain.models import (
    AssetKind,
    AssetStatus,
    Customer,
    CustomerStatus,
    DraftStatus,
    Portal,
    PortalAdmin,
    PortalAsset,
    PortalLogEntry,
    PortalStep,
)
from ispgraph.domain.pages import newest_first
from ispgraph.domain.permissions import Viewer
from ispgraph.domain.portals import subdomains

LIFETIME = timedelta(hours=24)
"""After so long without anybody going on, its creator is told of an unfinished portal."""
GRACE = timedelta(hours=24)
"""And so long after that it is forgotten."""
LOG_ENTRIES = 200
LONGEST_ERROR = 500
NEWEST = newest_first("portals", Portal.id)
UNFINISHED = (DraftStatus.DRAFT, DraftStatus.PARTIAL, DraftStatus.FAILED, DraftStatus.EXPIRED)
STEPS: tuple[PortalStep, ...] = tuple(PortalStep)
_SUBDOMAIN = ("input", "subdomain")
_UNIQUE = {
    "uq_portals_subdomain": _SUBDOMAIN,
    "uq_portals_lookalike": _SUBDOMAIN,
    "uq_portals_tenant_id_customer_id": ("input", "customerId"),
}
_THEME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}|#[0-9a-f]{6}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Wish:
    """A portal as it is to be, as typed."""

    customer_id: UUID
    subdomain: str
    display_name: str
    subtitle: str | None = None
    theme: str | None = None
    active: bool | None = None
    """None leaves it as it is; one that is unfinished becomes active when its last step is done."""


def visible(by: Viewer, portal: Any = Portal) -> ColumnElement[bool]:
    """Portals of customers in the viewer's subtree."""
    return customers.belonging(by, portal.customer_id)


def theme(raw: str) -> str:
    """The name of a theme of the front end, or a colour. Raises Unfit."""
    found = raw.strip()
    if not _THEME.fullmatch(found):
        raise values.Unfit(
            "A theme is a name of at most 40 of the characters a-z 0-9 - _, or a colour such as #0a58ca."
        )
    return found


async def save(session: AsyncSession, wish: Wish, *, expected_version: int | None, by: Viewer) -> Portal:
    """Draft the portal of a customer, or change it. The subdomain is the customer's from now on.

    Raises DomainError TAKEN for a subdomain of somebody else, and for one that looks like it.
    """
    faults = Faults("input")
    subdomain = values.checked(faults, subdomains.subdomain, wish.subdomain, at=("subdomain",))
    name = values.checked(faults, values.text, wish.display_name, 100, at=("displayName",))
    subtitle = _optional(faults, values.text, wish.subtitle, 200, at="subtitle")
    chosen = _optional(faults, theme, wish.theme, at="theme")
    faults.raise_if_any()
    assert subdomain is not None
    assert name is not None
    customer = await customers.lock(session, wish.customer_id, by=by)
    if customer.status is CustomerStatus.TERMINATED:
        raise fail(ErrorCode.INVALID_STATE, "This customer is terminated.", "input", "customerId")
    portal = await session.scalar(select(Portal).where(Portal.customer_id == customer.id).with_for_update())
    if portal is None:
        portal = _begun(session, customer, by)
    elif expected_version is not None and expected_version != portal.version:
        message = f"This portal is at version {portal.version}: look at it again before you change it."
        raise fail(ErrorCode.VERSION_CONFLICT, message, "input", "expectedVersion")
    before = _looks(portal)
    portal.subdomain, portal.lookalike = subdomain, subdomains.lookalike(subdomain)
    portal.display_name, portal.subtitle, portal.theme = name, subtitle, chosen
    touch(portal, by=by)
    if wish.active is not None:
        portal.active, portal.held = wish.active, not wish.active
        if wish.active and portal.finished_at is None:
            portal.finished_at = clock.now()
    log(session, portal, PortalStep.BRANDING, None, by=by)
    async with conflicts.taken(_UNIQUE, "This subdomain is taken, or looks like one that is."):
        await session.flush()
    await settle(session, portal)
    changed = {key: value for key, value in _looks(portal).items() if before[key] != value}
    audit.record(session, by=by, action="portal.save", subject_id=customer.id, details=changed)
    await session.flush()
    return portal


async def lock(session: AsyncSession, customer_id: UUID, *, by: Viewer, at: Sequence[str]) -> Portal:
    """The portal of a visible customer, locked. Raises DomainError NOT_FOUND; INVALID_STATE before it was saved."""
    customer = await customers.lock(session, customer_id, by=by, at=tuple(at))
    portal = await session.scalar(select(Portal).where(Portal.customer_id == customer.id).with_for_update())
    if portal is None:
        message = "This customer has no portal yet: save its subdomain and its name first."
        raise fail(ErrorCode.INVALID_STATE, message, *at)
    return portal


async def with_assets(
    session: AsyncSession, portal_id: UUID, kinds: Sequence[AssetKind]
) -> tuple[Portal | None, Sequence[PortalAsset]]:
    """A portal and its pictures of these kinds, in their order."""
    rows = select(PortalAsset).where(PortalAsset.portal_id == portal_id)
    found = {asset.kind: asset for asset in await session.scalars(rows)}
    return await session.get(Portal, portal_id), [found[kind] for kind in kinds if kind in found]


async def refused(
    session: AsyncSession, customer_id: UUID, step: PortalStep, error: DomainError, *, by: Viewer
) -> None:
    """Record an attempt that was refused, in a transaction of its own: the attempt itself was rolled back."""
    mine = and_(Portal.customer_id == customer_id, visible(by))
    portal = await session.scalar(select(Portal).where(mine).with_for_update())
    if portal is not None:
        log(session, portal, step, str(error), by=by)
        await prune_log(session, portal.id)


def touch(portal: Portal, *, by: Viewer) -> None:
    """Somebody worked on the portal: an unfinished one lives for another day."""
    now = clock.now()
    portal.version += 1
    portal.updated_at = now
    portal.expires_at = now + LIFETIME
    portal.told_at = None
    portal.modified_by_id = by.operator_id


def log(
    session: AsyncSession,
    portal: Portal,
    step: PortalStep,
    error: str | None,
    *,
    by: Viewer,
    kind: AssetKind | None = None,
) -> None:
    """Keep an attempt at a step; `error` is why it failed."""
    session.add(
        PortalLogEntry(
            id=ids.uuid7(),
            tenant_id=portal.tenant_id,
            portal_id=portal.id,
            step=step,
            kind=kind,
            succeeded=error is None,
            error=None if error is None else error[:LONGEST_ERROR],
            at=clock.now(),
            by_id=by.operator_id,
        )
    )


async def prune_log(session: AsyncSession, portal_id: UUID) -> None:
    """Keep the last entries only."""
    await session.flush()
    of_portal = PortalLogEntry.portal_id == portal_id
    oldest = select(PortalLogEntry.id).where(of_portal).order_by(PortalLogEntry.id.desc()).offset(LOG_ENTRIES - 1)
    border = await session.scalar(oldest.limit(1))
    if border is not None:
        await session.execute(delete(PortalLogEntry).where(of_portal, PortalLogEntry.id < border))


async def settle(session: AsyncSession, portal: Portal) -> None:
    """After a step: how far the portal is. An unfinished one whose steps are all done becomes active."""
    await session.flush()
    assets = (await session.scalars(select(PortalAsset).where(PortalAsset.portal_id == portal.id))).all()
    admin = await session.scalar(select(PortalAdmin.id).where(PortalAdmin.portal_id == portal.id))
    broken = any(asset.status is AssetStatus.FAILED for asset in assets)
    logo = any(asset.kind is AssetKind.LOGO and asset.file_id is not None for asset in assets)
    done = {PortalStep.BRANDING: True, PortalStep.ASSETS: logo and not broken, PortalStep.ADMIN: admin is not None}
    portal.completed_steps = [step.value for step in STEPS if done[step]]
    if portal.finished_at is None and all(done.values()):
        portal.active, portal.finished_at = not portal.held, clock.now()
    if portal.finished_at is not None:
        portal.status = DraftStatus.COMPLETED
    elif broken:
        portal.status = DraftStatus.FAILED
    else:
        portal.status = DraftStatus.PARTIAL if len(portal.completed_steps) > 1 else DraftStatus.DRAFT
    await prune_log(session, portal.id)


def status_at(portal: Any, at: ColumnElement[datetime]) -> ColumnElement[str]:
    """How the creation of a portal stands as of an instant, by SQL: EXPIRED when nobody went on with it for a day."""
    left = and_(portal.finished_at.is_(None), portal.expires_at <= at)
    return case((left, DraftStatus.EXPIRED.name), else_=cast(portal.status, String))


def next_step(portal: Any) -> ColumnElement[str | None]:
    """The first step that is not done, by SQL; null when all are."""
    steps = portal.completed_steps
    return case(*((~(literal(step.value) == any_(steps)), step.name) for step in STEPS), else_=None)


def progress(portal: Any) -> ColumnElement[int]:
    """Per cent of the steps that are done, by SQL."""
    return cast(func.floor(func.cardinality(portal.completed_steps) * 100 / len(STEPS)), Integer)


def _begun(session: AsyncSession, customer: Customer, by: Viewer) -> Portal:
    now = clock.now()
    portal = Portal(
        id=ids.uuid7(),
        tenant_id=customer.tenant_id,
        customer_id=customer.id,
        version=0,
        active=False,
        completed_steps=[],
        created_at=now,
        created_by_id=by.operator_id,
    )
    session.add(portal)
    for kind in AssetKind:
        session.add(
            PortalAsset(
                id=ids.uuid7(), tenant_id=customer.tenant_id, portal_id=portal.id, kind=kind, attempts=0, failures=0
            )
        )
    return portal


def _looks(portal: Portal) -> dict[str, object]:
    return {
        "subdomain": portal.subdomain,
        "displayName": portal.display_name,
        "subtitle": portal.subtitle,
        "theme": portal.theme,
        "active": portal.active,
    }


def _optional(faults: Faults, read: Any, raw: str | None, *arguments: object, at: str) -> str | None:
    if raw is None or not raw.strip():
        return None
    return values.checked(faults, read, raw, *arguments, at=(at,))

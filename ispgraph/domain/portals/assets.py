"""The pictures of a portal: what becomes of each, and which files in the storage are of no use any more.

A file has a row before it is in the storage, and until it is gone from there: nothing is left behind that nobody knows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Select, delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids
from ispgraph.domain import audit, jobs
from ispgraph.domain.errors import ErrorCode, Faults
from ispgraph.domain.models import AssetKind, AssetStatus, Job, Portal, PortalAsset, PortalFile, PortalStep
from ispgraph.domain.permissions import Viewer
from ispgraph.domain.portals import pictures, records
from ispgraph.domain.portals.pictures import Picture

KEPT_UNUSED = timedelta(hours=1)
"""So long a file stays that is not shown any more: what the public was told of it may be half an hour old."""
CHUNK = 100
_SWEEP_EVERY = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A picture that is being taken: the file that it is to become."""

    portal_id: UUID
    kind: AssetKind
    file_id: UUID
    key: str
    number: int


def key_of(file: PortalFile) -> str:
    """Where a file stands in the storage. Keys are never used twice."""
    return f"portals/{file.tenant_id.hex}/{file.id.hex}.webp"


async def begin(
    session: AsyncSession, customer_id: UUID, kinds: Sequence[AssetKind], *, by: Viewer
) -> tuple[Portal, list[Attempt]]:
    """Note that these pictures of a customer's portal are being taken. Raises DomainError."""
    faults = Faults("assets")
    if not kinds:
        faults.add(ErrorCode.REQUIRED, "Send at least one picture.")
    for place, kind in enumerate(kinds):
        if kind in kinds[:place]:
            faults.add(ErrorCode.INVALID, "A portal has one picture of each kind.", str(place), "kind")
    faults.raise_if_any()
    portal = await records.lock(session, customer_id, by=by, at=("customerId",))
    found = []
    for kind in kinds:
        asset = await _held(session, portal.id, kind)
        asset.attempts += 1
        asset.status, asset.error = AssetStatus.PENDING, None
        file = PortalFile(
            id=ids.uuid7(),
            tenant_id=portal.tenant_id,
            portal_id=portal.id,
            kind=kind,
            digest="",
            created_at=clock.now(),
            unused_since=clock.now(),
        )
        session.add(file)
        found.append(Attempt(portal.id, kind, file.id, key_of(file), asset.attempts))
    records.touch(portal, by=by)
    await records.settle(session, portal)
    return portal, found


async def taken(session: AsyncSession, attempt: Attempt, picture: Picture, *, by: Viewer) -> None:
    """The file is in the storage: it is shown from now on, in place of the one before."""
    portal = await session.scalar(select(Portal).where(Portal.id == attempt.portal_id).with_for_update())
    if portal is None:
        return
    asset = await _held(session, attempt.portal_id, attempt.kind)
    if asset.attempts != attempt.number:
        # Somebody has begun anew meanwhile: the last one who begins has the last word.
        return
    now = clock.now()
    before = asset.file_id
    if before is not None:
        (await session.get_one(PortalFile, before)).unused_since = now
    file = await session.get_one(PortalFile, attempt.file_id)
    file.digest, file.unused_since = picture.digest, None
    asset.file_id, asset.status, asset.error = file.id, AssetStatus.UPLOADED, None
    asset.width, asset.height, asset.size_bytes = picture.width, picture.height, len(picture.body)
    asset.content_type, asset.uploaded_at = pictures.CONTENT_TYPE, now
    records.touch(portal, by=by)
    records.log(session, portal, PortalStep.ASSETS, None, by=by, kind=attempt.kind)
    details = {"kind": attempt.kind.value, "digest": picture.digest}
    audit.record(session, by=by, action="portal.upload", subject_id=portal.customer_id, details=details)
    await records.settle(session, portal)


async def failed(session: AsyncSession, attempt: Attempt, reason: str, *, by: Viewer) -> None:
    """The picture was not taken; what was shown before is shown on."""
    portal = await session.scalar(select(Portal).where(Portal.id == attempt.portal_id).with_for_update())
    if portal is None:
        return
    asset = await _held(session, attempt.portal_id, attempt.kind)
    records.log(session, portal, PortalStep.ASSETS, reason, by=by, kind=attempt.kind)
    if asset.attempts == attempt.number:
        asset.status, asset.error = AssetStatus.FAILED, reason[: records.LONGEST_ERROR]
        asset.failures += 1
    await records.settle(session, portal)


async def look(session: AsyncSession, tenant_id: UUID) -> Job | None:
    """Promise to clear the storage of what is not shown any more, at most once an hour."""
    if await session.scalar(_unused(1)) is None:
        return None
    lately = Job.created_at > clock.now() - _SWEEP_EVERY
    there = select(Job.id).where(Job.tenant_id == tenant_id, Job.kind == jobs.STORAGE_SWEEP, lately).limit(1)
    if await session.scalar(there) is not None:
        return None
    return await jobs.enqueue(session, jobs.STORAGE_SWEEP, tenant_id=tenant_id)


async def unused(session: AsyncSession) -> Sequence[PortalFile]:
    """Some files that have not been shown for a while."""
    return (await session.scalars(_unused(CHUNK))).all()


async def forget(session: AsyncSession, keys: Sequence[UUID]) -> None:
    """These files are gone from the storage."""
    await session.execute(delete(PortalFile).where(PortalFile.id.in_(keys), PortalFile.unused_since.is_not(None)))


def _unused(limit: int) -> Select[PortalFile]:
    old = PortalFile.unused_since <= clock.now() - KEPT_UNUSED
    return select(PortalFile).where(old).order_by(PortalFile.unused_since).limit(limit)


async def _held(session: AsyncSession, portal_id: UUID, kind: AssetKind) -> PortalAsset:
    rows = select(PortalAsset).where(PortalAsset.portal_id == portal_id, PortalAsset.kind == kind)
    return (await session.scalars(rows.with_for_update().execution_options(populate_existing=True))).one()

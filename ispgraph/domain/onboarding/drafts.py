"""Drafts: begun on one device, resumed on another, by another operator; forgotten a day after the last touch."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, String, and_, case, cast, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids
from ispgraph.domain import audit
from ispgraph.domain.errors import DomainError, ErrorCode, fail, not_found
from ispgraph.domain.models import Draft, DraftLogEntry, DraftStatus, WizardStep
from ispgraph.domain.pages import newest_first
from ispgraph.domain.permissions import Viewer, in_scope

LIFETIME = timedelta(hours=24)
LONGEST_ERROR = 1000
KEPT_AFTER_EXPIRY = timedelta(days=30)
ANSWERS = (
    *("basics", "connection", "password", "router_id", "package_id", "package_price_minor"),
    *("address", "zone_id", "custom_fields", "payment"),
)
UNFINISHED = (DraftStatus.DRAFT, DraftStatus.PARTIAL, DraftStatus.FAILED)
STEPS: tuple[WizardStep, ...] = tuple(WizardStep)


def visible(by: Viewer, draft: Any = Draft) -> ColumnElement[bool]:
    """Drafts begun by operators in the viewer's subtree."""
    return in_scope(by, draft.created_by_id)


def status_of(draft: Draft, at: datetime) -> DraftStatus:
    """The status as of an instant: a draft is expired from its last moment on, cleaned or not."""
    if draft.status in UNFINISHED and at >= draft.expires_at:
        return DraftStatus.EXPIRED
    return draft.status


def status_at(draft: Any, at: ColumnElement[datetime]) -> ColumnElement[str]:
    """`status_of` by SQL."""
    over = and_(draft.status.in_(UNFINISHED), draft.expires_at <= at)
    return case((over, DraftStatus.EXPIRED.name), else_=cast(draft.status, String))


NEWEST = newest_first("drafts", Draft.id)


def resume_at(completed: Sequence[str]) -> WizardStep:
    """Where to go on: the first step that has not been saved."""
    return next((step for step in STEPS if step.value not in completed), WizardStep.REVIEW)


def progress(draft: Any) -> ColumnElement[int]:
    """Per cent of the steps that are done; only a confirmed draft has 100."""
    done = func.cardinality(draft.completed_steps) * 100 / len(STEPS)
    return case((draft.status == DraftStatus.COMPLETED, 100), else_=cast(func.floor(done), Integer))


async def start(session: AsyncSession, *, by: Viewer) -> Draft:
    """Begin a creation."""
    at = clock.now()
    draft = Draft(
        id=ids.uuid7(),
        tenant_id=by.tenant_id,
        created_by_id=by.operator_id,
        modified_by_id=by.operator_id,
        created_at=at,
        updated_at=at,
        expires_at=at + LIFETIME,
        completed_steps=[],
    )
    session.add(draft)
    audit.record(session, by=by, action="draft.start", subject_id=draft.id)
    await session.flush()
    return draft


async def lock(session: AsyncSession, draft_id: UUID, *, by: Viewer, expected_version: int | None = None) -> Draft:
    """The draft, locked. Raises DomainError NOT_FOUND, or VERSION_CONFLICT when somebody else has saved since."""
    draft = await session.scalar(select(Draft).where(visible(by), Draft.id == draft_id).with_for_update())
    if draft is None:
        raise not_found("draft", "input", "draftId")
    if expected_version is not None and expected_version != draft.version:
        message = f"This draft is at version {draft.version}: look at it again before you change it."
        raise fail(ErrorCode.VERSION_CONFLICT, message, "input", "expectedVersion")
    return draft


def require_unfinished(draft: Draft, at: datetime) -> None:
    """Raises DomainError DRAFT_EXPIRED or INVALID_STATE unless the draft can still be worked on."""
    status = status_of(draft, at)
    if status is DraftStatus.EXPIRED:
        raise fail(ErrorCode.DRAFT_EXPIRED, "This draft has expired. Begin a new one.", "input", "draftId")
    if status not in UNFINISHED:
        raise fail(ErrorCode.INVALID_STATE, f"This draft is {status.value.lower()}.", "input", "draftId")


def touch(draft: Draft, at: datetime, *, by: Viewer) -> None:
    """Somebody worked on the draft: it lives for another day."""
    draft.version += 1
    draft.updated_at = at
    draft.expires_at = at + LIFETIME
    draft.modified_by_id = by.operator_id


def saved(session: AsyncSession, draft: Draft, step: WizardStep, *, by: Viewer) -> None:
    """Record that a step's answers were saved."""
    at = clock.now()
    touch(draft, at, by=by)
    done = {*draft.completed_steps, step.value}
    draft.completed_steps = [each.value for each in STEPS if each.value in done]
    draft.current_step = resume_at(draft.completed_steps)
    draft.status = DraftStatus.PARTIAL
    _log(session, draft, step, None, by=by)


async def failed(session: AsyncSession, draft_id: UUID, step: WizardStep, error: DomainError, *, by: Viewer) -> None:
    """Record an attempt that was refused, in a transaction of its own: the attempt itself was rolled back."""
    at = clock.now()
    draft = await session.scalar(select(Draft).where(visible(by), Draft.id == draft_id).with_for_update())
    if draft is None or status_of(draft, at) not in UNFINISHED:
        return
    draft.expires_at = at + LIFETIME
    if step is WizardStep.REVIEW:
        draft.status = DraftStatus.FAILED
        draft.version += 1
    _log(session, draft, step, str(error)[:LONGEST_ERROR], by=by)


async def cancel(session: AsyncSession, draft_id: UUID, *, by: Viewer) -> Draft:
    """Give a creation up: its answers are erased. Cancelling again changes nothing."""
    draft = await lock(session, draft_id, by=by)
    if draft.status is DraftStatus.CANCELLED:
        return draft
    at = clock.now()
    require_unfinished(draft, at)
    touch(draft, at, by=by)
    draft.status = DraftStatus.CANCELLED
    for name in ANSWERS:
        setattr(draft, name, None)
    audit.record(session, by=by, action="draft.cancel", subject_id=draft.id)
    await session.flush()
    return draft


async def clean(session: AsyncSession, tenant_id: UUID) -> None:
    """Daily: what has expired is marked and its answers erased; a month later the row goes as well."""
    at = clock.now()
    await session.execute(
        update(Draft)
        .where(Draft.tenant_id == tenant_id, Draft.status.in_(UNFINISHED), Draft.expires_at <= at)
        .values(
            {
                "status": DraftStatus.EXPIRED,
                "version": Draft.version + 1,
                **dict.fromkeys(ANSWERS),
            }
        )
    )
    old = select(Draft.id).where(
        Draft.tenant_id == tenant_id,
        Draft.status.in_((DraftStatus.EXPIRED, DraftStatus.CANCELLED)),
        Draft.expires_at <= at - KEPT_AFTER_EXPIRY,
    )
    await session.execute(delete(DraftLogEntry).where(DraftLogEntry.draft_id.in_(old)))
    await session.execute(delete(Draft).where(Draft.id.in_(old)))


def _log(session: AsyncSession, draft: Draft, step: WizardStep, error: str | None, *, by: Viewer) -> None:
    session.add(
        DraftLogEntry(
            id=ids.uuid7(),
            tenant_id=draft.tenant_id,
            draft_id=draft.id,
            step=step,
            succeeded=error is None,
            error=error,
            at=clock.now(),
            by_id=by.operator_id,
        )
    )

"""The same for many customers by one job: asked for, looked at and cancelled. `bulk_work` carries it out.

Who is meant is frozen when it is asked for. Whether the operator may still do it, and to whom, is asked again at work.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, CursorResult, Integer, String, any_, func, insert, literal, select
from sqlalchemy import type_coerce as coerced
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids
from ispgraph.domain import audit, idempotency, jobs, selections, viewers
from ispgraph.domain.bulk_wishes import Wished
from ispgraph.domain.errors import ErrorCode, fail, not_found
from ispgraph.domain.lists import Filter, Key, Order
from ispgraph.domain.models import BulkAction, BulkOutcome, BulkRow, BulkRun, Customer, Job, JobStatus
from ispgraph.domain.pages import newest_first
from ispgraph.domain.permissions import Permission, Viewer, Within, in_scope
from ispgraph.domain.selections import Selection

OPERATION, CANCEL = "customersBulk", "customersBulkCancel"
MOST = 20_000
"""So many customers one run may have."""
SELECTION = ("input", "selection")
PERMISSIONS: Mapping[BulkAction, Permission] = {
    BulkAction.SUSPEND: Permission.SUSPEND_CUSTOMERS,
    BulkAction.ACTIVATE: Permission.ACTIVATE_CUSTOMERS,
    BulkAction.CHANGE_PACKAGE: Permission.CHANGE_PACKAGE,
    BulkAction.MESSAGE: Permission.SEND_SMS,
}

NEWEST = newest_first("bulk-runs", BulkRun.id)
ROWS = Order("bulk-rows", (Key(BulkRow.position, Integer()),))
"""Within a run. To be read descending, which is the order in which they were selected."""
ROW_FILTERS = {
    "outcome": Filter(ARRAY(String()), lambda value, by: coerced(BulkRow.outcome, String()) == any_(value)),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be done to whom."""

    action: BulkAction
    wished: Wished
    selection: Selection
    expected_count: int
    dry_run: bool


async def start(session: AsyncSession, asked: Asked, *, idempotency_key: str | None, by: Viewer) -> BulkRun:
    """Promise it for each customer of the selection as it is now.

    Raises DomainError VERSION_CONFLICT when that has not the expected size, LIMIT_EXCEEDED, as `selections.rows`,
    and what the wish's check raises.
    """
    given = {
        **asked.selection.given(),
        "wish": asked.wished.wish,
        "count": asked.expected_count,
        "dry_run": asked.dry_run,
    }
    operation = f"{OPERATION}.{asked.action.value}"
    first = await idempotency.claim(session, by=by, operation=operation, key=idempotency_key, given=given)
    if first is not None:
        return await session.get_one(BulkRun, UUID(str(first["run"])))
    selected = await selections.rows(session, asked.selection, by=by, at=SELECTION)
    await asked.wished.check(session, by)
    run = await _frozen(session, asked, selected, by)
    await _require_zones(session, run, by)
    details = {"run": str(run.id), "count": run.count, "dry_run": run.dry_run, "wish": run.wish}
    audit.record(session, by=by, action=f"bulk.{run.action.value.lower()}", subject_id=run.id, details=details)
    await idempotency.keep(session, by=by, operation=operation, key=idempotency_key, answer={"run": str(run.id)})
    return run


async def _frozen(session: AsyncSession, asked: Asked, selected: Any, by: Viewer) -> BulkRun:
    """The run with its rows, if they are as many as were expected."""
    key = ids.uuid7()
    job = await jobs.enqueue(session, jobs.BULK, tenant_id=by.tenant_id, by=by.operator_id, arguments={"run": str(key)})
    run = BulkRun(
        id=key,
        tenant_id=by.tenant_id,
        job_id=job.id,
        action=asked.action,
        wish=dict(asked.wished.wish),
        dry_run=asked.dry_run,
        started_by_id=by.operator_id,
        acting_id=by.acting_id,
        count=max(asked.expected_count, 1),
    )
    session.add(run)
    await session.flush()
    # One more than there may be tells that there are too many.
    found = selected.limit(MOST + 1).subquery()
    columns = {
        "id": func.gen_random_uuid(),
        "tenant_id": literal(by.tenant_id),
        "run_id": literal(key),
        "position": found.c.position,
        "customer_id": found.c.id,
        "outcome": literal(BulkOutcome.WAITING.name, String()),
    }
    copied = insert(BulkRow).from_select(list(columns), select(*columns.values()), include_defaults=False)
    done: CursorResult[Any] = await session.execute(copied)  # type: ignore[assignment]
    if done.rowcount == 0:
        raise fail(ErrorCode.INVALID, "Nobody is selected.", *SELECTION)
    if done.rowcount > MOST:
        message = f"This selects more than {MOST} customers: narrow it."
        raise fail(ErrorCode.LIMIT_EXCEEDED, message, *SELECTION)
    if done.rowcount != asked.expected_count:
        message = f"This selects {done.rowcount} customers now, and {asked.expected_count} were expected."
        raise fail(ErrorCode.VERSION_CONFLICT, message, "input", "expectedCount")
    return run


async def _require_zones(session: AsyncSession, run: BulkRun, by: Viewer) -> None:
    if by.within is None:
        return
    zones = select(Customer.zone_id).join(BulkRow, BulkRow.customer_id == Customer.id).where(BulkRow.run_id == run.id)
    if not all(by.within.holds(zone) for zone in await session.scalars(zones.distinct())):
        message = "You may do this to customers of some zones only, and some of these are in none of them."
        raise fail(ErrorCode.NOT_PERMITTED, message, *SELECTION)


async def authority(session: AsyncSession, run: BulkRun) -> Viewer:
    """Who asked for it, with what it may do by now. Raises jobs.Permanent when that is not this any more."""
    by = await viewers.on_behalf(session, run.started_by_id, job_id=run.job_id, acting_id=run.acting_id)
    needed = PERMISSIONS[run.action]
    if by is not None and by.may(needed):
        return by
    if by is not None and (zones := by.zones_of(needed)):
        return replace(by, within=Within(zones))
    raise jobs.Permanent(f"Who asked for this has not the permission {needed.value} any more. {told(run)}")


async def cancel(session: AsyncSession, run_id: UUID, *, idempotency_key: str | None, by: Viewer) -> BulkRun:
    """Leave alone whom it has not come to yet; what is done stays done. Raises DomainError INVALID_STATE when it has
    ended, NOT_PERMITTED for who may not do the same."""
    claimed = await idempotency.claim(session, by=by, operation=CANCEL, key=idempotency_key, given={"run": run_id})
    run = await session.scalar(select(BulkRun).where(BulkRun.id == run_id, visible(by)))
    if run is None or not (by.may(Permission.VIEW_CUSTOMERS) or by.may(PERMISSIONS[run.action])):
        # Who may neither see it nor do the same is not told that there is one.
        raise not_found("bulk run", "bulkRunId")
    if claimed is not None:
        return run
    needed = PERMISSIONS[run.action]
    if not by.may(needed):
        raise fail(ErrorCode.NOT_PERMITTED, f"This needs the permission {needed.value}.", "bulkRunId")
    # The job first, as its worker does: between two parts nobody holds it.
    job = await session.get_one(Job, run.job_id, with_for_update=True)
    await session.refresh(run, with_for_update=True)
    if job.status not in jobs.UNFINISHED or run.cancelled_at is not None:
        raise fail(ErrorCode.INVALID_STATE, "This has ended already, or was cancelled.", "bulkRunId")
    run.cancelled_at = clock.now()
    if job.status is JobStatus.QUEUED:
        jobs.finish(session, job, JobStatus.CANCELLED, told(run))
    audit.record(session, by=by, action="bulk.cancel", subject_id=run.id, details={"run": str(run.id)})
    await idempotency.keep(session, by=by, operation=CANCEL, key=idempotency_key, answer={"run": str(run.id)})
    return run


def visible(by: Viewer, run: Any = BulkRun) -> ColumnElement[bool]:
    """What somebody of the viewer's subtree has asked for."""
    return in_scope(by, run.started_by_id)


def told(run: BulkRun) -> str:
    """What came of it, for a person."""
    cancelled = "Cancelled. " if run.cancelled_at is not None else ""
    verb = "would be done" if run.dry_run else "done"
    found = f"{cancelled}{run.done} of {run.count} {verb}, {run.unchanged} unchanged, {run.failed} failed"
    return f"{found}, {left(run)} left alone." if left(run) else f"{found}."


def left(run: BulkRun) -> int:
    """To how many it has not come."""
    return run.count - run.done - run.unchanged - run.failed


def of_job(job: Job) -> UUID:
    """Which run a job carries out."""
    return UUID(str(job.arguments["run"]))

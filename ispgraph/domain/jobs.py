"""Jobs: slow work that was promised. Here are all the changes a row of the table of jobs may go through.

A promise is made in the transaction of the business it belongs to (`enqueue`). A worker claims it for a lease, renews
the lease while it works, and may record a result only while the lease is its own.
"""

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ARRAY, ColumnElement, Select, String, and_, any_, or_, select, type_coerce, update
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids, pubsub, traces
from ispgraph import jobs as queue
from ispgraph.db import after_commit
from ispgraph.domain import audit, customers
from ispgraph.domain.errors import ErrorCode, fail, not_found
from ispgraph.domain.lists import Filter
from ispgraph.domain.models import Customer, Job, JobStatus
from ispgraph.domain.pages import newest_first
from ispgraph.domain.permissions import Permission, Viewer, in_scope

PROVISION, DISCONNECT = "service.provision", "service.disconnect"
TEST, RECONCILE, READ_USERS = "router.test", "router.reconcile", "router.readUsers"
PACKAGE = "package.apply"
EXPORT_SESSIONS, EXPORT_REPORT, EXPORT_CUSTOMERS = "sessions.export", "report.export", "customers.export"
EXPORT_IMPORT = "import.export"
EXPORTS = (EXPORT_SESSIONS, EXPORT_REPORT, EXPORT_CUSTOMERS, EXPORT_IMPORT)
"""The kinds that make a file."""
BILLING_RUN = "billing.run"
GATEWAY_CHECK, GATEWAY_REFUND = "gateway.check", "gateway.refund"
VOUCHERS = "vouchers.make"
GATEWAY_TEST = "gateway.test"
HOSTING, HOSTING_TEST, HOSTING_CHECK, HOSTING_STATS = "hosting.apply", "hosting.test", "hosting.check", "hosting.stats"
STORAGE_SWEEP = "storage.sweep"
BULK = "customers.bulk"
IMPORT_CHECK, IMPORT_RUN, IMPORT_UNDO = "import.check", "import.run", "import.undo"
IMPORTS = (IMPORT_CHECK, IMPORT_RUN, IMPORT_UNDO)
"""The kinds of an import of customers."""
OFFICE = (*EXPORTS, *IMPORTS, BILLING_RUN, GATEWAY_CHECK, GATEWAY_REFUND, VOUCHERS, GATEWAY_TEST, STORAGE_SWEEP, BULK)
"""All kinds that do not reach the network."""

LEASE = timedelta(seconds=30)
MAX_ATTEMPTS = 8
UNFINISHED = (JobStatus.QUEUED, JobStatus.RUNNING)
_ENDED_BADLY = (JobStatus.FAILED, JobStatus.CANCELLED)
_SHORTEST, _LONGEST = 2.0, 300.0
_PENDING = "ispgraph.jobs"


class Permanent(Exception):
    """Trying again would meet the same: the job has failed. The text is for people."""


class LeaseLost(Exception):
    """Another run holds the job, or it has ended: this run may not write anything."""


async def enqueue(
    session: AsyncSession,
    kind: str,
    *,
    tenant_id: UUID,
    customer_id: UUID | None = None,
    service_id: UUID | None = None,
    router_id: UUID | None = None,
    by: UUID | None = None,
    arguments: dict[str, object] | None = None,
) -> Job:
    """Promise a job in the transaction at hand; word goes out when it has committed. `by` is an operator."""
    job = promise(
        kind,
        tenant_id=tenant_id,
        customer_id=customer_id,
        service_id=service_id,
        router_id=router_id,
        by=by,
        arguments=arguments,
    )
    await enqueue_all(session, [job])
    return job


async def enqueue_all(session: AsyncSession, promised: Sequence[Job]) -> None:
    """Promise these jobs, made by `promise`, in the transaction at hand; word goes out when it has committed."""
    session.add_all(promised)
    await session.flush()
    for job in promised:
        _send(session, job)
        _announce(session, job)


def promise(
    kind: str,
    *,
    tenant_id: UUID,
    customer_id: UUID | None = None,
    service_id: UUID | None = None,
    router_id: UUID | None = None,
    by: UUID | None = None,
    arguments: dict[str, object] | None = None,
) -> Job:
    """A job that is due at once, for `enqueue_all`."""
    now = clock.now()
    return Job(
        id=ids.uuid7(),
        tenant_id=tenant_id,
        kind=kind,
        status=JobStatus.QUEUED,
        customer_id=customer_id,
        service_id=service_id,
        router_id=router_id,
        created_by_id=by,
        arguments=arguments or {},
        traceparent=traces.carried(),
        attempts=0,
        created_at=now,
        next_attempt_at=now,
    )


# -- what a worker does


async def claim(session: AsyncSession, job_id: UUID) -> Job | None:
    """Take a due job for one lease. None when it is not due, taken, or ended."""
    now = clock.now()
    due = select(Job).where(Job.id == job_id, Job.status.in_(UNFINISHED), Job.next_attempt_at <= now)
    job = await session.scalar(due.with_for_update(skip_locked=True))
    return job if job is not None and begin(session, job, uuid4()) else None


def begin(session: AsyncSession, job: Job, lease: UUID) -> bool:
    """Have a locked job run under a lease; False when it has failed instead, by workers that were lost."""
    if job.attempts >= MAX_ATTEMPTS:
        # Its run ended neither well nor badly, each time: whoever ran it died.
        finish(session, job, JobStatus.FAILED, f"The worker was lost {job.attempts} times while it did this.")
        return False
    now = clock.now()
    job.status = JobStatus.RUNNING
    job.attempts += 1
    job.lease = lease
    job.next_attempt_at = now + LEASE
    job.started_at = job.started_at or now
    _announce(session, job)
    return True


async def renew(session: AsyncSession, job_id: UUID, lease: UUID) -> None:
    """Keep the job for another lease from now. Raises LeaseLost."""
    held = update(Job).where(Job.id == job_id, Job.lease == lease).values(next_attempt_at=clock.now() + LEASE)
    if await session.scalar(held.returning(Job.id)) is None:
        raise LeaseLost


async def hold(session: AsyncSession, job_id: UUID, lease: UUID) -> Job:
    """The row, locked: until this transaction ends nobody else takes the job over. Raises LeaseLost."""
    job = await session.scalar(select(Job).where(Job.id == job_id, Job.lease == lease).with_for_update())
    if job is None:
        raise LeaseLost
    return job


def finish(session: AsyncSession, job: Job, status: JobStatus, message: str | None = None) -> None:
    """End a locked job as SUCCEEDED, FAILED or CANCELLED."""
    job.status = status
    job.message = message
    job.lease = None
    job.finished_at = clock.now()
    _announce(session, job)


def postpone(session: AsyncSession, job: Job, reason: str) -> None:
    """Give a locked job back after a failed attempt: to be tried later, or FAILED after the last attempt."""
    if job.attempts >= MAX_ATTEMPTS:
        finish(session, job, JobStatus.FAILED, reason)
        return
    job.status = JobStatus.QUEUED
    job.message = reason
    job.lease = None
    job.next_attempt_at = clock.now() + backoff(job.attempts)
    _announce(session, job)


def put_off(session: AsyncSession, job: Job, until: datetime, reason: str) -> None:
    """Have a locked job wait for something outside of it: that is no attempt."""
    if job.status is JobStatus.RUNNING:
        job.attempts -= 1
        job.arguments = {**job.arguments, "waits": waits(job) + 1}
    job.status = JobStatus.QUEUED
    job.message = reason
    job.lease = None
    job.next_attempt_at = until
    _announce(session, job)


def waits(job: Job) -> int:
    """How often a job was begun and then put off."""
    count = job.arguments.get("waits", 0)
    return count if isinstance(count, int) else 0


def tell(session: AsyncSession, job: Job, message: str) -> None:
    """Say how far a running job is."""
    job.message = message
    _announce(session, job)


def progress(session: AsyncSession, job: Job, done: int, total: int, message: str | None = None) -> None:
    """Say how many of how many a running job has done."""
    job.progress_done, job.progress_total = min(done, total), total
    job.message = message
    _announce(session, job)


def release(session: AsyncSession, job: Job) -> None:
    """Give a locked job back unfinished, at once due, because the worker stops: this was no attempt."""
    job.status = JobStatus.QUEUED
    job.attempts -= 1
    job.lease = None
    job.next_attempt_at = clock.now()
    _announce(session, job)
    _send(session, job)


def again(session: AsyncSession, job: Job) -> None:
    """Queue a locked job that has ended once more, with all its attempts."""
    job.status = JobStatus.QUEUED
    job.attempts = 0
    job.message = job.started_at = job.finished_at = None
    hasten(session, job)


def hasten(session: AsyncSession, job: Job) -> None:
    """Have a locked job that waits be due at once."""
    job.next_attempt_at = clock.now()
    _announce(session, job)
    _send(session, job)


def backoff(attempts: int) -> timedelta:
    """How long to wait after so many attempts: doubling from 2 s to 5 min, and a quarter either way."""
    seconds = _SHORTEST * 2.0 ** (attempts - 1) * random.uniform(0.75, 1.25)  # noqa: S311  jitter, not a secret
    return timedelta(seconds=min(max(seconds, _SHORTEST), _LONGEST))


# -- what a person does


async def retry(session: AsyncSession, job_id: UUID, *, by: Viewer) -> Job:
    """Queue a failed or cancelled job again, with all its attempts. Raises NOT_FOUND, INVALID_STATE, NOT_PERMITTED."""
    job = await _change(session, job_id, by)
    if job.status not in _ENDED_BADLY:
        raise fail(ErrorCode.INVALID_STATE, "Only a failed or cancelled job can be tried again.", "jobId")
    audit.record(session, by=by, action="job.retry", subject_id=job.id)
    again(session, job)
    return job


async def cancel(session: AsyncSession, job_id: UUID, *, by: Viewer) -> Job:
    """Cancel a job that has not begun. Raises NOT_FOUND, INVALID_STATE, NOT_PERMITTED."""
    job = await _change(session, job_id, by)
    if job.status is not JobStatus.QUEUED:
        raise fail(ErrorCode.INVALID_STATE, "Only a job that waits can be cancelled.", "jobId")
    finish(session, job, JobStatus.CANCELLED, f"Cancelled by {by.name}.")
    audit.record(session, by=by, action="job.cancel", subject_id=job.id)
    return job


async def _change(session: AsyncSession, job_id: UUID, by: Viewer) -> Job:
    if not (by.may(Permission.MANAGE_ROUTERS) or by.may(Permission.ACTIVATE_CUSTOMERS)):
        raise fail(ErrorCode.NOT_PERMITTED, "This needs the permission MANAGE_ROUTERS or ACTIVATE_CUSTOMERS.")
    job = await session.scalar(select(Job).where(Job.id == job_id, visible(by)).with_for_update())
    if job is None:
        raise not_found("job", "jobId")
    return job


# -- what can be seen


NEWEST = newest_first("jobs", Job.id)
FILTERS = {"status": Filter(ARRAY(String()), lambda value, by: type_coerce(Job.status, String()) == any_(value))}


def visible(by: Viewer, job: Any = Job) -> ColumnElement[bool]:
    """Jobs of the viewer's customers; a job without a customer is for those who see the whole tenant, but for files,
    vouchers, bulk runs and imports that somebody of the viewer's subtree asked for."""
    own = customers.belonging(by, job.customer_id)
    if by.scope_id is None:
        return own
    theirs = job.kind.in_((EXPORT_REPORT, EXPORT_CUSTOMERS, EXPORT_IMPORT, VOUCHERS, BULK, *IMPORTS))
    return or_(own, and_(theirs, in_scope(by, job.created_by_id)))


async def find(session: AsyncSession, job_id: UUID, *, by: Viewer) -> Job | None:
    """A visible job."""
    return await session.scalar(select(Job).where(Job.id == job_id, visible(by)))


Read = Callable[[], AbstractAsyncContextManager[AsyncSession]]


async def follow_job(read: Read, job_id: UUID, *, by: Viewer, seconds: float) -> AsyncIterator[Job]:
    """The job now, and again at each change until it has ended or is out of sight. Raises NOT_FOUND.

    Events only hurry it: the row is also read every so many seconds.
    """
    async with pubsub.subscribe(topic_of_job(job_id)) as events:
        seen: tuple[object, ...] | None = None
        while True:
            async with read() as session:
                job = await find(session, job_id, by=by)
            if job is None:
                if seen is None:
                    raise not_found("job", "jobId")
                return
            if _shown(job) != seen:
                seen = _shown(job)
                yield job
            if job.status not in UNFINISHED:
                return
            await pubsub.next_events(events, seconds)


async def follow_customer(read: Read, customer_id: UUID, *, by: Viewer, seconds: float) -> AsyncIterator[Job]:
    """A customer's unfinished jobs now, and again each that changes, appears or ends, for as long as one listens.

    Raises NOT_FOUND. A customer who leaves the viewer's sight ends it.
    """
    customer = customers.visible(by).where(Customer.id == customer_id).with_only_columns(Customer.id)
    seen: dict[UUID, tuple[object, ...]] | None = None
    since = clock.now()
    async with pubsub.subscribe(topic_of_customer(by.tenant_id, customer_id)) as events:
        while True:
            async with read() as session:
                if await session.scalar(customer) is None:
                    if seen is None:
                        raise not_found("customer", "customerId")
                    return
                seen = {} if seen is None else seen
                rows: list[Job] = list(await session.scalars(_news(customer_id, since, seen)))
            for job in rows:
                if seen.get(job.id) != _shown(job):
                    seen[job.id] = _shown(job)
                    yield job
            await pubsub.next_events(events, seconds)


def _news(customer_id: UUID, since: datetime, seen: dict[UUID, tuple[object, ...]]) -> Select[Any]:
    fresh = or_(Job.status.in_(UNFINISHED), Job.created_at >= since, Job.id.in_(list(seen)))
    return select(Job).where(Job.customer_id == customer_id, fresh).order_by(Job.id)


def _shown(job: Job) -> tuple[object, ...]:
    # Not the lease: that a run goes on is no news.
    due = job.next_attempt_at if job.status is JobStatus.QUEUED else None
    return (job.status, job.attempts, due, job.message, job.progress_done, job.progress_total, job.finished_at)


def topic_of_job(job_id: UUID) -> str:
    """Where changes of one job are announced."""
    return f"job:{job_id.hex}"


def topic_of_customer(tenant_id: UUID, customer_id: UUID) -> str:
    """Where changes of a customer's jobs are announced."""
    return f"customer-jobs:{tenant_id.hex}:{customer_id.hex}"


def _announce(session: AsyncSession, job: Job) -> None:
    pubsub.publish(session, topic_of_job(job.id), job.id.hex)
    if job.customer_id is not None:
        pubsub.publish(session, topic_of_customer(job.tenant_id, job.customer_id), job.id.hex)


def _send(session: AsyncSession, job: Job) -> None:
    # A dictionary for its keys: each once, in their order.
    pending: dict[queue.Due, None] | None = session.info.get(_PENDING)
    if pending is None:
        pending = session.info[_PENDING] = {}

        async def send() -> None:
            await queue.push([*session.info.pop(_PENDING)])

        after_commit(session, send)
    if job.router_id is None:
        due = queue.Due(job.tenant_id, job.id)
    else:
        due = queue.Due(job.tenant_id, job.router_id, lane=True)
    pending[due] = None

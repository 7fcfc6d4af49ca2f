"""One run of one job: the claim, the lease that is kept while it works, and the result."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import cancelling, metrics, replica, traces
from ispgraph import jobs as queue
from ispgraph.db import Database
from ispgraph.domain import jobs
from ispgraph.domain.errors import DomainError
from ispgraph.domain.jobs import LeaseLost, Permanent
from ispgraph.domain.models import Job, JobStatus
from ispgraph.settings import Settings

T = TypeVar("T")

HEARTBEAT_SECONDS = 10.0
LONGEST_RUN_SECONDS = 300.0
# Of the kinds for which that is too short: a workbook of a million rows is the work of minutes, so are as many bills.
_LONGER_RUN_SECONDS = dict.fromkeys(jobs.OFFICE, 3600.0)
_CANCEL_SECONDS = 0.5

_OUTCOMES = {
    JobStatus.SUCCEEDED: "DONE",
    JobStatus.FAILED: "FAILED",
    JobStatus.QUEUED: "AGAIN",
    JobStatus.CANCELLED: "STOPPED",
}

_log = logging.getLogger(__name__)


class Run:
    """What the function of a job's kind is given. `job` is the row as it was claimed."""

    def __init__(self, database: Database, settings: Settings, job: Job, lease: UUID) -> None:
        self.database = database
        self.settings = settings
        self.job = job
        self.lease = lease
        self.ended: JobStatus | None = None
        """What was written of how it ended: QUEUED when it will be tried again."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """A transaction that commits only while the lease is ours, so that an effect in it happens once.

        Raises LeaseLost before anything is done in it.
        """
        async with self.database.transaction(self.job.tenant_id) as session:
            await jobs.hold(session, self.job.id, self.lease)
            yield session

    async def look_up(self, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """What `work` finds, of a replica where there is one: for what is much. It may be called twice."""
        return await replica.look_up(self.database, self.job.tenant_id, work)

    async def succeed(self, session: AsyncSession, message: str | None = None) -> None:
        """End the job well, in the same transaction as its last effect."""
        await self._end(session, JobStatus.SUCCEEDED, message)

    async def fail(self, session: AsyncSession, reason: str) -> None:
        """End the job badly, in a transaction that keeps what it learnt; nothing will try again by itself."""
        await self._end(session, JobStatus.FAILED, reason)

    async def cancel(self, session: AsyncSession, message: str) -> None:
        """End the job as somebody wanted it to end, in a transaction that keeps what was done until then."""
        await self._end(session, JobStatus.CANCELLED, message)

    async def put_off(self, session: AsyncSession, until: datetime, reason: str) -> None:
        """Have the job wait for something outside of it, in a transaction that keeps what it learnt: no attempt."""
        jobs.put_off(session, await jobs.hold(session, self.job.id, self.lease), until, reason)
        self.ended = JobStatus.QUEUED

    async def postpone(self, session: AsyncSession, reason: str) -> bool:
        """Give the job back after a failed attempt; whether it will be tried again."""
        job = await jobs.hold(session, self.job.id, self.lease)
        jobs.postpone(session, job, reason)
        self.ended = job.status
        return job.status is JobStatus.QUEUED

    async def _end(self, session: AsyncSession, status: JobStatus, message: str | None) -> None:
        jobs.finish(session, await jobs.hold(session, self.job.id, self.lease), status, message)
        self.ended = status


class Runner:
    """Carries out jobs in one event loop. Any number may run at once, here and elsewhere."""

    def __init__(
        self, database: Database, settings: Settings, actions: Mapping[str, Callable[[Run], Awaitable[None]]]
    ) -> None:
        self._database = database
        self._settings = settings
        self._actions = actions
        self._working: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def run_job(self, tenant: str, job: str) -> None:
        """Claim the job and carry it out. Nothing happens when it is not due or somebody else has it."""
        tenant_id, job_id = UUID(hex=tenant), UUID(hex=job)
        await queue.claimed(job_id)
        if self._stopping:
            return
        claimed = await self._database.run(tenant_id, lambda session: jobs.claim(session, job_id))
        if claimed is None or claimed.lease is None:
            return
        told: traces.Told = {"ispgraph.job.id": str(job_id), "ispgraph.job.attempt": claimed.attempts}
        parent = claimed.traceparent or traces.ROOT
        with traces.span(f"job {claimed.kind}", "CONSUMER", parent=parent, told=told) as span:
            outcome = await self._run(Run(self._database, self._settings, claimed, claimed.lease))
            span.tell({"ispgraph.outcome": outcome})

    async def _run(self, run: Run) -> str:
        began = time.monotonic()
        work = asyncio.create_task(self._carry_out(run))
        self._working.add(work)
        beat = asyncio.create_task(self._keep(run, work))
        try:
            await asyncio.wait([work])
        finally:
            self._working.discard(work)
            beat.cancel()
            await asyncio.wait([beat])
        outcome = "STOPPED"
        with suppress(LeaseLost):
            outcome = await self._record(run, work)
        metrics.JOBS.labels(run.job.kind, outcome).observe(time.monotonic() - began)
        return outcome

    def stop(self) -> None:
        """Cancel what runs: each job is given back, due at once. Call it in the loop."""
        self._stopping = True
        for work in self._working:
            work.cancel()
        if self._working:
            # Before Python 3.12 asyncio.wait_for, which redis-py uses, swallows a cancellation that meets a result.
            asyncio.get_running_loop().call_later(_CANCEL_SECONDS, self.stop)

    async def _carry_out(self, run: Run) -> None:
        action = self._actions.get(run.job.kind)
        if action is None:
            raise Permanent(f"This version does not know jobs of the kind {run.job.kind}.")
        async with asyncio.timeout(_LONGER_RUN_SECONDS.get(run.job.kind, LONGEST_RUN_SECONDS)):
            await action(run)

    async def _keep(self, run: Run, work: "asyncio.Task[None]") -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            try:
                async with self._database.transaction(run.job.tenant_id) as session:
                    await jobs.renew(session, run.job.id, run.lease)
            except LeaseLost:
                await cancelling.until_done(work, _CANCEL_SECONDS)
                return
            except (SQLAlchemyError, OSError) as error:
                # The lease outlives two beats: the next one may find the database back.
                _log.warning("job %s: the lease could not be renewed: %s", run.job.id, type(error).__name__)

    async def _record(self, run: Run, work: "asyncio.Task[None]") -> str:
        """Write how the run ended, and say it as it is counted. Raises LeaseLost when that is no longer ours to say."""
        error = None if work.cancelled() else work.exception()
        if run.ended and error is None:
            return _OUTCOMES[run.ended]
        if error is not None and not isinstance(error, Permanent | DomainError | LeaseLost):
            _log.error("job %s (%s) failed", run.job.id, run.job.kind, exc_info=error)
        async with run.transaction() as session:
            row = await jobs.hold(session, run.job.id, run.lease)
            if work.cancelled():
                jobs.release(session, row)
                return "STOPPED"
            if error is None:
                jobs.finish(session, row, JobStatus.SUCCEEDED)
            elif isinstance(error, Permanent | DomainError):
                jobs.finish(session, row, JobStatus.FAILED, str(error))
            else:
                jobs.postpone(session, row, _reason(error))
            return _OUTCOMES[row.status]


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "It took too long."
    # The text of an unforeseen error may hold what nobody should read, and says little to those who may.
    return f"Unexpected error ({type(error).__name__}); the worker's log has the details."

"""Carrying out what was asked for many customers."""

from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.actors.run import Run
from ispgraph.domain import bulk_runs, bulk_work, jobs
from ispgraph.domain.models import BulkRun


async def carry_out(run: Run) -> None:
    """The run that a job was promised for."""
    key = bulk_runs.of_job(run.job)

    async def progress(session: AsyncSession, done: int, total: int) -> None:
        jobs.progress(session, await jobs.hold(session, run.job.id, run.lease), done, total)

    await bulk_work.Carrier(key, run.transaction, progress, run.settings.token_key).carry_out()
    async with run.transaction() as session:
        row = await session.get_one(BulkRun, key)
        if row.cancelled_at is not None and bulk_runs.left(row):
            await run.cancel(session, bulk_runs.told(row))
        else:
            await run.succeed(session, bulk_runs.told(row))

"""Carrying out a billing run: part by part, each committed with what it adds to the run's figures."""

from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.actors.run import Run
from ispgraph.domain import jobs
from ispgraph.domain.billing import runs
from ispgraph.domain.models import BillingRun, Tenant


async def bill(run: Run) -> None:
    """The run that a job was promised for."""
    async with run.transaction() as session:
        row = await session.get_one(BillingRun, runs.of_job(run.job))
        tenant = await session.get_one(Tenant, run.job.tenant_id)

    async def progress(session: AsyncSession, done: int, total: int) -> None:
        jobs.progress(session, await jobs.hold(session, run.job.id, run.lease), done, total)

    await runs.Carrier(row, tenant, run.transaction, progress).carry_out()
    async with run.transaction() as session:
        ended = await session.get_one(BillingRun, row.id)
        await run.succeed(session, runs.told(ended, tenant))

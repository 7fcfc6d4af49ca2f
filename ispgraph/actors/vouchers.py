"""Making the vouchers of a large batch: part by part, each committed with what is told of it."""

from uuid import UUID

from sqlalchemy import select

from ispgraph.actors.run import Run
from ispgraph.domain import jobs, vouchers
from ispgraph.domain.models import VoucherBatch


async def make(run: Run) -> None:
    """The batch that a job was promised for. A run that is broken off goes on where it was; of one that was cancelled
    meanwhile nothing more is made."""
    key = UUID(str(run.job.arguments["batch"]))
    while True:
        async with run.transaction() as session:
            rows = select(VoucherBatch).where(VoucherBatch.id == key).with_for_update(key_share=True)
            batch = (await session.scalars(rows)).one()
            if batch.cancelled_at is not None:
                await run.fail(session, f"The batch was cancelled when there were {batch.made} vouchers.")
                return
            await vouchers.make(session, batch, vouchers.CHUNK, run.settings.network_key)
            job = await jobs.hold(session, run.job.id, run.lease)
            jobs.progress(session, job, batch.made, batch.count)
            if batch.made == batch.count:
                await run.succeed(session, f"{batch.count} vouchers.")
                return

"""Telling the network of a package's new terms, when many have it."""

from uuid import UUID

from ispgraph.actors.run import Run
from ispgraph.domain import jobs, watches


async def apply(run: Run) -> None:
    """Look at all services of a package, a chunk in each transaction; what follows has jobs of its own.

    Whoever is passed over because of somebody else's change comes with the scheduler, and so does everybody when this
    job is lost.
    """
    package_id = UUID(str(run.job.arguments["package"]))
    looked = promised = 0
    while True:
        async with run.transaction() as session:
            done = await watches.look(session, package_id=package_id, by=run.job.created_by_id)
            looked += done.services
            promised += len(done.jobs)
            job = await jobs.hold(session, run.job.id, run.lease)
            job.progress_done = looked
            jobs.tell(session, job, f"Looked at {looked} services.")
            if done.services == 0:
                said = f"Looked at {looked} services: {promised} jobs tell the network."
                await run.succeed(session, said)
                return

"""Jobs that reach the network."""

from ispgraph.actors.run import Run
from ispgraph.domain import network


async def provision(run: Run) -> None:
    """Verify that the network gives a service what its state asks for (`domain.network.provision`)."""
    async with run.transaction() as session:
        verdict = await network.provision(session, run.job)
        if verdict.agrees:
            await run.succeed(session, verdict.detail)
        else:
            await run.fail(session, verdict.detail)

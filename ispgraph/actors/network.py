"""Jobs that reach the network."""

from ispgraph.actors.run import Run
from ispgraph.domain.network import radius


async def provision(run: Run) -> None:
    """Verify that the network gives a service what its state asks for (`domain.network.radius.provision`)."""
    async with run.transaction() as session:
        verdict = await radius.provision(session, run.job)
        if verdict.agrees:
            await run.succeed(session, verdict.detail)
        else:
            await run.fail(session, verdict.detail)

"""Jobs of services that concern no router."""

from ispgraph.actors.provision import asked
from ispgraph.actors.run import Run
from ispgraph.domain.jobs import Permanent
from ispgraph.domain.models import StepOutcome
from ispgraph.domain.network import desired, outcomes
from ispgraph.domain.network.outcomes import Finding


async def provision(run: Run) -> None:
    """See that RADIUS would say to a login what the service's state asks for: there is nothing else to change."""
    service_id = run.job.service_id
    if service_id is None:
        raise Permanent("The job names no service.")
    async with run.transaction() as session:
        wanted = (await desired.load(session, [service_id], None))[service_id]
        step = asked(wanted)
        outcomes.record(session, run.job, [step])
        problem = None if step.outcome is StepOutcome.VERIFIED else wanted.detail
        if problem is None:
            await run.succeed(session, wanted.detail)
        else:
            await run.fail(session, problem)
        await outcomes.conclude(session, [Finding(service_id, wanted.customer_id, wanted.version, problem=problem)])

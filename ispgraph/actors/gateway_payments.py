"""Asking payment gateways, because somebody has said something, or nobody has for some time."""

from uuid import UUID

from ispgraph.actors.run import Run
from ispgraph.checkout import Checkout
from ispgraph.domain.jobs import Permanent


async def check(run: Run) -> None:
    """Ask about the attempt that a job was promised for. That nobody answers is no failure of the job: the attempt says
    when it is asked again."""
    found = run.job.arguments.get("gateway_payment")
    if not isinstance(found, str):
        raise Permanent("The job names no payment.")
    till = Checkout(run.database, run.settings)
    try:
        attempt = await till.ask(run.job.tenant_id, UUID(found))
    finally:
        await till.aclose()
    async with run.transaction() as session:
        said = attempt.state.value if attempt.reason is None else f"{attempt.state.value}: {attempt.reason}"
        await run.succeed(session, said)

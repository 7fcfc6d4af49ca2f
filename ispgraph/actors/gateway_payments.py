"""Asking payment gateways, because somebody has said something, or nobody has for some time."""

from uuid import UUID

from ispgraph.actors.run import Run
from ispgraph.checkout import Checkout
from ispgraph.domain.jobs import Permanent


async def give_back(run: Run) -> None:
    """Have a gateway give back what a job was promised for. That nobody answers is no failure of the job: the refund
    says when the gateway is asked again."""
    found = run.job.arguments.get("gateway_refund")
    if not isinstance(found, str):
        raise Permanent("The job names no refund.")
    till = Checkout(run.database, run.settings)
    try:
        refund = await till.give_back(run.job.tenant_id, UUID(found))
    finally:
        await till.aclose()
    async with run.transaction() as session:
        said = None if refund is None else ": ".join(filter(None, (refund.state.value, refund.reason)))
        await run.succeed(session, said)


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

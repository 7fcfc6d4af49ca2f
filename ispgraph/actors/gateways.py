"""Testing an account that carries messages: one message, handed over once."""

from uuid import UUID

from ispgraph.actors.run import Run
from ispgraph.adapters import outbound
from ispgraph.adapters.carriers import Accepted, Letter, open_carrier
from ispgraph.adapters.errors import AdapterError
from ispgraph.domain import gateways, secrets
from ispgraph.domain.gateways import Opened
from ispgraph.domain.jobs import Permanent
from ispgraph.domain.models import Gateway, GatewayKind, Tenant


async def test(run: Run) -> None:
    """Send the message that a job was promised for, and say what became of it. It is not tried again."""
    if run.job.attempts > 1:
        raise Permanent("The worker was lost while it sent the message: whether it has gone out is not known.")
    to = str(run.job.arguments["to"])
    async with run.transaction() as session:
        tenant = await session.get_one(Tenant, run.job.tenant_id)
        gateway = await session.get_one(Gateway, UUID(str(run.job.arguments["gateway"])))
        try:
            account = gateways.opened(run.settings.network_key, gateway)
        except secrets.BadSecret as error:
            raise Permanent("The secrets of this account were sealed with another key: give them again.") from error
    text = f"{tenant.name}: this is a test message."
    letter = Letter(
        reference=f"test-{run.job.id.hex[-24:]}",
        to=to,
        body=text,
        subject="Test" if account.kind is GatewayKind.EMAIL else None,
        report_url=gateways.callback_url(run.settings.origin, gateway),
    )
    try:
        accepted = await _send(account, letter, private=run.settings.private_gateways)
    except AdapterError as error:
        doubt = " It may have gone out all the same." if error.outcome_unknown else ""
        raise Permanent(f"{error}{doubt}") from error
    named = f" Its reference there is {accepted.provider_reference}." if accepted.provider_reference else ""
    async with run.transaction() as session:
        await run.succeed(session, f"{account.name} has taken the message to {to}.{named}")


async def _send(account: Opened, letter: Letter, *, private: bool) -> Accepted:
    async with outbound.client(private=private) as client:
        carrier = open_carrier(account, client)
        try:
            return await carrier.send(letter)
        finally:
            await carrier.close()

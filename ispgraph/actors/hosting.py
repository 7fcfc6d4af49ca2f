"""Hosting accounts brought to what is wanted of them, and a look at the servers they are on. No call is made within a
transaction."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.actors.run import Run
from ispgraph.actors.turns import step_of
from ispgraph.adapters import nextpanel, outbound
from ispgraph.adapters.errors import AdapterError, Refusal, Refused, Unreachable
from ispgraph.adapters.nextpanel import Login, NextPanel, Wanted
from ispgraph.domain import hosting_servers, hosting_work, jobs
from ispgraph.domain.hosting_work import Failure, Server, Task, Wait
from ispgraph.domain.jobs import Permanent
from ispgraph.domain.models import HostingAccount, HostingServer, HostingStatus, HostingWish, StepOutcome, StepProtocol
from ispgraph.domain.network import outcomes
from ispgraph.domain.network.outcomes import Step

_KEY = (Refusal.BAD_LOGIN, Refusal.NOT_PERMITTED)
_DOUBTFUL = "It may be there all the same: the panel cannot be asked for it. Look there for {}."
_MAYBE_OURS = "It may be this very account, made by an attempt whose answer was lost: look on the panel."
Record = Callable[[AsyncSession], Awaitable[None]]


async def apply(run: Run) -> None:
    """Bring the account that the job is for to what is wanted of it, step by step, until nothing is left to do."""
    account_id = UUID(str(run.job.arguments["account"]))
    while (task := await _next(run, account_id)) is not None:
        began = time.perf_counter()
        try:
            async with _panel(run, task.server) as panel:
                told, record = await _act(panel, task)
        except AdapterError as error:
            await _failed(run, task, error)
            return
        step = Step(StepProtocol.HOSTING, StepOutcome.APPLIED, told, round_trip_ms=_since(began))
        async with run.transaction() as session:
            await record(session)
            outcomes.record(session, await jobs.hold(session, run.job.id, run.lease), [step], told)


async def _next(run: Run, account_id: UUID) -> Task | None:
    """The next step; None when the job has ended, or waits."""
    try:
        async with run.transaction() as session:
            job = await jobs.hold(session, run.job.id, run.lease)
            found = await hosting_work.begin(session, job, account_id, network_key=run.settings.network_key)
            if isinstance(found, Wait):
                await run.put_off(session, found.until, found.reason)
            elif found is None:
                account = await session.get_one(HostingAccount, account_id)
                await run.succeed(session, f"The account {account.username} is {account.status.value}.")
            else:
                return found
            return None
    except Permanent as error:
        async with run.transaction() as session:
            job = await jobs.hold(session, run.job.id, run.lease)
            reason = str(error)
            await hosting_work.failed(session, job, account_id, Failure.NO, reason, clear=False, last=True)
            await run.fail(session, reason)
        return None


async def _act(panel: NextPanel, task: Task) -> tuple[str, Record]:
    """Do what a step says; what to tell of it, and what to record."""
    name, there = task.username, task.external_id
    if there is None and task.unsure:
        search = await panel.search(task.billing_id)
        there = search.account_id
        if there is None and task.target is HostingWish.DELETED:
            doubt = None if search.asked else _DOUBTFUL.format(name)
            told = f"There is no account {name} of ours on {task.server.name}." if search.asked else str(doubt)
            return told, lambda session: hosting_work.became(session, task, HostingStatus.DELETED, doubt)
        if there is not None and task.target is not HostingWish.DELETED:
            found = there
            told = f"The account {name} was on {task.server.name} already, id {found}."
            return told, lambda session: hosting_work.made(session, task, found)
    if task.target is HostingWish.DELETED:
        assert there is not None
        await panel.delete(there)
        told, status = f"Deleted the account {name} on {task.server.name}.", HostingStatus.DELETED
    elif there is None:
        external_id = await panel.create(_wanted(task))
        told = f"Made the account {name} on {task.server.name}, id {external_id}."
        return told, lambda session: hosting_work.made(session, task, external_id)
    elif task.target is HostingWish.SUSPENDED:
        await panel.suspend(there, task.reason)
        told, status = f"Suspended the account {name} on {task.server.name}.", HostingStatus.SUSPENDED
    else:
        await panel.unsuspend(there)
        told, status = f"Unsuspended the account {name} on {task.server.name}.", HostingStatus.ACTIVE
    return told, lambda session: hosting_work.became(session, task, status)


def _wanted(task: Task) -> Wanted:
    assert task.password is not None
    return Wanted(
        billing_id=task.billing_id,
        customer=task.customer,
        username=task.username,
        password=task.password,
        email=task.email,
        full_name=task.full_name,
        phone=task.phone,
        company=task.company,
        package_id=task.package,
        created_at=clock.now().isoformat(),
    )


async def _failed(run: Run, task: Task, error: AdapterError) -> None:
    failure = _kind(error)
    if failure is Failure.DOUBT and not await _healthy(run, task.server):
        failure = Failure.DOWN
    reason = str(error)
    if failure is Failure.GONE:
        reason = "The panel has this account no longer. Delete it here, and make another one."
    if isinstance(error, Refused) and error.kind is Refusal.ALREADY_EXISTS and task.unsure:
        reason = f"{reason}. {_MAYBE_OURS}"
    final = failure in (Failure.KEY, Failure.NO, Failure.GONE)
    clear = not error.outcome_unknown and not task.unsure
    async with run.transaction() as session:
        job = await jobs.hold(session, run.job.id, run.lease)
        last = final or job.attempts >= jobs.MAX_ATTEMPTS
        wait = await hosting_work.failed(session, job, task.account_id, failure, reason, clear=clear, last=last)
        outcomes.record(session, job, [step_of(StepProtocol.HOSTING, error)])
        if wait is not None:
            await run.put_off(session, wait.until, wait.reason)
        elif final:
            await run.fail(session, reason)
        else:
            await run.postpone(session, reason)


def _kind(error: AdapterError) -> Failure:
    if isinstance(error, Unreachable):
        return Failure.DOWN
    if not isinstance(error, Refused):
        return Failure.DOUBT
    if error.kind in _KEY:
        return Failure.KEY
    return Failure.GONE if error.kind is Refusal.NO_SUCH_ITEM else Failure.NO


async def _healthy(run: Run, server: Server) -> bool:
    try:
        async with _panel(run, server) as panel:
            await panel.health()
    except AdapterError:
        return False
    return True


# -- servers


async def look(run: Run) -> None:
    """Ask the server that the job is for whether it runs and takes our credentials, and write it down. A look that was
    asked for fails when it does not; the one of every minute has only seen it."""
    async with run.transaction() as session:
        row = await session.get(HostingServer, UUID(str(run.job.arguments["server"])))
        if row is None:
            await run.succeed(session, "The server was removed.")
            return
    asked_for = run.job.kind == jobs.HOSTING_TEST
    try:
        server = hosting_work.server_of(run.settings.network_key, row)
        async with _panel(run, server) as panel:
            await panel.health()
            await panel.prove()
            figures = await _figures(run, panel, server) if not asked_for else {}
    except (AdapterError, Permanent) as error:
        await _not_well(run, row.id, error, asked_for=asked_for)
        return
    async with run.transaction() as session:
        if (held := await hosting_servers.held(session, row.id)) is not None:
            await hosting_servers.reached(session, held)
        await run.succeed(session, f"{server.name} answers, and takes our key and secret.")
    if figures:
        async with run.database.transaction(run.job.tenant_id) as session:
            await hosting_work.counted(session, figures)


async def _not_well(run: Run, server_id: UUID, error: Exception, *, asked_for: bool) -> None:
    reason = str(error)
    async with run.transaction() as session:
        held = await hosting_servers.held(session, server_id)
        if held is not None and isinstance(error, Refused | Permanent):
            hosting_servers.refused(held, reason)
        elif held is not None:
            hosting_servers.missed(held, reason)
        await (run.fail(session, reason) if asked_for else run.succeed(session, reason))


async def _figures(run: Run, panel: NextPanel, server: Server) -> dict[UUID, dict[str, object]]:
    async with run.database.read(run.job.tenant_id) as session:
        accounts = await hosting_work.stale(session, server.id)
    found: dict[UUID, dict[str, object]] = {}
    for account_id, external_id in accounts:
        try:
            found[account_id] = await panel.stats(external_id)
        except Refused:
            # Of one account; it is asked for again after the others.
            found[account_id] = {}
    return found


async def count(run: Run) -> None:
    """Ask the panel what the account that the job is for holds."""
    async with run.transaction() as session:
        account = await session.get_one(HostingAccount, UUID(str(run.job.arguments["account"])))
        row = await session.get_one(HostingServer, account.server_id)
        server = hosting_work.server_of(run.settings.network_key, row)
    if account.external_id is None:
        raise Permanent("The panel does not have this account.")
    try:
        async with _panel(run, server) as panel:
            found = await panel.stats(account.external_id)
    except AdapterError as error:
        raise Permanent(str(error)) from error
    async with run.transaction() as session:
        await hosting_work.counted(session, {account.id: found})
        await run.succeed(session, f"{server.name} has said what the account {account.username} holds.")


@asynccontextmanager
async def _panel(run: Run, server: Server) -> AsyncIterator[NextPanel]:
    # The calls have shorter deadlines of their own.
    seconds = nextpanel.CREATE_SECONDS + nextpanel.CALL_SECONDS
    async with outbound.client(private=run.settings.private_gateways, seconds=seconds) as client:
        yield NextPanel(client, Login(server.base_url, server.keys.api_key, server.keys.api_secret))


def _since(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 3)

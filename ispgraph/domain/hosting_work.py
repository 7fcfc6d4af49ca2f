"""How a hosting account is brought to what is wanted of it: each step is decided here, and its outcome recorded.

Before a call that changes something the account is marked as unsure, and after a clear answer no more. So whatever dies
in between, the next one knows that the panel has to be asked, or told again.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids
from ispgraph.domain import hosting, hosting_servers, secrets
from ispgraph.domain.hosting_servers import Keys
from ispgraph.domain.jobs import Permanent
from ispgraph.domain.models import Customer, HostingAccount, HostingServer, HostingStatus, HostingWish, Job

STATS_EVERY = timedelta(days=1)
_AT_ONCE = 20
_DEBT = "Non-payment"
_BY_HAND = "Suspended by the provider"
_THERE = (HostingStatus.ACTIVE, HostingStatus.SUSPENDED)


@dataclass(frozen=True, slots=True)
class Server:
    """A server, ready for its adapter."""

    id: UUID
    name: str
    base_url: str
    keys: Keys = field(repr=False)


@dataclass(frozen=True, slots=True)
class Task:
    """One step. `unsure` is whether something was asked for earlier that the panel may have done."""

    server: Server
    account_id: UUID
    target: HostingWish
    external_id: str | None
    unsure: bool
    billing_id: str
    customer: str
    username: str
    password: str | None = field(repr=False)
    email: str
    full_name: str
    phone: str
    company: str | None
    package: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """The server is out of reach, or somebody else's turn."""

    until: datetime
    reason: str


class Failure(enum.Enum):
    DOWN = "DOWN"
    """The server could not be reached: that is no failure of the job."""
    KEY = "KEY"
    """It does not let us work."""
    NO = "NO"
    GONE = "GONE"
    """It knows no such account."""
    DOUBT = "DOUBT"
    """It answered nonsense or not at all, and is there: to be tried again, though not for ever."""


async def begin(session: AsyncSession, job: Job, account_id: UUID, *, network_key: bytes) -> Task | Wait | None:
    """The next step of an account, for a job that is held: marked as unsure, the server taken. None when nothing is
    left to do, and then the server is free. Raises Permanent, in words for people."""
    account = await _locked(session, account_id)
    if account.job_id == job.id:
        account.waits = False
    server = await _server(session, account)
    unmade = account.external_id is None and not account.unsure and account.status is not HostingStatus.DELETED
    if unmade and hosting.target(account) is HostingWish.DELETED:
        # Nothing of it has reached the panel.
        account.status, account.password, account.error = HostingStatus.DELETED, None, None
    if hosting.settled(account) or not account.placed:
        if account.status in _THERE and hosting.settled(account):
            account.error = None
        await hosting_servers.leave(session, server, job)
        return None
    if (put_off := await hosting_servers.take_turn(session, server, job)) is not None:
        until, reason = put_off
        account.waits, account.error = account.job_id == job.id, reason
        return Wait(until, reason)
    customer = await session.get_one(Customer, account.customer_id)
    target, unsure = hosting.target(account), account.unsure
    password = None
    if target is not HostingWish.DELETED and account.external_id is None:
        bound_to = secrets.hosting_account(account.tenant_id, account.id)
        password = secrets.unseal(network_key, account.password, bound_to) if account.password else None
        if password is None or customer.email is None:
            raise Permanent("The customer has no e-mail address: enter one, and try again.")
    account.unsure = True
    return Task(
        server=server_of(network_key, server),
        account_id=account.id,
        target=target,
        external_id=account.external_id,
        unsure=unsure,
        billing_id=ids.encode("hac", account.id),
        customer=customer.account_number,
        username=account.username,
        password=password,
        email=customer.email or "",
        full_name=customer.name,
        phone=customer.mobile,
        company=customer.company,
        package=account.package,
        reason=_DEBT if account.wish is HostingWish.ACTIVE else account.reason or _BY_HAND,
    )


def server_of(network_key: bytes, server: HostingServer) -> Server:
    """A server for its adapter. Raises Permanent when its credentials were sealed with a key that is gone."""
    try:
        return Server(server.id, server.name, server.base_url, hosting_servers.keys(network_key, server))
    except secrets.BadSecret as error:
        text = f"The key and secret of {server.name} were sealed with another key: give them again."
        raise Permanent(text) from error


async def made(session: AsyncSession, task: Task, external_id: str) -> None:
    """The panel has the account, and the password."""
    account = await _locked(session, task.account_id)
    account.external_id, account.password = external_id, None
    await _became(session, account, HostingStatus.ACTIVE)


async def became(session: AsyncSession, task: Task, status: HostingStatus, doubt: str | None = None) -> None:
    """The panel has done as it was told."""
    account = await _locked(session, task.account_id)
    if status is HostingStatus.DELETED:
        account.password = None
    await _became(session, account, status)
    account.error = doubt


async def _became(session: AsyncSession, account: HostingAccount, status: HostingStatus) -> None:
    account.status, account.unsure, account.error = status, False, None
    account.updated_at = clock.now()
    await hosting_servers.reached(session, await _server(session, account))


async def failed(
    session: AsyncSession, job: Job, account_id: UUID, failure: Failure, reason: str, *, clear: bool, last: bool
) -> Wait | None:
    """A step has failed. `clear`: the panel has certainly done nothing; `last`: nobody tries again by himself. Gives
    until when the job waits, and leaves the server."""
    account = await _locked(session, account_id)
    server = await _server(session, account)
    account.unsure = account.unsure and not clear
    account.updated_at = clock.now()
    wait = None
    if failure is Failure.DOWN:
        wait = Wait(hosting_servers.missed(server, reason), hosting_servers.waiting_for(server))
        account.waits = account.job_id == job.id
    elif failure is Failure.KEY:
        hosting_servers.refused(server, reason)
    account.error = reason if wait is None else wait.reason
    never = account.external_id is None and hosting.target(account) is not HostingWish.DELETED
    if wait is None and last and (never or failure is Failure.GONE):
        account.status = HostingStatus.FAILED
    await hosting_servers.leave(session, server, job)
    return wait


async def _locked(session: AsyncSession, account_id: UUID) -> HostingAccount:
    rows = select(HostingAccount).where(HostingAccount.id == account_id).with_for_update(key_share=True)
    account = await session.scalar(rows, execution_options={"populate_existing": True})
    if account is None:
        raise Permanent("There is no such account.")
    return account


async def _server(session: AsyncSession, account: HostingAccount) -> HostingServer:
    server = await hosting_servers.held(session, account.server_id)
    assert server is not None, "accounts refer to it"
    return server


# -- what accounts hold


async def stale(session: AsyncSession, server_id: UUID) -> list[tuple[UUID, str]]:
    """Some accounts of a server whose figures are a day old or older, with the panel's ids of them."""
    old = clock.now() - STATS_EVERY
    rows = select(HostingAccount.id, HostingAccount.external_id).where(
        HostingAccount.server_id == server_id,
        HostingAccount.status.in_(_THERE),
        or_(HostingAccount.stats_at.is_(None), HostingAccount.stats_at < old),
    )
    found = await session.execute(rows.order_by(HostingAccount.stats_at.nulls_first()).limit(_AT_ONCE))
    return [(key, external_id) for key, external_id in found if external_id is not None]


async def counted(session: AsyncSession, figures: Mapping[UUID, dict[str, object]]) -> None:
    """Keep what panels said of accounts."""
    rows = select(HostingAccount).where(HostingAccount.id.in_(figures)).order_by(HostingAccount.id)
    for account in (await session.scalars(rows.with_for_update(key_share=True))).all():
        account.stats, account.stats_at = figures[account.id], clock.now()

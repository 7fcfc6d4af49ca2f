"""Hosting accounts of customers: what operators, and debts, want of them. `hosting_work` has how that comes about.

What is wanted is written here and promised as a job; whoever changes his mind meanwhile changes the row, and the job
brings the panel to what the row says then. The password is sealed until the panel has it, and then forgotten.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids
from ispgraph.domain import audit, customers, hosting_servers, idempotency, jobs, secrets, values
from ispgraph.domain.conflicts import taken
from ispgraph.domain.errors import ErrorCode, Faults, fail, not_found
from ispgraph.domain.models import (
    Customer,
    HostingAccount,
    HostingStatus,
    HostingWish,
    Job,
    JobStatus,
    Service,
    ServiceStatus,
    SuspendReason,
    Tenant,
)
from ispgraph.domain.onboarding import answers
from ispgraph.domain.permissions import Viewer

PROVISION = "hostingProvision"
_USERNAME = re.compile(r"[a-z][a-z0-9]{0,31}")
_PACKAGE = re.compile(r"[A-Za-z0-9_-]{1,50}")
_SHORTEST, _LONGEST = 8, 128
_LONGEST_REASON = 255
# In a session: the customers of whom `look_ahead` knows that they have no account.
_WITHOUT = "hosting.without"


@dataclass(frozen=True, slots=True)
class Wish:
    """An account as typed; without a server the product chooses one."""

    username: str
    password: str = field(repr=False)
    server_id: UUID | None = None
    package: str | None = None

    def given(self, network_key: bytes) -> dict[str, object]:
        """What an idempotency key stands for; the password as a digest, which whoever lacks the key cannot guess."""
        shown = {"username": self.username, "server": self.server_id, "package": self.package}
        return {**shown, "password": secrets.digest(network_key, self.password)}


@dataclass(frozen=True, slots=True)
class Promised:
    """An account, and the jobs that bring it to what is wanted."""

    account: HostingAccount
    jobs: Sequence[Job] = ()


def target(account: HostingAccount) -> HostingWish:
    """What the panel should have: as operators want it, and suspended while it is held for debts."""
    if account.wish is HostingWish.ACTIVE and account.held:
        return HostingWish.SUSPENDED
    return account.wish


def settled(account: HostingAccount) -> bool:
    """Whether the panel has what it should, for all we know."""
    return account.status.value == target(account).value and not account.unsure


# -- what operators do


async def provision(
    session: AsyncSession,
    customer_id: UUID,
    wish: Wish,
    *,
    idempotency_key: str | None,
    network_key: bytes,
    by: Viewer,
) -> Promised:
    """An account for a customer, promised. Raises DomainError; LIMIT_EXCEEDED when there is no room for it."""
    given = {"customer": customer_id, **wish.given(network_key)}
    answer = await idempotency.claim(session, by=by, operation=PROVISION, key=idempotency_key, given=given)
    if answer is not None:
        return await again(session, answer, by)
    customer = await customers.lock(session, customer_id, by=by)
    faults = Faults("input")
    check(faults, wish, "hosting")
    if customer.email is None:
        message = "A hosting account needs an e-mail address, and this customer has none."
        faults.add(ErrorCode.REQUIRED, message, "customerId")
    faults.raise_if_any()
    made = await promise(session, customer, wish, network_key=network_key, by=by, anyhow=False)
    await idempotency.keep(session, by=by, operation=PROVISION, key=idempotency_key, answer=kept(made))
    return made


def check(faults: Faults, wish: Wish, *at: str) -> None:
    """Whether an account can be called and opened so."""
    values.checked(faults, _username, wish.username, at=(*at, "username"))
    if not _SHORTEST <= len(wish.password) <= _LONGEST or not wish.password.isprintable():
        message = f"A hosting password has {_SHORTEST} to {_LONGEST} characters that can be shown."
        faults.add(ErrorCode.INVALID if wish.password else ErrorCode.REQUIRED, message, *at, "password")
    if wish.package is not None and not _PACKAGE.fullmatch(wish.package):
        faults.add(ErrorCode.INVALID, "A package has 1 to 50 letters, digits, - and _.", *at, "packageId")


async def promise(
    session: AsyncSession, customer: Customer, wish: Wish, *, network_key: bytes, by: Viewer, anyhow: bool
) -> Promised:
    """An account of a new or locked customer, of a checked wish. With `anyhow` one for which there is no room is kept
    as FAILED, to be tried again."""
    at = ("input", "hosting")
    username = _username(wish.username)
    same = select(HostingAccount.id).where(
        HostingAccount.username == username, HostingAccount.status != HostingStatus.DELETED
    )
    named = f"The username {username} is taken."
    if await session.scalar(same) is not None:
        raise fail(ErrorCode.TAKEN, named, *at, "username")
    place = await hosting_servers.place(session, wish.server_id, *at)
    if place.problem is not None and not anyhow:
        raise fail(ErrorCode.LIMIT_EXCEEDED, place.problem, *at, "serverId")
    now = clock.now()
    account = HostingAccount(
        id=ids.uuid7(),
        tenant_id=customer.tenant_id,
        customer_id=customer.id,
        server_id=place.server.id,
        any_server=wish.server_id is None,
        placed=place.problem is None,
        username=username,
        package=wish.package,
        status=HostingStatus.FAILED if place.problem else HostingStatus.PENDING,
        wish=HostingWish.ACTIVE,
        error=place.problem,
        unsure=False,
        held=False,
        created_at=now,
        created_by_id=by.operator_id,
        updated_at=now,
    )
    account.password = secrets.seal(network_key, wish.password, secrets.hosting_account(account.tenant_id, account.id))
    session.add(account)
    async with taken({"uq_hosting_accounts_username": (*at, "username")}, named):
        await session.flush()
    _record(session, "provision", account, by, server=place.server.name, problem=place.problem)
    return Promised(account, await _bring(session, account, by) if account.placed else [])


async def retry(session: AsyncSession, account_id: UUID, *, by: Viewer) -> Promised:
    """Try at once what has failed, or waits. Raises DomainError NOT_FOUND; INVALID_STATE when all is as it should be;
    LIMIT_EXCEEDED when there is still no room."""
    account = await _locked(session, account_id, by)
    if settled(account):
        raise fail(
            ErrorCode.INVALID_STATE, "This account is as it should be: nothing is to be tried again.", "accountId"
        )
    if not account.placed:
        chosen = None if account.any_server else account.server_id
        place = await hosting_servers.place(session, chosen, "accountId")
        if place.problem is not None:
            raise fail(ErrorCode.LIMIT_EXCEEDED, place.problem, "accountId")
        account.server_id, account.placed = place.server.id, True
    if account.status is HostingStatus.FAILED and account.external_id is None:
        account.status = HostingStatus.PENDING
    account.error = None
    _record(session, "retry", account, by)
    waiting = await _waiting(session, account)
    if waiting is not None:
        jobs.hasten(session, waiting)
    return Promised(account, await _bring(session, account, by))


async def suspend(session: AsyncSession, account_id: UUID, reason: str | None, *, by: Viewer) -> Promised:
    """Have an account suspended until an operator wants otherwise; one that is to be so already is left alone."""
    faults = Faults()
    told = answers.optional(faults, reason, _LONGEST_REASON, "reason")
    faults.raise_if_any()
    account = await _locked(session, account_id, by)
    _there(account)
    if account.wish is HostingWish.SUSPENDED:
        return Promised(account, await _bring(session, account, by))
    account.wish, account.reason = HostingWish.SUSPENDED, told
    _record(session, "suspend", account, by, reason=told)
    return Promised(account, await _bring(session, account, by))


async def unsuspend(session: AsyncSession, account_id: UUID, *, by: Viewer) -> Promised:
    """Undo `suspend`, also where it was done because of debts."""
    account = await _locked(session, account_id, by)
    _there(account)
    if account.wish is HostingWish.ACTIVE and not account.held:
        return Promised(account, await _bring(session, account, by))
    account.wish, account.held, account.reason = HostingWish.ACTIVE, False, None
    _record(session, "unsuspend", account, by)
    return Promised(account, await _bring(session, account, by))


async def delete(session: AsyncSession, account_id: UUID, *, by: Viewer) -> Promised:
    """Have an account deleted on the panel, with all that is in it; that cannot be undone. Its row stays."""
    account = await _locked(session, account_id, by)
    if account.wish is HostingWish.DELETED:
        return Promised(account, await _bring(session, account, by))
    account.wish = HostingWish.DELETED
    _record(session, "delete", account, by)
    return Promised(account, await _bring(session, account, by))


async def refresh(session: AsyncSession, account_id: UUID, *, by: Viewer) -> Promised:
    """Promise to ask the panel what an account holds. Raises DomainError INVALID_STATE for one that is not there."""
    account = await _locked(session, account_id, by)
    if account.external_id is None or account.status is HostingStatus.DELETED:
        raise fail(ErrorCode.INVALID_STATE, "The panel does not have this account.", "accountId")
    return Promised(account, [await _enqueued(session, jobs.HOSTING_STATS, account, by)])


# -- what debts do


async def look_ahead(session: AsyncSession, customers: Collection[UUID]) -> None:
    """Ask once, before the services of many locked customers change, which of them have no account to `follow`."""
    rows = select(HostingAccount.customer_id).where(HostingAccount.customer_id.in_(customers))
    session.info[_WITHOUT] = set(customers) - set(await session.scalars(rows))


async def follow(session: AsyncSession, customer: Customer, services: Sequence[Service]) -> None:
    """Services of a locked customer were suspended or activated: where the tenant wants it so, accounts are held while
    one of them is suspended because of debts. Whoever is held is let go, also when the tenant wants it no longer."""
    owes = any(
        service.status is ServiceStatus.SUSPENDED and service.suspend_reason is SuspendReason.NON_PAYMENT
        for service in services
    )
    if customer.id in session.info.get(_WITHOUT, ()):
        return
    if owes and not (await session.get_one(Tenant, customer.tenant_id)).hosting_follows_invoices:
        return
    rows = select(HostingAccount).where(
        HostingAccount.customer_id == customer.id,
        HostingAccount.status != HostingStatus.DELETED,
        HostingAccount.held.is_(not owes),
    )
    for account in (await session.scalars(rows.order_by(HostingAccount.id).with_for_update(key_share=True))).all():
        account.held = owes
        _record(session, "hold" if owes else "let_go", account, None)
        if account.status is not HostingStatus.FAILED:
            await _bring(session, account, None)


# -- what all of that has in common


async def _locked(session: AsyncSession, account_id: UUID, by: Viewer) -> HostingAccount:
    rows = select(HostingAccount).where(
        HostingAccount.id == account_id, customers.belonging(by, HostingAccount.customer_id)
    )
    account = await session.scalar(rows.with_for_update(key_share=True, of=HostingAccount))
    if account is None:
        raise not_found("hosting account", "accountId")
    return account


def _there(account: HostingAccount) -> None:
    if account.wish is HostingWish.DELETED:
        raise fail(ErrorCode.INVALID_STATE, "This account is deleted, or soon will be.", "accountId")
    if account.status is HostingStatus.FAILED:
        message = "This account could not be made: try it again, or delete it."
        raise fail(ErrorCode.INVALID_STATE, message, "accountId")


async def _bring(session: AsyncSession, account: HostingAccount, by: Viewer | None) -> list[Job]:
    """The job that brings a locked account to what is wanted: one that waits already, or another. A job that runs
    looks again before it ends, but may have looked already."""
    account.updated_at = clock.now()
    if settled(account):
        return []
    waiting = await _waiting(session, account)
    if waiting is not None:
        return [waiting]
    job = await _enqueued(session, jobs.HOSTING, account, by)
    account.job_id = job.id
    return [job]


async def _waiting(session: AsyncSession, account: HostingAccount) -> Job | None:
    if account.job_id is None:
        return None
    rows = select(Job).where(Job.id == account.job_id, Job.status == JobStatus.QUEUED)
    # Not waited for: whoever has the row is about to begin it, and then there has to be another one.
    return await session.scalar(rows.with_for_update(skip_locked=True), execution_options={"populate_existing": True})


async def _enqueued(session: AsyncSession, kind: str, account: HostingAccount, by: Viewer | None) -> Job:
    return await jobs.enqueue(
        session,
        kind,
        tenant_id=account.tenant_id,
        customer_id=account.customer_id,
        by=by.operator_id if by else None,
        arguments={"account": str(account.id)},
    )


def _record(session: AsyncSession, what: str, account: HostingAccount, by: Viewer | None, **details: object) -> None:
    told = {"account": str(account.id), "username": account.username, **details}
    audit.record(
        session,
        by=by,
        action=f"hosting.{what}",
        subject_id=account.customer_id,
        details=told,
        tenant_id=account.tenant_id,
    )


def kept(made: Promised) -> dict[str, object]:
    """What an idempotency key answers with."""
    return {"account": str(made.account.id), "jobs": [str(job.id) for job in made.jobs]}


async def again(session: AsyncSession, answer: dict[str, object], by: Viewer) -> Promised:
    """What was kept."""
    rows = select(HostingAccount).where(
        HostingAccount.id == UUID(str(answer["account"])), customers.belonging(by, HostingAccount.customer_id)
    )
    account = await session.scalar(rows)
    if account is None:
        raise not_found("hosting account", "input", "idempotencyKey")
    listed = answer["jobs"]
    assert isinstance(listed, list)
    promised = select(Job).where(Job.id.in_([UUID(job) for job in listed])).order_by(Job.id)
    return Promised(account, list(await session.scalars(promised)))


def _username(raw: str) -> str:
    found = raw.strip().lower()
    if not _USERNAME.fullmatch(found):
        raise values.Unfit("A hosting username has 1 to 32 letters a–z and digits, and begins with a letter.")
    return found

"""Servers that customers have hosting accounts on: their credentials, how full they are, and whether they answer.

A place is taken under the locks of the servers, in the transaction that promises the account, and counted from the
accounts that are there: the count cannot drift, and of many who ask at once only as many get one as there are.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids
from ispgraph.domain import audit, jobs, outside, secrets, values
from ispgraph.domain.conflicts import taken
from ispgraph.domain.errors import ErrorCode, Faults, fail, not_found
from ispgraph.domain.models import HostingAccount, HostingServer, HostingStatus, Job, JobStatus
from ispgraph.domain.permissions import Viewer

CHECK_EVERY = timedelta(seconds=60)
FAILURES = 3
"""After so many failures in a row a server is left alone for a while."""
ADVICE_PERCENT = 90
_SHORTEST, _LONGEST = 30.0, 60.0
_FIRST = 5.0
_MOST = 1_000_000
_LONGEST_KEY = 200
_UNIQUE = {"uq_hosting_servers_tenant_id_name": ("input", "name")}


@dataclass(frozen=True, slots=True)
class Keys:
    """What opens a server, in clear: for an adapter, never for a log, a job or an answer."""

    api_key: str = field(repr=False)
    api_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Terms:
    """A server as typed. Of one that exists, what is None stays."""

    name: str | None = None
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    api_secret: str | None = field(default=None, repr=False)
    capacity: int | None = None
    active: bool | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where an account goes. With a `problem` there is no room, neither there nor elsewhere."""

    server: HostingServer
    problem: str | None = None


def keys(network_key: bytes, server: HostingServer) -> Keys:
    """The credentials. Raises secrets.BadSecret when they were sealed with another key."""
    found = json.loads(
        secrets.unseal(network_key, server.credentials, secrets.hosting_server(server.tenant_id, server.id))
    )
    return Keys(found["api_key"], found["api_secret"])


def _sealed(network_key: bytes, server: HostingServer, found: Keys) -> bytes:
    plain = json.dumps({"api_key": found.api_key, "api_secret": found.api_secret})
    return secrets.seal(network_key, plain, secrets.hosting_server(server.tenant_id, server.id))


# -- what operators do


async def add(
    session: AsyncSession, terms: Terms, *, network_key: bytes, private: bool, by: Viewer
) -> tuple[HostingServer, Job]:
    """A server, and the job that tests it. `private`: whether addresses of our own network may be meant."""
    faults = Faults("input")
    name = values.checked(faults, values.text, terms.name, 100, at=("name",))
    url = _url(faults, terms.base_url, private)
    key, secret = _key(faults, terms.api_key, "apiKey"), _key(faults, terms.api_secret, "apiSecret")
    capacity = _capacity(faults, terms.capacity)
    faults.raise_if_any()
    assert name is not None
    assert url is not None
    assert key is not None
    assert secret is not None
    assert capacity is not None
    now = clock.now()
    server = HostingServer(
        id=ids.uuid7(),
        tenant_id=by.tenant_id,
        name=name,
        base_url=url,
        capacity=capacity,
        active=terms.active is not False,
        check_at=now + CHECK_EVERY,
        created_at=now,
        updated_at=now,
    )
    server.credentials = _sealed(network_key, server, Keys(key, secret))
    session.add(server)
    async with taken(_UNIQUE, "There is a server of this name."):
        await session.flush()
    told = {"name": name, "base_url": url, "capacity": capacity}
    audit.record(session, by=by, action="hosting_server.create", subject_id=server.id, details=told)
    return server, await _tested(session, server, by)


async def update(
    session: AsyncSession, server_id: UUID, terms: Terms, *, network_key: bytes, private: bool, by: Viewer
) -> tuple[HostingServer, Sequence[Job]]:
    """The server on other terms, and the job that tests it when it is another place or has other credentials.

    A capacity below what is taken keeps what is there: no more are made until some are gone.
    """
    server = await _locked(session, server_id, "input", "serverId")
    faults = Faults("input")
    columns: dict[str, Any] = {}
    if terms.name is not None:
        columns["name"] = values.checked(faults, values.text, terms.name, 100, at=("name",))
    if terms.base_url is not None:
        columns["base_url"] = _url(faults, terms.base_url, private)
    if terms.capacity is not None:
        columns["capacity"] = _capacity(faults, terms.capacity)
    if terms.active is not None:
        columns["active"] = terms.active
    given = {name: getattr(terms, name) for name in ("api_key", "api_secret") if getattr(terms, name) is not None}
    for name, raw in given.items():
        given[name] = _key(faults, raw, "apiKey" if name == "api_key" else "apiSecret")
    elsewhere = columns.get("base_url", server.base_url) != server.base_url
    if elsewhere and set(given) != {"api_key", "api_secret"}:
        # Whoever may change the address shall not learn from another server what the key is.
        faults.add(ErrorCode.REQUIRED, "With another address give the key and the secret again.", "apiKey")
    faults.raise_if_any()
    changed = {name for name, value in columns.items() if getattr(server, name) != value}
    for name in changed:
        setattr(server, name, columns[name])
    if given:
        former = _former(network_key, server)
        server.credentials = _sealed(network_key, server, Keys(**{**former, **given}))
        changed |= set(given)
    if not changed:
        return server, []
    server.updated_at = clock.now()
    async with taken(_UNIQUE, "There is a server of this name."):
        await session.flush()
    # The names alone: some of the values are secrets.
    audit.record(
        session, by=by, action="hosting_server.update", subject_id=server.id, details={"changed": sorted(changed)}
    )
    if not changed & {"base_url", "api_key", "api_secret"}:
        return server, []
    server.failures, server.retry_at = 0, None
    return server, [await _tested(session, server, by)]


async def test(session: AsyncSession, server_id: UUID, *, by: Viewer) -> tuple[HostingServer, Job]:
    """Promise to ask the server whether it runs and takes our credentials. Raises DomainError NOT_FOUND."""
    server = await session.get(HostingServer, server_id)
    if server is None:
        raise not_found("hosting server", "serverId")
    audit.record(session, by=by, action="hosting_server.test", subject_id=server.id)
    return server, await _tested(session, server, by)


async def remove(session: AsyncSession, server_id: UUID, *, by: Viewer) -> None:
    """Forget a server that no account was ever made on. Raises DomainError NOT_FOUND, INVALID_STATE."""
    server = await _locked(session, server_id, "serverId")
    count = await session.scalar(select(func.count()).where(HostingAccount.server_id == server.id))
    if count:
        message = f"{count} accounts are or were on this server: take it out of use with active: false instead."
        raise fail(ErrorCode.INVALID_STATE, message, "serverId")
    await session.delete(server)
    await session.flush()
    audit.record(session, by=by, action="hosting_server.delete", subject_id=server_id, details={"name": server.name})


async def _locked(session: AsyncSession, server_id: UUID, *field: str) -> HostingServer:
    server = await session.get(HostingServer, server_id, with_for_update=True)
    if server is None:
        raise not_found("hosting server", *field)
    return server


async def _tested(session: AsyncSession, server: HostingServer, by: Viewer) -> Job:
    arguments: dict[str, object] = {"server": str(server.id)}
    return await jobs.enqueue(
        session, jobs.HOSTING_TEST, tenant_id=by.tenant_id, by=by.operator_id, arguments=arguments
    )


def _former(network_key: bytes, server: HostingServer) -> dict[str, str]:
    try:
        found = keys(network_key, server)
    except secrets.BadSecret:
        # Sealed with a key that is gone: both have to be given again.
        return {"api_key": "", "api_secret": ""}
    return {"api_key": found.api_key, "api_secret": found.api_secret}


def _url(faults: Faults, raw: str | None, private: bool) -> str | None:
    def read(text: str) -> str:
        found = text.strip().rstrip("/")
        if "?" in found:
            raise values.Unfit("Write the address of the panel alone, such as https://panel.example.")
        try:
            outside.check_url(found, private=private)
        except ValueError as error:
            raise values.Unfit(str(error)) from error
        return found

    return values.checked(faults, read, raw, at=("baseUrl",))


def _key(faults: Faults, raw: str | None, name: str) -> str | None:
    def read(text: str) -> str:
        found = text.strip()
        # It stands in a header.
        if not found.isascii() or not found.isprintable() or " " in found or len(found) > _LONGEST_KEY:
            raise values.Unfit(f"This has at most {_LONGEST_KEY} letters, digits and signs, without blanks.")
        return found

    return values.checked(faults, read, raw, at=(name,))


def _capacity(faults: Faults, given: int | None) -> int | None:
    if given is None or not 1 <= given <= _MOST:
        faults.add(ErrorCode.INVALID, f"This must be from 1 to {_MOST}.", "capacity")
        return None
    return given


# -- places


def holds_place(account: Any = HostingAccount) -> ColumnElement[bool]:
    """Whether an account takes a place on its server."""
    return and_(account.placed, account.status != HostingStatus.DELETED)


def count_of(server: Any) -> ColumnElement[int]:
    """How many places of a server are taken."""
    rows = select(func.count()).select_from(HostingAccount)
    return (
        rows.where(HostingAccount.server_id == server.id, holds_place())
        .correlate_except(HostingAccount)
        .scalar_subquery()
    )


def available(server: Any) -> ColumnElement[bool]:
    """Whether a server is in use, answers, and has a place that is free."""
    return and_(server.active, server.online, count_of(server) < server.capacity)


async def place(session: AsyncSession, server_id: UUID | None, *at: str) -> Place:
    """A place on a server, or on the one of which the smallest part is taken; one that answers goes before one that
    does not, which gets its accounts when it does again.

    Holds the servers to the end of the transaction, so that the place is still free when the account stands. Raises
    DomainError at the path `at` of the hosting input: NOT_CONFIGURED without a server, NOT_FOUND and INVALID_STATE for
    one that is not there or not in use.
    """
    rows = select(HostingServer).order_by(HostingServer.id)
    rows = rows.where(HostingServer.active if server_id is None else HostingServer.id == server_id)
    found = (await session.scalars(rows.with_for_update(key_share=True), execution_options=_FRESH)).all()
    if not found and server_id is not None:
        raise not_found("hosting server", *at, "serverId")
    if not found:
        raise fail(ErrorCode.NOT_CONFIGURED, "There is no hosting server: add one first.", *at, "serverId")
    if not found[0].active:
        raise fail(ErrorCode.INVALID_STATE, f"The server {found[0].name} is not in use.", *at, "serverId")
    used = await session.execute(_used([server.id for server in found]))
    counts = {row[0]: row[1] for row in used}

    def share(server: HostingServer) -> tuple[bool, bool, float, int, UUID]:
        count = counts.get(server.id, 0)
        full = count >= server.capacity
        return full, not server.online, count / max(server.capacity, 1), count, server.id

    best = min(found, key=share)
    if counts.get(best.id, 0) < best.capacity:
        return Place(best)
    if server_id is not None:
        return Place(best, f"The server {best.name} is full: {best.capacity} of {best.capacity} places are taken.")
    return Place(best, "Every hosting server is full.")


_FRESH = {"populate_existing": True}


def _used(server_ids: Sequence[UUID]) -> Select[UUID, int]:
    rows = select(HostingAccount.server_id, func.count()).where(HostingAccount.server_id.in_(server_ids), holds_place())
    return rows.group_by(HostingAccount.server_id)


# -- looking at them


async def look(session: AsyncSession) -> None:
    """Promise to look at the servers that are due, each by a job of its own that is used again and again."""
    now = clock.now()
    due = select(HostingServer).where(HostingServer.active, HostingServer.check_at <= now).order_by(HostingServer.id)
    for server in await session.scalars(due.with_for_update(skip_locked=True)):
        server.check_at = now + CHECK_EVERY
        job = None
        if server.check_job_id is not None:
            job = await session.get(Job, server.check_job_id, with_for_update={"skip_locked": True})
            if job is None or job.status in jobs.UNFINISHED:
                continue
        if job is not None:
            jobs.again(session, job)
            continue
        arguments: dict[str, object] = {"server": str(server.id)}
        made = await jobs.enqueue(session, jobs.HOSTING_CHECK, tenant_id=server.tenant_id, arguments=arguments)
        server.check_job_id = made.id


async def held(session: AsyncSession, server_id: UUID) -> HostingServer | None:
    """The server, locked; accounts may still be added to it. None when it was removed."""
    rows = select(HostingServer).where(HostingServer.id == server_id).with_for_update(key_share=True)
    return await session.scalar(rows, execution_options=_FRESH)


async def reached(session: AsyncSession, server: HostingServer) -> None:
    """A locked server answers and takes our credentials; what waits for it goes on."""
    server.online, server.problem, server.last_checked_at = True, None, clock.now()
    if server.failures or server.retry_at is not None:
        server.failures, server.retry_at, server.unreachable_since = 0, None, None
        await wake(session, server)


def refused(server: HostingServer, reason: str) -> None:
    """A locked server answers, and does not let us work."""
    server.online, server.problem, server.last_checked_at = False, reason, clock.now()
    server.failures, server.retry_at, server.unreachable_since = 0, None, None


def missed(server: HostingServer, reason: str) -> datetime:
    """A locked server could not be reached: when it is tried again."""
    now = clock.now()
    server.failures += 1
    server.unreachable_since = server.unreachable_since or now
    server.online, server.problem, server.last_checked_at = False, reason, now
    span = random.uniform(_SHORTEST, _LONGEST) if server.failures >= FAILURES else _FIRST  # noqa: S311  jitter
    server.retry_at = now + timedelta(seconds=span)
    server.check_at = min(server.check_at, server.retry_at)
    return server.retry_at


def waiting_for(server: HostingServer) -> str:
    """What is said of that which waits for a server out of reach."""
    since = server.unreachable_since or clock.now()
    return f"Waits for the server {server.name}, out of reach since {since:%Y-%m-%d %H:%M:%S} UTC. {server.problem}"


async def take_turn(session: AsyncSession, server: HostingServer, job: Job) -> tuple[datetime, str] | None:
    """The locked server for a running job, one at a time; else until when and for what the job has to wait."""
    now = clock.now()
    if server.lane_job_id not in (None, job.id):
        ahead = select(exists().where(Job.id == server.lane_job_id, Job.lease.is_not(None), Job.next_attempt_at > now))
        if await session.scalar(ahead):
            return now + timedelta(seconds=_FIRST), f"Waits for its turn on the server {server.name}."
    if server.retry_at is not None and server.retry_at > now:
        return server.retry_at, waiting_for(server)
    server.lane_job_id = job.id
    return None


async def leave(session: AsyncSession, server: HostingServer, job: Job) -> None:
    """Give back what `take_turn` took, of a locked server; whoever has waited longest is next."""
    if server.lane_job_id == job.id:
        server.lane_job_id = None
    if server.retry_at is None:
        await wake(session, server)


async def wake(session: AsyncSession, server: HostingServer) -> None:
    """Of the jobs that wait for a server, the oldest is due at once."""
    of_server = select(HostingAccount.job_id).where(HostingAccount.server_id == server.id, HostingAccount.waits)
    rows = select(Job).where(Job.id.in_(of_server), Job.status == JobStatus.QUEUED).order_by(Job.id).limit(1)
    oldest = await session.scalar(rows.with_for_update(skip_locked=True))
    if oldest is not None:
        jobs.hasten(session, oldest)

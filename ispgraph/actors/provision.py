"""Bringing a router to the latest state of services: what is wrong is changed, and believed when it was seen."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import select, update

from ispgraph.actors import endings
from ispgraph.actors.endings import Ending
from ispgraph.actors.turns import Turn, step_of
from ispgraph.adapters import radius_client
from ispgraph.adapters.errors import AdapterError, Refusal, Refused
from ispgraph.adapters.radius_client import Nas, Outcome
from ispgraph.domain import jobs, secrets
from ispgraph.domain.models import (
    ConnectionType,
    Job,
    JobStatus,
    RouterMode,
    Service,
    Session,
    StepOutcome,
    StepProtocol,
)
from ispgraph.domain.network import desired, items, lanes, outcomes
from ispgraph.domain.network.desired import Admission, Desired
from ispgraph.domain.network.items import Drift, Wanted
from ispgraph.domain.network.outcomes import Finding, Step

_BY_NAME = 4
_COMPARING = "Comparing what the network holds with what it should."
_UNMANAGED = (ConnectionType.OTHER,)
_ONE_DEVICE = "The router can bind a user to one device only, and this service has several: it lets in any."


@dataclass(slots=True)
class Work:
    """One service on one router: the newest of its jobs, and what came of it."""

    job: Job
    wanted: Desired
    steps: list[Step] = field(default_factory=list)
    drift: list[Drift] = field(default_factory=list)
    problem: str | None = None
    """Why it has failed: trying again would meet the same."""


async def provision(turn: Turn, of: Sequence[Job]) -> None:
    """Carry out these jobs in one go. Raises AdapterError when the router does not let us."""
    works = await _prepare(turn, of)
    # First those for whom RADIUS is enough: that an API hangs is no reason to leave them on line.
    by_radius = [work for work in works if not _on_the_router(turn, work)]
    for part in (by_radius, [work for work in works if _on_the_router(turn, work)]):
        if part:
            await _converge(turn, part)


def _on_the_router(turn: Turn, work: Work) -> bool:
    return turn.router.mode is RouterMode.LOCAL or work.wanted.connection_type is ConnectionType.STATIC_IP


async def _converge(turn: Turn, works: Sequence[Work]) -> None:
    for work in works:
        await _configure(turn, work)
    await _change_rates(turn, works)
    unlike = [
        Ending(work.job, session)
        for work in works
        if work.problem is None
        for session in work.wanted.sessions
        if not work.wanted.conforms(session)
    ]
    await endings.end(turn, unlike)
    await _look_for_local_users(turn, works)
    await _settle(turn, works)


async def _prepare(turn: Turn, of: Sequence[Job]) -> list[Work]:
    """Leave the newest job of each service, load what is wanted now, and ask what RADIUS would say."""
    works: list[Work] = []
    async with turn.database.transaction(turn.lane.tenant_id) as session:
        held = await lanes.hold_jobs(session, turn.lane, of)
        newest: dict[UUID, Job] = {}
        for job in held.values():
            if job.service_id is None:
                jobs.finish(session, job, JobStatus.FAILED, "The job names no service.")
            elif (older := newest.get(job.service_id)) is not None:
                outcomes.supersede(session, older)
                newest[job.service_id] = job
            else:
                newest[job.service_id] = job
        found = await desired.load(session, list(newest), turn.router.id)
        for service_id, job in newest.items():
            work = Work(job, found[service_id])
            step = asked(work.wanted)
            if step.outcome is StepOutcome.REFUSED:
                work.problem = step.detail
            # Only in place of what an earlier attempt said: it is over in a moment.
            outcomes.record(session, job, [step], _COMPARING if job.message else None)
            works.append(work)
    return works


def asked(wanted: Desired) -> Step:
    """What RADIUS would say to a login, as a step."""
    outcome = StepOutcome.VERIFIED if wanted.agrees else StepOutcome.REFUSED
    return Step(StepProtocol.RADIUS_SQL, outcome, wanted.detail)


async def _configure(turn: Turn, work: Work) -> None:
    """What the router holds itself: items of a static address, or of a router that keeps its users."""
    local = turn.router.mode is RouterMode.LOCAL
    password = None
    if local:
        bound_to = secrets.service_password(turn.lane.tenant_id, work.wanted.service_id)
        password = secrets.unseal(turn.settings.network_key, work.wanted.sealed_password, bound_to)
    changed = False
    try:
        base = await _base(turn, work.wanted) if local else None
        for item in items.wanted(work.wanted, turn.router.mode, password, base):
            changed |= await ensure(turn, item, work)
        if local and work.problem is None and work.wanted.connection_type in _MENUS:
            await _end_local(turn, work, changed=changed)
            if len(work.wanted.macs) > 1:
                work.problem = _ONE_DEVICE
        address = work.wanted.ip_address if work.wanted.connection_type is ConnectionType.STATIC_IP else None
        if address is not None and work.problem is None and work.wanted.admission is not Admission.FULL:
            work.steps.append(await endings.cut(turn, address))
    except Refused as error:
        if error.kind is Refusal.BAD_LOGIN:
            raise
        work.steps.append(step_of(StepProtocol.ROUTEROS, error))
        work.problem = str(error)
    await _tell(turn, [work])


async def _base(turn: Turn, wanted: Desired) -> Mapping[str, str] | None:
    """The profile of a router that keeps its users, from which they have their addresses. Raises Refused."""
    if wanted.connection_type is not ConnectionType.PPPOE:
        return None
    name = wanted.profile or "default"
    for row in await (await turn.api()).print(items.PROFILES, where={"name": name}, columns=["name", *items.ADDRESSES]):
        return row
    raise Refused(Refusal.NO_SUCH_ITEM, f"{items.PROFILES} {name}")


async def ensure(turn: Turn, item: Wanted, work: Work) -> bool:
    """Have one item as it should be: read, change only what differs, read again.

    Whether anything was changed that an open session should have: to which device a user is bound is not.
    """
    api = await turn.api()
    columns = [".id", "comment", "disabled", "dynamic", *item.values]
    found = await api.print(item.path, where=item.key, columns=sorted(set(columns)))
    if items.in_the_way(item, found):
        _blocked(item, found, work)
        return False
    drift = items.differences(item, found)
    if not drift:
        work.steps.append(Step(StepProtocol.ROUTEROS, StepOutcome.UNCHANGED, _about(item), None, api.last_ms))
        return False
    if item.absent:
        for row in found:
            if items.ours(row):
                await api.remove(item.path, row[".id"])
    elif found:
        await api.set(item.path, found[0][".id"], item.values)
    else:
        try:
            await api.add(item.path, item.values)
        except Refused as error:
            if error.kind is not Refusal.ALREADY_EXISTS or "name" not in item.values:
                raise
            named = await api.print(item.path, where={"name": item.values["name"]}, columns=["name", "comment"])
            _blocked(item, named, work)
            return False
    work.steps.append(Step(StepProtocol.ROUTEROS, StepOutcome.APPLIED, _about(item), None, api.last_ms))
    left = items.differences(item, await api.print(item.path, where=item.key, columns=sorted(set(columns))))
    if left:
        work.drift.extend(left)
        work.problem = f"The router took the change of {item.path}, and does not show it."
    outcome = StepOutcome.REFUSED if left else StepOutcome.VERIFIED
    work.steps.append(Step(StepProtocol.ROUTEROS, outcome, _about(item), None, api.last_ms))
    return any(each.property not in items.DEVICE for each in drift)


def _blocked(item: Wanted, found: Sequence[Mapping[str, str]], work: Work) -> None:
    observed = found[0].get("comment") if found else None
    work.drift.append(Drift(item.path, "comment", item.values.get("comment"), observed))
    work.problem = f"The router has an item of somebody else's in {item.path} where ours should be."
    work.steps.append(Step(StepProtocol.ROUTEROS, StepOutcome.REFUSED, work.problem))


def _about(item: Wanted) -> str:
    shown = (f"{name}={value}" for name, value in item.values.items() if name not in ("password", "comment"))
    return f"{item.path}{' without' if item.absent else ''} {' '.join(shown)}"


async def _end_local(turn: Turn, work: Work, *, changed: bool) -> None:
    """A user of the router's own goes on with what he was let in with until his session ends.

    That the items were right already says nothing of the session: whoever changed them may have got no further.
    """
    api = await turn.api()
    hotspot = work.wanted.connection_type is ConnectionType.HOTSPOT
    path, user = (items.HOTSPOT_ACTIVE, "user") if hotspot else (items.ACTIVE, "name")
    device = "mac-address" if hotspot else "caller-id"
    rows = await api.print(path, where={user: work.wanted.username}, columns=[".id", device])
    if not changed and work.wanted.admission is not Admission.NONE and await _has_rate(turn, work, hotspot=hotspot):
        rows = [row for row in rows if work.wanted.macs and row.get(device, "").upper() not in work.wanted.macs]
        if not rows:
            return
    for row in rows:
        await api.remove(path, row[".id"])
        detail = f"Removed from {path}: {work.wanted.username}."
        work.steps.append(Step(StepProtocol.ROUTEROS, StepOutcome.APPLIED, detail, None, api.last_ms))
    if hotspot:
        await endings.forget_device(turn, work.wanted.username)


async def _has_rate(turn: Turn, work: Work, *, hotspot: bool) -> bool:
    """Whether the queue of a session has the rate that its profile gives; also when there is none."""
    api = await turn.api()
    name = f"<{'hotspot' if hotspot else 'pppoe'}-{work.wanted.username}>"
    rows = await api.print(items.QUEUES, where={"name": name}, columns=["name", "max-limit"])
    item = Wanted(items.QUEUES, {}, {"max-limit": items.rate(work.wanted)})
    return not rows or not items.differences(item, rows)


async def _change_rates(turn: Turn, works: Sequence[Work]) -> None:
    """Give open sessions another rate while they last. Those for which that fails are ended like the others."""
    nas = turn.nas
    if nas is None:
        return
    changes = [
        (work, session)
        for work in works
        if work.problem is None
        for session in work.wanted.sessions
        if work.wanted.differs_in_rate(session)
    ]
    if not changes:
        return
    done = await asyncio.gather(*(_change_rate(turn, nas, work, session) for work, session in changes))
    async with turn.transaction() as session:
        for (work, row), taken in zip(changes, done, strict=True):
            if taken:
                row.rate = work.wanted.rate
                this = update(Session).where(Session.id == row.id, Session.started_at == row.started_at)
                await session.execute(this.values(rate=row.rate))
    await _tell(turn, works)


async def _change_rate(turn: Turn, nas: Nas, work: Work, session: Session) -> bool:
    attributes = endings.identity(session).attributes() | radius_client.changes(rate_limit=work.wanted.rate_limit)
    try:
        answer = await radius_client.change(nas, attributes)
    except AdapterError as error:
        work.steps.append(step_of(StepProtocol.COA, error))
        return False
    work.steps.append(endings.told(StepProtocol.COA, answer))
    if answer.outcome is not Outcome.ACK:
        return False
    # Without a look at the router its word has to do.
    return not turn.may_reach_api or await _rate_is(turn, work, session)


async def _rate_is(turn: Turn, work: Work, session: Session) -> bool:
    """Whether the router's queue shows the rate: an ACK alone proves nothing."""
    try:
        api = await turn.api()
        name = ("hotspot-" if session.connection_type is ConnectionType.HOTSPOT else "pppoe-") + session.username
        rows = await api.print(items.QUEUES, where={"name": f"<{name}>"}, columns=["name", "max-limit"])
    except AdapterError as error:
        work.steps.append(step_of(StepProtocol.ROUTEROS, error))
        return True
    item = Wanted(items.QUEUES, {}, {"max-limit": work.wanted.rate_limit or ""})
    if not rows:
        return True
    right = not items.differences(item, rows)
    outcome = StepOutcome.VERIFIED if right else StepOutcome.REFUSED
    detail = f"The queue of {session.username} has {rows[0].get('max-limit')}."
    work.steps.append(Step(StepProtocol.ROUTEROS, outcome, detail, None, api.last_ms))
    return right


async def _look_for_local_users(turn: Turn, works: Sequence[Work]) -> None:
    """A user of the router's own beats RADIUS: while there is one, what RADIUS says of him counts for nothing.

    Ours, left from a time when the router kept its users, are removed. Others are reported, never touched. Whoever is
    not to be on line, or only behind the wall, and came in past RADIUS, is thrown out.
    """
    ask = [work for work in works if work.problem is None and work.wanted.connection_type in _MENUS]
    if turn.router.mode is RouterMode.LOCAL or not ask:
        return
    if not turn.may_reach_api:
        if turn.address is not None:
            await _not_looked(turn, ask, "The router's API is out of reach: users of its own were not looked for.")
        return
    try:
        for kind, (path, active, user) in _MENUS.items():
            chosen = {work.wanted.username: work for work in ask if work.wanted.connection_type is kind}
            await _local_users(turn, path, chosen)
            outsiders = {name: work for name, work in chosen.items() if work.wanted.admission is not Admission.FULL}
            await _throw_out(turn, active, user, outsiders)
    except AdapterError as error:
        await _not_looked(turn, ask, str(error))
    await _tell(turn, ask)


_MENUS = {
    ConnectionType.PPPOE: (items.SECRETS, items.ACTIVE, "name"),
    ConnectionType.HOTSPOT: (items.HOTSPOT_USERS, items.HOTSPOT_ACTIVE, "user"),
}


async def _not_looked(turn: Turn, works: Sequence[Work], reason: str) -> None:
    for work in works:
        work.steps.append(Step(StepProtocol.ROUTEROS, StepOutcome.UNREACHABLE, reason))
    await _tell(turn, works)


async def _listed(turn: Turn, path: str, name: str, wanted: Mapping[str, Work], *columns: str) -> list[dict[str, str]]:
    """The items of these names: asked for one by one when they are few, picked from all otherwise."""
    api = await turn.api()
    if len(wanted) <= _BY_NAME:
        return [row for each in wanted for row in await api.print(path, where={name: each}, columns=[".id", *columns])]
    return [row for row in await api.print(path, columns=[".id", *columns]) if row.get(name) in wanted]


async def _local_users(turn: Turn, path: str, wanted: Mapping[str, Work]) -> None:
    for row in await _listed(turn, path, "name", wanted, "name", "disabled", "comment"):
        work, name = wanted[row["name"]], row["name"]
        api = await turn.api()
        if items.ours(row):
            await api.remove(path, row[".id"])
            detail = f"Removed from {path}: {name}, ours of a time when the router kept its users."
            work.steps.append(Step(StepProtocol.ROUTEROS, StepOutcome.APPLIED, detail, None, api.last_ms))
        elif row.get("disabled") != "true":
            work.drift.append(Drift(path, None, None, name))
            work.problem = f"The router has a user {name} of its own in {path}, whom RADIUS cannot refuse."
            work.steps.append(Step(StepProtocol.ROUTEROS, StepOutcome.REFUSED, work.problem, None, api.last_ms))


async def _throw_out(turn: Turn, path: str, user: str, wanted: Mapping[str, Work]) -> None:
    listed = await _listed(turn, path, user, wanted, user, "radius")
    # Who is listed now, and was still to be off line afterwards, has not come in by a later change.
    unchanged = await _unchanged(turn, wanted.values())
    for row in listed:
        work, api = wanted[row[user]], await turn.api()
        behind_wall = work.wanted.admission is Admission.WALLED and row.get("radius") != "false"
        if behind_wall or work.wanted.service_id not in unchanged:
            continue
        await api.remove(path, row[".id"])
        detail = f"Removed from {path}: {row[user]}, who was on line and should not be."
        work.steps.append(Step(StepProtocol.ROUTEROS, StepOutcome.APPLIED, detail, None, api.last_ms))
    if path == items.HOTSPOT_ACTIVE:
        for name, work in wanted.items():
            if work.wanted.service_id in unchanged:
                await endings.forget_device(turn, name)


async def _unchanged(turn: Turn, works: Iterable[Work]) -> set[UUID]:
    """The services that are still wanted as they were when this turn asked."""
    versions = {work.wanted.service_id: work.wanted.version for work in works}
    async with turn.database.read(turn.lane.tenant_id) as session:
        rows = await session.execute(select(Service.id, Service.desired_version).where(Service.id.in_(versions)))
        return {key for key, version in rows if versions[key] == version}


async def _settle(turn: Turn, works: Sequence[Work]) -> None:
    """End the jobs, and say of each service how far the network is with it."""
    async with turn.database.transaction(turn.lane.tenant_id) as session:
        held = await lanes.hold_jobs(session, turn.lane, [work.job for work in works])
        mine = [work for work in works if work.job.id in held]
        for work in mine:
            job = held[work.job.id]
            outcomes.record(session, job, work.steps)
            if work.problem is not None:
                jobs.finish(session, job, JobStatus.FAILED, work.problem)
            else:
                jobs.finish(session, job, JobStatus.SUCCEEDED, work.wanted.detail)
        await outcomes.conclude(session, [_finding(work.wanted, work.drift, work.problem) for work in mine])


def _finding(wanted: Desired, drift: Sequence[Drift], problem: str | None) -> Finding:
    """What is to be said of a service."""
    managed = wanted.connection_type not in _UNMANAGED
    return Finding(wanted.service_id, wanted.customer_id, wanted.version, drift, managed, problem)


async def _tell(turn: Turn, works: Sequence[Work]) -> None:
    steps = {work.job.id: list(work.steps) for work in works if work.steps}
    if steps:
        await turn.record(steps, [work.job for work in works])
    for work in works:
        work.steps.clear()

"""What a router holds beside what it should hold, and putting that right within bounds.

Repairs are careful: only what carries our comment is changed or removed, a foreign user who shadows RADIUS is disabled
and not removed, and when too much differs nothing is done at all, for then it is probably another router, or a backup.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.actors.turns import Turn
from ispgraph.domain import jobs, secrets
from ispgraph.domain.models import (
    ConnectionType,
    Job,
    JobStatus,
    OpenSession,
    RouterMode,
    Service,
    ServiceStatus,
    StepOutcome,
    StepProtocol,
)
from ispgraph.domain.network import changes, desired, items, lanes, outcomes
from ispgraph.domain.network.desired import Admission, Desired
from ispgraph.domain.network.items import Drift
from ispgraph.domain.network.outcomes import Step

_CHUNK = 500
_REPORTED = 200
_FEW = 20
_SHARE = 0.1
_SILENT = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that differs. `service_id` is whose, if anybody's; `item` the router's `.id` of what is in the way."""

    kind: str
    """missing, changed, extra, shadowing, unknown session, foreign session or stale session"""
    drift: Drift
    service_id: UUID | None = None
    item: str | None = None
    session_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class _Listed:
    """What the router lists, by menu."""

    rows: Mapping[str, Sequence[Mapping[str, str]]]

    def where(self, path: str, key: Mapping[str, str]) -> list[Mapping[str, str]]:
        return [row for row in self.rows[path] if all(row.get(name) == value for name, value in key.items())]


_COLUMNS = {
    items.SECRETS: ("name", "password", "service", "profile", "caller-id", "remote-address", "disabled", "comment"),
    items.PROFILES: ("name", "rate-limit", "address-list", "remote-address"),
    items.HOTSPOT_USERS: ("name", "password", "profile", "mac-address", "disabled", "comment"),
    items.HOTSPOT_PROFILES: ("name", "rate-limit", "address-list", "address-pool"),
    items.QUEUES: ("name", "target", "max-limit", "disabled", "dynamic", "comment"),
    items.ADDRESS_LISTS: ("list", "address", "disabled", "dynamic", "comment"),
    items.ACTIVE: ("name", "session-id"),
    items.HOTSPOT_ACTIVE: ("user", "address"),
}
_MARKED = (items.SECRETS, items.HOTSPOT_USERS, items.QUEUES, items.ADDRESS_LISTS)
_USERS = {ConnectionType.PPPOE: items.SECRETS, ConnectionType.HOTSPOT: items.HOTSPOT_USERS}


async def find(turn: Turn) -> list[Finding]:
    """Everything that differs on one router. Raises AdapterError."""
    api = await turn.api()
    listed = _Listed({path: await api.print(path, columns=[".id", *columns]) for path, columns in _COLUMNS.items()})
    services = await _services(turn)
    found: list[Finding] = []
    for wanted in services.values():
        found += _of_service(turn, wanted, listed)
    found += _extra(services, listed)
    found += await _sessions(turn, services, listed)
    return found


async def _services(turn: Turn) -> dict[UUID, Desired]:
    """The desired state of all that may be on this router: its own services, and whoever has a session on it."""
    here = select(OpenSession.service_id).where(OpenSession.router_id == turn.router.id)
    concerned = select(Service.id).where(
        Service.status != ServiceStatus.TERMINATED, or_(Service.router_id == turn.router.id, Service.id.in_(here))
    )
    found: dict[UUID, Desired] = {}
    async with turn.database.read(turn.lane.tenant_id) as session:
        keys = list(await session.scalars(concerned.order_by(Service.id)))
        for start in range(0, len(keys), _CHUNK):
            found |= await desired.load(session, keys[start : start + _CHUNK], turn.router.id)
    return found


def _of_service(turn: Turn, wanted: Desired, listed: _Listed) -> list[Finding]:
    found: list[Finding] = []
    password = None
    if turn.router.mode is RouterMode.LOCAL:
        bound_to = secrets.service_password(turn.lane.tenant_id, wanted.service_id)
        password = secrets.unseal(turn.settings.network_key, wanted.sealed_password, bound_to)
    for item in items.wanted(wanted, turn.router.mode, password):
        rows = listed.where(item.path, item.key)
        for each in items.differences(item, rows):
            found.append(Finding("missing" if not rows else "changed", each, wanted.service_id))
    path = _USERS.get(wanted.connection_type)
    if turn.router.mode is RouterMode.RADIUS and path is not None:
        for row in listed.where(path, {"name": wanted.username}):
            if row.get("disabled") != "true":
                found.append(_local_user(path, wanted, row))
    return found


def _local_user(path: str, wanted: Desired, row: Mapping[str, str]) -> Finding:
    kind = "extra" if items.ours(row) else "shadowing"
    return Finding(kind, Drift(path, None, None, wanted.username), wanted.service_id, row[".id"])


def _extra(services: Mapping[UUID, Desired], listed: _Listed) -> list[Finding]:
    """Items of ours for services that are not on this router."""
    known = {items.mark(key) for key in services}
    return [
        Finding("extra", Drift(path, None, None, row.get("name") or row.get("address")), None, row[".id"])
        for path in _MARKED
        for row in listed.rows[path]
        if items.ours(row) and row.get("comment") not in known and row.get("dynamic") != "true"
    ]


async def _sessions(turn: Turn, services: Mapping[UUID, Desired], listed: _Listed) -> list[Finding]:
    by_name = {wanted.username: wanted for wanted in services.values()}
    on_line = [(items.ACTIVE, row.get("name", "")) for row in listed.rows[items.ACTIVE]]
    on_line += [(items.HOTSPOT_ACTIVE, row.get("user", "")) for row in listed.rows[items.HOTSPOT_ACTIVE]]
    found: list[Finding] = []
    for path, name in on_line:
        wanted = by_name.get(name) or await _elsewhere(turn, name)
        if wanted is None:
            found.append(Finding("foreign session", Drift(path, None, None, name)))
        elif wanted.admission is Admission.NONE:
            found.append(Finding("unknown session", Drift(path, None, None, name), wanted.service_id))
    names = {name for _, name in on_line}
    for wanted in services.values():
        for session in wanted.sessions:
            if session.username not in names and clock.now() - session.updated_at > _SILENT:
                path = items.HOTSPOT_ACTIVE if session.connection_type is ConnectionType.HOTSPOT else items.ACTIVE
                gone = Drift(path, None, session.username, None)
                found.append(Finding("stale session", gone, wanted.service_id, None, session.id))
    return found


async def _elsewhere(turn: Turn, name: str) -> Desired | None:
    async with turn.database.read(turn.lane.tenant_id) as session:
        key = await session.scalar(select(Service.id).where(Service.username == name.lower()))
        return None if key is None else (await desired.load(session, [key], turn.router.id)).get(key)


@dataclass(frozen=True, slots=True)
class Repairs:
    """What was done, as steps, and what differs still. A single step that says no when there was too much of it."""

    steps: Sequence[Step]
    left: Sequence[Finding]


async def repair(turn: Turn, findings: Sequence[Finding]) -> Repairs:
    """Put right what may be."""
    async with turn.database.read(turn.lane.tenant_id) as session:
        count = await session.scalar(
            select(func.count()).select_from(Service).where(Service.router_id == turn.router.id)
        )
    limit = max(_FEW, round(_SHARE * (count or 0)))
    if len(findings) > limit:
        detail = f"{len(findings)} differences are more than {limit}: nothing was changed. Is this the right router?"
        return Repairs([Step(StepProtocol.ROUTEROS, StepOutcome.REFUSED, detail)], findings)
    steps: list[Step] = []
    left: list[Finding] = []
    for each in findings:
        if (step := await _put_right(turn, each)) is not None:
            steps.append(step)
        elif each.service_id is None:
            left.append(each)
    await _promise(turn, findings)
    return Repairs(steps, left)


async def _put_right(turn: Turn, each: Finding) -> Step | None:
    api, path, name = await turn.api(), each.drift.path, each.drift.observed
    if each.kind == "extra" and each.item is not None:
        await api.remove(path, each.item)
        return Step(StepProtocol.ROUTEROS, StepOutcome.APPLIED, f"Removed {name} from {path}.", None, api.last_ms)
    if each.kind == "shadowing" and each.item is not None:
        await api.set(path, each.item, {"disabled": "yes"})
        return Step(StepProtocol.ROUTEROS, StepOutcome.APPLIED, f"Disabled {name} in {path}.", None, api.last_ms)
    if each.kind == "stale session" and each.session_id is not None:
        async with turn.transaction() as session:
            await session.execute(select(func.radius_session_gone(each.session_id, clock.now())))
        detail = f"Closed the session of {each.drift.expected}, which the router does not have."
        return Step(StepProtocol.ROUTEROS, StepOutcome.APPLIED, detail)
    return None


async def _promise(turn: Turn, findings: Sequence[Finding]) -> None:
    """What concerns a service is put right by its own job, which looks again at what is wanted by then."""
    concerned = {each.service_id for each in findings if each.service_id is not None}
    async with turn.transaction() as session:
        rows = select(Service).where(Service.id.in_(concerned)).order_by(Service.id).with_for_update(key_share=True)
        for service in await session.scalars(rows):
            await changes.promised(session, service, by=None)


async def observe(turn: Turn) -> None:
    """Look at all that the router holds, change nothing, and keep with it what differs. Raises AdapterError."""
    findings = await find(turn)
    async with turn.transaction() as session:
        await _keep(session, turn, findings)


async def _keep(session: AsyncSession, turn: Turn, left: Sequence[Finding]) -> None:
    row = await lanes.hold(session, turn.lane)
    row.drift = [each.drift.as_row() for each in left[:_REPORTED]]
    row.reconciled_at = clock.now()


async def report(turn: Turn, job: Job, findings: Sequence[Finding], repairs: Repairs) -> None:
    """Keep what was found in the job's steps, and with the router what nobody puts right."""
    repaired = repairs.steps
    refused = any(step.outcome is StepOutcome.REFUSED for step in repaired)
    counts: dict[str, int] = {}
    for each in findings:
        counts[each.kind] = counts.get(each.kind, 0) + 1
    found = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) or "Nothing differs"
    steps = [_told(each) for each in findings[:_REPORTED]]
    async with turn.database.transaction(turn.lane.tenant_id) as session:
        await _keep(session, turn, repairs.left)
        for held in (await lanes.hold_jobs(session, turn.lane, [job])).values():
            outcomes.record(session, held, [*steps, *repaired])
            held.progress_done = len(repaired)
            held.progress_total = len(findings)
            status = JobStatus.FAILED if refused else JobStatus.SUCCEEDED
            jobs.finish(session, held, status, repaired[0].detail if refused else f"{found}.")


def _told(each: Finding) -> Step:
    drift = each.drift
    subject = f"{drift.path}{' ' + drift.property if drift.property else ''}"
    detail = f"{each.kind}: {subject}: expected {drift.expected or 'nothing'}, found {drift.observed or 'nothing'}."
    return Step(StepProtocol.ROUTEROS, StepOutcome.UNCHANGED, detail)

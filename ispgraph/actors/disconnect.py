"""Ending the sessions that somebody chose, or the connections of a static address. Nothing else changes."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select

from ispgraph.actors import endings
from ispgraph.actors.endings import Ending
from ispgraph.actors.turns import Turn
from ispgraph.domain import jobs
from ispgraph.domain.models import Job, JobStatus, Service, Session
from ispgraph.domain.network import lanes, outcomes


async def disconnect(turn: Turn, of: Sequence[Job]) -> None:
    """Carry out these jobs in one go. Raises AdapterError when the router does not let us."""
    chosen = {job.id: [UUID(str(key)) for key in _chosen(job)] for job in of}
    wanted = [key for keys in chosen.values() for key in keys]
    async with turn.database.read(turn.lane.tenant_id) as session:
        rows = {row.id: row for row in await session.scalars(select(Session).where(Session.id.in_(wanted)))}
    for job in of:
        if not chosen[job.id]:
            await _cut(turn, job)
    open_ones = [
        Ending(job, rows[key]) for job in of for key in chosen[job.id] if key in rows and rows[key].stopped_at is None
    ]
    await endings.end(turn, open_ones)
    asked = {ending.job.id for ending in open_ones}
    async with turn.database.transaction(turn.lane.tenant_id) as session:
        for key, job in (await lanes.hold_jobs(session, turn.lane, of)).items():
            if chosen[key]:
                count = len(chosen[key])
                ended = f"{count} sessions have ended." if count > 1 else "The session has ended."
                jobs.finish(session, job, JobStatus.SUCCEEDED, ended if key in asked else f"{ended} Nothing was to do.")


def _chosen(job: Job) -> list[object]:
    chosen = job.arguments.get("sessions")
    return chosen if isinstance(chosen, list) else []


async def _cut(turn: Turn, job: Job) -> None:
    """A static address has no session: the router forgets its connections, and what is behind it begins anew."""
    async with turn.database.read(turn.lane.tenant_id) as session:
        service = None if job.service_id is None else await session.get(Service, job.service_id)
    if service is None or service.ip_address is None:
        raise jobs.Permanent("The service has no address of its own.")
    step = await endings.cut(turn, str(service.ip_address))
    async with turn.database.transaction(turn.lane.tenant_id) as session:
        for held in (await lanes.hold_jobs(session, turn.lane, [job])).values():
            outcomes.record(session, held, [step])
            jobs.finish(session, held, JobStatus.SUCCEEDED, step.detail)

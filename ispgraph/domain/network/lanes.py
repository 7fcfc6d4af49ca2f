"""The lane of a router: one at a time, for all the jobs that go over it, and none while it is out of reach.

Whoever holds the lane holds the router's running jobs as well, by the same lease, and renews both together. Three
failures in a row to reach a router close its lane for a while; jobs then wait without using up attempts, however long.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, and_, exists, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import jobs
from ispgraph.domain.jobs import LEASE, LeaseLost
from ispgraph.domain.models import Job, JobStatus, ProvisioningState, Router, RouterStatus, Service

FAILURES = 3
"""After so many failures in a row the router is left alone for a while."""
BATCH = 100
_SHORTEST, _LONGEST = 30.0, 60.0
_FIRST = 5.0


@dataclass(frozen=True, slots=True)
class Lane:
    """A turn on a router: `lease` also names the jobs that are carried out in it."""

    tenant_id: UUID
    router_id: UUID
    lease: UUID


async def take(session: AsyncSession, router_id: UUID) -> tuple[Lane, Router] | None:
    """The lane, if nobody has it and the router may be tried; else None, and what is due on it waits its turn."""
    now = clock.now()
    free = or_(Router.lane_until.is_(None), Router.lane_until <= now)
    rows = select(Router).where(Router.id == router_id, free).with_for_update(key_share=True, skip_locked=True)
    router = await session.scalar(rows)
    if router is None:
        return None
    if router.retry_at is not None and router.retry_at > now:
        await wait(session, router, router.retry_at)
        return None
    router.lane, router.lane_until = uuid4(), now + LEASE
    return Lane(router.tenant_id, router.id, router.lane), router


async def renew(session: AsyncSession, lane: Lane) -> None:
    """Keep the lane and its jobs for another lease from now. Raises LeaseLost."""
    until = clock.now() + LEASE
    kept = update(Router).where(Router.id == lane.router_id, Router.lane == lane.lease).values(lane_until=until)
    if await session.scalar(kept.returning(Router.id)) is None:
        raise LeaseLost
    await session.execute(update(Job).where(_held(lane)).values(next_attempt_at=until))


async def hold(session: AsyncSession, lane: Lane) -> Router:
    """The router's row, locked: until this transaction ends nobody else takes the lane. Raises LeaseLost.

    Rows that refer to the router, such as services and jobs, may be written by others meanwhile: who suspends a
    customer does not wait for the worker.
    """
    rows = select(Router).where(Router.id == lane.router_id, Router.lane == lane.lease)
    row = await session.scalar(rows.with_for_update(key_share=True))
    if row is None:
        raise LeaseLost
    return row


async def claim(session: AsyncSession, lane: Lane, limit: int = BATCH) -> Sequence[Job]:
    """The jobs that are due on a lane that is held, oldest first, now running in it."""
    await hold(session, lane)
    due = (
        select(Job)
        .where(Job.router_id == lane.router_id, Job.status.in_(jobs.UNFINISHED), Job.next_attempt_at <= clock.now())
        .order_by(Job.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [job for job in await session.scalars(due) if jobs.begin(session, job, lane.lease)]


async def hold_jobs(session: AsyncSession, lane: Lane, of: Sequence[Job]) -> dict[UUID, Job]:
    """These jobs by id, locked, as far as they still run in this lane. Raises LeaseLost when the lane is not ours."""
    await hold(session, lane)
    rows = select(Job).where(Job.id.in_([job.id for job in of]), _held(lane)).order_by(Job.id).with_for_update()
    return {job.id: job for job in await session.scalars(rows)}


async def leave(session: AsyncSession, lane: Lane) -> bool:
    """Give the lane back with what still runs in it; whether something is due on it."""
    router = await hold(session, lane)
    for job in await session.scalars(select(Job).where(_held(lane)).with_for_update()):
        jobs.release(session, job)
    router.lane = router.lane_until = None
    return bool(await session.scalar(select(exists().where(_due(router.id)))))


async def reached(session: AsyncSession, lane: Lane) -> None:
    """The router answered: the count of failures begins anew."""
    router = await hold(session, lane)
    router.failures, router.retry_at, router.unreachable_since = 0, None, None
    router.last_seen_at = clock.now()


async def missed(session: AsyncSession, lane: Lane, reason: str) -> datetime:
    """The router could not be reached: when it is tried again. Its waiting jobs, and the services they are for, say so.

    What runs in the lane waits as well; this was no attempt of theirs.
    """
    router = await hold(session, lane)
    now = clock.now()
    router.failures += 1
    router.unreachable_since = router.unreachable_since or now
    router.status, router.problem = RouterStatus.OFFLINE, reason
    span = random.uniform(_SHORTEST, _LONGEST) if router.failures >= FAILURES else _FIRST  # noqa: S311  jitter
    router.retry_at = router.check_at = now + timedelta(seconds=span)
    await wait(session, router, router.retry_at)
    return router.retry_at


async def wait(session: AsyncSession, router: Router, until: datetime) -> None:
    """Put off every job of a router that cannot be reached, waiting or in its lane, without counting an attempt."""
    since = router.unreachable_since or clock.now()
    message = f"Waits for the router {router.name}, out of reach since {since:%Y-%m-%d %H:%M:%S} UTC. {router.problem}"
    concerned: set[UUID] = set()
    mine = and_(Job.status == JobStatus.RUNNING, Job.lease == router.lane) if router.lane else None
    due = _due(router.id) if mine is None else or_(_due(router.id), and_(Job.router_id == router.id, mine))
    for job in await session.scalars(select(Job).where(due).with_for_update(skip_locked=True)):
        jobs.put_off(session, job, until, message)
        if job.service_id is not None and job.kind == jobs.PROVISION:
            concerned.add(job.service_id)
    if concerned:
        pending = Service.desired_version > Service.applied_version
        values = {"provisioning": ProvisioningState.UNREACHABLE, "network_problem": message}
        await session.execute(update(Service).where(Service.id.in_(concerned), pending).values(values))


def _due(router_id: UUID) -> ColumnElement[bool]:
    return and_(Job.router_id == router_id, Job.status.in_(jobs.UNFINISHED), Job.next_attempt_at <= clock.now())


def _held(lane: Lane) -> ColumnElement[bool]:
    return and_(Job.router_id == lane.router_id, Job.lease == lane.lease, Job.status == JobStatus.RUNNING)

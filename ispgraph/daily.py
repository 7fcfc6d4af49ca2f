"""What is done once a day for each tenant, at a time of day in its zone: by one scheduler, and once."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import partial
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.db import Database
from ispgraph.domain import notices, retention, suspend_dates, usage_detail
from ispgraph.domain.billing import dunning_run, runs
from ispgraph.domain.imports import records as imports
from ispgraph.domain.models import ScheduledRun
from ispgraph.domain.onboarding import drafts

# At one time so many chunks for each tenant: the rest has to wait, and jobs have not.
_CHUNKS = 10

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Daily:
    """Something done once a day for each tenant, at a time of day in the tenant's zone."""

    task: str
    at: time
    verb: Callable[[AsyncSession, UUID], Awaitable[object]]


DAILY = (
    Daily("billing.run", time(1, 0), runs.daily),
    Daily("drafts.expire", time(2, 30), drafts.clean),
    Daily("imports.expire", time(2, 45), imports.clean),
    Daily("retention.prune", time(3, 30), retention.prune),
)

Chunk = Callable[..., Awaitable[UUID | None]]
"""Does a part of a day's work for a tenant, after what was looked at last; None: nothing is left."""
DUNNING = "dunning"
DETAIL = "usage.detail"
_DETAIL_AT = time(4)
_PARTS: Mapping[str, Sequence[Chunk]] = {
    DUNNING: (
        dunning_run.relief,
        dunning_run.chunk,
        suspend_dates.chunk,
        notices.invoices_issued,
        notices.time_ends,
    ),
    DETAIL: (usage_detail.forget,),
}


@dataclass(slots=True)
class Place:
    """How far a task is with a tenant on a day: the part of it, and what was looked at last."""

    day: date
    part: int = 0
    last: UUID | None = None


Done = dict[tuple[UUID, str], date]
Places = dict[tuple[UUID, str], Place]


async def run_due(database: Database, daily: tuple[Daily, ...], done: Done) -> None:
    """Do what is due today and not yet done. After an outage of days each task is made up for once.

    The row in scheduled_runs and the effect stand in one transaction, so two schedulers do it once. `done` remembers
    what need not be asked again.
    """
    async with database.read(None) as session:
        tenants = (await session.execute(text("select tenant_id, time_zone from all_tenants()"))).all()
    now = clock.now()
    for tenant_id, zone in tenants:
        for task in daily:
            day = latest(task.at, ZoneInfo(zone), now)
            if done.get((tenant_id, task.task)) != day and await _run(database, task, tenant_id, day):
                done[tenant_id, task.task] = day


async def in_chunks(database: Database, done: Done, places: Places) -> None:
    """Do what is due today and is too much for one transaction: remind and suspend, at each tenant's own time of day,
    and forget what is kept no longer.

    In chunks, each a transaction, of each tenant some at one time; `places` remembers where to go on. The row in
    scheduled_runs comes when all are done, so what a crash has left is done by the next one, and two schedulers do
    nothing twice: see `dunning_run`.
    """
    async with database.read(None) as session:
        rows = await session.execute(text("select tenant_id, time_zone, dunning_at from dunning_times()"))
        tenants = rows.all()
    now = clock.now()
    for tenant_id, zone, dunning_at in tenants:
        for task, at in ((DUNNING, dunning_at), (DETAIL, _DETAIL_AT)):
            day = latest(at, ZoneInfo(zone), now)
            if done.get((tenant_id, task)) == day:
                continue
            place = places.get((tenant_id, task))
            if place is None or place.day != day:
                place = places[tenant_id, task] = Place(day)
            try:
                if await _some_chunks(database, tenant_id, task, place):
                    done[tenant_id, task] = day
                    del places[tenant_id, task]
            except Exception:
                _log.exception("%s of tenant %s failed", task, tenant_id)


async def _some_chunks(database: Database, tenant_id: UUID, task: str, place: Place) -> bool:
    """Whether all of the day is done."""
    async with database.read(tenant_id) as session:
        if await session.get(ScheduledRun, (tenant_id, task, place.day)) is not None:
            return True
    for _ in range(_CHUNKS):
        if place.part == len(_PARTS[task]):
            async with database.transaction(tenant_id) as session:
                mark = insert(ScheduledRun).values(task=task, run_on=place.day, ran_at=clock.now())
                await session.execute(mark.values(tenant_id=tenant_id).on_conflict_do_nothing())
            return True
        chunk = partial(_PARTS[task][place.part], tenant_id=tenant_id, day=place.day, after=place.last)
        place.last = await database.run(tenant_id, chunk)
        if place.last is None:
            place.part += 1
    return False


def latest(at: time, zone: ZoneInfo, now: datetime) -> date:
    """The last calendar day of the zone on which the clock has passed this time of day.

    A time that the clocks skip (spring) counts when they have passed it; one that comes twice (autumn) the first time.
    """
    today = now.astimezone(zone).date()
    return today if datetime.combine(today, at, zone) <= now else today - timedelta(days=1)


async def _run(database: Database, daily: Daily, tenant_id: UUID, day: date) -> bool:
    async def work(session: AsyncSession) -> None:
        mark = insert(ScheduledRun).values(tenant_id=tenant_id, task=daily.task, run_on=day, ran_at=clock.now())
        fresh = mark.on_conflict_do_nothing().returning(ScheduledRun.task)
        if await session.scalar(fresh) is not None:
            await daily.verb(session, tenant_id)

    try:
        await database.run(tenant_id, work)
    except Exception:
        # One tenant's trouble must not keep the tasks of all others from running; it is tried again soon.
        _log.exception("%s of tenant %s failed", daily.task, tenant_id)
        return False
    return True

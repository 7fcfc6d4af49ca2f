"""The program that starts what is due, and sends jobs again whose word was lost. Several may run; one works."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from ispgraph import clock, jobs, pubsub
from ispgraph.db import Database
from ispgraph.domain import retention, sessions, watches
from ispgraph.domain.billing import runs
from ispgraph.domain.models import ScheduledRun
from ispgraph.domain.onboarding import drafts
from ispgraph.settings import Settings

# "ispgraph" in ASCII: no other program of this database should take this number.
_LOCK = 0x6973706772617068
_TICK_SECONDS = 1.0
_SWEEP_LIMIT = 500
# Daily tasks are looked at every so many ticks, and sessions of which nothing is heard.
_DAILY_TICKS = 10
# And services whose state may have changed by itself.
_WATCH_TICKS = 10
# At one time so many chunks of them for each tenant: the rest has to wait, and jobs have not.
_WATCH_CHUNKS = 10
_SILENT_TICKS = 60
# The partitions of two quarters ahead: there is time, but nothing to lose by looking.
_ROOM_TICKS = 3600
_SILENT_LIMIT = 1000

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
    Daily("retention.prune", time(3, 30), retention.prune),
)

Done = dict[tuple[UUID, str], date]


def main(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT. Prints `ready`, also when another scheduler works and this one stands by."""
    asyncio.run(_until_told(settings))


async def _until_told(settings: Settings) -> None:
    loop = asyncio.get_running_loop()
    work = asyncio.create_task(_serve(settings))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, work.cancel)
    await asyncio.wait([work])
    if not work.cancelled():
        work.result()


async def _serve(settings: Settings) -> None:
    jobs.connect(settings.redis_url)
    pubsub.connect(settings.redis_url)
    database = Database(settings.database_url, pool_size=4)
    print("ready", flush=True)  # noqa: T201  the word that whoever started us waits for
    try:
        while True:
            try:
                async with _alone(database) as still_alone:
                    await _work(database, still_alone)
            except (SQLAlchemyError, OSError) as error:
                _log.warning("the database is away (%s); trying again", type(error).__name__)
            await asyncio.sleep(_TICK_SECONDS)
    finally:
        await database.dispose()


@asynccontextmanager
async def _alone(database: Database) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Hold the lock that only one scheduler has, waiting for it as long as it takes.

    PostgreSQL frees it with our connection; `still_alone` raises when that is gone. (What is due runs once even if
    two schedulers believed to be alone: see `run_due`.)
    """
    async with database.engine.connect() as plain:
        connection: AsyncConnection = await plain.execution_options(isolation_level="AUTOCOMMIT")

        async def still_alone() -> None:
            await connection.execute(text("select 1"))

        # Asked for again and again rather than waited for: a waiting statement would run into the statement timeout.
        while not await connection.scalar(text("select pg_try_advisory_lock(:key)"), {"key": _LOCK}):  # noqa: ASYNC110
            await asyncio.sleep(_TICK_SECONDS)
        try:
            yield still_alone
        finally:
            # A pooled connection would keep the lock.
            await connection.invalidate()


async def _work(database: Database, still_alone: Callable[[], Awaitable[None]]) -> None:
    done: Done = {}
    ticks = 0
    while True:
        await still_alone()
        await sweep(database)
        if ticks % _DAILY_TICKS == 0:
            await run_due(database, DAILY, done)
        if ticks % _WATCH_TICKS == 0:
            await watch(database)
        if ticks % _SILENT_TICKS == 0:
            await end_silent(database)
        if ticks % _ROOM_TICKS == 0:
            await make_room(database)
        ticks += 1
        await asyncio.sleep(_TICK_SECONDS)


async def sweep(database: Database) -> None:
    """Send word of jobs that are due: what was never sent, what Redis lost, and what a dead worker left behind."""
    async with database.read(None) as session:
        rows = await session.execute(
            text("select tenant_id, job_id, router_id from due_work(:at, :limit)"),
            {"at": clock.now(), "limit": _SWEEP_LIMIT},
        )
        due = [jobs.Due(row.tenant_id, row.job_id or row.router_id, row.job_id is None) for row in rows]
    await jobs.push(due)


async def watch(database: Database) -> None:
    """Look at the services that are due, and promise what follows. Two schedulers take different ones."""
    async with database.read(None) as session:
        tenants = await watches.due_tenants(session)
    for tenant_id in tenants:
        try:
            for _ in range(_WATCH_CHUNKS):
                looked = await database.run(tenant_id, watches.look)
                if looked.services < watches.CHUNK:
                    break
        except Exception:
            # As with the daily tasks, one tenant's trouble is not the others'.
            _log.exception("watching the services of tenant %s failed", tenant_id)


async def end_silent(database: Database) -> None:
    """End the sessions of which nothing was heard for too long; a thousand in a transaction, so none is held up."""
    async with database.read(None) as session:
        tenants = (await session.scalars(text("select tenant_id from all_tenants()"))).all()
    for tenant_id in tenants:
        try:
            ended = _SILENT_LIMIT
            while ended == _SILENT_LIMIT:
                async with database.transaction(tenant_id) as session:
                    ended = await sessions.end_silent(session, at=clock.now(), limit=_SILENT_LIMIT)
        except Exception:
            _log.exception("ending the silent sessions of tenant %s failed", tenant_id)


async def make_room(database: Database) -> None:
    """Have partitions for the sessions to come. When too much goes on for that, it is tried again in an hour."""
    try:
        async with database.transaction(None) as session:
            made = await sessions.make_room(session, at=clock.now())
    except SQLAlchemyError as error:
        _log.warning("no partitions were made for sessions to come (%s)", type(error).__name__)
    else:
        if made:
            _log.info("made %d partitions for sessions to come", made)


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

"""The program that starts what is due, and sends jobs again whose word was lost. Several may run; one works."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from ispgraph import clock, daily, jobs, logs, metrics, pubsub, replica, revisions, sealing, traces
from ispgraph.db import Database
from ispgraph.domain import (
    gateway_refunds,
    hosting_servers,
    package_changes,
    paying,
    renewals,
    router_notices,
    sessions,
    watches,
)
from ispgraph.domain.audit_chain import Keys
from ispgraph.domain.billing import periods
from ispgraph.domain.errors import DomainError
from ispgraph.domain.messaging import sending
from ispgraph.domain.portals import abandoned
from ispgraph.domain.webhooks import deliveries
from ispgraph.radius import inbox
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
# And payments of which a gateway has not said how they ended.
_GATEWAY_TICKS = 10
# And services that get another package today, or another period.
_TIME_TICKS = 60
# And audit entries without a link.
_SEAL_TICKS = 5
# The partitions of two quarters ahead: there is time, but nothing to lose by looking.
_ROOM_TICKS = 3600
_SILENT_LIMIT = 1000
# Monitoring asks a program two to four times a minute.
_FIGURE_TICKS = 15

_log = logging.getLogger(__name__)


def main(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT. Prints `ready`, also when another scheduler works and this one stands by."""
    logs.configure("scheduler", settings)
    revisions.require(settings.database_url)
    metrics.serve(settings)
    with traces.running("scheduler", settings):
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
    replica.connect(settings)
    database = Database.of(settings, pool_size=4)
    # The lock is the connection's, which behind a pooler is nobody's.
    direct = Database(settings.direct_database_url or settings.database_url, pool_size=1)
    # Beside all else, which may take its time, and also by a scheduler that stands by.
    adding = asyncio.create_task(inbox.serve(database))
    print("ready", flush=True)  # noqa: T201  the word that whoever started us waits for
    try:
        while True:
            try:
                async with _alone(direct) as still_alone:
                    metrics.ALONE.set(1)
                    await _work(database, still_alone, Keys.of(settings))
            except (SQLAlchemyError, OSError) as error:
                _log.warning("the database is away (%s); trying again", type(error).__name__)
                metrics.ALONE.set(0)
            await asyncio.sleep(_TICK_SECONDS)
    finally:
        adding.cancel()
        await asyncio.wait([adding])
        await replica.disconnect()
        await direct.dispose()
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


async def _work(database: Database, still_alone: Callable[[], Awaitable[None]], keys: Keys) -> None:
    done: daily.Done = {}
    places: daily.Places = {}
    ticks = 0
    while True:
        await still_alone()
        metrics.TICKED.set_to_current_time()
        with traces.span("scheduler turn", parent=traces.ROOT):
            await _turn(database, keys, ticks, done, places)
        ticks += 1
        await asyncio.sleep(_TICK_SECONDS)


async def _turn(database: Database, keys: Keys, ticks: int, done: daily.Done, places: daily.Places) -> None:
    if ticks % _FIGURE_TICKS == 0:
        await count(database)
    await sweep(database)
    await deliver(database)
    await call(database)
    if ticks % _DAILY_TICKS == 0:
        await daily.run_due(database, daily.DAILY, done)
        await daily.in_chunks(database, done, places)
    if ticks % _WATCH_TICKS == 0:
        await watch(database)
    if ticks % _GATEWAY_TICKS == 0:
        await ask_gateways(database)
        await _each(database, hosting_servers.look, "looking at the hosting servers")
    if ticks % _SEAL_TICKS == 0:
        await sealing.seal(database, keys)
    if ticks % _SILENT_TICKS == 0:
        await end_silent(database)
        await tell_of_routers(database)
    if ticks % _TIME_TICKS == 0:
        # In this order: who gets another package today is renewed with that one.
        await change_packages(database)
        await renew(database)
        await look_at_portals(database)
    if ticks % _ROOM_TICKS == 0:
        await make_room(database)


async def count(database: Database) -> None:
    """Ask the database for the figures of the whole installation that monitoring sees."""
    async with database.read(None) as session:
        rows = (await session.execute(text("select * from monitoring_figures(:at)"), {"at": clock.now()})).all()
    for figure in metrics.FIGURES.values():
        figure.clear()
    for name, of, value in rows:
        metrics.FIGURES[name].labels(of).set(value)


async def sweep(database: Database) -> None:
    """Send word of jobs that are due: what was never sent, what Redis lost, and what a dead worker left behind."""
    async with database.read(None) as session:
        rows = await session.execute(
            text("select tenant_id, job_id, router_id from due_work(:at, :limit)"),
            {"at": clock.now(), "limit": _SWEEP_LIMIT},
        )
        due = [jobs.Due(row.tenant_id, row.job_id or row.router_id, row.job_id is None) for row in rows]
    await jobs.push(due)


async def deliver(database: Database) -> None:
    """Send word of the tenants with messages to be sent."""
    async with database.read(None) as session:
        tenants = await sending.due_tenants(session)
    await jobs.push([jobs.Due(tenant_id, tenant_id, letters=True) for tenant_id in tenants])


async def call(database: Database) -> None:
    """Send word of the webhook endpoints to which something is to be sent."""
    async with database.read(None) as session:
        found = await deliveries.due_endpoints(session, _SWEEP_LIMIT)
    await jobs.push([jobs.Due(tenant_id, endpoint_id, hook=True) for tenant_id, endpoint_id in found])


async def watch(database: Database) -> None:
    """Look at the services that are due, and promise what follows. Two schedulers take different ones."""
    await inbox.add(database)
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


async def ask_gateways(database: Database) -> None:
    """Promise to ask about the payments that gateways have not settled, of each tenant some at one time."""
    await _each(database, paying.look, "looking at the payments")
    await _each(database, gateway_refunds.look, "looking at the refunds")


async def end_silent(database: Database) -> None:
    """End the sessions of which nothing was heard for too long; a thousand in a transaction, so none is held up."""
    await inbox.add(database)
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


async def tell_of_routers(database: Database) -> None:
    """Tell operators of routers that do not answer, or answer again."""
    await _each(database, router_notices.look, "telling of the routers")


async def look_at_portals(database: Database) -> None:
    """Tell of portals that were begun and left, forget the old ones, and have unused files deleted."""
    await _each(database, abandoned.look, "looking at the portals")


async def _each(database: Database, verb: Callable[[AsyncSession], Awaitable[object]], doing: str) -> None:
    """Do something for every tenant, each in a transaction: one tenant's trouble is not the others'."""
    async with database.read(None) as session:
        tenants = (await session.scalars(text("select tenant_id from all_tenants()"))).all()
    for tenant_id in tenants:
        try:
            await database.run(tenant_id, verb)
        except Exception:
            _log.exception("%s of tenant %s failed", doing, tenant_id)


async def change_packages(database: Database) -> None:
    """Carry out the requests for other packages whose day has begun. Of two schedulers one does each."""
    async with database.read(None) as session:
        tenants = (await session.execute(text("select tenant_id, time_zone from all_tenants()"))).all()
    for tenant_id, zone in tenants:
        async with database.read(tenant_id) as session:
            due = await package_changes.due(session, periods.local_date(clock.now(), zone))
        for change_id in due:
            await _change_package(database, tenant_id, change_id)


async def _change_package(database: Database, tenant_id: UUID, change_id: UUID) -> None:
    try:
        await database.run(tenant_id, partial(package_changes.carry_out, change_id=change_id))
    except DomainError as error:
        await database.run(tenant_id, partial(package_changes.failed, change_id=change_id, error=error))
    except Exception:
        # One customer's trouble is not the others'; it is tried again soon.
        _log.exception("changing a package of tenant %s failed", tenant_id)


async def renew(database: Database) -> None:
    """Have the wallets pay for another period of the services that are to renew themselves and end soon."""
    async with database.read(None) as session:
        tenants = (await session.scalars(text("select tenant_id from all_tenants()"))).all()
    for tenant_id in tenants:
        async with database.read(tenant_id) as session:
            due = await renewals.due(session, clock.now())
        for service_id in due:
            try:
                await database.run(tenant_id, partial(renewals.renew, service_id=service_id))
            except Exception:
                _log.exception("renewing a service of tenant %s failed", tenant_id)


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

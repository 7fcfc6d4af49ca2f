"""The scheduler: once a day for each tenant in its own zone, by one of several schedulers."""

import asyncio
from datetime import date, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, daily, ids, scheduler
from ispgraph.daily import Daily, latest
from ispgraph.db import Database
from ispgraph.domain import retention
from ispgraph.domain.models import AuditEntry, Draft, DraftStatus, IdempotencyKey, ScheduledRun, SignIn
from ispgraph.domain.onboarding import drafts
from tests.factories import House
from tests.programs import Program


@pytest.mark.parametrize(
    ("zone", "now", "day"),
    [
        ("Asia/Kathmandu", "2026-03-01T20:44:59+00:00", "2026-03-01"),
        ("Asia/Kathmandu", "2026-03-01T20:45:00+00:00", "2026-03-02"),
        # Berlin skips 02:30 on 29 March 2026 and has it twice on 25 October.
        ("Europe/Berlin", "2026-03-29T01:29:59+00:00", "2026-03-28"),
        ("Europe/Berlin", "2026-03-29T01:30:00+00:00", "2026-03-29"),
        ("Europe/Berlin", "2026-10-25T00:30:00+00:00", "2026-10-25"),
        ("Europe/Berlin", "2026-10-25T01:30:00+00:00", "2026-10-25"),
        ("Pacific/Apia", "2011-12-30T12:31:00+00:00", "2011-12-31"),
    ],
)
def test_half_past_two_is_that_of_the_zone(zone, now, day):
    assert latest(time(2, 30), ZoneInfo(zone), datetime.fromisoformat(now)) == date.fromisoformat(day)


class Bell:
    """A task whose effect is a row, so that a rollback undoes it."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.broken: set[UUID] = set()

    @property
    def daily(self) -> tuple[Daily, ...]:
        return (Daily("test.bell", time(2, 30), self.ring),)

    async def ring(self, session: AsyncSession, tenant_id: UUID) -> None:
        session.add(AuditEntry(tenant_id=tenant_id, at=clock.now(), action="test.bell", subject_id=None, details={}))
        await session.flush()
        if tenant_id in self.broken:
            raise ZeroDivisionError

    async def rung(self, house: House | None = None) -> int:
        house = house or self.house
        async with house.database.read(house.tenant.id) as session:
            return await session.scalar(select(func.count()).where(AuditEntry.action == "test.bell"))


@pytest.fixture
def bell(house: House, moved_clock: None) -> Bell:
    return Bell(house)


async def test_a_task_runs_once_a_day(bell: Bell, database: Database):
    rung = []
    for moment in ("2027-01-10T10:00:00Z", "2027-01-10T20:29:00Z", "2027-01-10T20:31:00Z", "2027-01-11T20:31:00Z"):
        clock.set_clock(moment)
        for _ in range(2):
            await daily.run_due(database, bell.daily, {})
        rung.append(await bell.rung())

    assert rung == [1, 1, 2, 3], "02:30 in Dhaka is 20:30 UTC of the day before"


async def test_an_outage_of_days_is_made_up_for_once(bell: Bell, database: Database):
    clock.set_clock("2027-01-10T10:00:00Z")
    await daily.run_due(database, bell.daily, done := {})
    clock.set_clock("2027-01-19T10:00:00Z")
    await daily.run_due(database, bell.daily, done)

    assert await bell.rung() == 2


async def test_four_at_once_do_it_once(bell: Bell, database: Database):
    await asyncio.gather(*(daily.run_due(database, bell.daily, {}) for _ in range(4)))

    assert await bell.rung() == 1


async def test_a_failure_undoes_the_mark_and_stops_nobody_else(
    bell: Bell, house: House, other_house: House, database: Database
):
    bell.broken = {house.tenant.id}
    done = {}
    await daily.run_due(database, bell.daily, done)
    assert (await bell.rung(house), await bell.rung(other_house)) == (0, 1)

    bell.broken = set()
    await daily.run_due(database, bell.daily, done)
    assert (await bell.rung(house), await bell.rung(other_house)) == (1, 1)


async def test_what_is_old_is_pruned_and_what_is_young_stays(house: House, other_house: House):
    now = clock.now()
    for at in (now - timedelta(days=8), now - timedelta(days=6)):
        sign_in = SignIn(id=ids.uuid7(), operator_id=house.admin.id, token_version=1, expires_at=at)
        key = IdempotencyKey(
            operator_id=house.admin.id, operation="test", key=at.isoformat(), input_hash=b"", answer=None, created_at=at
        )
        await house.add(sign_in, key)
    await house.add(ScheduledRun(task="test", run_on=(now - timedelta(days=500)).date(), ran_at=now))

    async with house.database.transaction(house.tenant.id) as session:
        await retention.prune(session, house.tenant.id)

    async with house.database.read(house.tenant.id) as session:
        left = [
            await session.scalar(select(func.count()).select_from(kind))
            for kind in (SignIn, IdempotencyKey, ScheduledRun)
        ]
    assert left == [1, 1, 0]


async def test_of_two_schedulers_one_works_and_the_other_takes_over(bell: Bell, settings, database: Database):
    first = Program("scheduler", settings)
    try:
        await first.ready()
        async with asyncio.timeout(20):
            while not await runs(database, bell.house):
                await asyncio.sleep(0.05)
        async with database.engine.connect() as connection:
            taken = await connection.scalar(select(func.pg_try_advisory_lock(scheduler._LOCK)))
        assert not taken, "the first holds the lock"
        first.kill()
        async with asyncio.timeout(20), scheduler._alone(database) as still_alone:
            await still_alone()
    finally:
        first.kill()


async def runs(database: Database, house: House) -> int:
    async with database.read(house.tenant.id) as session:
        return await session.scalar(select(func.count()).select_from(ScheduledRun)) or 0


async def test_sigterm_ends_it_at_once(settings):
    program = Program("scheduler", settings)
    try:
        await program.ready()
        assert await program.terminate(seconds=5) == 0
    finally:
        program.kill()


async def test_drafts_are_cleaned_at_half_past_two(house: House, database: Database, moved_clock: None):
    task = next(each for each in daily.DAILY if each.task == "drafts.expire")
    assert task.at == time(2, 30)
    by = await house.viewer()
    async with database.transaction(house.tenant.id) as session:
        draft = await drafts.start(session, by=by)
    clock.set_clock(f"+{3 * 86400}")
    await daily.run_due(database, daily.DAILY, {})
    async with database.read(house.tenant.id) as session:
        assert (await session.get_one(Draft, draft.id)).status is DraftStatus.EXPIRED

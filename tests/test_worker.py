"""Workers: what a run records, and that no death of a worker or of Redis loses or doubles an effect."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import redis.asyncio
from sqlalchemy import func, select, update

from ispgraph import clock, pubsub, scheduler
from ispgraph import jobs as queue
from ispgraph.actors import run as runs
from ispgraph.actors.registry import ACTIONS
from ispgraph.actors.run import Run, Runner
from ispgraph.db import Database
from ispgraph.domain import jobs
from ispgraph.domain.jobs import Permanent
from ispgraph.domain.models import (
    AuditEntry,
    CustomerStatus,
    Job,
    JobStatus,
    NetworkStep,
    Service,
    StepOutcome,
    StepProtocol,
)
from ispgraph.settings import Settings
from ispgraph.up.ports import free_port
from ispgraph.up.valkey import Valkey
from tests import probe, subscribers
from tests.factories import House
from tests.programs import Program


@pytest.fixture(autouse=True)
def connected(redis_url: str, valkey: redis.asyncio.Redis) -> None:
    queue.connect(redis_url)
    pubsub.connect(redis_url)
    yield
    queue.disconnect()
    pubsub.disconnect()


async def enqueued(house: House, kind: str = probe.MARK, **fields) -> Job:
    async with house.database.transaction(house.tenant.id) as session:
        return await jobs.enqueue(session, kind, tenant_id=house.tenant.id, **fields)


async def stored(house: House, job: Job) -> Job:
    async with house.database.read(house.tenant.id) as session:
        return await session.get_one(Job, job.id)


async def effects(house: House) -> int:
    async with house.database.read(house.tenant.id) as session:
        return await session.scalar(select(func.count()).where(AuditEntry.action == "test.effect"))


async def until(condition: Callable[[], Awaitable[object]], seconds: float = 20) -> None:
    """Wait for something another process does."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


async def until_ended(house: House, *ids, status: JobStatus = JobStatus.SUCCEEDED) -> None:
    async def ended() -> bool:
        async with house.database.read(house.tenant.id) as session:
            found = list(await session.scalars(select(Job.status).where(Job.id.in_([job.id for job in ids]))))
        return all(one is status for one in found)

    await until(ended)


# -- one run


@pytest.fixture
def run(house: House, database: Database, settings: Settings) -> Callable[..., Awaitable[Job]]:
    """Runs a job here, in this process, and gives the row afterwards."""

    async def once(job: Job, action: Callable[[Run], Awaitable[None]] | None = None) -> Job:
        actions = {**ACTIONS, **probe.KINDS} | ({job.kind: action} if action else {})
        await Runner(database, settings, actions).run_job(house.tenant.id.hex, job.id.hex)
        return await stored(house, job)

    return once


async def test_a_job_is_carried_out(house: House, run):
    job = await run(await enqueued(house))

    assert (job.status, job.message, job.attempts) == (JobStatus.SUCCEEDED, "marked", 1)
    assert job.started_at <= job.finished_at
    assert await effects(house) == 1


async def test_a_message_that_comes_again_does_nothing(house: House, run):
    job = await enqueued(house)
    await run(job)
    await run(job)

    assert await effects(house) == 1


async def poisonous(run: Run) -> None:
    raise ValueError("the password is hunter2")


async def test_poison_is_tried_eight_times_and_then_fails_without_telling_secrets(
    house: House, run, moved_clock, database, settings
):
    job = await enqueued(house)
    for attempt in range(1, jobs.MAX_ATTEMPTS):
        clock.set_clock(f"+{attempt * 400}")
        seen = await run(job, poisonous)
        assert (seen.status, seen.attempts) == (JobStatus.QUEUED, attempt)
        assert seen.next_attempt_at > clock.now()
        assert (await run(job, poisonous)).attempts == attempt, "not before its time"
    clock.set_clock("+9000")

    ended = await run(job, poisonous)
    assert (ended.status, ended.attempts) == (JobStatus.FAILED, 8)
    assert ended.message == "Unexpected error (ValueError); the worker's log has the details."

    async with database.transaction(house.tenant.id) as session:
        await jobs.retry(session, job.id, by=await house.viewer())
    assert (await run(job)).status is JobStatus.SUCCEEDED


async def test_what_is_permanent_fails_at_once(house: House, run):
    async def refuse(run: Run) -> None:
        raise Permanent("The router is gone for good.")

    job = await run(await enqueued(house), refuse)

    assert (job.status, job.attempts, job.message) == (JobStatus.FAILED, 1, "The router is gone for good.")


async def test_a_kind_that_nobody_knows_fails_with_its_name(house: House, run):
    job = await run(await enqueued(house, "hosting.make"))

    assert job.status is JobStatus.FAILED
    assert "hosting.make" in job.message


async def test_what_takes_too_long_is_given_back(house: House, run, monkeypatch):
    monkeypatch.setattr(runs, "LONGEST_RUN_SECONDS", 0.05)

    job = await run(await enqueued(house, probe.GATED))

    assert (job.status, job.message) == (JobStatus.QUEUED, "It took too long.")


async def test_a_run_that_lost_its_lease_stops_and_writes_nothing(house: House, run, monkeypatch, database):
    monkeypatch.setattr(runs, "HEARTBEAT_SECONDS", 0.05)
    job, stolen = await enqueued(house, probe.GATED), clock.now()

    async def robbed(run: Run) -> None:
        async with database.transaction(house.tenant.id) as session:
            await session.execute(update(Job).values(lease=probe_lease, next_attempt_at=stolen))
        await probe.gated(run)

    probe_lease = job.id
    async with asyncio.timeout(10):
        left = await run(job, robbed)

    assert (left.status, left.lease) == (JobStatus.RUNNING, probe_lease)
    assert await effects(house) == 0


async def test_a_late_effect_is_refused_when_somebody_else_has_the_job(house: House, run, database):
    job = await enqueued(house)

    async def slept(run: Run) -> None:
        async with database.transaction(house.tenant.id) as session:
            await session.execute(update(Job).values(lease=job.id))
        await probe.mark(run)

    left = await run(job, slept)

    assert left.lease == job.id
    assert await effects(house) == 0


async def test_the_lease_is_kept_while_it_works(house: House, monkeypatch, database, settings, valkey):
    monkeypatch.setattr(runs, "HEARTBEAT_SECONDS", 0.05)
    job = await enqueued(house, probe.GATED)
    working = asyncio.create_task(Runner(database, settings, probe.KINDS).run_job(house.tenant.id.hex, job.id.hex))
    await until(lambda: valkey.exists(probe.STARTED))
    first = (await stored(house, job)).next_attempt_at

    async def renewed() -> bool:
        return (await stored(house, job)).next_attempt_at > first

    await until(renewed)
    await valkey.set(probe.GATE, 1)
    await working
    assert (await stored(house, job)).status is JobStatus.SUCCEEDED


async def test_a_worker_that_stops_gives_its_jobs_back_and_it_was_no_attempt(house, database, settings, valkey):
    job = await enqueued(house, probe.GATED)
    runner = Runner(database, settings, probe.KINDS)
    working = asyncio.create_task(runner.run_job(house.tenant.id.hex, job.id.hex))
    await until(lambda: valkey.exists(probe.STARTED))

    runner.stop()
    await working

    left = await stored(house, job)
    assert (left.status, left.attempts, left.lease) == (JobStatus.QUEUED, 0, None)


# -- provisioning


async def steps(house: House, job: Job) -> list[NetworkStep]:
    async with house.database.read(house.tenant.id) as session:
        return list(await session.scalars(select(NetworkStep).where(NetworkStep.job_id == job.id)))


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (CustomerStatus.ACTIVE, "Mikrotik-Rate-Limit=5000k/20000k"),
        (CustomerStatus.SUSPENDED, "refuses a login: Account suspended."),
    ],
)
async def test_provisioning_verifies_what_radius_would_say(house: House, run, status, said):
    customer = await subscribers.customer(house, status=status)
    service = await subscribers.service(house, customer, desired_version=3)

    job = await run(await enqueued(house, jobs.PROVISION, customer_id=customer.id, service_id=service.id))

    assert job.status is JobStatus.SUCCEEDED, job.message
    (step,) = await steps(house, job)
    assert (step.protocol, step.outcome) == (StepProtocol.RADIUS_SQL, StepOutcome.VERIFIED)
    assert said in step.detail
    assert "secret" not in step.detail
    async with house.database.read(house.tenant.id) as session:
        row = await session.get_one(Service, service.id)
    assert (row.applied_version, row.checked_at is not None) == (3, True)


async def test_provisioning_nothing_fails(house: House, run):
    job = await run(await enqueued(house, jobs.PROVISION))

    assert (job.status, job.message) == (JobStatus.FAILED, "The job names no service.")


# -- processes that die


@pytest.fixture
def clock_file(tmp_path: Path, moved_clock: None) -> Path:
    """Moves the clock of this process and of every worker of the test."""
    path = tmp_path / "clock"
    path.write_text("+0")
    clock.set_clock(f"file:{path}")
    return path


@pytest.fixture
async def start(settings: Settings, clock_file: Path) -> AsyncIterator[Callable[[], Awaitable[Program]]]:
    """Starts workers; all are dead afterwards."""
    started = []

    async def worker() -> Program:
        started.append(Program("tests.probe", settings, ISPGRAPH_CLOCK=f"file:{clock_file}"))
        await started[-1].ready()
        return started[-1]

    yield worker
    for program in started:
        program.kill()


async def test_a_worker_killed_in_the_middle_loses_and_doubles_nothing(
    house: House, start, valkey, clock_file: Path, database
):
    job = await enqueued(house, probe.GATED)
    first = await start()
    await until(lambda: valkey.exists(probe.STARTED))
    first.kill()
    await valkey.set(probe.GATE, 1)

    await start()
    await scheduler.sweep(database)
    assert (await stored(house, job)).status is JobStatus.RUNNING, "the lease still protects it"
    clock_file.write_text("+31")
    await scheduler.sweep(database)
    await until_ended(house, job)

    assert await effects(house) == 1
    assert (await stored(house, job)).attempts == 2


async def test_two_workers_do_each_job_once(house: House, start, valkey, database):
    promised = [await enqueued(house) for _ in range(30)]
    await valkey.flushdb()
    for _ in range(2):  # every message twice
        await valkey.delete(*await valkey.keys("ispgraph:job-under-way:*") or ["none"])
        await scheduler.sweep(database)

    await asyncio.gather(start(), start())
    await until_ended(house, *promised)

    assert await effects(house) == 30


async def test_a_redis_that_forgets_under_a_working_worker_loses_nothing(house: House, start, valkey, database):
    await start()
    blocked = [await enqueued(house, probe.GATED) for _ in range(40)]
    await until(lambda: valkey.exists(probe.STARTED))
    await valkey.flushdb()
    await valkey.set(probe.GATE, 1)

    async def swept() -> bool:
        await scheduler.sweep(database)
        async with database.read(house.tenant.id) as session:
            left = select(func.count()).where(Job.status != JobStatus.SUCCEEDED)
            return not await session.scalar(left)

    await until(swept)
    assert await effects(house) == len(blocked)


@pytest.mark.slow
async def test_a_redis_that_dies_with_all_its_data_loses_nothing(house: House, settings, tmp_path: Path, database):
    server = Valkey(tmp_path, free_port(), "password", persistent=False)
    server.initialise()
    server.start()
    program = Program("tests.probe", replace(settings, redis_url=server.url()))
    try:
        queue.connect(server.url())
        await program.ready()
        before = [await enqueued(house, probe.GATED) for _ in range(3)] + [await enqueued(house) for _ in range(20)]
        os.kill(server.pid, signal.SIGKILL)
        server.stop()
        while_away = [await enqueued(house) for _ in range(3)]
        server.start()
        async with redis.asyncio.from_url(server.url()) as client:
            await client.set(probe.GATE, 1)

        async def swept() -> bool:
            await scheduler.sweep(database)
            return await effects(house) == len(before) + len(while_away)

        await until(swept, seconds=40)
        await until_ended(house, *before, *while_away)
    finally:
        program.kill()
        server.stop()


@pytest.mark.long
@pytest.mark.slow
async def test_sigterm_gives_unfinished_jobs_back_within_ten_seconds(house: House, start, valkey):
    job = await enqueued(house, probe.GATED)
    worker = await start()
    await until(lambda: valkey.exists(probe.STARTED))

    assert await worker.terminate(seconds=10) == 0

    left = await stored(house, job)
    assert (left.status, left.attempts) == (JobStatus.QUEUED, 0)

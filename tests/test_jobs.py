"""Jobs as rows: promised with the business, claimed under a lease, tried again and cancelled by people."""

import asyncio
import uuid
from contextlib import suppress
from datetime import timedelta
from functools import partial

import pytest
import redis.asyncio
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, pubsub, scheduler
from ispgraph import jobs as queue
from ispgraph.db import Database
from ispgraph.domain import jobs
from ispgraph.domain.errors import DomainError, ErrorCode
from ispgraph.domain.jobs import LeaseLost
from ispgraph.domain.models import Job, JobStatus, Role
from tests import subscribers
from tests.factories import House

KIND = "test.kind"
MESSAGES = "ispgraph:jobs"


@pytest.fixture(autouse=True)
def connected(redis_url: str, valkey: redis.asyncio.Redis) -> None:
    queue.connect(redis_url)
    pubsub.connect(redis_url)
    yield
    queue.disconnect()
    pubsub.disconnect()


@pytest.fixture
def redis_gone() -> None:
    """Connects to where nothing listens."""
    nowhere = "redis://127.0.0.1:1/0"
    queue.connect(nowhere)
    pubsub.connect(nowhere)


async def enqueued(house: House, **fields) -> Job:
    async with house.database.transaction(house.tenant.id) as session:
        return await jobs.enqueue(session, KIND, tenant_id=house.tenant.id, **fields)


async def stored(house: House, job: Job) -> Job:
    async with house.database.read(house.tenant.id) as session:
        return await session.get_one(Job, job.id)


async def claimed(house: House, job: Job) -> Job | None:
    async with house.database.transaction(house.tenant.id) as session:
        return await jobs.claim(session, job.id)


async def as_status(house: House, job: Job, status: JobStatus, **fields) -> None:
    async with house.database.transaction(house.tenant.id) as session:
        await session.execute(update(Job).where(Job.id == job.id).values(status=status, **fields))


# -- the promise


async def test_a_rollback_leaves_no_job_and_sends_no_word(house: House, valkey):
    async def business(session: AsyncSession) -> None:
        await jobs.enqueue(session, KIND, tenant_id=house.tenant.id)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await house.database.run(house.tenant.id, business)

    async with house.database.read(house.tenant.id) as session:
        assert await session.scalar(select(func.count()).select_from(Job)) == 0
    assert await valkey.keys("ispgraph*") == []


async def test_a_commit_sends_word_once(house: House, valkey):
    job = await enqueued(house)

    assert (await stored(house, job)).status is JobStatus.QUEUED
    assert await valkey.llen(MESSAGES) == 1
    await scheduler.sweep(house.database)
    assert await valkey.llen(MESSAGES) == 1, "its word is under way"


async def test_without_redis_the_business_commits_and_the_sweep_sends_later(
    house: House, valkey, redis_url, redis_gone
):
    job = await enqueued(house)
    assert (await stored(house, job)).status is JobStatus.QUEUED
    await scheduler.sweep(house.database)

    queue.connect(redis_url)
    await scheduler.sweep(house.database)

    assert await valkey.llen(MESSAGES) == 1


async def test_a_redis_that_lost_everything_gets_it_all_again(house: House, other_house: House, valkey):
    for owner in (house, house, other_house):
        await enqueued(owner)
    await valkey.flushdb()

    await scheduler.sweep(house.database)

    assert await valkey.llen(MESSAGES) == 3


# -- the lease


async def test_a_claim_excludes_others_until_its_lease_is_over(house: House, moved_clock):
    job = await enqueued(house)

    first = await claimed(house, job)
    assert first.status is JobStatus.RUNNING
    assert first.attempts == 1
    assert await claimed(house, job) is None

    clock.set_clock("+31")
    second = await claimed(house, job)
    assert second.attempts == 2
    assert second.lease != first.lease


async def test_of_two_claims_at_once_one_wins(house: House):
    job = await enqueued(house)

    won = await asyncio.gather(*(claimed(house, job) for _ in range(8)))

    assert sum(row is not None for row in won) == 1


async def test_a_renewed_lease_lasts(house: House, moved_clock):
    job = await claimed(house, await enqueued(house))
    clock.set_clock("+20")
    async with house.database.transaction(house.tenant.id) as session:
        await jobs.renew(session, job.id, job.lease)
    clock.set_clock("+45")

    assert await claimed(house, job) is None


async def test_a_stale_lease_can_neither_be_renewed_nor_write(house: House, moved_clock):
    job = await claimed(house, await enqueued(house))
    clock.set_clock("+31")
    await claimed(house, job)

    for act in (jobs.renew, jobs.hold):
        with pytest.raises(LeaseLost):
            async with house.database.transaction(house.tenant.id) as session:
                await act(session, job.id, job.lease)


async def test_a_job_that_kills_its_workers_ends_as_failed(house: House, moved_clock):
    job = await enqueued(house)
    for lost in range(jobs.MAX_ATTEMPTS):
        clock.set_clock(f"+{lost * 40}")
        assert await claimed(house, job) is not None
    clock.set_clock("+1000")

    assert await claimed(house, job) is None
    ended = await stored(house, job)
    assert ended.status is JobStatus.FAILED
    assert "lost 8 times" in ended.message


def test_waiting_doubles_within_its_bounds():
    assert all(timedelta(seconds=2) <= jobs.backoff(1) <= timedelta(seconds=2.5) for _ in range(100))
    assert all(timedelta(seconds=12) <= jobs.backoff(4) <= timedelta(seconds=20) for _ in range(100))
    assert jobs.backoff(60) == timedelta(seconds=300)


# -- people


async def test_a_waiting_job_is_cancelled_and_then_queued_again(house: House, valkey):
    job, by = await enqueued(house), await house.viewer()
    async with house.database.transaction(house.tenant.id) as session:
        await jobs.cancel(session, job.id, by=by)
    assert (await stored(house, job)).status is JobStatus.CANCELLED
    assert await claimed(house, job) is None, "its message may still arrive"
    await queue.claimed(job.id)

    async with house.database.transaction(house.tenant.id) as session:
        await jobs.retry(session, job.id, by=by)
    again = await stored(house, job)
    assert (again.status, again.attempts, again.message, again.finished_at) == (JobStatus.QUEUED, 0, None, None)
    assert await valkey.llen(MESSAGES) == 2


@pytest.mark.parametrize(
    ("verb", "status"),
    [
        (jobs.cancel, JobStatus.RUNNING),
        (jobs.cancel, JobStatus.SUCCEEDED),
        (jobs.cancel, JobStatus.FAILED),
        (jobs.retry, JobStatus.QUEUED),
        (jobs.retry, JobStatus.RUNNING),
        (jobs.retry, JobStatus.SUCCEEDED),
    ],
)
async def test_a_job_in_the_wrong_state_is_left_alone(house: House, verb, status):
    job, by = await enqueued(house), await house.viewer()
    await as_status(house, job, status, message="as it was")

    with pytest.raises(DomainError) as refused:
        async with house.database.transaction(house.tenant.id) as session:
            await verb(session, job.id, by=by)

    assert [fault.code for fault in refused.value.faults] == [ErrorCode.INVALID_STATE]
    assert (await stored(house, job)).message == "as it was"


@pytest.mark.parametrize("verb", [jobs.cancel, jobs.retry])
async def test_only_those_may_who_care_for_the_network_or_customers(house: House, verb):
    job = await enqueued(house)
    clerk = await house.viewer(await house.operator(Role.ACCOUNTANT))

    with pytest.raises(DomainError) as refused:
        async with house.database.transaction(house.tenant.id) as session:
            await verb(session, job.id, by=clerk)

    assert [fault.code for fault in refused.value.faults] == [ErrorCode.NOT_PERMITTED]


async def test_jobs_of_another_subtree_or_tenant_are_not_there(house: House, other_house: House):
    north, south = await house.operator(Role.OPERATOR), await house.operator(Role.OPERATOR)
    customer = await subscribers.customer(house, operator_id=north.id)
    hers, nobodys = await enqueued(house, customer_id=customer.id), await enqueued(house)
    seen = {}
    for name, viewer in {
        "admin": await house.viewer(),
        "north": await house.viewer(north),
        "south": await house.viewer(south),
        "elsewhere": await other_house.viewer(),
    }.items():
        async with house.database.read(viewer.tenant_id) as session:
            found = [job.id for job in (hers, nobodys) if await jobs.find(session, job.id, by=viewer)]
            listed = await session.scalars(select(Job.id).where(jobs.visible(viewer)))
            assert sorted(listed) == sorted(found)
            seen[name] = found

    assert seen == {"admin": [hers.id, nobodys.id], "north": [hers.id], "south": [], "elsewhere": []}
    with pytest.raises(DomainError) as refused:
        async with house.database.transaction(house.tenant.id) as session:
            await jobs.cancel(session, hers.id, by=await house.viewer(south))
    assert refused.value.faults[0].code is ErrorCode.NOT_FOUND


# -- following


async def follow(house: House, job: Job, seconds: float, into: asyncio.Queue) -> None:
    by = await house.viewer()
    read = partial(house.database.read, house.tenant.id)
    async for row in jobs.follow_job(read, job.id, by=by, seconds=seconds):
        await into.put((row.status, row.attempts))
    await into.put("the end")


async def run_once(house: House, job: Job) -> None:
    row = await claimed(house, job)
    async with house.database.transaction(house.tenant.id) as session:
        jobs.finish(session, await jobs.hold(session, row.id, row.lease), JobStatus.SUCCEEDED)


async def test_a_job_is_followed_by_events_alone(house: House):
    job, heard = await enqueued(house), asyncio.Queue()
    task = asyncio.create_task(follow(house, job, 60, heard))
    async with asyncio.timeout(10):
        assert await heard.get() == (JobStatus.QUEUED, 0)
        row = await claimed(house, job)
        assert await heard.get() == (JobStatus.RUNNING, 1)
        async with house.database.transaction(house.tenant.id) as session:
            jobs.finish(session, await jobs.hold(session, row.id, row.lease), JobStatus.SUCCEEDED)
        assert await heard.get() == (JobStatus.SUCCEEDED, 1)
        assert await heard.get() == "the end"
    await task


async def test_a_job_is_followed_without_redis(house: House, redis_gone):
    job, heard = await enqueued(house), asyncio.Queue()
    task = asyncio.create_task(follow(house, job, 0.05, heard))
    async with asyncio.timeout(10):
        assert await heard.get() == (JobStatus.QUEUED, 0)
        await run_once(house, job)
        while (event := await heard.get()) != "the end":
            last = event
        assert last == (JobStatus.SUCCEEDED, 1)
    await task


async def test_a_subscription_survives_a_lost_connection(house: House, valkey):
    async with pubsub.subscribe("test:topic") as events, asyncio.timeout(20):

        async def hears(payload: str) -> None:
            # While the reader has no connection, events are lost: that is the bargain.
            while True:
                await valkey.publish("test:topic", payload)
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        if await events.get() == ("test:topic", payload):
                            return

        await hears("before")
        for client in await valkey.client_list(_type="pubsub"):
            if int(client["db"]) == valkey.get_connection_kwargs()["db"]:
                await valkey.client_kill_filter(_id=client["id"])
        await hears("after")


async def test_a_customers_jobs_are_followed_from_the_unfinished_on(house: House):
    customer, by = await subscribers.customer(house), await house.viewer()
    old, waiting = [await enqueued(house, customer_id=customer.id) for _ in range(2)]
    await run_once(house, old)
    read = partial(house.database.read, house.tenant.id)
    changes = jobs.follow_customer(read, customer.id, by=by, seconds=60)

    async with asyncio.timeout(10):
        assert (await anext(changes)).id == waiting.id
        late = await enqueued(house, customer_id=customer.id)
        await run_once(house, late)
        while (row := await anext(changes)).status is not JobStatus.SUCCEEDED:
            assert row.id == late.id
        assert row.id == late.id
    await changes.aclose()


async def test_nobody_follows_what_is_not_theirs(house: House, other_house: House):
    customer = await subscribers.customer(house)
    job, by = await enqueued(house, customer_id=customer.id), await other_house.viewer()
    read = partial(house.database.read, other_house.tenant.id)
    for changes in (
        jobs.follow_job(read, job.id, by=by, seconds=60),
        jobs.follow_job(read, uuid.uuid4(), by=by, seconds=60),
        jobs.follow_customer(read, customer.id, by=by, seconds=60),
    ):
        with pytest.raises(DomainError) as refused:
            await anext(changes)
        assert refused.value.faults[0].code is ErrorCode.NOT_FOUND


async def test_a_customer_who_moves_to_another_reseller_is_out_of_sight(house: House):
    north, south = await house.operator(Role.OPERATOR), await house.operator(Role.OPERATOR)
    customer = await subscribers.customer(house, operator_id=north.id)
    job, by = await enqueued(house, customer_id=customer.id), await house.viewer(north)
    read = partial(house.database.read, house.tenant.id)
    changes = jobs.follow_job(read, job.id, by=by, seconds=60)
    assert (await anext(changes)).id == job.id

    async with house.database.transaction(house.tenant.id) as session:
        await session.execute(
            update(type(customer)).where(type(customer).id == customer.id).values(operator_id=south.id)
        )
    await claimed(house, job)

    with pytest.raises(StopAsyncIteration):
        async with asyncio.timeout(10):
            await anext(changes)


async def test_two_tenants_never_meet_in_one_sweep(house: House, other_house: House, database: Database, valkey):
    mine, theirs = await enqueued(house), await enqueued(other_house)
    await valkey.flushdb()
    await scheduler.sweep(database)

    sent = b"".join((await valkey.hgetall(f"{MESSAGES}.msgs")).values()).decode()
    assert f'["{house.tenant.id.hex}","{mine.id.hex}"]' in sent
    assert f'["{other_house.tenant.id.hex}","{theirs.id.hex}"]' in sent

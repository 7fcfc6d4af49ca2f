"""kill -9 of the worker in the middle of an import: nobody is made twice, and nobody is left out."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis.asyncio
from sqlalchemy import func, select, update

from ispgraph import clock
from ispgraph import jobs as queue
from ispgraph.db import Database
from ispgraph.domain.models import Customer, CustomerOrigin, Job
from tests.billing.changing import sound
from tests.factories import uuid_of
from tests.imports.counter import Counter, counts, person, sheet
from tests.programs import Program

pytestmark = pytest.mark.long

ROWS = 900


@pytest.fixture(autouse=True)
def connected(redis_url: str, valkey: redis.asyncio.Redis) -> Iterator[None]:
    queue.connect(redis_url)
    yield
    queue.disconnect()


async def killed(counter: Counter, job: dict[str, Any], begun: Callable[[], Awaitable[bool]]) -> None:
    """A worker that is killed as soon as it has begun to work, and another that finds its lease over."""
    worker = Program("worker", counter.settings)
    try:
        await worker.ready()
        async with asyncio.timeout(60):
            while not await begun():
                await asyncio.sleep(0.01)
    finally:
        worker.kill()
    tenant = counter.house.tenant.id
    async with counter.house.database.transaction(tenant) as session:
        over = {"next_attempt_at": clock.now() - timedelta(seconds=1)}
        await session.execute(update(Job).where(Job.id == uuid_of(job["id"])).values(over))
    await counter.work(job)


async def test_the_worker_is_killed(counter: Counter, owner: Database) -> None:
    found = await counter.checked(sheet([person(number, balance=str(number % 3 - 1)) for number in range(ROWS)]))
    ran = await counter.run(found)

    async def some() -> bool:
        return 0 < (await counter.read(found))["createdCount"] < ROWS

    await killed(counter, ran["job"], some)
    done = await counter.read(found)
    assert (done["status"], counts(done)) == ("DONE", {"rowCount": ROWS, "createdCount": ROWS})
    assert (done["reconciliation"]["balanceHere"]["amount"], done["reconciliation"]["equal"]) == ("0.00", True)
    await sound(owner)
    undone = await counter.undo(done)

    async def fewer() -> bool:
        return 0 < (await counter.read(found))["createdCount"] < ROWS

    await killed(counter, undone["job"], fewer)
    done = await counter.read(found)
    third = ROWS // 3
    assert (done["status"], counts(done)) == (
        "UNDONE",
        {"rowCount": ROWS, "removedCount": third, "terminatedCount": ROWS - third},
    )
    async with counter.house.database.read(counter.house.tenant.id) as session:
        assert await session.scalar(select(func.count()).select_from(Customer)) == ROWS - third
        assert await session.scalar(select(func.count()).select_from(CustomerOrigin)) == 0
    await sound(owner)

"""Those who look after routers are told when one does not answer, and when it does again."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from ispgraph import clock, scheduler
from ispgraph.domain.models import Message, Operator, Role, Router, RouterStatus
from tests.factories import House

pytestmark = pytest.mark.usefixtures("moved_clock")


async def set_router(house: House, **values: object) -> None:
    async with house.database.transaction(house.tenant.id) as session:
        await session.execute(update(Router).values(**values))


async def told(house: House) -> list[tuple[str, str]]:
    """To whom, and what, in their order."""
    async with house.database.read(house.tenant.id) as session:
        rows = await session.scalars(select(Message).order_by(Message.id))
        return [(row.to, row.body) for row in rows]


async def test_a_router_that_stays_away_is_told_of_once(house: House, other_house: House) -> None:
    clock.set_clock("2026-05-04T06:00:00Z")
    await house.operator(Role.STAFF)
    away = await house.operator(Role.ADMIN)
    async with house.database.transaction(house.tenant.id) as session:
        await session.execute(update(Operator).where(Operator.id == away.id).values(active=False))
    await house.router(name="North 1")
    gone = {"status": RouterStatus.OFFLINE, "unreachable_since": clock.now(), "problem": "No route."}
    await set_router(house, **gone)
    clock.set_clock("2026-05-04T06:02:30Z")
    await scheduler.tell_of_routers(house.database)
    assert await told(house) == []
    clock.set_clock("2026-05-04T06:03:30Z")
    await asyncio.gather(*(scheduler.tell_of_routers(house.database) for _ in range(3)))
    await scheduler.tell_of_routers(house.database)
    down = "North Networks: the router North 1 does not answer since 2026-05-04 12:00. No route."
    assert await told(house) == [(house.admin.email, down)]
    # What is not known is no news.
    await set_router(house, status=RouterStatus.UNKNOWN)
    await scheduler.tell_of_routers(house.database)
    assert len(await told(house)) == 1
    clock.set_clock("2026-05-04T07:00:00Z")
    await set_router(house, status=RouterStatus.DEGRADED, unreachable_since=None)
    await asyncio.gather(*(scheduler.tell_of_routers(house.database) for _ in range(3)))
    up = "North Networks: the router North 1 answers again."
    assert (await told(house))[1:] == [(house.admin.email, up)]
    # Away once more: told once more.
    await set_router(house, **gone | {"unreachable_since": clock.now() - timedelta(minutes=5)})
    await scheduler.tell_of_routers(house.database)
    assert len(await told(house)) == 3
    assert await told(other_house) == []

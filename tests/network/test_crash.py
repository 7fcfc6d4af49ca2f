"""Workers that die in the middle, at every step: the next one ends what was begun, and nothing twice."""

import asyncio
import json
import sys
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from ispgraph import clock
from ispgraph.domain.models import Job, JobStatus, Router, Session
from tests.network.crashing import DIED
from tests.network.world import Line, World, until
from tests.radius.running import ROOT, environment

pytestmark = pytest.mark.long
# More than the turns have steps, by way of RADIUS and by way of the API.
BY_RADIUS, BY_API = 16, 23


async def die(world: World, workers: int) -> list[int]:
    """Let so many workers, each on a router of its own, die at another step each: how they ended."""
    routers = [world.routers[f"r{number}"].id.hex for number in range(workers)]
    command = [sys.executable, "-m", "tests.network.crashing", world.house.tenant.id.hex, *routers]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=environment(world.settings), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    ended: list[int] = json.loads(said)
    # Half a minute later what they held is nobody's.
    past = clock.now() - timedelta(seconds=1)
    async with world.database.transaction(world.house.tenant.id) as session:
        await session.execute(update(Router).where(Router.lane.is_not(None)).values(lane_until=past))
        await session.execute(update(Job).where(Job.status == JobStatus.RUNNING).values(next_attempt_at=past))
    return ended


def all_steps(ended: list[int], least: int) -> None:
    """One has died at each step there is, and the last ones found no more of them."""
    count = ended.count(DIED)
    assert least <= count < len(ended)
    assert ended == [DIED] * count + [0] * (len(ended) - count)


async def sessions(world: World, line: Line) -> list[bool]:
    """For each session there ever was whether it is open."""
    async with world.database.read(world.house.tenant.id) as session:
        rows = select(Session.stopped_at).where(Session.username == line.service.username).order_by(Session.id)
        return [stopped is None for stopped in await session.scalars(rows)]


async def test_whatever_was_begun_is_ended_once(world: World):
    await asyncio.gather(*(world.router(f"r{number}", f"127.0.1.{number + 1}") for number in range(BY_API)))
    lines = [await world.line(f"r{number}") for number in range(BY_API)]

    # Suspended, and found suspended.
    world.working.clear()
    suspended = [key for line in lines for key in await world.suspend(line)]
    all_steps(await die(world, BY_RADIUS), 12)
    world.working.set()
    await world.succeeded(suspended)
    for line in lines:
        assert line.device.state == "offline"
        assert await sessions(world, line) == [False]
        assert (await world.network(line))["state"] == "APPLIED"

    await world.succeeded([key for line in lines for key in await world.activate(line)])
    for line in lines:
        line.device.switch_on()
    for line in lines:
        await until(lambda line=line: line.device.state == "online")
        await until(lambda line=line: world.open_sessions(line.service.username))

    # Suspended by way of the API, and activated while nobody does anything: who has dialed by then stays.
    world.working.clear()
    for nas in world.lab.routers.values():
        nas.incoming.faults.silent = True
    suspended = [key for line in lines for key in await world.suspend(line)]
    all_steps(await die(world, BY_API), 16)
    activated = [key for line in lines for key in await world.activate(line)]
    for line in lines:
        line.device.switch_on()
        await until(lambda line=line: line.device.state == "online")
    begun = [line.device.session.session_id for line in lines]
    world.working.set()
    await world.succeeded(activated)
    assert {job.status for job in await world.ended(suspended)} == {JobStatus.CANCELLED, JobStatus.SUCCEEDED}
    assert [line.device.session.session_id for line in lines] == begun
    for line in lines:
        assert line.device.dials <= 3
        assert (await sessions(world, line)).count(True) == 1
        assert (await world.network(line))["state"] == "APPLIED"

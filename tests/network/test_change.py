"""Changes while sessions go on: another rate, logins on their way, and many changes at once."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select

from ispgraph import clock, ids
from ispgraph.actors import endings
from ispgraph.actors.lanes import LaneRunner
from ispgraph.domain.models import AuditEntry, Job, JobStatus, Router, Suspension, Tenant
from ispgraph.lab.nas import Nas
from tests.network.world import ACTION, Line, World, until

FASTER = {"name": "Home 50", "download_kbps": 50_000, "upload_kbps": 10_000}


def queue_of(nas: Nas, name: str) -> str | None:
    """The rate that a session's queue has."""
    table = nas.router.table("/queue/simple")
    return next((table.get(item, "max-limit") for item in table.find(name=f"<pppoe-{name}>")), None)


async def test_another_rate_does_not_end_a_session(world: World):
    nas = await world.router()
    line = await world.line()
    begun = line.device.session.session_id
    (before,) = await world.open_sessions("line1")

    (key,) = await world.sell(line, await world.house.package(**FASTER))
    await world.succeeded([key])

    assert await world.steps(key) == [("RADIUS_SQL", "VERIFIED"), ("COA", "ACK"), ("ROUTEROS", "VERIFIED")]
    assert line.device.session.session_id == begun
    assert queue_of(nas, "line1") == "10000000/50000000"
    (after,) = await world.open_sessions("line1")
    assert (after.id, after.policy) == (before.id, before.policy)
    assert after.rate != before.rate
    assert (await world.network(line))["state"] == "APPLIED"

    # To say it again is to change nothing.
    requests = nas.incoming.counters.requests
    (key,) = await world.sell(line, world.package)
    await world.succeeded([key])
    (again,) = await world.open_sessions("line1")
    assert again.rate == before.rate
    assert nas.incoming.counters.requests == requests + 1
    assert line.device.session.session_id == begun


async def test_a_rate_that_was_only_promised_ends_the_session(world: World):
    nas = await world.router()
    line = await world.line(redial=0.05)
    nas.incoming.faults.no_effect = True

    (key,) = await world.sell(line, await world.house.package(**FASTER))
    await world.succeeded([key])

    assert await world.steps(key) == [
        ("RADIUS_SQL", "VERIFIED"),
        ("COA", "ACK"),
        ("ROUTEROS", "REFUSED"),
        ("DISCONNECT", "ACK"),
        ("ROUTEROS", "APPLIED"),
        ("ROUTEROS", "VERIFIED"),
    ]
    await until(lambda: line.device.state == "online")
    assert line.device.dials == 2
    assert queue_of(nas, "line1") == "10000000/50000000"


async def test_who_was_let_in_just_before_is_ended_when_it_becomes_known(world: World):
    nas = await world.router(login=False)
    line = await world.line(online=False)
    told = held_up(nas)
    line.device.switch_on()
    await until(lambda: line.device.state == "online")

    (key,) = await world.suspend(line)
    await world.succeeded([key])

    # Nobody could know: the session has not been told of yet, and there is no login to look for it.
    assert line.device.state == "online"
    assert await world.steps(key) == [("RADIUS_SQL", "VERIFIED")]
    told.set()
    await until(lambda: line.device.state == "offline")
    await until(lambda: ended(world, "line1"))
    line.device.switch_on()
    await until(lambda: line.device.state == "refused")
    assert (await world.network(line))["state"] == "APPLIED"


def held_up(nas: Nas) -> asyncio.Event:
    """Accounting of this router is on its way until the event is set."""
    told, account = asyncio.Event(), nas.client.account

    async def later(*arguments, **named):
        await told.wait()
        return await account(*arguments, **named)

    nas.client.account = later
    return told


async def ended(world: World, name: str) -> bool:
    """Whether no session of a user is open in the books."""
    return await world.open_sessions(name) == []


async def test_who_was_let_in_just_before_moves_behind_the_wall(world: World):
    nas = await world.router()
    await world.change(Tenant, world.house.tenant.id, suspension=Suspension.WALLED_GARDEN, walled_pool="walled")
    line = await world.line(online=False, redial=0.05)
    told = held_up(nas)
    line.device.switch_on()
    await until(lambda: line.device.state == "online")
    assert line.device.session.address.startswith("10.64.")

    await world.succeeded(await world.suspend(line))

    assert line.device.session.address.startswith("10.64.")
    told.set()
    await until(lambda: line.device.state == "online" and line.device.session.address.startswith("10.99."))
    assert line.device.dials == 2


async def test_who_comes_in_after_an_activation_is_not_thrown_out_by_the_suspension(world: World, monkeypatch):
    """The suspension is still at it when somebody withdraws it, and the device has dialed at once."""
    await world.router()
    line = await world.line()
    old = endings.end
    done = asyncio.Event()

    async def slow(turn, endings_):
        await old(turn, endings_)
        done.set()
        await until(lambda: line.device.state == "online")

    monkeypatch.setattr(endings, "end", slow)
    (suspended,) = await world.suspend(line)
    await done.wait()
    monkeypatch.setattr(endings, "end", old)
    (activated,) = await world.activate(line)
    line.device.switch_on()

    await world.succeeded([suspended, activated])

    assert line.device.state == "online"
    assert line.device.dials == 2
    assert (await world.network(line))["state"] == "APPLIED"


async def test_who_has_lost_the_lane_writes_nothing_more(world: World, monkeypatch):
    await world.router()
    line = await world.line()
    router = world.routers["north"]
    old, turns = endings.end, []

    async def slow(turn, endings_):
        turns.extend(world.lanes._turns.values())
        await world.change(Router, router.id, lane=ids.uuid7(), lane_until=clock.now() + timedelta(seconds=1))
        await old(turn, endings_)

    monkeypatch.setattr(endings, "end", slow)
    (key,) = await world.suspend(line)
    await until(lambda: turns and turns[0].done())
    monkeypatch.setattr(endings, "end", old)

    assert turns[0].exception() is None
    assert await world.steps(key) == [("RADIUS_SQL", "VERIFIED")]
    job = await world.job(key)
    assert job.status is JobStatus.RUNNING
    # Its own lease ends as well, and the next one finds the session gone.
    await world.change(Job, job.id, next_attempt_at=clock.now())
    await world.succeeded([key])
    assert line.device.state == "offline"
    assert await world.open_sessions("line1") == []


@pytest.mark.long
async def test_of_two_hundred_changes_at_once_the_last_one_counts(world: World):
    nas = await world.router()
    line = await world.line(redial=0.05)
    line.device.patient = False
    other = LaneRunner(world.database, world.settings)
    rivalry = asyncio.create_task(rival(world, other))

    answers = await asyncio.gather(*(change(world, line, number) for number in range(200)))

    keys = [job["id"] for answer in answers for job in answer["jobs"]]
    codes = {error["code"] for answer in answers for error in answer["errors"]}
    assert codes <= {"NO_CHANGE"}
    assert len(keys) > 2
    jobs = await world.ended(keys)
    assert {job.status for job in jobs} <= {JobStatus.SUCCEEDED, JobStatus.CANCELLED}
    last = await last_action(world, line)
    wanted = "online" if last == "customer.activate" else "refused"
    await until(lambda: line.device.state == wanted)
    network = await world.network(line)
    assert network["state"] == "APPLIED"
    assert network["desiredVersion"] == network["appliedVersion"] == len(keys) + 1
    assert nas.router.counters.highest_connections == 1
    rivalry.cancel()
    await other.finish(0)


async def change(world: World, line: Line, number: int) -> dict:
    """Suspend or activate, in turn: the payload."""
    action = "Suspend" if number % 2 == 0 else "Activate"
    given = {"customerId": line.id} | ({"reason": "OTHER"} if action == "Suspend" else {})
    answer = await world.api.data(ACTION % (action, action), world.house.admin, input=given)
    return answer[f"customer{action}"]


async def rival(world: World, runner: LaneRunner) -> None:
    """A second worker that hears of everything as well."""
    while True:
        await runner.run_lane(world.house.tenant.id.hex, world.routers["north"].id.hex)
        await asyncio.sleep(0.01)


async def last_action(world: World, line: Line) -> str:
    """What was done to a customer last."""
    async with world.database.read(world.house.tenant.id) as session:
        rows = select(AuditEntry.action).where(AuditEntry.subject_id == line.customer.id)
        return (await session.scalars(rows.order_by(AuditEntry.id.desc()).limit(1))).one()

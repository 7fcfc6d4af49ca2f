"""Routers that cannot be reached, do not answer, or do not do what they say."""

import asyncio

import pytest

from ispgraph.actors.turns import Turn
from ispgraph.domain.models import JobStatus
from ispgraph.domain.network import lanes
from tests.network.world import World, until

SAID = "RADIUS_SQL", "VERIFIED"
REMOVED = [("ROUTEROS", "APPLIED"), ("ROUTEROS", "VERIFIED")]


def away(nas) -> None:
    """Nothing of this router answers."""
    nas.router.faults.set(refuse=True)
    nas.incoming.faults.silent = True


def back(nas) -> None:
    """Everything answers again."""
    nas.router.faults.clear()
    nas.incoming.faults.silent = False


async def test_a_suspension_waits_for_the_router_and_says_so(world: World):
    nas = await world.router()
    line = await world.line()
    away(nas)

    (key,) = await world.suspend(line)
    before = await world.failures("north")
    # More often than any job is tried: waiting is no attempt.
    await until(lambda: world.failures("north", before + 10), 30)

    job = await world.job(key)
    row = await world.row("north")
    assert job.status is JobStatus.QUEUED
    assert job.attempts == 0
    assert job.message is not None
    assert f"the router north, out of reach since {row.unreachable_since:%Y-%m-%d %H:%M:%S} UTC" in job.message
    network = await world.network(line)
    assert (network["state"], network["problem"]) == ("UNREACHABLE", job.message)
    assert network["desiredVersion"] == network["appliedVersion"] + 1
    assert line.device.state == "online"

    back(nas)
    await world.succeeded([key])
    assert line.device.state == "offline"
    assert await world.open_sessions("line1") == []
    network = await world.network(line)
    assert (network["state"], network["problem"]) == ("APPLIED", None)
    assert network["desiredVersion"] == network["appliedVersion"]
    row = await world.row("north")
    assert (row.failures, row.unreachable_since, row.retry_at) == (0, None, None)


@pytest.mark.long
async def test_a_suspension_that_was_withdrawn_meanwhile_ends_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    nas = await world.router()
    line = await world.line()
    begun = line.device.session.session_id
    away(nas)
    # Time enough to change one's mind before it is tried once more.
    monkeypatch.setattr(lanes, "_SHORTEST", 4.0)
    monkeypatch.setattr(lanes, "_LONGEST", 4.0)
    (suspended,) = await world.suspend(line)
    await until(lambda: world.failures("north", lanes.FAILURES))

    (activated,) = await world.activate(line)
    back(nas)

    jobs = await world.ended([suspended, activated])
    assert [job.status for job in jobs] == [JobStatus.CANCELLED, JobStatus.SUCCEEDED]
    assert line.device.session.session_id == begun
    assert len(await world.open_sessions("line1")) == 1
    assert (await world.network(line))["state"] == "APPLIED"
    assert nas.incoming.counters.requests == 0


@pytest.mark.parametrize(
    ("fault", "answer"),
    [({"no_effect": True}, "ACK"), ({"silent": True}, "TIMEOUT"), ({"nak": 503}, "NAK"), ({"nak": 0}, "NAK")],
)
async def test_what_disconnect_does_not_end_is_removed_over_the_api(world: World, fault, answer):
    nas = await world.router()
    line = await world.line()
    for name, value in fault.items():
        setattr(nas.incoming.faults, name, value)

    jobs = await world.suspend(line)
    await world.succeeded(jobs)

    assert await world.steps(jobs[0]) == [SAID, ("DISCONNECT", answer), *REMOVED]
    assert line.device.state == "offline"
    assert await world.open_sessions("line1") == []
    assert (await world.network(line))["state"] == "APPLIED"


async def test_without_a_login_silence_is_waited_out(world: World):
    nas = await world.router(login=False)
    line = await world.line()
    nas.incoming.faults.silent = True

    (key,) = await world.suspend(line)
    await until(lambda: world.failures("north", 4))
    job = await world.job(key)
    assert job.status is JobStatus.QUEUED
    assert "no login for the router's API" in (job.message or "")
    assert (await world.network(line))["state"] == "UNREACHABLE"

    nas.incoming.faults.silent = False
    await world.succeeded([key])
    assert line.device.state == "offline"
    assert (await world.steps(key))[-2:] == [("DISCONNECT", "ACK"), ("DISCONNECT", "VERIFIED")]
    assert (await world.network(line))["state"] == "APPLIED"
    # An answer over RADIUS is a sign of life as well.
    row = await world.row("north")
    assert (row.failures, row.unreachable_since) == (0, None)


async def test_a_hanging_api_does_not_hold_up_what_radius_can_do(world: World):
    nas = await world.router()
    line = await world.line()
    nas.router.faults.set(hang=True)

    begun = asyncio.get_running_loop().time()
    (key,) = await world.suspend(line)
    await until(lambda: line.device.state == "offline")
    assert asyncio.get_running_loop().time() - begun < 0.9

    await world.succeeded([key])
    assert await world.steps(key) == [
        SAID,
        ("DISCONNECT", "ACK"),
        ("DISCONNECT", "VERIFIED"),
        ("ROUTEROS", "UNREACHABLE"),
    ]
    assert (await world.network(line))["state"] == "APPLIED"


async def test_a_removal_whose_answer_was_lost_is_looked_for(world: World):
    nas = await world.router()
    line = await world.line()
    nas.incoming.faults.silent = True
    nas.router.faults.set(lose_answers=["/ppp/active/remove"])

    jobs = await world.suspend(line)
    await world.succeeded(jobs)

    assert await world.steps(jobs[0]) == [
        SAID,
        ("DISCONNECT", "TIMEOUT"),
        ("ROUTEROS", "TIMEOUT"),
        ("ROUTEROS", "VERIFIED"),
    ]
    assert line.device.state == "offline"
    assert await world.open_sessions("line1") == []


async def test_who_has_dialed_again_is_not_ended_a_second_time(world: World, monkeypatch: pytest.MonkeyPatch):
    nas = await world.router()
    line = await world.line(redial=0.05)
    first = line.device.session.session_id
    nas.incoming.faults.silent = True
    nas.router.faults.set(lose_answers=["/ppp/active/remove"])
    reconnect = Turn.reconnect

    async def later(turn: Turn) -> None:
        await until(lambda: line.device.state == "online" and line.device.dials == 2)
        await reconnect(turn)

    monkeypatch.setattr(Turn, "reconnect", later)

    (job,) = (await world.act("Disconnect", line))["jobs"]
    await world.succeeded([job["id"]])

    assert line.device.state == "online"
    assert line.device.session.session_id != first
    assert line.device.dials == 2
    (row,) = await world.open_sessions("line1")
    assert row.acct_session_id == line.device.session.session_id

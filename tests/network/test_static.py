"""Static addresses: a queue and an entry of an address list on the router, which are nobody else's."""

from typing import Any

import pytest

from ispgraph.domain.models import ConnectionType, JobStatus
from ispgraph.lab.faults import Trap
from ispgraph.lab.nas import Nas
from tests.network.world import Line, World, until

ADDRESS = "10.70.0.9"


async def static(world: World) -> Line:
    """A customer with an address of his own, and the host behind it."""
    return await world.line(kind=ConnectionType.STATIC_IP, ip_address=ADDRESS)


def queues(nas: Nas) -> list[dict[str, Any]]:
    """The simple queues of a router."""
    return [dict(item.values) for item in nas.router.table("/queue/simple")]


def listed(nas: Nas) -> list[tuple[str, str]]:
    """The entries of a router's address lists."""
    return [(item.values["list"], item.values["address"]) for item in nas.router.table("/ip/firewall/address-list")]


async def test_queue_and_list_follow_the_service(world: World):
    nas = await world.router()
    line = await static(world)
    host = line.device.host
    assert host.meter.rate_down == 1_000_000

    (key,) = await world.suspend(line)
    await world.succeeded([key])

    (queue,) = queues(nas)
    assert (queue["name"], queue["target"], queue["max-limit"]) == ("ispgraph-line1", f"{ADDRESS}/32", "512000/512000")
    assert queue["comment"].startswith("ispgraph:svc_")
    assert listed(nas) == [("suspended", ADDRESS)]
    # The wall keeps new connections out; those that were there are cut.
    assert host.connections == []
    assert host.meter.rate_down == 0
    assert await world.steps(key) == [
        ("RADIUS_SQL", "VERIFIED"),
        *[("ROUTEROS", "APPLIED"), ("ROUTEROS", "VERIFIED")] * 2,
        ("ROUTEROS", "APPLIED"),
    ]
    assert (await world.network(line))["state"] == "APPLIED"

    (key,) = await world.activate(line)
    await world.succeeded([key])
    (queue,) = queues(nas)
    assert queue["max-limit"] == "5000000/20000000"
    assert listed(nas) == []
    await until(lambda: host.meter.rate_down == 1_000_000)

    slower = await world.house.package("Home 5", download_kbps=500, upload_kbps=500)
    keys = await world.sell(line, slower)
    await world.succeeded(keys)
    assert [row["max-limit"] for row in queues(nas)] == ["500000/500000"]
    assert host.meter.rate_down == 500_000
    assert nas.router.counters.highest_connections == 1


async def test_disconnecting_cuts_the_connections(world: World):
    await world.router()
    line = await static(world)
    before = {id(item) for item in line.device.host.connections}
    assert len(before) == 3

    (job,) = (await world.act("Disconnect", line))["jobs"]
    await world.succeeded([job["id"]])

    assert await world.steps(job["id"]) == [("ROUTEROS", "APPLIED")]
    assert not before & {id(item) for item in line.device.host.connections}
    # What was not forbidden may begin anew.
    await until(lambda: len(line.device.host.connections) == 3)


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("/queue/simple", {"name": "ispgraph-line1", "target": "10.70.0.200/32"}),
        ("/ip/firewall/address-list", {"list": "suspended", "address": ADDRESS}),
    ],
)
async def test_what_somebody_else_made_is_not_touched(world: World, path: str, values: dict[str, str]):
    nas = await world.router()
    line = await static(world)
    nas.router.create(path, {**values, "comment": "by hand"})
    (before,) = [dict(item.values) for item in nas.router.table(path)]

    (key,) = await world.suspend(line)

    (job,) = await world.ended([key])
    assert job.status is JobStatus.FAILED
    assert job.message == f"The router has an item of somebody else's in {path} where ours should be."
    network = await world.network(line)
    assert (network["state"], network["problem"]) == ("FAILED", job.message)
    (drift,) = network["drift"]
    assert (drift["path"], drift["property"], drift["observed"]) == (path, "comment", "by hand")
    assert drift["expected"].startswith("ispgraph:svc_")
    assert [dict(item.values) for item in nas.router.table(path)] == [before]


@pytest.mark.parametrize("message", ["unknown parameter max-limit", "not enough permissions (9)"])
async def test_what_a_router_refuses_is_not_asked_for_ever(world: World, message: str):
    nas = await world.router()
    line = await static(world)
    nas.router.faults.set(traps=[Trap("/queue/simple/add", message, once=False)])

    (key,) = await world.suspend(line)

    (job,) = await world.ended([key])
    assert (job.status, job.attempts) == (JobStatus.FAILED, 1)
    assert message in (job.message or "")
    assert nas.router.counters.commands["/queue/simple/add"] == 1
    network = await world.network(line)
    assert (network["state"], network["problem"]) == ("FAILED", job.message)


async def test_a_login_that_may_only_read(world: World):
    nas = await world.router()
    line = await static(world)
    nas.router.users["ispgraph"] = ("router password", "read")

    (key,) = await world.suspend(line)

    (job,) = await world.ended([key])
    assert (job.status, job.attempts) == (JobStatus.FAILED, 1)
    assert "Our login may not do this" in (job.message or "")


async def test_a_wrong_password_is_tried_three_times(world: World):
    nas = await world.router()
    line = await static(world)
    nas.router.users["ispgraph"] = ("another password", "full")

    (key,) = await world.suspend(line)

    (job,) = await world.ended([key])
    assert (job.status, job.attempts) == (JobStatus.FAILED, 3)
    assert "The login was refused" in (job.message or "")
    assert (await world.network(line))["state"] == "FAILED"


async def test_a_router_that_is_still_starting_is_waited_for(world: World):
    nas = await world.router()
    line = await static(world)
    nas.router.faults.set(failing_logins=2)

    await world.succeeded(await world.suspend(line))

    assert listed(nas) == [("suspended", ADDRESS)]


async def test_an_addition_whose_answer_was_lost_is_not_made_twice(world: World):
    nas = await world.router()
    line = await static(world)
    nas.router.faults.set(lose_answers=["/queue/simple/add", "/ip/firewall/address-list/add"])

    (key,) = await world.suspend(line)

    await world.succeeded([key])
    assert len(queues(nas)) == 1
    assert len(listed(nas)) == 1
    assert line.device.host.connections == []
    assert (await world.network(line))["state"] == "APPLIED"

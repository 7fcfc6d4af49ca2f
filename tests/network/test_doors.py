"""The walled garden, hotspots, and several sessions of one service."""

from typing import Any

from ispgraph import ids
from ispgraph.domain.models import ConnectionType, Suspension, Tenant
from ispgraph.lab.nas import Nas
from ispgraph.lab.orders import SubscriberOrder
from tests.network.world import PASSWORD, Line, World, until

WALLED = {"suspension": Suspension.WALLED_GARDEN, "walled_pool": "walled"}


def shown(nas: Nas, path: str) -> list[dict[str, Any]]:
    """The items of a menu as they are."""
    table = nas.router.table(path)
    return [dict(item.values) for item in table]


def lists(line: Line) -> list[str]:
    """The address lists in which a device's address stands."""
    return line.device.nas.hosts.lists(line.device.session.address)


async def second_device(world: World, line: Line, router: str):
    """Another device with the same login, behind another router."""
    order = {"name": "second", "username": line.service.username, "password": PASSWORD, "router": router}
    order |= {"online": True, "redial_seconds": None}
    device = world.lab.add_subscriber(SubscriberOrder.read(order))
    await until(lambda: device.state == "online")
    return device


async def test_the_suspended_dial_into_the_walled_garden(world: World):
    nas = await world.router()
    await world.change(Tenant, world.house.tenant.id, **WALLED)
    line = await world.line(redial=0.05)
    assert line.device.session.address.startswith("10.64.")

    jobs = await world.suspend(line)
    await world.succeeded(jobs)
    await until(lambda: line.device.state == "online")

    assert line.device.dials == 2
    assert line.device.session.address.startswith("10.99.")
    assert lists(line) == ["suspended"]
    assert (line.device.session.grant.rate.up, line.device.session.grant.rate.down) == (512_000, 512_000)
    assert (await world.steps(jobs[0]))[:3] == [
        ("RADIUS_SQL", "VERIFIED"),
        ("DISCONNECT", "ACK"),
        ("DISCONNECT", "VERIFIED"),
    ]
    network = await world.network(line)
    assert (network["state"], network["drift"]) == ("APPLIED", [])

    await world.succeeded(await world.activate(line))
    await until(lambda: line.device.state == "online" and line.device.dials == 3)
    assert line.device.session.address.startswith("10.64.")
    assert lists(line) == []
    assert line.device.session.grant.rate.down == 20_000_000
    assert nas.router.counters.highest_connections == 1


async def test_no_garden_for_a_violation(world: World):
    await world.router()
    await world.change(Tenant, world.house.tenant.id, **WALLED)
    line = await world.line()

    await world.succeeded(await world.suspend(line, reason="VIOLATION"))

    line.device.switch_on()
    await until(lambda: line.device.state == "refused")
    assert (await world.network(line))["state"] == "APPLIED"


async def test_a_suspended_hotspot_user_is_off_and_his_cookie_gone(world: World):
    nas = await world.router()
    line = await world.line(kind=ConnectionType.HOTSPOT, ip_address="10.64.0.77")
    for user in ("line1", "other"):
        nas.router.table("/ip/hotspot/cookie").add({"user": user, "mac-address": "02:00:00:00:00:01"})

    jobs = await world.suspend(line)
    await world.succeeded(jobs)

    assert ("DISCONNECT", "ACK") in await world.steps(jobs[0])
    assert shown(nas, "/ip/hotspot/active") == []
    assert [row["user"] for row in shown(nas, "/ip/hotspot/cookie")] == ["other"]
    assert await world.open_sessions("line1") == []
    line.device.switch_on()
    await until(lambda: line.device.state == "refused")


async def test_a_hotspot_session_is_removed_over_the_api(world: World):
    nas = await world.router()
    line = await world.line(kind=ConnectionType.HOTSPOT, ip_address="10.64.0.77")
    nas.incoming.faults.silent = True

    (job,) = (await world.act("Disconnect", line))["jobs"]
    await world.succeeded([job["id"]])

    assert await world.steps(job["id"]) == [
        ("DISCONNECT", "TIMEOUT"),
        ("ROUTEROS", "APPLIED"),
        ("ROUTEROS", "VERIFIED"),
    ]
    assert shown(nas, "/ip/hotspot/active") == []
    assert await world.open_sessions("line1") == []


async def test_sessions_on_two_routers_are_two_jobs(world: World):
    await world.router()
    await world.router("south", "127.0.0.12")
    line = await world.line(fixed=False)
    other = await second_device(world, line, "south")
    await until(lambda: two_open(world))

    jobs = await world.suspend(line)

    assert len(jobs) == 2
    await world.succeeded(jobs)
    assert {(await world.job(key)).router_id for key in jobs} == {row.id for row in world.routers.values()}
    assert [line.device.state, other.state] == ["offline", "offline"]
    assert await world.open_sessions("line1") == []
    assert (await world.network(line))["state"] == "APPLIED"


async def two_open(world: World) -> bool:
    """Whether both sessions are in the books."""
    return len(await world.open_sessions("line1")) == 2


async def test_one_router_of_two_is_not_enough(world: World):
    await world.router()
    far = await world.router("south", "127.0.0.12")
    line = await world.line(fixed=False)
    other = await second_device(world, line, "south")
    await until(lambda: two_open(world))
    far.incoming.faults.silent = True
    far.router.faults.set(refuse=True)

    jobs = await world.suspend(line)
    await until(lambda: line.device.state == "offline")
    await until(lambda: world.failures("south", 3))

    assert other.state == "online"
    network = await world.network(line)
    assert network["state"] == "UNREACHABLE"
    assert "south" in network["problem"]
    assert network["appliedVersion"] < network["desiredVersion"]
    far.incoming.faults.silent = False
    await world.succeeded(jobs)
    assert other.state == "offline"
    assert (await world.network(line))["state"] == "APPLIED"


async def test_one_chosen_session_ends_and_the_other_goes_on(world: World):
    await world.router()
    await world.router("south", "127.0.0.12")
    line = await world.line(fixed=False)
    other = await second_device(world, line, "south")
    await until(lambda: two_open(world))
    (row,) = [one for one in await world.open_sessions("line1") if one.router_id == world.routers["south"].id]

    (job,) = (await world.act("Disconnect", line, sessionId=ids.encode("ses", row.id)))["jobs"]
    await world.succeeded([job["id"]])

    assert [line.device.state, other.state] == ["online", "offline"]
    (job,) = (await world.act("Disconnect", line))["jobs"]
    await world.succeeded([job["id"]])
    assert line.device.state == "offline"
    # Nothing was said of the service itself.
    line.device.switch_on()
    await until(lambda: line.device.state == "online")


async def test_a_session_that_is_gone_already_needs_nothing(world: World):
    nas = await world.router()
    line = await world.line()
    world.working.clear()
    (job,) = (await world.act("Disconnect", line))["jobs"]
    line.device.hang_up()
    await until(lambda: none_open(world))

    world.working.set()
    await world.succeeded([job["id"]])

    assert (await world.job(job["id"])).message == "The session has ended. Nothing was to do."
    assert await world.steps(job["id"]) == []
    assert nas.incoming.counters.requests == 0


async def none_open(world: World) -> bool:
    """Whether the session has ended in the books."""
    return await world.open_sessions("line1") == []

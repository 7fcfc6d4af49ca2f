"""The same with the RADIUS server that most providers have."""

from ispgraph.domain.models import Suspension, Tenant
from tests.network.world import World, until
from tests.radius.conftest import needs_freeradius

pytestmark = needs_freeradius
DISCONNECTED = [("DISCONNECT", "ACK"), ("DISCONNECT", "VERIFIED")]


async def test_suspended_walled_disconnected_activated(freeradius_world: World):
    world = freeradius_world
    nas = await world.router()
    line = await world.line(redial=0.05)
    first = line.device.session.session_id

    (job,) = (await world.act("Disconnect", line))["jobs"]
    await world.succeeded([job["id"]])
    assert await world.steps(job["id"]) == DISCONNECTED
    await until(lambda: line.device.state == "online")
    assert line.device.session.session_id != first

    (key,) = await world.suspend(line)
    await world.succeeded([key])
    assert await world.steps(key) == [("RADIUS_SQL", "VERIFIED"), *DISCONNECTED]
    assert (await world.network(line))["state"] == "APPLIED"
    await until(lambda: line.device.state == "refused")
    assert line.device.message == "Account suspended"
    assert await world.open_sessions("line1") == []

    await world.succeeded(await world.activate(line))
    await until(lambda: line.device.state == "online")
    await until(lambda: known(world))
    assert line.device.session.address.startswith("10.64.")

    await world.change(Tenant, world.house.tenant.id, suspension=Suspension.WALLED_GARDEN, walled_pool="walled")
    (key,) = await world.suspend(line)
    await world.succeeded([key])
    assert await world.steps(key) == [("RADIUS_SQL", "VERIFIED"), *DISCONNECTED]
    await until(lambda: line.device.state == "online" and line.device.session.address.startswith("10.99."))
    await until(lambda: known(world))
    assert line.device.session.grant.lists == ("suspended",)

    (key,) = await world.activate(line)
    await world.succeeded([key])
    assert await world.steps(key) == [("RADIUS_SQL", "VERIFIED"), *DISCONNECTED]
    await until(lambda: line.device.state == "online" and line.device.session.address.startswith("10.64."))
    assert (await world.network(line))["state"] == "APPLIED"
    assert nas.router.counters.highest_connections == 1


async def known(world: World) -> bool:
    """Whether the session that goes on is in the books."""
    return len(await world.open_sessions("line1")) == 1

"""Suspending and activating, to the session's verified end."""

from tests.network.world import World, until


async def test_a_suspended_customer_is_off_and_an_activated_one_is_on(world: World):
    nas = await world.router()
    line = await world.line()

    jobs = await world.suspend(line)
    await world.succeeded(jobs)

    assert await world.steps(jobs[0]) == [
        ("RADIUS_SQL", "VERIFIED"),
        ("DISCONNECT", "ACK"),
        ("DISCONNECT", "VERIFIED"),
    ]
    assert line.device.state == "offline"
    assert await world.open_sessions("line1") == []
    assert (await world.network(line))["state"] == "APPLIED"
    line.device.switch_on()
    await until(lambda: line.device.state == "refused")
    assert line.device.message == "Account suspended"

    jobs = await world.activate(line)
    await world.succeeded(jobs)
    line.device.switch_on()
    await until(lambda: line.device.state == "online")
    assert nas.router.counters.highest_connections == 1

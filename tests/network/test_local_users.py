"""Users that routers keep themselves: on purpose, and in the way of RADIUS."""

from typing import Any

from ispgraph.domain.models import JobStatus, RouterMode, Suspension, Tenant
from ispgraph.lab.nas import Nas
from tests.network.world import PASSWORD, World, until


def secrets(nas: Nas) -> dict[str, dict[str, Any]]:
    """The users that a router keeps, by name."""
    table = nas.router.table("/ppp/secret")
    return {item.values["name"]: {**item.values, "disabled": table.get(item, "disabled")} for item in table}


def add_secret(nas: Nas, name: str, **values: str) -> None:
    """A user of the router's own, who gets his address as the others do."""
    nas.router.create("/ppp/secret", {"name": name, "password": PASSWORD, "remote-address": "pool", **values})


async def test_a_local_user_defeats_a_suspension_until_it_is_put_right(world: World):
    nas = await world.router()
    line = await world.line(online=False, redial=0.05)
    add_secret(nas, "line1", comment="made by hand")
    line.device.switch_on()
    await until(lambda: line.device.state == "online")
    assert not line.device.session.grant.radius

    (key,) = await world.suspend(line)

    (job,) = await world.ended([key])
    assert job.status is JobStatus.FAILED
    assert job.message == "The router has a user line1 of its own in /ppp/secret, whom RADIUS cannot refuse."
    network = await world.network(line)
    assert (network["state"], network["problem"]) == ("FAILED", job.message)
    expected = {"path": "/ppp/secret", "property": None, "expected": None, "observed": "line1"}
    assert network["drift"] == [expected]
    assert network["appliedVersion"] < network["desiredVersion"]

    # He was thrown out, and came back.
    await until(lambda: line.device.state == "online" and line.device.dials == 2)
    (found,) = await world.router_job("Reconcile", "north", dryRun=True)
    assert found.status is JobStatus.SUCCEEDED
    assert found.message == "1 shadowing, 1 unknown session."
    assert secrets(nas)["line1"]["disabled"] == "false"
    assert (await world.row("north")).drift == [expected, expected | {"path": "/ppp/active"}]

    await world.router_job("Reconcile", "north", dryRun=False)
    assert secrets(nas)["line1"]["disabled"] == "true"
    await until(lambda: applied(world, line))
    await until(lambda: line.device.state == "refused")
    assert (await world.network(line))["drift"] == []
    assert (await world.row("north")).drift == []


async def applied(world: World, line: Any) -> bool:
    """Whether the network was found to be as it should."""
    return bool((await world.network(line))["state"] == "APPLIED")


async def test_users_of_ours_on_a_router_that_asks_radius_are_removed(world: World):
    nas = await world.router()
    line = await world.line(online=False)
    add_secret(nas, "line1", comment="ispgraph:svc_left")
    add_secret(nas, "somebody")
    line.device.switch_on()
    await until(lambda: line.device.state == "online")

    await world.succeeded(await world.suspend(line))

    assert list(secrets(nas)) == ["somebody"]
    assert line.device.state == "offline"
    assert (await world.network(line))["state"] == "APPLIED"


async def test_behind_the_wall_nobody_stays_whom_radius_did_not_let_in(world: World):
    nas = await world.router()
    await world.change(Tenant, world.house.tenant.id, suspension=Suspension.WALLED_GARDEN)
    line = await world.line(online=False, redial=0.05)
    add_secret(nas, "line1", comment="ispgraph:svc_left")
    line.device.switch_on()
    await until(lambda: line.device.state == "online")

    await world.succeeded(await world.suspend(line))

    await until(lambda: line.device.state == "online")
    assert line.device.session.grant.lists == ("suspended",)
    dials = line.device.dials
    # Who is behind the wall by RADIUS stays there, however often it is looked at.
    await world.router_job("Reconcile", "north", dryRun=False)
    assert line.device.dials == dials


async def test_a_failure_on_one_router_is_not_forgotten_for_success_on_another(world: World):
    north = await world.router()
    await world.router("south", "127.0.0.12")
    line = await world.line("south")
    await world.change(type(line.service), line.service.id, router_id=world.routers["north"].id)
    add_secret(north, "line1")
    world.working.clear()

    jobs = await world.suspend(line)
    by_router = {(await world.job(key)).router_id: key for key in jobs}
    await world.lanes.run_lane(world.house.tenant.id.hex, world.routers["north"].id.hex)
    await world.ended([by_router[world.routers["north"].id]])
    world.working.set()
    ended = await world.ended(jobs)

    assert sorted(job.status.value for job in ended) == ["FAILED", "SUCCEEDED"]
    network = await world.network(line)
    assert network["state"] == "FAILED"
    assert "line1 of its own" in network["problem"]
    assert network["appliedVersion"] < network["desiredVersion"]

    await world.router_job("Reconcile", "north", dryRun=False)
    await until(lambda: applied(world, line))


async def test_a_router_that_keeps_its_users_is_told_of_each(world: World):
    nas = await world.router(mode=RouterMode.LOCAL)
    line = await world.line(online=False)
    line.device.switch_on()
    # Here nobody is let in by RADIUS.
    await until(lambda: line.device.state == "refused")
    (key,) = await world.suspend(line)
    await world.succeeded([key])
    assert secrets(nas)["line1"]["disabled"] == "true"

    await world.succeeded(await world.activate(line))

    found = secrets(nas)["line1"]
    assert (found["disabled"], found["password"], found["profile"]) == ("false", PASSWORD, "ispgraph-5000-20000")
    assert found["comment"].startswith("ispgraph:svc_")
    line.device.switch_on()
    await until(lambda: line.device.state == "online")
    assert not line.device.session.grant.radius
    assert line.device.session.address.startswith("10.64.")
    assert line.device.session.grant.rate.down == 20_000_000

    (key,) = await world.suspend(line)
    await world.succeeded([key])
    assert line.device.state == "offline"
    assert secrets(nas)["line1"]["disabled"] == "true"
    assert (await world.network(line))["state"] == "APPLIED"
    line.device.switch_on()
    await until(lambda: line.device.state == "refused")


async def test_a_local_session_ends_although_the_answer_to_disabling_was_lost(world: World):
    nas = await world.router(mode=RouterMode.LOCAL)
    line = await world.line(online=False)
    await world.succeeded(await world.suspend(line))
    await world.succeeded(await world.activate(line))
    line.device.switch_on()
    await until(lambda: line.device.state == "online")
    nas.router.faults.set(lose_answers=["/ppp/secret/set"])

    (key,) = await world.suspend(line)

    await world.succeeded([key])
    assert ("ROUTEROS", "UNCHANGED") in await world.steps(key)
    assert line.device.state == "offline"


async def test_a_local_user_behind_the_wall(world: World):
    nas = await world.router(mode=RouterMode.LOCAL)
    await world.change(Tenant, world.house.tenant.id, suspension=Suspension.WALLED_GARDEN, walled_pool="walled")
    line = await world.line(online=False, redial=0.05)
    await world.succeeded(await world.suspend(line))
    line.device.switch_on()
    await until(lambda: line.device.state == "online")
    assert line.device.session.address.startswith("10.99.")
    nas.router.faults.set(lose_answers=["/ppp/secret/set"])

    await world.succeeded(await world.activate(line))

    await until(lambda: line.device.state == "online" and line.device.session.address.startswith("10.64."))
    assert line.device.session.grant.lists == ()


async def test_somebody_elses_user_in_our_place_is_not_touched(world: World):
    nas = await world.router(mode=RouterMode.LOCAL)
    line = await world.line(online=False)
    add_secret(nas, "line1", comment="made by hand")

    (key,) = await world.suspend(line)

    (job,) = await world.ended([key])
    assert job.status is JobStatus.FAILED
    network = await world.network(line)
    assert network["state"] == "FAILED"
    (drift,) = network["drift"]
    assert (drift["path"], drift["property"], drift["observed"]) == ("/ppp/secret", "comment", "made by hand")
    assert secrets(nas)["line1"]["disabled"] == "false"

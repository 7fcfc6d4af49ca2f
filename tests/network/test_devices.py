"""Services that are bound to devices, and what becomes of those who are on line from another."""

from typing import Any

from sqlalchemy import select

from ispgraph.domain.models import AuditEntry, ConnectionType, Router, RouterMode, Service, ServiceMac
from ispgraph.lab.nas import Nas
from ispgraph.lab.orders import SubscriberOrder
from ispgraph.lab.subscribers import Subscriber
from tests.network.world import PASSWORD, Line, World, until

REFUSED = "This account is bound to another device"
BOUND = {"path": "/ppp/secret", "property": "caller-id"}


def another(world: World, line: Line, name: str = "another", **fields: Any) -> Subscriber:
    """A second device that knows the username and the password of a line, switched off."""
    given = {"username": line.service.username, "password": PASSWORD, "router": "north", "redial_seconds": None}
    return world.lab.add_subscriber(SubscriberOrder.read({"name": name, **given, **fields}))


async def bind(world: World, line: Line, mac: str) -> list[str]:
    """Bind a line to a device: the ids of the jobs."""
    return await _act(world, "customerAddMacBinding", line, macAddress=mac)


async def _act(world: World, action: str, line: Line, **fields: str) -> list[str]:
    document = f"mutation($input: MacBindInput!) {{ {action}(input: $input) {{ jobs {{ id }} errors {{ code }} }} }}"
    given = {"customerId": line.id, **fields}
    payload = (await world.api.data(document, world.house.admin, input=given))[action]
    assert payload["errors"] == []
    return [job["id"] for job in payload["jobs"]]


async def unbind(world: World, line: Line, **fields: str) -> list[str]:
    """Set a line free: the ids of the jobs."""
    return await _act(world, "customerRemoveMacBinding", line, **fields)


def users(nas: Nas, path: str, name: str) -> dict[str, Any]:
    """A user that a router keeps."""
    (item,) = nas.router.table(path).find(name=name)
    return {**item.values}


async def on_line(world: World, device: Subscriber) -> None:
    """Switch a device on, and wait until its session is in the books."""
    device.switch_on()

    async def known() -> bool:
        rows = await world.open_sessions(device.caller.name)
        return device.state == "online" and device.caller.mac in {(row.mac_address or "").upper() for row in rows}

    await until(known)


async def macs(world: World, line: Line) -> list[str]:
    """The devices of a line."""
    async with world.database.read(world.house.tenant.id) as session:
        rows = select(ServiceMac.mac).where(ServiceMac.service_id == line.service.id)
        return [str(mac).upper() for mac in await session.scalars(rows)]


async def test_whoever_is_on_line_from_another_device_is_ended(world: World):
    await world.router()
    line = await world.line()
    assert line.device is not None
    mine, other = line.device, another(world, line)
    await on_line(world, other)
    kept = mine.session

    jobs = await bind(world, line, mine.caller.mac.replace(":", "-").lower())

    await world.succeeded(jobs)
    assert (mine.state, other.state) == ("online", "offline")
    assert mine.session is kept
    other.switch_on()
    await until(lambda: other.state == "refused")
    assert other.message == REFUSED
    assert (await world.network(line))["state"] == "APPLIED"

    await world.succeeded(await bind(world, line, other.caller.mac))
    await on_line(world, other)
    assert mine.session is kept
    # One of two is taken away: that one goes.
    await world.succeeded(await unbind(world, line, macAddress=other.caller.mac))
    assert (mine.state, other.state) == ("online", "offline")
    await world.succeeded(await unbind(world, line))
    assert mine.session is kept
    await on_line(world, other)


async def test_a_hotspot_device_that_is_set_free_no_longer_logs_in_by_itself(world: World):
    await world.router()
    line = await world.line(kind=ConnectionType.HOTSPOT, online=False)
    mac = "02:00:5E:AA:00:07"
    device = another(world, line, username=mac, password=mac, mac=mac, service="hotspot")
    await world.succeeded(await bind(world, line, mac))
    await on_line(world, device)

    await world.succeeded(await unbind(world, line))

    assert device.state == "offline"
    device.switch_on()
    await until(lambda: device.state == "refused")
    # By name it may, from whatever device.
    by_name = another(world, line, name="by name", service="hotspot")
    await on_line(world, by_name)


async def test_the_first_device_on_line_is_bound(world: World):
    await world.router()
    world.package = await world.house.package("Bound", bind_mac_on_first_login=True)
    line = await world.line(online=False)
    other = another(world, line, password="a guess")
    other.switch_on()
    await until(lambda: other.state == "refused")
    assert await macs(world, line) == []

    assert line.device is not None
    await on_line(world, line.device)

    assert await macs(world, line) == [line.device.caller.mac]
    other.caller.password = PASSWORD
    other.switch_on()
    await until(lambda: other.state == "refused" and other.message == REFUSED)
    async with world.database.read(world.house.tenant.id) as session:
        (entry,) = await session.scalars(select(AuditEntry).where(AuditEntry.action == "customer.bindMac"))
    assert (entry.operator_id, entry.subject_id) == (None, line.customer.id)
    assert entry.details == {
        "service": str(line.service.id),
        "before": [],
        "after": [line.device.caller.mac],
        "first_login": True,
    }
    # Set free, the next one is bound; whoever is on line until then has to go.
    await world.succeeded(await unbind(world, line))
    await on_line(world, other)
    assert await macs(world, line) == [other.caller.mac]
    await until(lambda: line.device.state == "offline")
    assert other.state == "online"


async def test_of_two_devices_at_once_one_is_bound_and_the_other_ended(world: World):
    await world.router()
    world.package = await world.house.package("Bound", bind_mac_on_first_login=True)
    for number in range(5):
        line = await world.line(online=False)
        assert line.device is not None
        devices = [line.device, another(world, line, name=f"another {number}")]
        for device in devices:
            device.redial_seconds = None
            device.switch_on()

        async def settled(devices: list[Subscriber] = devices, line: Line = line) -> bool:
            rows = await world.open_sessions(line.service.username)
            return sorted(device.state in ("offline", "refused") for device in devices) == [False, True] and (
                len(rows) == 1
            )

        await until(settled)
        (winner,) = [device for device in devices if device.state == "online"]
        assert await macs(world, line) == [winner.caller.mac]


async def test_a_router_that_keeps_its_users_binds_them(world: World):
    nas = await world.router(mode=RouterMode.LOCAL)
    line = await world.line(online=False)
    assert line.device is not None
    await world.succeeded(await world.suspend(line))
    await world.succeeded(await world.activate(line))
    mine, other = line.device, another(world, line)
    for device in (mine, other):
        device.switch_on()
    await until(lambda: mine.state == other.state == "online")
    kept = mine.session

    await world.succeeded(await bind(world, line, mine.caller.mac))

    assert users(nas, "/ppp/secret", "line1")["caller-id"] == mine.caller.mac
    assert mine.session is kept
    assert other.state == "offline"
    other.switch_on()
    await until(lambda: other.state == "refused")
    (found,) = await world.router_job("Reconcile", "north", dryRun=True)
    assert found.message == "Nothing differs."
    nas.router.table("/ppp/secret").change(nas.router.table("/ppp/secret").find(name="line1")[0], {"caller-id": ""})
    (found,) = await world.router_job("Reconcile", "north", dryRun=True)
    assert (await world.row("north")).drift == [BOUND | {"expected": mine.caller.mac, "observed": ""}]

    await world.succeeded(await unbind(world, line))
    assert users(nas, "/ppp/secret", "line1").get("caller-id", "") == ""
    assert mine.session is kept
    other.switch_on()
    await until(lambda: other.state == "online")


async def test_a_router_that_keeps_its_hotspot_users_binds_them(world: World):
    nas = await world.router(mode=RouterMode.LOCAL)
    line = await world.line(kind=ConnectionType.HOTSPOT, online=False)
    assert line.device is not None
    mine, other = line.device, another(world, line, service="hotspot", address="10.5.50.8")
    mine.caller.address = "10.5.50.7"
    await world.succeeded(await bind(world, line, mine.caller.mac))
    assert users(nas, "/ip/hotspot/user", "line1")["mac-address"] == mine.caller.mac
    for device in (mine, other):
        device.switch_on()
    await until(lambda: mine.state == "online" and other.state == "refused")
    (found,) = await world.router_job("Reconcile", "north", dryRun=True)
    assert found.message == "Nothing differs."

    await world.succeeded(await unbind(world, line))

    assert mine.state == "online"
    mine.hang_up()
    other.switch_on()
    await until(lambda: other.state == "online")
    (found,) = await world.router_job("Reconcile", "north", dryRun=True)
    assert found.message == "Nothing differs."


async def test_several_devices_on_a_router_that_can_bind_one(world: World):
    """It came to keep its users after they had been bound."""
    nas = await world.router()
    line = await world.line(online=False)
    for number in (1, 2):
        await world.succeeded(await bind(world, line, f"02:00:5E:AA:00:0{number}"))
    await world.change(Router, world.routers["north"].id, mode=RouterMode.LOCAL)

    (key,) = await world.suspend(line)

    (job,) = await world.ended([key])
    assert job.message == "The router can bind a user to one device only, and this service has several: it lets in any."
    network = await world.network(line)
    assert (network["state"], network["problem"]) == ("FAILED", job.message)
    assert users(nas, "/ppp/secret", "line1")["disabled"] in ("yes", "true")
    (key,) = await unbind(world, line, macAddress="02:00:5E:AA:00:01")
    await world.succeeded([key])
    assert (await world.network(line))["state"] == "APPLIED"


async def test_a_session_on_its_way_while_its_service_is_bound(world: World):
    """Let in before, begun after: where sessions begin it is noticed."""
    await world.router()
    line = await world.line(online=False)
    assert line.device is not None
    world.working.clear()
    ask, device = line.device.nas.sessions._ask, line.device

    async def slowly(*given: Any) -> Any:
        grant = await ask(*given)
        await world.house.add(ServiceMac(service_id=line.service.id, mac="02:00:5E:AA:00:09"))
        return grant

    line.device.nas.sessions._ask = slowly  # type: ignore[method-assign]
    await on_line(world, device)
    world.working.set()

    await until(lambda: device.state == "offline")
    device.switch_on()
    await until(lambda: device.state == "refused")
    assert device.message == REFUSED
    async with world.database.read(world.house.tenant.id) as session:
        assert (await session.get_one(Service, line.service.id)).desired_version == 1

"""Hotspots in the network: who has redeemed a voucher gets on line, as fast and as long as was bought."""

from typing import Any

from ispgraph import clock, ids
from ispgraph.domain.models import BillingCycle, ConnectionType, ServiceStatus
from ispgraph.lab.orders import SubscriberOrder
from ispgraph.lab.subscribers import Subscriber
from tests.network.world import World, until
from tests.vouchers.pages import Page
from tests.vouchers.stall import CREATE, RECHARGE

GIB = 2**30
DAY = 86_400
MAC = "02:00:5E:00:53:07"


async def codes(world: World, count: int) -> list[str]:
    """Vouchers of a week at 8 Mbit/s with 2 GiB."""
    package = world.package or await world.house.package(
        "Week",
        download_kbps=8_000,
        upload_kbps=2_000,
        validity_days=7,
        billing_cycle=BillingCycle.WEEKLY,
        data_quota_bytes=2 * GIB,
        connection_types=["HOTSPOT"],
    )
    world.package = package
    given = {"packageId": ids.encode("pkg", package.id), "count": count}
    made = (await world.api.data(CREATE, world.house.admin, input=given))["voucherCreateBatch"]
    assert made["errors"] == []
    return [voucher["code"] for voucher in made["vouchers"]]


async def redeem(world: World, code: str, **fields: str) -> Page:
    """At the page of the hotspot."""
    page = Page(await world.api.submit("/hotspot/north", code=code, mobile="01712345678", act="redeem", **fields))
    assert page.status == 200, page.text
    return page


def device(world: World, **fields: Any) -> Subscriber:
    """A telephone at the hotspot that signs in by itself."""
    given = {"name": "phone", "router": "north", "service": "hotspot", "redial_seconds": None, "online": True}
    return world.lab.add_subscriber(SubscriberOrder.read({**given, **fields}))


async def on_line(phone: Subscriber) -> Any:
    """What the router grants."""
    await until(lambda: phone.state in ("online", "refused"))
    assert phone.state == "online", phone.message
    return phone.session.grant


async def test_who_redeems_a_voucher_gets_on_line(world: World) -> None:
    await world.router()
    first, second = await codes(world, 2)
    page = await redeem(world, first)
    mine = {"username": page.facts["Username"], "password": page.facts["Password"]}

    phone = device(world, **mine)
    grant = await on_line(phone)
    assert (grant.rate.down, grant.rate.up, grant.limits.total) == (8_000_000, 2_000_000, 2 * GIB)
    assert 7 * DAY - 60 < grant.timeout <= 7 * DAY

    # Another one while he is on line: his session goes on, and the next one is told of all of it.
    await until(lambda: world.open_sessions(mine["username"]))
    begun = phone.session.session_id
    await redeem(world, second, **mine)
    await until(lambda: phone.session is not None and phone.session.session_id == begun)
    phone.hang_up()

    async def gone() -> bool:
        return not await world.open_sessions(mine["username"])

    await until(gone)
    phone.switch_on()
    grant = await on_line(phone)
    assert 14 * DAY - 120 < grant.timeout <= 14 * DAY
    # What the first session has used of it is little.
    assert 3 * GIB < grant.limits.total <= 4 * GIB


async def test_a_device_that_was_taken_note_of_needs_no_password(world: World) -> None:
    await world.router()
    (code,) = await codes(world, 1)
    await redeem(world, code, device="1", mac=MAC)

    phone = device(world, username=MAC, password=MAC, mac=MAC)
    assert (await on_line(phone)).rate.down == 8_000_000
    other = device(world, name="other", username=MAC, password=MAC, mac="02:00:5E:00:53:08")
    await until(lambda: other.state == "refused")


async def test_a_recharge_at_the_desk_lets_him_in_again(world: World) -> None:
    await world.router()
    (code,) = await codes(world, 1)
    assert world.package is not None
    over = {"status": ServiceStatus.EXPIRED, "expires_at": clock.now(), "package_id": world.package.id}
    line = await world.line(kind=ConnectionType.HOTSPOT, online=False, **over)
    assert line.device is not None
    line.device.switch_on()
    await until(lambda: line.device is not None and line.device.state == "refused")

    given = {"customerId": line.id, "voucherCode": code}
    done = (await world.api.data(RECHARGE, world.house.admin, input=given))["customerHotspotRecharge"]
    assert done["errors"] == []
    await world.succeeded([job["id"] for job in done["jobs"]])

    line.device.switch_on()
    grant = await on_line(line.device)
    assert (grant.rate.down, grant.limits.total) == (8_000_000, 2 * GIB)

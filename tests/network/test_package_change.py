"""Another package for who is on line: other rates at once, and a session that cannot be kept is ended."""

from datetime import timedelta

from sqlalchemy import update

from ispgraph import clock, ids
from ispgraph.domain.models import Package, Service, Tenant
from tests.billing.changing import CHANGE, QUOTE, RECHARGE
from tests.network.test_change import queue_of
from tests.network.world import Line, World, until


async def ask(world: World, line: Line, package: Package, document: str = CHANGE) -> dict:
    """The payload of a change, or a quote of it."""
    key = ids.encode("pkg", package.id)
    if document is QUOTE:
        return (await world.api.data(QUOTE, world.house.admin, customer=line.id, package=key))["changePackageQuote"]
    given = {"customerId": line.id, "packageId": key}
    done = (await world.api.data(CHANGE, world.house.admin, input=given))["customerChangePackage"]
    assert done["errors"] == []
    return done


async def test_who_is_on_line_gets_the_rates_of_another_package_at_once(world: World):
    nas = await world.router()
    line = await world.line(expires_at=clock.now() + timedelta(days=10))
    begun = line.device.session.session_id
    better = await world.house.package("Home 50", download_kbps=50_000, upload_kbps=10_000, price_minor=62_000)

    assert (await ask(world, line, better, QUOTE))["warnings"] == []
    done = await ask(world, line, better)
    (job,) = done["jobs"]
    await world.succeeded([job["id"]])

    assert await world.steps(job["id"]) == [("RADIUS_SQL", "VERIFIED"), ("COA", "ACK"), ("ROUTEROS", "VERIFIED")]
    assert line.device.session.session_id == begun
    assert queue_of(nas, "line1") == "10000000/50000000"


async def test_a_session_that_cannot_be_kept_ends(world: World):
    """Behind the wall of those whose time is over; the days that are bought lead to another pool."""
    await world.router()
    async with world.database.transaction(world.house.tenant.id) as session:
        await session.execute(update(Tenant).values(suspension="WALLED_GARDEN", walled_pool="walled"))
    line = await world.line(online=False, redial=0.05, expires_at=clock.now() - timedelta(days=1))
    line.device.switch_on()
    await until(lambda: line.device.state == "online")
    assert line.device.session.address.startswith("10.99.")
    await until(lambda: world.open_sessions("line1"))

    better = await world.house.package("Home 50", download_kbps=50_000, upload_kbps=10_000, price_minor=62_000)
    quote = await ask(world, line, better, QUOTE)
    assert quote["warnings"] == ["The open session ends, because it cannot be kept: the customer has to dial in again."]
    done = await ask(world, line, better)
    (job,) = done["jobs"]
    await world.succeeded([job["id"]])

    assert ("DISCONNECT", "ACK") in await world.steps(job["id"])
    await until(lambda: line.device.state == "online" and line.device.session.address.startswith("10.64."))
    assert line.device.dials == 2


async def test_days_that_are_bought_bring_a_service_back_on_line(world: World):
    await world.router()
    line = await world.line(online=False, status="EXPIRED", expires_at=clock.now() - timedelta(days=1))
    line.device.switch_on()
    await until(lambda: line.device.state == "refused")
    given = {"customerId": line.id, "days": 2, "method": "CASH"}
    done = (await world.api.data(RECHARGE, world.house.admin, input=given))["customerDailyRecharge"]
    assert done["errors"] == []
    await world.succeeded([job["id"] for job in done["jobs"]])
    line.device.switch_on()
    await until(lambda: line.device.state == "online")
    async with world.database.read(world.house.tenant.id) as session:
        assert (await session.get_one(Service, line.service.id)).status.value == "ACTIVE"

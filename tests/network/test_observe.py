"""What a router holds is looked at now and then without anybody asking, and nothing is changed."""

from datetime import timedelta

from ispgraph import clock
from ispgraph.domain.models import Router
from tests.network.world import World, until


async def test_drift_is_seen_without_a_job(world: World):
    nas = await world.router()
    await world.line()
    left = nas.router.create("/ppp/secret", {"name": "line1", "password": "by hand"})
    row = world.routers["north"]
    await world.change(Router, row.id, created_at=clock.now() - timedelta(minutes=20), check_at=clock.now())

    async def seen() -> bool:
        async with world.database.read(world.house.tenant.id) as session:
            return (await session.get_one(Router, row.id)).reconciled_at is not None

    await until(seen)
    async with world.database.read(world.house.tenant.id) as session:
        found = await session.get_one(Router, row.id)
    assert [(each["path"], each["observed"]) for each in found.drift] == [("/ppp/secret", "line1")]
    assert nas.router.table("/ppp/secret").get(left, "disabled") != "true"


async def test_since_when_a_router_is_away_is_kept(world: World):
    nas = await world.router()
    nas.router.faults.set(refuse=True)
    row = world.routers["north"]
    await world.change(Router, row.id, check_at=clock.now())

    async def away() -> bool:
        async with world.database.read(world.house.tenant.id) as session:
            found = await session.get_one(Router, row.id)
            return found.status.value == "OFFLINE" and found.unreachable_since is not None

    await until(away)

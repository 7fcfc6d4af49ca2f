"""Whoever has a turn on a router keeps nobody but other workers waiting."""

import asyncio

from ispgraph.domain.network import lanes
from tests.network.world import World


async def test_suspending_does_not_wait_for_a_turn_on_the_router(world: World) -> None:
    await world.router()
    line = await world.line()
    tenant_id, router_id = world.house.tenant.id, world.routers["north"].id
    # The worker has nothing to do with what follows.
    world.working.clear()
    taken = await world.database.run(tenant_id, lambda session: lanes.take(session, router_id))
    assert taken is not None
    lane, _ = taken
    async with world.database.transaction(tenant_id) as session:
        await lanes.hold(session, lane)
        async with asyncio.timeout(3):
            promised = await world.suspend(line)
    await world.database.run(tenant_id, lambda session: lanes.leave(session, lane))
    world.working.set()
    await world.succeeded(promised)

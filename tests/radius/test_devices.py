"""Binding at the first login, where two devices on two routers begin at the same moment."""

import asyncio

import asyncpg
from sqlalchemy import update

from ispgraph.db import Database
from ispgraph.domain.models import Package
from tests.radius import world
from tests.radius.conftest import Network, dsn, fetch

FIRST, SECOND = "02:00:5e:aa:00:01", "02:00:5e:aa:00:02"
START = """SELECT radius_accounting(p_username => 'alice', p_nas => $1, p_status => 1, p_session_id => $2,
  p_calling_station => $3, p_service_type => 2, p_port_type => 15)"""
MACS = """SELECT m.mac::text FROM service_macs m JOIN services s ON s.id = m.service_id AND s.tenant_id = m.tenant_id
 WHERE s.username = 'alice'"""
JOBS = """SELECT host(r.radius_address) FROM jobs j JOIN routers r ON r.id = j.router_id AND r.tenant_id = j.tenant_id
 WHERE j.kind = 'service.provision' AND j.status = 'QUEUED'"""


async def bind_alice(network: Network) -> None:
    """The package of north's alice binds, and there is a second router."""
    app, north = dsn("ispgraph_app", network.name), network.world.north
    await world.add_router(app, north, world.LATER)
    database = Database(app, pool_size=1)
    async with database.transaction(north) as session:
        binding = update(Package).where(Package.name == "Package of alice").values(bind_mac_on_first_login=True)
        await session.execute(binding)
    await database.dispose()


async def race(network: Network) -> None:
    """Two Starts: the first is not committed before the second has come."""
    one = await asyncpg.connect(dsn("ispgraph_radius", network.name))
    two = await asyncpg.connect(dsn("ispgraph_radius", network.name))
    first = one.transaction()
    await first.start()
    await one.execute(START, world.NORTH, "81000001", FIRST)
    second = asyncio.create_task(two.execute(START, world.LATER, "81000002", SECOND))
    done, _ = await asyncio.wait([second], timeout=0.5)
    assert not done, "the second waits"
    await first.commit()
    await second
    await one.close()
    await two.close()


def test_of_two_routers_at_once(network: Network) -> None:
    north = network.world.north
    asyncio.run(bind_alice(network))
    asyncio.run(race(network))
    assert fetch(network, "ispgraph_app", MACS, tenant=north) == [(FIRST,)]
    assert fetch(network, "ispgraph_app", JOBS, tenant=north) == [(world.LATER,)]

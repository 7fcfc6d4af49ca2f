"""What the network should hold for many services at once."""

import asyncpg
from sqlalchemy import text

from ispgraph.db import Database
from ispgraph.domain.network import desired
from tests import subscribers
from tests.conftest import Dsns
from tests.factories import House

MANY = 20


async def test_each_service_is_asked_about_once_whatever_the_planner_expects(house: House, dsns: Dsns) -> None:
    customer = await subscribers.customer(house)
    rows = [await subscribers.service(house, customer, is_primary=number == 0) for number in range(MANY)]
    services = [row.id for row in rows]
    superuser = await asyncpg.connect(dsns.superuser)
    name = await superuser.fetchval("SELECT current_database()")
    await superuser.execute(f"ALTER DATABASE {name} SET track_functions = 'all'")
    await superuser.close()
    database = Database(dsns.app, pool_size=1)
    async with database.read(house.tenant.id) as session:
        # So it plans when it expects a single row, of a table that has grown since it was last analyzed.
        await session.execute(text("SET LOCAL enable_hashjoin = off"))
        await session.execute(text("SET LOCAL enable_mergejoin = off"))
        found = await desired.load(session, services, None)
        calls = text("SELECT calls FROM pg_stat_xact_user_functions WHERE funcname = 'service_standing'")
        asked = await session.scalar(calls)
    await database.dispose()
    assert set(found) == set(services)
    assert asked is not None
    assert asked <= 2 * MANY

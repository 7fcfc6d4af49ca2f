"""The simulated router and the product's RADIUS, both kinds: neither knows the other's code."""

import asyncpg
import pytest

from ispgraph.lab.network import Lab
from ispgraph.lab.orders import RouterOrder, SubscriberOrder
from tests.lab.world import state, until
from tests.radius import world as cases
from tests.radius.conftest import Server, dsn, network, server

__all__ = ["network", "server"]


@pytest.mark.parametrize("protocol", ["pap", "chap", "mschap2"])
async def test_a_session_from_dial_to_stop_is_a_row(server: Server, protocol: str) -> None:
    running = server.running
    radius = {
        "server": running.address[0],
        "auth_port": running.address[1],
        "acct_port": running.accounting[1],
        "secret": cases.SECRETS[cases.SOUTH],
        "timeout": "5s",
    }
    pools = [{"name": "main", "ranges": "10.77.0.2-10.77.0.99"}]
    name = f"lab-{server.kind}-{protocol}"
    async with Lab() as lab:
        order = {"name": name, "address": cases.SOUTH, "pools": pools, "radius": radius}
        nas = await lab.add_router(RouterOrder.read(order))
        device = {"name": "southerner", "router": name, "protocol": protocol, "redial_seconds": None, "online": True}
        one = lab.add_subscriber(SubscriberOrder.read({**device, "password": "wrong"}))
        await until(lambda: one.state != "dialing", 10)
        assert one.state == "refused", one.reason
        one = lab.add_subscriber(
            SubscriberOrder.read({**device, "password": cases.PASSWORD, "load_down_bps": 80_000_000_000})
        )
        await until(lambda: one.state != "dialing", 10)
        assert one.state == "online", one.reason
        assert state(one)["rate"] is not None
        await until(lambda: nas.accounting.counters.confirmed == 1, 10)
        session = one.session
        assert session is not None
        lab.clock.advance(10)
        one.hang_up()
        await until(lambda: nas.accounting.counters.confirmed == 2, 10)
    connection = await asyncpg.connect(dsn("ispgraph_owner", server.network.name))
    await connection.execute("SELECT set_config('app.tenant_id', $1, false)", str(server.network.world.south))
    row = await connection.fetchrow(
        "SELECT * FROM sessions WHERE class = $1", (session.classes[0] if session.classes else b"").hex()
    )
    await connection.close()
    assert row is not None
    assert (row["username"], row["acct_session_id"]) == ("southerner", session.session_id)
    assert str(row["ip_address"]) == session.address
    assert row["duration_seconds"] >= 10
    assert row["output_octets"] > 0
    assert row["stopped_at"] is not None

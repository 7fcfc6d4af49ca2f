"""The demo's panel: it keeps its accounts, and can be taken away."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from ispgraph import demo_hosting
from ispgraph.domain.models import HostingServer
from ispgraph.panel import KEY, SECRET, Panel, control
from ispgraph.up.ports import free_port
from tests.factories import NETWORK_KEY, House

ACCOUNTS = "/api/v1/billing/accounts"
SAID = {"username": "ann", "email": "ann@example.net", "password": "Hosting-Pass-81", "full_name": "Ann"}


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """Who has the key."""
    async with httpx.AsyncClient(headers={"X-API-Key": KEY, "X-API-Secret": SECRET}, trust_env=False) as client:
        yield client


async def test_accounts_outlive_the_program_and_the_panel_goes_and_comes(
    tmp_path: Path, http: httpx.AsyncClient
) -> None:
    file, port = tmp_path / "panel.json", free_port()
    url = f"http://127.0.0.1:{port}{ACCOUNTS}"
    panel = Panel(port, file)
    await panel.up()
    made = (await http.post(url, json=SAID)).json()
    assert "Hosting-Pass-81" not in file.read_text()
    assert (await http.post(f"{url}/{made['id']}/suspend", json={"reason": "debts"})).status_code == 200
    async with httpx.AsyncClient(transport=httpx.ASGITransport(control(panel)), base_url="http://control") as ruler:
        assert (await ruler.get("/")).json() == {"up": True, "accounts": [made | {"status": "suspended"}]}
        for _ in range(2):
            assert (await ruler.post("/down")).json()["up"] is False
        with pytest.raises(httpx.ConnectError):
            await http.get(f"{url}/{made['id']}")
        for _ in range(2):
            assert (await ruler.post("/up")).json()["up"] is True
    assert (await http.get(f"{url}/{made['id']}")).json()["status"] == "suspended"
    await panel.down()

    again = Panel(port, file)
    await again.up()
    assert (await http.get(f"{url}/{made['id']}")).json()["username"] == "ann"
    other = (await http.post(url, json=SAID | {"username": "bob", "email": "bob@example.net"})).json()
    assert other["id"] > made["id"]
    assert (await http.post(url, json=SAID, headers={"X-API-Secret": "nps_other"})).status_code == 401
    await again.down()
    assert [one["said"]["username"] for one in json.loads(file.read_text())] == ["ann", "bob"]


async def test_the_demo_has_one_server_wherever_it_listens(house: House) -> None:
    admin = await house.viewer()
    for url in ("http://127.0.0.1:9", "http://127.0.0.1:9", "http://127.0.0.1:10"):
        async with house.database.transaction(house.tenant.id) as session:
            await demo_hosting.add(session, url, NETWORK_KEY, admin)
        async with house.database.read(house.tenant.id) as session:
            [server] = await session.scalars(select(HostingServer))
        assert (server.name, server.base_url) == ("Demo panel", url)

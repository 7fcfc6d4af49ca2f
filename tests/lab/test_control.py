"""The lab as others use it: a program, ruled over HTTP."""

import asyncio
import os
import signal
import sys
import urllib.parse
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import librouteros
import pytest

from ispgraph.lab.control import create_control
from ispgraph.lab.network import Lab
from ispgraph.up.ports import free_port
from tests.lab.server import SECRET, RadiusServer, User


class Control:
    """A client of the control API. Answers are JSON; a status of 400 and more raises."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def __call__(self, method: str, path: str, body: Any = None) -> Any:
        response = await self._http.request(method, path, json=body)
        assert response.status_code < 400, response.text
        return response.json()

    async def error(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        """Status and text of a refusal."""
        response = await self._http.request(method, path, json=body)
        return response.status_code, response.json()["error"]

    async def until(self, path: str, true: Callable[[Any], object], seconds: float = 5) -> Any:
        """Read again and again until it says what is wanted."""
        async with asyncio.timeout(seconds):
            while not true(found := await self("GET", path)):
                await asyncio.sleep(0.01)
        return found


def order(server: RadiusServer, **changes: Any) -> dict[str, Any]:
    """A router on this server."""
    return {
        "name": "border",
        "address": "127.0.0.11",
        "users": [{"name": "api", "password": "pw", "group": "full"}],
        "pools": [{"name": "main", "ranges": "10.9.0.2-10.9.0.254"}],
        "radius": {
            "server": "127.0.0.1",
            "auth_port": server.auth_port,
            "acct_port": server.acct_port,
            "secret": SECRET,
            "timeout": "200ms",
        },
        **changes,
    }


@pytest.fixture
async def server() -> AsyncIterator[RadiusServer]:
    async with RadiusServer({"bob": User("pw")}) as made:
        yield made


@pytest.fixture
async def control(server: RadiusServer) -> AsyncIterator[Control]:
    async with Lab() as lab:
        transport = httpx.ASGITransport(create_control(lab))
        async with httpx.AsyncClient(transport=transport, base_url="http://lab") as http:
            yield Control(http)


async def test_a_router_is_made_looked_at_changed_and_removed(control: Control, server: RadiusServer) -> None:
    made = await control("POST", "/routers", order(server, tls_port=0, nas_identifier="b1", version="7.18"))
    assert made["identity"] == "b1"
    assert min(made["api_port"], made["tls_port"], made["coa_port"]) > 0
    assert len(made["fingerprint"]) == 64
    again = await control("POST", "/routers", order(server, nas_identifier="b2", interim_seconds=120))
    assert again["identity"] == "b2"
    assert again["api_port"] == made["api_port"]
    [aaa] = await control("GET", "/routers/border/items?path=/ppp/aaa")
    assert (aaa["use-radius"], aaa["interim-update"]) == ("true", "2m")
    assert len(await control("GET", "/routers/border/items?path=/radius")) == 1
    status, text = await control.error("POST", "/routers", order(server, name="thief", api_port=made["api_port"]))
    assert (status, text) == (409, "cannot listen: Address already in use")
    await control("DELETE", "/routers/border")
    assert (await control("GET", "/"))["routers"] == []
    assert await control.error("GET", "/routers/border") == (404, "no router border")


async def test_what_the_api_sees_is_what_the_lab_holds(control: Control, server: RadiusServer) -> None:
    made = await control("POST", "/routers", order(server))
    await control("POST", "/subscribers", {"name": "bob", "password": "pw", "router": "border", "online": True})
    await control.until("/subscribers/bob", lambda one: one["state"] == "online")

    def remove() -> list[dict[str, Any]]:
        api = librouteros.connect("127.0.0.11", "api", "pw", port=made["api_port"])
        rows = list(api.path("/ppp/active"))
        list(api("/ppp/active/remove", **{".id": rows[0][".id"]}))
        api.close()
        return rows

    [row] = await asyncio.to_thread(remove)
    assert (row["name"], row["session-id"], row["radius"]) == ("bob", "0x81000001", True)
    bob = await control.until("/subscribers/bob", lambda one: one["state"] == "offline")
    assert bob["reason"] == "Admin-Reset"
    router = await control("GET", "/routers/border")
    assert router["api"]["commands"]["/ppp/active/remove"] == 1
    assert router["api"]["highest_connections"] == 1


async def test_subscribers_with_any_name(control: Control, server: RadiusServer) -> None:
    await control("POST", "/routers", order(server))
    names = ["a/b", "dial", "né ?#%&", "x/dial"]
    made = await control(
        "POST",
        "/subscribers",
        [{"name": n, "password": "pw", "router": "border", "redial_seconds": None} for n in names],
    )
    assert [one["name"] for one in made] == names
    for name in names:
        server.users[name] = User("pw")
        path = f"/subscribers/{urllib.parse.quote(name, safe='')}"
        await control("POST", f"{path}/dial")
        found = await control.until(path, lambda one: one["state"] == "online")
        assert found["name"] == name
    assert len(await control("GET", "/subscribers?online=true")) == 4
    await control("POST", "/subscribers/a%2Fb/hangup")
    assert [one["name"] for one in await control("GET", "/subscribers?online=false&router=border")] == ["a/b"]
    await control("DELETE", "/subscribers/a%2Fb")
    assert (await control.error("GET", "/subscribers/a%2Fb"))[0] == 404


async def test_a_subscriber_is_ruled(control: Control, server: RadiusServer) -> None:
    await control("POST", "/routers", order(server))
    bob = {"name": "bob", "password": "old", "router": "border", "redial_seconds": 5, "online": True}
    await control("POST", "/subscribers", bob)
    await control.until("/subscribers/bob", lambda one: one["state"] == "refused")
    await control("POST", "/subscribers/bob/password", {"password": "pw"})
    await control("POST", "/clock", {"advance": 5})
    await control.until("/subscribers/bob", lambda one: one["state"] == "online")
    await control("POST", "/subscribers/bob/load", {"up_bps": 8000, "down_bps": 80_000})
    await control("POST", "/clock", {"advance": 10})
    found = await control("GET", "/subscribers/bob")
    assert 100_000 <= found["bytes_down"] < 110_000
    assert 10_000 <= found["bytes_up"] < 11_000
    await control("POST", "/subscribers/bob/redial", {"seconds": None})
    await control("POST", "/routers/border/reboot", {})
    await control("POST", "/clock", {"advance": 1000})
    await asyncio.sleep(0.05)
    assert (await control("GET", "/subscribers/bob"))["state"] == "offline"
    assert (await control("GET", "/routers/border"))["reboots"] == 1
    assert (await control("POST", "/clock", {"speed": 60}))["speed"] == 60


async def test_a_shadowing_secret_can_be_put_and_taken(control: Control, server: RadiusServer) -> None:
    await control("POST", "/routers", order(server))
    secret = {"path": "/ppp/secret", "values": {"name": "bob", "password": "pw"}}
    made = await control("POST", "/routers/border/items", secret)
    status, text = await control.error("POST", "/routers/border/items", secret)
    assert (status, text) == (400, "failure: secret with the same name already exists")
    await control("POST", "/subscribers", {"name": "bob", "password": "pw", "router": "border", "online": True})
    assert (await control.until("/subscribers/bob", lambda one: one["state"] == "online"))["local"] is True
    await control("DELETE", f"/routers/border/items?path=/ppp/secret&id={made['.id'].replace('*', '%2A')}")
    assert await control("GET", "/routers/border/items?path=/ppp/secret") == []


async def reachable(port: int) -> bool:
    """Does the router's API take connections?"""
    try:
        _, writer = await asyncio.open_connection("127.0.0.11", port)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True


async def test_faults(control: Control, server: RadiusServer) -> None:
    made = await control("POST", "/routers", order(server))
    faults = {
        "refuse": True,
        "coa": {"nak": 503},
        "accounting": [{"effect": "lose", "of": ["Start"], "next": 1}],
        "radius_secret_mismatch": True,
        "clock_offset": -3600,
    }
    await control("POST", "/routers/border/faults", faults)
    await control("POST", "/subscribers", {"name": "bob", "password": "pw", "router": "border", "online": True})
    bob = await control.until("/subscribers/bob", lambda one: one["state"] != "dialing")
    assert (bob["state"], bob["reason"]) == ("offline", "RADIUS server is not responding")
    assert not await reachable(made["api_port"])
    await control("DELETE", "/routers/border/faults")
    async with asyncio.timeout(5):
        while not await reachable(made["api_port"]):
            await asyncio.sleep(0.01)
    await control("POST", "/subscribers/bob/dial")
    await control.until("/subscribers/bob", lambda one: one["state"] == "online")
    assert (await server.heard("Start"))[0]["User-Name"] == "bob"
    await control("POST", "/routers/border/faults", {"down_seconds": 0.2})
    assert (await control("GET", "/routers/border"))["down"] is True
    await control.until("/routers/border", lambda router: not router["down"])


@pytest.mark.parametrize(
    ("path", "body", "text"),
    [
        ("/routers", {}, "name is missing in the body"),
        ("/routers", {"name": "x", "adress": "127.0.0.1"}, "the body has no field adress"),
        ("/routers", {"name": "x", "address": "192.0.2.1"}, "address must be one of 127.0.0.0/8"),
        ("/routers", {"name": "x", "version": "seven"}, "version must be like 7.16.1"),
        ("/routers", {"name": "x", "radius": {"server": "here"}}, "server must be an IPv4 address"),
        ("/routers", {"name": "x", "pools": [{"name": "p", "range": "10.0.0.1-10.0.0.2"}]}, "unknown parameter range"),
        ("/routers/border/faults", {"explode": True}, "there is no fault explode"),
        ("/routers/border/faults", {"coa": {"loud": True}}, "coa has no field loud"),
        (
            "/routers/border/faults",
            {"accounting": [{"effect": "eat"}]},
            "effect must be one of lose, duplicate, reorder, delay",
        ),
        (
            "/subscribers",
            {"name": "x", "router": "border", "protocol": "eap"},
            "protocol must be one of pap, chap, mschap2",
        ),
        (
            "/subscribers",
            {"name": "x", "router": "border", "service": "static"},
            "address is missing: a static host has one",
        ),
        ("/subscribers", {"name": "x", "router": "border", "mac": "02"}, "mac must be six pairs of hexadecimal digits"),
        ("/subscribers", {"name": "x", "router": "border", "load_up_bps": -1}, "load_up_bps must not be negative"),
        ("/subscribers", {"name": "x", "router": "border", "online": 1}, "online must be of type bool"),
        ("/clock", {"speed": 0}, "the speed must be positive"),
    ],
)
async def test_bad_orders_name_the_field_and_change_nothing(
    control: Control, server: RadiusServer, path: str, body: Any, text: str
) -> None:
    await control("POST", "/routers", order(server))
    before = await control("GET", "/")
    assert await control.error("POST", path, body) == (400, text)
    after = await control("GET", "/")
    assert (after["routers"], after["subscribers"]) == (before["routers"], before["subscribers"])


async def test_one_bad_subscriber_in_a_list_stops_all(control: Control, server: RadiusServer) -> None:
    await control("POST", "/routers", order(server))
    both = [{"name": "a", "router": "border"}, {"name": "b", "router": "nowhere"}]
    assert (await control.error("POST", "/subscribers", both))[0] == 404
    assert await control("GET", "/subscribers") == []


async def test_the_program(server: RadiusServer) -> None:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ispgraph", "lab"),
        env={**os.environ, "ISPGRAPH_LAB_PORT": str(port)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 20) == b"ready\n"
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        control = Control(http)
        await control("POST", "/routers", order(server))
        await control("POST", "/subscribers", {"name": "bob", "password": "pw", "router": "border", "online": True})
        await control.until("/subscribers/bob", lambda one: one["state"] == "online")
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 10) == 0
    [stop] = await server.heard("Stop")
    assert stop["Acct-Terminate-Cause"] == 11


async def test_the_program_refuses_a_port_that_is_none() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ispgraph", "lab"),
        env={**os.environ, "ISPGRAPH_LAB_PORT": "many"},
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 2
    assert b"ISPGRAPH_LAB_PORT must be a whole number" in said

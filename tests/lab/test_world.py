"""Sessions of the simulated network: what a login gives, what the router shows, how it ends."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.lab import world as worlds
from tests.lab.server import User
from tests.lab.world import World, shown, state, until


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with worlds.world() as made:
        yield made


async def test_a_login_says_what_routeros_says_and_the_router_shows_the_session(world: World) -> None:
    nas = await world.router(nas_identifier="border-1")
    world.user("bob", Mikrotik_Rate_Limit="2M/10M", Framed_IP_Address="10.1.2.3", Session_Timeout=3600)
    bob = await world.online("bob", mac="aa-bb-cc-00-11-22")
    [login] = world.server.logins
    assert login.source[0] == "127.0.0.11"
    assert {
        name: login[name]
        for name in (
            "Service-Type",
            "Framed-Protocol",
            "User-Name",
            "Calling-Station-Id",
            "Called-Station-Id",
            "NAS-Port-Type",
            "NAS-Port-Id",
            "NAS-Identifier",
            "NAS-IP-Address",
            "Acct-Session-Id",
        )
    } == {
        "Service-Type": 2,
        "Framed-Protocol": 1,
        "User-Name": "bob",
        "Calling-Station-Id": "AA:BB:CC:00:11:22",
        "Called-Station-Id": "service1",
        "NAS-Port-Type": 15,
        "NAS-Port-Id": "bridge1",
        "NAS-Identifier": "border-1",
        "NAS-IP-Address": "127.0.0.11",
        "Acct-Session-Id": "81000001",
    }
    [start] = await world.server.heard("Start")
    assert (start["Acct-Session-Id"], start["Framed-IP-Address"]) == ("81000001", "10.1.2.3")
    assert abs(start["Event-Timestamp"] - nas.router.own_time()) < 3
    [active] = shown(nas, "/ppp/active", name="bob")
    assert active["session-id"] == "0x81000001"
    assert (active["address"], active["caller-id"], active["radius"]) == ("10.1.2.3", "AA:BB:CC:00:11:22", "true")
    [interface] = shown(nas, "/interface", name="<pppoe-bob>")
    assert interface["type"] == "pppoe-in"
    [queue] = shown(nas, "/queue/simple", name="<pppoe-bob>")
    assert (queue["max-limit"], queue["target"]) == ("2000000/10000000", "<pppoe-bob>")
    bob.hang_up()
    [stop] = await world.server.heard("Stop")
    assert stop["Acct-Terminate-Cause"] == 1
    assert not any(shown(nas, path) for path in ("/ppp/active", "/interface", "/queue/simple"))


async def test_bytes_follow_the_clock_and_the_queue_and_pass_four_gibibytes(world: World) -> None:
    nas = await world.router()
    world.user("bob", Mikrotik_Rate_Limit="8M/80M", Acct_Interim_Interval=600, Class=b"\x00\x01cookie")
    bob = await world.online("bob", load_up_bps=1_000_000, load_down_bps=500_000_000)
    assert (state(bob)["up_bps"], state(bob)["down_bps"]) == (1_000_000, 80_000_000)
    world.lab.clock.advance(600)
    [interim] = await world.server.heard("Interim")
    down = interim["Acct-Output-Octets"] + (interim["Acct-Output-Gigawords"] << 32)
    up = interim["Acct-Input-Octets"] + (interim["Acct-Input-Gigawords"] << 32)
    assert interim["Acct-Output-Gigawords"] == 1
    assert 600 * 10_000_000 <= down < 605 * 10_000_000
    assert 600 * 125_000 <= up < 605 * 125_000
    assert 600 <= interim["Acct-Session-Time"] < 605
    [interface] = shown(nas, "/interface", name="<pppoe-bob>")
    assert int(interface["tx-byte"]) >= down
    assert int(interface["rx-byte"]) >= up
    assert shown(nas, "/queue/simple")[0]["rate"] == "1000000/80000000"
    bob.hang_up()
    await world.server.heard("Stop")
    assert {one["Class"] for one in world.server.accounting} == {b"\x00\x01cookie"}
    assert [one.kind for one in world.server.accounting] == ["Start", "Interim", "Stop"]


async def test_a_power_cut_is_told_to_nobody_and_turns_the_digit_of_session_ids(world: World) -> None:
    nas = await world.router()
    world.user("bob")
    bob = await world.online("bob", redial_seconds=3)
    first = state(bob)["session_id"]
    nas.reboot()
    assert state(bob)["state"] == "offline"
    assert not len(nas.router.table("/ppp/active"))
    world.lab.clock.advance(3)
    await until(lambda: bob.state == "online")
    second = state(bob)["session_id"]
    assert (first, second) == ("81000001", "81100001")
    for _ in range(15):
        nas.reboot()
    world.lab.clock.advance(3)
    await until(lambda: bob.state == "online")
    assert state(bob)["session_id"] == first, "one digit comes round after sixteen starts"
    await world.server.heard("Start", count=3)
    nas.reboot(clean=True)
    [stop] = await world.server.heard("Stop")
    assert stop["Acct-Terminate-Cause"] == 11


async def test_session_timeout_cuts_by_the_clock_of_the_lab(world: World) -> None:
    await world.router()
    world.user("bob", Session_Timeout=3600)
    bob = await world.online("bob")
    world.lab.clock.advance(3500)
    await asyncio.sleep(0.05)
    assert bob.state == "online"
    world.lab.clock.set_speed(1000)
    [stop] = await world.server.heard("Stop")
    assert stop["Acct-Terminate-Cause"] == 5
    assert 3600 <= stop["Acct-Session-Time"] < 3700
    assert state(bob)["reason"] == "Session-Timeout"


@pytest.mark.parametrize(
    ("reply", "service", "ends"),
    [
        ({"Mikrotik_Recv_Limit": 1_000_000}, "pppoe", True),
        ({"Mikrotik_Xmit_Limit": 1_000_000, "Mikrotik_Xmit_Limit_Gigawords": 0}, "pppoe", True),
        ({"Mikrotik_Xmit_Limit": 0, "Mikrotik_Xmit_Limit_Gigawords": 1}, "pppoe", False),
        ({"Mikrotik_Total_Limit": 1_000_000}, "hotspot", True),
        # /ppp/active has no total.
        ({"Mikrotik_Total_Limit": 1_000_000}, "pppoe", False),
    ],
)
async def test_byte_limits(world: World, reply: dict[str, int], service: str, ends: bool) -> None:
    await world.router()
    world.user("bob", **reply)
    bob = await world.online("bob", service=service, load_up_bps=8_000_000, load_down_bps=8_000_000)
    world.lab.clock.advance(1.2)
    if ends:
        [stop] = await world.server.heard("Stop")
        assert stop["Acct-Terminate-Cause"] == 10
        assert stop["Acct-Output-Octets"] >= 500_000
    else:
        await asyncio.sleep(0.1)
        assert bob.state == "online"


async def test_idle_timeout_needs_silence(world: World) -> None:
    await world.router()
    world.user("bob", Idle_Timeout=300)
    bob = await world.online("bob", load_down_bps=1000)
    world.lab.clock.advance(1000)
    await asyncio.sleep(0.05)
    assert bob.state == "online"
    bob.set_load(0, 0)
    world.lab.clock.advance(301)
    [stop] = await world.server.heard("Stop")
    assert stop["Acct-Terminate-Cause"] == 4


async def test_a_local_user_shadows_radius(world: World) -> None:
    nas = await world.router()
    bob = world.user("bob")
    nas.router.create("/ppp/secret", {"name": "bob", "password": "pw", "remote-address": "10.5.5.5"})
    bob.enabled = False
    device = await world.online("bob")
    assert (state(device)["local"], state(device)["address"]) == (True, "10.5.5.5")
    assert shown(nas, "/ppp/active")[0]["radius"] == "false"
    device.hang_up()
    await asyncio.sleep(0.05)
    assert not world.server.logins
    assert not world.server.accounting
    assert await world.refused("bob", password="other") == "invalid password of the router's own user"
    [secret] = nas.router.table("/ppp/secret").find(name="bob")
    nas.router.table("/ppp/secret").change(secret, {"disabled": "true"})
    assert await world.refused("bob") == "rejected by RADIUS"


async def test_addresses_come_from_the_reply_the_pool_or_the_profile(world: World) -> None:
    await world.router(
        pools=[{"name": "main", "ranges": "10.9.0.2-10.9.0.3"}, {"name": "walled", "ranges": "10.6.0.1"}]
    )
    for name in ("a", "b", "c"):
        world.user(name)
    world.user("walled", Framed_Pool="walled", Mikrotik_Address_List="SUSPENDED")
    world.user("typo", Framed_Pool="waled")
    world.user("choose", Framed_IP_Address="255.255.255.254")
    a = await world.online("a")
    b = await world.online("b")
    assert {state(a)["address"], state(b)["address"]} == {"10.9.0.2", "10.9.0.3"}
    assert await world.refused("c") == "pool main is exhausted"
    assert await world.refused("typo") == "no pool waled"
    a.hang_up()
    assert state(await world.online("choose"))["address"] == "10.9.0.2"
    assert not [one for one in world.server.accounting if one["User-Name"] in ("c", "typo")]


async def test_a_walled_session_is_on_the_address_list_while_it_lasts(world: World) -> None:
    nas = await world.router()
    world.user("bob", Framed_Pool="walled", Mikrotik_Address_List="SUSPENDED", Mikrotik_Rate_Limit="128k")
    bob = await world.online("bob")
    assert state(bob)["address_lists"] == ["SUSPENDED"]
    assert state(bob)["address"].startswith("10.66.")
    assert state(bob)["rate"] == {"up": 128_000, "down": 128_000}
    [entry] = shown(nas, "/ip/firewall/address-list", list="SUSPENDED")
    assert (entry["address"], entry["dynamic"]) == (state(bob)["address"], "true")
    bob.hang_up()
    assert not shown(nas, "/ip/firewall/address-list")


async def test_a_reject_brings_its_message_and_the_device_tries_again_with_patience(world: World) -> None:
    await world.router()
    world.server.users["bob"] = User("pw", enabled=False, message="Please pay your bill")
    bob = world.device("bob", redial_seconds=10, online=True)
    stubborn = world.device("rob", username="bob", redial_seconds=10, patient=False, online=True)
    await until(lambda: bob.state == stubborn.state == "refused")
    assert state(bob)["reply_message"] == "Please pay your bill"
    for _ in range(8):
        world.lab.clock.advance(10)
        await asyncio.sleep(0.03)
    assert stubborn.dials == 9
    assert bob.dials == 4, "after 10, 20 and 40 seconds"
    world.server.users["bob"].enabled = True
    world.lab.clock.advance(160)
    await until(lambda: bob.state == stubborn.state == "online")


async def test_an_api_client_that_removes_the_session_ends_it(world: World) -> None:
    nas = await world.router()
    world.user("bob")
    bob = await world.online("bob", redial_seconds=5)
    table = nas.router.table("/ppp/active")
    [item] = table.find(name="bob")
    table.remove(item, origin="api")
    [stop] = await world.server.heard("Stop")
    assert stop["Acct-Terminate-Cause"] == 6
    assert not shown(nas, "/interface")
    world.lab.clock.advance(5)
    await until(lambda: bob.state == "online")
    assert state(bob)["session_id"] == "81000002"


async def test_two_devices_with_one_name(world: World) -> None:
    nas = await world.router(profiles=[{"name": "single", "only-one": "yes", "remote-address": "main"}])
    world.user("bob")
    world.user("one", Mikrotik_Group="single")
    await world.online("bob")
    await world.online("second", username="bob")
    assert [row["name"] for row in shown(nas, "/interface")] == ["<pppoe-bob>", "<pppoe-bob-1>"]
    await world.online("one")
    assert await world.refused("other", username="one") == "user one is already active"
    world.user("guest")
    await world.online("phone", username="guest", service="hotspot")
    assert await world.refused("tablet", username="guest", service="hotspot") == "simultaneous session limit reached"
    world.user("lost", Mikrotik_Group="nowhere")
    assert await world.refused("lost") == "no profile nowhere"


async def test_one_session_per_host_ends_the_older_one(world: World) -> None:
    await world.router(pppoe={"one-session-per-host": "true"})
    world.user("bob")
    first = await world.online("bob", mac="02:00:00:00:00:09")
    second = await world.online("again", username="bob", mac="02:00:00:00:00:09")
    assert (first.state, second.state) == ("offline", "online")
    [stop] = await world.server.heard("Stop")
    assert stop["Acct-Session-Id"] == "81000001"


async def test_hotspot_sessions(world: World) -> None:
    nas = await world.router()
    world.user("guest", Session_Timeout=600, Mikrotik_Rate_Limit="1M/2M", Acct_Interim_Interval=60)
    guest = await world.online("guest", service="hotspot", protocol="pap", load_down_bps=800_000)
    [login] = world.server.logins
    assert (login["Service-Type"], login["NAS-Port-Type"], login["Called-Station-Id"]) == (1, 19, "hotspot1")
    assert login["Acct-Session-Id"] == "80000001"
    world.lab.clock.advance(60)
    [interim] = await world.server.heard("Interim")
    assert interim["Acct-Output-Octets"] >= 60 * 100_000
    [active] = shown(nas, "/ip/hotspot/active", user="guest")
    assert int(active["bytes-out"]) >= 60 * 100_000
    assert active["session-time-left"].startswith("8m")
    assert shown(nas, "/queue/simple")[0]["name"] == "<hotspot-guest>"
    table = nas.router.table("/ip/hotspot/host")
    table.remove(next(iter(table)), origin="api")
    assert guest.state == "offline"


async def test_hosts_with_an_address_keep_old_connections_and_get_no_new_ones(world: World) -> None:
    nas = await world.router(walls=["blocked"])
    host = world.device("office", service="static", address="10.20.0.5", load_down_bps=50_000_000, online=True)
    queues, lists = nas.router.table("/queue/simple"), nas.router.table("/ip/firewall/address-list")
    queue = nas.router.create("/queue/simple", {"name": "office", "target": "10.20.0.5", "max-limit": "1M/8M"})
    world.lab.clock.advance(10)
    up, _, down = (queues.get(queue, "bytes") or "").partition("/")
    assert up == "0"
    assert 10_000_000 <= int(down) < 10_500_000
    assert queues.get(queue, "rate") == "0/8000000"
    entry = nas.router.create("/ip/firewall/address-list", {"list": "blocked", "address": "10.20.0.5"})
    assert state(host)["address_lists"] == ["blocked"]
    world.lab.clock.advance(60)
    assert (state(host)["connections"], state(host)["down_bps"]) == (3, 8_000_000), "old connections go on"
    connections = nas.router.table("/ip/firewall/connection")
    for item in connections:
        connections.remove(item, origin="api")
    world.lab.clock.advance(60)
    await asyncio.sleep(0.05)
    assert (state(host)["connections"], state(host)["down_bps"]) == (0, 0)
    lists.remove(entry)
    world.lab.clock.advance(3)
    await until(lambda: state(host)["connections"] == 3)
    queues.reset(queue)
    assert int((queues.get(queue, "bytes") or "").partition("/")[2]) < 1_000_000
    queues.remove(queue)
    assert state(host)["down_bps"] == 50_000_000
    nas.reboot()
    assert state(host)["connections"] == 0
    world.lab.clock.advance(3)
    await until(lambda: state(host)["connections"] == 3)

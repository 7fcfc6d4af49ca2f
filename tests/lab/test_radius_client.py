"""How a simulated router asks RADIUS: proofs, signatures, repetitions, and bad weather on the way."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ispgraph.lab import packets
from ispgraph.lab.control import read_weather
from ispgraph.lab.rates import BadRate, parse_rate
from ispgraph.radius import authenticate
from tests.lab import world as worlds
from tests.lab.world import World, state, until


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with worlds.world() as made:
        yield made


@pytest.mark.parametrize("protocol", ["pap", "chap"])
async def test_passwords_are_proved(world: World, protocol: str) -> None:
    await world.router()
    world.user("bob").password = "a long pässword of more than 16"
    await world.online("bob", protocol=protocol, password="a long pässword of more than 16")
    assert await world.refused("bob", protocol=protocol, password="wrong") == "rejected by RADIUS"


async def test_mschap2_proves_both_sides(world: World) -> None:
    await world.router()
    honest = True

    def decide(packet: Any) -> tuple[int, dict[str, Any]]:
        response, challenge = packet["MS-CHAP2-Response"][0], packet["MS-CHAP-Challenge"][0]
        success = authenticate.mschap2("pw", response, challenge, b"bob")
        if success is None:
            return 3, {}
        proof = success.response if honest else b"S=" + b"0" * 40
        return 2, {"MS-CHAP2-Success": response[:1] + proof}

    world.server.decide = decide
    await world.online("bob", protocol="mschap2")
    assert await world.refused("bob", protocol="mschap2", password="wrong") == "rejected by RADIUS"
    honest = False
    assert await world.refused("bob", protocol="mschap2") == "the server could not prove that it knows the password"


@pytest.mark.parametrize(
    ("version", "demanded", "signed", "works"),
    [
        ("7.16.1", True, True, True),
        ("7.16.1", True, False, False),
        ("7.15", True, False, False),
        ("7.16.1", False, False, True),
        ("7.14.3", True, False, True),
        ("6.49.10", True, True, True),
    ],
)
async def test_replies_must_be_signed_since_7_15(
    world: World, version: str, demanded: bool, signed: bool, works: bool
) -> None:
    nas = await world.router(version=version, radius={"require_message_auth": demanded, "timeout": "100ms"})
    world.user("bob")
    world.server.sign = signed
    if works:
        await world.online("bob")
    else:
        assert await world.refused("bob") == "RADIUS server is not responding"
        assert nas.client.counters.bad_replies == 3
    assert {"Message-Authenticator" in login.packet for login in world.server.logins} == {version >= "7.15"}


async def test_a_rejection_needs_a_signature_too(world: World) -> None:
    nas = await world.router(radius={"timeout": "50ms"})
    world.server.sign = False
    assert await world.refused("nobody") == "RADIUS server is not responding"
    assert (nas.client.counters.rejects, nas.client.counters.bad_replies) == (0, 3)


async def test_a_wrong_secret_is_met_with_silence(world: World) -> None:
    nas = await world.router(radius={"timeout": "50ms"})
    world.user("bob")
    nas.client.mistyped_secret = True
    assert await world.refused("bob") == "RADIUS server is not responding"
    assert world.server.refused == 3
    nas.client.mistyped_secret = False
    await world.online("bob")


async def test_an_unanswered_login_is_repeated_octet_by_octet(world: World) -> None:
    nas = await world.router(radius={"timeout": "50ms"})
    world.user("bob")
    world.server.ignore["auth"] = 2
    await world.online("bob")
    assert len({login.data for login in world.server.logins}) == 1
    assert len(world.server.logins) == 3
    assert (nas.client.counters.resends, nas.client.counters.timeouts, nas.client.counters.accepts) == (2, 2, 1)


async def test_accounting_is_repeated_with_its_identifier_and_a_growing_delay(world: World) -> None:
    nas = await world.router(radius={"timeout": "60ms"})
    world.user("bob")
    world.lab.clock.set_speed(100)
    world.server.ignore["Start"] = 2
    await world.online("bob")
    starts = await world.server.heard("Start", count=3)
    assert len({(one.source, one.data[1]) for one in starts}) == 1
    assert len({one.data[4:20] for one in starts}) == 3
    delays = [one["Acct-Delay-Time"] for one in starts]
    assert delays[0] == 0
    assert 5 <= delays[1] < delays[2] < 60
    assert len({one["Event-Timestamp"] for one in starts}) == 1
    await until(lambda: nas.accounting.counters.confirmed == 1)


async def test_accounting_that_nobody_confirms_is_given_up(world: World) -> None:
    nas = await world.router(radius={"timeout": "30ms", "tries": 2})
    world.user("bob")
    world.server.ignore["Start"] = 99
    bob = await world.online("bob")
    await until(lambda: nas.accounting.counters.unconfirmed == 1)
    assert len(world.server.accounting) == 2
    assert bob.state == "online"


async def test_weather_for_accounting(world: World) -> None:
    nas = await world.router()
    world.user("bob", Acct_Interim_Interval=60)
    weather = [
        {"effect": "lose", "of": ["Start"], "next": 1},
        {"effect": "reorder", "of": ["Interim"], "next": 1},
        {"effect": "duplicate", "of": ["Stop"], "next": 1},
    ]

    nas.accounting.weather = [read_weather(one) for one in weather]
    bob = await world.online("bob")
    for _ in range(2):
        world.lab.clock.advance(60)
        await asyncio.sleep(0.05)
    first, second = await world.server.heard("Interim", count=2)
    assert first["Acct-Session-Time"] > second["Acct-Session-Time"]
    bob.hang_up()
    stops = await world.server.heard("Stop", count=2)
    assert stops[0].data == stops[1].data
    assert not [one for one in world.server.accounting if one.kind == "Start"]
    assert nas.accounting.counters.lost == 1


async def test_a_router_that_is_cut_off_neither_logs_in_nor_reports(world: World) -> None:
    nas = await world.router()
    world.user("bob")
    bob = await world.online("bob")
    await world.server.heard("Start")
    nas.router.go_down(0.3)
    assert await world.refused("ann") == "RADIUS server is not responding"
    bob.hang_up()
    await until(lambda: nas.accounting.counters.unconfirmed == 1)
    assert not [one for one in world.server.accounting if one.kind == "Stop"]
    await until(lambda: not nas.router.down)
    assert state(await world.online("bob"))["state"] == "online"


async def test_the_router_may_have_another_time(world: World) -> None:
    nas = await world.router(clock_offset=-86400 * 365.0)
    world.user("bob")
    await world.online("bob")
    [start] = await world.server.heard("Start")
    assert abs(start["Event-Timestamp"] - (nas.router.now() - 86400 * 365)) < 3


async def test_three_hundred_come_up_in_seconds(world: World) -> None:
    nas = await world.router(pools=[{"name": "main", "ranges": "10.9.0.0/16"}])
    for number in range(300):
        world.user(f"u{number}")
        world.device(f"u{number}", online=True)
    await until(lambda: len(nas.sessions) == 300, seconds=10)
    await world.server.heard("Start", count=300, seconds=5)
    assert len({session.address for session in nas.sessions}) == 300


@given(st.binary(max_size=80))
def test_any_octets_are_a_packet_or_an_error(data: bytes) -> None:
    try:
        packet = packets.decode(data)
    except packets.PacketError:
        return
    assert len(packet.data) <= len(data)


@given(
    st.lists(
        st.tuples(
            st.one_of(st.integers(1, 25), st.tuples(st.integers(1, 99999), st.integers(1, 255))),
            st.binary(min_size=1, max_size=247),
        ),
        max_size=12,
    )
)
def test_attributes_go_out_as_they_come_in(attributes: list[tuple[packets.Key, bytes]]) -> None:
    packet = packets.decode(packets.encode(1, 7, bytes(16), attributes))
    assert list(packet.attributes) == attributes


@pytest.mark.parametrize(
    ("text", "up", "down"),
    [
        ("2M/10M", 2_000_000, 10_000_000),
        ("128k", 128_000, 128_000),
        ("0", 0, 0),
        ("1M/2M 2M/4M 1M/2M 8/8 5 64k", 10**6, 2 * 10**6),
    ],
)
def test_rate_limits(text: str, up: int, down: int) -> None:
    rate = parse_rate(text)
    assert (rate.up, rate.down) == (up, down)


@pytest.mark.parametrize(
    "text", ["", "2G", "fast", "1M/", "/1M", "1M  2M", "1M 1M 1M 1 9", "1M 0 0 0 8 2M", "1M 1 1 1 1 1 1", "-1"]
)
def test_what_is_no_rate_limit(text: str) -> None:
    with pytest.raises(BadRate):
        parse_rate(text)

"""CoA and Disconnect as the simulated router takes them, sent by pyrad and by FreeRADIUS' own radclient."""

import asyncio
import shutil
from collections.abc import AsyncIterator

import pytest

from ispgraph.lab.incoming import CoaFaults
from tests.lab import world as worlds
from tests.lab.server import SECRET
from tests.lab.world import COA, DISCONNECT, Sender, World, ask, shown, state, until

RADCLIENT = shutil.which("radclient")
needs_radclient = [
    pytest.mark.freeradius,
    pytest.mark.skipif(RADCLIENT is None, reason="radclient is not installed"),
]
DISCONNECT_ACK, DISCONNECT_NAK, COA_ACK, COA_NAK = 41, 42, 44, 45
WHO = {"User_Name": "bob", "Acct_Session_Id": "81000001"}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with worlds.world() as made:
        await made.router()
        made.user("bob", Mikrotik_Rate_Limit="2M/10M", Session_Timeout=3600)
        yield made


async def test_the_speed_changes_and_the_session_goes_on(world: World) -> None:
    nas = world.lab.router("border")
    bob = await world.online("bob", load_down_bps=100_000_000)
    world.lab.clock.advance(10)
    assert await ask(nas, COA, **WHO, Mikrotik_Rate_Limit="1M/40M") == (COA_ACK, None)
    assert (state(bob)["session_id"], state(bob)["rate"]) == ("81000001", {"up": 1_000_000, "down": 40_000_000})
    world.lab.clock.advance(10)
    assert 62_500_000 <= state(bob)["bytes_down"] < 64_000_000, "10 s at 10M and 10 s at 40M"
    [queue] = shown(nas, "/queue/simple")
    assert queue["max-limit"] == "1000000/40000000"
    assert [one.kind for one in await world.server.heard("Start")] == ["Start"]
    assert nas.incoming.counters.acks == 1


async def test_a_session_without_a_speed_gets_a_queue(world: World) -> None:
    nas = world.lab.router("border")
    world.user("ann")
    await world.online("ann")
    assert not shown(nas, "/queue/simple")
    who = {"User_Name": "ann", "Acct_Session_Id": "81000001"}
    assert await ask(nas, COA, **who, Mikrotik_Rate_Limit="1M/2M") == (COA_ACK, None)
    [queue] = shown(nas, "/queue/simple")
    assert (queue["name"], queue["target"]) == ("<pppoe-ann>", "<pppoe-ann>")


async def test_session_timeout_counts_from_the_change(world: World) -> None:
    nas = world.lab.router("border")
    bob = await world.online("bob")
    world.lab.clock.advance(3000)
    assert await ask(nas, COA, **WHO, Session_Timeout=7200) == (COA_ACK, None)
    world.lab.clock.advance(7000)
    await asyncio.sleep(0.05)
    assert bob.state == "online"
    world.lab.clock.advance(201)
    [stop] = await world.server.heard("Stop")
    assert stop["Acct-Terminate-Cause"] == 5


async def test_disconnect_answers_before_the_stop_leaves(world: World) -> None:
    nas = world.lab.router("border")
    bob = await world.online("bob")
    await world.server.heard("Start")
    order: list[str] = []
    send, report = nas.incoming._send, nas.accounting.report
    nas.incoming._send = lambda *a: (order.append("ACK"), send(*a))[1]  # type: ignore[method-assign]
    nas.accounting.report = lambda *a: (order.append(a[1]), report(*a))[1]  # type: ignore[method-assign]
    assert await ask(nas, DISCONNECT, **WHO) == (DISCONNECT_ACK, None)
    [stop] = await world.server.heard("Stop")
    assert order == ["ACK", "Stop"]
    assert stop["Acct-Terminate-Cause"] == 6
    assert bob.state == "offline"


@pytest.mark.parametrize(
    ("attributes", "cause"),
    [
        ({"User_Name": "bob"}, 402),
        ({}, 402),
        ({"User_Name": "bob", "Acct_Session_Id": "0x81000001"}, 503),
        ({"User_Name": "Bob", "Acct_Session_Id": "81000001"}, 503),
        ({"User_Name": "bob", "Acct_Session_Id": "81000002"}, 503),
        ({**WHO, "Framed_IP_Address": "10.9.0.77"}, 503),
        ({**WHO, "NAS_IP_Address": "127.0.0.12"}, 403),
        ({**WHO, "NAS_Identifier": "another"}, 403),
    ],
)
async def test_what_names_no_session(world: World, attributes: dict[str, object], cause: int) -> None:
    nas = world.lab.router("border")
    bob = await world.online("bob")
    assert await ask(nas, DISCONNECT, **attributes) == (DISCONNECT_NAK, cause)
    assert bob.state == "online"


@pytest.mark.parametrize(
    ("attributes", "cause"),
    [
        ({"Mikrotik_Address_List": "SUSPENDED"}, 401),
        ({"Framed_Pool": "walled"}, 401),
        ({"Mikrotik_Total_Limit": 5}, 401),
        ({"Mikrotik_Rate_Limit": "1M", "Mikrotik_Address_List": "SUSPENDED"}, 401),
        ({"Mikrotik_Rate_Limit": "1G"}, 407),
        ({"Mikrotik_Rate_Limit": "1M", "Mikrotik_Group": "nowhere"}, 407),
        ({}, 402),
    ],
)
async def test_changes_that_routeros_does_not_make(world: World, attributes: dict[str, object], cause: int) -> None:
    nas = world.lab.router("border")
    bob = await world.online("bob")
    assert await ask(nas, COA, **WHO, **attributes) == (COA_NAK, cause)
    assert state(bob)["rate"] == {"up": 2_000_000, "down": 10_000_000}


async def test_several_sessions_of_one_name(world: World) -> None:
    nas = world.lab.router("border")
    first = await world.online("bob", mac="02:00:00:00:00:01")
    second = await world.online("other", username="bob", mac="02:00:00:00:00:01")
    both = {"User_Name": "bob", "Calling_Station_Id": "02:00:00:00:00:01"}
    assert await ask(nas, DISCONNECT, **both) == (DISCONNECT_NAK, 508)
    assert await ask(nas, DISCONNECT, **both, Acct_Session_Id="81000002") == (DISCONNECT_ACK, None)
    await until(lambda: second.state == "offline")
    assert first.state == "online"


async def test_hotspots_want_name_and_address(world: World) -> None:
    nas = world.lab.router("border")
    world.user("guest")
    guest = await world.online("guest", service="hotspot")
    who = {"User_Name": "guest", "Acct_Session_Id": state(guest)["session_id"]}
    assert await ask(nas, DISCONNECT, **who) == (DISCONNECT_NAK, 503)
    assert await ask(nas, DISCONNECT, **who, Framed_IP_Address=state(guest)["address"]) == (DISCONNECT_ACK, None)


async def test_a_session_of_a_local_user_is_not_there(world: World) -> None:
    nas = world.lab.router("border")
    nas.router.create("/ppp/secret", {"name": "bob", "password": "pw"})
    bob = await world.online("bob")
    assert await ask(nas, DISCONNECT, **WHO) == (DISCONNECT_NAK, 503)
    assert bob.state == "online"


async def test_silence(world: World) -> None:
    nas = world.lab.router("border")
    bob = await world.online("bob")
    assert await ask(nas, DISCONNECT, **WHO, secret="another", wait=0.1) is None
    assert await ask(nas, DISCONNECT, **WHO, source="127.0.0.9", wait=0.1) is None
    assert (nas.incoming.counters.requests, nas.incoming.counters.bad_requests) == (2, 2)
    async with Sender.open() as sender:
        signed = bytearray(sender.make(DISCONNECT, WHO).RequestPacket())
        unsigned = sender.make(DISCONNECT, WHO, sign=False)
        # A Message-Authenticator of zeros under an authenticator that is right.
        forged = sender.make(DISCONNECT, {**WHO, "Message_Authenticator": bytes(16)}, sign=False).RequestPacket()
        signed[4] ^= 1
        assert await sender.send(nas, bytes(signed), 0.1) is None
        assert await sender.send(nas, forged, 0.1) is None
        nas.incoming.faults = CoaFaults(require_signature=True)
        assert await sender.send(nas, unsigned.RequestPacket(), 0.1) is None
    incoming = nas.router.table("/radius/incoming")
    incoming.change(next(iter(incoming)), {"accept": "false"})
    assert await ask(nas, DISCONNECT, **WHO, wait=0.1) is None
    assert bob.state == "online"
    assert await ask(nas, DISCONNECT, **WHO, sign=False, wait=0.1) is None
    incoming.change(next(iter(incoming)), {"accept": "true"})
    nas.incoming.faults = CoaFaults()
    assert await ask(nas, DISCONNECT, **WHO, sign=False) == (DISCONNECT_ACK, None)


async def test_a_repetition_is_answered_from_memory(world: World) -> None:
    nas = world.lab.router("border")
    await world.online("bob")
    async with Sender.open() as sender:
        data = sender.make(DISCONNECT, WHO).RequestPacket()
        first = await sender.send(nas, data)
        assert first is not None
        assert first[0] == DISCONNECT_ACK
        await world.server.heard("Stop")
        assert await sender.send(nas, data) == first, "the session is gone, the answer is the same"
    assert (nas.incoming.counters.acks, nas.incoming.counters.repeated) == (1, 1)
    assert await ask(nas, DISCONNECT, **WHO) == (DISCONNECT_NAK, 503)


async def test_faults_of_the_listener(world: World) -> None:
    nas = world.lab.router("border")
    bob = await world.online("bob")
    nas.incoming.faults = CoaFaults(silent=True)
    assert await ask(nas, DISCONNECT, **WHO, wait=0.1) is None
    nas.incoming.faults = CoaFaults(nak=506)
    assert await ask(nas, DISCONNECT, **WHO) == (DISCONNECT_NAK, 506)
    nas.incoming.faults = CoaFaults(nak=0)
    assert await ask(nas, DISCONNECT, **WHO) == (DISCONNECT_NAK, None)
    nas.incoming.faults = CoaFaults(no_effect=True)
    assert await ask(nas, DISCONNECT, **WHO) == (DISCONNECT_ACK, None)
    assert await ask(nas, COA, **WHO, Mikrotik_Rate_Limit="1M") == (COA_ACK, None)
    assert state(bob)["rate"] == {"up": 2_000_000, "down": 10_000_000}
    assert bob.state == "online"
    nas.incoming.faults = CoaFaults(late_seconds=0.3)
    assert await ask(nas, DISCONNECT, **WHO, wait=0.1) is None
    assert bob.state == "offline"


async def test_the_port_may_move(world: World) -> None:
    nas = world.lab.router("border")
    await world.online("bob")
    old = nas.coa_port
    async with Sender.open("127.0.0.11") as free:
        port = free._transport.get_extra_info("sockname")[1]
    incoming = nas.router.table("/radius/incoming")
    incoming.change(next(iter(incoming)), {"port": str(port)})
    await until(lambda: nas.coa_port == port)
    assert old != port
    assert await ask(nas, DISCONNECT, **WHO) == (DISCONNECT_ACK, None)


async def radclient(port: int, command: str, attributes: str, secret: str = SECRET) -> str:
    """What radclient prints, with one try."""
    assert RADCLIENT is not None
    process = await asyncio.create_subprocess_exec(
        *(RADCLIENT, "-x", "-r", "1", "-t", "5" if secret == SECRET else "0.5", f"127.0.0.11:{port}", command, secret),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate(attributes.encode())
    return output.decode()


@pytest.mark.parametrize(
    ("command", "attributes", "secret", "says"),
    [
        pytest.param("disconnect", "", SECRET, ["Received Disconnect-ACK"], marks=needs_radclient),
        pytest.param("coa", 'Mikrotik-Rate-Limit="1M/2M"', SECRET, ["Received CoA-ACK"], marks=needs_radclient),
        pytest.param(
            "coa",
            'Mikrotik-Address-List="X"',
            SECRET,
            ["Received CoA-NAK", "Error-Cause = Unsupported-Attribute"],
            marks=needs_radclient,
        ),
        pytest.param(
            "disconnect",
            "Framed-IP-Address=10.0.0.1",
            SECRET,
            ["Received Disconnect-NAK", "Error-Cause = Session-Context-Not-Found"],
            marks=needs_radclient,
        ),
        pytest.param("disconnect", "", "another", ["No reply from server"], marks=needs_radclient),
    ],
)
@pytest.mark.parametrize("signed", [False, True])
async def test_radclient_understands(
    world: World, command: str, attributes: str, secret: str, says: list[str], signed: bool
) -> None:
    nas = world.lab.router("border")
    await world.online("bob")
    lines = [
        'User-Name="bob"',
        'Acct-Session-Id="81000001"',
        attributes,
        "Message-Authenticator=0x00" if signed else "",
    ]
    output = await radclient(nas.coa_port, command, ",".join(filter(None, lines)) + "\n", secret)
    assert all(text in output for text in says), output

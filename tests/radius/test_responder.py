"""The embedded responder in bad weather."""

import asyncio
import ipaddress
import struct

import asyncpg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as tuned
from hypothesis import strategies as st

from ispgraph.radius.responder import Decisions, Responder, Row, read_request, reply_to, well_formed
from tests.radius import running, world
from tests.radius.client import ACCEPT, REJECT, Login, attribute, build, read, send
from tests.radius.conftest import Network, Server, close_database, dsn, open_database

ALICE = Login("alice", world.PASSWORD)
SECRET = world.SECRETS[world.NORTH].encode()
ROWS = [
    Row("check", "Cleartext-Password", world.PASSWORD),
    Row("reply", "Mikrotik-Rate-Limit", "1k/2k"),
    Row("reply", "Session-Timeout", "60"),
]

_values = st.tuples(st.integers(0, 255), st.binary(max_size=253)).map(lambda pair: attribute(*pair))
_credentials = st.tuples(
    st.sampled_from([1, 2, 3, 25, 26, 31, 33, 60, 80]), st.one_of(st.binary(max_size=60), st.just(b""))
).map(lambda pair: attribute(*pair))
_microsoft = st.tuples(st.sampled_from([1, 2, 11, 25]), st.binary(max_size=60)).map(
    lambda pair: attribute(26, struct.pack("!I", 311) + attribute(*pair))
)


@given(st.lists(st.one_of(_values, _credentials, _microsoft), max_size=12).map(b"".join), st.binary(max_size=20))
@tuned(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_any_attributes_make_an_answer_or_silence(body: bytes, padding: bytes) -> None:
    packet = struct.pack("!BBH", 1, 7, 20 + len(body)) + bytes(range(16)) + body + padding
    if well_formed(packet) and (request := read_request(packet, SECRET)) is not None:
        answer = reply_to(request, ROWS)
        assert answer[0] in (ACCEPT, REJECT)
        assert answer[20] == 80


@given(st.binary(max_size=100))
def test_noise_is_not_well_formed(data: bytes) -> None:
    if well_formed(data):
        assert data[0] == 1
        assert 20 <= int.from_bytes(data[2:4], "big") <= len(data)


@pytest.mark.parametrize("tail", [b"\x01", b"\x01\x00", b"\x01\x01", b"\x01\x04a", b"\x01\x03a\x50\x12", b"\x01\xff"])
def test_attributes_end_where_the_packet_ends(tail: bytes) -> None:
    """RFC 2865 section 5: a packet with an attribute of impossible length is silently discarded."""
    assert not well_formed(struct.pack("!BBH", 1, 7, 20 + len(tail)) + bytes(16) + tail)


@pytest.fixture(scope="module")
def server(network: Network) -> object:
    """The embedded one only."""
    with running.responder(network.settings()) as started:
        yield Server("responder", network, started)


def test_noise_does_not_stop_it(server: Server) -> None:
    good = build(ALICE, SECRET).packet
    for length in range(0, len(good)):
        send(server.running.address, good[:length], world.NORTH, wait=0.001)
    for at in range(20, len(good)):
        send(server.running.address, good[:at] + b"\0" + good[at + 1 :], world.NORTH, wait=0.001)
    answer = server.log_in(ALICE)
    assert answer is not None
    assert answer.code == ACCEPT


@pytest.mark.parametrize("code", [0, 2, 4, 12, 40, 43, 255])
def test_only_access_requests_are_answered(server: Server, code: int) -> None:
    packet = bytes([code]) + build(ALICE, SECRET).packet[1:]
    assert send(server.running.address, packet, world.NORTH, wait=0.1) is None


def test_another_network_key_lets_nobody_in(network: Network) -> None:
    with running.responder(network.settings(network_key=bytes(32))) as started:
        other = Server("responder", network, started)
        assert other.log_in(ALICE, wait=0.7) is None
    assert "does not open with this network key" in started.output


def test_sigterm_ends_it_in_peace(network: Network) -> None:
    with running.responder(network.settings()) as started:
        started.process.terminate()
        assert started.process.wait(5) == 0
    assert started.output == "ready\n"


def test_a_database_that_is_away_is_met_with_silence_and_found_again(server: Server) -> None:
    name = server.network.name
    assert server.log_in(ALICE) is not None
    close_database(name)
    assert server.log_in(ALICE, wait=1.0) is None
    open_database(name)
    answer = next(filter(None, (server.log_in(ALICE, wait=1.0) for _ in range(10))))
    assert answer.code == ACCEPT


async def test_a_secret_is_asked_for_once_in_thirty_seconds(network: Network) -> None:
    async with asyncpg.create_pool(
        dsn("ispgraph_radius", network.name),
        min_size=0,
        server_settings={"ispgraph.network_key": network.settings().network_key.hex()},
    ) as pool:
        decisions = Decisions(pool)
        nas = ipaddress.ip_address(world.NORTH)
        assert await decisions.secret(nas) == SECRET
        await pool.close()
        assert await decisions.secret(nas) == SECRET
        with pytest.raises(asyncpg.InterfaceError):
            await decisions.secret(ipaddress.ip_address(world.SOUTH))


async def test_a_repetition_costs_no_decision(network: Network) -> None:
    async with asyncpg.create_pool(
        dsn("ispgraph_radius", network.name),
        min_size=0,
        server_settings={"ispgraph.network_key": network.settings().network_key.hex()},
    ) as pool:
        request = build(ALICE, SECRET)
        sent: list[bytes] = []
        responder = Responder(Decisions(pool))
        responder.connection_made(_Wire(sent))
        await responder._serve(request.packet, (world.NORTH, 5000))
        await pool.close()
        await responder._serve(request.packet, (world.NORTH, 5000))
        assert len(sent) == 2
        assert sent[0] == sent[1]
        assert read(sent[0], request).code == ACCEPT
        # From another port it is another request, and there is no database to decide it.
        await responder._serve(request.packet, (world.NORTH, 5001))
        assert len(sent) == 2


class _Wire(asyncio.DatagramTransport):
    def __init__(self, sent: list[bytes]) -> None:
        super().__init__()
        self._sent = sent

    def is_closing(self) -> bool:
        return False

    def sendto(self, data: object, addr: object = None) -> None:
        assert isinstance(data, bytes)
        self._sent.append(data)

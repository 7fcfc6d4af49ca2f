"""`ispgraph interims`: what FreeRADIUS passes on is stored together, and answered when it is."""

import contextlib
import hashlib
import hmac
import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from ispgraph.radius import accounting, interims
from tests import factories
from tests.radius import running, world
from tests.radius.client import attribute, send
from tests.radius.conftest import Network, add, close_database, fetch, needs_freeradius, open_database
from tests.radius.reports import Report, deliver, session

SESSIONS = """SELECT class, state, input_octets, output_octets, duration_seconds, host(ip_address) AS ip,
    service_id IS NOT NULL AS known FROM sessions WHERE class = ANY ($1)"""


class Passing:
    """What stores Interims, and FreeRADIUS's part played by hand."""

    def __init__(self, network: Network, settings: Any, started: running.Running) -> None:
        self.network = network
        self.address = ("127.0.0.1", settings.radius_interim_port)
        [self.former, self.key] = reversed(interims.secrets(settings))
        self.running = started

    def packet(self, report: Report, *, source: str = "", extra: bytes = b"", secret: bytes = b"") -> bytes:
        """A report as FreeRADIUS passes it on."""
        return replace(report, identifier=source or report.nas, secret=secret or self.key, extra=extra).packet()

    def tell(self, report: Report, *, wait: float = 3.0, **how: Any) -> bytes | None:
        """Pass one on; what the answer carries, or None without one."""
        packet = self.packet(report, **how)
        reply = send(self.address, packet, "127.0.0.1", wait=wait)
        return None if reply is None else self.checked(reply, packet)

    def checked(self, reply: bytes, packet: bytes) -> bytes:
        """What a good answer carries."""
        assert reply[:2] == bytes([5, packet[1]])
        assert int.from_bytes(reply[2:4], "big") == len(reply)
        assert hashlib.md5(reply[:4] + packet[4:20] + reply[20:] + self.key).digest() == reply[4:20]
        return reply[20:]

    def sessions(self, *reports: Report) -> list[dict[str, Any]]:
        """What is in the books of these, in this order."""
        add(self.network, self.network.world.north)
        keys = [(report.cookie or b"").hex() for report in reports]
        rows = fetch(self.network, "ispgraph_app", SESSIONS, keys, tenant=self.network.world.north)
        return sorted((dict(row) for row in rows), key=lambda row: keys.index(row["class"]))


@pytest.fixture(scope="module")
def passing(network: Network) -> Iterator[Passing]:
    """The program, running."""
    # As it is while keys are changed: FreeRADIUS may still have either.
    settings = network.settings(network_key=factories.NETWORK_KEY + bytes(range(32)))
    with running.relay(settings) as started:
        yield Passing(network, settings, started)


def waiting(network: Network) -> int:
    """How many packets are put away and not yet added."""
    query = "SELECT count(*) FROM accounting_inbox"
    return int(fetch(network, "ispgraph_app", query, tenant=network.world.north)[0][0])


def test_an_interim_is_put_away_and_added(passing: Passing) -> None:
    line = session()
    assert passing.tell(line.start()) == b""
    before = waiting(passing.network)
    up, down = 3 * 2**32 + 5, 2**63
    assert passing.tell(line.interim(60, up, 2**33 + 6)) == b""
    assert waiting(passing.network) == before + 1
    [row] = passing.sessions(line)
    assert (row["input_octets"], row["output_octets"], row["duration_seconds"]) == (up, 2**33 + 6, 60)
    assert (row["state"], row["known"], row["ip"]) == ("OPEN", True, "10.9.8.7")
    # More than any counter can say is no reason to refuse it, nor the others of its time.
    assert passing.tell(line.interim(120, up, down)) == b""


def test_many_at_once(passing: Passing) -> None:
    lines = [session() for _ in range(200)]
    for line in lines:
        assert passing.tell(line.start()) is not None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.connect(passing.address)
        link.settimeout(5)
        packets = {}
        for number, line in enumerate(lines):
            packet = passing.packet(line.interim(300, number, 2 * number), extra=attribute(33, b"%d" % number))
            packets[b"%d" % number] = packet
            link.send(packet)
        answered = set()
        for _ in lines:
            reply = link.recv(4096)
            state = reply[22:]
            assert passing.checked(reply, packets[state]) == attribute(33, state)
            answered.add(state)
    assert answered == set(packets)
    rows = passing.sessions(*lines)
    assert [(row["input_octets"], row["output_octets"]) for row in rows] == [(n, 2 * n) for n in range(200)]


def test_what_is_no_interim_of_an_open_session_is_stored_by_itself(passing: Passing) -> None:
    late, nobody, over = session(), session(user="who-is-that"), session()
    assert passing.tell(late.interim(60, 5, 6)) == b""
    assert passing.tell(nobody.interim(60, 5, 6)) == b""
    for report in (over.start(), over.stop(60, 7, 8), over.interim(30, 3, 4)):
        assert passing.tell(report) == b""
    rows = passing.sessions(late, nobody, over)
    assert [(row["state"], row["input_octets"], row["known"]) for row in rows] == [
        ("OPEN", 5, True),
        ("OPEN", 5, False),
        ("STOPPED", 7, True),
    ]


@pytest.mark.parametrize(
    "how",
    [{"secret": b"wrong"}, {"source": world.STRANGER}, {"source": "nowhere"}, {"extra": attribute(44, b"\0")[:-1]}],
    ids=["another secret", "a stranger", "no address", "a length that is wrong"],
)
def test_silence_and_the_others_are_stored(passing: Passing, how: dict[str, Any]) -> None:
    bad, good = session(), session()
    assert passing.tell(good.start()) == b""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.connect(passing.address)
        link.settimeout(1)
        first = passing.packet(bad.interim(60, 1, 1), **how)
        link.send(first[:-1] if "extra" in how else first)
        second = passing.packet(good.interim(60, 2, 2))
        link.send(second)
        assert passing.checked(link.recv(4096), second) == b""
        with pytest.raises(TimeoutError):
            link.recv(4096)
    assert [row["input_octets"] for row in passing.sessions(bad, good)] == [2]


def test_a_former_key_is_believed_and_answered_with(passing: Passing) -> None:
    packet = passing.packet(session(), secret=passing.former)
    reply = send(passing.address, packet, "127.0.0.1")
    assert reply is not None
    assert hashlib.md5(reply[:4] + packet[4:20] + reply[20:] + passing.former).digest() == reply[4:20]


def test_it_says_that_it_is_there(passing: Passing) -> None:
    def status(key: bytes, signatures: int = 1) -> bytes:
        """Status-Server (RFC 5997)."""
        body = attribute(80, bytes(16)) * signatures
        packet = struct.pack("!BBH", 12, 7, 20 + len(body)) + os.urandom(16) + body
        return packet[:-16] + hmac.digest(key, packet, "md5") if signatures else packet

    good = status(passing.key)
    reply = send(passing.address, good, "127.0.0.1")
    assert reply is not None
    assert passing.checked(reply, good) == b""
    for bad in (status(b"wrong"), status(passing.key, 0), status(passing.key, 2)):
        assert send(passing.address, bad, "127.0.0.1", wait=0.3) is None


def test_nothing_is_answered_while_the_database_is_away(passing: Passing) -> None:
    line = session()
    assert passing.tell(line.start()) == b""
    close_database(passing.network.name)
    try:
        assert passing.tell(line.interim(60, 5, 6), wait=1) is None
    finally:
        open_database(passing.network.name)
    assert any(passing.tell(line.interim(60, 5, 6), wait=1) is not None for _ in range(10)), passing.running.output
    assert [row["input_octets"] for row in passing.sessions(line)] == [5]


@needs_freeradius[0]
@needs_freeradius[1]
def test_freeradius_stores_by_itself_while_nobody_is_there(network: Network) -> None:
    """The program hangs, is killed, and is there again: each Interim is answered, sent again a few times at most."""
    settings = network.settings()
    line = session()

    def until_answered(server: running.Running, report: Report) -> float:
        began = time.monotonic()
        while deliver(server.accounting, report, wait=0.5) is None:
            assert time.monotonic() < began + 25, server.output
        return time.monotonic() - began

    with contextlib.ExitStack() as stack:
        first = stack.enter_context(running.relay(settings))
        server = stack.enter_context(running.freeradius(settings, interims=True))
        until_answered(server, line.start())
        until_answered(server, line.interim(60, 1, 1))
        os.kill(first.process.pid, signal.SIGSTOP)
        until_answered(server, line.interim(120, 2, 2))
        # By now it is known that nobody is there, and nothing is waited for.
        assert until_answered(server, line.interim(180, 3, 3)) < 0.5
        assert deliver(server.accounting, line.stop(240, 4, 4)) is not None
        first.process.kill()
        first.process.wait()
        other = session()
        until_answered(server, other.start())
        with running.relay(settings) as second:
            until_answered(server, other.interim(60, 9, 9))
            assert second.process.poll() is None
    add(network, network.world.north)
    rows = fetch(
        network,
        "ispgraph_app",
        "SELECT class, state, input_octets FROM sessions WHERE class = ANY ($1)",
        [report.cookie.hex() for report in (line, other) if report.cookie],
        tenant=network.world.north,
    )
    assert {row[0]: (row[1], row[2]) for row in rows} == {
        (line.cookie or b"").hex(): ("STOPPED", 4),
        (other.cookie or b"").hex(): ("OPEN", 9),
    }


def test_a_packet_is_read_as_it_was_made() -> None:
    report = session(user="bob").interim(7, 2**32 + 1, 2, delay=3)
    read = accounting.attributes(report.packet())
    assert read is not None
    assert (read[1], read[44], read[41]) == ([b"bob"], [(report.session_id or "").encode()], [b"\0\0\0\3"])
    for bad in (b"", b"\4", report.packet()[:-1], struct.pack("!BBH", 4, 1, 21) + bytes(17)):
        assert accounting.attributes(bad) is None


def test_who_listens_can_be_told_to_stop(network: Network) -> None:
    with running.relay(network.settings()) as started:
        started.process.terminate()
        assert started.process.wait(10) == 0

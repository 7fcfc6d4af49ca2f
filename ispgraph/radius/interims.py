"""Interims that FreeRADIUS passes on, put away together: one statement and one commit for all that wait at the moment.

Nine of ten packets of an accounting server are Interims. FreeRADIUS can only ask the database about one at a time; here
those that come while the database is busy are the next ones to go there, so the busier it is, the less each costs. An
Interim is answered when it is stored, and FreeRADIUS answers the router then. While nobody listens here, FreeRADIUS
asks the database by itself (``site.conf``).
"""

import asyncio
import hashlib
import hmac
import socket
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import cast

import asyncpg
import structlog

from ispgraph import clock, metrics
from ispgraph.domain import secrets as sealed
from ispgraph.radius import accounting, program
from ispgraph.settings import Settings

log = structlog.get_logger("ispgraph.radius")

_REQUEST, _RESPONSE, _STATUS_SERVER, _INTERIM = 4, 5, 12, 3
_SOURCE, _PROXY_STATE, _SIGNATURE = 32, 33, 80
# At once; more wait, but an answer that comes after seconds is of use to nobody.
_TOGETHER = 1000
_WAITING = 20_000
_ALONE = 4
# Bytes of the socket's buffer: a second of ten thousand packets.
_BUFFER = 4 << 20

PUT = """SELECT radius_interims(
    $1::text[]::inet[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::text[]::inet[],
    $8::bigint[], $9::timestamptz[], $10::timestamptz[])"""


@dataclass(frozen=True, slots=True)
class Packet:
    """An Accounting-Request as FreeRADIUS passes it on, and whom to answer."""

    data: bytes
    attributes: accounting.Attributes
    came: datetime
    sender: tuple[str, int]
    key: bytes

    @property
    def source(self) -> str:
        """The address that it came from, which FreeRADIUS writes into NAS-Identifier."""
        return accounting.text(self.attributes, _SOURCE)

    @property
    def interim(self) -> bool:
        """May it be put away?"""
        return accounting.number(self.attributes, 40) == _INTERIM


def secrets(settings: Settings) -> tuple[bytes, ...]:
    """What FreeRADIUS and this program sign with: both know the network key, which itself stays where it is.

    FreeRADIUS signs with the first; what it was given before another key came is believed as well.
    """
    return tuple(hmac.digest(key, b"interims", "sha256").hex().encode() for key in sealed.keys(settings.network_key))


def proved(data: bytes, key: bytes) -> bool:
    """Does the Request Authenticator prove the secret (RFC 2866 section 3)?"""
    length = int.from_bytes(data[2:4], "big")
    proof = hashlib.md5(data[:4] + bytes(16) + data[20:length] + key).digest()  # noqa: S324
    return hmac.compare_digest(proof, data[4:20])


def signed(data: bytes, key: bytes) -> bool:
    """Is there a Message-Authenticator, and does it prove the secret (RFC 5997 section 3)?"""
    at, length = 20, int.from_bytes(data[2:4], "big")
    while at < length and data[at] != _SIGNATURE:
        at += data[at + 1]
    blank = data[: at + 2] + bytes(16) + data[at + 18 : length]
    return (
        at < length
        and data[at + 1] == 18
        and hmac.compare_digest(hmac.digest(key, blank, "md5"), data[at + 2 : at + 18])
    )


def response(data: bytes, attributes: accounting.Attributes, key: bytes) -> bytes:
    """Accounting-Response, with each Proxy-State of the request in its order (RFC 2865 section 5.33)."""
    body = b"".join(bytes([_PROXY_STATE, len(state) + 2]) + state for state in attributes.get(_PROXY_STATE, ()))
    head = bytes([_RESPONSE, data[1]]) + (20 + len(body)).to_bytes(2, "big")
    return head + hashlib.md5(head + data[4:20] + body + key).digest() + body  # noqa: S324


def columns(packets: Sequence[Packet]) -> tuple[list[object], ...]:
    """The arguments of ``radius_interims``: one array for each."""
    return tuple(map(list, zip(*map(_row, packets), strict=True)))


def _row(packet: Packet) -> tuple[object, ...]:
    said = packet.attributes
    event, address = accounting.number(said, 55), accounting.first(said, 8)
    return (
        packet.source,
        accounting.text(said, 44),
        accounting.first(said, 25).hex(),
        accounting.number(said, 46),
        _total(said, 42, 52),
        _total(said, 43, 53),
        socket.inet_ntoa(address) if len(address) == 4 else None,
        accounting.number(said, 41),
        None if event is None else datetime.fromtimestamp(event, UTC),
        packet.came,
    )


def _total(said: accounting.Attributes, octets: int, gigawords: int) -> int | None:
    low = accounting.number(said, octets)
    return None if low is None else low + (min(accounting.number(said, gigawords) or 0, 1048575) << 32)


class Relay(asyncio.DatagramProtocol):
    """Takes what FreeRADIUS passes on, and answers what is stored."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", keys: Sequence[bytes]) -> None:
        self._pool = pool
        self._keys = keys
        self._waiting: deque[Packet] = deque()
        self._some = asyncio.Event()
        self._room = asyncio.Semaphore(_ALONE)
        self._alone: set[asyncio.Task[None]] = set()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        attributes = accounting.attributes(data)
        if attributes is None:
            return
        if data[0] == _STATUS_SERVER:
            key = next((key for key in self._keys if signed(data, key)), None)
            if key is not None and len(attributes.get(_SIGNATURE, ())) == 1:
                self._send(response(data, attributes, key), addr)
        elif data[0] == _REQUEST and len(self._waiting) < _WAITING:
            key = next((key for key in self._keys if proved(data, key)), None)
            if key is not None:
                self._waiting.append(Packet(data, attributes, clock.now(), addr, key))
                self._some.set()

    async def work(self) -> None:
        """Put away what waits, until cancelled."""
        while True:
            await self._some.wait()
            self._some.clear()
            while self._waiting:
                packets = [self._waiting.popleft() for _ in range(min(_TOGETHER, len(self._waiting)))]
                interims = [packet for packet in packets if packet.interim]
                try:
                    stored = await self._put(interims) if interims else []
                except Exception as error:
                    # Anything: asyncpg says it in many ways that a connection is lost, and nobody else does this work.
                    # Whether it is one of them or the database, it is told by one at a time. Where none is answered,
                    # FreeRADIUS asks the database by itself, and the router sends again.
                    log.warning("interims cannot be stored together", error=type(error).__name__, detail=str(error))
                    stored = []
                self._each(packets, stored)

    async def _put(self, packets: Sequence[Packet]) -> list[Packet]:
        """Put Interims away; those that were, and are answered."""
        async with self._pool.acquire(timeout=program.DATABASE_SECONDS) as connection:
            left = set(await connection.fetchval(PUT, *columns(packets)))
        metrics.INTERIMS.observe(len(packets))
        stored = [packet for n, packet in enumerate(packets, 1) if n not in left]
        for packet in stored:
            self._answer(packet)
        return stored

    def _each(self, packets: Sequence[Packet], stored: Sequence[Packet]) -> None:
        """Store the others: not of an open session as it is known, or not Interims at all."""
        done = set(map(id, stored))
        for packet in packets:
            if id(packet) in done:
                continue
            task = asyncio.create_task(self._account(packet))
            self._alone.add(task)
            task.add_done_callback(self._alone.discard)

    async def _account(self, packet: Packet) -> None:
        try:
            async with self._room, self._pool.acquire(timeout=program.DATABASE_SECONDS) as connection:
                if (clock.now() - packet.came).total_seconds() > program.DATABASE_SECONDS:
                    return
                stored = await accounting.store(
                    connection, accounting.arguments(packet.attributes), packet.source, packet.came
                )
        except Exception as error:
            log.warning("an interim cannot be stored", error=type(error).__name__, detail=str(error))
        else:
            if stored:
                self._answer(packet)

    def _answer(self, packet: Packet) -> None:
        self._send(response(packet.data, packet.attributes, packet.key), packet.sender)

    def _send(self, answer: bytes, to: tuple[str, int]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(answer, to)


@asynccontextmanager
async def answering(settings: Settings, pool: "asyncpg.Pool[asyncpg.Record]") -> AsyncIterator[None]:
    """Take what is passed on meanwhile, and show figures."""
    metrics.serve(settings)
    relay = Relay(pool, secrets(settings))
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    receiver.bind(("127.0.0.1", settings.radius_interim_port))
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: relay, sock=receiver)
    working = asyncio.create_task(relay.work())
    yield
    transport.close()
    working.cancel()
    await asyncio.wait([working])


def main(settings: Settings) -> None:
    """Run in the foreground until told to stop."""
    program.run("interims", settings, _ALONE + 1, partial(answering, settings))

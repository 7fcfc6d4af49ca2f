"""The RADIUS client of a simulated router: logins and accounting over UDP from the router's own address.

As RouterOS since 7.15 it signs Access-Requests with Message-Authenticator and takes no answer to one without it, unless
the /radius item says ``require-message-auth=no``. Older versions neither send nor ask for it.
"""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import structlog

from ispgraph.lab import packets
from ispgraph.lab.credentials import Credential
from ispgraph.lab.items import Item
from ispgraph.lab.kinds import milliseconds
from ispgraph.lab.packets import Attribute, Packet
from ispgraph.lab.routeros import RouterOS

log = structlog.get_logger("ispgraph.lab")

TRIES = 3
# Of 256 identifiers a few stay unused, so that one is not taken again right after its answer.
_AT_ONCE = 240
_ANY = "0.0.0.0"  # noqa: S104
_WRONG = b" (mistyped)"


@dataclass(slots=True)
class RadiusCounters:
    """What /radius/monitor shows."""

    requests: int = 0
    accepts: int = 0
    rejects: int = 0
    resends: int = 0
    timeouts: int = 0
    bad_replies: int = 0
    last_request_rtt: float = 0.0


@dataclass(frozen=True, slots=True)
class Server:
    """One item of /radius, as far as the client needs it."""

    address: str
    auth_port: int
    acct_port: int
    secret: bytes
    timeout: float
    source: str
    demands_signature: bool


class RadiusClient:
    """Asks the servers of /radius in their order, each several times with the same identifier.

    ``mistyped_secret`` makes every packet bear a wrong secret, as after a slip of the installer.
    """

    def __init__(self, router: RouterOS, address: str) -> None:
        self._router = router
        self._address = address
        self._sockets: dict[tuple[str, str], _Socket] = {}
        self._opening = asyncio.Lock()
        self.counters = RadiusCounters()
        self.mistyped_secret = False
        self.tries = TRIES

    @property
    def signs(self) -> bool:
        """Does this version of RouterOS know Message-Authenticator?"""
        return self._router.version >= (7, 15)

    @property
    def pending(self) -> int:
        """Requests that wait for an answer."""
        return sum(len(socket.waiting) for socket in self._sockets.values())

    def servers(self, service: str) -> Iterator[Server]:
        """The enabled servers for ``ppp`` or ``hotspot``."""
        table = self._router.table("/radius")
        for item in table:
            services = (table.get(item, "service") or "").split(",")
            if service in services and table.get(item, "disabled") != "true":
                yield self._server(item)

    def known(self, source: str) -> bytes | None:
        """The secret of the enabled /radius item with this address; None for a stranger."""
        table = self._router.table("/radius")
        for item in table.find(address=source):
            if table.get(item, "disabled") != "true":
                return self._server(item).secret
        return None

    def _server(self, item: Item) -> Server:
        table = self._router.table("/radius")

        def get(name: str, default: str) -> str:
            return table.get(item, name) or default

        source = get("src-address", _ANY)
        return Server(
            address=get("address", ""),
            auth_port=int(get("authentication-port", "1812")),
            acct_port=int(get("accounting-port", "1813")),
            secret=get("secret", "").encode() + (_WRONG if self.mistyped_secret else b""),
            timeout=(milliseconds(get("timeout", "")) or 300) / 1000,
            source=self._address if source in (_ANY, "::") else source,
            demands_signature=self.signs and get("require-message-auth", "yes-for-request-resp") != "no",
        )

    async def authenticate(
        self, service: str, attributes: Sequence[Attribute], credential: Credential
    ) -> Packet | None:
        """Accept or Reject, or None when no server gave a valid answer, or the router is cut off."""
        if self._router.down:
            return None
        for server in self.servers(service):
            socket = await self._socket("auth", server.source)
            authenticator = secrets.token_bytes(16)

            def build(identifier: int, _attempt: float, server: Server = server, key: bytes = authenticator) -> bytes:
                body = [*attributes, *credential.attributes(key, server.secret)]
                if not self.signs:
                    return packets.encode(packets.ACCESS_REQUEST, identifier, key, body)
                body.insert(0, (packets.MESSAGE_AUTHENTICATOR, bytes(16)))
                return packets.seal(packets.encode(packets.ACCESS_REQUEST, identifier, key, body), server.secret, key)

            def valid(reply: Packet, server: Server = server, key: bytes = authenticator) -> bool:
                signed = bool(reply.all(packets.MESSAGE_AUTHENTICATOR))
                return (
                    reply.code in (packets.ACCESS_ACCEPT, packets.ACCESS_REJECT)
                    and packets.is_keyed(reply, server.secret, key)
                    and (signed or not server.demands_signature)
                    and (not signed or packets.sealed(reply, server.secret, key))
                )

            reply = await self._exchange(socket, (server.address, server.auth_port), server.timeout, build, valid)
            if reply is not None:
                if reply.code == packets.ACCESS_ACCEPT:
                    self.counters.accepts += 1
                else:
                    self.counters.rejects += 1
                return reply
        return None

    async def account(self, service: str, attributes: Sequence[Attribute], *, twice: bool = False) -> bool:
        """Report to a server; False when none confirmed. ``twice`` lets the network double each datagram.

        Acct-Delay-Time grows with each try, so the authenticator of the same identifier changes.
        """
        if self._router.down:
            return False
        begun = self._router.now()
        sent: dict[str, bytes] = {}
        for server in self.servers(service):
            socket = await self._socket("acct", server.source)

            def build(identifier: int, now: float, server: Server = server) -> bytes:
                body = [*attributes, (packets.ACCT_DELAY, packets.number(int(now - begun)))]
                blank = packets.encode(packets.ACCOUNTING_REQUEST, identifier, bytes(16), body)
                data = packets.keyed(blank, server.secret)
                sent["authenticator"] = data[4:20]
                return data

            def valid(reply: Packet, server: Server = server) -> bool:
                return reply.code == packets.ACCOUNTING_RESPONSE and packets.is_keyed(
                    reply, server.secret, sent["authenticator"]
                )

            to = (server.address, server.acct_port)
            if await self._exchange(socket, to, server.timeout, build, valid, twice) is not None:
                return True
        return False

    async def _exchange(
        self,
        socket: "_Socket",
        to: tuple[str, int],
        patience: float,
        build: Callable[[int, float], bytes],
        valid: Callable[[Packet], bool],
        twice: bool = False,
    ) -> Packet | None:
        async with socket.room:
            identifier = socket.free.popleft()
            answers: asyncio.Queue[tuple[bytes, tuple[str, int]]] = asyncio.Queue()
            socket.waiting[identifier] = answers
            self.counters.requests += 1
            try:
                for attempt in range(self.tries):
                    self.counters.resends += attempt > 0
                    data = build(identifier, self._router.now())
                    for _ in range(1 + twice):
                        socket.send(data, to)
                    reply = await self._answer(answers, to, patience, valid)
                    if reply is not None:
                        return reply
                    self.counters.timeouts += 1
                return None
            finally:
                del socket.waiting[identifier]
                socket.free.append(identifier)

    async def _answer(
        self,
        answers: "asyncio.Queue[tuple[bytes, tuple[str, int]]]",
        to: tuple[str, int],
        patience: float,
        valid: Callable[[Packet], bool],
    ) -> Packet | None:
        begun = time.monotonic()
        try:
            async with asyncio.timeout(patience):
                while True:
                    data, source = await answers.get()
                    try:
                        reply = packets.decode(data)
                    except packets.PacketError:
                        reply = None
                    if reply is not None and source == to and valid(reply):
                        self.counters.last_request_rtt = time.monotonic() - begun
                        return reply
                    self.counters.bad_replies += 1
        except TimeoutError:
            return None

    async def _socket(self, kind: str, source: str) -> "_Socket":
        async with self._opening:
            if (kind, source) not in self._sockets:
                loop = asyncio.get_running_loop()
                _, socket = await loop.create_datagram_endpoint(_Socket, local_addr=(source, 0))
                self._sockets[kind, source] = socket
            return self._sockets[kind, source]

    def close(self) -> None:
        """Send and receive no more."""
        for socket in self._sockets.values():
            socket.close()
        self._sockets.clear()


class _Socket(asyncio.DatagramProtocol):
    """One source port with its 256 identifiers. Answers go by identifier alone; whoever waits judges them."""

    def __init__(self) -> None:
        self.room = asyncio.Semaphore(_AT_ONCE)
        self.free = deque(range(256))
        self.waiting: dict[int, asyncio.Queue[tuple[bytes, tuple[str, int]]]] = {}
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if len(data) >= 20 and data[1] in self.waiting:
            self.waiting[data[1]].put_nowait((data, addr[:2]))

    def error_received(self, exc: Exception) -> None:
        log.debug("radius server unreachable", detail=str(exc))

    def send(self, data: bytes, to: tuple[str, int]) -> None:
        """Send unless the socket was closed."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data, to)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

"""The embedded RADIUS responder: logins and accounting over UDP, decided by the SQL functions that FreeRADIUS asks.

It exists so that one command shows the whole product on a laptop. Accounting is acknowledged when it is stored: without
an answer the router keeps a packet and sends it again, and one that was acknowledged and dropped would be lost.
"""

import asyncio
import ipaddress
import struct
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import asyncpg
import structlog
from pyrad.dictionary import Dictionary
from pyrad.packet import AccessAccept, AccessReject, AccessRequest, AccountingRequest, AuthPacket, PacketError

from ispgraph import clock
from ispgraph.radius import accounting, authenticate, program
from ispgraph.settings import Settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Attributes = dict[int | tuple[int, int], list[bytes]]

log = structlog.get_logger("ispgraph.radius")
dictionary = Dictionary(str(Path(__file__).with_name("dictionary")))

_USER_NAME, _USER_PASSWORD, _CHAP_PASSWORD, _CALLING_STATION, _PROXY_STATE = 1, 2, 3, 31, 33
_CHAP_CHALLENGE, _MESSAGE_AUTHENTICATOR = 60, 80
_MICROSOFT = 311
_MS_RESPONSE, _MS_ERROR, _MS_POLICY, _MS_TYPES = ((_MICROSOFT, code) for code in (1, 2, 7, 8))
_MS_CHALLENGE, _MS_KEYS, _MS_SEND, _MS_RECEIVE = ((_MICROSOFT, code) for code in (11, 12, 16, 17))
_MS2_RESPONSE, _MS2_SUCCESS = (_MICROSOFT, 25), (_MICROSOFT, 26)
# MPPE is allowed, not demanded, with 40 or 128 bits (RFC 2548 sections 2.4.4 and 2.4.5).
_MPPE: Attributes = {_MS_POLICY: [struct.pack("!I", 1)], _MS_TYPES: [struct.pack("!I", 6)]}

_SECRET_SECONDS = 30.0
_UNKNOWN_SECONDS = 2.0
_DUPLICATE_SECONDS = 5.0
_CACHE_LIMIT = 10_000
_AT_ONCE = 256
_CONNECTIONS = 8


@dataclass(frozen=True, slots=True)
class Row:
    """One attribute that SQL decided on; ``list`` is check or reply."""

    list: str
    attribute: str
    value: str


class Decisions:
    """The SQL side: who may ask, and what to answer. A pool that connects when it is needed, and again after a loss."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool
        self._secrets: OrderedDict[Address, tuple[float, bytes | None]] = OrderedDict()

    async def secret(self, nas: Address) -> bytes | None:
        """The shared secret of a client, at most 30 s old; None for a stranger."""
        now = asyncio.get_running_loop().time()
        until, secret = self._secrets.get(nas, (0.0, None))
        if until > now:
            return secret
        async with self._pool.acquire(timeout=program.DATABASE_SECONDS) as connection:
            found = await connection.fetchval("SELECT secret FROM radius_client($1)", nas)
        secret = found.encode() if found else None
        self._secrets[nas] = (now + (_SECRET_SECONDS if secret else _UNKNOWN_SECONDS), secret)
        self._secrets.move_to_end(nas)
        if len(self._secrets) > _CACHE_LIMIT:
            self._secrets.popitem(last=False)
        return secret

    async def rows(self, user_name: bytes, nas: Address, calling_station: bytes) -> list[Row]:
        """What the function decides for a login. A name that is not text belongs to nobody."""
        try:
            name, station = user_name.decode(), calling_station.decode()
        except UnicodeDecodeError:
            return []
        if "\0" in name or "\0" in station:
            return []
        async with self._pool.acquire(timeout=program.DATABASE_SECONDS) as connection:
            rows = await connection.fetch(
                "SELECT list, attribute, value FROM radius_authorize($1, $2, $3, $4)", name, nas, station, clock.now()
            )
        return [Row(row["list"], row["attribute"], row["value"]) for row in rows]

    async def account(self, told: Mapping[str, object], nas: Address) -> bool:
        """Store what an Accounting-Request tells; False when it may not be acknowledged."""
        async with self._pool.acquire(timeout=program.DATABASE_SECONDS) as connection:
            return await accounting.store(connection, told, nas, clock.now())


class Responder(asyncio.DatagramProtocol):
    """Answers each datagram in a task of its own; what cannot be answered truthfully is not answered.

    One answers requests with one code, logins or accounting.
    """

    def __init__(self, decisions: Decisions, code: int = AccessRequest) -> None:
        self._decisions = decisions
        self._code = code
        self._tasks: set[asyncio.Task[None]] = set()
        self._answers: OrderedDict[object, tuple[float, bytes | None]] = OrderedDict()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        # Beyond what the database can do at once, a late answer is worse than none: the NAS sends again.
        if len(self._tasks) < _AT_ONCE:
            task = asyncio.create_task(self._serve(data, addr))
            self._tasks.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("radius packet failed", exc_info=error)

    async def _serve(self, data: bytes, addr: tuple[str, int]) -> None:
        if not well_formed(data, self._code):
            return
        # RFC 5080 section 2.2.2: a repetition has the source, identifier and authenticator of the first.
        key = (addr[:2], data[:20])
        now = asyncio.get_running_loop().time()
        while self._answers and next(iter(self._answers.values()))[0] < now:
            self._answers.popitem(last=False)
        if key in self._answers:
            self._send(self._answers[key][1], addr)
            return
        if len(self._answers) >= _CACHE_LIMIT:
            self._answers.popitem(last=False)
        until = now + _DUPLICATE_SECONDS
        self._answers[key] = (until, None)
        answer: bytes | None = None
        try:
            answer = await self.answer(data, addr[0])
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            # Silence sends the NAS to its next server; a reject would tell a customer who has paid that he has not.
            log.warning("radius cannot decide", error=type(error).__name__, detail=str(error))
        finally:
            if answer is None:
                self._answers.pop(key, None)
        if answer is not None:
            self._answers[key] = (until, answer)
            self._send(answer, addr)

    async def answer(self, data: bytes, source: str) -> bytes | None:
        """The whole reply to a well-formed datagram; None when there shall be none."""
        nas = ipaddress.ip_address(source.partition("%")[0])
        nas = getattr(nas, "ipv4_mapped", None) or nas
        secret = await self._decisions.secret(nas)
        if secret is None:
            return None
        if self._code == AccountingRequest:
            report = accounting.read(data, secret, dictionary)
            stored = report is not None and await self._decisions.account(accounting.arguments(report), nas)
            return accounting.acknowledge(report) if stored else None
        request = read_request(data, secret)
        if request is None:
            return None
        name = _first(request, _USER_NAME)
        rows = await self._decisions.rows(name, nas, _first(request, _CALLING_STATION)) if name else []
        return reply_to(request, rows)

    def _send(self, answer: bytes | None, addr: tuple[str, int]) -> None:
        if answer is not None and self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(answer, addr)


def well_formed(data: bytes, code: int = AccessRequest) -> bool:
    """Is this a request with that code whose lengths add up (RFC 2865 sections 3 and 5)? What follows it is padding."""
    if len(data) < 20 or data[0] != code:
        return False
    length = int.from_bytes(data[2:4], "big")
    if not 20 <= length <= min(len(data), 4096):
        return False
    return accounting.attributes(data) is not None


def read_request(data: bytes, secret: bytes) -> AuthPacket | None:
    """Decode a well-formed Access-Request; None for one that must be dropped in silence.

    Message-Authenticator is verified when it is there (RFC 3579 section 3.2). RouterOS before 7.15 does not send it, so
    it cannot be demanded; but a router is no proxy, and Proxy-State is what CVE-2024-3596 needs.
    """
    try:
        request = AuthPacket(packet=data, secret=secret, dict=dictionary)
    except PacketError:
        return None
    signatures = request.get(_MESSAGE_AUTHENTICATOR, [])
    if not signatures:
        return None if _PROXY_STATE in request else request
    if len(signatures) > 1 or len(signatures[0]) != 16 or not request.verify_message_authenticator():
        return None
    return request


def reply_to(request: AuthPacket, rows: Sequence[Row]) -> bytes:
    """Accept or Reject, signed with Message-Authenticator (RFC 3579) whether or not the request was."""
    check = {row.attribute: row.value for row in rows if row.list == "check"}
    password = check.get("Cleartext-Password") if "Auth-Type" not in check else None
    try:
        proof = prove(request, password)
    except authenticate.BadCredentials:
        proof = None
    reply = request.CreateReply(message_authenticator=True)
    reply.add_message_authenticator()
    reply.code = AccessReject if proof is None else AccessAccept
    for row in rows:
        if row.list == "reply" and (proof is not None or row.attribute == "Reply-Message"):
            integer = dictionary.attributes[row.attribute].type == "integer"
            reply.AddAttribute(row.attribute, int(row.value) if integer else row.value)
    extra = proof if proof is not None else _mschap_error(request, password)
    for code, values in extra.items():
        reply[code] = values
    encoded: bytes = reply.ReplyPacket()
    return encoded


def prove(request: AuthPacket, password: str | None) -> Attributes | None:
    """Check the credential in the request: what an Accept must carry for it, or None when it is wrong or missing.

    Raises BadCredentials when its form is impossible.
    """
    if not password:
        return None
    if given := _first(request, _CHAP_PASSWORD):
        challenge = _first(request, _CHAP_CHALLENGE) or request.authenticator
        return {} if authenticate.chap(password, given, challenge) else None
    challenge = _first(request, _MS_CHALLENGE)
    if given := _first(request, _MS2_RESPONSE):
        success = authenticate.mschap2(password, given, challenge, _first(request, _USER_NAME))
        return None if success is None else {_MS2_SUCCESS: [given[:1] + success.response], **_keys(request, success)}
    if given := _first(request, _MS_RESPONSE):
        keys = authenticate.mschap(password, given, challenge)
        if keys is None:
            return None
        return {_MS_KEYS: [authenticate.hide_password(keys, request.authenticator, request.secret)], **_MPPE}
    if given := _first(request, _USER_PASSWORD):
        clear = authenticate.reveal_password(given, request.authenticator, request.secret)
        return {} if authenticate.pap(password, clear) else None
    return None


def _keys(request: AuthPacket, success: authenticate.MsChap2Success) -> Attributes:
    send = receive = request.SaltCrypt(success.send_key)
    # RFC 2548 section 2.4.2: the salts within a packet must differ.
    while receive[:2] == send[:2]:
        receive = request.SaltCrypt(success.receive_key)
    return {_MS_SEND: [send], _MS_RECEIVE: [receive], **_MPPE}


def _mschap_error(request: AuthPacket, password: str | None) -> Attributes:
    # RFC 2759 section 6: 691 is "authentication failure", and no second try in the same exchange. An account that may
    # not log in at all is told so by Reply-Message alone.
    response = _first(request, _MS2_RESPONSE) or _first(request, _MS_RESPONSE)
    if password is None or not response:
        return {}
    return {_MS_ERROR: [response[:1] + b"E=691 R=0"]}


def _first(request: AuthPacket, code: int | tuple[int, int]) -> bytes:
    values: list[bytes] = request.get(code, [])
    return values[0] if values else b""


@asynccontextmanager
async def answering(settings: Settings, pool: "asyncpg.Pool[asyncpg.Record]") -> AsyncIterator[None]:
    """Listen on both ports meanwhile."""
    loop = asyncio.get_running_loop()
    decisions = Decisions(pool)
    ports = {AccessRequest: settings.radius_auth_port, AccountingRequest: settings.radius_acct_port}
    transports = [
        (await loop.create_datagram_endpoint(partial(Responder, decisions, code), (settings.radius_host, port)))[0]
        for code, port in ports.items()
    ]
    yield
    for transport in transports:
        transport.close()


def main(settings: Settings) -> None:
    """Run the responder in the foreground until it is told to stop."""
    program.run("radius", settings, _CONNECTIONS, partial(answering, settings))

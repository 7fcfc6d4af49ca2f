"""A RADIUS server of the tests, on pyrad: it shares no code with the lab and notes everything it hears."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

from pyrad.dictionary import Dictionary
from pyrad.packet import AcctPacket, AuthPacket

SECRET = "a-secret-of-the-laboratory"

_DICTIONARY = """
ATTRIBUTE User-Name 1 string
ATTRIBUTE User-Password 2 string
ATTRIBUTE CHAP-Password 3 octets
ATTRIBUTE NAS-IP-Address 4 ipaddr
ATTRIBUTE NAS-Port 5 integer
ATTRIBUTE Service-Type 6 integer
ATTRIBUTE Framed-Protocol 7 integer
ATTRIBUTE Framed-IP-Address 8 ipaddr
ATTRIBUTE Reply-Message 18 string
ATTRIBUTE Class 25 octets
ATTRIBUTE Session-Timeout 27 integer
ATTRIBUTE Idle-Timeout 28 integer
ATTRIBUTE Called-Station-Id 30 string
ATTRIBUTE Calling-Station-Id 31 string
ATTRIBUTE NAS-Identifier 32 string
ATTRIBUTE Acct-Status-Type 40 integer
ATTRIBUTE Acct-Delay-Time 41 integer
ATTRIBUTE Acct-Input-Octets 42 integer
ATTRIBUTE Acct-Output-Octets 43 integer
ATTRIBUTE Acct-Session-Id 44 string
ATTRIBUTE Acct-Authentic 45 integer
ATTRIBUTE Acct-Session-Time 46 integer
ATTRIBUTE Acct-Input-Packets 47 integer
ATTRIBUTE Acct-Output-Packets 48 integer
ATTRIBUTE Acct-Terminate-Cause 49 integer
ATTRIBUTE Acct-Input-Gigawords 52 integer
ATTRIBUTE Acct-Output-Gigawords 53 integer
ATTRIBUTE Event-Timestamp 55 integer
ATTRIBUTE CHAP-Challenge 60 octets
ATTRIBUTE NAS-Port-Type 61 integer
ATTRIBUTE Port-Limit 62 integer
ATTRIBUTE Message-Authenticator 80 octets
ATTRIBUTE Acct-Interim-Interval 85 integer
ATTRIBUTE NAS-Port-Id 87 string
ATTRIBUTE Framed-Pool 88 string
VENDOR Microsoft 311
BEGIN-VENDOR Microsoft
ATTRIBUTE MS-CHAP-Challenge 11 octets
ATTRIBUTE MS-CHAP2-Response 25 octets
ATTRIBUTE MS-CHAP2-Success 26 octets
END-VENDOR Microsoft
VENDOR Mikrotik 14988
BEGIN-VENDOR Mikrotik
ATTRIBUTE Mikrotik-Recv-Limit 1 integer
ATTRIBUTE Mikrotik-Xmit-Limit 2 integer
ATTRIBUTE Mikrotik-Group 3 string
ATTRIBUTE Mikrotik-Rate-Limit 8 string
ATTRIBUTE Mikrotik-Recv-Limit-Gigawords 14 integer
ATTRIBUTE Mikrotik-Xmit-Limit-Gigawords 15 integer
ATTRIBUTE Mikrotik-Total-Limit 17 integer
ATTRIBUTE Mikrotik-Total-Limit-Gigawords 18 integer
ATTRIBUTE Mikrotik-Address-List 19 string
END-VENDOR Mikrotik
"""
DICTIONARY = Dictionary(StringIO(_DICTIONARY))
STATUS = {1: "Start", 2: "Stop", 3: "Interim"}

Reply = Mapping[str, Any]


@dataclass
class User:
    """Who may log in, and what he gets. ``reply`` may be changed while the server runs."""

    password: str
    reply: dict[str, Any] = field(default_factory=dict)
    message: str | None = None
    enabled: bool = True


@dataclass
class Heard:
    """A packet that came in, when, and from where."""

    packet: Any
    at: float
    source: tuple[str, int]
    data: bytes

    @property
    def kind(self) -> str:
        """Start, Stop or Interim."""
        return STATUS[self["Acct-Status-Type"]]

    def __getitem__(self, name: str) -> Any:
        return self.packet[name][0]

    def get(self, name: str) -> Any:
        """The first value or None."""
        return self.packet[name][0] if name in self.packet else None


class RadiusServer:
    """Serves PAP and CHAP from ``users``; ``sign`` False leaves Message-Authenticator out, as old FreeRADIUS does.

    ``ignore`` drops so many packets of a kind ("auth", "Start", "Interim", "Stop") before it answers again.
    """

    def __init__(self, users: dict[str, User] | None = None, secret: str = SECRET) -> None:
        self.users = users or {}
        self.secret = secret.encode()
        self.sign = True
        self.anybody: Reply | None = None
        self.decide: Callable[[Any], tuple[int, Reply]] | None = None
        self.ignore: dict[str, int] = {}
        self.logins: list[Heard] = []
        self.accounting: list[Heard] = []
        self.refused = 0
        self.auth_port = self.acct_port = 0
        self._transports: list[asyncio.DatagramTransport] = []
        self._news = asyncio.Event()

    async def __aenter__(self) -> "RadiusServer":
        loop = asyncio.get_running_loop()
        for take in (self._login, self._account):
            transport, _ = await loop.create_datagram_endpoint(
                lambda take=take: _Ear(take), local_addr=("127.0.0.1", 0)
            )
            self._transports.append(transport)
        self.auth_port, self.acct_port = (t.get_extra_info("sockname")[1] for t in self._transports)
        return self

    async def __aexit__(self, *_: object) -> None:
        for transport in self._transports:
            transport.close()

    async def heard(self, kind: str, *, user: str | None = None, count: int = 1, seconds: float = 5) -> list[Heard]:
        """Wait until so many accounting packets of this kind have come."""

        def found() -> list[Heard]:
            return [one for one in self.accounting if one.kind == kind and user in (None, one.get("User-Name"))]

        async with asyncio.timeout(seconds):
            while len(found()) < count:
                self._news.clear()
                await self._news.wait()
        return found()

    def _login(self, data: bytes, addr: tuple[str, int], transport: asyncio.DatagramTransport) -> None:
        packet = AuthPacket(packet=data, secret=self.secret, dict=DICTIONARY)
        signed = "Message-Authenticator" in packet
        if signed and not packet.verify_message_authenticator():
            self.refused += 1
            return
        self.logins.append(Heard(packet, time.monotonic(), addr, data))
        self._news.set()
        if self._ignored("auth"):
            return
        code, reply = self._judge(packet)
        answer = packet.CreateReply(message_authenticator=self.sign or None)
        answer.code = code
        for name, value in reply.items():
            for one in value if isinstance(value, list) else [value]:
                answer.AddAttribute(name, one)
        transport.sendto(answer.ReplyPacket(), addr)

    def _judge(self, packet: Any) -> tuple[int, Reply]:
        if self.decide is not None:
            return self.decide(packet)
        if self.anybody is not None:
            return 2, self.anybody
        user = self.users.get(packet["User-Name"][0])
        if user is None or not user.enabled or not _proved(packet, user.password):
            return 3, {"Reply-Message": user.message} if user and user.message else {}
        return 2, user.reply

    def _account(self, data: bytes, addr: tuple[str, int], transport: asyncio.DatagramTransport) -> None:
        packet = AcctPacket(packet=data, secret=self.secret, dict=DICTIONARY)
        if not packet.VerifyAcctRequest():
            self.refused += 1
            return
        heard = Heard(packet, time.monotonic(), addr, data)
        self.accounting.append(heard)
        self._news.set()
        if not self._ignored(heard.kind):
            transport.sendto(packet.CreateReply().ReplyPacket(), addr)

    def _ignored(self, kind: str) -> bool:
        left = self.ignore.get(kind, 0)
        self.ignore[kind] = max(0, left - 1)
        return left > 0


def _proved(packet: Any, password: str) -> bool:
    if "User-Password" in packet:
        clear: str = packet.PwDecrypt(packet["User-Password"][0])
        return clear == password
    given, challenge = packet["CHAP-Password"][0], packet["CHAP-Challenge"][0]
    return given[1:] == hashlib.md5(given[:1] + password.encode() + challenge).digest()


class _Ear(asyncio.DatagramProtocol):
    def __init__(self, take: Callable[[bytes, tuple[str, int], asyncio.DatagramTransport], None]) -> None:
        self._take = take

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._take(data, addr, self._transport)

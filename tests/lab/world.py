"""A small network for the tests: a RADIUS server, a lab, routers and subscribers on them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from pyrad.packet import CoAPacket

from ispgraph.lab import views
from ispgraph.lab.nas import Nas
from ispgraph.lab.network import Lab
from ispgraph.lab.orders import RouterOrder, SubscriberOrder
from ispgraph.lab.subscribers import Subscriber
from tests.lab.server import DICTIONARY, SECRET, RadiusServer, User

DISCONNECT, COA = 40, 43


@dataclass
class World:
    """Everything of one test."""

    server: RadiusServer
    lab: Lab

    async def router(self, name: str = "border", **changes: Any) -> Nas:
        """A router that asks the test's server; ``radius`` changes fields of that."""
        radius = {
            "server": "127.0.0.1",
            "auth_port": self.server.auth_port,
            "acct_port": self.server.acct_port,
            "secret": SECRET,
            "timeout": "1s",
            **changes.pop("radius", {}),
        }
        pools = [{"name": "main", "ranges": "10.9.0.2-10.9.0.254"}, {"name": "walled", "ranges": "10.66.0.2-10.66.0.9"}]
        order = {"name": name, "address": "127.0.0.11", "pools": pools, "radius": radius, **changes}
        return await self.lab.add_router(RouterOrder.read(order))

    def device(self, name: str, router: str = "border", **fields: Any) -> Subscriber:
        """A subscriber with the password `pw` who does not dial yet."""
        order = {"name": name, "router": router, "password": "pw", "redial_seconds": None, **fields}
        return self.lab.add_subscriber(SubscriberOrder.read(order))

    async def online(self, name: str, router: str = "border", **fields: Any) -> Subscriber:
        """A subscriber whose session is up."""
        one = self.device(name, router, online=True, **fields)
        await until(lambda: one.state != "dialing")
        assert one.state == "online", (one.reason, one.message)
        return one

    async def refused(self, name: str, **fields: Any) -> str:
        """Why a dial fails."""
        one = self.device(name, online=True, **fields)
        await until(lambda: one.state != "dialing")
        assert one.state in ("refused", "offline"), one.state
        return one.reason or ""

    def user(self, name: str, **reply: Any) -> User:
        """Let a user in; attributes with underscores for dashes."""
        user = self.server.users[name] = User("pw", {key.replace("_", "-"): value for key, value in reply.items()})
        return user


@contextlib.asynccontextmanager
async def world() -> AsyncIterator[World]:
    """A server and an empty lab."""
    async with RadiusServer() as server, Lab() as lab:
        yield World(server, lab)


async def until(true: Callable[[], object], seconds: float = 5) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.005)


def shown(nas: Nas, path: str, **equals: str) -> list[dict[str, str]]:
    """Dynamic items of a menu as they would be printed."""
    table = nas.router.table(path)
    names = table.menu.properties
    return [
        {name: value for name in names if (value := table.get(item, name)) is not None}
        for item in table.find(**equals)
        if item.dynamic
    ]


def state(one: Subscriber) -> dict[str, Any]:
    """What the control API would show."""
    return views.subscriber(one)


class Sender(asyncio.DatagramProtocol):
    """Sends requests as a RADIUS server would, from one port."""

    def __init__(self) -> None:
        self.replies: asyncio.Queue[bytes] = asyncio.Queue()
        self._next = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, source: str = "127.0.0.1") -> AsyncIterator["Sender"]:
        loop = asyncio.get_running_loop()
        transport, sender = await loop.create_datagram_endpoint(cls, local_addr=(source, 0))
        sender._transport = transport
        try:
            yield sender
        finally:
            transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.replies.put_nowait(data)

    def make(self, code: int, attributes: dict[str, Any], secret: str = SECRET, sign: bool = True) -> CoAPacket:
        """A request with an identifier of its own."""
        self._next = (self._next + 1) % 256
        packet = CoAPacket(
            code=code, secret=secret.encode(), dict=DICTIONARY, id=self._next, message_authenticator=sign or None
        )
        for name, value in attributes.items():
            packet.AddAttribute(name.replace("_", "-"), value)
        return packet

    async def send(self, nas: Nas, data: bytes, seconds: float = 2) -> bytes | None:
        """Send octets; the reply or None."""
        self._transport.sendto(data, (nas.address, nas.coa_port))
        try:
            async with asyncio.timeout(seconds):
                return await self.replies.get()
        except TimeoutError:
            return None


async def ask(nas: Nas, code: int, *, source: str = "127.0.0.1", wait: float = 2, **attributes: Any) -> Any:
    """Send a request with a good signature. The answer: (code, Error-Cause or None), or None for silence."""
    secret = attributes.pop("secret", SECRET)
    sign = attributes.pop("sign", True)
    async with Sender.open(source) as sender:
        packet = sender.make(code, attributes, secret, sign)
        data = await sender.send(nas, packet.RequestPacket(), wait)
        if data is None:
            return None
        reply = packet.CreateReply(packet=data)
        assert packet.VerifyReply(reply, data), "the answer's authenticator is wrong"
        assert (80 in reply) == sign
        causes = [int.from_bytes(value, "big") for value in reply.get(101, [])]
        return reply.code, causes[0] if causes else None

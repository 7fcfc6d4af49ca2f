"""Disconnect and CoA against a router made of bytes: it shares no code with the client or with pyrad."""

import asyncio
import hashlib
import hmac
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest

from ispgraph.adapters.errors import Unreachable
from ispgraph.adapters.radius_client import ERROR_CAUSES, Identity, Nas, Outcome, change, changes, disconnect

SECRET = b"a shared secret of 32 octets....."
ANNA = Identity("anna@lab", "81c00007", "10.0.0.7", "02:00:00:00:00:07", "127.0.0.2").attributes()


@dataclass(frozen=True)
class Request:
    """A packet as it came, taken apart by hand."""

    packet: bytes

    @property
    def code(self) -> int:
        return self.packet[0]

    @property
    def attributes(self) -> list[tuple[int, bytes]]:
        found, rest = [], self.packet[20:]
        while rest:
            found.append((rest[0], rest[2 : rest[1]]))
            rest = rest[rest[1] :]
        return found

    def valid(self, secret: bytes = SECRET) -> bool:
        """Length, Request Authenticator (RFC 5176 section 2.3) and Message-Authenticator (RFC 3579 section 3.2)."""
        head, rest = self.packet[:4], self.packet[20:]
        if int.from_bytes(self.packet[2:4], "big") != len(self.packet):
            return False
        if hashlib.md5(head + bytes(16) + rest + secret).digest() != self.packet[4:20]:
            return False
        zeroed, given = b"", []
        for number, value in self.attributes:
            if number == 80:
                given.append(value)
                value = bytes(16)
            zeroed += bytes([number, len(value) + 2]) + value
        return given == [hmac.digest(secret, head + bytes(16) + zeroed, "md5")]

    def reply(
        self, ack: bool, attributes: bytes = b"", *, secret: bytes = SECRET, sign: bool = False, **other: int
    ) -> bytes:
        code = other.get("code", self.code + (1 if ack else 2))
        head = bytes([code, other.get("id", self.packet[1])])
        if sign:
            size = (20 + len(attributes) + 18).to_bytes(2, "big")
            unsigned = head + size + self.packet[4:20] + attributes + bytes([80, 18])
            attributes += bytes([80, 18]) + hmac.digest(secret, unsigned + bytes(16), "md5")
        head += (20 + len(attributes)).to_bytes(2, "big")
        return head + hashlib.md5(head + self.packet[4:20] + attributes + secret).digest() + attributes


def because(number: int) -> bytes:
    return bytes([101, 6]) + number.to_bytes(4, "big")


class Router(asyncio.DatagramProtocol):
    """Calls `answer` with itself for every request."""

    def __init__(self, answer: "Answer") -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.senders: list[tuple[str, int]] = []

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.requests.append(Request(data))
        self.senders.append(addr)
        self.answer(self)

    def send(self, data: bytes) -> None:
        self.transport.sendto(data, self.senders[-1])


Answer = Callable[[Router], None]


@asynccontextmanager
async def router(answer: Answer) -> AsyncIterator[tuple[Nas, Router]]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(lambda: Router(answer), local_addr=("127.0.0.1", 0))
    try:
        yield Nas("127.0.0.1", transport.get_extra_info("sockname")[1], SECRET), protocol
    finally:
        transport.close()


def acks(device: Router) -> None:
    device.send(device.requests[-1].reply(True))


async def test_a_disconnect_names_the_session_and_is_signed() -> None:
    async with router(acks) as (nas, device):
        answer = await disconnect(nas, ANNA)
    (request,) = device.requests
    assert request.code == 40
    assert request.valid()
    assert not request.valid(b"another secret")
    # The signature comes first, where it can not be missed.
    assert [number for number, _ in request.attributes] == [80, 1, 44, 8, 31, 4]
    assert request.attributes[1:] == [
        (1, b"anna@lab"),
        (44, b"81c00007"),
        (8, bytes([10, 0, 0, 7])),
        (31, b"02:00:00:00:00:07"),
        (4, bytes([127, 0, 0, 2])),
    ]
    assert (answer.outcome, answer.error_cause, answer.sends) == (Outcome.ACK, None, 1)
    assert answer.round_trip_ms is not None
    assert 0 < answer.round_trip_ms < 1000
    assert answer.text == "Agreed"


async def test_a_change_carries_what_changes() -> None:
    async with router(acks) as (nas, device):
        answer = await change(
            nas,
            Identity("anna@lab", "81c00007").attributes() | changes(rate_limit="2M/10M", session_timeout=3600),
        )
    (request,) = device.requests
    assert request.code == 43
    assert request.valid()
    assert request.attributes[1:] == [
        (1, b"anna@lab"),
        (44, b"81c00007"),
        (26, (14988).to_bytes(4, "big") + bytes([8, 8]) + b"2M/10M"),
        (27, (3600).to_bytes(4, "big")),
    ]
    assert answer.outcome is Outcome.ACK


def test_what_is_not_known_is_left_out_and_nothing_at_all_is_refused() -> None:
    assert Identity(user_name="anna", framed_ip="10.0.0.7").attributes() == {
        "User-Name": "anna",
        "Framed-IP-Address": "10.0.0.7",
    }
    for nobody in (Identity(), Identity(nas_ip="127.0.0.2"), Identity(user_name="")):
        with pytest.raises(ValueError, match="session"):
            nobody.attributes()
    assert changes() == {}
    assert changes(session_timeout=0) == {"Session-Timeout": 0}


@pytest.mark.parametrize("attributes", [{"User-Name": "x" * 254}, {"Framed-IP-Address": "10.0.0.700"}])
async def test_what_can_not_be_encoded_is_not_sent(attributes: dict[str, str | int]) -> None:
    async with router(acks) as (nas, device):
        with pytest.raises(ValueError, match=r"\d"):
            await disconnect(nas, attributes)
    assert device.requests == []


@pytest.mark.parametrize("sign", [False, True])
@pytest.mark.parametrize("cause", sorted(ERROR_CAUSES))
async def test_the_reason_of_a_refusal(cause: int, sign: bool) -> None:
    def refuses(device: Router) -> None:
        device.send(device.requests[-1].reply(False, because(cause), sign=sign))

    async with router(refuses) as (nas, _):
        for ask in (disconnect, change):
            answer = await ask(nas, ANNA)
            assert (answer.outcome, answer.error_cause) == (Outcome.NAK, cause)
            assert answer.text == f"Refused: {ERROR_CAUSES[cause]} ({cause})"


@pytest.mark.parametrize(
    ("attributes", "cause", "text"),
    [
        (b"", None, "Refused without a reason"),
        (bytes([101, 4, 1, 247]), None, "Refused without a reason"),
        (bytes([101, 200, 1]), None, "Refused without a reason"),
        (because(999), 999, "Refused: Unknown reason (999)"),
        (bytes([18, 4]) + b"no" + because(503), 503, "Refused: Session context not found (503)"),
    ],
)
async def test_refusals_of_other_shapes(attributes: bytes, cause: int | None, text: str) -> None:
    def refuses(device: Router) -> None:
        device.send(device.requests[-1].reply(False, attributes))

    async with router(refuses) as (nas, _):
        answer = await disconnect(nas, ANNA)
    assert (answer.outcome, answer.error_cause, answer.text) == (Outcome.NAK, cause, text)


async def test_an_ack_may_come_with_a_reason() -> None:
    def agrees(device: Router) -> None:
        device.send(device.requests[-1].reply(True, because(201)))

    async with router(agrees) as (nas, _):
        answer = await disconnect(nas, ANNA)
    assert (answer.outcome, answer.error_cause) == (Outcome.ACK, 201)
    assert answer.text == "Agreed: Residual session context removed (201)"


async def test_silence_is_an_answer_after_the_same_bytes_three_times() -> None:
    async with router(lambda device: None) as (nas, device):
        begun = asyncio.get_running_loop().time()
        answer = await disconnect(nas, ANNA, interval=0.1)
        taken = asyncio.get_running_loop().time() - begun
    assert (answer.outcome, answer.error_cause, answer.round_trip_ms, answer.sends) == (Outcome.TIMEOUT, None, None, 3)
    assert answer.text == "No answer to 3 packets"
    assert 0.28 < taken < 2
    assert len(device.requests) == 3
    assert len(set(device.requests)) == 1
    assert len(set(device.senders)) == 1


async def test_an_answer_that_is_late_is_taken_while_we_wait() -> None:
    def slow(device: Router) -> None:
        if len(device.requests) == 1:
            asyncio.get_running_loop().call_later(0.15, device.send, device.requests[0].reply(True))

    async with router(slow) as (nas, device):
        answer = await disconnect(nas, ANNA, interval=0.1)
        assert (answer.outcome, answer.sends, len(device.requests)) == (Outcome.ACK, 2, 2)
        assert answer.round_trip_ms is not None
        assert 140 < answer.round_trip_ms < 2000


async def test_an_answer_that_is_too_late_disturbs_nobody() -> None:
    def late(device: Router) -> None:
        asyncio.get_running_loop().call_later(0.1, device.send, device.requests[-1].reply(True))

    async with router(late) as (nas, _):
        answer = await disconnect(nas, ANNA, sends=1, interval=0.05)
        assert answer.outcome is Outcome.TIMEOUT
        await asyncio.sleep(0.1)
        answer = await disconnect(nas, ANNA, sends=1, interval=0.05)
        assert answer.outcome is Outcome.TIMEOUT


FORGERIES: dict[str, Callable[[Request], bytes]] = {
    "another secret": lambda request: request.reply(True, secret=b"another secret"),
    "another identifier": lambda request: request.reply(True, id=(request.packet[1] + 1) % 256),
    "the answer to a change": lambda request: request.reply(True, code=44),
    "an access-accept": lambda request: request.reply(True, code=2),
    "the request itself": lambda request: request.packet,
    "a wrong message authenticator": lambda request: request.reply(True, bytes([80, 18]) + b"x" * 16),
    "a short message authenticator": lambda request: request.reply(True, bytes([80, 4]) + b"xx"),
    "an attribute of no length": lambda request: request.reply(True, bytes([101, 0, 1])),
    "a vendor cut short": lambda request: request.reply(True, bytes([26, 5, 0, 0, 1]))[:-1],
    "half a packet": lambda request: request.reply(True)[:11],
    "nothing": lambda request: b"",
    "text": lambda request: b"GET / HTTP/1.1\r\nHost: radius.example.net\r\n\r\n",
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES.keys())
async def test_forged_and_broken_replies_are_ignored(forge: Callable[[Request], bytes]) -> None:
    def forges(device: Router) -> None:
        device.send(forge(device.requests[-1]))
        if len(device.requests) == 2:
            device.send(device.requests[-1].reply(False, because(503)))

    async with router(forges) as (nas, _):
        answer = await disconnect(nas, ANNA, interval=0.05)
    assert (answer.outcome, answer.error_cause, answer.sends) == (Outcome.NAK, 503, 2)


async def test_a_wrong_secret_looks_like_silence() -> None:
    def checks(device: Router) -> None:
        if device.requests[-1].valid():
            acks(device)

    async with router(checks) as (nas, device):
        answer = await disconnect(replace(nas, secret=b"not this one"), ANNA, sends=2, interval=0.05)
        assert (answer.outcome, len(device.requests)) == (Outcome.TIMEOUT, 2)
        assert (await disconnect(nas, ANNA)).outcome is Outcome.ACK


async def test_a_reply_from_another_address_is_ignored() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:
        elsewhere.bind(("127.0.0.9", 0))

        def misdirects(device: Router) -> None:
            elsewhere.sendto(device.requests[-1].reply(True), device.senders[-1])

        async with router(misdirects) as (nas, _):
            answer = await disconnect(nas, ANNA, sends=2, interval=0.05)
    assert answer.outcome is Outcome.TIMEOUT


async def test_the_source_is_as_the_router_expects_it() -> None:
    async with router(acks) as (nas, device):
        assert (await disconnect(replace(nas, source="127.0.0.5"), ANNA)).outcome is Outcome.ACK
        assert device.senders[-1][0] == "127.0.0.5"
        with pytest.raises(Unreachable, match=r"assign|bind"):
            await disconnect(replace(nas, source="192.0.2.1"), ANNA)


async def test_nobody_at_the_port_and_no_such_name() -> None:
    async with router(acks) as (nas, _):
        pass
    await asyncio.sleep(0.01)
    with pytest.raises(Unreachable, match="Connection refused") as caught:
        await disconnect(nas, ANNA)
    assert not caught.value.outcome_unknown
    with pytest.raises(Unreachable, match=r"no\.such\.host\.invalid port"):
        await disconnect(replace(nas, host="no.such.host.invalid"), ANNA)


async def test_a_router_that_goes_away_may_have_heard() -> None:
    def leaves(device: Router) -> None:
        device.transport.close()

    async with router(leaves) as (nas, _):
        with pytest.raises(Unreachable) as caught:
            await disconnect(nas, ANNA, interval=0.05)
    assert caught.value.outcome_unknown


async def test_many_at_once_are_not_mixed_up() -> None:
    """More than there are identifiers; each is answered in an order of its own, with a reason of its own."""

    def answers(device: Router) -> None:
        request = device.requests[-1]
        number = int(dict(request.attributes)[44])
        reply = request.reply(number % 2 == 0, because(1000 + number))
        sender = device.senders[-1]
        asyncio.get_running_loop().call_later((number * 7 % 10) / 100, device.transport.sendto, reply, sender)

    async with router(answers) as (nas, device):
        named = [Identity("anna", f"{number:08}").attributes() for number in range(400)]
        # The one socket of this router may overflow: what it missed comes again.
        found = await asyncio.gather(*(disconnect(nas, session, sends=5, interval=0.4) for session in named))
    for number, answer in enumerate(found):
        outcome = Outcome.ACK if number % 2 == 0 else Outcome.NAK
        assert (answer.outcome, answer.error_cause) == (outcome, 1000 + number)
    assert len(set(device.senders)) == 400


def test_the_secret_is_not_shown() -> None:
    assert "shared" not in repr(Nas("127.0.0.1", 3799, SECRET))

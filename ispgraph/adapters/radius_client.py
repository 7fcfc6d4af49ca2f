"""Asking a router to end or to change a session, over RADIUS: Disconnect-Request and CoA-Request (RFC 5176).

Every request carries a Message-Authenticator. A request is sent again as the very same bytes, so that a router which
has seen it answers again without acting twice. Replies that come from elsewhere, or are not signed with the shared
secret, are as if they had not come. Each exchange has a socket of its own, and with it the whole space of identifiers.

An ACK says that the router agreed, not that the session is gone: whoever needs to know looks afterwards.
"""

import asyncio
import enum
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pyrad.dictionary import Dictionary
from pyrad.packet import (
    CoAACK,
    CoANAK,
    CoAPacket,
    CoARequest,
    DisconnectACK,
    DisconnectNAK,
    DisconnectRequest,
    PacketError,
)

from ispgraph import traces
from ispgraph.adapters.errors import Unreachable, cause

SENDS = 3
INTERVAL_SECONDS = 2.0
_RESOLVE_SECONDS = 5.0
_ERROR_CAUSE = 101

# RFC 5176 section 3.5.
ERROR_CAUSES: dict[int, str] = {
    201: "Residual session context removed",
    202: "Invalid EAP packet ignored",
    401: "Unsupported attribute",
    402: "Missing attribute",
    403: "NAS identification mismatch",
    404: "Invalid request",
    405: "Unsupported service",
    406: "Unsupported extension",
    407: "Invalid attribute value",
    501: "Administratively prohibited",
    502: "Request not routable",
    503: "Session context not found",
    504: "Session context not removable",
    505: "Other proxy processing error",
    506: "Resources unavailable",
    507: "Request initiated",
    508: "Multiple session selection unsupported",
}

_ACKS = (DisconnectACK, CoAACK)
_NAMES = {DisconnectRequest: "Disconnect-Request", CoARequest: "CoA-Request"}
_ANSWERS = {DisconnectRequest: (DisconnectACK, DisconnectNAK), CoARequest: (CoAACK, CoANAK)}

_dictionary = Dictionary(str(Path(__file__).with_name("dictionary")))


class Outcome(enum.Enum):
    ACK = "ACK"
    NAK = "NAK"
    TIMEOUT = "TIMEOUT"


@dataclass(frozen=True, slots=True)
class Nas:
    """Where a router takes such requests. `source` is the address of ours that it expects them from, if not any."""

    host: str
    port: int
    secret: bytes = field(repr=False)
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """Which session is meant, as its accounting named it: exact strings, what is not known left out.

    A hotspot user needs `framed_ip` beside `user_name`; a PPP session is best named by `user_name` and
    `acct_session_id`. `nas_ip` may only be given exactly as accounting gave it, or the request is refused (403).
    """

    user_name: str | None = None
    acct_session_id: str | None = None
    framed_ip: str | None = None
    calling_station_id: str | None = None
    nas_ip: str | None = None

    def attributes(self) -> dict[str, str | int]:
        """Raises ValueError if nothing names a session: a router might take that for all of them."""
        named = {
            "User-Name": self.user_name,
            "Acct-Session-Id": self.acct_session_id,
            "Framed-IP-Address": self.framed_ip,
            "Calling-Station-Id": self.calling_station_id,
        }
        if not any(named.values()):
            raise ValueError("nothing names the session")
        return {name: value for name, value in (named | {"NAS-IP-Address": self.nas_ip}).items() if value}


def changes(*, rate_limit: str | None = None, session_timeout: int | None = None) -> dict[str, str | int]:
    """What a CoA-Request changes: `rate_limit` in RouterOS' grammar (``upload/download``), `session_timeout` in seconds
    from now. RouterOS can not change an address, a pool or an address list this way."""
    wanted = {"Mikrotik-Rate-Limit": rate_limit, "Session-Timeout": session_timeout}
    return {name: value for name, value in wanted.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request. `error_cause` is the router's reason, if it gave one (a NAK may come without).

    `round_trip_ms` runs from the first sending to the answer, and is None if there was none. `sends` counts packets.
    """

    outcome: Outcome
    error_cause: int | None
    round_trip_ms: float | None
    sends: int

    @property
    def text(self) -> str:
        """The answer in words."""
        if self.outcome is Outcome.TIMEOUT:
            return f"No answer to {self.sends} packets"
        if self.error_cause is None:
            return "Agreed" if self.outcome is Outcome.ACK else "Refused without a reason"
        cause = ERROR_CAUSES.get(self.error_cause, "Unknown reason")
        return f"{'Agreed' if self.outcome is Outcome.ACK else 'Refused'}: {cause} ({self.error_cause})"


async def disconnect(
    nas: Nas, attributes: Mapping[str, str | int], *, sends: int = SENDS, interval: float = INTERVAL_SECONDS
) -> Answer:
    """Ask to end the session that `attributes` name (Identity.attributes). One packet, sent up to `sends` times,
    `interval` seconds apart, and as long waited for after the last.

    Raises Unreachable if it can not be sent or is refused on the way (no such name, no route, nobody at the port);
    ValueError if an attribute can not be encoded. Silence is an answer: TIMEOUT, which a wrong secret looks like too.
    """
    return await _exchange(nas, DisconnectRequest, attributes, sends, interval)


async def change(
    nas: Nas, attributes: Mapping[str, str | int], *, sends: int = SENDS, interval: float = INTERVAL_SECONDS
) -> Answer:
    """Ask to change the session: `attributes` are its Identity.attributes() and `changes`. Else as `disconnect`."""
    return await _exchange(nas, CoARequest, attributes, sends, interval)


class _Listening(asyncio.DatagramProtocol):
    """Waits for one valid reply, or for word from the network that nobody is there."""

    def __init__(self, request: CoAPacket) -> None:
        self._request = request
        self.reply: CoAPacket | None = None
        self.error: OSError | None = None
        self.settled = asyncio.Event()

    def datagram_received(self, data: bytes, addr: object) -> None:
        if self.reply is None and (reply := _reply(self._request, data)) is not None:
            self.reply = reply
            self.settled.set()

    def error_received(self, exc: Exception) -> None:
        if isinstance(exc, OSError):
            self.error = exc
            self.settled.set()


async def _exchange(nas: Nas, code: int, attributes: Mapping[str, str | int], sends: int, interval: float) -> Answer:
    with traces.within(f"radius {_NAMES[code]}", "CLIENT") as span:
        answer = await _exchanged(nas, code, attributes, sends, interval)
        span.tell({"ispgraph.outcome": answer.outcome.name, "ispgraph.sends": answer.sends})
        return answer


async def _exchanged(nas: Nas, code: int, attributes: Mapping[str, str | int], sends: int, interval: float) -> Answer:
    request = CoAPacket(code, secrets.randbelow(256), nas.secret, dict=_dictionary, message_authenticator=True)
    for name, value in attributes.items():
        request[name] = value
    packet = request.RequestPacket()
    loop = asyncio.get_running_loop()
    local = None if nas.source is None else (nas.source, 0)
    try:
        # Connected, so that the kernel lets in only what comes from the router, and tells us when nobody is there.
        async with asyncio.timeout(_RESOLVE_SECONDS):
            transport, listening = await loop.create_datagram_endpoint(
                lambda: _Listening(request), local_addr=local, remote_addr=(nas.host, nas.port)
            )
    except OSError as error:
        raise _unreachable(nas, error, 0) from error
    try:
        begun = time.perf_counter()
        for number in range(1, sends + 1):
            transport.sendto(packet)
            with suppress(TimeoutError):
                async with asyncio.timeout(interval):
                    await listening.settled.wait()
            if listening.reply is not None:
                outcome = Outcome.ACK if listening.reply.code in _ACKS else Outcome.NAK
                return Answer(outcome, _error_cause(listening.reply), (time.perf_counter() - begun) * 1000, number)
            if listening.error is not None:
                raise _unreachable(nas, listening.error, number - 1) from listening.error
    finally:
        transport.abort()
    return Answer(Outcome.TIMEOUT, None, None, sends)


def _reply(request: CoAPacket, data: bytes) -> CoAPacket | None:
    # What was signed by nobody we know is not looked into: a packet that claims to be ours must not stop the wait.
    try:
        reply = request.CreateReply(packet=data)
    except PacketError:
        return None
    return reply if reply.code in _ANSWERS[request.code] and request.VerifyReply(reply) else None


def _error_cause(reply: CoAPacket) -> int | None:
    for value in reply.get(_ERROR_CAUSE, []):
        if len(value) == 4:
            return int.from_bytes(value, "big")
    return None


def _unreachable(nas: Nas, error: OSError, unanswered: int) -> Unreachable:
    # An earlier packet that was not answered may still have arrived.
    text = f"{nas.host} port {nas.port} does not take RADIUS requests: {cause(error)}"
    return Unreachable(text, outcome_unknown=unanswered > 0)

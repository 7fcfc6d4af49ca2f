"""Asking a router to end or to change a session, over RADIUS: Disconnect-Request and CoA-Request (RFC 5176).

Every request carries a Message-Authenticator. A request is sent again as the very same bytes, so that a router which
has seen it answers again without acting twice. Replies that come from elsewhere, or are not signed with the shared
secret, are as if they had not come. Each exchange has a socket of its own, and with it the whole space of identifiers.

An ACK says that the router agreed, not that the session is gone: whoever needs to know looks afterwards.
"""

import asyncio
import enum
import secrets
from collections.abc import Mapping
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

from ispgraph.adapters.errors import Unreachable

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
    """Ask to change the session: `attributes` are its Identity.attributes() and `changes`. Otherwise as `disconnect`."""
    return await _exchange(nas, CoARequest, attributes, sends, interval)


async def _exchange(nas: Nas, code: int, attributes: Mapping[str, str | int], sends: int, interval: float) -> Answer:
    request = CoAPacket(code, secrets.randbelow(256), nas.secret, dict=_dictionary, message_authenticator=True)
    for name, value in attributes.items():
        request[name] = value
    packet = request.RequestPacket()
    raise NotImplementedError

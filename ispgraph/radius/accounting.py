"""Accounting-Requests as the embedded responder reads them, how they are stored, and the answer.

What a packet means for its session is decided by the SQL function ``radius_accounting`` alone, whichever server asks.
"""

import ipaddress
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import asyncpg
from pyrad.dictionary import Dictionary
from pyrad.packet import AcctPacket, PacketError

Attributes = dict[int, list[bytes]]

# Arguments of the SQL function that are numbers of 32 bits: the attribute each is in (RFC 2865, 2866 and 2869).
_NUMBERS = {
    "p_status": 40,
    "p_session_time": 46,
    "p_input_octets": 42,
    "p_input_gigawords": 52,
    "p_output_octets": 43,
    "p_output_gigawords": 53,
    "p_service_type": 6,
    "p_port_type": 61,
    "p_delay": 41,
    "p_terminate_cause": 49,
}
_USER_NAME, _NAS_ADDRESS, _IP_ADDRESS, _CLASS, _CALLING_STATION, _SESSION_ID, _EVENT = 1, 4, 8, 25, 31, 44, 55
_MESSAGE_AUTHENTICATOR = 80


def attributes(data: bytes) -> Attributes | None:
    """Attributes by their number, or None where lengths do not add up (RFC 2865 sections 3 and 5)."""
    length = int.from_bytes(data[2:4], "big")
    if not 20 <= length <= len(data):
        return None
    found: Attributes = {}
    at = 20
    while at + 2 <= length and 2 <= data[at + 1] <= length - at:
        found.setdefault(data[at], []).append(data[at + 2 : at + data[at + 1]])
        at += data[at + 1]
    return found if at == length else None


def read(data: bytes, secret: bytes, dictionary: Dictionary) -> AcctPacket | None:
    """Decode a well-formed Accounting-Request; None for one that must be dropped in silence.

    The Request Authenticator proves the shared secret (RFC 2866 section 3). Message-Authenticator proves it once more,
    where a router adds it.
    """
    try:
        request = AcctPacket(packet=data[: int.from_bytes(data[2:4], "big")], secret=secret, dict=dictionary)
    except PacketError:
        return None
    signatures = request.get(_MESSAGE_AUTHENTICATOR, [])
    if not request.VerifyAcctRequest() or len(signatures) > 1:
        return None
    if signatures and (len(signatures[0]) != 16 or not request.verify_message_authenticator()):
        return None
    return request


def arguments(request: Mapping[int, list[bytes]]) -> dict[str, object]:
    """The named arguments of ``radius_accounting`` but for the source of the packet and the time.

    Text that is not text is empty, and an attribute of an impossible length is taken to be missing.
    """
    event = number(request, _EVENT)
    return {
        "p_username": text(request, _USER_NAME),
        "p_session_id": text(request, _SESSION_ID),
        "p_class": first(request, _CLASS).hex(),
        "p_ip_address": _address(request, _IP_ADDRESS),
        "p_calling_station": text(request, _CALLING_STATION),
        "p_nas_address": _address(request, _NAS_ADDRESS),
        "p_event": None if event is None else datetime.fromtimestamp(event, UTC),
        **{name: number(request, code) for name, code in _NUMBERS.items()},
    }


async def store(
    connection: "asyncpg.pool.PoolConnectionProxy[Any]", told: Mapping[str, object], nas: object, at: datetime
) -> bool:
    """Store what a packet from an address tells, received at an instant; False when it may not be acknowledged."""
    named = {**told, "p_nas": nas, "p_at": at}
    passed = ", ".join(f"{name} => ${number}" for number, name in enumerate(named, 1))
    stored: bool = await connection.fetchval(f"SELECT radius_accounting({passed})", *named.values())
    return stored


def acknowledge(request: AcctPacket) -> bytes:
    """Accounting-Response."""
    encoded: bytes = request.CreateReply().ReplyPacket()
    return encoded


def first(request: Mapping[int, list[bytes]], code: int) -> bytes:
    """The first value of an attribute, in octets; empty without one."""
    values = request.get(code, [])
    return values[0] if values else b""


def text(request: Mapping[int, list[bytes]], code: int) -> str:
    """An attribute that is text; what is no text is empty."""
    try:
        found = first(request, code).decode()
    except UnicodeDecodeError:
        return ""
    return "" if "\0" in found else found


def number(request: Mapping[int, list[bytes]], code: int) -> int | None:
    """An attribute that is a number of 32 bits; None where it is missing or of another length."""
    value = first(request, code)
    return int.from_bytes(value, "big") if len(value) == 4 else None


def _address(request: Mapping[int, list[bytes]], code: int) -> ipaddress.IPv4Address | None:
    value = first(request, code)
    return ipaddress.IPv4Address(value) if len(value) == 4 else None

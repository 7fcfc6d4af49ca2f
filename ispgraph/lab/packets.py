"""RADIUS packets in octets: attributes, authenticators and Message-Authenticator (RFC 2865, 2866, 2869, 5176)."""

import hashlib
import hmac
import ipaddress
import struct
from collections.abc import Iterable
from dataclasses import dataclass

Key = int | tuple[int, int]
Attribute = tuple[Key, bytes]

ACCESS_REQUEST, ACCESS_ACCEPT, ACCESS_REJECT = 1, 2, 3
ACCOUNTING_REQUEST, ACCOUNTING_RESPONSE = 4, 5
DISCONNECT_REQUEST, DISCONNECT_ACK, DISCONNECT_NAK = 40, 41, 42
COA_REQUEST, COA_ACK, COA_NAK = 43, 44, 45

USER_NAME, USER_PASSWORD, CHAP_PASSWORD, NAS_IP, NAS_PORT = 1, 2, 3, 4, 5
SERVICE_TYPE, FRAMED_PROTOCOL, FRAMED_IP, FILTER_ID, REPLY_MESSAGE = 6, 7, 8, 11, 18
CLASS, SESSION_TIMEOUT, IDLE_TIMEOUT, CALLED_STATION, CALLING_STATION = 25, 27, 28, 30, 31
NAS_IDENTIFIER, PROXY_STATE = 32, 33
ACCT_STATUS, ACCT_DELAY, ACCT_INPUT, ACCT_OUTPUT, ACCT_SESSION_ID, ACCT_AUTHENTIC = 40, 41, 42, 43, 44, 45
ACCT_SESSION_TIME, ACCT_INPUT_PACKETS, ACCT_OUTPUT_PACKETS, ACCT_TERMINATE_CAUSE = 46, 47, 48, 49
ACCT_INPUT_GIGAWORDS, ACCT_OUTPUT_GIGAWORDS, EVENT_TIMESTAMP = 52, 53, 55
CHAP_CHALLENGE, NAS_PORT_TYPE, PORT_LIMIT = 60, 61, 62
MESSAGE_AUTHENTICATOR, INTERIM_INTERVAL, NAS_PORT_ID, FRAMED_POOL, ERROR_CAUSE = 80, 85, 87, 88, 101

_MICROSOFT, _ASCEND, _MIKROTIK = 311, 529, 14988
MS_CHAP_ERROR, MS_CHAP_CHALLENGE = (_MICROSOFT, 2), (_MICROSOFT, 11)
MS_CHAP2_RESPONSE, MS_CHAP2_SUCCESS = (_MICROSOFT, 25), (_MICROSOFT, 26)
ASCEND_DATA_RATE, ASCEND_XMIT_RATE = (_ASCEND, 197), (_ASCEND, 255)
RECV_LIMIT, XMIT_LIMIT, GROUP, RATE_LIMIT = (_MIKROTIK, 1), (_MIKROTIK, 2), (_MIKROTIK, 3), (_MIKROTIK, 8)
HOST_IP, MARK_ID, ADVERTISE_URL, ADVERTISE_INTERVAL = (
    (_MIKROTIK, 10),
    (_MIKROTIK, 11),
    (_MIKROTIK, 12),
    (_MIKROTIK, 13),
)
RECV_GIGAWORDS, XMIT_GIGAWORDS = (_MIKROTIK, 14), (_MIKROTIK, 15)
TOTAL_LIMIT, TOTAL_GIGAWORDS, ADDRESS_LIST = (_MIKROTIK, 17), (_MIKROTIK, 18), (_MIKROTIK, 19)

_ZEROS = bytes(16)


class PacketError(ValueError):
    """The octets are no RADIUS packet."""


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet that was received. ``data`` is the whole of it without padding."""

    code: int
    identifier: int
    authenticator: bytes
    attributes: tuple[Attribute, ...]
    data: bytes

    def all(self, key: Key) -> list[bytes]:
        """Every value of an attribute, in order."""
        return [value for found, value in self.attributes if found == key]

    def first(self, key: Key) -> bytes | None:
        """The first value of an attribute."""
        return next((value for found, value in self.attributes if found == key), None)

    def text(self, key: Key) -> str | None:
        """The first value as text; octets that are no UTF-8 are replaced."""
        value = self.first(key)
        return None if value is None else value.decode(errors="replace")

    def number(self, key: Key) -> int | None:
        """The first value as an unsigned number of 32 bits. Raises PacketError for another length."""
        value = self.first(key)
        if value is None:
            return None
        if len(value) != 4:
            raise PacketError(f"attribute {key} has {len(value)} octets instead of 4")
        return int.from_bytes(value, "big")

    def address(self, key: Key) -> str | None:
        """The first value as a dotted IPv4 address. Raises PacketError for another length."""
        value = self.number(key)
        return None if value is None else str(ipaddress.IPv4Address(value))


def number(value: int) -> bytes:
    """32 bits, most significant octet first. Raises OverflowError outside 0..2^32-1."""
    return value.to_bytes(4, "big")


def address(text: str) -> bytes:
    """The four octets of an IPv4 address."""
    return ipaddress.IPv4Address(text).packed


def encode(code: int, identifier: int, authenticator: bytes, attributes: Iterable[Attribute]) -> bytes:
    """A packet with this authenticator. Raises PacketError when a value or the packet is too long."""
    body = bytearray()
    for key, value in attributes:
        if isinstance(key, tuple):
            value = struct.pack("!IBB", key[0], key[1], len(value) + 2) + value
            key = 26
        if len(value) > 253:
            raise PacketError(f"the value of attribute {key} is longer than 253 octets")
        body += bytes((key, len(value) + 2)) + value
    if len(body) > 4076:
        raise PacketError("the packet is longer than 4096 octets")
    return struct.pack("!BBH", code, identifier, 20 + len(body)) + authenticator + bytes(body)


def decode(data: bytes) -> Packet:
    """Read a packet. Raises PacketError when its lengths do not add up (RFC 2865 section 3 and 5)."""
    if len(data) < 20:
        raise PacketError("shorter than 20 octets")
    length = int.from_bytes(data[2:4], "big")
    if not 20 <= length <= min(len(data), 4096):
        raise PacketError("the length does not fit")
    data = data[:length]
    found: list[Attribute] = []
    for code, value in _walk(data[20:]):
        if code == 26 and len(value) > 4:
            vendor = int.from_bytes(value[:4], "big")
            found.extend(((vendor, inner), part) for inner, part in _walk(value[4:]))
        else:
            found.append((code, value))
    return Packet(data[0], data[1], data[4:20], tuple(found), data)


def _walk(data: bytes) -> Iterable[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        if len(data) - at < 2 or data[at + 1] < 2 or at + data[at + 1] > len(data):
            raise PacketError("the length of an attribute does not fit")
        yield data[at], data[at + 2 : at + data[at + 1]]
        at += data[at + 1]


def seal(data: bytes, secret: bytes, authenticator: bytes) -> bytes:
    """Fill in Message-Authenticator, computed with this authenticator in the place of the packet's own."""
    at = _signature_at(data)
    return data[:at] + _signature(data, at, secret, authenticator) + data[at + 16 :]


def sealed(packet: Packet, secret: bytes, authenticator: bytes) -> bool:
    """Is its one Message-Authenticator right, computed with this authenticator in the place of the packet's own?"""
    signatures = packet.all(MESSAGE_AUTHENTICATOR)
    if len(signatures) != 1 or len(signatures[0]) != 16:
        return False
    at = _signature_at(packet.data)
    return hmac.compare_digest(signatures[0], _signature(packet.data, at, secret, authenticator))


def _signature(data: bytes, at: int, secret: bytes, authenticator: bytes) -> bytes:
    blank = data[:4] + authenticator + data[20:at] + _ZEROS + data[at + 16 :]
    return hmac.digest(secret, blank, "md5")


def _signature_at(data: bytes) -> int:
    at = 20
    while data[at] != MESSAGE_AUTHENTICATOR:
        at += data[at + 1]
    return at + 2


def keyed(data: bytes, secret: bytes, authenticator: bytes = _ZEROS) -> bytes:
    """The packet with the authenticator that the secret gives: of accounting and dynamic authorization requests, and,
    with the request's authenticator, of every reply.
    """
    return data[:4] + _key(data, secret, authenticator) + data[20:]


def is_keyed(packet: Packet, secret: bytes, authenticator: bytes = _ZEROS) -> bool:
    """Was the packet's authenticator made with this secret?"""
    return hmac.compare_digest(packet.authenticator, _key(packet.data, secret, authenticator))


def _key(data: bytes, secret: bytes, authenticator: bytes) -> bytes:
    return hashlib.md5(data[:4] + authenticator + data[20:] + secret, usedforsecurity=False).digest()

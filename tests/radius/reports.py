"""Accounting-Requests as a router sends them, made without the responder's code."""

import hashlib
import hmac
import secrets
import struct
import time
from dataclasses import dataclass, replace
from typing import Any

from tests.radius import world
from tests.radius.client import attribute, send

START, STOP, INTERIM, ON, OFF = 1, 2, 3, 7, 8


@dataclass(frozen=True)
class Report:
    """One Accounting-Request of a session. `event` and `delay` are seconds: the first counts from now, None is left
    out. `up` and `down` are octets of 64 bits, sent in two words."""

    session_id: str | None
    cookie: bytes | None
    station: str | None
    user: str | bytes = "alice"
    status: int | None = START
    seconds: int | None = None
    up: int | None = None
    down: int | None = None
    cause: int | None = None
    event: int | None = 0
    delay: int | None = None
    nas: str = world.NORTH
    secret: bytes | None = None
    address: str = "10.9.8.7"
    port_type: int = 15
    service_type: int | None = 2
    identifier: str = "MikroTik"
    signed: bool = False
    extra: bytes = b""

    def start(self, **fields: Any) -> "Report":
        """The Start of this session."""
        return replace(self, **({"status": START} | fields))

    def interim(self, seconds: int, up: int, down: int = 0, **fields: Any) -> "Report":
        """An Interim-Update of this session."""
        return replace(self, status=INTERIM, seconds=seconds, up=up, down=down, **fields)

    def stop(self, seconds: int, up: int, down: int = 0, **fields: Any) -> "Report":
        """The Stop of this session."""
        return replace(self, status=STOP, seconds=seconds, up=up, down=down, **({"cause": 1} | fields))

    def packet(self) -> bytes:
        """In octets, with a fresh identifier."""
        name = self.user if isinstance(self.user, bytes) else self.user.encode()
        body = b"".join(
            [
                attribute(1, name) if name else b"",
                _optional(44, self.session_id and self.session_id.encode()),
                _optional(25, self.cookie),
                _optional(31, self.station and self.station.encode()),
                *(
                    _optional(number, None if value is None else struct.pack("!I", value & 0xFFFFFFFF))
                    for number, value in (
                        (40, self.status),
                        (6, self.service_type),
                        (61, self.port_type),
                        (46, self.seconds),
                        (42, self.up),
                        (43, self.down),
                        (52, None if self.up is None else self.up >> 32),
                        (53, None if self.down is None else self.down >> 32),
                        (49, self.cause),
                        (41, self.delay),
                        (55, None if self.event is None else self.event if self.event > 10**6 else _now() + self.event),
                    )
                ),
                attribute(8, bytes(int(part) for part in self.address.split("."))),
                attribute(4, bytes([192, 0, 2, 1])),
                attribute(32, self.identifier.encode()),
                self.extra,
            ]
        )
        secret = self.shared_secret()
        if self.signed:
            body += attribute(80, bytes(16))
        head = struct.pack("!BBH", 4, secrets.randbelow(256), 20 + len(body))
        if self.signed:
            body = body[:-16] + hmac.digest(secret, head + bytes(16) + body, "md5")
        return head + hashlib.md5(head + bytes(16) + body + secret).digest() + body

    def shared_secret(self) -> bytes:
        """The secret of its router, or another."""
        return self.secret or world.SECRETS[self.nas].encode()


def again(report: Report, **fields: Any) -> Report:
    """The first report of another session on the same device."""
    return session(**({"station": report.station, "user": report.user} | fields))


def session(**fields: Any) -> Report:
    """The first report of a session that nobody has heard of, on a device of its own."""
    octets = secrets.token_bytes(3)
    station = "02:00:5E:" + ":".join(f"{octet:02X}" for octet in octets)
    return Report(
        **({"session_id": f"81{octets.hex()}", "cookie": secrets.token_bytes(20), "station": station} | fields)
    )


def deliver(server: tuple[str, int], report: Report, *, wait: float = 5.0) -> bytes | None:
    """Send a report from its router; what the answer carries, or None when there is none within `wait` seconds."""
    packet = report.packet()
    reply = send(server, packet, report.nas, wait=wait)
    if reply is None:
        return None
    assert reply[:2] == bytes([5, packet[1]]), "no Accounting-Response to this request"
    expected = hashlib.md5(reply[:4] + packet[4:20] + reply[20:] + report.shared_secret()).digest()
    assert expected == reply[4:20], "the Response Authenticator is wrong"
    return reply[20:]


def _now() -> int:
    return int(time.time())


def _optional(number: int, value: bytes | None) -> bytes:
    return b"" if value is None else attribute(number, value)

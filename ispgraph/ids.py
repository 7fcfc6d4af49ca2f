"""Identifiers: UUIDv7 inside (RFC 9562 section 5.7), a type prefix and 32 hexadecimal digits outside."""

import re
import secrets
import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID

from ispgraph import clock

_TYPED = re.compile(r"([a-z]{3})_([0-9a-f]{32})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = 253_402_300_799_999
_lock = threading.Lock()
_last = 0


class BadId(ValueError):
    """The text is not an identifier of the wanted type."""


def uuid7() -> UUID:
    """A new UUIDv7. Within one process each is greater than the one before (RFC 9562 section 6.2, method 2)."""
    global _last
    milliseconds = int(clock.now().timestamp() * 1000)
    fresh = (milliseconds << 74) | secrets.randbits(73)
    with _lock:
        # The upper half of the random bits' range is left free for counting on within one millisecond.
        _last = max(fresh, _last + 1 + secrets.randbits(32)) if fresh >> 74 == _last >> 74 else fresh
        value = _last
    high, low = (value >> 62) & 0xFFF, value & ((1 << 62) - 1)
    return UUID(int=((value >> 74) << 80) | (0x7 << 76) | (high << 64) | (0b10 << 62) | low)


def lowest(at: datetime) -> UUID:
    """What no UUIDv7 of this instant, to the millisecond, or of a later one is below, and each of an earlier one is."""
    return UUID(int=max(int(at.timestamp() * 1000), 0) << 80)


def instant(value: UUID) -> datetime:
    """When a UUIDv7 was made, to the millisecond; of any other UUID something, and not after the year 9999."""
    return _EPOCH + timedelta(milliseconds=min(value.int >> 80, _LAST))


def encode(prefix: str, value: UUID) -> str:
    """The public form: ``encode("cus", …)`` gives ``cus_`` and 32 hexadecimal digits."""
    return f"{prefix}_{value.hex}"


def decode(prefix: str, text: str) -> UUID:
    """Read a public identifier of one type. Raises BadId for any other text."""
    found, value = parse(text)
    if found != prefix:
        raise BadId(f"expected an id of the form {prefix}_…")
    return value


def parse(text: str) -> tuple[str, UUID]:
    """Split a public identifier into its prefix and UUID. Raises BadId."""
    match = _TYPED.fullmatch(text)
    if match is None:
        raise BadId("not an id")
    return match[1], UUID(hex=match[2])

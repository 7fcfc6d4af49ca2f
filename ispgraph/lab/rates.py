"""The grammar of Mikrotik-Rate-Limit (`network` manual): ``rx[/tx] [burst [threshold [time [priority [minimum]]]]]``.

rx is what the router receives: the upload of the client. ``k`` is 1,000 and ``M`` 1,000,000.
"""

import re
from dataclasses import dataclass

_RATE = re.compile(r"(\d{1,12})([kM]?)")
_FACTORS = {"": 1, "k": 1_000, "M": 1_000_000}
_LARGEST = 2**32 * 1000


class BadRate(ValueError):
    """The text is not of the grammar."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A speed in bits per second, upload first; 0 is unlimited. Bursts are kept for the queue, not simulated."""

    up: int = 0
    down: int = 0
    burst: tuple[int, int] = (0, 0)
    threshold: tuple[int, int] = (0, 0)
    seconds: tuple[int, int] = (1, 1)
    priority: int = 8
    minimum: tuple[int, int] = (0, 0)

    def queue(self) -> dict[str, str]:
        """The properties of a simple queue."""
        return {
            "max-limit": f"{self.up}/{self.down}",
            "limit-at": _pair(self.minimum),
            "burst-limit": _pair(self.burst),
            "burst-threshold": _pair(self.threshold),
            "burst-time": f"{self.seconds[0]}s/{self.seconds[1]}s" if any(self.burst) else "0s/0s",
            "priority": f"{self.priority}/{self.priority}",
        }


def parse_rate(text: str) -> Rate:
    """Read a rate limit. Raises BadRate."""
    parts = text.split(" ")
    if not 1 <= len(parts) <= 6:
        raise BadRate(f"{text!r} is no rate limit")
    up, down = _both(parts[0])
    burst = _both(parts[1]) if len(parts) > 1 else (0, 0)
    threshold = _both(parts[2]) if len(parts) > 2 else (up, down) if any(burst) else (0, 0)
    seconds = _both(parts[3]) if len(parts) > 3 else (1, 1)
    priority = _priority(parts[4]) if len(parts) > 4 else 8
    minimum = _both(parts[5]) if len(parts) > 5 else (0, 0)
    if any(low > high > 0 for low, high in zip(minimum, (up, down), strict=True)):
        raise BadRate(f"{text!r}: the guaranteed rate is above the limit")
    return Rate(up, down, burst, threshold, seconds, priority, minimum)


def _priority(text: str) -> int:
    if text not in ("1", "2", "3", "4", "5", "6", "7", "8"):
        raise BadRate(f"{text!r} is no priority from 1 to 8")
    return int(text)


def _both(text: str) -> tuple[int, int]:
    first, slash, second = text.partition("/")
    up = _bits(first)
    return up, _bits(second) if slash else up


def _bits(text: str) -> int:
    match = _RATE.fullmatch(text)
    value = int(match[1]) * _FACTORS[match[2]] if match else -1
    if not 0 <= value <= _LARGEST:
        raise BadRate(f"{text!r} is no rate")
    return value


def _pair(values: tuple[int, int]) -> str:
    return f"{values[0]}/{values[1]}"

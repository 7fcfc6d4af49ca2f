"""Bytes as a function of time: what a subscriber wants to send and receive, capped by his queue."""

_OPEN = 10_000_000_000
# Bytes of a packet on the average; much of what subscribers send are acknowledgements.
PACKET_UP, PACKET_DOWN = 700, 1100


class Meter:
    """Counts the two directions since the session began. Nothing runs: a reading computes.

    Loads and caps are in bits per second; a cap of 0 is none. ``up`` is from the subscriber, ``down`` to him.
    """

    __slots__ = ("_at", "_cap_down", "_cap_up", "_down", "_load_down", "_load_up", "_up")

    def __init__(self, now: float, load_up: int = 0, load_down: int = 0, cap_up: int = 0, cap_down: int = 0) -> None:
        self._at = now
        self._up = self._down = 0
        self._load_up, self._load_down = load_up, load_down
        self._cap_up, self._cap_down = cap_up, cap_down

    @property
    def rate_up(self) -> int:
        """Bits per second that flow from the subscriber."""
        return min(self._load_up, self._cap_up or _OPEN)

    @property
    def rate_down(self) -> int:
        """Bits per second that flow to the subscriber."""
        return min(self._load_down, self._cap_down or _OPEN)

    def read(self, now: float) -> tuple[int, int]:
        """Bytes (up, down) at this time."""
        since = max(0.0, now - self._at)
        return self._up + int(self.rate_up * since / 8), self._down + int(self.rate_down * since / 8)

    def load(self, now: float, up: int, down: int) -> None:
        """From now on the subscriber wants this much."""
        self._settle(now)
        self._load_up, self._load_down = up, down

    def cap(self, now: float, up: int, down: int) -> None:
        """From now on the queue lets this much through."""
        self._settle(now)
        self._cap_up, self._cap_down = up, down

    def reset(self, now: float) -> None:
        """Count from zero again."""
        self._at, self._up, self._down = now, 0, 0

    def seconds_until(self, now: float, *, up: int = 0, down: int = 0, total: int = 0) -> float | None:
        """Seconds until the first of these byte limits is reached; 0 is no limit, None is never."""
        read_up, read_down = self.read(now)
        waits = [
            _wait(limit - read, rate)
            for limit, read, rate in (
                (up, read_up, self.rate_up),
                (down, read_down, self.rate_down),
                (total, read_up + read_down, self.rate_up + self.rate_down),
            )
            if limit
        ]
        return min((wait for wait in waits if wait is not None), default=None)

    def _settle(self, now: float) -> None:
        self._up, self._down = self.read(now)
        self._at = now


def _wait(left: int, rate: int) -> float | None:
    if left <= 0:
        return 0.0
    return left * 8 / rate if rate else None

"""Lab time: seconds that pass as fast as one likes."""

import asyncio

from ispgraph import clock


class LabClock:
    """Seconds since 1970 that run ``speed`` times as fast as the clock of the process."""

    def __init__(self, speed: float = 1.0) -> None:
        self._speed = _checked(speed)
        self._real = clock.now().timestamp()
        self._lab = self._real
        self._changed = asyncio.Event()

    @property
    def speed(self) -> float:
        return self._speed

    def now(self) -> float:
        return self._lab + (clock.now().timestamp() - self._real) * self._speed

    def set_speed(self, speed: float) -> None:
        """From now on time runs at this speed, without a jump. Raises ValueError unless it is positive."""
        speed = _checked(speed)
        self._lab, self._real = self.now(), clock.now().timestamp()
        self._speed = speed
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def advance(self, seconds: float) -> None:
        """Jump forward. Raises ValueError for a negative number."""
        if seconds < 0:
            raise ValueError("time does not go back")
        self._lab += seconds
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def sleep(self, seconds: float) -> None:
        """Wait so many seconds of lab time."""
        until = self.now() + seconds
        while (left := until - self.now()) > 0:
            try:
                async with asyncio.timeout(left / self._speed):
                    await self._changed.wait()
            except TimeoutError:
                continue


def _checked(speed: float) -> float:
    if speed <= 0:
        raise ValueError("the speed must be positive")
    return speed

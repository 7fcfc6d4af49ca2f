"""What shall happen at which lab time: one queue for every timer of the lab, so that ten thousand cost little."""

import asyncio
import heapq
from collections.abc import Callable
from itertools import count

from ispgraph.lab.time import LabClock

# After so many calls in a row others get their turn: routers answer while thousands of timers are due.
_TURN = 100


class Agenda:
    """Entries cannot be taken back: who adds one checks, when it is called, whether it still matters."""

    def __init__(self, clock: LabClock) -> None:
        self._clock = clock
        self._entries: list[tuple[float, int, Callable[[float], None]]] = []
        self._numbers = count()
        self._sooner = asyncio.Event()

    def at(self, due: float, callback: Callable[[float], None]) -> None:
        """Call back at this lab time, with the time that was asked for."""
        heapq.heappush(self._entries, (due, next(self._numbers), callback))
        if self._entries[0][0] == due:
            self._sooner.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            self._sooner.clear()
            self._call_due()
            if self._entries and self._entries[0][0] <= self._clock.now():
                await asyncio.sleep(0)
                continue
            waits: list[asyncio.Future[object]] = [asyncio.ensure_future(self._sooner.wait())]
            if self._entries:
                waits.append(asyncio.ensure_future(self._sleep_until(self._entries[0][0])))
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

    async def _sleep_until(self, due: float) -> None:
        # The clock is read here and not by whoever makes the task: it may jump before the task begins.
        await self._clock.sleep(due - self._clock.now())

    def _call_due(self) -> None:
        now = self._clock.now()
        for _ in range(_TURN):
            if not self._entries or self._entries[0][0] > now:
                return
            due, _, callback = heapq.heappop(self._entries)
            callback(due)

"""Keeps programs running: starts them, sees them ready, starts again what dies, stops all in order."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from ispgraph.up.process import Program, UpError, end, last_lines, spawn

STOP_SECONDS = 10.0
_FIRST_DELAY, _LONGEST_DELAY, _STEADY_SECONDS = 0.2, 5.0, 30.0
_EARLY_DEATHS = 5


class StopRequested(Exception):
    """Ctrl-C or a signal asked for the end while something was waited for."""


class Charge:
    """One supervised program. ``answers`` gets the pid of the running child and says whether it serves."""

    def __init__(self, program: Program, answers: Callable[[int], bool] | None = None) -> None:
        self.program = program
        self._answers = answers or self._says_ready
        self._child: subprocess.Popen[bytes] | None = None
        self._log_start = 0
        self._started = 0.0
        self._delay: float | None = None
        self._due = 0.0
        self.was_ready = False
        self.deaths = 0

    def start(self) -> None:
        self._log_start = self.program.log.stat().st_size if self.program.log.exists() else 0
        self._child = spawn(self.program)
        self._started = time.monotonic()

    def ready(self) -> bool:
        """Does it serve now?"""
        if self._child is None or self._child.poll() is not None or not self._answers(self._child.pid):
            return False
        self.was_ready = True
        return True

    def _says_ready(self, _pid: int) -> bool:
        with self.program.log.open("rb") as log:
            log.seek(self._log_start)
            return b"ready" in log.read().splitlines()

    def tend(self, now: float) -> str | None:
        """Start it again when it died and its time has come. Answers what happened, for people, once per death."""
        if self._child is None:
            if now >= self._due:
                self.start()
            return None
        status = self._child.poll()
        if status is None:
            return None
        self._child = None
        self.deaths += 1
        self._delay = delay_after(self._delay, now - self._started)
        self._due = now + self._delay
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return f"{self.program.name} {how}; starting it again"

    def due_in(self, now: float) -> float | None:
        """Seconds until it is to be started again; None while it runs."""
        return None if self._child is not None else max(0.0, self._due - now)

    def stop(self) -> None:
        if self._child is not None:
            end(self._child, self.program.stop_signal, STOP_SECONDS)
            self._child = None


def delay_after(previous: float | None, lived: float) -> float:
    """Seconds to wait before starting again what lived that long, ``previous`` being the last such delay.

    The first death is answered at once, the next ones ever later: a program that cannot start must not take the
    machine with it.
    """
    if previous is None or lived > _STEADY_SECONDS:
        return 0.0
    return min(max(previous * 2, _FIRST_DELAY), _LONGEST_DELAY)


class Supervisor:
    """Runs charges in the calling (main) thread. ``say`` tells the person at the terminal."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._charges: list[Charge] = []
        self._stopping = False
        self._waker: socket.socket | None = None

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """While open: SIGINT, SIGTERM and SIGHUP ask for the end, and any death of a child wakes the loop."""
        reader, writer = socket.socketpair()
        for end_of_pair in (reader, writer):
            end_of_pair.setblocking(False)
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        for number in _SIGNALS:
            signal.signal(number, self._notice)
        previous = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        self._waker = reader
        try:
            yield
        finally:
            signal.set_wakeup_fd(previous)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._waker = None
            reader.close()
            writer.close()

    def _notice(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self._stopping = True

    def start(self, charge: Charge) -> None:
        """Start a charge and keep it running from now on."""
        self._charges.append(charge)
        charge.start()

    def wait_ready(self, charges: Sequence[Charge], seconds: float) -> None:
        """Wait until all serve. Raises UpError with the end of the log of one that does not, StopRequested."""
        deadline = time.monotonic() + seconds
        waiting = list(charges)
        while waiting := [charge for charge in waiting if not charge.ready()]:
            hopeless = [charge for charge in waiting if not charge.was_ready and charge.deaths >= _EARLY_DEATHS]
            if hopeless or time.monotonic() > deadline:
                charge = (hopeless or waiting)[0]
                raise UpError(
                    f"{charge.program.name} did not become ready; the end of {charge.program.log}:\n"
                    f"{last_lines(charge.program.log)}"
                )
            self._turn(0.05)

    def run_once(self, program: Program, stdout: int | None = None) -> None:
        """Run a program to its end while the charges are kept up. Raises UpError when it fails, StopRequested."""
        child = spawn(program, stdout)
        try:
            while child.poll() is None:
                self._turn(0.05)
        finally:
            end(child, signal.SIGTERM, STOP_SECONDS)
        if child.returncode != 0:
            raise UpError(f"{program.name} failed; the end of {program.log}:\n{last_lines(program.log)}")

    def run(self) -> None:
        """Keep everything running until StopRequested."""
        while True:
            self._turn(1.0)

    def _turn(self, longest: float) -> None:
        now = time.monotonic()
        for charge in self._charges:
            news = charge.tend(now)
            if news is not None:
                self._say(news)
        waits = [due for charge in self._charges if (due := charge.due_in(now)) is not None]
        if not self._stopping:
            self._sleep(min([longest, *waits]))
        if self._stopping:
            raise StopRequested

    def _sleep(self, seconds: float) -> None:
        if self._waker is None:
            raise RuntimeError("the supervisor waits only inside signals()")
        select.select([self._waker], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            while os.read(self._waker.fileno(), 512):
                pass

    def stop(self, order: Sequence[str]) -> None:
        """Stop all charges, those named in ``order`` in that order, the rest before them."""
        rank = {name: place for place, name in enumerate(order)}
        for charge in sorted(self._charges, key=lambda charge: rank.get(charge.program.name, -1)):
            charge.stop()
        self._charges.clear()


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)

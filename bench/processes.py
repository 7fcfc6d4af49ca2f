"""Processes under measurement: what they used of the processors, as the kernel counts it."""

import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGTERM

from ispgraph.up.process import Program, UpError, end, last_lines, spawn

_TICKS = os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str] | None:
    try:
        # The name, in brackets, may hold blanks.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def family(pid: int) -> list[int]:
    """A process and everything below it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (found := _stat(int(entry.name))):
            children.setdefault(int(found[1]), []).append(int(entry.name))
    known = [pid]
    for member in known:
        known += children.get(member, [])
    return known


def cpu_seconds(pid: int) -> float:
    """What a process and everything below it have used until now, children that have ended included."""
    # utime, stime, cutime and cstime are fields 14 to 17 of proc(5); the list begins with field 3.
    return sum(sum(map(int, found[11:15])) for member in family(pid) if (found := _stat(member))) / _TICKS


class Running:
    """A server as a child process that says `ready` in a line when it listens."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path, cwd: Path) -> None:
        self.name = name
        self._program = Program(name, tuple(command), environment, log, cwd)
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, seconds: float = 60) -> None:
        """Start and wait for the word. Raises UpError with the end of the log."""
        reading, writing = os.pipe()
        try:
            self._child = spawn(self._program, stdout=writing)
        finally:
            os.close(writing)
        deadline, said = time.monotonic() + seconds, b""
        while b"ready" not in said:
            if not select.select([reading], [], [], max(0.0, deadline - time.monotonic()))[0]:
                break
            if not (part := os.read(reading, 1000)):
                break
            said += part
        if b"ready" not in said:
            self.stop()
            raise UpError(f"{self.name} did not start:\n{last_lines(self._program.log, 15)}")
        self._said = reading  # stays open: a program that says more must not fail

    @property
    def pid(self) -> int:
        """The process."""
        assert self._child is not None
        return self._child.pid

    def stop(self) -> None:
        """Stop it."""
        if self._child is not None:
            end(self._child, SIGTERM, 10)
            self._child = None


def python(*module: str) -> list[str]:
    """The command of a module of this installation."""
    return [sys.executable, "-m", *module]

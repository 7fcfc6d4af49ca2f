"""One child process: how it is started, told to stop, and kept from outliving its parent."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_PR_SET_PDEATHSIG = 1
# Loaded before any fork: between fork and exec nothing may be imported or looked up.
_prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None


class UpError(Exception):
    """Something a person can put right; the message is one or two lines and is shown without a traceback."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run. ``death_signal`` is sent by the kernel when the parent dies, ``stop_signal`` by us.

    ``user`` is (uid, gid) or None for ours. ``environment`` is the whole environment of the child.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    log: Path
    directory: Path = Path("/")
    user: tuple[int, int] | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGKILL
    inherited: tuple[int, ...] = ()


def spawn(program: Program, stdout: int | None = None) -> subprocess.Popen[bytes]:
    """Start the program with its output appended to its log, or standard output to the descriptor ``stdout``.

    Raises UpError when it cannot be executed.
    """
    uid, gid = program.user or (None, None)
    with program.log.open("ab") as log:
        try:
            return subprocess.Popen(
                program.command,
                stdin=subprocess.DEVNULL,
                stdout=log if stdout is None else stdout,
                stderr=log,
                env=dict(program.environment),
                cwd=program.directory,
                user=uid,
                group=gid,
                extra_groups=[] if uid is not None else None,
                pass_fds=program.inherited,
                # A group of its own: Ctrl-C at the terminal reaches only the launcher, which stops the
                # children in order. The session stays the launcher's.
                process_group=0,
                preexec_fn=_die_with(os.getpid(), program.death_signal),
            )
        except FileNotFoundError as error:
            raise UpError(
                f"cannot start {program.name}: {program.command[0]} is missing.\n"
                "Install the wheels of requirements.lock for this platform again."
            ) from error
        except PermissionError as error:
            raise UpError(f"cannot start {program.name}: {error.strerror}: {error.filename}") from error


def _die_with(parent: int, death_signal: signal.Signals) -> Callable[[], None]:
    """Tie the child's life to ours, so that ``kill -9`` of the launcher leaves no orphans (prctl(2)).

    Runs after the change of user, which would clear the setting. Linux only; elsewhere orphans stay.
    The kernel means the parent *thread*: start children from one that lives as long as they should.
    """
    number = int(death_signal)

    def tie() -> None:
        if _prctl is not None:
            _prctl(_PR_SET_PDEATHSIG, number)
            if os.getppid() != parent:  # the parent was gone before the tie held
                os._exit(1)

    return tie


def end(child: subprocess.Popen[bytes], stop_signal: signal.Signals, seconds: float) -> None:
    """Ask the child to stop, wait for it, and kill it when it takes longer than ``seconds``."""
    if child.poll() is None:
        child.send_signal(stop_signal)
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            kill(child)


def kill(child: subprocess.Popen[bytes]) -> None:
    """Kill the child with everything it started in its own process group, and reap it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def last_lines(log: Path, count: int = 5) -> str:
    """The end of a log, for an error message."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-count:])

"""RADIUS servers as child processes that are ready when they say so."""

import os
import pwd
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ispgraph.radius import configuration
from ispgraph.settings import Settings

FREERADIUS = Path("/usr/sbin/freeradius")
ROOT = Path(__file__).parents[2]
_MAIN = "from ispgraph.radius.responder import main; from ispgraph.settings import Settings; main(Settings.from_env())"


@dataclass
class Running:
    """A server: where it listens, for accounting too, its process, and what it wrote (read on, so it never blocks)."""

    address: tuple[str, int]
    accounting: tuple[str, int]
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    @property
    def output(self) -> str:
        """Everything written so far; after the end of the process, everything."""
        return "".join(self.lines)


def environment(settings: Settings) -> dict[str, str]:
    """The settings as a program of its own reads them."""
    return {
        **os.environ,
        "ISPGRAPH_DATABASE_URL": settings.database_url,
        "ISPGRAPH_RADIUS_DATABASE_URL": settings.radius_database_url or "",
        "ISPGRAPH_REDIS_URL": settings.redis_url,
        "ISPGRAPH_TOKEN_KEY": settings.token_key.hex(),
        "ISPGRAPH_NETWORK_KEY": settings.network_key.hex(",", 32),
        "ISPGRAPH_RADIUS_AUTH_PORT": str(settings.radius_auth_port),
        "ISPGRAPH_RADIUS_ACCT_PORT": str(settings.radius_acct_port),
        "ISPGRAPH_RADIUS_INTERIM_PORT": str(settings.radius_interim_port),
    }


@contextmanager
def responder(settings: Settings) -> Iterator[Running]:
    """The embedded responder."""
    with _run([sys.executable, "-c", _MAIN], "ready", environment(settings), settings) as running:
        yield running


@contextmanager
def freeradius(settings: Settings, *, interims: bool = False) -> Iterator[Running]:
    """Debian's FreeRADIUS on a directory that the product wrote."""
    with tempfile.TemporaryDirectory(prefix="ispgraph-radius-") as made:
        place = Path(made)
        # As root the server turns into `freerad`, who must be able to get here.
        place.chmod(0o755)
        configuration.write(place / "raddb", settings, interims=interims)
        with run_freeradius(place / "raddb", settings) as running:
            yield running


@contextmanager
def relay(settings: Settings) -> Iterator[Running]:
    """What stores the Interims that FreeRADIUS passes on."""
    with _run([sys.executable, "-m", "ispgraph", "interims"], "ready", environment(settings), settings) as running:
        yield running


@contextmanager
def together(settings: Settings) -> Iterator[Running]:
    """FreeRADIUS that passes Interims on, and what stores them."""
    with relay(settings), freeradius(settings, interims=True) as running:
        yield running


@contextmanager
def run_freeradius(directory: Path, settings: Settings, *options: str, user: str | None = None) -> Iterator[Running]:
    """FreeRADIUS on a directory that is already written."""
    command = [str(FREERADIUS), "-f", "-l", "stdout", *options, "-d", str(directory)]
    with _run(command, "Ready to process requests", {"TZ": "UTC"}, settings, user) as running:
        yield running


@contextmanager
def _run(
    command: Sequence[str], word: str, env: Mapping[str, str], settings: Settings, user: str | None = None
) -> Iterator[Running]:
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=dict(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        user=user,
        group=pwd.getpwnam(user).pw_gid if user else None,
        extra_groups=[] if user else None,
    )
    host = settings.radius_host
    running = Running((host, settings.radius_auth_port), (host, settings.radius_acct_port), process)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            running.lines.append(line)
            if word in line:
                break
        else:
            raise AssertionError(f"{command[0]} did not start:\n{running.output}")
        reader = threading.Thread(target=running.lines.extend, args=(process.stdout,), daemon=True)
        reader.start()
        yield running
        process.terminate()
        process.wait(10)
        reader.join()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()

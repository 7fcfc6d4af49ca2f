"""The release before this one, as the history of this very repository has it."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from ispgraph.settings import Settings
from ispgraph.up.ports import free_port
from tests.servers import ROOT


def git(*words: str) -> str:
    """What git says; nothing where it fails."""
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def former() -> str:
    """The last commit whose migrations are those of today without the newest; empty where the history does not reach so
    far, or cannot be had. Where branches met, a migration may have been put before one that was there already: whoever
    had that one alone is no release."""
    if git("rev-parse", "--is-shallow-repository") != "false":
        return ""
    today = _migrations("HEAD")
    added = git("log", "--first-parent", "-m", "--diff-filter=A", "--format=%H", "--", "migrations/versions")
    for commit in added.split():
        before = _migrations(f"{commit}^")
        if before and len(before) < len(today) and before == today[: len(before)]:
            return git("rev-parse", f"{commit}^")
    return ""


def _migrations(commit: str) -> list[str]:
    """Their files in their order, which is that of their numbers."""
    names = git("ls-tree", "--name-only", commit, "migrations/versions/").split()
    return sorted(name for name in names if name.endswith(".py"))


def unpacked(commit: str, place: Path) -> Path:
    """Its files."""
    place.mkdir()
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", commit], capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", str(place)], input=archive.stdout, check=True)
    return place


class Release:
    """The programs of one tree, in one installation."""

    def __init__(self, tree: Path, settings: Settings, log: Path, **more: str) -> None:
        self.tree = tree
        self._log = log
        named = {name: value for name, value in os.environ.items() if not name.startswith("ISPGRAPH_")}
        self.environment: Mapping[str, str] = named | {
            "PYTHONPATH": str(tree),
            "ISPGRAPH_DATABASE_URL": settings.database_url,
            "ISPGRAPH_OWNER_DATABASE_URL": settings.owner_database_url or "",
            "ISPGRAPH_RADIUS_DATABASE_URL": settings.radius_database_url or "",
            "ISPGRAPH_REDIS_URL": settings.redis_url,
            "ISPGRAPH_TOKEN_KEY": settings.token_key.hex(),
            "ISPGRAPH_NETWORK_KEY": settings.network_key.hex(),
            "ISPGRAPH_STORAGE_DIR": str(log.parent / "storage"),
            "ISPGRAPH_COST_PER_SECOND": "0",
            **more,
        }

    def run(self, *words: str) -> str:
        """A command of it, to the end; what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "ispgraph", *words],
            cwd=self.tree,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, name: str) -> "Running":
        """One of its programs."""
        port = free_port()
        log = self._log.open("ab")
        child = subprocess.Popen(
            [sys.executable, "-m", "ispgraph", name],
            cwd=self.tree,
            env={**self.environment, "ISPGRAPH_PORT": str(port)},
            stdout=subprocess.PIPE,
            stderr=log,
        )
        log.close()
        return Running(child, port, self._log)


class Running:
    """A program, on a port of its own if it is an API."""

    def __init__(self, child: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
        self.child = child
        self.port = port
        self._log = log

    def ready(self) -> None:
        """Wait for the word."""
        assert self.child.stdout is not None
        assert self.child.stdout.readline() == b"ready\n", self._log.read_text()[-2000:]

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        self.child.terminate()
        return self.child.wait(90)

    def end(self) -> None:
        """Whatever state it is in; again is harmless."""
        self.child.kill()
        self.child.wait()
        if self.child.stdout is not None:
            self.child.stdout.close()

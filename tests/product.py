"""The whole product as a user starts it: `ispgraph up --demo` in a process of its own."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ispgraph.up.ports import free_port
from tests.servers import ROOT


class Product:
    """A running `ispgraph up --demo`, with what it says about itself in up.json."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.up: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, seconds: float = 180) -> "Product":
        """Start and wait for up.json."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ISPGRAPH_")}
        command = [sys.executable, "-m", "ispgraph", "up", "--demo", "--data", str(self.directory)]
        words = self.directory.with_suffix(".words")
        with words.open("ab") as said:
            self._process = subprocess.Popen(
                [*command, "--port", str(self.port)], cwd=ROOT, env=environment, stdout=said, stderr=said
            )
        deadline = time.monotonic() + seconds
        place = self.directory / "up.json"
        # Two that begin at the same time would both take the usual port of RADIUS, which neither listens on yet.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as usual:
            with contextlib.suppress(OSError):
                usual.bind(("127.0.0.1", 1812))
            while not place.exists():
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self._process.kill()
                    raise AssertionError(words.read_text() or "not ready in time")
                time.sleep(0.1)
        self.up = json.loads(place.read_text())
        return self

    @property
    def pid(self) -> int:
        """The launcher, parent of every program."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> int:
        """Stop as Ctrl-C would; the exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(30)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """An ispgraph command beside the running product."""
        command = [sys.executable, "-m", "ispgraph", *arguments, "--data", str(self.directory)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    def operator(self, role: str, tenant: str | None = None) -> dict[str, Any]:
        """The demo's operator of a role."""
        operators: list[dict[str, Any]] = self.up["operators"]
        return next(o for o in operators if o["role"] == role and tenant in (None, o["tenant"]))

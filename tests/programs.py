"""The product's programs as processes of their own."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from ispgraph.settings import Settings

ROOT = Path(__file__).parent.parent
_START = "from ispgraph.settings import Settings; from {module} import main; main(Settings.from_env())"


class Program:
    """`main` of a module, started with these settings and a clock that the test moves. End it with kill()."""

    def __init__(self, module: str, settings: Settings, **environment: str) -> None:
        name = module if "." in module else f"ispgraph.{module}"
        self._child = subprocess.Popen(
            [sys.executable, "-c", _START.format(module=name)],
            cwd=ROOT,
            env={
                **os.environ,
                "ISPGRAPH_DATABASE_URL": settings.database_url,
                "ISPGRAPH_REDIS_URL": settings.redis_url,
                "ISPGRAPH_TOKEN_KEY": settings.token_key.hex(),
                "ISPGRAPH_NETWORK_KEY": settings.network_key.hex(),
                **environment,
            },
            stdout=subprocess.PIPE,
        )

    async def ready(self, seconds: float = 60) -> None:
        """Wait for the word. A program that does not give it is ended."""
        assert self._child.stdout is not None
        reading = asyncio.create_task(asyncio.to_thread(self._child.stdout.readline))
        await asyncio.wait([reading], timeout=seconds)
        if not reading.done():
            self._child.kill()
        assert await reading == b"ready\n"

    async def terminate(self, seconds: float) -> int:
        """SIGTERM, and the exit code."""
        self._child.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self._child.wait, seconds)

    def kill(self) -> None:
        """SIGKILL, whatever state it is in; again is harmless."""
        self._child.kill()
        self._child.wait()
        if self._child.stdout is not None:
            self._child.stdout.close()

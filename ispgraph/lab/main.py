"""The program ``ispgraph lab``: an empty simulated network that the control API fills.

It reads ISPGRAPH_LAB_PORT (default 8790) and listens on 127.0.0.1 only.
"""

import asyncio
import os
import signal
import socket
import sys

import uvicorn
import uvloop

from ispgraph.lab.control import create_control
from ispgraph.lab.network import Lab

DEFAULT_PORT = 8790


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so in one word: whoever started this program waits for it."""
        await super().startup(sockets)
        if self.started:
            print("ready", flush=True)  # noqa: T201


async def serve(port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    async with Lab() as lab:
        config = uvicorn.Config(
            create_control(lab),
            host="127.0.0.1",
            port=port,
            http="httptools",
            ws="none",
            access_log=False,
            server_header=False,
            log_level="warning",
            timeout_graceful_shutdown=2,
        )
        await _Server(config).serve()


def main() -> int:
    """Run in the foreground. Status 2 when the port is no number; 0 after SIGTERM."""
    text = os.environ.get("ISPGRAPH_LAB_PORT", str(DEFAULT_PORT))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        print("ispgraph: ISPGRAPH_LAB_PORT must be a whole number from 1 to 65535", file=sys.stderr)  # noqa: T201
        return 2
    # uvicorn takes the signals over while it runs, and sends itself the one it got when it has shut down.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(text)))
    return 0

"""The HTTP server of the API: uvicorn, set up for untrusted clients and a quick, clean end."""

import asyncio
import signal
import socket
import sys

import uvicorn
from starlette.applications import Starlette

from ispgraph.api.over_websocket import MESSAGE_BYTES
from ispgraph.api.sockets import Socket

# After SIGTERM: so long running requests may go on.
DRAIN_SECONDS = 8
_LOOK_SECONDS = 0.1


class Server(uvicorn.Server):
    """Told to stop, it first has a balancer send requests elsewhere, for `drain` seconds in which it takes them still.
    Then it ends event streams and sockets at once, so that only requests are waited for."""

    def __init__(
        self, app: Starlette, host: str, port: int, trusted_proxies: tuple[str, ...] = (), drain: int = 0
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                loop="uvloop",
                http="httptools",
                ws=Socket,
                ws_max_size=MESSAGE_BYTES,
                ws_per_message_deflate=False,
                access_log=False,
                server_header=False,
                # What a header claims about the client's address is believed of named proxies only.
                proxy_headers=bool(trusted_proxies),
                forwarded_allow_ips=list(trusted_proxies),
                # Its words go where ours go.
                log_config=None,
                log_level="warning",
                timeout_graceful_shutdown=DRAIN_SECONDS,
            )
        )
        self._app = app
        self._drain = drain

    def serve_program(self) -> None:
        """Serve until SIGTERM or SIGINT, and end the program with status 0."""
        for number in (signal.SIGTERM, signal.SIGINT):
            # uvicorn takes the signals over while it runs, and sends itself the one it got when it has shut down.
            signal.signal(number, lambda *_: sys.exit(0))
        self.run()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so in one word: whoever started this program waits for it."""
        await super().startup(sockets)
        if self.started:
            print("ready", flush=True)  # noqa: T201

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, let listeners go, finish requests, stop."""
        self._app.state.draining.set()
        # Whoever keeps a connection open for its next request opens another one, which leads elsewhere.
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        for _ in range(round(self._drain / _LOOK_SECONDS)):
            if self.force_exit:
                break
            await asyncio.sleep(_LOOK_SECONDS)
        self._app.state.stopping.set()
        await super().shutdown(sockets)

"""The toy schema behind the real server, on a free port, in a thread of its own."""

import asyncio
import sys
import threading
from typing import Any

from ispgraph.api import create_api
from ispgraph.api.server import Server
from ispgraph.up.ports import free_port
from tests import toy_schema
from tests.toy_schema import ToyTokens


class LiveApi:
    """Start with `with LiveApi() as api`; `api.tokens` is the fake authentication behind it."""

    def __init__(self, drain: int = 0, **changes: Any) -> None:
        self.port = free_port()
        settings = toy_schema.settings(host="127.0.0.1", port=self.port, **changes)
        self.tokens = ToyTokens(settings)
        self.app = create_api(toy_schema.build(), settings, self.tokens.context)
        self.server = Server(self.app, settings.host, settings.port, drain=drain)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._started = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/graphql"

    @property
    def websocket(self) -> str:
        return f"ws://127.0.0.1:{self.port}/graphql"

    async def stopping(self) -> None:
        """Wait until the server has begun to stop."""
        while not self.app.state.stopping.is_set():
            await asyncio.sleep(0.01)

    def __enter__(self) -> "LiveApi":
        self._thread.start()
        assert self._started.wait(20), "the server did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        async def serve() -> None:
            serving = asyncio.create_task(self.server.serve())
            while not self.server.started and not serving.done():
                await asyncio.sleep(0.01)
            self._started.set()
            await serving

        asyncio.run(serve())


def main(port: int) -> None:
    """The toy schema as a program of its own."""
    settings = toy_schema.settings(port=port)
    app = create_api(toy_schema.build(), settings, ToyTokens(settings).context)
    Server(app, settings.host, settings.port).serve_program()


if __name__ == "__main__":
    main(int(sys.argv[1]))

"""The program ``ispgraph panel``: a NextPanel for the demo, so that hosting works where nobody has a panel.

It listens on 127.0.0.1 only: the panel on ISPGRAPH_PANEL_PORT (8791 unless set), and who rules it on
ISPGRAPH_PANEL_CONTROL_PORT (8792): ``GET /`` tells whether the panel is up and its accounts, ``POST /down`` has it
listen no more, ``POST /up`` listen again. The accounts are kept in ISPGRAPH_PANEL_FILE, without their passwords.
"""

import asyncio
import json
import os
import signal
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ispgraph.adapters.nextpanel_double import Hosted, NextPanelDouble
from ispgraph.adapters.payments.doubles import serve

KEY, SECRET = "npk_demo", "nps_demo-panel-only"
"""What it takes: of a panel that nobody but this machine can reach."""


@dataclass
class Panel:
    """The panel with its file, up or down."""

    port: int
    file: Path | None
    double: NextPanelDouble = field(default_factory=lambda: NextPanelDouble(api_key=KEY, api_secret=SECRET))

    def __post_init__(self) -> None:
        self._listening: AsyncExitStack | None = None
        if self.file is not None and self.file.exists():
            self.double.restore(Hosted(**one) for one in json.loads(self.file.read_text()))

    async def up(self) -> None:
        """Listen, if it does not."""
        if self._listening is None:
            self._listening = AsyncExitStack()
            await self._listening.enter_async_context(serve(self, self.port))

    async def down(self) -> None:
        """Listen no more."""
        if self._listening is not None:
            listening, self._listening = self._listening, None
            await listening.aclose()

    def shown(self) -> dict[str, Any]:
        """How it is."""
        return {"up": self._listening is not None, "accounts": [one.shown for one in self.double.accounts.values()]}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The double's application; what a request has changed is kept before it is answered."""
        before = self._kept()

        async def after(message: Any) -> None:
            if message["type"] == "http.response.start" and (now := self._kept()) != before:
                self._keep(now)
            await send(message)

        await self.double.app(scope, receive, after)

    def _kept(self) -> str:
        rows = [
            {
                "id": one.id,
                "said": {name: value for name, value in one.said.items() if name != "password"},
                "status": one.status,
                "reason": one.reason,
            }
            for one in self.double.accounts.values()
        ]
        return json.dumps(rows)

    def _keep(self, rows: str) -> None:
        if self.file is not None:
            partial = self.file.with_name(f".{self.file.name}.partial")
            partial.write_text(rows)
            partial.replace(self.file)


def control(panel: Panel) -> Starlette:
    """The application that rules a panel."""

    async def look(_request: Request) -> JSONResponse:
        return JSONResponse(panel.shown())

    async def up(_request: Request) -> JSONResponse:
        await panel.up()
        return JSONResponse(panel.shown())

    async def down(_request: Request) -> JSONResponse:
        await panel.down()
        return JSONResponse(panel.shown())

    post = ["POST"]
    return Starlette(routes=[Route("/", look), Route("/up", up, methods=post), Route("/down", down, methods=post)])


async def run(port: int, control_port: int, file: Path | None) -> None:
    """Serve until SIGTERM or SIGINT."""
    panel, over = Panel(port, file), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    await panel.up()
    async with serve(control(panel), control_port):
        print("ready", flush=True)  # noqa: T201
        await over.wait()
    await panel.down()


def main() -> int:
    """Run in the foreground. Status 2 when a port is no number; 0 after SIGTERM."""
    ports = [os.environ.get("ISPGRAPH_PANEL_PORT", "8791"), os.environ.get("ISPGRAPH_PANEL_CONTROL_PORT", "8792")]
    if not all(text.isascii() and text.isdigit() and 1 <= int(text) <= 65535 for text in ports):
        message = "ispgraph: ISPGRAPH_PANEL_PORT and ISPGRAPH_PANEL_CONTROL_PORT must be whole numbers from 1 to 65535"
        print(message, file=sys.stderr)  # noqa: T201
        return 2
    file = os.environ.get("ISPGRAPH_PANEL_FILE")
    asyncio.run(run(int(ports[0]), int(ports[1]), Path(file) if file else None))
    return 0

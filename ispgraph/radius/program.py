"""What the programs that answer RADIUS have in common: their connections, and how they start and end."""

import asyncio
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import asyncpg

from ispgraph import logs, revisions
from ispgraph.settings import Settings, SettingsError

# A database that hangs is no reason to have a router wait: it has other servers to ask.
DATABASE_SECONDS = 3.0

Answering = Callable[["asyncpg.Pool[asyncpg.Record]"], AbstractAsyncContextManager[None]]


def run(name: str, settings: Settings, connections: int, answering: Answering) -> None:
    """Run in the foreground until SIGTERM or SIGINT, as the role of RADIUS. Prints ``ready`` once `answering` began.

    Raises SettingsError without ISPGRAPH_RADIUS_DATABASE_URL, and as `revisions.require`.
    """
    logs.configure(name, settings)
    if settings.radius_database_url is None:
        raise SettingsError("ISPGRAPH_RADIUS_DATABASE_URL is not set")
    revisions.require(settings.radius_database_url)
    asyncio.run(_until_told(name, settings, settings.radius_database_url, connections, answering))


async def _until_told(name: str, settings: Settings, url: str, connections: int, answering: Answering) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with (
        asyncpg.create_pool(
            url,
            min_size=0,
            max_size=connections,
            timeout=DATABASE_SECONDS,
            command_timeout=DATABASE_SECONDS,
            server_settings={
                "ispgraph.network_key": settings.network_key.hex(),
                "application_name": f"ispgraph {name}",
            },
        ) as pool,
        answering(pool),
    ):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await stop.wait()

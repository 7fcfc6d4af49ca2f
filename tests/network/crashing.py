"""A worker for each of some routers, which takes one turn and dies: the first after one step, the second after two…

A step is a transaction that has committed, or an exchange with the router. Prints how each ended: 9 died, 0 had no such
step.
"""

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager
from typing import Any

from ispgraph.actors import endings
from ispgraph.actors.lanes import LaneRunner
from ispgraph.adapters import radius_client, routeros
from ispgraph.db import Database
from ispgraph.settings import Settings

DIED = 9
_AT_ONCE = 4


class Steps:
    """Counts them, and ends the process with the last one."""

    def __init__(self, left: int) -> None:
        self.left = left

    def count(self) -> None:
        """One more has been taken."""
        self.left -= 1
        if self.left == 0:
            os._exit(DIED)

    def after(self, owner: Any, name: str) -> None:
        """Count the calls of a coroutine function when they have returned."""
        call = getattr(owner, name)

        async def counted(*arguments: Any, **named: Any) -> Any:
            found = await call(*arguments, **named)
            self.count()
            return found

        setattr(owner, name, counted)

    def after_transactions(self) -> None:
        """Count what has committed."""
        begin = Database.transaction

        @asynccontextmanager
        async def counted(database: Database, tenant: Any) -> Any:
            async with begin(database, tenant) as session:
                yield session
            self.count()

        Database.transaction = counted  # type: ignore[method-assign,assignment]


async def turn(settings: Settings, tenant: str, router: str) -> None:
    """One turn of a worker on a router, to its end."""
    runner = LaneRunner(Database(settings.database_url, pool_size=2), settings)
    await runner.run_lane(tenant, router)
    while runner._turns:
        await asyncio.sleep(0.02)


def main(tenant: str, routers: list[str]) -> None:
    """Fork one worker for each router."""
    settings = Settings.from_env()
    endings.STOP_SECONDS = 0.3
    radius_client.disconnect.__kwdefaults__["interval"] = 0.05
    running: dict[int, int] = {}
    ended = [0] * len(routers)

    def wait() -> None:
        process, status = os.wait()
        ended[running.pop(process)] = os.waitstatus_to_exitcode(status)

    for number, router in enumerate(routers):
        if len(running) == _AT_ONCE:
            wait()
        if (process := os.fork()) == 0:
            steps = Steps(number + 1)
            steps.after_transactions()
            steps.after(radius_client, "disconnect")
            steps.after(routeros.Router, "_ask")
            asyncio.run(turn(settings, tenant, router))
            os._exit(0)
        running[process] = number
    while running:
        wait()
    sys.stdout.write(json.dumps(ended))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])

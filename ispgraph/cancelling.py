"""Ending a task that may not hear it at once."""

import asyncio
from typing import Any


async def until_done(task: "asyncio.Task[Any]", seconds: float) -> None:
    """Cancel a task, again each time it goes on for so long, until it has ended.

    Before Python 3.12 asyncio.wait_for, which redis-py uses, swallows a cancellation that meets a result.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=seconds)

"""The bare loop that `bench.network` compares with: librouteros, one connection to each router, nothing written down.

For each name the session is looked for in /ppp/active, removed, and looked for again until it is gone. Reads one JSON
object: `{"with": "threads" or "asyncio", "routers": [{"host", "port", "user", "password", "names"}]}`; answers
`{"seconds", "removed", "missing", "cpu"}`. Connections are open before the time begins.
"""

import asyncio
import json
import resource
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

import librouteros

_ID_ONLY = "=.proplist=.id"


@dataclass
class Count:
    """What a loop has done."""

    removed: int = 0
    missing: int = 0


def in_a_thread(api: librouteros.Api, names: list[str], count: Count) -> None:
    """One router, by blocking calls."""
    for name in names:
        found = list(api.rawCmd("/ppp/active/print", _ID_ONLY, f"?name={name}"))
        count.missing += not found
        while found:
            for row in found:
                list(api.rawCmd("/ppp/active/remove", f"=.id={row['.id']}"))
                count.removed += 1
            found = list(api.rawCmd("/ppp/active/print", _ID_ONLY, f"?name={name}"))


async def in_a_task(api: librouteros.AsyncApi, names: list[str], count: Count) -> None:
    """One router, by awaiting."""
    for name in names:
        found = [row async for row in api.rawCmd("/ppp/active/print", _ID_ONLY, f"?name={name}")]
        count.missing += not found
        while found:
            for row in found:
                async for _ in api.rawCmd("/ppp/active/remove", f"=.id={row['.id']}"):
                    pass
                count.removed += 1
            found = [row async for row in api.rawCmd("/ppp/active/print", _ID_ONLY, f"?name={name}")]


def _threads(routers: list[dict[str, Any]]) -> tuple[float, list[Count]]:
    apis = [librouteros.connect(one["host"], one["user"], one["password"], port=one["port"]) for one in routers]
    counts = [Count() for _ in routers]
    threads = [
        threading.Thread(target=in_a_thread, args=(api, one["names"], count))
        for api, one, count in zip(apis, routers, counts, strict=True)
    ]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - begun, counts


async def _tasks(routers: list[dict[str, Any]]) -> tuple[float, list[Count]]:
    apis = [
        await librouteros.async_connect(one["host"], one["user"], one["password"], port=one["port"]) for one in routers
    ]
    counts = [Count() for _ in routers]
    begun = time.perf_counter()
    await asyncio.gather(
        *(in_a_task(api, one["names"], count) for api, one, count in zip(apis, routers, counts, strict=True))
    )
    return time.perf_counter() - begun, counts


def main() -> None:
    """Read, loop, answer."""
    given = json.load(sys.stdin)
    before = _cpu()
    seconds, counts = (
        _threads(given["routers"]) if given["with"] == "threads" else asyncio.run(_tasks(given["routers"]))
    )
    done = {"removed": sum(one.removed for one in counts), "missing": sum(one.missing for one in counts)}
    print(json.dumps({"seconds": seconds, "cpu": _cpu() - before, **done}))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()

"""The clerk of `bench.network`: sends mutations over HTTP, some at once, each connection kept open.

Reads one JSON object: `{"port", "token", "connections", "bodies": [TEXT]}`; answers `{"begun", "seconds", "refused",
"problem", "cpu", "milliseconds": [...]}`, `begun` as seconds since 1970. A payload with errors is refused.
"""

import asyncio
import json
import resource
import sys
import time
from collections.abc import Iterator
from typing import Any

import uvloop


class Clerk:
    """Takes the next body whenever an answer has come."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._port = given["port"]
        self._head = (
            "POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Accept: application/json\r\nAuthorization: Bearer {given['token']}\r\n"
        )
        self._bodies: Iterator[str] = iter(given["bodies"])
        self.refused = 0
        self.problem: str | None = None
        self.milliseconds: list[float] = []

    async def work(self) -> None:
        """One connection, until there is nothing left to send."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        for body in self._bodies:
            begun, content = time.perf_counter(), body.encode()
            writer.write(f"{self._head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            start = head.index(b"content-length:") + 15
            answer = await reader.readexactly(int(head[start : head.index(b"\r\n", start)]))
            self.milliseconds.append((time.perf_counter() - begun) * 1000)
            self._judge(head, answer)
        writer.close()

    def _judge(self, head: bytes, answer: bytes) -> None:
        found = json.loads(answer)
        payloads = [*(found.get("data") or {"": {"errors": found.get("errors", "no data")}}).values()]
        payloads += [result for one in payloads if one for result in one.get("results", [])]
        if not head.startswith(b"http/1.1 200") or any(one is None or one["errors"] for one in payloads):
            self.refused += 1
            self.problem = self.problem or answer[:500].decode(errors="replace")


async def _send(given: dict[str, Any]) -> dict[str, Any]:
    clerk = Clerk(given)
    at, begun = time.time(), time.perf_counter()
    await asyncio.gather(*(clerk.work() for _ in range(given["connections"])))
    return {
        "begun": at,
        "seconds": time.perf_counter() - begun,
        "refused": clerk.refused,
        "problem": clerk.problem,
        "milliseconds": clerk.milliseconds,
    }


def main() -> None:
    """Read, send, answer."""
    given = json.load(sys.stdin)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        done = runner.run(_send(given))
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({**done, "cpu": used.ru_utime + used.ru_stime}))


if __name__ == "__main__":
    main()

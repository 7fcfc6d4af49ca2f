"""The load generator: a process of its own that keeps connections busy and takes the time of every answer.

Reads commands from standard input and answers on standard output, one JSON object a line: `{"target": NAME, "port": …,
"head": TEXT, "bodies": […]}` remembers a server, `{"run": NAME, "seconds": …, "connections": …, "skip": …}` measures it
and answers `{"seconds": …, "milliseconds": […], "failed": …, "bytes": …, "problem": …}`.
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any

import uvloop


@dataclass
class _Run:
    requests: Any
    until: float
    milliseconds: list[float] = field(default_factory=list)
    failed: int = 0
    bytes: int = 0
    problem: str | None = None

    def fail(self, why: str) -> None:
        self.failed += 1
        self.problem = self.problem or why


class _Connection(asyncio.Protocol):
    """One request after the other, the next one when the last byte of the answer before has come."""

    def __init__(self, run: _Run, done: asyncio.Future[None]) -> None:
        self._run = run
        self._done = done
        self._sent = 0.0
        self._head = b""
        self._left: int | None = None
        self._chunked = False
        self._tail = b""
        self._ok = True
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._next()

    def _next(self) -> None:
        self._sent = time.perf_counter()
        if self._sent >= self._run.until:
            self._transport.close()
            if not self._done.done():
                self._done.set_result(None)
            return
        self._head, self._left, self._chunked, self._ok, self._tail = b"", None, False, True, b""
        self._transport.write(next(self._run.requests))

    def data_received(self, data: bytes) -> None:
        self._run.bytes += len(data)
        if self._left is None and not self._chunked:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            head, data = self._head[:end].lower(), self._head[end + 4 :]
            self._ok = head.startswith(b"http/1.1 200")
            self._chunked = b"transfer-encoding: chunked" in head
            if not self._chunked:
                start = head.index(b"content-length:") + 15
                self._left = int(head[start : (head + b"\r\n").index(b"\r\n", start)])
            self._head = b""
        if b'"errors"' in data or not self._ok:
            self._ok = False
            self._run.problem = self._run.problem or data[:300].decode(errors="replace")
        if self._chunked:
            self._tail = (self._tail + data)[-5:]
            finished = self._tail == b"0\r\n\r\n"
        else:
            self._left = (self._left or 0) - len(data)
            finished = self._left <= 0
        if finished:
            if self._ok:
                self._run.milliseconds.append((time.perf_counter() - self._sent) * 1000)
            else:
                self._run.fail("not a clean answer")
            self._next()

    def connection_lost(self, _error: Exception | None) -> None:
        if not self._done.done():
            self._run.fail("the connection was closed")
            self._done.set_result(None)


async def _measure(target: dict[str, Any], seconds: float, connections: int, skip: int) -> dict[str, Any]:
    requests = target["requests"]
    begun = time.perf_counter()
    run = _Run(islice(cycle(requests), skip % len(requests), None), begun + seconds)
    loop = asyncio.get_running_loop()
    ends = []
    for _ in range(connections):
        done: asyncio.Future[None] = loop.create_future()
        await loop.create_connection(lambda done=done: _Connection(run, done), "127.0.0.1", target["port"])
        ends.append(done)
    await asyncio.gather(*ends)
    took = time.perf_counter() - begun
    return {
        "seconds": took,
        "milliseconds": run.milliseconds,
        "failed": run.failed,
        "bytes": run.bytes,
        "problem": run.problem,
    }


def _requests(head: str, bodies: list[str]) -> list[bytes]:
    made = []
    for body in bodies:
        content = body.encode()
        made.append(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
    return made


def main() -> None:
    """Serve commands until standard input ends."""
    targets: dict[str, dict[str, Any]] = {}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for line in sys.stdin:
            command = json.loads(line)
            if "target" in command:
                requests = _requests(command["head"], command["bodies"])
                targets[command["target"]] = {"port": command["port"], "requests": requests}
                continue
            measured = runner.run(
                _measure(targets[command["run"]], command["seconds"], command["connections"], command["skip"])
            )
            print(json.dumps(measured), flush=True)


if __name__ == "__main__":
    main()

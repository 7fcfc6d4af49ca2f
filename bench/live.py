"""Live readings on their way to many viewers: processor time for each message, and memory for each connection.

    python -m bench.live [--viewers 1000] [--rounds 3] [--seconds 6] [--rate 8]

Two cases: every viewer watches all of a tenant and one reading comes at a time, and every viewer watches a customer of
their own. Servers take turns; each is started anew, its viewers connect, and readings are published to Redis as the
live program does. What is measured is the server's process alone.
"""

import argparse
import asyncio
import json
import resource
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import redis.asyncio
import websockets

from bench.network_house import House
from bench.place import ROOT
from bench.processes import Running, cpu_seconds, python
from ispgraph import clock
from ispgraph.domain.live import readings
from ispgraph.domain.live.readings import LiveUsageSource, Reading
from ispgraph.up.ports import free_port

FIELDS = "customerId at online downloadBps uploadBps downloadBytes uploadBytes source"
TENANT = f"subscription {{ liveUsageAll(intervalSeconds: 1) {{ {FIELDS} }} }}"
CUSTOMER = f"subscription ($id: ID!) {{ liveUsage(customerId: $id, intervalSeconds: 1) {{ {FIELDS} }} }}"
SERVERS = {
    "raw": "bare WebSocket (the limit)",
    "ours": "ispgraph",
    "stock": "Strawberry, one Redis connection",
    "node": "Node, graphql-ws and ws",
}
CHANNELS = {"tenant": "One tenant, one reading at a time", "customer": "A customer each"}
# A server that is behind goes on sending, and what it has done for a message counts when that comes.
PATIENCE = 3.0
_NODE = ROOT / "bench" / "live_node"


class Figures(NamedTuple):
    """Processor time for each message that came, kB for each connection, messages per second."""

    micros: float
    memory: float
    rate: float


class Viewers:
    """Connections that count what comes."""

    def __init__(self, port: int, token: str) -> None:
        self.got = 0
        self._url = f"ws://127.0.0.1:{port}/graphql"
        self._token = token
        self._sockets: list[websockets.ClientConnection] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def connect(self, customers: list[str | None]) -> None:
        """One for each; None watches everybody."""
        for place in range(0, len(customers), 50):
            await asyncio.gather(*(self._one(customer) for customer in customers[place : place + 50]))

    async def _one(self, customer: str | None) -> None:
        protocol = websockets.Subprotocol("graphql-transport-ws")
        socket = await websockets.connect(
            self._url, subprotocols=[protocol], compression=None, open_timeout=60, ping_interval=None
        )
        hello = {"type": "connection_init", "payload": {"Authorization": f"Bearer {self._token}"}}
        await socket.send(json.dumps(hello))
        await socket.recv()
        payload = {"query": TENANT} if customer is None else {"query": CUSTOMER, "variables": {"id": customer}}
        await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
        self._sockets.append(socket)
        self._tasks.append(asyncio.create_task(self._count(socket)))

    async def _count(self, socket: websockets.ClientConnection) -> None:
        async for text in socket:
            if "downloadBps" in text:
                self.got += 1

    async def leave(self) -> None:
        """Close all."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for socket in self._sockets:
            socket.transport.abort()


def _resident(pid: int) -> int:
    """kB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def _messages(house: House, viewers: int, *, everybody: bool) -> list[str]:
    """What is published in one go: a reading, or one of each customer that is watched, 500 in a message."""
    now = readings.printed(clock.now())
    made = [
        Reading(
            line.customer_id.hex, house.tenant_id.hex, None, None, now, True,
            12_345_678, 1_234_567, 10**10 + n, 10**9 + n, LiveUsageSource.ROUTER,
        )
        for n, line in enumerate(house.lines[: 1 if everybody else viewers])
    ]  # fmt: skip
    return [readings.encoded(made[place : place + 500]) for place in range(0, len(made), 500)]


async def _measure(house: House, name: str, options: argparse.Namespace, *, everybody: bool) -> Figures:
    port = free_port()
    topic = readings.topic(house.tenant_id)
    command = ["node", "server.mjs", str(port)] if name == "node" else [*python("bench.live_servers"), name, str(port)]
    environment = {**house.environment, "BENCH_TOPIC": topic}
    log = house.directory / f"live-{name}.log"
    server = Running(name, command, environment, log, _NODE if name == "node" else ROOT)
    server.start()
    client = redis.asyncio.from_url(house.valkey.url())
    viewers = Viewers(port, house.token())
    try:
        await asyncio.sleep(1)
        before = _resident(server.pid)
        wanted = None if everybody else [f"cus_{line.customer_id.hex}" for line in house.lines]
        await viewers.connect([None] * options.viewers if wanted is None else [*wanted[: options.viewers]])
        await asyncio.sleep(3)
        memory = (_resident(server.pid) - before) / options.viewers
        texts = _messages(house, options.viewers, everybody=everybody)
        rate = options.rate if everybody else options.rate / 2
        used, began, count, rounds = cpu_seconds(server.pid), time.monotonic(), viewers.got, 0
        while time.monotonic() - began < options.seconds:
            for text in texts:
                await client.publish(topic, text)
            rounds += 1
            await asyncio.sleep(max(0.0, began + rounds / rate - time.monotonic()))
        expected = count + rounds * options.viewers
        # Two readings that come at once may be one message: what matters is that no more comes.
        came, since = -1, time.monotonic()
        while viewers.got < expected and time.monotonic() - since < PATIENCE:
            if came < viewers.got:
                came, since = viewers.got, time.monotonic()
            await asyncio.sleep(0.2)
        delivered, seconds = viewers.got - count, since - began
        if delivered < expected - count:
            sys.stderr.write(f"{name}: {delivered} of {expected - count} messages came\n")
        return Figures((cpu_seconds(server.pid) - used) / delivered * 1e6, memory, delivered / seconds)
    finally:
        await viewers.leave()
        await client.aclose()
        server.stop()


def _table(title: str, found: dict[str, list[Figures]]) -> None:
    print(f"\n{title}\n\n| server | µs a message | x limit | kB a connection | messages/s |\n|---|---|---|---|---|")
    limits = [row.micros for row in found.get("raw", [])]
    for name, rows in found.items():
        micros, memory, rate = (statistics.median(column) for column in zip(*rows, strict=True))
        spread = f"{min(row.micros for row in rows):.1f} to {max(row.micros for row in rows):.1f}"
        # Within each round, so that what else the machine does weighs on both.
        ratios = [row.micros / limit for row, limit in zip(rows, limits, strict=False)]
        ratio = f"{statistics.median(ratios):.2f}" if ratios else ""
        print(f"| {SERVERS[name]} | {micros:.1f} ({spread}) | {ratio} | {memory:.0f} | {rate:,.0f} |", flush=True)


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--viewers", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument(
        "--rate", type=float, default=8.0, help="readings per second for each viewer; half of it by customer"
    )
    parser.add_argument("--only", default=",".join(SERVERS), help="of " + ", ".join(SERVERS))
    parser.add_argument("--channels", default=",".join(CHANNELS), help="of " + ", ".join(CHANNELS))
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    names = [name for name in options.only.split(",") if name != "node" or (_NODE / "node_modules").is_dir()]
    if "node" in options.only and "node" not in names:
        sys.stderr.write("left out: Node; run `npm ci` in bench/live_node first\n")
    directory = Path(tempfile.mkdtemp(prefix="bench-live-"))
    directory.chmod(0o755)
    house = House(directory)
    try:
        with house.running(options.viewers, 1):
            channels = options.channels.split(",")
            found: dict[str, dict[str, list[Figures]]] = {channel: {name: [] for name in names} for channel in channels}
            for number in range(options.rounds):
                for channel in channels:
                    # Nobody is always the first after whoever leaves the machine warm.
                    for name in names[number % len(names) :] + names[: number % len(names)]:
                        made = asyncio.run(_measure(house, name, options, everybody=channel == "tenant"))
                        found[channel][name].append(made)
                        sys.stderr.write(f"{channel}, {name}: {made.micros:.1f} µs, {made.memory:.0f} kB\n")
            for channel in channels:
                title = f"{CHANNELS[channel]}, {options.viewers} viewers, medians of {options.rounds} rounds"
                _table(title, found[channel])
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()

"""Live usage: many watch, and the router is asked once; it goes away, and accounting speaks for it until it is back.

    ispgraph up --demo                   in one terminal
    python examples/watch_usage.py       in another        (--up names an up.json elsewhere)

Five panels, each with a WebSocket of its own, watch the customers of one router of the demo: one customer each, all the
same one, and everybody at once. The log of the simulated router shows that it is asked once per interval all the same.
Then the router is cut off: readings go on and say that they are from accounting, until the router answers again. A
customer who is off line is watched while the device dials in. In the end nobody watches, and nobody asks.

It needs httpx and websockets and nothing of ispgraph. It exits with 0 only if everything came out as expected.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import websockets
from demo import Isp, Network, expect, run

USAGE = """subscription Watch($id: ID!, $every: Int) { liveUsage(customerId: $id, intervalSeconds: $every) {
  at online downloadBps uploadBps downloadBytes source } }"""
EVERYBODY = """subscription Everybody($router: ID!, $every: Int) {
  liveUsageAll(routerId: $router, intervalSeconds: $every) { customerId online downloadBps source } }"""
FIND = "query Find($by: CustomerBy!) { customer(by: $by) { id name service { router { id } } } }"
PANELS = 5
EVERY = 2
PATIENCE = 60.0
Reading = dict[str, Any]


class Panel:
    """A WebSocket (graphql-transport-ws) with subscriptions; what comes is kept by their ids."""

    def __init__(self, isp: Isp) -> None:
        self.isp = isp
        self.came: dict[str, list[Any]] = {}
        self.socket: Any = None
        self.reading: asyncio.Task[None] | None = None

    async def connect(self) -> "Panel":
        """Say who we are, and listen."""
        protocol = websockets.Subprotocol("graphql-transport-ws")
        self.socket = await websockets.connect(self.isp.up["websocket"], subprotocols=[protocol], compression=None)
        await self.send(type="connection_init", payload={"Authorization": f"Bearer {self.isp.token}"})
        await self.socket.recv()
        self.reading = asyncio.create_task(self.read())
        return self

    async def send(self, **message: Any) -> None:
        """One message."""
        await self.socket.send(json.dumps(message))

    async def read(self) -> None:
        """Keep what comes, answer pings."""
        async for text in self.socket:
            message = json.loads(text)
            if message["type"] == "ping":
                await self.send(type="pong")
            elif message["type"] == "next":
                self.came[message["id"]].extend(message["payload"]["data"].values())
            elif message["type"] == "error":
                raise SystemExit(f"unexpected: {message}")

    async def watch(self, name: str, document: str, **variables: Any) -> None:
        """Subscribe."""
        self.came[name] = []
        await self.send(id=name, type="subscribe", payload={"query": document, "variables": variables})

    async def leave(self) -> None:
        """Close the socket."""
        if self.reading is not None:
            self.reading.cancel()
        await self.socket.close()


async def polls(network: Network, router: str) -> int:
    """How often the counters of a router's interfaces were read, by its own log."""
    commands = (await network.get(f"/routers/{router}"))["api"]["commands"]
    return int(commands.get("/interface/print", 0))


async def until(condition: Callable[[], Any], seconds: float = PATIENCE) -> bool:
    """Whether something becomes true in time."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    return bool(condition())


def from_router(readings: list[Reading]) -> bool:
    """Whether the last one is the router's."""
    return bool(readings) and readings[-1]["source"] == "ROUTER"


def megabits(reading: Reading) -> str:
    """A reading for people."""
    down, up = int(reading["downloadBps"]) / 1e6, int(reading["uploadBps"]) / 1e6
    return f"{down:6.2f} Mbit/s down, {up:5.2f} up ({reading['source']})"


async def tour(up: dict[str, Any]) -> None:
    """All of it."""
    isp, network = Isp(up), Network(up["lab"]["control"])
    await isp.sign_in()
    devices, router = await chosen(isp, network)
    panels = [await Panel(isp).connect() for _ in range(PANELS)]
    print(f"\n{PANELS} panels watch the customers of {router['name']}")
    for number, panel in enumerate(panels):
        for device in {devices[number]["name"]: devices[number], devices[0]["name"]: devices[0]}.values():
            await panel.watch(device["name"], USAGE, id=device["customer"]["id"], every=EVERY)
        await panel.watch("everybody", EVERYBODY, router=router["id"], every=EVERY)
    await many(network, panels, devices, router["name"])
    await away(network, panels, devices, router["name"])
    await dialing(isp, network, panels[0], devices[-1])
    print("\nNobody watches")
    for panel in panels:
        await panel.leave()
    await asyncio.sleep(EVERY + 1)
    before = await polls(network, router["name"])
    await asyncio.sleep(2 * EVERY)
    expect(await polls(network, router["name"]) - before <= 1, "and nobody asks the router")


async def chosen(isp: Isp, network: Network) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Devices on line on one router with their customers, one for each panel and one more; and the router."""
    for _ in range(60):
        by_router: dict[str, list[dict[str, Any]]] = {}
        for device in await network.on_line():
            found = (await isp.ask(FIND, by={"username": device["username"]}))["customer"]
            if found is None or found["service"]["router"] is None:
                continue
            listed = by_router.setdefault(device["router"], [])
            listed.append({**device, "customer": found})
            if len(listed) > PANELS:
                return listed, {"name": device["router"], "id": found["service"]["router"]["id"]}
        await asyncio.sleep(1)
    raise SystemExit("too few came on line in a minute")


async def many(network: Network, panels: list[Panel], devices: list[dict[str, Any]], router: str) -> None:
    """Everybody gets readings, and the router is asked once for all."""
    mine = [panel.came[device["name"]] for panel, device in zip(panels, devices, strict=False)]
    expect(await until(lambda: all(mine), 5), "each panel had a first reading at once")
    expect(await until(lambda: all(from_router(each) for each in mine)), "then readings of the router")
    for device, readings in zip(devices, mine, strict=False):
        print(f"    {device['customer']['name']:<24} {megabits(readings[-1])}")
    batches = [panel.came["everybody"] for panel in panels]
    expect(await until(lambda: all(len(each) > 2 for each in batches)), "and readings of everybody on the router")
    print(f"    {len(batches[0][-1])} customers in one message")
    before, counts, began = await polls(network, router), [len(each) for each in mine], time.monotonic()
    await asyncio.sleep(5 * EVERY)
    asked, seconds = await polls(network, router) - before, time.monotonic() - began
    got = sum(len(each) - count for each, count in zip(mine, counts, strict=True))
    print(f"    in {seconds:.0f} s the router was asked {asked} times, and {got} readings came to {PANELS} panels")
    expect(abs(asked - seconds / EVERY) <= 1.5, f"one poll per interval of {EVERY} s, however many watch")
    same = [panel.came[devices[0]["name"]][-1] for panel in panels]
    expect(len({each["at"] for each in same}) <= 2, "whoever watches the same customer sees the same reading")


async def away(network: Network, panels: list[Panel], devices: list[dict[str, Any]], router: str) -> None:
    """The router is cut off, and comes back."""
    print(f"\n{router} goes away")
    readings = panels[1].came[devices[1]["name"]]
    began = time.monotonic()
    await network.tell(f"/routers/{router}/faults", {"down_seconds": 8})
    expect(await until(lambda: readings[-1]["source"] == "ACCOUNTING"), "the last accounting update is shown instead")
    print(f"    {time.monotonic() - began:5.1f} s  {megabits(readings[-1])}, as of {readings[-1]['at']}")
    expect(readings[-1]["online"], "the customer counts as on line")
    expect(await until(lambda: from_router(readings)), "the router is asked again when it is back")
    print(f"    {time.monotonic() - began:5.1f} s  {megabits(readings[-1])}")


async def dialing(isp: Isp, network: Network, panel: Panel, device: dict[str, Any]) -> None:
    """A customer who is off line is watched all the same."""
    print(f"\n{device['customer']['name']} is off line")
    await network.tell(f"/subscribers/{device['name']}/hangup")
    await panel.watch("dialing", USAGE, id=device["customer"]["id"], every=1)
    readings = panel.came["dialing"]
    expect(await until(lambda: readings and not readings[-1]["online"]), "and is shown as off line")
    expect(int(readings[-1]["downloadBps"]) == 0, "without any traffic")
    await network.tell(f"/subscribers/{device['name']}/dial")
    shown = await until(lambda: readings[-1]["online"] and from_router(readings) and readings[-1]["downloadBps"] != "0")
    expect(shown, "and with traffic once the device has dialed in")
    print(f"    {megabits(readings[-1])}")


if __name__ == "__main__":
    sys.exit(run(tour, __doc__))

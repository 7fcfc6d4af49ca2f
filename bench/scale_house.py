"""The house of `bench.scale`: two of every program behind a balancer, PgBouncer, a primary and a replica; each program
can be killed and is started again at once, as by systemd."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from bench.network_house import House
from bench.place import ROOT
from bench.processes import cpu_seconds, python
from bench.servers import Balancer, PgBouncer, Standby
from ispgraph.up.ports import free_port
from ispgraph.up.postgres import APP_ROLE, DATABASE
from ispgraph.up.process import Program, kill, spawn

KINDS = ("api", "worker", "live", "scheduler")
_POOL = 12
_READY_SECONDS = 240.0


class Member:
    """One program of several. `down` are the seconds from each kill until it was ready again."""

    def __init__(self, kind: str, number: int, environment: dict[str, str], directory: Path) -> None:
        self.name = f"{kind}-{number}"
        self.down: list[float] = []
        self.used = 0.0
        self._program = Program(
            self.name, tuple(python("ispgraph", kind)), environment, directory / f"{self.name}.log", ROOT
        )
        self._child = spawn(self._program, stdout=self._words())

    def _words(self) -> int:
        # Standard output is read for one word alone.
        self._reading, writing = os.pipe()
        os.set_blocking(self._reading, False)
        self._writing = writing
        return writing

    async def ready(self) -> None:
        """Wait for the word, and say so if it never comes."""
        os.close(self._writing)
        end, said = time.monotonic() + _READY_SECONDS, b""
        while b"ready" not in said:
            with suppress(BlockingIOError):
                said += os.read(self._reading, 1000)
            if time.monotonic() > end or self._child.poll() is not None:
                raise SystemExit(f"{self.name} did not start: {self._program.log.read_text()[-2000:]}")
            await asyncio.sleep(0.05)

    async def die(self) -> None:
        """SIGKILL, and start again."""
        self.used += cpu_seconds(self._child.pid)
        begun = time.monotonic()
        kill(self._child)
        os.close(self._reading)
        self._child = spawn(self._program, stdout=self._words())
        await self.ready()
        self.down.append(time.monotonic() - begun)

    @property
    def cpu(self) -> float:
        """Seconds of processor time of all its lives."""
        return self.used + cpu_seconds(self._child.pid)

    def stop(self) -> None:
        """End it."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
            try:
                self._child.wait(10)
            except Exception:
                kill(self._child)


class ScaleHouse(House):
    """`House`, with all of it twice."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        options = {"shared_buffers": "256MB"}
        self.standby = Standby(directory / "standby", self.postgres, self.postgres._password, options)
        words = {APP_ROLE: self._passwords[APP_ROLE]}
        self.bouncer = PgBouncer(directory, self.postgres.port, words, pool=_POOL, name="pgbouncer")
        self.ports = [free_port(), free_port()]
        self.balancer = Balancer(directory, self.ports)
        self.members: dict[str, list[Member]] = {}

    @property
    def environment(self) -> dict[str, str]:
        """Changes by way of PgBouncer, the scheduler's lock past it, reading from the standby."""
        direct = self.postgres.dsn(APP_ROLE, self._passwords[APP_ROLE])
        return {
            **super().environment,
            "ISPGRAPH_DATABASE_URL": self.bouncer.dsn(APP_ROLE, DATABASE),
            "ISPGRAPH_DIRECT_DATABASE_URL": direct,
            "ISPGRAPH_REPLICA_DATABASE_URL": self.standby.dsn(APP_ROLE, self._passwords[APP_ROLE]),
        }

    @contextmanager
    def running(self, customers: int, routers: int) -> Iterator[None]:
        """PostgreSQL twice, PgBouncer, Valkey, the balancer and the lab run inside; the programs do not yet."""
        with super().running(customers, routers):
            self.standby.initialise()
            self.standby.start()
            try:
                self.bouncer.start()
                self.balancer.start()
                yield
            finally:
                for each in (member for kind in self.members.values() for member in kind):
                    each.stop()
                self.balancer.stop()
                self.bouncer.stop()
                self.standby.stop()

    async def begin(self) -> None:
        """Start all programs."""
        self._run("radius")
        for kind in KINDS:
            self.members[kind] = []
            for number in (1, 2):
                environment = dict(self.environment)
                if kind == "api":
                    environment |= {
                        "ISPGRAPH_PORT": str(self.ports[number - 1]),
                        "ISPGRAPH_METRICS_PORT": str(self._metrics(number)),
                    }
                self.members[kind].append(Member(kind, number, environment, self.directory))
        await asyncio.gather(*(member.ready() for kind in self.members.values() for member in kind))

    def _metrics(self, number: int) -> int:
        ports: list[int] = self.__dict__.setdefault("_metrics_ports", [free_port(), free_port()])
        return ports[number - 1]

    async def reads(self) -> dict[str, float]:
        """Where the two API processes that run now have read, by outcome."""
        found: dict[str, float] = {}
        async with httpx.AsyncClient(trust_env=False) as http:
            for number in (1, 2):
                text = (await http.get(f"http://127.0.0.1:{self._metrics(number)}/metrics")).text
                for line in text.splitlines():
                    if line.startswith("ispgraph_replica_reads_total{"):
                        outcome = line.split('"')[1]
                        found[outcome] = found.get(outcome, 0.0) + float(line.rsplit(" ", 1)[1])
        return found

    def cpu(self) -> dict[str, float]:
        """As of House, of all lives of a program."""
        found = super().cpu()
        for kind, members in self.members.items():
            found[kind] = sum(member.cpu for member in members)
        return found


async def furnish(house: ScaleHouse, lab: httpx.AsyncClient, interim_seconds: int) -> None:
    """Give the lab its routers, which tell of every session so often, and the books their ports."""
    ports: dict[str, tuple[int, int]] = {}
    for number, site in enumerate(house.sites):
        order: dict[str, Any] = {**house.router_order(site, number), "interim_seconds": interim_seconds}
        row = (await lab.post("/routers", json=order)).raise_for_status().json()
        ports[site.name] = (row["api_port"], row["coa_port"])
    await house.know_ports(ports)
    books = await house.connect()
    # As if the product had made these customers: the next one gets the next number.
    await books.execute("UPDATE customers SET account_number = (100000 + account_number::integer)::text")
    await books.execute(
        "INSERT INTO number_series (tenant_id, series, last) VALUES ($1, 'ACCOUNT', 100000 + $2)",
        house.tenant_id,
        len(house.lines),
    )
    await books.close()


async def dial_in(house: ScaleHouse, lab: httpx.AsyncClient) -> None:
    """Everybody is on line, and dials again when it is cut off."""
    devices = [
        {
            "name": line.username,
            "password": line.password,
            "router": house.sites[line.router].name,
            "redial_seconds": 5,
            "load_down_bps": 1_000_000,
            "load_up_bps": 100_000,
            "online": True,
        }
        for line in house.lines
    ]
    for begin in range(0, len(devices), 100):
        (await lab.post("/subscribers", json=devices[begin : begin + 100])).raise_for_status()
    end = time.monotonic() + 120
    while (states := (await lab.get("/")).json()["subscribers"])["online"] < len(devices):
        if time.monotonic() > end:
            raise SystemExit(f"not everybody came on line: {json.dumps(states)}")
        await asyncio.sleep(0.5)

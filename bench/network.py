"""Suspends every customer of a provider while all are on line, and compares with a bare librouteros loop:
`python -m bench.network --customers 5000 --routers 50`.

In each round all of them dial in anew before each way: `ispgraph` (customerSuspend over HTTP, one in a request), `ten`
(ten in a request), `bulk` (customersSuspend, a hundred in a request), and `loop` (`network_loop`). The loop does less:
it keeps no books, asks nobody's permission, and does not wait for the session's last accounting packet.
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx

from bench.network_house import LOGIN, House
from bench.place import ROOT
from bench.processes import python
from ispgraph import ids
from ispgraph.domain.bulk import MOST

WAYS = ("ispgraph", "loop", "bulk", "ten")
_DIRECTORY = Path("/tmp/bench-network")
_PAYLOAD = "{ customer { id status } jobs { id status } errors { code message } }"
_BULK = f"{{ results {_PAYLOAD} errors {{ code message }} }}"
_TEN = 10
_WAVE = 200
_PATIENCE = 600.0
_STOPS_SECONDS = 12.0


@dataclass(frozen=True, slots=True)
class Result:
    """One way in one round. Seconds from the first request to the last commit, ACK, verified end, and job."""

    way: str
    ended: float
    committed: float = 0.0
    acknowledged: float = 0.0
    applied: float = 0.0
    cpu: dict[str, float] | None = None
    lost: int = 0


class Bench:
    """The rounds on one house."""

    def __init__(self, house: House, lab: httpx.AsyncClient, books: "asyncpg.Connection[Any]", args: Any) -> None:
        self._house = house
        self._lab = lab
        self._books = books
        self._args = args
        self._ports: dict[str, int] = {}

    async def furnish(self) -> None:
        """Give the lab its routers, and the books their ports."""
        ports: dict[str, tuple[int, int]] = {}
        for number, site in enumerate(self._house.sites):
            made = await self._lab.post("/routers", json=self._house.router_order(site, number))
            row = made.raise_for_status().json()
            ports[site.name] = (row["api_port"], row["coa_port"])
        self._ports = {name: found[0] for name, found in ports.items()}
        await self._house.know_ports(ports)

    async def until_known(self) -> None:
        """Every router was looked at and found in order."""
        await self._until("SELECT count(*) FROM routers WHERE status = 'ONLINE'", len(self._house.sites))

    async def dial_in(self) -> None:
        """Everybody is active in the books and on line, in waves that the responder can follow."""
        await self._books.execute(
            "UPDATE services SET status = 'ACTIVE', suspend_reason = NULL, suspended_at = NULL,"
            " provisioning = 'APPLIED', applied_version = desired_version WHERE status = 'SUSPENDED'"
        )
        await self._books.execute("UPDATE customers SET status = 'ACTIVE', status_reason = NULL")
        lines = self._house.lines
        for begin in range(0, len(lines), _WAVE):
            wave = lines[begin : begin + _WAVE]
            devices = [
                {
                    "name": line.username,
                    "password": line.password,
                    "router": self._house.sites[line.router].name,
                    "redial_seconds": None,
                    "load_down_bps": 1_000_000,
                    "load_up_bps": 100_000,
                    "online": True,
                }
                for line in wave
            ]
            (await self._lab.post("/subscribers", json=devices)).raise_for_status()
            await self._until_lab(begin + len(wave), {line.username for line in wave})
        await self._until_open(len(lines))
        await self._books.execute("VACUUM (ANALYZE)")

    async def measure(self, way: str) -> Result:
        """One way, from everybody on line to nobody."""
        await self.dial_in()
        before = self._house.cpu()
        result = await (self._loop() if way == "loop" else self._suspend(way))
        await self._close_books()
        used = {name: seconds - before[name] for name, seconds in self._house.cpu().items()}
        used["client"] = (result.cpu or {})["client"]
        left = (await self._lab.get("/")).json()["sessions"]
        return Result(
            way, result.ended, result.committed, result.acknowledged, result.applied, used, result.lost + left
        )

    async def _close_books(self) -> None:
        """Wait for the last Stops. Some of the loop's never come, for it makes routers send more of them at once than
        the responder can answer: their sessions are closed as a reconciliation would."""
        end = time.monotonic() + _STOPS_SECONDS
        while await self._books.fetchval("SELECT count(*) FROM sessions WHERE stopped_at IS NULL"):
            if time.monotonic() > end:
                await self._books.execute(
                    "SELECT radius_session_gone(id, now()) FROM sessions WHERE stopped_at IS NULL"
                )
                return
            await asyncio.sleep(0.25)

    async def _loop(self) -> Result:
        routers = [
            {
                "host": site.address,
                "port": self._ports[site.name],
                "user": LOGIN,
                "password": site.password,
                "names": [line.username for line in self._house.lines if line.router == number],
            }
            for number, site in enumerate(self._house.sites)
        ]
        done = await _child("bench.network_loop", {"with": self._args.loop, "routers": routers})
        return Result("loop", done["seconds"], cpu={"client": done["cpu"]}, lost=done["missing"])

    async def _suspend(self, way: str) -> Result:
        keys = [line.customer_id for line in self._house.lines]
        given = {
            "port": self._house.api_port,
            "token": self._house.token(),
            "connections": self._args.connections,
            "bodies": _bulk(keys) if way == "bulk" else _bodies(keys, _TEN if way == "ten" else 1),
        }
        job_before = await self._books.fetchval("SELECT count(*) FROM jobs")
        done = await _child("bench.network_client", given)
        if done["refused"]:
            raise SystemExit(f"{done['refused']} mutations were refused: {done['problem']}")
        total = job_before + len(keys)
        await self._until("SELECT count(*) FROM jobs WHERE finished_at IS NOT NULL", total)
        begun = done["begun"]
        times = await self._books.fetchrow(
            """
            SELECT extract(epoch FROM max(at) FILTER (WHERE protocol = 'DISCONNECT' AND outcome = 'ACK'))::float AS ack,
                   extract(epoch FROM max(at) FILTER (WHERE outcome = 'VERIFIED' AND protocol <> 'RADIUS_SQL'))::float
                     AS ended, (SELECT extract(epoch FROM max(finished_at))::float FROM jobs) AS applied
              FROM network_steps WHERE at >= to_timestamp($1)""",
            begun,
        )
        assert times is not None
        lost = await self._books.fetchval(
            "SELECT count(*) FROM services WHERE status <> 'SUSPENDED' OR provisioning <> 'APPLIED'"
            " OR applied_version <> desired_version"
        )
        return Result(
            way,
            times["ended"] - begun,
            done["seconds"],
            (times["ack"] or begun) - begun,
            times["applied"] - begun,
            {"client": done["cpu"]},
            lost,
        )

    async def _until_lab(self, online: int, wave: set[str]) -> None:
        end = time.monotonic() + _PATIENCE
        while (states := (await self._lab.get("/")).json()["subscribers"])["online"] < online:
            if states["refused"] or time.monotonic() > end:
                raise SystemExit(f"not everybody came on line: {states}")
            for one in (await self._lab.get("/subscribers?online=false")).json():
                if one["state"] == "offline" and one["name"] in wave:
                    await self._lab.post(f"/subscribers/{one['name']}/dial")
            await asyncio.sleep(0.05)

    async def _until_open(self, count: int) -> None:
        await self._until("SELECT count(*) FROM sessions WHERE stopped_at IS NULL", count)

    async def _until(self, sql: str, count: int) -> None:
        end = time.monotonic() + _PATIENCE
        while (found := await self._books.fetchval(sql)) != count:
            if time.monotonic() > end:
                raise SystemExit(f"{found} where {count} were awaited: {sql}")
            await asyncio.sleep(0.25)


def _bodies(keys: Sequence[UUID], together: int) -> list[str]:
    bodies = []
    for begin in range(0, len(keys), together):
        chosen = [ids.encode("cus", key) for key in keys[begin : begin + together]]
        heads = ", ".join(f"$i{number}: SuspendInput!" for number in range(len(chosen)))
        fields = " ".join(f"a{number}: customerSuspend(input: $i{number}) {_PAYLOAD}" for number in range(len(chosen)))
        variables = {f"i{number}": {"customerId": key, "reason": "NON_PAYMENT"} for number, key in enumerate(chosen)}
        bodies.append(json.dumps({"query": f"mutation({heads}) {{ {fields} }}", "variables": variables}))
    return bodies


def _bulk(keys: Sequence[UUID]) -> list[str]:
    document = f"mutation($input: CustomersSuspendInput!) {{ a: customersSuspend(input: $input) {_BULK} }}"
    bodies = []
    for begin in range(0, len(keys), MOST):
        chosen = [ids.encode("cus", key) for key in keys[begin : begin + MOST]]
        variables = {"input": {"customerIds": chosen, "reason": "NON_PAYMENT"}}
        bodies.append(json.dumps({"query": document, "variables": variables}))
    return bodies


async def _child(module: str, given: dict[str, Any]) -> dict[str, Any]:
    child = await asyncio.create_subprocess_exec(
        *python(module), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ)
    )
    answer, _ = await child.communicate(json.dumps(given).encode())
    if child.returncode:
        raise SystemExit(f"{module} ended with {child.returncode}")
    found: dict[str, Any] = json.loads(answer)
    return found


_CPU = ("client", "api", "worker", "scheduler", "radius", "postgres", "valkey", "lab")


def table(results: Sequence[Result], customers: int) -> str:
    """All that was measured, and the medians of the ratios within each round."""
    lines = ["way        per s   commit     ACK   ended    done   lost | CPU s: " + " ".join(f"{n:>9}" for n in _CPU)]
    for one in results:
        used = one.cpu or {}
        shown = " ".join(f"{used.get(name, 0.0):9.1f}" for name in _CPU)
        lines.append(
            f"{one.way:8} {customers / one.ended:7.1f} {one.committed:8.1f} {one.acknowledged:7.1f} {one.ended:7.1f} "
            f"{one.applied:7.1f} {one.lost:6d} |        {shown}"
        )
    loops = [one.ended for one in results if one.way == "loop"]
    for way in WAYS:
        ours = [one.ended for one in results if one.way == way]
        if way != "loop" and ours and loops:
            ratios = [loop / own for loop, own in zip(loops, ours, strict=False)]
            lines.append(f"{way}: {statistics.median(ratios):.2f} of the loop's rate")
    return "\n".join(lines)


async def run(house: House, args: Any, say: Callable[[str], None]) -> None:
    """All rounds."""
    say(f"{args.customers} customers on {args.routers} routers, {args.connections} connections, {os.cpu_count()} CPUs")
    url = f"http://127.0.0.1:{house.lab_port}"
    async with httpx.AsyncClient(base_url=url, timeout=120, trust_env=False) as lab:
        books = await house.connect()
        bench = Bench(house, lab, books, args)
        await bench.furnish()
        house.start()
        await bench.until_known()
        results: list[Result] = []
        ways = [way for way in WAYS if way in args.only.split(",")]
        for number in range(args.rounds):
            for way in ways[number % len(ways) :] + ways[: number % len(ways)]:
                if args.statements:
                    await books.execute("SELECT pg_stat_statements_reset()")
                results.append(await bench.measure(way))
                say(table(results[-1:], args.customers).split("\n", 1)[1].split("\n")[0])
                if args.statements:
                    await statements(books, args.customers, say)
        say(table(results, args.customers))
        await books.close()


async def statements(books: "asyncpg.Connection[Any]", customers: int, say: Callable[[str], None]) -> None:
    """What PostgreSQL was asked, for each customer."""
    rows = await books.fetch(
        "SELECT calls, total_exec_time AS ms, left(regexp_replace(query, '\\s+', ' ', 'g'), 150) AS query"
        " FROM pg_stat_statements WHERE userid <> 10 ORDER BY total_exec_time DESC LIMIT 45"
    )
    say("\n".join(f"{row['calls'] / customers:7.2f} {row['ms'] / customers:8.4f} ms  {row['query']}" for row in rows))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.network", description=__doc__)
    parser.add_argument("--customers", type=int, default=5000)
    parser.add_argument("--routers", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--only", default=",".join(WAYS))
    parser.add_argument("--loop", choices=("threads", "asyncio"), default="threads")
    parser.add_argument("--statements", action="store_true", help="tell what PostgreSQL was asked; costs some time")
    parser.add_argument("--dir", type=Path, default=_DIRECTORY, help="made anew")
    given = parser.parse_args()
    if given.dir.exists():
        if not (given.dir / "bench.network").exists():
            sys.exit(f"{given.dir} was not made by this command")
        shutil.rmtree(given.dir)
    given.dir.mkdir(mode=0o755, parents=True)
    (given.dir / "bench.network").touch()
    house = House(given.dir.absolute())
    with house.running(given.customers, given.routers):
        asyncio.run(run(house, given, lambda line: print(line, flush=True)))


if __name__ == "__main__":
    main()

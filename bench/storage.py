"""What a long history of sessions costs: packets, lists and live sessions with years of it, against a quarter alone:
`python -m bench.storage --months 36 --rows 20000000`.

Two databases of one PostgreSQL have the same customers and the same last weeks; one has the months before as well. Only
processor time is compared, in turns, so what else runs on the machine matters less; everything fits into the memory of
the operating system, so a disk is not part of it.
"""

import argparse
import asyncio
import json
import random
import secrets
import shutil
import statistics
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg

from bench.data import UNTIL, make
from bench.fill import SESSION_DAYS, Plan
from bench.place import ROOT, Place
from bench.processes import Running, cpu_seconds, python
from bench.reads import questions
from bench.reads.servers import some_customers
from ispgraph import ids
from ispgraph.up.ports import free_port
from ispgraph.up.postgres import DATABASE, RADIUS_ROLE

LONG = "years"
LIVE = """query Live($id: ID!) {
  customer(by: {id: $id}) { id deviceCount liveSession { startedAt downloadBytes } } }"""
ONE = """SELECT radius_accounting(p_username => $1, p_nas => $2, p_status => $3, p_session_id => $4, p_class => $5,
    p_session_time => $6, p_input_octets => $7, p_output_octets => $8, p_calling_station => $9, p_at => $10)"""
START, STOP, INTERIM = 1, 2, 3

# Further back by so many days with each block; the ids stay in the order of time.
HISTORY = """
INSERT INTO sessions (id, tenant_id, customer_id, service_id, router_id, acct_session_id, unique_id, username,
                      connection_type, state, started_at, updated_at, stopped_at, duration_seconds, input_octets,
                      output_octets, ip_address, nas_address, terminate_cause)
SELECT (lpad(to_hex((extract(epoch FROM started_at - back) * 1000)::bigint), 12, '0')
          || overlay(left(md5(id::text || $1::int), 20) placing '7' from 1 for 1))::uuid,
       tenant_id, customer_id, service_id, router_id, acct_session_id, md5(unique_id || $1::int), username,
       connection_type, 'STOPPED', started_at - back, updated_at - back,
       COALESCE(stopped_at, updated_at) - back, duration_seconds, input_octets, output_octets, ip_address, nas_address,
       'User-Request'
  FROM sessions, make_interval(days => $1::int * $2::int) back
 WHERE started_at >= $3 AND started_at < $4
 ORDER BY started_at"""
BACKWARDS = """
DO $$
DECLARE begins timestamptz := date_trunc('quarter', timestamptz '{begins}', 'UTC');
BEGIN
  ALTER TABLE sessions DETACH PARTITION sessions_before;
  EXECUTE format('ALTER TABLE sessions ATTACH PARTITION sessions_before FOR VALUES FROM (MINVALUE) TO (%L)', begins);
  WHILE sessions_quarter(begins) < sessions_quarter(timestamptz '{first}') LOOP
    EXECUTE format('CREATE TABLE %I PARTITION OF sessions FOR VALUES FROM (%L) TO (%L) WITH (fillfactor = 70)',
                   sessions_quarter(begins), begins, begins + interval '3 months');
    begins := begins + interval '3 months';
  END LOOP;
END $$"""


class Side:
    """One of the two databases, with a server of the API."""

    def __init__(self, place: Place, name: str) -> None:
        self.place = place
        self.name = name
        self.times: dict[str, list[float]] = {}
        self.step = 0

    def dsn(self, role: str) -> str:
        """Its URL as a role."""
        return self.place.dsn(role).removesuffix(DATABASE) + self.name

    def serve(self, stack: ExitStack, redis_url: str) -> None:
        """Start `ispgraph api` on it."""
        self.port = free_port()
        environment = self.place.environment(redis_url, port=self.port)
        for name in ("ISPGRAPH_DATABASE_URL", "ISPGRAPH_OWNER_DATABASE_URL"):
            environment[name] = environment[name].removesuffix(DATABASE) + self.name
        log = self.place.directory / f"{self.name}.log"
        server = Running(self.name, python("ispgraph", "api"), environment, log, ROOT)
        server.start()
        stack.callback(server.stop)

    def ask(self, bodies: Iterator[str], count: int) -> None:
        """So many requests, one after the other."""
        for _ in range(count):
            request = urllib.request.Request(
                f"http://127.0.0.1:{self.port}/graphql",
                next(bodies).encode(),
                {"Content-Type": "application/json", "Authorization": f"Bearer {self.place.token()}"},
            )
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    found = json.load(answer)
            except urllib.error.HTTPError as error:
                raise RuntimeError(error.read()[:400].decode(errors="replace")) from error
            if "errors" in found or not found["data"]:
                raise RuntimeError(str(found)[:400])

    async def connect(self) -> None:
        """A connection as the role of RADIUS, with which the processor time of its backend is taken."""
        self.link: Any = await asyncpg.connect(self.dsn(RADIUS_ROLE))
        self.backend = await self.link.fetchval("SELECT pg_backend_pid()")
        self.call = await self.link.prepare(ONE)

    async def packets(self, lines: list[dict[str, Any]], status: int, at: datetime, seconds: int) -> float:
        """A packet of each of the sessions; microseconds of the backend for one."""
        before = _backend_microseconds(self.backend)
        for line in lines:
            octets = seconds * 1000
            taken = await self.call.fetchval(
                *(line["user"], line["nas"], status, line["number"], line["class"], seconds, octets, octets),
                *(line["device"], at),
            )
            assert taken
        return (_backend_microseconds(self.backend) - before) / len(lines)


def _backend_microseconds(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1000


async def history(side: Side, months: int, rows: int, say: Callable[[str], None]) -> int:
    """Give it the months before, and answer how many sessions it has."""
    connection = await asyncpg.connect(side.dsn("superuser"))
    first = await connection.fetchval("SELECT min(started_at) FROM sessions")
    blocks = max(1, round(months * 30 / SESSION_DAYS))
    begins = first - timedelta(days=(blocks - 1) * SESSION_DAYS)
    await connection.execute("SET session_replication_role = replica; SET work_mem = '256MB'")
    await connection.execute(BACKWARDS.format(begins=begins.isoformat(), first=first.isoformat()))
    set_aside = """UPDATE pg_index i SET indisready = false, indisvalid = false FROM pg_class c
        WHERE c.oid = i.indexrelid AND c.relkind = 'i'
          AND i.indrelid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'sessions'::regclass)"""
    await connection.execute(set_aside)
    for block in range(blocks - 1, 0, -1):
        until = first + timedelta(days=SESSION_DAYS)
        done = await connection.execute(HISTORY, block, SESSION_DAYS, first, until, timeout=3600)
        if block % 6 == 1:
            say(f"{block - 1} blocks of {SESSION_DAYS} days are left ({done})")
    await connection.execute("REINDEX TABLE sessions", timeout=3600)
    await connection.execute("VACUUM (ANALYZE) sessions", timeout=3600)
    count = await connection.fetchval("SELECT count(*) FROM sessions", timeout=3600)
    partitions = await connection.fetchval("SELECT count(*) FROM pg_inherits WHERE inhparent = 'sessions'::regclass")
    size = await connection.fetchval(
        "SELECT pg_size_pretty(sum(pg_total_relation_size(inhrelid))) FROM pg_inherits"
        " WHERE inhparent = 'sessions'::regclass"
    )
    await connection.close()
    say(f"{side.name}: {count:,} sessions of {rows:,} that were wanted, in {partitions} partitions, {size}")
    return int(count)


async def lines_of(side: Side, count: int) -> list[dict[str, Any]]:
    """Sessions that have not begun yet, of services that there are."""
    connection = await asyncpg.connect(side.dsn("superuser"))
    found = await connection.fetch(
        """SELECT s.username, r.radius_address FROM services s JOIN routers r ON r.id = s.router_id
            WHERE s.username IS NOT NULL AND s.connection_type = 'PPPOE' ORDER BY md5(s.id::text) LIMIT $1""",
        count,
    )
    await connection.close()
    return [
        {
            "user": row[0],
            "nas": row[1],
            "number": f"82{number:06x}",
            "class": secrets.token_hex(20),
            "device": ":".join(f"{each:02x}" for each in (2, 0, *number.to_bytes(4, "big"))),
        }
        for number, row in enumerate(found)
    ]


HOT = """SELECT sum(n_tup_upd), sum(n_tup_hot_upd) FROM pg_stat_user_tables WHERE relname LIKE 'sessions\\_%'"""


async def accounting(sides: list[Side], count: int, rounds: int) -> None:
    """Starts, Interims and Stops of sessions, one connection at a time; and how many updates touched no index."""
    lines = {side.name: await lines_of(side, count) for side in sides}
    for side in sides:
        await side.connect()
        begun = UNTIL + timedelta(seconds=1)
        await side.packets([line | {"number": "w" + line["number"]} for line in lines[side.name][:50]], START, begun, 0)
        side.times["Start"] = [await side.packets(lines[side.name], START, begun, 0)]
    chance = random.Random(1)
    for number in range(1, rounds + 2):
        for side in sides if number % 2 else sides[::-1]:
            order = chance.sample(lines[side.name], len(lines[side.name]))
            seconds = number * 300
            taken = await side.packets(order, INTERIM, UNTIL + timedelta(seconds=1 + seconds), seconds)
            side.times.setdefault("Interim", []).append(taken)
    for side in sides:
        side.times["Interim"].pop(0)  # the first warms up
        seconds = (rounds + 2) * 300
        at = UNTIL + timedelta(seconds=1 + seconds)
        side.times["Stop"] = [await side.packets(lines[side.name], STOP, at, seconds)]
        await asyncio.sleep(2)
        superuser = await asyncpg.connect(side.dsn("superuser"))
        updated, hot = await superuser.fetchrow(HOT)
        await superuser.close()
        await side.link.close()
        print(f"{side.name}: {updated} updates of sessions, {100 * hot / updated:.1f} % HOT", flush=True)


def reading(place: Place, sides: list[Side], rounds: int) -> None:
    """Lists, details and live sessions through the API; milliseconds of all of PostgreSQL for one request."""
    customers, until = some_customers(place), place.description.until
    bodies = {name: questions.bodies(name, questions.SEARCHES["mixed"], customers, until) for name in questions.QUERIES}
    bodies["live"] = [json.dumps({"query": LIVE, "variables": {"id": ids.encode("cus", key)}}) for key in customers]
    postmaster = place.postgres.pid
    assert postmaster is not None
    with place.valkey() as redis_url, ExitStack() as stack:
        for side in sides:
            side.serve(stack, redis_url)
        for query, count in (("list", 60), ("detail", 300), ("live", 300)):
            for number in range(rounds + 1):
                for side in sides if number % 2 else sides[::-1]:
                    start = number * count % len(bodies[query])
                    asked = (bodies[query][(start + n) % len(bodies[query])] for n in range(count))
                    before = cpu_seconds(postmaster)
                    side.ask(asked, count)
                    used = (cpu_seconds(postmaster) - before) / count * 1000
                    if number:
                        side.times.setdefault(query, []).append(used)


def report(sides: list[Side]) -> None:
    """A line for each thing that was measured."""
    short, long = sides
    print(f"\n| | {short.name} | {long.name} | ratio, median of the rounds |\n|---|---|---|---|")
    for name, found in short.times.items():
        both = list(zip(found, long.times[name], strict=True))
        ratio = statistics.median(many / few for few, many in both)
        unit = "ms" if name in ("list", "detail", "live") else "µs"
        values = [f"{statistics.median(column):,.2f} {unit}" for column in zip(*both, strict=True)]
        print(f"| {name} | {values[0]} | {values[1]} | {ratio:.2f} |")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.storage", description=__doc__)
    parser.add_argument("--dir", type=Path, default=Path("/tmp/bench-storage"))
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--months", type=int, default=36)
    parser.add_argument("--customers", type=int, default=20_000)
    parser.add_argument("--packets", type=int, default=4000, help="sessions that send packets")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", action="store_true", help="leave the directory, which is removed otherwise")
    given = parser.parse_args()

    def say(line: str) -> None:
        print(line, flush=True)

    recent = given.rows // max(1, round(given.months * 30 / SESSION_DAYS))
    fresh = not (given.dir / "years").exists()
    make(given.dir, Plan(given.customers, recent, 1, UNTIL), say)
    place = Place.open(given.dir)
    try:
        with place.running():
            short, long = Side(place, DATABASE), Side(place, LONG)
            if fresh:
                place.postgres.execute(f"CREATE DATABASE {LONG} TEMPLATE {DATABASE} OWNER ispgraph_owner")
                asyncio.run(history(long, given.months, given.rows, say))
                (given.dir / "years").touch()
            reading(place, [short, long], given.rounds)
            report([short, long])
            asyncio.run(accounting([short, long], given.packets, given.rounds))
            report([short, long])
    finally:
        if not given.keep:
            shutil.rmtree(given.dir, ignore_errors=True)


if __name__ == "__main__":
    main()

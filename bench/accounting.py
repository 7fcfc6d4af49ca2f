"""Accounting packets in a second: FreeRADIUS with the product's SQL against FreeRADIUS with its stock queries and
schema, and many packets by one statement against one by one: `python -m bench.accounting`. A packet counts when it is
in the books.

Every session sends its Interims at their right times, five minutes apart, of the last twenty hours, and says that it
kept them since: so a third of them are written to two quarters of an hour, as it is on an ordinary day.
"""

import argparse
import asyncio
import hashlib
import secrets
import shutil
import socket
import statistics
import struct
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg

from bench.accounting_stock import Stock
from bench.network_house import House
from bench.place import ROOT
from bench.processes import Running, cpu_seconds
from ispgraph.db import Database
from ispgraph.radius import configuration, inbox
from ispgraph.settings import Settings
from ispgraph.up.ports import free_port
from ispgraph.up.postgres import DATABASE

FREERADIUS = "/usr/sbin/freeradius"
_DIRECTORY = Path("/tmp/bench-accounting")
_STEP = 300
_WINDOW = 64
_TRIES = 4
_PATIENCE = 3.0
_START, _INTERIM = 1, 3
TOGETHER, ALONE, STOCK = SERVERS = ("together", "alone", "stock")
AT_ONCE, PUT_AWAY, *BATCHES = WAYS = ("radius_accounting_now", "radius_accounting", "100", "1000")
# A connection that idles tells what it counted after ten seconds.
_COUNTED = 12.0
BATCH = """SELECT count(*) FROM (SELECT $3::integer[]) n (many), LATERAL radius_accounting_batch(
    $1::text[], array_fill($2::inet, many), array_fill(3::bigint, many), $4::text[], $5::text[],
    array_fill($6::bigint, many), $7::bigint[], array_fill(0::bigint, many), $8::bigint[],
    array_fill(0::bigint, many), array_fill(NULL::inet, many), $9::bigint[], $10::timestamptz[],
    $11::timestamptz[])"""
ONE = """SELECT {}(p_username => $1, p_nas => $2, p_status => 3, p_session_id => $3, p_class => $4,
    p_session_time => $5, p_input_octets => $6, p_input_gigawords => 0, p_output_octets => $7,
    p_output_gigawords => 0, p_delay => $8, p_event => $9, p_at => $10)"""
HOT = """SELECT regexp_replace(relname, '^sessions_.*', 'sessions'), sum(n_tup_upd)::bigint, sum(n_tup_hot_upd)::bigint
           FROM pg_stat_user_tables
          WHERE relname IN ('usage_buckets', 'usage_days', 'routers', 'radacct') OR relname LIKE 'sessions\\_%'
          GROUP BY 1"""


@dataclass(frozen=True, slots=True)
class Line:
    """A session: who, and what tells it from others."""

    user: str
    number: str
    cookie: bytes
    late: int
    """Seconds after the first session at which it began."""


@dataclass(frozen=True, slots=True)
class Result:
    """A way in one round: packets, seconds, packets that were sent again, and seconds of the processors."""

    packets: int
    seconds: float
    again: int
    server: float
    postgres: float

    @property
    def rate(self) -> float:
        """Packets in a second."""
        return self.packets / self.seconds


class Router:
    """What sends packets, from one address, so many at once; each again until it is answered."""

    def __init__(self, address: str, secret: bytes) -> None:
        self._address = address
        self._secret = secret

    def packet(self, line: Line, identifier: int, step: int, base: datetime) -> bytes:
        """An Accounting-Request of a step; the first is a Start."""
        event = base + timedelta(seconds=step * _STEP + line.late)
        numbers = {40: _INTERIM if step else _START, 6: 2, 61: 15, 55: int(event.timestamp())}
        numbers[41] = int((datetime.now(UTC) - event).total_seconds())
        if step:
            numbers |= {46: step * _STEP, 42: step * 1_000_000, 43: step * 9_000_000, 52: 0, 53: 0}
        body = b"".join(
            bytes([code, len(value) + 2]) + value
            for code, value in (
                (1, line.user.encode()),
                (44, line.number.encode()),
                (25, line.cookie),
                (31, b"02:00:5E:00:00:01"),
                (4, socket.inet_aton(self._address)),
                (8, bytes([10, 9, 8, 7])),
                *((code, struct.pack("!I", number)) for code, number in numbers.items()),
            )
        )
        head = struct.pack("!BBH", 4, identifier, 20 + len(body))
        return head + hashlib.md5(head + bytes(16) + body + self._secret).digest() + body

    async def send(self, port: int, lines: Sequence[Line], step: int, base: datetime) -> int:
        """A packet of every session; how many had to be sent again."""
        waiting = iter(lines)
        again = await asyncio.gather(*(self._sender(port, waiting, step, base) for _ in range(_WINDOW)))
        return sum(again)

    async def _sender(self, port: int, waiting: Any, step: int, base: datetime) -> int:
        loop = asyncio.get_running_loop()
        link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        link.setblocking(False)
        link.bind((self._address, 0))
        link.connect(("127.0.0.1", port))
        again = 0
        try:
            for number, line in enumerate(waiting):
                packet = self.packet(line, number % 256, step, base)
                for attempt in range(_TRIES):
                    again += attempt > 0
                    await loop.sock_sendall(link, packet)
                    try:
                        async with asyncio.timeout(_PATIENCE):
                            while (await loop.sock_recv(link, 4096))[1] != packet[1]:
                                pass
                        break
                    except TimeoutError:
                        continue
                else:
                    raise RuntimeError("no answer")
        finally:
            link.close()
        return again


def freeradius(name: str, directory: Path, logs: Path, stack: ExitStack) -> Running:
    """A FreeRADIUS with a configuration, until the stack ends."""
    # The word that is waited for is ours; nobody reads what is said later.
    run = f"exec {FREERADIUS} -f -l stdout -d {directory} > >(exec sed -un 's/Ready to process/ready/p')"
    environment = {"TZ": "UTC", "PATH": "/usr/sbin:/usr/bin:/bin"}
    server = Running(name, ["bash", "-c", run], environment, logs / f"{name}.log", ROOT)
    server.start()
    stack.callback(server.stop)
    return server


class Bench:
    """Both servers on one PostgreSQL, and the rounds."""

    def __init__(self, house: House, given: argparse.Namespace) -> None:
        self.house = house
        self.given = given
        site = house.sites[0]
        self.router = Router(site.address, site.secret.encode())
        self.address = site.address
        self.base = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=20)
        self.lines = [
            Line(line.username, f"81a{number:05x}", secrets.token_bytes(20), number * 7 % 900)
            for number, line in enumerate(house.lines[: given.sessions])
        ]
        self.step = 0
        self.ports = {name: free_port(socket.SOCK_DGRAM) for name in SERVERS}
        self.servers: dict[str, Running] = {}
        self.beside: dict[str, Running] = {}

    def start(self, stack: ExitStack) -> None:
        """Start the servers, and `ispgraph interims` for the one that passes Interims on to it."""
        environment = {
            **self.house.environment,
            "ISPGRAPH_RADIUS_INTERIM_PORT": str(free_port(socket.SOCK_DGRAM)),
        }
        settings = Settings.from_env(environment)
        for name in (TOGETHER, ALONE):
            configuration.write(
                self.house.directory / name,
                settings,
                auth_port=free_port(socket.SOCK_DGRAM),
                acct_port=self.ports[name],
                interims=name == TOGETHER,
            )
        stock = Stock(self.house, self.ports[STOCK], free_port(socket.SOCK_DGRAM), self.router_secret)
        stock.write(self.house.directory / STOCK)
        gatherer = Running(
            "interims",
            [sys.executable, "-m", "ispgraph", "interims"],
            environment,
            self.house.directory / "interims.log",
            ROOT,
        )
        gatherer.start()
        stack.callback(gatherer.stop)
        self.beside[TOGETHER] = gatherer
        for name in SERVERS:
            self.servers[name] = freeradius(name, self.house.directory / name, self.house.directory, stack)

    @property
    def router_secret(self) -> str:
        """The shared secret of the one router."""
        return self.house.sites[0].secret

    async def through(self, name: str) -> Result:
        """A packet of every session through one of the servers; ours are also added to the books."""

        async def work() -> int:
            send = self.router.send(self.ports[name], self.lines, self.step, self.base)
            return await (send if name == STOCK else self._while_adding(send))

        beside = [self.beside[name].pid] if name in self.beside else []
        return await self._measured(work, [self.servers[name].pid, *beside])

    async def _while_adding(self, sending: Awaitable[int]) -> int:
        """Do meanwhile, each second, what the scheduler does, and in the end as long as anything waits."""
        database = Database(self.house.environment["ISPGRAPH_DATABASE_URL"], pool_size=1)
        adding = asyncio.create_task(inbox.serve(database))
        try:
            return await sending
        finally:
            adding.cancel()
            await asyncio.wait([adding])
            await inbox.add(database)
            await database.dispose()

    async def _measured(self, work: Callable[[], Any], servers: Sequence[int] = ()) -> Result:
        postgres = self.house.postgres.pid
        assert postgres is not None
        before = sum(map(cpu_seconds, servers)), cpu_seconds(postgres)
        began = time.monotonic()
        again = await work()
        seconds = time.monotonic() - began
        after = sum(map(cpu_seconds, servers)), cpu_seconds(postgres)
        return Result(len(self.lines), seconds, again, after[0] - before[0], after[1] - before[1])

    async def one_by_one(self, pool: "asyncpg.Pool[Any]", function: str) -> Result:
        """A function for one packet, from all connections of the pool."""
        waiting = iter(self.lines)

        async def some() -> None:
            async with pool.acquire() as connection:
                call = await connection.prepare(ONE.format(function))
                for line in waiting:
                    at, event, delay = self._moment(line.late)
                    await call.fetchval(
                        *(line.user, self.address, line.number, line.cookie.hex(), self.step * _STEP),
                        *(self.step * 1_000_000, self.step * 9_000_000, delay, event, at),
                    )

        async def work() -> int:
            await asyncio.gather(*(some() for _ in range(pool.get_max_size())))
            return 0

        return await self._measured(lambda: self._while_adding(work()) if function == PUT_AWAY else work())

    async def together(self, pool: "asyncpg.Pool[Any]", size: int) -> Result:
        """The function for many packets, from two connections."""
        parts = iter([self.lines[begin : begin + size] for begin in range(0, len(self.lines), size)])
        left = 0

        async def some() -> None:
            nonlocal left
            async with pool.acquire() as connection:
                for part in parts:
                    moments = [self._moment(line.late) for line in part]
                    left += await connection.fetchval(
                        BATCH,
                        [line.user for line in part],
                        self.address,
                        [len(part)],
                        [line.number for line in part],
                        [line.cookie.hex() for line in part],
                        self.step * _STEP,
                        [self.step * 1_000_000] * len(part),
                        [self.step * 9_000_000] * len(part),
                        [delay for _, _, delay in moments],
                        [event for _, event, _ in moments],
                        [at for at, _, _ in moments],
                    )

        async def work() -> int:
            await asyncio.gather(some(), some())
            return left

        result = await self._measured(work)
        if left:
            raise RuntimeError(f"{left} packets were not taken")
        return result

    def _moment(self, late: int) -> tuple[datetime, datetime, int]:
        at, event = datetime.now(UTC), self.base + timedelta(seconds=self.step * _STEP + late)
        return at, event, int((at - event).total_seconds())

    async def hot(self, dsn: str) -> dict[str, tuple[int, int]]:
        """Updates of each table until now, and how many of them touched no index."""
        connection = await asyncpg.connect(dsn)
        rows = await connection.fetch(HOT)
        await connection.close()
        return {row[0]: (row[1], row[2]) for row in rows}

    async def books(self) -> None:
        """What was sent is in the books, to the byte."""
        connection = await self.house.connect()
        up, down, days, sessions = await connection.fetchrow(
            """SELECT sum(input_octets), sum(output_octets), (SELECT sum(output_octets) FROM usage_days), count(*)
                 FROM sessions"""
        )
        await connection.close()
        expected = self.step * len(self.lines)
        if (up, down, days, sessions) != (
            expected * 1_000_000,
            expected * 9_000_000,
            expected * 9_000_000,
            len(self.lines),
        ):
            raise RuntimeError(f"the books are wrong: {up} {down} {days} {sessions}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.accounting", description=__doc__)
    parser.add_argument("--dir", type=Path, default=_DIRECTORY)
    parser.add_argument("--sessions", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    shutil.rmtree(given.dir, ignore_errors=True)
    given.dir.mkdir(parents=True)
    given.dir.chmod(0o755)
    house = House(given.dir.absolute())
    with house.running(given.sessions, 1), ExitStack() as stack:
        bench = Bench(house, given)
        bench.start(stack)
        asyncio.run(rounds(bench, given.rounds))


async def rounds(bench: Bench, count: int) -> None:
    """Start every session, measure, compare with what must have come about, and print."""
    for name in bench.servers:
        await bench.through(name)
    # What PostgreSQL does by itself within minutes: until then it plans for empty tables.
    for database in (DATABASE, Stock.DATABASE):
        bench.house.postgres.execute("VACUUM (ANALYZE)", database)
    results: dict[str, list[Result]] = {name: [] for name in (*SERVERS, *WAYS)}
    dsn = bench.house.postgres.superuser_dsn(DATABASE)
    stock_dsn = bench.house.postgres.superuser_dsn(Stock.DATABASE)
    before = {**await bench.hot(dsn), **await bench.hot(stock_dsn)}
    for number in range(count + 1):
        names = list(bench.servers)
        bench.step += 1
        for name in names if number % 2 else names[::-1]:
            results[name].append(await bench.through(name))
    await asyncio.sleep(_COUNTED)
    after = {**await bench.hot(dsn), **await bench.hot(stock_dsn)}
    _print_servers(results, before, after)
    pool = await asyncpg.create_pool(bench.house.environment["ISPGRAPH_RADIUS_DATABASE_URL"], min_size=8, max_size=8)
    # Nobody else may call what adds a packet at once; as a superuser it is spared row-level security.
    owned = await asyncpg.create_pool(dsn, min_size=8, max_size=8)
    before = await bench.hot(dsn)
    async with pool, owned:
        for _ in range(count + 1):
            for way in WAYS:
                bench.step += 1
                if way in BATCHES:
                    run = bench.together(pool, int(way))
                else:
                    run = bench.one_by_one(owned if way == AT_ONCE else pool, way)
                results[way].append(await run)
    await asyncio.sleep(_COUNTED)
    _print_batches(results, before, await bench.hot(dsn))
    await bench.books()


def _print_servers(results: dict[str, list[Result]], before: Any, after: Any) -> None:
    # The first round warms them up.
    print(
        "| FreeRADIUS with | packets/s (rounds) | median | sent again | FreeRADIUS ms/packet | PostgreSQL ms/packet |"
    )
    print("|---|---|---|---|---|---|")
    for name in SERVERS:
        _row(name, results[name][1:])
    for name in (TOGETHER, ALONE):
        ratios = [ours.rate / theirs.rate for ours, theirs in zip(results[name], results[STOCK], strict=True)][1:]
        print(f"{name} / stock, medians of the rounds' ratios: {statistics.median(ratios):.2f}")
    _hot(before, after)


def _print_batches(results: dict[str, list[Result]], before: Any, after: Any) -> None:
    print("| function | packets/s (rounds) | median | | | PostgreSQL ms/packet |\n|---|---|---|---|---|---|")
    for name in WAYS:
        _row(name, results[name][1:])
    for one, name in ((one, name) for one in (AT_ONCE, PUT_AWAY) for name in BATCHES):
        pairs = list(zip(results[name], results[one], strict=True))[1:]
        rate = statistics.median(many.rate / each.rate for many, each in pairs)
        cpu = statistics.median(each.postgres / many.postgres for many, each in pairs)
        print(f"batches of {name} / {one}: {rate:.1f}; by PostgreSQL's time: {cpu:.1f}")
    _hot(before, after)


def _row(name: str, found: list[Result]) -> None:
    rates = ", ".join(f"{each.rate:,.0f}" for each in found)
    median = statistics.median(each.rate for each in found)
    server, postgres = (
        statistics.median(getattr(each, what) / each.packets * 1000 for each in found)
        for what in ("server", "postgres")
    )
    again = sum(each.again for each in found)
    print(f"| {name} | {rates} | {median:,.0f} | {again} | {server:.2f} | {postgres:.2f} |")


def _hot(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]) -> None:
    for table, (updated, hot) in sorted(after.items()):
        more, of_it = updated - before[table][0], hot - before[table][1]
        if more:
            print(f"{table}: {more} updates, {100 * of_it / more:.1f} % HOT")


if __name__ == "__main__":
    main()

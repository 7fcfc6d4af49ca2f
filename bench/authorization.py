"""Logins in a second: FreeRADIUS with the product's SQL, which computes each answer and opens the sealed password,
against FreeRADIUS with its stock tables, where the same attributes stand ready: `python -m bench.authorization`.

Every login is PAP with the right password. The answers must have the same attributes, or nothing is measured.
"""

import argparse
import asyncio
import hashlib
import secrets
import shutil
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import asyncpg

from bench.accounting import freeradius
from bench.accounting_stock import Stock
from bench.network_house import House, Line
from bench.processes import Running, cpu_seconds
from ispgraph.radius import configuration
from ispgraph.settings import Settings
from ispgraph.up.ports import free_port

_DIRECTORY = Path("/tmp/bench-authorization")
_WINDOW = 64
_PATIENCE = 3.0
_TRIES = 4
_ACCEPT = 2
_REPLY = "SELECT attribute, op, value FROM radius_reply($1, $2, '')"


class Logins:
    """What asks both servers, from the address of the one router."""

    def __init__(self, house: House) -> None:
        self.house = house
        self._address, self._secret = house.sites[0].address, house.sites[0].secret.encode()

    async def round(self, port: int) -> int:
        """Every customer once; how many requests had to be sent again."""
        waiting = iter(self.house.lines)
        return sum(await asyncio.gather(*(self._some(port, waiting) for _ in range(_WINDOW))))

    async def one(self, port: int, line: Line) -> set[int]:
        """The attributes of one answer."""
        with self._link(port) as link:
            return _attributes((await self._answer(link, line, 1))[0])

    def _link(self, port: int) -> socket.socket:
        link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        link.setblocking(False)
        link.bind((self._address, 0))
        link.connect(("127.0.0.1", port))
        return link

    async def _some(self, port: int, waiting: Iterator[Line]) -> int:
        again = 0
        with self._link(port) as link:
            for number, line in enumerate(waiting):
                answer, more = await self._answer(link, line, number % 256)
                again += more
                if answer[0] != _ACCEPT:
                    raise RuntimeError(f"{line.username} was not let in")
        return again

    async def _answer(self, link: socket.socket, line: Line, identifier: int) -> tuple[bytes, int]:
        loop = asyncio.get_running_loop()
        packet = self._packet(line, identifier)
        for attempt in range(_TRIES):
            await loop.sock_sendall(link, packet)
            try:
                async with asyncio.timeout(_PATIENCE):
                    while (answer := await loop.sock_recv(link, 4096))[1] != identifier:
                        pass
                return answer, attempt
            except TimeoutError:
                continue
        raise RuntimeError("no answer")

    def _packet(self, line: Line, identifier: int) -> bytes:
        authenticator, password = secrets.token_bytes(16), line.password.encode().ljust(16, b"\0")
        # RFC 2865 section 5.2; no password here is longer than 16 octets.
        hidden = bytes(a ^ b for a, b in zip(password, hashlib.md5(self._secret + authenticator).digest(), strict=True))
        body = b"".join(
            bytes([code, len(value) + 2]) + value
            for code, value in (
                (1, line.username.encode()),
                (2, hidden),
                (31, b"02:00:5E:00:00:01"),
                (4, socket.inet_aton(self._address)),
            )
        )
        return bytes([1, identifier]) + (20 + len(body)).to_bytes(2) + authenticator + body


def _attributes(answer: bytes) -> set[int]:
    codes, rest = set(), answer[20:]
    while rest:
        codes.add(rest[0])
        rest = rest[rest[1] :]
    return codes


async def _fill(house: House) -> None:
    """Give the stock tables what the product would answer to everybody now."""
    ours = await asyncpg.connect(
        house.environment["ISPGRAPH_RADIUS_DATABASE_URL"],
        server_settings={"ispgraph.network_key": house.network_key.hex()},
    )
    stock = await asyncpg.connect(house.postgres.superuser_dsn(Stock.DATABASE))
    for line in house.lines:
        rows = [(line.username, *row) for row in await ours.fetch(_REPLY, line.username, house.sites[0].address)]
        await stock.executemany("INSERT INTO radreply (username, attribute, op, value) VALUES ($1, $2, $3, $4)", rows)
    await stock.executemany(
        "INSERT INTO radcheck (username, attribute, op, value) VALUES ($1, 'Cleartext-Password', ':=', $2)",
        [(line.username, line.password) for line in house.lines],
    )
    await stock.execute("VACUUM (ANALYZE)")
    await ours.close()
    await stock.close()


async def measure(logins: Logins, servers: dict[str, tuple[Running, int]], rounds: int) -> None:
    """Compare the answers, then measure by turns, and print."""
    line = logins.house.lines[0]
    ours, stock = [await logins.one(port, line) for _, port in servers.values()]
    if ours != stock:
        raise RuntimeError(f"the answers are not alike: {ours} {stock}")
    postgres = logins.house.postgres.pid
    assert postgres is not None
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in servers}
    again = 0
    for number in range(rounds + 1):
        for name in list(servers) if number % 2 else list(servers)[::-1]:
            server, port = servers[name]
            before = cpu_seconds(server.pid), cpu_seconds(postgres), time.monotonic()
            again += await logins.round(port)
            after = cpu_seconds(server.pid), cpu_seconds(postgres), time.monotonic()
            many = len(logins.house.lines)
            used, database, seconds = (now - then for now, then in zip(after, before, strict=True))
            # The first round warms both up.
            if number:
                found[name].append((many / seconds, used / many * 1000, database / many * 1000))
    print("| FreeRADIUS with | logins/s (rounds) | median | FreeRADIUS ms | PostgreSQL ms |\n|---|---|---|---|---|")
    for name, rows in found.items():
        rate, server_time, postgres_time = (statistics.median(column) for column in zip(*rows, strict=True))
        rates = ", ".join(f"{row[0]:,.0f}" for row in rows)
        print(f"| {name} | {rates} | {rate:,.0f} | {server_time:.2f} | {postgres_time:.2f} |")
    ratios = [mine[0] / theirs[0] for mine, theirs in zip(*found.values(), strict=True)]
    print(f"ispgraph / stock, median of the rounds' ratios: {statistics.median(ratios):.2f}; sent again: {again}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.authorization", description=__doc__)
    parser.add_argument("--dir", type=Path, default=_DIRECTORY)
    parser.add_argument("--customers", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    shutil.rmtree(given.dir, ignore_errors=True)
    given.dir.mkdir(parents=True)
    given.dir.chmod(0o755)
    house = House(given.dir.absolute())
    ports = {name: free_port(socket.SOCK_DGRAM) for name in ("ispgraph", "stock")}
    with house.running(given.customers, 1), ExitStack() as stack:
        unused = (free_port(socket.SOCK_DGRAM) for _ in range(2))
        settings = Settings.from_env(house.environment)
        ours = house.directory / "ours"
        configuration.write(ours, settings, auth_port=ports["ispgraph"], acct_port=next(unused))
        stock = Stock(house, next(unused), ports["stock"], house.sites[0].secret)
        theirs = stock.write(house.directory / "stock")
        asyncio.run(_fill(house))
        house.postgres.execute("VACUUM (ANALYZE)", "ispgraph")
        directories = {"ispgraph": ours, "stock": theirs}
        servers = {
            name: (freeradius(name, directory, house.directory, stack), ports[name])
            for name, directory in directories.items()
        }
        asyncio.run(measure(Logins(house), servers, given.rounds))


if __name__ == "__main__":
    main()

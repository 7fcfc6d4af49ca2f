"""Many packets by one statement are what they are one by one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import asyncpg
import pytest

from ispgraph.db import Database
from ispgraph.radius import inbox
from ispgraph.radius.interims import PUT
from tests import factories
from tests.conftest import Dsns
from tests.factories import House
from tests.radius.stream import ON, START, Device, Network, Packet
from tests.radius.test_oracle import ARGUMENTS, CALL, devices, read, subscribers

BATCH = (
    "p_username text",
    "p_nas inet",
    "p_status bigint",
    "p_session_id text",
    "p_class text",
    "p_session_time bigint",
    "p_input_octets bigint",
    "p_input_gigawords bigint",
    "p_output_octets bigint",
    "p_output_gigawords bigint",
    "p_delay bigint",
    "p_event timestamptz",
    "p_at timestamptz",
)
TAKE = f"""SELECT * FROM radius_accounting_batch(p_ip_address => array_fill(NULL::inet, ARRAY[cardinality($2::inet[])]),
  {", ".join(f"{each.split()[0]} => ${n}::{each.split()[1]}[]" for n, each in enumerate(BATCH, 1))}) ORDER BY 1"""
SESSIONS = """SELECT COALESCE(class, acct_session_id) AS key, username, state, started_at, updated_at, stopped_at,
    duration_seconds, input_octets, output_octets, input_base, output_base, terminate_cause, octets_swapped
  FROM sessions ORDER BY 1, started_at"""
USAGE = """SELECT v.username, u.* FROM {} u JOIN services v ON v.id = u.service_id ORDER BY 1, 4, 5"""
NORTH, SOUTH = ("127.0.1.2", "127.0.1.3"), ("127.0.2.2", "127.0.2.3")


async def take(connection: Any, some: Sequence[Packet]) -> int:
    """Give packets to the function, and one by one those that it leaves; how many it took."""
    columns = [[ARGUMENTS[each.split()[0]](packet) for packet in some] for each in BATCH]
    left = [row[0] for row in await connection.fetch(TAKE, *columns)]
    for number in left:
        await one(connection, some[number - 1])
    return len(some) - len(left)


async def put(connection: Any, some: Sequence[Packet]) -> int:
    """Have Interims put away together, as FreeRADIUS passes them on, and all others one by one, in their order."""
    took = 0
    for interim, group in groupby(some, lambda packet: packet.status == 3):
        packets = list(group)
        left = list(range(1, len(packets) + 1))
        if interim:
            left = await connection.fetchval(PUT, *map(list, zip(*map(_row, packets), strict=True)))
            took += len(packets) - len(left)
        for number in left:
            await one(connection, packets[number - 1])
    return took


def _row(packet: Packet) -> tuple[object, ...]:
    octets = (ARGUMENTS[f"p_{way}_octets"](packet) for way in ("input", "output"))
    gigawords = (ARGUMENTS[f"p_{way}_gigawords"](packet) for way in ("input", "output"))
    return (
        *(packet.router, packet.session_id, packet.cookie, packet.seconds),
        *(low + (high << 32) for low, high in zip(octets, gigawords, strict=True)),
        *(None, packet.delay, packet.event, packet.arrival),
    )


async def one(connection: Any, packet: Packet) -> None:
    """Give one packet to the function for one."""
    await connection.fetchval(CALL, *(make(packet) for make in ARGUMENTS.values()))


async def books(database: Database, house: House) -> list[list[tuple[Any, ...]]]:
    """All that is written when nothing waits any more, without what is of the house alone."""
    await inbox.add(database)
    found = [[tuple(row) for row in await read(database, house, SESSIONS)]]
    for table in ("usage_days", "usage_buckets"):
        rows = await read(database, house, USAGE.format(table))
        own = ("tenant_id", "service_id", "customer_id")
        found.append(sorted(tuple(value for name, value in row.items() if name not in own) for row in rows))
    return found


async def provider(owner: Database, database: Database, slug: str, routers: Sequence[str], users: list[str]) -> House:
    """A tenant in Kathmandu whose second router counts the wrong way round."""
    house = await factories.house(owner, database, slug, time_zone="Asia/Kathmandu")
    for number, router in enumerate(routers):
        await house.router(router, octets_swapped=number == 1)
    await subscribers(house, users)
    return house


@pytest.mark.parametrize(("size", "way"), [(7, take), (100, take), (7, put), (100, put)])
async def test_the_same_as_one_by_one(
    owner: Database, database: Database, dsns: Dsns, size: int, way: Callable[[Any, Sequence[Packet]], Awaitable[int]]
) -> None:
    users = [f"user-{number}" for number in range(10)]
    north, south = [
        await provider(owner, database, slug, routers, users) for slug, routers in (("north", NORTH), ("south", SOUTH))
    ]
    midnight = datetime(2026, 1, 31, 18, 15, tzinfo=UTC)

    def lived(routers: Sequence[str]) -> list[Packet]:
        network = Network(size, devices([*users, "nobody"], routers), plain=[routers[0]])
        network.run(midnight - timedelta(hours=4), midnight + timedelta(hours=4))
        return network.in_order()

    connection = await asyncpg.connect(dsns.radius)
    for packet in lived(NORTH):
        await one(connection, packet)
    stream = lived(SOUTH)
    took = 0
    for begin in range(0, len(stream), size):
        took += await way(connection, stream[begin : begin + size])
    await connection.close()
    assert took > 100, "hardly anything was simple"
    assert len(stream) - took > 100
    one_by_one, together = await books(database, north), await books(database, south)
    assert one_by_one == together
    assert all(one_by_one)


async def test_several_readings_of_a_session_and_tenants_in_one_batch(
    owner: Database, database: Database, dsns: Dsns
) -> None:
    houses = [await provider(owner, database, slug, routers, ["ann"]) for slug, routers in (("a", NORTH), ("b", SOUTH))]
    begun = datetime(2026, 1, 31, 18, 0, tzinfo=UTC)
    connection = await asyncpg.connect(dsns.radius)
    told: list[Packet] = []
    for router in (NORTH[0], SOUTH[1]):
        of = Packet(begun, router, "ann", START, "81a00001", "ab" * 20)
        await one(connection, of)
        for minutes in (5, 10, 40):
            seconds = minutes * 60
            at = begun + timedelta(seconds=seconds)
            told.append(Packet(at, router, "ann", 3, "81a00001", "ab" * 20, "", seconds, seconds, 10 * seconds))
    assert await take(connection, sorted(told, key=lambda packet: packet.arrival)) == 6
    await connection.close()
    for house, (up, down) in zip(houses, ((1, 10), (10, 1)), strict=True):
        days = await read(database, house, "SELECT day::text, input_octets, output_octets FROM usage_days ORDER BY 1")
        assert [tuple(row) for row in days] == [
            ("2026-01-31", 900 * up, 900 * down),
            ("2026-02-01", 1500 * up, 1500 * down),
        ]
        [row] = await read(database, house, "SELECT * FROM sessions")
        assert (row["input_octets"], row["updated_at"]) == (2400 * up, begun + timedelta(minutes=40))


async def test_what_is_left_to_the_other(owner: Database, database: Database, dsns: Dsns) -> None:
    await provider(owner, database, "north", NORTH, ["ann", "bob"])
    begun = datetime(2026, 1, 31, 18, 0, tzinfo=UTC)

    def packet(user: str, seconds: int, octets: int, **of: Any) -> Packet:
        made = {"arrival": begun + timedelta(seconds=seconds), "router": NORTH[0], "user": user, "status": 3}
        made |= {"session_id": "1", "cookie": {"ann": "aa", "bob": "bb"}.get(user, "cc") * 20}
        return Packet(**(made | {"seconds": seconds, "up": octets, "down": octets} | of))

    connection = await asyncpg.connect(dsns.radius)
    for user in ("ann", "bob"):
        await one(connection, packet(user, 0, 0, status=START))
        await one(connection, packet(user, 300, 300))
    late = {"arrival": begun + timedelta(seconds=900)}
    for odd, left in (
        # Of an open session, whatever it tells.
        (packet("ann", 300, 300, **late), []),
        (packet("ann", 200, 200, **late), []),
        (packet("ann", 900, 10), []),
        (packet("ann", 900, 2**50), []),
        (packet("ann", 900, 900, arrival=begun + timedelta(seconds=100)), []),
        # What ends one, begins one or cannot be told from others.
        (packet("ann", 900, 900, status=2), [1]),
        (packet("ann", 900, 900, cookie=""), [1]),
        (packet("ann", 900, 900, cookie="dd" * 20), [1]),
        (packet("Ann", 900, 900, status=START, cookie="ee" * 20), [1]),
        (packet("nobody", 900, 900), [1]),
        (packet("ann", 900, 900, router="127.0.9.9"), [1]),
    ):
        some = [odd, packet("bob", 900, 900)]
        columns = [[ARGUMENTS[each.split()[0]](each_packet) for each_packet in some] for each in BATCH]
        transaction = connection.transaction()
        await transaction.start()
        assert [row[0] for row in await connection.fetch(TAKE, *columns)] == left, odd
        await transaction.rollback()
    restart = Packet(begun, NORTH[0], "", ON)
    columns = [[ARGUMENTS[each.split()[0]](p) for p in (restart, packet("bob", 900, 900))] for each in BATCH]
    assert [row[0] for row in await connection.fetch(TAKE, *columns)] == [1, 2]
    await connection.close()


async def test_batches_and_packets_at_once(owner: Database, database: Database, dsns: Dsns) -> None:
    """Of the same services: nobody waits in a circle, and nothing is lost."""
    users = [f"user-{number}" for number in range(8)]
    house = await provider(owner, database, "north", NORTH, users)
    lines = [
        Device(user, f"02:00:5E:00:{turn:02X}:{n:02X}", NORTH[0]) for n, user in enumerate(users) for turn in (0, 1)
    ]
    begun = datetime(2026, 1, 31, 18, 0, tzinfo=UTC)

    def packet(number: int, seconds: int) -> Packet:
        line = lines[number]
        at = begun + timedelta(seconds=seconds)
        of = {"cookie": f"{number:02x}" * 20, "station": line.station, "seconds": seconds}
        return Packet(at, line.router, line.user, 3, "1", up=seconds, down=2 * seconds, **of)

    pool = await asyncpg.create_pool(dsns.radius, min_size=6, max_size=6)
    async with pool:
        for number in range(len(lines)):
            await one(pool, packet(number, 1))

        async def batches(own: Sequence[int]) -> None:
            for step in range(1, 15):
                async with pool.acquire() as connection:
                    await take(connection, [packet(number, 1 + step * 1000) for number in own])

        async def singles(own: Sequence[int]) -> None:
            for step in range(1, 15):
                for number in own:
                    await one(pool, packet(number, 1 + step * 1000))

        async def adding() -> None:
            for _ in range(30):
                await inbox.add(database)

        # Both devices of a user are in different hands, and the order of the users is another in each.
        await asyncio.gather(
            *(batches([0, 2, 4, 6, 8, 10, 12, 14]), batches([15, 13, 11, 9])),
            *(singles([7, 5, 3, 1]), singles([1, 3, 5, 7]), adding(), adding()),
        )
    await inbox.add(database)
    rows = await read(database, house, "SELECT input_octets, output_octets, seconds FROM usage_days")
    whole = 1 + 14 * 1000
    assert [sum(row[n] for row in rows) for n in range(3)] == [16 * whole, 32 * whole, 16 * whole]

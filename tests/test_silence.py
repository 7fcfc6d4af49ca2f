"""Sessions of which nothing is heard any more: when they end, why, and how they go on when they are heard of again."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from ispgraph import clock, scheduler
from ispgraph.db import Database
from ispgraph.radius import inbox
from tests.conftest import Dsns
from tests.crowd import customer, service
from tests.factories import House

START, STOP, INTERIM = 1, 2, 3
BEGUN = datetime(2026, 7, 1, 6, 0, tzinfo=UTC)
ROUTERS = ("127.0.0.2", "127.0.0.3")

pytestmark = pytest.mark.usefixtures("moved_clock")


class Network:
    """Two routers, as many customers as there are names, and the minutes since `BEGUN`."""

    def __init__(self, database: Database, house: House, radius: Any) -> None:
        self.database = database
        self.house = house
        self.radius = radius
        self.lines: dict[str, UUID] = {}

    async def tell(
        self, name: str, status: int, minute: float, *, began: float = 0, router: int = 0, **of: Any
    ) -> None:
        """A packet of a session; `name` is its Acct-Session-Id, and its user begins with the same letters."""
        seconds = 0 if status == START else int((minute - began) * 60)
        told = {
            "p_username": f"user-{name}",
            "p_nas": ROUTERS[router],
            "p_status": status,
            "p_session_id": name,
            "p_session_time": seconds,
            "p_output_octets": seconds * 1000,
            "p_at": BEGUN + timedelta(minutes=minute),
        } | of
        passed = ", ".join(f"{key} => ${number}" for number, key in enumerate(told, 1))
        assert await self.radius.fetchval(f"SELECT radius_accounting({passed})", *told.values())

    async def line(self, name: str) -> None:
        """The customer whose sessions are so named."""
        row = customer(self.house, name)
        await self.house.add(row)
        line = service(row, self.package, username=f"user-{name}".lower())
        await self.house.add(line)
        self.lines[name] = line.id

    async def sweep(self, minute: float) -> None:
        """What the scheduler does each minute."""
        clock.set_clock((BEGUN + timedelta(minutes=minute)).isoformat())
        await scheduler.end_silent(self.database)

    async def rows(self) -> dict[str, tuple[Any, ...]]:
        """State, minute of the end, and cause of each session."""
        query = "SELECT acct_session_id, state, stopped_at, terminate_cause FROM sessions ORDER BY started_at"
        return {
            name: (state, stopped and (stopped - BEGUN) / timedelta(minutes=1), cause)
            for name, state, stopped, cause in await self.read(query)
        }

    async def read(self, query: str, *arguments: Any) -> list[Any]:
        """Rows as the house sees them when all is added."""
        await inbox.add(self.database)
        async with self.database.read(self.house.tenant.id) as session:
            connection = await (await session.connection()).get_raw_connection()
            return list(await connection.driver_connection.fetch(query, *arguments))


@pytest.fixture
async def network(database: Database, house: House, dsns: Dsns) -> AsyncIterator[Network]:
    radius = await asyncpg.connect(dsns.radius)
    made = Network(database, house, radius)
    made.package = (await house.package()).id
    for address in ROUTERS:
        await house.router(address)
    yield made
    await radius.close()


LOST = "Lost-Carrier"
OPEN = ("OPEN", None, None)


async def test_a_quarter_of_an_hour_of_silence_on_a_router_that_speaks(network: Network) -> None:
    await network.tell("a", START, 0)
    await network.tell("b", START, 0)
    await network.tell("a", INTERIM, 5)
    for minute in (5, 10, 15, 19.9):
        await network.tell("b", INTERIM, minute)
    await network.sweep(19.9)
    assert await network.rows() == {"a": OPEN, "b": OPEN}
    await network.sweep(20)
    assert await network.rows() == {"a": ("STALE", 5, LOST), "b": OPEN}


async def test_one_that_is_heard_of_again_goes_on_to_the_byte(network: Network) -> None:
    await network.line("a")
    await network.tell("a", START, 0)
    await network.tell("a", INTERIM, 5)
    await network.tell("b", START, 0)
    for minute in (10, 20):
        await network.tell("b", INTERIM, minute)
    await network.sweep(20)
    assert (await network.rows())["a"] == ("STALE", 5, LOST)
    await network.tell("a", INTERIM, 50)
    assert (await network.rows())["a"] == OPEN
    await network.tell("a", STOP, 60, p_terminate_cause=1)
    used = await network.read("SELECT sum(output_octets)::bigint, sum(seconds)::bigint, count(*) FROM usage_buckets")
    assert [tuple(row) for row in used] == [(3_600_000, 3600, 4)]
    each = await network.read("SELECT output_octets FROM usage_buckets")
    assert {row[0] for row in each} == {900_000}


async def test_a_router_that_says_nothing_at_all_gets_an_hour(network: Network) -> None:
    await network.tell("a", START, 0)
    await network.tell("b", START, 10)
    await network.tell("c", START, 0, router=1)
    for minute in range(5, 75, 5):
        await network.tell("c", INTERIM, minute, router=1)
    await network.sweep(69.9)
    assert await network.rows() == {"a": OPEN, "b": OPEN, "c": OPEN}
    await network.sweep(70.1)
    assert await network.rows() == {"a": ("STALE", 0, LOST), "b": ("STALE", 10, LOST), "c": OPEN}


async def test_a_router_that_speaks_again_may_speak_of_all_first(network: Network) -> None:
    await network.tell("a", START, 0)
    await network.tell("b", START, 0)
    await network.tell("b", INTERIM, 50)
    await network.sweep(51)
    assert (await network.rows())["a"] == OPEN
    await network.tell("b", INTERIM, 55)
    await network.tell("b", INTERIM, 60)
    await network.sweep(64)
    assert (await network.rows())["a"] == OPEN
    await network.sweep(65)
    assert await network.rows() == {"a": ("STALE", 0, LOST), "b": OPEN}


async def test_more_than_one_chunk(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "_SILENT_LIMIT", 3)
    for number in range(8):
        await network.tell(f"s{number}", START, 0)
    for minute in (8, 16):
        await network.tell("last", START, minute)
    await network.sweep(16)
    rows = await network.rows()
    assert rows.pop("last") == OPEN
    assert set(rows.values()) == {("STALE", 0, LOST)}
    assert len(rows) == 8


async def test_a_session_of_which_a_packet_is_being_written_is_left_alone(
    network: Network, dsns: Dsns, database: Database
) -> None:
    await network.tell("a", START, 0)
    await network.tell("b", START, 0)
    held = await asyncpg.connect(dsns.superuser)
    async with held.transaction():
        await held.execute("SELECT FROM sessions WHERE acct_session_id = 'a' FOR NO KEY UPDATE")
        await network.sweep(120)
        assert await network.rows() == {"a": OPEN, "b": ("STALE", 0, LOST)}
    await held.close()
    await network.sweep(121)
    assert (await network.rows())["a"] == ("STALE", 0, LOST)


async def test_other_tenants_are_swept_each_for_itself(network: Network, other_house: House) -> None:
    await other_house.router("127.0.0.9")
    await network.tell("a", START, 0)
    await network.tell("x", START, 0, p_nas="127.0.0.9")
    await network.sweep(61)
    assert await network.rows() == {"a": ("STALE", 0, LOST)}
    query = "SELECT state FROM sessions"
    async with network.database.read(other_house.tenant.id) as session:
        connection = await (await session.connection()).get_raw_connection()
        assert [row[0] for row in await connection.driver_connection.fetch(query)] == ["STALE"]


class TestReboot:
    """RouterOS numbers its sessions 81A00001: the third symbol is another after each of its starts."""

    async def test_those_of_before(self, network: Network) -> None:
        for name in ("81a00001", "81a00002"):
            await network.tell(name, START, 0)
            await network.tell(name, INTERIM, 5)
        await network.tell("80a00001", START, 0)
        await network.tell("named", START, 0)
        await network.tell("81b00001", START, 8)
        await network.sweep(14.9)
        assert {row[0] for row in (await network.rows()).values()} == {"OPEN"}
        await network.tell("81b00001", INTERIM, 13, began=8)
        await network.sweep(15.1)
        rows = await network.rows()
        assert rows["81a00001"] == rows["81a00002"] == ("STALE", 5, "NAS-Reboot")
        assert rows["81b00001"] == OPEN
        # Of another kind, and of another form: they are silent for a quarter of an hour, and nothing else is known.
        assert rows["80a00001"] == rows["named"] == ("STALE", 0, LOST)

    async def test_one_odd_number_ends_nothing(self, network: Network) -> None:
        await network.tell("81a00001", START, 0)
        await network.tell("81a00002", START, 0)
        await network.tell("81a00001", INTERIM, 2)
        await network.tell("81f00001", START, 3)
        await network.tell("81a00002", INTERIM, 6)
        for minute in (8, 13):
            await network.tell("81f00001", INTERIM, minute, began=3)
        # The first is silent for longer than a session would be, but its like was heard of since.
        await network.sweep(14)
        assert await network.rows() == {"81a00001": OPEN, "81a00002": OPEN, "81f00001": OPEN}

    async def test_a_session_of_before_that_lives_after_all(self, network: Network) -> None:
        await network.line("81a00001")
        await network.tell("81a00001", START, 0)
        await network.tell("81b00001", START, 1)
        await network.tell("81b00001", INTERIM, 11, began=1)
        await network.sweep(11)
        assert (await network.rows())["81a00001"] == ("STALE", 0, "NAS-Reboot")
        await network.tell("81a00001", INTERIM, 15)
        assert (await network.rows())["81a00001"] == OPEN
        assert [row[0] for row in await network.read("SELECT output_octets FROM usage_buckets")] == [900_000]

    async def test_another_router(self, network: Network) -> None:
        await network.tell("81a00001", START, 0)
        await network.tell("81b00001", START, 5, router=1)
        await network.tell("81b00001", INTERIM, 12, began=5, router=1)
        await network.sweep(12)
        assert (await network.rows())["81a00001"] == OPEN

    async def test_a_number_of_long_ago(self, network: Network) -> None:
        await network.tell("81b00009", START, 0, router=1)
        await network.tell("81b00001", START, 0)
        await network.tell("81a00001", START, 3)
        await network.sweep(14)
        # Nothing with another number began after it: it is what the router counts with now.
        assert (await network.rows())["81a00001"] == OPEN


async def test_only_the_application_sweeps(dsns: Dsns) -> None:
    radius = await asyncpg.connect(dsns.radius)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await radius.fetch("SELECT radius_sessions_silent(now(), 5)")
    await radius.close()


async def test_nobody_is_swept_without_a_tenant(network: Network) -> None:
    await network.tell("a", START, 0)
    clock.set_clock((BEGUN + timedelta(days=1)).isoformat())
    async with network.database.read(None) as session:
        connection = await (await session.connection()).get_raw_connection()
        assert await connection.driver_connection.fetchval("SELECT radius_sessions_silent(now(), 5)") == 0
    assert (await network.rows())["a"] == OPEN

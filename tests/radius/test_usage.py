"""Usage as it follows from packets: spread over the time they tell of, to the byte, and nothing that cannot be."""

import asyncio
import secrets
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as tuned
from hypothesis import strategies as st

from tests.radius import world
from tests.radius.conftest import Network, dsn, fetch
from tests.radius.test_sessions import INTERIM, START, STOP, Books, new, tell

SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
QUARTER = timedelta(minutes=15)
# Dhaka is six hours ahead: its days begin at 18:00 UTC.
NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
GIGABIT = 10**9 // 8

Figures = tuple[int, int, int]


@pytest.fixture(scope="module")
def books(network: Network) -> Iterator[Books]:
    """The books of the module's network."""
    made = Books(network)
    yield made
    made.close()


class Line:
    """A device of a service that speaks for itself. Times are seconds after its beginning."""

    def __init__(self, books: Books, username: str, begun: datetime = NOON) -> None:
        self.books = books
        self.begun = begun
        self.of = new() | {"p_username": username}
        self.service: UUID = books.value("SELECT id FROM services WHERE username = $1", username)
        self.before = self.quarters(), self.days()

    def tell(self, status: int, seconds: int, up: int = 0, down: int = 0, *, late: float = 0, **more: Any) -> bool:
        """A packet of `seconds` after the beginning; it comes `late` seconds after that and says so."""
        at = self.begun + timedelta(seconds=seconds)
        counters = {
            "p_session_time": seconds,
            "p_input_octets": up % 2**32,
            "p_input_gigawords": up >> 32,
            "p_output_octets": down % 2**32,
            "p_output_gigawords": down >> 32,
        }
        told = {"p_status": status, "p_at": at + timedelta(seconds=late), "p_delay": int(late)}
        return self.books.tell(**self.of, **told, **({} if status == START else counters), **more)

    def quarters(self) -> dict[datetime, Figures]:
        """Of the service, all that is written by quarter of an hour: upload, download, seconds."""
        return self._read("starts_at", "usage_buckets")

    def days(self) -> dict[date, Figures]:
        """The same by day."""
        return self._read("day", "usage_days")

    def _read(self, key: str, table: str) -> dict[Any, Figures]:
        query = f"SELECT {key}, input_octets, output_octets, seconds FROM {table} WHERE service_id = $1"
        self.books.add()
        found = self.books.run(self.books.app.fetch(query, self.service))
        return {row[0]: (row[1], row[2], row[3]) for row in found}

    def row(self) -> Any:
        """The session."""
        [row] = self.books.rows(self.of["p_session_id"])
        return row

    def doubts(self) -> list[tuple[Any, ...]]:
        """What was kept apart of this session."""
        query = """SELECT reason, since, at, input_octets, output_octets, seconds FROM usage_quarantine
                    WHERE session_id = $1 ORDER BY at"""
        return [tuple(row) for row in self.books.run(self.books.app.fetch(query, self.row()["id"]))]


def line(books: Books, begun: datetime = NOON) -> Line:
    """A device of a service that nothing was written of."""
    made = fetch(books.network, "ispgraph_owner", SERVICE, f"u{secrets.token_hex(6)}", tenant=books.network.world.north)
    return Line(books, made[0][0], begun)


SERVICE = """
    INSERT INTO services SELECT c.* FROM services s, jsonb_populate_record(s, jsonb_build_object(
      'id', gen_random_uuid(), 'username', $1::text, 'is_primary', false)) c
     WHERE s.username = 'alice' AND s.tenant_id = current_setting('app.tenant_id')::uuid
    RETURNING username"""


def total(written: dict[Any, Figures]) -> Figures:
    """Over all of it."""
    up, down, seconds = (sum(figures[n] for figures in written.values()) for n in range(3))
    return up, down, seconds


def test_within_a_quarter(books: Books) -> None:
    of = line(books, NOON + timedelta(minutes=1))
    of.tell(START, 0)
    of.tell(INTERIM, 300, 10, 70)
    of.tell(INTERIM, 600, 15, 1070)
    assert of.quarters() == {NOON: (15, 1070, 600)}
    assert of.days() == {date(2026, 5, 4): (15, 1070, 600)}


def test_over_the_border_of_a_day(books: Books) -> None:
    evening = datetime(2026, 5, 31, 17, 50, tzinfo=UTC)
    of = line(books, evening)
    of.tell(START, 0)
    of.tell(STOP, 1800, 1800, 3601)
    quarters = {"17:45": (600, 1200, 600), "18:00": (900, 1800, 900), "18:15": (300, 601, 300)}
    assert of.quarters() == {
        datetime.fromisoformat(f"2026-05-31T{time}:00+00:00"): figures for time, figures in quarters.items()
    }
    assert of.days() == {date(2026, 5, 31): (600, 1200, 600), date(2026, 6, 1): (1200, 2401, 1200)}


def test_a_packet_at_the_border_belongs_to_the_quarter_before_it(books: Books) -> None:
    of = line(books)
    of.tell(START, 0)
    of.tell(INTERIM, 900, 1, 1)
    of.tell(INTERIM, 1800, 3, 3)
    assert of.quarters() == {NOON: (1, 1, 900), NOON + QUARTER: (2, 2, 900)}


def test_the_first_packet_of_an_unknown_session(books: Books) -> None:
    of = line(books)
    of.tell(INTERIM, 3600, 4, 8)
    assert of.quarters() == {NOON + n * QUARTER: (1, 2, 900) for n in range(4)}


def test_what_is_late_or_comes_twice_adds_nothing(books: Books) -> None:
    of = line(books)
    of.tell(START, 0)
    of.tell(INTERIM, 600, 60, 60)
    of.tell(INTERIM, 600, 60, 60, late=20)
    of.tell(INTERIM, 300, 30, 30, late=400)
    of.tell(START, 0, late=700)
    assert of.quarters() == {NOON: (60, 60, 600)}
    of.tell(STOP, 700, 70, 71)
    of.tell(STOP, 700, 70, 71, late=30)
    of.tell(INTERIM, 800, 90, 90)
    assert total(of.quarters()) == total(of.days()) == (70, 71, 700)


def test_a_counter_that_began_again_adds_what_it_shows(books: Books) -> None:
    of = line(books)
    of.tell(INTERIM, 300, 1000, 2**33)
    of.tell(INTERIM, 600, 7, 2**33 + 5)
    of.tell(INTERIM, 900, 9, 3)
    assert total(of.quarters()) == (1009, 2**33 + 8, 900)


def test_a_session_that_was_given_up_goes_on_where_it_was(books: Books) -> None:
    of = line(books)
    of.tell(START, 0)
    of.tell(INTERIM, 900, 90, 900)
    assert books.value("SELECT radius_session_gone($1, $2)", of.row()["id"], NOON + timedelta(hours=1))
    assert of.row()["state"] == "STALE"
    of.tell(INTERIM, 900, 90, 900, late=4000)
    assert of.row()["state"] == "STALE"
    of.tell(INTERIM, 3600, 360, 3600)
    assert of.row()["state"] == "OPEN"
    assert of.quarters() == {NOON + n * QUARTER: (90, 900, 900) for n in range(4)}


def test_time_that_does_not_pass_is_no_place_to_lose_bytes(books: Books) -> None:
    of = line(books)
    of.tell(INTERIM, 300, 5, 5)
    # Its clock fell behind: by what it says, the packet is no younger than the one before.
    of.tell(INTERIM, 600, 9, 8, late=0, p_event=NOON + timedelta(seconds=300))
    assert of.quarters() == {NOON: (9, 8, 600)}
    of.tell(INTERIM, 600, 10, 10)
    assert of.quarters() == {NOON: (10, 10, 600)}


def test_users_of_nobody_use_nothing(books: Books) -> None:
    counts = "SELECT (SELECT count(*) FROM usage_buckets) + (SELECT count(*) FROM usage_quarantine)"
    before = books.value(counts)
    of = new() | {"p_username": "nobody at all"}
    told = {"p_session_time": 300, "p_input_octets": 5, "p_output_octets": 5}
    for status in (START, INTERIM, STOP):
        assert books.tell(**of, p_status=status, **(told if status != START else {}))
    assert books.tell(**of | {"p_session_id": "x", "p_class": ""}, p_status=INTERIM, **told, p_input_gigawords=2**20)
    assert books.value(counts) == before


@pytest.mark.parametrize(
    ("seconds", "up", "late", "reason"),
    [
        (300, 300 * 100 * GIGABIT, 0, None),
        (300, 300 * 100 * GIGABIT + 1, 0, "RATE"),
        (92 * 86400, 10**12, 0, None),
        (92 * 86400 + 1, 10**12, 0, "LONG"),
    ],
    ids=["100 Gbit/s", "a byte more", "three months", "a second more"],
)
def test_what_cannot_be_is_kept_apart(books: Books, seconds: int, up: int, late: int, reason: str | None) -> None:
    of = line(books, NOON + timedelta(days=1000))
    assert of.tell(INTERIM, seconds, up, 5, late=late)
    end = of.begun + timedelta(seconds=seconds)
    if reason is None:
        assert total(of.quarters()) == total(of.days()) == (up, 5, seconds)
        assert of.doubts() == []
    else:
        assert (of.quarters(), of.days()) == ({}, {})
        assert of.doubts() == [(reason, of.begun, end, up, 5, seconds)]
    # The session shows what the router says, and usage goes on from there.
    assert (of.row()["input_octets"], of.row()["duration_seconds"]) == (up, seconds)
    of.tell(INTERIM, seconds, up, 5, late=5)
    of.tell(STOP, seconds + 60, up + 6, 8)
    expected = (6, 3, 60) if reason else (up + 6, 8, seconds + 60)
    assert total(of.quarters()) == total(of.days()) == expected
    assert len(of.doubts()) == (reason is not None)


def test_a_router_that_counts_time_that_did_not_pass(books: Books) -> None:
    of = line(books)
    of.tell(START, 0)
    at = {"p_at": NOON + timedelta(minutes=5), "p_status": INTERIM, "p_output_octets": 5}
    books.tell(**of.of, **at, p_session_time=86700)
    assert total(of.quarters()) == (0, 5, 86700)
    books.tell(**of.of, **at, p_session_time=86700 + 86401)
    assert [(row[0], row[5]) for row in of.doubts()] == [("CLOCK", 86401)]
    assert total(of.quarters()) == (0, 5, 86700)


def test_a_router_that_counts_the_wrong_way_round(books: Books) -> None:
    network = books.network

    def swap(swapped: bool) -> None:
        change = "UPDATE routers SET octets_swapped = $1 WHERE radius_address = $2 RETURNING 1"
        assert fetch(network, "ispgraph_owner", change, swapped, world.NORTH, tenant=network.world.north)

    first, second, third = (line(books) for _ in range(3))
    first.tell(INTERIM, 300, 10, 1)
    swap(True)
    try:
        # It keeps what was set when it began: nothing of it is counted twice, or in the other direction.
        first.tell(INTERIM, 600, 20, 2)
        second.tell(INTERIM, 300, 10, 1)
        second.tell(INTERIM, 600, 5, 2**33 + 3)
    finally:
        swap(False)
    second.tell(STOP, 900, 6, 2**33 + 4)
    third.tell(INTERIM, 300, 10, 1)
    assert total(first.quarters()) == (20, 2, 600)
    assert total(second.quarters()) == (2**33 + 4, 16, 900)
    assert total(third.quarters()) == (10, 1, 300)
    assert (second.row()["input_octets"], second.row()["output_octets"]) == (2**33 + 4, 16)


@pytest.mark.parametrize("first", [300, 600])
def test_packets_of_one_session_at_once(books: Books, first: int) -> None:
    """Neither waits for the other. Where the one that was not committed yet is added later, each octet is counted once
    all the same."""
    of = line(books)
    of.tell(START, 0)
    figures = {300: (10, 70), 600: (15, 1070)}

    async def packet(connection: Any, seconds: int) -> bool:
        up, down = figures[seconds]
        told = {"p_session_time": seconds, "p_input_octets": up, "p_output_octets": down}
        return await tell(connection, **of.of, p_status=INTERIM, p_at=of.begun + timedelta(seconds=seconds), **told)

    async def both() -> None:
        pool = await asyncpg.create_pool(dsn("ispgraph_radius", books.network.name), min_size=2, max_size=2)
        async with pool, pool.acquire() as one, pool.acquire() as other:
            async with one.transaction():
                assert await packet(one, first)
                assert await packet(other, 900 - first)
                assert await books.app.fetchval("SELECT radius_accounting_add(1000)") == 1
            assert await books.app.fetchval("SELECT radius_accounting_add(1000)") == 1

    books.run(both())
    assert total(of.quarters()) == total(of.days()) == (15, 1070, 600)
    row = of.row()
    assert (row["input_octets"], row["output_octets"], row["duration_seconds"]) == (15, 1070, 600)
    assert row["updated_at"] == of.begun + timedelta(seconds=600)


def test_who_adds_and_who_ends_a_session_wait_for_each_other(books: Books) -> None:
    of = line(books)
    of.tell(START, 0)
    of.tell(INTERIM, 300, 10, 70)

    async def both() -> None:
        pool = await asyncpg.create_pool(dsn("ispgraph_radius", books.network.name), min_size=2, max_size=2)
        async with pool, pool.acquire() as radius, pool.acquire() as other:
            ends = {"p_session_time": 600, "p_input_octets": 15, "p_output_octets": 1070}
            async with books.app.transaction():
                assert await books.app.fetchval("SELECT radius_accounting_add(1000)") == 1
                stop = tell(radius, **of.of, p_status=STOP, p_at=of.begun + timedelta(seconds=600), **ends)
                waiting = asyncio.create_task(stop)
                blocked = "SELECT cardinality(pg_blocking_pids($1))"
                while not await books.app.fetchval(blocked, radius.get_server_pid()):
                    await asyncio.sleep(0.01)
                # Whoever adds does not wait, and leaves the session to the first.
                assert await tell(
                    other,
                    **of.of,
                    p_status=INTERIM,
                    p_at=of.begun + timedelta(seconds=310),
                    p_session_time=310,
                    p_input_octets=10,
                    p_output_octets=70,
                )
                assert await other_add(books) == 0
            assert await waiting

    books.run(both())
    assert total(of.quarters()) == total(of.days()) == (15, 1070, 600)
    assert of.row()["state"] == "STOPPED"


async def other_add(books: Books) -> int:
    """Add what waits, on a connection of its own."""
    connection = await asyncpg.connect(dsn("ispgraph_app", books.network.name))
    await connection.execute("SELECT set_config('app.tenant_id', $1, false)", str(books.network.world.north))
    added: int = await connection.fetchval("SELECT radius_accounting_add(1000)")
    await connection.close()
    return added


def test_devices_of_one_service_never_wait_in_a_circle(books: Books) -> None:
    """Each packet covers many quarters and days that all the others write as well."""
    of = [line(books)]
    of += [Line(books, of[0].of["p_username"], NOON + timedelta(seconds=n)) for n in range(1, 6)]
    steps = 12

    async def storm() -> None:
        pool = await asyncpg.create_pool(dsn("ispgraph_radius", books.network.name), min_size=6, max_size=6)
        async with pool:

            async def device(which: Line) -> None:
                async with pool.acquire() as connection:
                    for step in range(1, steps + 1):
                        seconds = step * 40_000
                        told = {"p_session_time": seconds, "p_input_octets": step, "p_output_octets": 7 * step}
                        at = which.begun + timedelta(seconds=seconds)
                        assert await tell(connection, **which.of, p_status=INTERIM, p_at=at, **told)

            await asyncio.gather(*(device(which) for which in of))

    books.run(storm())
    assert total(of[0].quarters()) == total(of[0].days()) == (6 * steps, 42 * steps, 6 * steps * 40_000)


PIECES = "SELECT * FROM usage_pieces($1, $2, $3, $4, $5) WITH ORDINALITY ORDER BY ordinality"


@given(
    st.integers(0, 92 * 86400).map(lambda seconds: NOON + timedelta(seconds=seconds)),
    st.integers(1, 3 * 86_400_000_000),
    st.integers(0, 2**52),
    st.integers(0, 2**52),
    st.integers(0, 400_000),
)
@tuned(max_examples=300, deadline=None, suppress_health_check=SLOW)
def test_pieces(owned: Any, since: datetime, passed: int, up: int, down: int, seconds: int) -> None:
    """They are the quarters that the time touches, in order; over any run of them from the first, the sum is what came
    about until its end, rounded down."""
    until = since + timedelta(microseconds=passed)
    runner, connection = owned
    pieces = [tuple(row) for row in runner.run(connection.fetch(PIECES, since, until, up, down, seconds))]
    sums = [0, 0, 0]
    previous = None
    for start, *figures, _ in pieces:
        assert start.timestamp() % 900 == 0
        assert start < until
        assert start + QUARTER > since
        assert previous is None or start == previous + QUARTER
        previous = start
        end = (min(start + QUARTER, until) - since) // timedelta(microseconds=1)
        for n, whole in enumerate((up, down, seconds)):
            assert figures[n] >= 0
            sums[n] += figures[n]
            assert sums[n] == whole * end // passed
    assert sums == [up, down, seconds]
    assert pieces[0][0] <= since
    assert previous is not None
    assert previous + QUARTER >= until


@pytest.fixture(scope="module")
def owned(network: Network) -> Iterator[Any]:
    """A connection as the owner, who may call what is behind the function."""
    with asyncio.Runner() as runner:
        connection = runner.run(_connected(dsn("ispgraph_owner", network.name)))
        yield runner, connection
        runner.run(connection.close())


async def _connected(at: str) -> Any:
    return await asyncpg.connect(at)


def test_a_quarter_belongs_to_one_day_in_every_zone() -> None:
    """From 2025 as far as the rules of zones are written: none is off UTC by part of a quarter, and none turns its
    clocks within one."""
    begin, end = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2039, 1, 1, tzinfo=UTC).timestamp())
    month = 28 * 86400
    for name in sorted(zoneinfo.available_timezones() - {"localtime"}):
        zone = zoneinfo.ZoneInfo(name)

        def off(at: int, zone: zoneinfo.ZoneInfo = zone) -> int:
            found = datetime.fromtimestamp(at, zone).utcoffset()
            assert found is not None
            return int(found.total_seconds())

        for at in range(begin, end, month):
            assert off(at) % 900 == 0, (name, at)
            if off(at) != off(at + month):
                early, late = at, at + month
                while late - early > 1:
                    middle = (early + late) // 2
                    early, late = (middle, late) if off(middle) == off(early) else (early, middle)
                assert late % 900 == 0, (name, late)


@pytest.mark.parametrize(
    ("zone", "midday", "hours"),
    [
        ("Europe/Berlin", datetime(2026, 3, 28, 12, tzinfo=UTC), {28: 11, 29: 23, 30: 14}),
        ("Europe/Berlin", datetime(2026, 10, 24, 12, tzinfo=UTC), {24: 10, 25: 25, 26: 13}),
        ("Asia/Kathmandu", datetime(2026, 3, 28, 12, tzinfo=UTC), {28: 6.25, 29: 24, 30: 17.75}),
        ("Pacific/Chatham", datetime(2026, 4, 3, 12, tzinfo=UTC), {4: 22.25, 5: 25, 6: 0.75}),
    ],
)
def test_days_of_23_and_25_hours(books: Books, zone: str, midday: datetime, hours: dict[int, float]) -> None:
    network, north = books.network, books.network.world.north
    change = "UPDATE tenants SET time_zone = $1 WHERE id = $2 RETURNING 1"
    fetch(network, "ispgraph_owner", change, zone, north, tenant=north)
    try:
        of = line(books, midday)
        of.tell(STOP, 48 * 3600, 48 * 3600, 48 * 3600 * 7)
    finally:
        fetch(network, "ispgraph_owner", change, "Asia/Dhaka", north, tenant=north)
    assert {day.day: figures for day, figures in of.days().items()} == {
        day: (int(count * 3600), int(count * 3600 * 7), int(count * 3600)) for day, count in hours.items()
    }


def test_packets_touch_no_index_of_usage(books: Books) -> None:
    """What goes on within a quarter and a day is written where it stood (HOT)."""
    of = line(books)
    of.tell(START, 0)
    of.tell(INTERIM, 10, 1, 1)
    books.add()
    counts = """SELECT sum(pg_stat_get_xact_tuples_updated(c.oid)), sum(pg_stat_get_xact_tuples_hot_updated(c.oid))
                  FROM pg_class c WHERE c.relname IN ('usage_days', 'usage_buckets')"""

    async def count() -> tuple[int, int]:
        async with books.app.transaction():
            before = await books.app.fetchrow(counts)
            for seconds in range(20, 400, 20):
                at = NOON + timedelta(seconds=seconds)
                told = {"p_session_time": seconds, "p_input_octets": seconds, "p_output_octets": seconds}
                await tell(books.radius, **of.of, p_status=INTERIM, p_at=at, **told)
                await books.app.execute("SELECT radius_accounting_add(1000)")
            after = await books.app.fetchrow(counts)
            return int(after[0] - before[0]), int(after[1] - before[1])

    updated, hot = books.run(count())
    assert updated == 38
    assert hot >= updated - 2


@pytest.mark.parametrize("role", ["ispgraph_app", "ispgraph_radius"])
@pytest.mark.parametrize(
    "call",
    [
        "usage_add(gen_random_uuid(), 'UTC', gen_random_uuid(), gen_random_uuid(), now(), now(), 1, 1, 1)",
        "usage_spread(gen_random_uuid(), 'UTC', gen_random_uuid(), gen_random_uuid(), now(), now(), 1, 1, 1)",
        "usage_pieces(now(), now(), 1, 1, 1)",
    ],
)
def test_nobody_adds_usage_by_hand(network: Network, role: str, call: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        fetch(network, role, f"SELECT {call}", tenant=network.world.north)

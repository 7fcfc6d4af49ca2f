"""The function that writes sessions: what any network may do to their packets, at what cost, and who may call it."""

import asyncio
import random
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as tuned
from hypothesis import strategies as st

from tests.radius import world
from tests.radius.conftest import Network, dsn, fetch

START, STOP, INTERIM = 1, 2, 3
SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


class Books:
    """One connection as the RADIUS role and one as the application of north, in an event loop of their own."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.runner = asyncio.Runner()
        self.radius = self.run(asyncpg.connect(dsn("ispgraph_radius", network.name)))
        self.app = self.run(asyncpg.connect(dsn("ispgraph_app", network.name)))
        self.run(self.app.execute("SELECT set_config('app.tenant_id', $1, false)", str(network.world.north)))

    def run(self, work: Any) -> Any:
        """Finish some work."""
        return self.runner.run(_awaited(work))

    def tell(self, **told: Any) -> bool:
        """One packet from north's router."""
        return bool(self.run(tell(self.radius, **told)))

    def add(self) -> None:
        """What the scheduler does each second."""
        self.run(self.app.execute("SELECT radius_accounting_add(1000)"))

    def rows(self, session_id: str) -> list[Any]:
        """The rows of an Acct-Session-Id."""
        self.add()
        query = "SELECT * FROM sessions WHERE acct_session_id = $1 ORDER BY started_at, id"
        return list(self.run(self.app.fetch(query, session_id)))

    def value(self, query: str, *arguments: Any) -> Any:
        """What the application reads."""
        self.add()
        return self.run(self.app.fetchval(query, *arguments))

    def close(self) -> None:
        """Close both."""
        self.run(self.radius.close())
        self.run(self.app.close())
        self.runner.close()


WRONG = """
    SELECT count(*) FROM (SELECT tenant_id, id, unique_id, started_at, customer_id, service_id, router_id, mac_address
                            FROM sessions WHERE stopped_at IS NULL) s
      FULL JOIN open_sessions o USING (tenant_id, unique_id)
     WHERE (s.id, s.started_at, s.customer_id, s.service_id, s.router_id, s.mac_address) IS DISTINCT FROM
           (o.session_id, o.started_at, o.customer_id, o.service_id, o.router_id, o.mac_address)"""


async def _awaited(work: Any) -> Any:
    return await work


async def tell(connection: Any, **told: Any) -> bool:
    """Call the function as both servers do."""
    named = {"p_username": "alice", "p_nas": world.NORTH, "p_input_gigawords": 0, "p_output_gigawords": 0} | told
    passed = ", ".join(f"{name} => ${number}" for number, name in enumerate(named, 1))
    return bool(await connection.fetchval(f"SELECT radius_accounting({passed})", *named.values()))


@pytest.fixture(scope="module")
def books(network: Network) -> Iterator[Books]:
    """The sessions of the module's network."""
    made = Books(network)
    yield made
    # Whatever happened, what says which are open is right.
    assert made.value(WRONG) == 0
    made.close()


def new() -> dict[str, Any]:
    """The names of a session that nobody has heard of."""
    return {
        "p_session_id": secrets.token_hex(4),
        "p_class": secrets.token_hex(20),
        "p_calling_station": "-".join(secrets.token_hex(1) for _ in range(6)),
    }


def packets(steps: list[tuple[int, int, int]], stops: bool) -> list[dict[str, Any]]:
    """A session: each step is the seconds that pass and the octets that go up and down meanwhile."""
    told: list[dict[str, Any]] = [{"p_status": START}]
    seconds = up = down = 0
    for passed, more_up, more_down in steps:
        seconds, up, down = seconds + passed, up + more_up, down + more_down
        told.append(
            {
                "p_status": INTERIM,
                "p_session_time": seconds,
                "p_input_octets": up % 2**32,
                "p_input_gigawords": up >> 32,
                "p_output_octets": down % 2**32,
                "p_output_gigawords": down >> 32,
            }
        )
    if stops:
        told[-1] = told[-1] | {"p_status": STOP, "p_terminate_cause": 1}
    return told


OCTETS = st.one_of(st.integers(0, 1000), st.integers(0, 2**40))
STEPS = st.lists(st.tuples(st.integers(1, 900), OCTETS, OCTETS), min_size=1, max_size=6)


@given(STEPS, st.booleans(), st.booleans(), st.data())
@tuned(max_examples=150, deadline=None, suppress_health_check=SLOW)
def test_any_order_loss_and_repetition(
    books: Books, steps: list[tuple[int, int, int]], stops: bool, classed: bool, data: st.DataObject
) -> None:
    """What arrived last of the session is what the row says, and it is one row."""
    whole = packets(steps, stops)
    arrived = data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=12))
    begun = datetime.now(UTC).replace(microsecond=0) - timedelta(days=2)
    of = new() | ({} if classed else {"p_class": ""})
    for after, index in enumerate(arrived):
        told = whole[index]
        event = begun + timedelta(seconds=told.get("p_session_time", 0))
        at = begun + timedelta(seconds=10_000 + after)
        assert books.tell(**of, **told, p_event=event, p_delay=int((at - event).total_seconds()), p_at=at)
    [row] = books.rows(of["p_session_id"])
    last = whole[max(arrived)]
    assert row["duration_seconds"] == last.get("p_session_time", 0)
    for name in ("input", "output"):
        octets = last.get(f"p_{name}_octets", 0) + (last.get(f"p_{name}_gigawords", 0) << 32)
        assert row[f"{name}_octets"] == octets
    assert row["started_at"] == begun
    assert row["updated_at"] == begun + timedelta(seconds=row["duration_seconds"])
    assert row["stopped_at"] == (row["updated_at"] if last["p_status"] == STOP else None)
    assert row["state"] == ("STOPPED" if last["p_status"] == STOP else "OPEN")


@given(st.lists(st.tuples(OCTETS, OCTETS, st.booleans()), min_size=1, max_size=8))
@tuned(max_examples=60, deadline=None, suppress_health_check=SLOW)
def test_counters_that_begin_again_lose_nothing(books: Books, steps: list[tuple[int, int, bool]]) -> None:
    """A counter that shows less than before has begun again at zero; all that it ever showed adds up."""
    of, shown, total = new(), [0, 0], [0, 0]
    for number, (up, down, again) in enumerate(steps, 1):
        for at, more in enumerate((up, down)):
            # One that begins again and overtakes what it showed before cannot be noticed.
            begins = again and more < shown[at]
            shown[at] = more if begins else shown[at] + more
            total[at] += more
        [[told]] = [packets([(number * 300, shown[0], shown[1])], False)[1:]]
        books.tell(**of, **told)
        books.tell(**of, **told)
    [row] = books.rows(of["p_session_id"])
    assert [row["input_octets"], row["output_octets"]] == total


def test_packets_at_once_make_one_row(books: Books) -> None:
    whole = packets([(300, 10, 20)] * 9, True)
    many = [new() | {"p_class": cookie} for cookie in ["", *(secrets.token_hex(20) for _ in range(5))]]
    now = datetime.now(UTC)

    async def storm() -> None:
        pool = await asyncpg.create_pool(dsn("ispgraph_radius", books.network.name), min_size=8, max_size=8)
        async with pool:

            async def one(told: dict[str, Any]) -> None:
                async with pool.acquire() as connection:
                    event = now - timedelta(seconds=3000 - told.get("p_session_time", 0))
                    delay = int((now - event).total_seconds())
                    assert await tell(connection, **told, p_event=event, p_at=now, p_delay=delay)

            for of in many:
                every = [of | told for told in whole * 4]
                random.Random(7).shuffle(every)
                await asyncio.gather(*(one(told) for told in every))

    books.run(storm())
    for of in many:
        [row] = books.rows(of["p_session_id"])
        assert (row["state"], row["duration_seconds"], row["output_octets"]) == ("STOPPED", 2700, 180)


@pytest.mark.parametrize("stops", [False, True])
def test_updates_touch_no_index(books: Books, stops: bool) -> None:
    """Each that tells something new is written, into the page of the row before it where there is room (HOT): were a
    column that it changes indexed, none would be. With the end of a session it is the same."""
    many, begun = [new() for _ in range(5)], datetime.now(UTC)
    for of in many:
        books.tell(**of, p_status=START, p_at=begun)

    # Interims are added by the application's connection.
    at_work = books.radius if stops else books.app

    async def written() -> tuple[int, int]:
        updated, hot = await at_work.fetchrow(
            """SELECT sum(pg_stat_get_xact_tuples_updated(inhrelid)), sum(pg_stat_get_xact_tuples_hot_updated(inhrelid))
                 FROM pg_inherits WHERE inhparent = 'sessions'::regclass"""
        )
        return updated, hot

    async def count() -> tuple[int, int]:
        # PostgreSQL gives these counts away between transactions only.
        async with at_work.transaction():
            before = await written()
            for of in many:
                [told] = packets([(300, 10, 20)], stops)[1:]
                at = begun + timedelta(seconds=told["p_session_time"])
                await tell(books.radius, **of, **told, p_at=at)
                await tell(books.radius, **of, **told, p_at=at)
            await books.app.execute("SELECT radius_accounting_add(1000)")
            after = await written()
            return after[0] - before[0], after[1] - before[1]

    updated, hot = books.run(count())
    assert updated == 5
    assert hot > 0


def test_a_router_is_seen_at_most_every_30_seconds(books: Books) -> None:
    seen = "SELECT accounting_last_seen_at FROM routers WHERE radius_address = $1"
    of, begun = new(), datetime.now(UTC) + timedelta(days=1)
    times = {}
    for seconds in (0, 29, 31, 60, 62):
        books.tell(**of, p_status=START, p_at=begun + timedelta(seconds=seconds))
        times[seconds] = round((books.value(seen, world.NORTH) - begun).total_seconds())
    assert times == {0: 0, 29: 0, 31: 31, 60: 31, 62: 62}


def test_nobody_who_holds_a_router_makes_packets_wait(books: Books) -> None:
    async def held() -> bool:
        async with books.app.transaction():
            await books.app.execute("SELECT 1 FROM routers WHERE radius_address = $1 FOR NO KEY UPDATE", world.NORTH)
            later = datetime.now(UTC) + timedelta(days=3)
            return await asyncio.wait_for(tell(books.radius, **new(), p_status=START, p_at=later), 2)

    assert books.run(held())


def test_a_session_that_a_router_does_not_know_is_closed(books: Books) -> None:
    of, begun = new(), datetime.now(UTC)
    books.tell(**of, **packets([(300, 10, 20)], False)[1], p_at=begun)
    [row] = books.rows(of["p_session_id"])
    gone = "SELECT radius_session_gone($1, $2)"
    # It was heard of after the router was asked.
    assert books.value(gone, row["id"], begun - timedelta(seconds=1)) is False
    assert books.rows(of["p_session_id"])[0]["state"] == "OPEN"
    assert books.value(gone, row["id"], begun + timedelta(hours=1)) is True
    [row] = books.rows(of["p_session_id"])
    assert (row["state"], row["stopped_at"], row["terminate_cause"]) == ("STALE", begun, "Lost-Carrier")
    assert books.value(gone, row["id"], begun + timedelta(hours=1)) is False


def test_a_session_of_another_tenant_is_not_closed(books: Books) -> None:
    of = new()
    books.tell(**of, p_status=START)
    [row] = books.rows(of["p_session_id"])
    query = "SELECT radius_session_gone($1, now() + interval '1 day')"
    for tenant in (books.network.world.south, ""):
        assert fetch(books.network, "ispgraph_app", query, row["id"], tenant=tenant) == [(False,)]
    assert books.rows(of["p_session_id"])[0]["state"] == "OPEN"


def test_the_application_writes_the_rate_and_nothing_else(books: Books) -> None:
    of = new()
    books.tell(**of, p_status=START)
    assert books.value(
        "UPDATE sessions SET rate = 'cafe' WHERE acct_session_id = $1 RETURNING rate", of["p_session_id"]
    )
    for change in ("state = 'STALE'", "input_octets = 0", "policy = ''", "stopped_at = now()"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            books.value(f"UPDATE sessions SET {change} RETURNING 1")


@pytest.mark.parametrize("role", ["ispgraph_radius", "ispgraph_app"])
def test_each_role_calls_its_own(network: Network, role: str) -> None:
    others = {
        "ispgraph_app": f"radius_accounting('alice', '{world.NORTH}', 1, 'x')",
        "ispgraph_radius": "radius_session_gone(gen_random_uuid(), now())",
    }
    for call in (others[role], "radius_session_key(gen_random_uuid(), 'x', 'y')", "radius_terminate_cause(1)"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            fetch(network, role, f"SELECT {call}", tenant=network.world.north)


def test_it_leaves_no_tenant_behind(network: Network) -> None:
    query = f"SELECT radius_accounting('alice', '{world.NORTH}', 1, 'x'), current_setting('app.tenant_id')"
    assert fetch(network, "ispgraph_radius", query) == [(True, "")]


class TestPolicy:
    """A session that was let in with what is no longer right is reported, once."""

    WAITING = "SELECT count(*) FROM jobs WHERE service_id = $1 AND kind = 'service.provision' AND status = 'QUEUED'"

    @pytest.fixture
    def line(self, books: Books) -> Iterator[dict[str, Any]]:
        """A session of `small` with the Class that it would get now; afterwards no job is left waiting."""
        service = books.value("SELECT id FROM services WHERE username = 'small'")
        policy = books.value("SELECT radius_policy_of($1)", service)
        yield new() | {"p_username": "small", "p_class": policy + secrets.token_hex(8), "service": service}
        books.value("UPDATE jobs SET status = 'CANCELLED' WHERE service_id = $1", service)

    def waiting(self, books: Books, line: dict[str, Any], *told: dict[str, Any]) -> int:
        """How many jobs wait after these packets."""
        of = {name: value for name, value in line.items() if name != "service"}
        for each in told:
            assert books.tell(**(of | each))
        return int(books.value(self.WAITING, line["service"]))

    def test_the_right_policy(self, books: Books, line: dict[str, Any]) -> None:
        assert self.waiting(books, line, *packets([(300, 1, 1)] * 3, True)) == 0

    @pytest.mark.parametrize("digits", [slice(0, 16), slice(16, 24)], ids=["policy", "rate"])
    def test_another(self, books: Books, line: dict[str, Any], digits: slice) -> None:
        cookie = list(line["p_class"])
        cookie[digits] = "f" * len(cookie[digits])
        line["p_class"] = "".join(cookie)
        assert self.waiting(books, line, {"p_status": START}) == 1
        assert self.waiting(books, line, *packets([(300, 1, 1)], False)) == 1

    def test_the_first_interim(self, books: Books, line: dict[str, Any]) -> None:
        line["p_class"] = "0" * 40
        assert self.waiting(books, line, *packets([(300, 1, 1)], False)[1:]) == 1

    def test_a_session_that_is_over(self, books: Books, line: dict[str, Any]) -> None:
        line["p_class"] = "0" * 40
        assert self.waiting(books, line, *packets([(300, 1, 1)], True)[1:]) == 0

    def test_a_class_that_does_not_tell(self, books: Books, line: dict[str, Any]) -> None:
        for cookie in ("", "0" * 32, "0" * 42):
            line["p_class"] = cookie
            assert self.waiting(books, line, {"p_status": START, "p_session_id": secrets.token_hex(4)}) == 0

    def test_one_that_was_given_up_and_is_there_after_all(self, books: Books, line: dict[str, Any]) -> None:
        line["p_class"] = "0" * 40
        told = packets([(300, 1, 1)] * 2, False)
        assert self.waiting(books, line, told[1]) == 1
        books.value("UPDATE jobs SET status = 'CANCELLED' WHERE service_id = $1", line["service"])
        [row] = books.rows(line["p_session_id"])
        assert books.value("SELECT radius_session_gone($1, now() + interval '1 hour')", row["id"])
        assert self.waiting(books, line, told[2]) == 1

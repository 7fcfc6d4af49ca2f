"""Where sessions lie: by the quarter in which they began, made ahead, and found without looking at other quarters."""

import asyncio
import os
import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import make_url

from tests.radius import world
from tests.radius.conftest import Network, fetch
from tests.radius.test_sessions import INTERIM, START, STOP, new, tell

ON = 7
# The middle of a quarter, so that the days that a packet may have been kept are in the same.
MIDDLE = datetime(2028, 5, 15, 12, tzinfo=UTC)
SCAN = re.compile(r"Scan.* on (sessions_\w+).*\(actual")
NAME = re.compile(r"\bsessions_(?:before|after|\d{4}_q\d)\b")
BATCH = """SELECT array_agg(n) FROM radius_accounting_batch(
    ARRAY['alice'], ARRAY[$1::inet], ARRAY[3::bigint], ARRAY[$2], ARRAY[$3], ARRAY[900::bigint], ARRAY[9000::bigint],
    ARRAY[0::bigint], ARRAY[9000::bigint], ARRAY[0::bigint], ARRAY[NULL::inet], ARRAY[0::bigint],
    ARRAY[NULL::timestamptz], ARRAY[$4::timestamptz]) n"""


class Watched:
    """A superuser's connection that hears the plan of every statement, those inside functions too."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.runner = asyncio.Runner()
        self.heard: list[str] = []
        self.named: set[str] = set()
        url = make_url(os.environ["ISPGRAPH_TEST_POSTGRES"]).set(database=network.name)
        self.link: Any = self.run(asyncpg.connect(url.render_as_string(hide_password=False)))
        self.aside: Any = self.run(asyncpg.connect(url.render_as_string(hide_password=False)))
        # Ten quarters at once are the most, and the database has three.
        for _ in range(2):
            self.run(self.link.execute("SELECT sessions_quarters($1)", MIDDLE + timedelta(days=400)))

    def run(self, work: Any) -> Any:
        """Finish some work."""

        async def awaited() -> Any:
            return await work

        return self.runner.run(awaited())

    def listen(self) -> None:
        """From now on, which is in the middle of a quarter."""
        self.run(self.link.execute("SELECT sessions_quarters($1)", MIDDLE))
        self.link.add_log_listener(lambda _link, message: self.heard.append(message.message))
        self.run(
            self.link.execute(
                """LOAD 'auto_explain'; SET client_min_messages = log; SET auto_explain.log_min_duration = 0;
                   SET auto_explain.log_nested_statements = on; SET auto_explain.log_analyze = on;
                   SET auto_explain.log_timing = off"""
            )
        )

    def tell(self, **told: Any) -> bool:
        """One packet from north's router."""
        return bool(self.run(tell(self.link, **told)))

    def add(self) -> int:
        """What the scheduler does each second; how many packets of north were added."""
        query = "SELECT radius_accounting_add(1000) FROM (SELECT set_config('app.tenant_id', $1, false) OFFSET 0) t"
        return int(self.run(self.link.fetchval(query, str(self.network.world.north))))

    def rows(self, session_id: str) -> list[Any]:
        """The rows of an Acct-Session-Id, each with its partition; this is not heard."""
        query = "SELECT *, tableoid::regclass::text AS lies_in FROM sessions WHERE acct_session_id = $1 ORDER BY 1"
        return list(self.run(self.aside.fetch(query, session_id)))

    def is_open(self, session_id: UUID) -> bool:
        """Whether it is among the open ones."""
        return bool(
            self.run(self.link.fetchval("SELECT count(*) FROM open_sessions WHERE session_id = $1", session_id))
        )

    def opened(self) -> set[str]:
        """The partitions that were read since this was last asked."""
        # Messages come with the answers, and are handed on in the next turn of the loop.
        self.run(asyncio.sleep(0.05))
        found = {name for plan in self.heard for line in plan.splitlines() for name in SCAN.findall(line)}
        assert any("sessions" in plan for plan in self.heard)
        self.named = {name for plan in self.heard for name in NAME.findall(plan)}
        self.heard.clear()
        return found

    def close(self) -> None:
        """Close it."""
        self.run(self.link.close())
        self.run(self.aside.close())
        self.runner.close()


@pytest.fixture
def books(network: Network) -> Iterator[Watched]:
    made = Watched(network)
    yield made
    made.close()


def told(seconds: int, octets: int = 10) -> dict[str, Any]:
    return {"p_session_time": seconds, "p_input_octets": octets, "p_output_octets": octets}


@pytest.mark.parametrize("classed", [True, False])
def test_packets_open_the_partition_of_their_time_and_no_other(books: Watched, classed: bool) -> None:
    of = new() | ({} if classed else {"p_class": ""})
    again = of | {"p_session_id": secrets.token_hex(4)} | ({"p_class": secrets.token_hex(20)} if classed else {})
    at = MIDDLE
    books.listen()

    def opened_by(**packet: Any) -> set[str]:
        assert books.tell(**packet)
        return books.opened()

    here = {"sessions_2028_q2"}
    assert opened_by(**of, p_status=START, p_at=at) <= here
    for minutes in (5, 10):
        at = MIDDLE + timedelta(minutes=minutes)
        opened = opened_by(**of, p_status=INTERIM, **told(minutes * 60, minutes), p_at=at)
        if classed:
            # The ordinary packet: no session was even thought of, until it is added.
            assert (opened, books.named) == (set(), set())
            assert books.add() == 1
            opened = books.opened()
        assert opened == here
    if classed:
        at += timedelta(minutes=5)
        taken = books.run(books.link.fetchval(BATCH, world.NORTH, of["p_session_id"], of["p_class"], at))
        assert (taken, books.opened()) == (None, here)
    # The device dials again, so the first has ended; of that one comes a late Stop, twice.
    at += timedelta(minutes=5)
    assert opened_by(**again, p_status=START, p_at=at) == here
    assert {row["state"] for row in books.rows(of["p_session_id"])} == {"STALE"}
    for _ in range(2):
        assert opened_by(**of, p_status=STOP, **told(1200, 9999), p_at=at) == here
    assert [row["state"] for row in books.rows(of["p_session_id"])] == ["STOPPED"]
    at += timedelta(minutes=5)
    assert opened_by(p_username="", p_status=ON, p_session_id="", p_at=at) == here
    assert [row["terminate_cause"] for row in books.rows(again["p_session_id"])] == ["NAS-Reboot"]


def test_what_is_added_together_is_looked_up_by_key(books: Watched) -> None:
    """Each packet by itself: held against all sessions of the quarter, thousands would take minutes."""
    lines = [new() for _ in range(120)]
    for of in lines:
        assert books.tell(**of, p_status=START, p_at=MIDDLE)
    books.run(books.aside.execute("ANALYZE"))
    for minutes in (5, 10):
        for of in lines:
            at = MIDDLE + timedelta(minutes=minutes)
            assert books.tell(**of, p_status=INTERIM, **told(minutes * 60, minutes), p_at=at)
        books.listen() if minutes == 5 else books.heard.clear()
        assert books.add() == len(lines)
        books.run(asyncio.sleep(0.05))
        assert any("UPDATE sessions s" in plan for plan in books.heard)
        assert [plan for plan in books.heard if re.search("Removed by Join Filter|Materialize", plan)] == []


def test_what_goes_over_open_sessions_leaves_other_partitions_alone(books: Watched) -> None:
    of = new()
    books.tell(**of, p_status=INTERIM, **told(60), p_at=MIDDLE)
    [row] = books.rows(of["p_session_id"])
    books.run(books.link.execute("SELECT set_config('app.tenant_id', $1, false)", str(row["tenant_id"])))
    books.listen()
    running = "SELECT limits_running($1, $2, $3::timestamptz, $3 + interval '5 min')"
    assert books.run(books.link.fetchval(running, row["tenant_id"], row["service_id"], MIDDLE)) == 300
    assert books.opened() == {"sessions_2028_q2"}
    watch = "SELECT count(*) FROM watch_services(ARRAY[$1::uuid], $2)"
    assert books.run(books.link.fetchval(watch, row["service_id"], MIDDLE)) == 1
    assert books.opened() <= {"sessions_2028_q2"}
    ended = books.run(books.link.fetchval("SELECT radius_sessions_silent($1, 1000)", MIDDLE + timedelta(days=1)))
    assert ended >= 1
    assert "sessions_before" not in books.opened()
    assert [row["state"] for row in books.rows(of["p_session_id"])] == ["STALE"]
    gone = new()
    books.tell(**gone, p_status=INTERIM, **told(60), p_at=MIDDLE)
    [row] = books.rows(gone["p_session_id"])
    books.opened()
    assert books.run(books.link.fetchval("SELECT radius_session_gone($1, $2)", row["id"], MIDDLE))
    assert books.opened() == {"sessions_2028_q2"}


@pytest.mark.parametrize("classed", [True, False])
def test_a_session_over_the_end_of_a_quarter_is_one(books: Watched, classed: bool) -> None:
    of = new() | ({} if classed else {"p_class": ""})
    begun = datetime(2028, 3, 31, 23, 58, tzinfo=UTC)
    books.tell(**of, p_status=START, p_at=begun)
    books.tell(**of, p_status=INTERIM, **told(300, 10), p_at=begun + timedelta(minutes=5))
    if classed:
        at = begun + timedelta(minutes=15)
        taken = books.run(books.link.fetchval(BATCH, world.NORTH, of["p_session_id"], of["p_class"], at))
        assert taken is None
    [row] = books.rows(of["p_session_id"])
    assert (row["lies_in"], row["state"], books.is_open(row["id"])) == ("sessions_2028_q1", "OPEN", True)
    # Three months later, and told of once more a fortnight after that.
    seconds = 91 * 86400
    for late in (0, 14):
        at = begun + timedelta(seconds=seconds, days=late)
        books.tell(**of, p_status=STOP, **told(seconds, 20000), p_at=at, p_delay=late * 86400)
    [row] = books.rows(of["p_session_id"])
    assert (row["lies_in"], row["state"], row["duration_seconds"]) == ("sessions_2028_q1", "STOPPED", seconds)
    assert (row["stopped_at"] - begun, books.is_open(row["id"])) == (timedelta(seconds=seconds), False)


def test_a_session_that_began_in_1970_is_kept_and_found(books: Watched) -> None:
    of, seconds = new(), int(MIDDLE.timestamp()) - 60
    books.tell(**of, p_status=INTERIM, **told(seconds), p_at=MIDDLE)
    [row] = books.rows(of["p_session_id"])
    assert (row["started_at"], row["lies_in"]) == (datetime(1970, 1, 1, 0, 1, tzinfo=UTC), "sessions_before")
    # Its clock is set, and the session's time with it: it is still the one that is open.
    books.tell(**of, p_status=INTERIM, **told(300), p_at=MIDDLE + timedelta(minutes=5))
    books.tell(**of, p_status=STOP, **told(seconds + 600), p_at=MIDDLE + timedelta(minutes=10))
    [row] = books.rows(of["p_session_id"])
    assert (row["state"], row["duration_seconds"]) == ("STOPPED", seconds + 600)
    assert not books.is_open(row["id"])


def test_an_open_session_is_found_by_packets_that_say_no_time(books: Watched) -> None:
    for of in (new(), new() | {"p_class": ""}):
        books.tell(**of, p_status=START, p_at=MIDDLE)
        silent = {"p_input_octets": 20, "p_output_octets": 20}
        books.tell(**of, p_status=INTERIM, **silent, p_at=MIDDLE + timedelta(days=40))
        books.tell(**of, p_status=STOP, **silent, p_at=MIDDLE + timedelta(days=41))
        [row] = books.rows(of["p_session_id"])
        assert (row["state"], row["duration_seconds"]) == ("STOPPED", 41 * 86400)


def test_a_quarter_is_made_once_and_takes_what_was_ahead(books: Watched) -> None:
    names = (
        "SELECT array_agg(inhrelid::regclass::text ORDER BY inhrelid::regclass::text) FROM pg_inherits"
        " WHERE inhparent = 'sessions'::regclass"
    )
    later = datetime(2035, 2, 1, tzinfo=UTC)
    before = books.run(books.link.fetchval(names))
    of = new()
    books.tell(**of, p_status=START, p_at=later)
    [row] = books.rows(of["p_session_id"])
    assert row["lies_in"] == "sessions_after"
    audits = "SELECT (SELECT count(*) FROM audit_entries) + (SELECT count(*) FROM jobs)"
    happened = books.run(books.link.fetchval(audits))
    made = []
    while not made or made[-1]:
        made += fetch(books.network, "ispgraph_app", "SELECT sessions_quarters($1)", later)[0]
    assert all(number <= 10 for number in made)
    after = books.run(books.link.fetchval(names))
    assert len(after) == len(before) + sum(made)
    assert {"sessions_2035_q1", "sessions_2035_q2", "sessions_2035_q3"} < set(after)
    assert "sessions_2035_q4" not in after
    [row] = books.rows(of["p_session_id"])
    assert (row["lies_in"], books.is_open(row["id"])) == ("sessions_2035_q1", True)
    assert books.run(books.link.fetchval(audits)) == happened
    # It can be written to, and announces what happens, as the others do.
    books.tell(**of, p_status=STOP, **told(60), p_at=later + timedelta(minutes=1))
    assert not books.is_open(row["id"])
    assert books.run(books.link.fetchval("SELECT count(*) FROM sessions_after")) == 0
    triggers = "SELECT count(*) FROM pg_trigger WHERE tgrelid = $1::text::regclass AND tgenabled = 'O'"
    assert len({books.run(books.link.fetchval(triggers, name)) for name in after}) == 1


def test_old_quarters_are_forgotten_up_to_one_with_an_open_session(network: Network) -> None:
    made = Watched(network)
    forget = "SELECT sessions_forget($1) ORDER BY 1"
    early, late, other = new(), new(), new()
    for of, at in ((early, datetime(2027, 2, 1, tzinfo=UTC)), (late, MIDDLE), (other, MIDDLE)):
        made.tell(**of, p_status=START, p_at=at)
    made.tell(**other, p_status=STOP, **told(60), p_at=MIDDLE + timedelta(minutes=1))
    until = datetime(2028, 7, 1, tzinfo=UTC)
    gone = [row[0] for row in fetch(network, "ispgraph_owner", forget, until)]
    # Other tests leave open sessions behind in the first quarter.
    assert gone in ([], ["sessions_2026_q4"])
    made.run(
        made.link.execute("UPDATE sessions SET state = 'STALE', stopped_at = updated_at WHERE started_at < $1", until)
    )
    assert fetch(network, "ispgraph_owner", forget, until - timedelta(seconds=1))[-1] == ("sessions_2028_q1",)
    assert [row["state"] for row in made.rows(late["p_session_id"])] == ["STALE"]
    assert made.rows(early["p_session_id"]) == []
    # What is told of it after all is not lost.
    made.tell(**early, p_status=STOP, **told(86400), p_at=datetime(2027, 2, 2, tzinfo=UTC))
    [row] = made.rows(early["p_session_id"])
    assert (row["lies_in"], row["state"]) == ("sessions_before", "STOPPED")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        fetch(network, "ispgraph_app", forget, until)
    made.close()

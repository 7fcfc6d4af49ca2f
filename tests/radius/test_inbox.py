"""An Interim that was acknowledged and not added yet: whoever has to know of it adds it first."""

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.radius import world
from tests.radius.conftest import Network, fetch
from tests.radius.test_sessions import INTERIM, START, STOP, Books, new

ON = 7
BEGUN = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
GIB = 2**30
WAITS = "SELECT count(*) FROM accounting_inbox"
ROW = "SELECT state, stopped_at, output_octets, duration_seconds FROM sessions WHERE class = $1"
LOGIN = """SELECT attribute, value FROM radius_authorize($1, $2, p_at => $3)"""


@pytest.fixture
def books(network: Network) -> Iterator[Books]:
    """The books of the module's network, of which nothing waits."""
    made = Books(network)
    made.add()
    yield made
    made.close()


class Line:
    """A device that has dialled in and sent one Interim, five minutes later, of three GiB; that waits."""

    def __init__(self, books: Books, username: str) -> None:
        self.books = books
        self.of = new() | {"p_username": username}
        self.tell(START, 0)
        self.tell(INTERIM, 300, 3 * GIB)
        assert self.written() == ("OPEN", None, 0, 0)

    def tell(self, status: int, seconds: int, octets: int = 0, **more: Any) -> None:
        """A packet of so many seconds after the beginning."""
        told = {"p_session_time": seconds, "p_input_octets": 0, "p_output_gigawords": octets >> 32}
        told |= {"p_output_octets": octets % 2**32} if status != START else {"p_output_octets": None}
        assert self.books.tell(**(self.of | told | {"p_status": status, "p_at": at(seconds)} | more))

    def written(self) -> tuple[Any, ...]:
        """What the session's row says, without adding anything."""
        [row] = self.books.run(self.books.app.fetch(ROW, self.of["p_class"]))
        return tuple(row)


def at(seconds: int) -> datetime:
    return BEGUN + timedelta(seconds=seconds)


def waiting(books: Books) -> int:
    """How many packets of north wait."""
    return int(books.run(books.app.fetchval(WAITS)))


def test_a_login_is_told_what_is_left_by_now(books: Books) -> None:
    line = Line(books, "capped")
    key = {"ispgraph.network_key": books.network.settings().network_key.hex()}
    told = dict(fetch(books.network, "ispgraph_radius", LOGIN, "capped", world.NORTH, at(310), **key))
    left = int(told["Mikrotik-Total-Limit"]) + (int(told["Mikrotik-Total-Limit-Gigawords"]) << 32)
    assert left == world.QUOTA - 3 * GIB
    assert line.written() == ("OPEN", None, 3 * GIB, 300)
    line.tell(STOP, 310, 3 * GIB)


def test_a_stop_counts_from_what_waits(books: Books) -> None:
    line = Line(books, "alice")
    # Its counter has begun again since: without the packet that waits, these would be all.
    line.tell(STOP, 600, GIB)
    assert line.written() == ("STOPPED", at(600), 4 * GIB, 600)
    assert waiting(books) == 0


@pytest.mark.parametrize("how", ["dials again", "router starts"])
def test_a_session_that_is_ended_for_another_reason_ends_at_what_waits(books: Books, how: str) -> None:
    line = Line(books, "alice")
    if how == "dials again":
        again = {"p_class": secrets.token_hex(20), "p_session_id": secrets.token_hex(4)}
        line.tell(START, 400, **again)
        assert line.written() == ("STALE", at(300), 3 * GIB, 300)
        line.tell(STOP, 500, **again)
    else:
        line.tell(ON, 400, p_username="", p_session_id="", p_class="")
        assert line.written() == ("STOPPED", at(300), 3 * GIB, 300)
    assert waiting(books) == 0


def test_a_session_of_which_a_packet_waits_is_not_silent(books: Books) -> None:
    line = Line(books, "alice")
    silent = "SELECT radius_sessions_silent($1, 1000)"
    books.run(books.app.fetchval(silent, at(3 * 86400)))
    assert line.written()[0] == "OPEN"
    books.add()
    books.run(books.app.fetchval(silent, at(3 * 86400)))
    assert line.written() == ("STALE", at(300), 3 * GIB, 300)


def test_what_waits_of_a_session_that_was_removed_goes(books: Books) -> None:
    line = Line(books, "alice")
    gone = "DELETE FROM sessions WHERE class = $1 RETURNING 1"
    assert fetch(books.network, "ispgraph_owner", gone, line.of["p_class"], tenant=books.network.world.north)
    books.add()
    assert waiting(books) == 0


def test_only_the_application_adds_and_only_its_own(books: Books) -> None:
    line = Line(books, "alice")
    south = books.network.world.south
    add = "SELECT radius_accounting_add(1000)"
    assert fetch(books.network, "ispgraph_app", WAITS, tenant=south) == [(0,)]
    assert fetch(books.network, "ispgraph_app", add, tenant=south) == [(0,)]
    assert waiting(books) == 1
    waits = fetch(books.network, "ispgraph_app", "SELECT radius_accounting_waits()")
    assert waits == [(books.network.world.north,)]
    line.tell(STOP, 600, 3 * GIB)

"""Reading sessions of several quarters: in their order, from the newest partition on, and no further than asked."""

import json
import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import text

from ispgraph import clock, scheduler
from ispgraph.db import Database
from ispgraph.domain.models import Customer, Session
from tests.accounting import account, session
from tests.api import Api
from tests.conftest import Dsns
from tests.crowd import customer
from tests.factories import House
from tests.test_pages import Listing

PARTITIONS = """SELECT array_agg(inhrelid::regclass::text ORDER BY inhrelid::regclass::text) FROM pg_inherits
 WHERE inhparent = 'sessions'::regclass"""
_NOW = datetime.now(UTC)
# When the oldest quarter begins of those that the migration makes.
FIRST = datetime(_NOW.year, (_NOW.month - 1) // 3 * 3 + 1, 1, tzinfo=UTC)


@pytest.fixture
async def ann(house: House, owner: Database) -> tuple[Customer, list[Session]]:
    """A customer with sessions in all partitions: from before the first quarter to after the last, some at once."""
    someone = customer(house, "Ann")
    await house.add(someone)
    chance = random.Random(11)
    moments = [datetime(1970, 1, 1, tzinfo=UTC), FIRST - timedelta(microseconds=1), FIRST, *[FIRST] * 4]
    moments += [FIRST + timedelta(days=chance.randrange(-900, 900), hours=6) for _ in range(60)]
    rows = [
        session(someone, at, stopped_at=at + timedelta(hours=1), id=UUID(int=chance.getrandbits(128))) for at in moments
    ]
    rows += [session(someone, FIRST - timedelta(days=days), id=UUID(int=chance.getrandbits(128))) for days in (5, 400)]
    await account(owner, house, *rows)
    return someone, rows


async def test_pages_go_over_the_ends_of_quarters(api: Api, house: House, ann: tuple[Customer, list[Session]]) -> None:
    someone, rows = ann
    newest_first = [row.id for row in sorted(rows, key=lambda row: (row.started_at, row.id), reverse=True)]
    listing = Listing(api, house.admin, "sessions", below=someone.id)
    for backwards in (False, True):
        for size in (1, 7, 100):
            assert await listing.walk(lambda of=size: of, backwards=backwards) == newest_first
    document = """query ($id: ID!, $from: DateTime, $to: DateTime) {
      customer(by: {id: $id}) { liveSession { id startedAt }
        sessions(first: 100, where: {from: $from, to: $to}) { totalCount nodes { id } } } }"""
    since, until = FIRST - timedelta(days=200), FIRST + timedelta(days=100)
    found = await api.data(
        document, house.admin, id=f"cus_{someone.id.hex}", **{"from": since.isoformat(), "to": until.isoformat()}
    )
    of = found["customer"]
    within = [row.id for row in rows if since <= row.started_at < until]
    assert [node["id"] for node in of["sessions"]["nodes"]] == [f"ses_{i.hex}" for i in newest_first if i in within]
    assert of["sessions"]["totalCount"] == len(within)
    [newest, _] = rows[-2:]
    assert of["liveSession"]["id"] == f"ses_{newest.id.hex}"
    node = "query ($id: ID!) { node(id: $id) { ... on Session { id startedAt } } }"
    for row in rows:
        read = await api.data(node, house.admin, id=f"ses_{row.id.hex}")
        assert datetime.fromisoformat(read["node"]["startedAt"]) == row.started_at


async def test_a_page_is_read_from_the_newest_on_and_no_further(
    dsns: Dsns, house: House, ann: tuple[Customer, list[Session]]
) -> None:
    someone, _ = ann
    connection = await asyncpg.connect(dsns.app)
    async with connection.transaction():
        await connection.execute("SELECT set_config('app.tenant_id', $1, true)", str(house.tenant.id))
        # The tables are small enough to be sorted as a whole.
        await connection.execute("SET LOCAL enable_sort = off; SET LOCAL enable_seqscan = off; ")
        page = f"""SELECT id FROM sessions WHERE customer_id = '{someone.id}'
                    ORDER BY started_at DESC, id DESC LIMIT 3"""
        plan = json.loads(await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT json) {page}"))
        await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        at = """PREPARE one AS SELECT FROM sessions s WHERE (s.id, s.started_at) = (
                  SELECT o.session_id, o.started_at FROM open_sessions o WHERE o.customer_id = $1
                   ORDER BY o.started_at DESC, o.session_id DESC LIMIT 1)"""
        await connection.execute(at)
        one = json.loads(await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT json) EXECUTE one ('{someone.id}')"))
    await connection.close()
    (append,) = _nodes(plan[0]["Plan"], "Append")
    read = [each["Relation Name"] for each in append["Plans"] if each.get("Relation Name") and each["Actual Loops"]]
    assert read[0] == "sessions_after"
    assert len(read) <= 2
    assert not _nodes(plan[0]["Plan"], "Merge Append")
    assert [
        each["Relation Name"]
        for each in _nodes(one[0]["Plan"], "Index Scan", "Index Only Scan", "Seq Scan", "Bitmap Heap Scan")
        if each["Actual Loops"] and each["Relation Name"] != "open_sessions"
    ] == ["sessions_before"]


def _nodes(plan: dict[str, object], *kinds: str) -> list[dict[str, object]]:
    below: list[dict[str, object]] = plan.get("Plans", [])  # type: ignore[assignment]
    return [plan] * (plan["Node Type"] in kinds) + [found for each in below for found in _nodes(each, *kinds)]


async def test_the_scheduler_makes_quarters_ahead(
    database: Database, owner: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def partitions() -> list[str]:
        async with owner.read(None) as reading:
            return list(await reading.scalar(text(PARTITIONS)))

    first = await partitions()
    await scheduler.make_room(database)
    assert await partitions() == first
    later = clock.now() + timedelta(days=184)
    monkeypatch.setattr(clock, "now", lambda: later)
    for _ in range(2):
        await scheduler.make_room(database)
        made = set(await partitions()) - set(first)
        begins = FIRST + timedelta(days=3 * 92)
        assert f"sessions_{begins.year}_q{(begins.month - 1) // 3 + 1}" in made
        number = later.year * 4 + (later.month - 1) // 3 - (FIRST.year * 4 + (FIRST.month - 1) // 3)
        assert len(made) == number in (2, 3)


async def test_quarters_wait_for_nobody_and_are_tried_again(
    database: Database, owner: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    later = clock.now() + timedelta(days=100)
    monkeypatch.setattr(clock, "now", lambda: later)
    async with owner.read(None) as busy:
        await busy.execute(text("LOCK TABLE sessions IN ACCESS SHARE MODE"))
        await scheduler.make_room(database)
        assert "no partitions were made" in caplog.text
    async with owner.read(None) as reading:
        before = await reading.scalar(text("SELECT count(*) FROM pg_inherits WHERE inhparent = 'sessions'::regclass"))
    await scheduler.make_room(database)
    async with owner.read(None) as reading:
        after = await reading.scalar(text("SELECT count(*) FROM pg_inherits WHERE inhparent = 'sessions'::regclass"))
    assert after > before

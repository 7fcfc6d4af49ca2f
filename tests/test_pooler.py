"""The product by way of PgBouncer in transaction mode, with fewer connections to PostgreSQL than there are clients."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import httpx
import pytest
import redis.asyncio
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError

from bench.servers import PgBouncer, installed
from ispgraph import ids
from ispgraph.db import Database
from ispgraph.domain.models import JobStatus
from ispgraph.settings import Settings, SettingsError
from ispgraph.up.ports import free_port
from tests import crowd, factories, probe
from tests.api import Api
from tests.conftest import Dsns
from tests.factories import House
from tests.programs import Program
from tests.test_worker import effects, enqueued, stored, until
from tests.watching import watcher

needs_pgbouncer = [
    pytest.mark.pgbouncer,
    pytest.mark.skipif(installed("pgbouncer") is None, reason="pgbouncer is not installed"),
]

PID = "select pg_backend_pid()::text, pg_sleep(0.005)"
NAMES = "{ customers(first: 50) { nodes { name } totalCount } }"
RENAME = """mutation ($input: CustomerUpdateInput!) {
  customerUpdate(input: $input) { customer { name } errors { code } } }"""
CHANGED = "subscription ($id: ID!) { customerChanged(customerId: $id) { name } }"
# The key of the scheduler's lock, as PostgreSQL shows it.
LOCKED = "select pid from pg_locks where locktype = 'advisory' and objsubid = 1 and classid = 1769173095"


@pytest.fixture
def bouncer(data: Path, dsns: Dsns) -> Iterator[PgBouncer]:
    """With two connections to PostgreSQL for everybody."""
    url = make_url(dsns.app)
    data.mkdir(mode=0o755)
    made = PgBouncer(data, url.port, {url.username: url.password}, pool=2, name="pgbouncer")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def pooled(bouncer: PgBouncer, settings: Settings, dsns: Dsns) -> Settings:
    """Settings that lead through it."""
    url = make_url(dsns.app)
    return replace(
        settings,
        database_url=bouncer.dsn(url.username, url.database),
        direct_database_url=dsns.app,
        prepared_statements=False,
    )


@pytest.fixture
async def through(pooled: Settings) -> AsyncIterator[Database]:
    """The database with more connections to the pooler than that has to PostgreSQL."""
    made = Database.of(pooled, pool_size=12)
    yield made
    await made.dispose()


class TestPgBouncer:
    """What needs it."""

    pytestmark = needs_pgbouncer

    async def test_tenants_take_turns_on_shared_connections_and_never_meet(
        self, through: Database, pooled: Settings, valkey: redis.asyncio.Redis, owner: Database, house: House
    ) -> None:
        other = await factories.house(owner, house.database, "south")
        for each in (house, other):
            await each.add(*[crowd.customer(each, f"{each.tenant.slug} {n}") for n in range(5)])
        api = Api(through, valkey, pooled)

        async def read(of: House) -> None:
            found = (await api.data(NAMES, of.admin))["customers"]
            assert found["totalCount"] == 5
            assert {node["name"].split()[0] for node in found["nodes"]} == {of.tenant.slug}

        async def write(of: House, n: int) -> None:
            key = (await api.data("{ customers(first: 5) { nodes { id } } }", of.admin))["customers"]["nodes"][n]["id"]
            given = {"customerId": key, "name": f"{of.tenant.slug} again"}
            done = (await api.data(RENAME, of.admin, input=given))["customerUpdate"]
            assert done == {"customer": {"name": given["name"]}, "errors": []}

        async def nobody() -> None:
            async with through.read(None) as session:
                assert await session.scalar(text("select count(*) from customers")) == 0

        for of in (house, other):
            await api.token(of.admin)
        turns = [read(of) for _n in range(60) for of in (house, other)]
        turns += [write(of, n) for n in range(5) for of in (house, other)] + [nobody() for _ in range(20)]
        await asyncio.gather(*turns)
        used = await asyncio.gather(*(through.read_texts(PID, []) for _ in range(40)))
        assert len({pid for (pid,) in used}) == 2, "two connections of PostgreSQL, and all clients had them"
        await api.close()

    async def test_nothing_is_set_for_longer_than_a_transaction(self, through: Database, pooled: Settings) -> None:
        stranger = await asyncpg.connect(pooled.database_url, statement_cache_size=0)
        shown = "select current_setting('statement_timeout') || current_setting('lock_timeout')"
        tenant = "select current_setting('app.tenant_id', true)"
        for _n in range(6):
            async with through.transaction(ids.uuid7()) as session:
                assert await session.scalar(text(shown)) == "10s8s"
            assert await stranger.fetchval(shown) == "00"
            assert await stranger.fetchval(tenant) in (None, "")
        await stranger.close()

    async def test_a_pooler_that_is_started_again_is_noticed_and_a_statement_has_its_end(
        self, through: Database, bouncer: PgBouncer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def work(number: int) -> int | None:
            async with through.transaction(None) as session:
                return await session.scalar(text("select :n ::integer"), {"n": number})

        for n in range(3):
            bouncer.kill()
            bouncer.start()
            assert await asyncio.gather(*(through.read_texts("select $1::text", [str(n)]) for _ in range(12))) == (
                [[str(n)]] * 12
            )
            await asyncio.sleep(0.05)
            assert await asyncio.gather(*map(work, range(12))) == list(range(12))
        monkeypatch.setattr("ispgraph.db._STATEMENT_SECONDS", 0.2)
        with pytest.raises(DBAPIError):
            await through.read_texts("select pg_sleep(2)::text", [])
        monkeypatch.undo()
        assert await asyncio.gather(*(through.read_texts("select '1'", []) for _ in range(12))) == [["1"]] * 12

    @pytest.mark.slow
    async def test_every_program_works_by_way_of_it(self, pooled: Settings, house: House, api: Api, dsns: Dsns) -> None:
        row = crowd.customer(house, "Before")
        await house.add(row)
        port = free_port()
        more = {"ISPGRAPH_DIRECT_DATABASE_URL": dsns.app, "ISPGRAPH_PORT": str(port)}
        names = ("app", "tests.probe", "ispgraph.live.program", "scheduler", "scheduler")
        programs = [Program(name, pooled, **more) for name in names]
        programs.append(Program("app", pooled, **{**more, "ISPGRAPH_PORT": str(other := free_port())}))
        superuser = await asyncpg.connect(dsns.superuser)
        try:
            await asyncio.gather(*(program.ready(180) for program in programs))
            token = await api.token(house.admin)
            jobs = [await enqueued(house, probe.MARK) for _ in range(40)]
            headers, key = {"Authorization": f"Bearer {token}"}, ids.encode("cus", row.id)
            async with (
                watcher(f"ws://127.0.0.1:{other}/graphql", token) as watching,
                httpx.AsyncClient(headers=headers, timeout=30) as http,
            ):
                await watching.subscribe("1", CHANGED, id=key)
                await watching.until(lambda events: events)

                async def ask(n: int) -> None:
                    at = f"http://127.0.0.1:{(port, other)[n % 2]}/graphql"
                    given = {"customerId": key, "name": f"Name {n}"}
                    answer = await http.post(at, json={"query": RENAME, "variables": {"input": given}})
                    assert answer.json()["data"]["customerUpdate"]["errors"] == []

                await asyncio.gather(*map(ask, range(30)))
                await ask(99)
                await watching.until(lambda events: [each for each in events if each["name"] == "Name 99"])

            async def done() -> bool:
                return await effects(house) == len(jobs)

            await until(done)
            assert (await stored(house, jobs[-1])).status is JobStatus.SUCCEEDED
            # The lock is held by a connection of a scheduler's own; when that one dies, the other takes its turn.
            holders = [await superuser.fetchval(LOCKED)]
            assert holders[0] is not None
            await superuser.execute("select pg_terminate_backend($1)", holders[0])

            async def taken() -> bool:
                found = await superuser.fetchval(LOCKED)
                return found not in (None, holders[0])

            await until(taken)
            used = await superuser.fetchval(
                "select count(*) from pg_stat_activity where datname = current_database() and usename = 'ispgraph_app'"
                " and application_name = 'ispgraph'"
            )
            # Two of the pooler, one of each scheduler, and those of this test itself, which goes past it.
            assert used <= 2 + 2 + 20
        finally:
            for program in programs:
                program.kill()
            await superuser.close()


def test_settings_name_the_way_past_the_pooler() -> None:
    known = {
        "ISPGRAPH_DATABASE_URL": "postgresql://a@pooler/ispgraph",
        "ISPGRAPH_REDIS_URL": "redis://127.0.0.1/0",
        "ISPGRAPH_TOKEN_KEY": "0" * 64,
        "ISPGRAPH_NETWORK_KEY": "1" * 64,
    }
    direct = {"ISPGRAPH_DIRECT_DATABASE_URL": "postgresql://a@database/ispgraph"}
    assert Settings.from_env(known).prepared_statements
    assert not Settings.from_env(known | direct).prepared_statements
    assert Settings.from_env(known | direct | {"ISPGRAPH_PREPARED_STATEMENTS": "on"}).prepared_statements
    with pytest.raises(SettingsError, match="ISPGRAPH_PREPARED_STATEMENTS must be 'off' or 'on'"):
        Settings.from_env(known | direct | {"ISPGRAPH_PREPARED_STATEMENTS": "yes"})

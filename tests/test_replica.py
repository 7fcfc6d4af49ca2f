"""Reading from a replica: two PostgreSQL, streaming, that are held up, stopped and started again while we read."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from prometheus_client import REGISTRY
from sqlalchemy import text

from bench.servers import Standby
from ispgraph import db, replica
from ispgraph.db import Database
from ispgraph.settings import Settings
from ispgraph.up.ports import free_port
from ispgraph.up.postgres import DATABASE, Postgres
from tests import crowd, factories
from tests.api import Api
from tests.factories import House
from tests.servers import PASSWORDS, migrate
from tests.test_worker import until

pytestmark = pytest.mark.slow

_OPTIONS = {"fsync": "off", "autovacuum": "off", "shared_buffers": "64MB", "max_standby_streaming_delay": "0"}
LIST = "{ customers(first: 50, orderBy: { field: NAME }) { nodes { id name } totalCount } }"
RENAME = """mutation ($input: CustomerUpdateInput!) {
  customerUpdate(input: $input) { customer { id name } errors { code } } }"""
REVENUE = '{ revenueReport(from: "2026-01-01", to: "2026-02-01") { total { invoices } } }'


@dataclass
class Pair:
    """A primary and its standby."""

    primary: Postgres
    standby: Standby
    settings: Settings

    def replaying(self, yes: bool) -> None:
        self.standby.execute(f"SELECT pg_wal_replay_{'resume' if yes else 'pause'}()")


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with tempfile.TemporaryDirectory(prefix="ispgraph-replica-") as name:
        place = Path(name)
        place.chmod(0o755)
        primary = Postgres(place, free_port(), "superuser", options=_OPTIONS)
        primary.initialise()
        primary.start()
        primary.provision(PASSWORDS)
        migrate(primary.dsn("ispgraph_owner", PASSWORDS["ispgraph_owner"]))
        standby = Standby(place / "standby", primary, "superuser", _OPTIONS)
        standby.initialise()
        standby.start()
        app = PASSWORDS["ispgraph_app"]
        settings = Settings(
            database_url=primary.dsn("ispgraph_app", app),
            replica_database_url=standby.dsn("ispgraph_app", app),
            replica_lag_seconds=2,
            redis_url="",
            token_key=factories.TOKEN_KEY,
            network_key=factories.NETWORK_KEY,
            introspection="open",
        )
        yield Pair(primary, standby, settings)
        standby.stop()
        primary.stop()


class Two:
    """Two API processes in one, as far as the replica goes: each says and sees what the other has said in Redis."""

    def __init__(
        self, pair: Pair, settings: Settings, client: redis.asyncio.Redis, of: House, database: Database
    ) -> None:
        self.pair, self.settings, self.house, self.database = pair, settings, of, database
        self.apis = [Api(database, client, settings) for _ in range(2)]
        self.replicas = [replica.Replica(settings, str(settings.replica_database_url)) for _ in range(2)]

    async def ask(self, number: int, document: str, **variables: Any) -> dict[str, Any]:
        """As one of the two."""
        replica._replica = self.replicas[number]
        db.note_commits(self.replicas[number].note)
        return await self.apis[number].data(document, self.house.admin, **variables)

    async def names(self, number: int) -> set[str]:
        found = (await self.ask(number, LIST))["customers"]["nodes"]
        return {node["name"] for node in found}

    async def rename(self, number: int, key: str, name: str) -> None:
        done = (await self.ask(number, RENAME, input={"customerId": key, "name": name}))["customerUpdate"]
        assert done == {"customer": {"id": key, "name": name}, "errors": []}


@pytest.fixture
async def two(pair: Pair, redis_url: str, valkey: redis.asyncio.Redis) -> AsyncIterator[Two]:
    settings = replace(pair.settings, redis_url=redis_url)
    database, owner = (
        Database.of(settings, pool_size=5),
        Database(pair.primary.dsn("ispgraph_owner", PASSWORDS["ispgraph_owner"]), pool_size=1),
    )
    house = await factories.house(owner, database, f"north-{os.urandom(4).hex()}")
    await house.add(*[crowd.customer(house, f"Person {n}") for n in range(10)])
    made = Two(pair, settings, valkey, house, database)
    for api in made.apis:
        await api.token(house.admin)
    yield made
    for each in made.replicas:
        await each.close()
    for api in made.apis:
        await api.close()
    replica._replica = None
    db.note_commits(None)
    await owner.dispose()
    await database.dispose()


def read(outcome: str) -> float:
    """How many readings came to this."""
    return REGISTRY.get_sample_value("ispgraph_replica_reads_total", {"outcome": outcome}) or 0.0


@asynccontextmanager
async def counted(*outcomes: str) -> AsyncIterator[None]:
    """All readings inside come to one of these."""
    every = ("REPLICA", "BEHIND", "AWAY", "FAILED")
    before = {outcome: read(outcome) for outcome in every}
    yield
    grown = {outcome for outcome in every if read(outcome) > before[outcome]}
    assert grown, "something was read"
    assert grown <= set(outcomes)


async def settled(two: Two) -> None:
    """Both read from the replica."""
    for number in (0, 1):

        async def reads(number: int = number) -> bool:
            before = read("REPLICA")
            await two.names(number)
            return read("REPLICA") > before

        await until(reads)


async def test_whoever_writes_and_all_others_see_it_at_once_however_far_the_replica_is(two: Two) -> None:
    await settled(two)
    async with counted("REPLICA"):
        nodes = (await two.ask(1, LIST))["customers"]["nodes"]
        assert len(nodes) == 10
        assert (await two.ask(1, REVENUE))["revenueReport"]
    key = nodes[0]["id"]
    # While the replica keeps up: forty writes, each seen by the one that wrote and by the other.
    for n in range(40):
        await two.rename(n % 2, key, f"Quick {n}")
        assert f"Quick {n}" in await two.names(n % 2)
        assert f"Quick {n}" in await two.names(1 - n % 2)
    await settled(two)
    # While it is held up: the same, from the primary.
    two.pair.replaying(False)
    try:
        async with counted("BEHIND"):
            for n in range(10):
                await two.rename(n % 2, key, f"Held {n}")
                assert f"Held {n}" in await two.names(n % 2)
                assert f"Held {n}" in await two.names(1 - n % 2)
        stale = Database(str(two.settings.replica_database_url), pool_size=1)
        async with stale.read(two.house.tenant.id) as session:
            assert await session.scalar(text("select count(*) from customers where name like 'Held%'")) == 0
        await stale.dispose()
    finally:
        two.pair.replaying(True)
    await settled(two)
    assert "Held 9" in await two.names(0)


async def test_a_tenant_that_wrote_nothing_reads_from_a_replica_only_as_old_as_allowed(two: Two) -> None:
    await settled(two)
    two.pair.replaying(False)
    try:
        # Somebody else writes all the time, for nobody whom we know.
        async with two.database.transaction(None) as session:
            await session.execute(text("select txid_current()"))
        begun = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() - begun < 3:
            async with two.database.transaction(None) as session:
                await session.execute(text("select txid_current()"))
            await two.names(0)
            await asyncio.sleep(0.1)
        async with counted("BEHIND"):
            await two.names(0)
        assert (REGISTRY.get_sample_value("ispgraph_replica_lag_seconds") or 0) > 2
    finally:
        two.pair.replaying(True)
    await settled(two)
    async with counted("REPLICA"):
        await two.names(0)
    assert (REGISTRY.get_sample_value("ispgraph_replica_lag_seconds") or 9) < 2


async def test_a_replica_that_cancels_goes_away_or_is_none_fails_nobody(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ispgraph.replica._REST_SECONDS", 0.3)
    await settled(two)
    # What is replayed cancels a statement that is in its way: the primary answers.
    key = (await two.ask(0, LIST))["customers"]["nodes"][0]["id"]

    async def long(database: Database) -> list[str | None]:
        at = str(two.house.tenant.id)
        sql = "select (select count(*) from customers where pg_sleep(0.2) is not null and x.t is not null)::text"
        return await database.read_texts(f"{sql} from (select set_config('app.tenant_id', $1, true) t) x", [at])

    before = read("FAILED")
    reading = asyncio.create_task(two.replicas[0]._read(two.database, two.house.tenant.id, long))
    await asyncio.sleep(0.3)
    two.pair.primary.execute("UPDATE customers SET name = name || ''; VACUUM customers", DATABASE)
    assert await reading == ["10"]
    assert read("FAILED") == before + 1
    await settled(two)
    # Stopped in the midst of readings.
    asked = [asyncio.create_task(two.names(0)) for _ in range(20)]
    await asyncio.sleep(0)
    two.pair.standby.stop()
    asked += [asyncio.create_task(two.names(1)) for _ in range(20)]
    assert all(len(names) == 10 for names in await asyncio.gather(*asked))
    async with counted("AWAY", "FAILED"):
        await two.rename(0, key, "Meanwhile")
        assert "Meanwhile" in await two.names(1)
    two.pair.standby.start()
    await settled(two)
    assert "Meanwhile" in await two.names(0)
    assert "Meanwhile" in await two.names(1)
    # One that writes itself, as after a failover, is nobody's replica.
    two.replicas.append(replica.Replica(two.settings, two.settings.database_url))
    two.apis.append(two.apis[0])
    async with counted("AWAY"):
        assert "Meanwhile" in await two.names(2)


async def test_what_redis_forgets_or_does_not_take_sends_readers_to_the_primary(
    two: Two, valkey: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await settled(two)
    key = (await two.ask(0, LIST))["customers"]["nodes"][0]["id"]
    two.pair.replaying(False)
    try:
        await two.rename(0, key, "Forgotten")
        await valkey.flushdb()
        async with counted("BEHIND"):
            assert "Forgotten" in await two.names(1)

        async def fails(*_: object) -> None:
            raise redis.exceptions.ConnectionError

        with monkeypatch.context() as patched:
            patched.setattr(two.replicas[0]._client, "eval", fails)
            await two.rename(0, key, "Untold")
            assert "Untold" in await two.names(0)
        await until(lambda: _none_owed(two.replicas[0]))
        assert "Untold" in await two.names(1)
    finally:
        two.pair.replaying(True)
    await settled(two)


async def _none_owed(one: replica.Replica) -> bool:
    return not one._owed

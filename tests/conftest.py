"""Fixtures: real servers, a database without rows for each test, and the API through its front door."""

import asyncio
import gc
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
import redis.asyncio

from ispgraph import clock, metrics
from ispgraph.db import Database
from ispgraph.schema import words
from ispgraph.settings import Settings
from tests import disorder, factories
from tests.api import Api, schema
from tests.databases import Clone, Clones, Dsns
from tests.servers import Servers

_servers: Servers | None = None


def pytest_configure(config: pytest.Config) -> None:
    global _servers
    if not hasattr(config, "workerinput") and not config.option.collectonly:
        _servers = Servers()
        _servers.start()


def pytest_unconfigure(config: pytest.Config) -> None:
    if _servers is not None:
        _servers.stop()


# How long an example takes is the machine's business.
hypothesis.settings.register_profile("ispgraph", deadline=None)
hypothesis.settings.load_profile("ispgraph")

if os.environ.get("ISPGRAPH_TEST_DISORDER"):
    disorder.spread()


def pytest_collection_finish() -> None:
    # What has been imported by now stays, and is much: the collector need not go through it again and again.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


@pytest.fixture(autouse=True, scope="session")
def refusals_are_told() -> Iterator[None]:
    """Whatever a mutation was refused with, its description names the code."""
    yield
    found = [each.labels for metric in metrics.REFUSALS.collect() for each in metric.samples]
    seen = {(labels["field"], labels["code"]) for labels in found}
    told = words.error_codes(schema()._schema) if seen else {}
    untold = {(field, code) for field, code in seen if code not in told.get(field, ())}
    assert untold == set(), "see ispgraph/schema/words/errors.py"


@pytest.fixture(autouse=True)
async def ending() -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Ends what a test has left running, as if it had an event loop of its own."""
    before = asyncio.all_tasks()

    async def end() -> None:
        left = asyncio.all_tasks() - before - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    yield end
    await end()


@pytest.fixture(scope="session")
async def clones() -> AsyncIterator[Clones]:
    """The databases of this process."""
    made = Clones()
    yield made
    await made.close()


@pytest.fixture
async def clone(clones: Clones, ending: Callable[[], Awaitable[None]]) -> AsyncIterator[Clone]:
    """A database as the migrated template is."""
    taken = await clones.take()
    yield taken
    # Before its rows go: what still runs would write more.
    await ending()
    await clones.give_back(taken)


@pytest.fixture
def dsns(clone: Clone) -> Dsns:
    """How each role reaches the database of this test."""
    return clone.dsns


@pytest.fixture
def database(clone: Clone) -> Database:
    """The database of this test as the application role, with a real pool."""
    return clone.app


@pytest.fixture
def owner(clone: Clone) -> Database:
    """The database of this test as its owner, who is under row-level security as well."""
    return clone.owner


@pytest.fixture(scope="session")
def redis_url() -> str:
    """This worker's own database on the shared Valkey."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    return f"{os.environ['ISPGRAPH_TEST_REDIS'].removesuffix('/0')}/{int(worker.removeprefix('gw')) % 16}"


@pytest.fixture
async def valkey(redis_url: str) -> AsyncIterator["redis.asyncio.Redis"]:
    """A client of this worker's database, emptied before each test."""
    client = redis.asyncio.from_url(redis_url)
    await client.flushdb()
    yield client
    await client.aclose()


@pytest.fixture
def settings(dsns: Dsns, redis_url: str) -> Settings:
    """Settings that name the servers of this test."""
    return Settings(
        database_url=dsns.app,
        owner_database_url=dsns.owner,
        radius_database_url=dsns.radius,
        redis_url=redis_url,
        token_key=factories.TOKEN_KEY,
        network_key=factories.NETWORK_KEY,
        introspection="open",
        private_gateways=True,
        private_webhooks=True,
    )


@pytest.fixture
async def house(owner: Database, database: Database) -> factories.House:
    """A tenant, `north`, with an admin."""
    return await factories.house(owner, database, "north")


@pytest.fixture
async def other_house(owner: Database, database: Database) -> factories.House:
    """Another tenant, `south`, that nobody of `north` may notice."""
    return await factories.house(owner, database, "south")


@pytest.fixture
def moved_clock() -> Iterator[None]:
    """Lets a test move the clock with `clock.set_clock`; puts it right afterwards."""
    yield
    clock.set_clock("")


@pytest.fixture
async def api(database: Database, valkey: "redis.asyncio.Redis", settings: Settings) -> AsyncIterator[Api]:
    """The API over HTTP: `await api(document, operator, **variables)`."""
    made = Api(database, valkey, settings)
    yield made
    await made.close()


@pytest.fixture
def data() -> Iterator[Path]:
    """A data directory that does not exist yet. Not below pytest's own, which is closed to other accounts."""
    parent = Path(tempfile.mkdtemp(prefix="up-"))
    parent.chmod(0o755)
    yield parent / "data"
    shutil.rmtree(parent)

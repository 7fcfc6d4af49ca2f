"""The same database read in both ways: by compiled statements, and field by field."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pytest
import redis.asyncio

from ispgraph import clock, db
from ispgraph.db import Database
from ispgraph.schema.compiler.executor import CompiledExecutor
from ispgraph.settings import Settings
from tests.api import Api
from tests.compiled.world import NOW
from tests.conftest import Dsns


@dataclass
class Both:
    """An API with compiled reads, one without, and the pool of each."""

    compiled: Api
    loaded: Api
    compiled_database: Database
    loaded_database: Database
    refused: list[Exception]
    """Why something was not compiled, each time."""


@pytest.fixture
async def both(
    dsns: Dsns, valkey: "redis.asyncio.Redis", settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Both]:
    """Two APIs over the same database, which may take its time: what is compared is what it says in the end."""
    monkeypatch.setitem(db._TIMEOUTS, "statement_timeout", "120s")
    refused: list[Exception] = []
    compiled = CompiledExecutor._compiled

    async def watched(executor: CompiledExecutor, *arguments: Any) -> Any:
        try:
            return await compiled(executor, *arguments)
        except Exception as error:
            refused.append(error)
            raise

    monkeypatch.setattr(CompiledExecutor, "_compiled", watched)
    pools = [Database(dsns.app, pool_size=5) for _ in range(2)]
    apis = [
        Api(pool, valkey, replace(settings, compiled_reads=reads))
        for pool, reads in zip(pools, (True, False), strict=True)
    ]
    apis[1].share(apis[0])
    yield Both(*apis, *pools, refused)
    for api, pool in zip(apis, pools, strict=True):
        await api.close()
        await pool.dispose()


@pytest.fixture
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Stops the clock at NOW when called: two readings of the same thing then happen at the same instant."""

    def stop() -> None:
        def now() -> datetime:
            return NOW

        monkeypatch.setattr(clock, "now", now)

    return stop


def shown(value: Any) -> Any:
    """JSON as its readers see it: 1.0 is 1."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [shown(item) for item in value]
    if isinstance(value, dict):
        return {key: shown(item) for key, item in value.items()}
    return value

"""A worker that calls endpoints, and one that takes calls."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from ispgraph.actors.webhooks import WebhookCaller
from ispgraph.adapters.sms.double import serve
from ispgraph.adapters.webhooks_double import WebhookDouble
from ispgraph.db import Database
from ispgraph.settings import Settings
from tests.api import Api, schema
from tests.factories import House
from tests.webhooks.hooks import Hooks


@pytest.fixture
async def hooks(api: Api, house: House, database: Database, settings: Settings, valkey: Redis) -> AsyncIterator[Hooks]:
    caller = WebhookCaller(database, settings, schema)
    yield Hooks(api, house, caller, valkey)
    await caller.close()


@pytest.fixture
async def double() -> WebhookDouble:
    return WebhookDouble()


@pytest.fixture
async def base(double: WebhookDouble) -> AsyncIterator[str]:
    async with serve(double) as found:
        yield found

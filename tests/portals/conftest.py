from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from redis.asyncio import Redis

from ispgraph.db import Database
from ispgraph.settings import Settings
from tests.api import Api
from tests.crowd import customer
from tests.factories import House
from tests.portals.studio import Studio


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """With a directory for files."""
    return replace(settings, storage_dir=str(tmp_path / "files"), public_url="http://test")


@pytest.fixture
async def api(database: Database, valkey: Redis, settings: Settings) -> AsyncIterator[Api]:
    made = Api(database, valkey, settings)
    yield made
    await made.close()


@pytest.fixture
async def studio(api: Api, house: House) -> Studio:
    """The portal of a customer of `north`, in the hands of its admin; nothing is saved yet."""
    await house.add(made := customer(house, "Acme"))
    return Studio(api, house.admin, made)

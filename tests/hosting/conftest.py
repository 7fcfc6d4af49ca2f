"""Fixtures of the tests about hosting."""

from collections.abc import AsyncIterator

import pytest

from ispgraph.settings import Settings
from tests.api import Api
from tests.factories import House
from tests.hosting import site as sites
from tests.hosting.site import Site


@pytest.fixture
async def bare(api: Api, house: House, settings: Settings, moved_clock: None) -> AsyncIterator[Site]:
    """`house` without a hosting server, and a panel that it could add."""
    async with sites.site(api, house, settings) as made:
        yield made


@pytest.fixture
async def site(bare: Site) -> Site:
    """`house` with that server, tested and online."""
    bare.server = await bare.add()
    return bare

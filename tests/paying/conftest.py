"""Fixtures of the tests about being paid."""

from collections.abc import AsyncIterator

import pytest

from ispgraph.settings import Settings
from tests.api import Api
from tests.billing.conftest import Till
from tests.factories import House
from tests.paying.counter import Counter
from tests.paying.counter import counter as made


@pytest.fixture
async def till(house: House) -> Till:
    """The till of `house`."""
    return Till(house, await house.viewer())


@pytest.fixture
async def counter(api: Api, till: Till, settings: Settings) -> AsyncIterator[Counter]:
    """The counter of `house`, over HTTP."""
    async with made(api, till, settings) as counter:
        yield counter

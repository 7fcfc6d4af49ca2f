"""Where files of customers are brought."""

import pytest

from ispgraph.settings import Settings
from tests.api import Api
from tests.factories import House
from tests.imports.counter import Counter


@pytest.fixture
async def counter(api: Api, house: House, settings: Settings) -> Counter:
    """A house with a package of 500.00 a month."""
    return Counter(api, house, settings, await house.package())

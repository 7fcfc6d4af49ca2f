"""Where files of customers are brought."""

import pytest
from sqlalchemy import update

from ispgraph.db import Database
from ispgraph.domain.models import Tenant
from ispgraph.settings import Settings
from tests.api import Api
from tests.factories import House
from tests.imports.counter import Counter


@pytest.fixture
async def counter(api: Api, house: House, settings: Settings, owner: Database) -> Counter:
    """A house with a package of 500.00 a month, where customers need no e-mail address."""
    async with owner.transaction(house.tenant.id) as session:
        await session.execute(update(Tenant).values(email_required=False))
    house.tenant.email_required = False
    return Counter(api, house, settings, await house.package())

"""One stall."""

import pytest

from ispgraph.db import Database
from ispgraph.domain.models import BillingCycle
from ispgraph.settings import Settings
from tests.api import Api
from tests.factories import House
from tests.vouchers.stall import Stall


@pytest.fixture
async def stall(api: Api, house: House, settings: Settings, owner: Database) -> Stall:
    """Vouchers of a week with 1000 bytes, for 70.00."""
    package = await house.package(
        "Week",
        price_minor=7_000,
        validity_days=7,
        billing_cycle=BillingCycle.WEEKLY,
        data_quota_bytes=1_000,
        connection_types=["HOTSPOT"],
    )
    return Stall(api, house, settings, package, owner)

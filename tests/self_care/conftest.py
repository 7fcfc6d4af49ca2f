"""Fixtures of the tests about customers who sign in."""

import pytest

from ispgraph.domain import viewers
from ispgraph.domain.models import CustomerStatus
from ispgraph.settings import Settings
from tests.api import Api
from tests.billing.conftest import Till
from tests.crowd import customer
from tests.factories import PASSWORD_HASH, House
from tests.self_care.home import Home


@pytest.fixture(autouse=True)
def believed_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewers, "_BELIEVED_SECONDS", 0.0)


@pytest.fixture
async def till(house: House) -> Till:
    """The till of `house`."""
    return Till(house, await house.viewer())


@pytest.fixture
async def home(api: Api, house: House, settings: Settings) -> Home:
    """A customer of `house` with a password, who has not signed in yet."""
    row = customer(
        house,
        "Ann Example",
        account_number="N-1001",
        mobile="+8801712345678",
        email="ann@example.net",
        status=CustomerStatus.ACTIVE,
        password_hash=PASSWORD_HASH,
    )
    await house.add(row)
    return Home(api, house, settings, row)

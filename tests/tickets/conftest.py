"""Who works on tickets, and when."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from ispgraph import clock
from tests.api import Api
from tests.factories import House
from tests.tickets.counter import Counter

START = datetime(2026, 3, 10, 6, 0, tzinfo=UTC)
At = Callable[..., None]


@pytest.fixture
def desk(api: Api, house: House) -> Counter:
    """The admin at the desk."""
    return Counter(api, house.admin)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> At:
    """Has the clock stand so much after START; at START to begin with."""

    def stand(**later: float) -> None:
        monkeypatch.setattr(clock, "now", lambda: START + timedelta(**later))

    stand()
    return stand

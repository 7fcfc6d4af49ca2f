from collections.abc import AsyncIterator

import pytest

from ispgraph.adapters import outbound


@pytest.fixture
async def client() -> AsyncIterator[outbound.Client]:
    """What calls doubles on this machine, with a deadline that a test can wait for."""
    made = outbound.client(private=True, seconds=1.5)
    yield made
    await made.aclose()

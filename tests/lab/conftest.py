"""One simulated router with three users, and the raw client on it."""

from collections.abc import AsyncIterator

import pytest

from ispgraph.lab.routeros import RouterOS
from tests.lab.raw import Raw

USERS = {"api": ("pw", "full"), "clerk": ("pw", "write"), "viewer": ("pw", "read")}


@pytest.fixture(autouse=True)
async def tidy() -> AsyncIterator[None]:
    yield
    await Raw.close_all()


@pytest.fixture
async def router() -> AsyncIterator[RouterOS]:
    router = RouterOS("border", users=USERS)
    await router.start(tls_port=0)
    yield router
    await router.stop()


@pytest.fixture
async def raw(router: RouterOS) -> AsyncIterator[Raw]:
    async with await Raw.connect(router) as raw:
        yield raw

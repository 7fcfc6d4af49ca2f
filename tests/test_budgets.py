"""What operations cost whoever sends them: budgets of tokens, of tenants, and of addresses."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import redis.asyncio

from ispgraph import clock
from ispgraph.db import Database
from ispgraph.domain import budgets
from ispgraph.domain.budgets import Budgets, Spent
from ispgraph.domain.models import Role
from ispgraph.settings import Settings, SettingsError
from tests.api import Api
from tests.factories import NETWORK_KEY, TOKEN_KEY, House
from tests.statements import counted

Make = Callable[..., Api]
SMALL = "{ viewer { operator { id } } }"
LARGE = "query ($n: Int) { customers(first: $n) { nodes { id name } } }"
LIMIT = """{ rateLimit { operation token { perSecond capacity remaining fullAt }
  tenant { perSecond capacity remaining } } }"""


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """The clock stands, and moves on when it is told to; nothing is taken in advance."""
    began, moved = clock.now(), [0.0]
    monkeypatch.setattr(clock, "now", lambda: began + timedelta(seconds=moved[0]))
    monkeypatch.setattr(budgets, "_IN_ADVANCE", 10**9)

    def move(seconds: float) -> None:
        moved[0] += seconds

    return move


@pytest.fixture
async def limited(database: Database, valkey: "redis.asyncio.Redis", settings: Settings) -> AsyncIterator[Make]:
    """Makes an API that keeps budgets."""
    made = []

    def make(own: int, tenant: int, client: Any = None) -> Api:
        kept = replace(settings, cost_per_second=own, tenant_cost_per_second=tenant)
        made.append(Api(database, client or valkey, kept))
        return made[-1]

    yield make
    for each in made:
        await each.close()


async def test_a_token_spends_and_gets_back(limited: Make, house: House, still: Callable[[float], None]) -> None:
    api = limited(10, 1000)
    first = await api(SMALL, house.admin)
    cost = first["extensions"]["cost"]
    assert cost == {"requested": 3, "remaining": 597, "capacity": 600, "perSecond": 10}
    # A page costs as many rows as it may have.
    fifty, ten = [(await api(LARGE, house.admin, n=n))["extensions"]["cost"]["requested"] for n in (50, 10)]
    assert (fifty, ten) == (2 + 50 * 2, 2 + 10 * 2)
    seen = (await api.data(LIMIT, house.admin))["rateLimit"]
    left = 597 - fifty - ten
    spent = 600 - int(seen["token"]["remaining"])
    assert spent > 600 - left
    assert seen["operation"] == 50_000
    assert seen["token"] | {"remaining": 0, "fullAt": 0} == {
        "perSecond": "10",
        "capacity": "600",
        "remaining": 0,
        "fullAt": 0,
    }
    assert int(seen["tenant"]["remaining"]) == 60_000 - spent
    # Until there is not enough: then nothing is done, and it says when.
    changes = "mutation { customerDraftStart { draft { id } } }"
    while "errors" not in (answer := await api(LARGE, house.admin, n=50)):
        pass
    [error] = answer["errors"]
    assert error["extensions"]["code"] == "RATE_LIMITED"
    assert answer["extensions"]["cost"]["remaining"] == error["extensions"]["remaining"] < 102
    wait = error["extensions"]["retryAfter"]
    assert wait == -(-(102 - error["extensions"]["remaining"]) // 10)
    still(wait - 1)
    assert "errors" in await api(LARGE, house.admin, n=50)
    still(1)
    assert "errors" not in await api(LARGE, house.admin, n=50)
    while "errors" not in (answer := await api(changes, house.admin)):
        pass
    assert "data" not in answer
    # Another token has its own.
    assert "errors" not in await api(SMALL, await house.operator(Role.STAFF))
    still(60)
    assert (await api(SMALL, house.admin))["extensions"]["cost"]["remaining"] == 597


async def test_tokens_of_a_tenant_share_and_other_tenants_do_not(
    limited: Make, house: House, other_house: House, still: Callable[[float], None]
) -> None:
    api = limited(10, 11)
    clerk = await house.operator(Role.ADMIN)
    for _ in range(5):
        assert "errors" not in await api(LARGE, house.admin, n=50)
    assert "errors" not in await api(LARGE, clerk, n=50)
    refused = await api(LARGE, clerk, n=50)
    assert refused["errors"][0]["extensions"]["code"] == "RATE_LIMITED"
    # Of its own it had enough, and nothing of that was taken.
    seen = (await api.data(LIMIT, clerk))["rateLimit"]
    assert int(seen["token"]["remaining"]) > 450
    assert "errors" not in await api(LARGE, other_house.admin, n=50)


async def test_what_is_never_affordable_is_said_so_and_strangers_have_less(
    limited: Make, house: House, still: Callable[[float], None]
) -> None:
    api = limited(20, 10_000)
    assert "errors" not in await api(LARGE, house.admin, n=100)
    beyond = await api("{ customers(first: 100) { nodes { services { id status package { name } } } } }", house.admin)
    cost = beyond["errors"][0]["extensions"]
    assert (cost["code"], cost["bound"]) == ("COST_EXCEEDED", 1200)
    # Without a token it is the address that counts: a fiftieth.
    sign_in = """mutation { signIn(input: {email: "a@example.com", password: "wrong words"}) { errors { code } } }"""
    answer = await api(sign_in)
    assert answer["extensions"]["cost"]["capacity"] == 60
    while "errors" not in answer:
        answer = await api(sign_in)
    assert answer["errors"][0]["extensions"]["code"] == "RATE_LIMITED"


async def test_it_is_told_in_the_words_of_http(limited: Make, house: House, still: Callable[[float], None]) -> None:
    api = limited(1, 1000)
    headers = {
        "Authorization": f"Bearer {await api.token(house.admin)}",
        "Accept": "application/graphql-response+json",
    }
    for _ in range(20):
        assert (await api.client.post("/graphql", json={"query": SMALL}, headers=headers)).status_code == 200
    answer = await api.client.post("/graphql", json={"query": SMALL}, headers=headers)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")
    assert "data" not in answer.json()
    # What is refused for itself costs nothing, and says so as ever.
    bad = await api.client.post("/graphql", json={"query": "{ nothing }"}, headers=headers)
    assert bad.status_code == 400


class Counting:
    """Passes questions on, and counts them."""

    def __init__(self, client: "redis.asyncio.Redis") -> None:
        self._client = client
        self.asked = 0

    async def eval(self, *given: Any) -> Any:
        self.asked += 1
        return await self._client.eval(*given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


async def test_most_requests_ask_nobody_and_none_asks_twice(
    limited: Make, house: House, database: Database, valkey: "redis.asyncio.Redis"
) -> None:
    client = Counting(valkey)
    api = limited(100_000, 1_000_000, client)
    await api.token(house.admin)
    with counted(database) as statements:
        before = time.monotonic()
        answers = await asyncio.gather(*(api(SMALL, house.admin) for _ in range(200)))
        took = time.monotonic() - before
    assert all("errors" not in answer for answer in answers)
    # A twentieth of a second's points is taken at a time, once for all who wait, and kept for a second.
    assert client.asked <= 1 + took
    assert len(statements) == 200
    # However it is asked for, the sum is right.
    viewer = await house.viewer()
    kept = Budgets(valkey, 10, 10_000)
    outcomes = await asyncio.gather(*(kept.charge(viewer, None, 7) for _ in range(100)), return_exceptions=True)
    assert sum(not isinstance(each, Spent) for each in outcomes) in range(600 // 7, 600 // 7 + 4)


async def test_without_redis_everything_passes_and_nobody_waits(limited: Make, house: House) -> None:
    held: list[asyncio.StreamWriter] = []

    async def says_nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(says_nothing, "127.0.0.1", 0)
    client = redis.asyncio.from_url(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", socket_timeout=5)
    api = limited(1, 1, client)
    began = time.monotonic()
    for _ in range(30):
        answer = await api(LARGE, house.admin, n=10)
        assert "errors" not in answer
        assert answer["extensions"]["cost"]["remaining"] is None
    assert (await api.data(LIMIT, house.admin))["rateLimit"]["token"]["remaining"] is None
    assert time.monotonic() - began < 2
    await client.aclose()
    for writer in held:
        writer.close()
    server.close()


def test_budgets_are_kept_unless_settings_say_otherwise() -> None:
    given = {
        "ISPGRAPH_DATABASE_URL": "postgresql://db",
        "ISPGRAPH_REDIS_URL": "redis://r",
        "ISPGRAPH_TOKEN_KEY": TOKEN_KEY.hex(),
        "ISPGRAPH_NETWORK_KEY": NETWORK_KEY.hex(),
    }
    found = Settings.from_env(given)
    assert (found.cost_per_second, found.tenant_cost_per_second) == (1_000_000, 5_000_000)
    assert Settings.from_env(given | {"ISPGRAPH_COST_PER_SECOND": "0"}).cost_per_second == 0
    assert Settings.from_env(given | {"ISPGRAPH_COST_PER_SECOND": "7"}).tenant_cost_per_second == 35
    with pytest.raises(SettingsError):
        Settings.from_env(given | {"ISPGRAPH_COST_PER_SECOND": "many"})


async def test_without_budgets_nothing_is_told(api: Api, house: House) -> None:
    assert "extensions" not in await api(SMALL, house.admin)
    assert (await api.data("{ rateLimit { operation } }", house.admin)) == {"rateLimit": None}

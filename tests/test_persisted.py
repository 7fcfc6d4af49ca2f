"""Documents that are named instead of sent, documents that alone may be sent, and connections that are too many."""

import hashlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from ispgraph.api.documents import Documents
from ispgraph.db import Database
from ispgraph.domain.models import Operator, Role
from ispgraph.settings import Settings, SettingsError
from tests.api import Api
from tests.factories import House

QUERY = "query Me { viewer { operator { name } } }"
OTHER = "query Other { viewer { permissions } }"
Make = Callable[..., Api]


def name_of(query: str) -> str:
    return hashlib.sha256(query.encode()).hexdigest()


def persisted(named: str, name: str | None = None, **more: Any) -> dict[str, Any]:
    return {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": name or name_of(named)}}, **more}


async def ask(api: Api, who: Operator | None, given: dict[str, Any], **headers: str) -> tuple[int, dict[str, Any]]:
    if who is not None:
        headers["Authorization"] = f"Bearer {await api.token(who)}"
    answer = await api.client.post("/graphql", json=given, headers=headers)
    return answer.status_code, answer.json()


def code(answer: dict[str, Any]) -> str:
    return str(answer["errors"][0]["extensions"]["code"])


@pytest.fixture
async def make(database: Database, valkey: "redis.asyncio.Redis", settings: Settings) -> AsyncIterator[Make]:
    made = []

    def another(client: Any = None, **changed: Any) -> Api:
        made.append(Api(database, client or valkey, replace(settings, **changed)))
        return made[-1]

    yield another
    for each in made:
        await each.close()


async def test_a_document_is_sent_once_and_named_from_then_on(
    make: Make, house: House, valkey: "redis.asyncio.Redis"
) -> None:
    api, elsewhere = make(), make()
    # As Apollo's clients do it: first the hash alone, and 200 for who asked for plain JSON.
    status, answer = await ask(api, house.admin, persisted(QUERY))
    assert (status, code(answer)) == (200, "PERSISTED_QUERY_NOT_FOUND")
    assert answer["errors"][0]["message"] == "PersistedQueryNotFound"
    status, answer = await ask(api, house.admin, persisted(QUERY), Accept="application/graphql-response+json")
    assert (status, "data" in answer) == (400, False)
    whole = {"data": {"viewer": {"operator": {"name": house.admin.name}}}}
    assert await ask(api, house.admin, persisted(QUERY, query=QUERY)) == (200, whole)
    # Another process knows it by Redis, and afterwards by itself.
    for _ in range(2):
        assert await ask(elsewhere, house.admin, persisted(QUERY)) == (200, whole)
        await valkey.delete(f"ispgraph:document:{name_of(QUERY)}")
    assert await ask(elsewhere, house.admin, {"documentId": f"sha256:{name_of(QUERY)}"}) == (200, whole)
    # By GET, which Apollo's clients use for what a cache may keep.
    given = persisted(QUERY)["extensions"]
    headers = {"Authorization": f"Bearer {await api.token(house.admin)}"}
    found = await api.client.get("/graphql", params={"extensions": json.dumps(given)}, headers=headers)
    assert found.json() == whole


async def test_what_is_wrong_with_a_name(make: Make, house: House, valkey: "redis.asyncio.Redis") -> None:
    api = make()
    assert code((await ask(api, house.admin, persisted(QUERY, name_of(OTHER), query=QUERY)))[1]) == "BAD_REQUEST"
    for bad in (
        {"extensions": {"persistedQuery": {"version": 2, "sha256Hash": name_of(QUERY)}}},
        {"extensions": {"persistedQuery": {"version": 1}}},
        {"extensions": {"persistedQuery": []}},
        {"documentId": 7},
        {"documentId": "x" * 201},
        {"query": 7, "documentId": "x"},
        {},
    ):
        status, answer = await ask(api, house.admin, bad)
        assert (status, code(answer)) == (400, "BAD_REQUEST"), bad
    # What a stranger sends is carried out, and not kept.
    assert code((await ask(api, None, persisted(QUERY, query=QUERY)))[1]) == "UNAUTHENTICATED"
    assert code((await ask(api, house.admin, persisted(QUERY)))[1]) == "PERSISTED_QUERY_NOT_FOUND"
    # What somebody else has put into Redis under a name is not believed.
    await valkey.set(f"ispgraph:document:{name_of(QUERY)}", OTHER)
    assert code((await ask(api, house.admin, persisted(QUERY)))[1]) == "PERSISTED_QUERY_NOT_FOUND"


async def test_without_redis_a_process_knows_what_it_was_sent(make: Make, house: House) -> None:
    api = make(redis.asyncio.from_url("redis://127.0.0.1:1"))
    assert "errors" not in (await ask(api, house.admin, persisted(QUERY, query=QUERY)))[1]
    assert "errors" not in (await ask(api, house.admin, persisted(QUERY)))[1]
    assert code((await ask(api, house.admin, persisted(OTHER)))[1]) == "PERSISTED_QUERY_NOT_FOUND"


async def test_customers_may_be_held_to_trusted_documents(make: Make, house: House, tmp_path: Path) -> None:
    manifest = tmp_path / "documents.json"
    manifest.write_text(json.dumps({f"sha256:{name_of(QUERY)}": QUERY, "portal-home": OTHER}))
    customer = await house.operator(Role.CUSTOMER)
    api = make(trusted_documents=str(manifest), trusted_only="customers")
    for given in (
        {"documentId": "portal-home"},
        persisted(QUERY),
        {"query": QUERY},
        {"query": QUERY, **persisted(QUERY)},
    ):
        assert "errors" not in (await ask(api, customer, given))[1], given
    refused = [{"query": "{ viewer { permissions } }"}, persisted("{ a }", query="{ a }"), {"documentId": "other"}]
    for given in refused:
        assert code((await ask(api, customer, given))[1]) == "FORBIDDEN", given
    assert code((await ask(api, customer, {"documentId": "portal-home", "query": QUERY}))[1]) == "BAD_REQUEST"
    # Staff send what they like, unless everybody is held to it.
    assert "errors" not in (await ask(api, house.admin, refused[0]))[1]
    strict = make(trusted_documents=str(manifest), trusted_only="everybody")
    for who in (house.admin, None):
        assert code((await ask(strict, who, refused[0]))[1]) == "FORBIDDEN"
    assert "errors" not in (await ask(strict, house.admin, {"documentId": "portal-home"}))[1]


def test_a_manifest_that_cannot_be_read_is_told_at_the_start(settings: Settings, tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    for text in ("{", "[]", '{"a": 1}', '{"a": ""}'):
        bad.write_text(text)
        with pytest.raises(SettingsError, match="ISPGRAPH_TRUSTED_DOCUMENTS"):
            Documents(replace(settings, trusted_documents=str(bad)))
    with pytest.raises(SettingsError, match="cannot be read"):
        Documents(replace(settings, trusted_documents=str(tmp_path / "none.json")))

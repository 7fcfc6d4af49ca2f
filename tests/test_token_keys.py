"""The key that signs tokens is changed while people are signed in."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import jwt
import pytest

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain import links
from ispgraph.domain.audit_chain import Keys
from ispgraph.domain.billing import quotes
from ispgraph.domain.errors import DomainError
from ispgraph.settings import Settings, SettingsError
from tests.api import Api
from tests.factories import PASSWORD, TOKEN_KEY, House

NEW = bytes(range(100, 132))
SIGN_IN = "mutation ($input: SignInInput!) { signIn(input: $input) { token errors { code } } }"


async def test_tokens_of_the_former_key_are_believed_until_it_is_dropped(
    house: House, database: Database, valkey: Any, settings: Settings, api: Api
) -> None:
    who = {"email": house.admin.email, "password": PASSWORD, "tenant": "north"}
    former = (await api.data(SIGN_IN, input=who))["signIn"]["token"]
    link = links.signed(
        TOKEN_KEY, f"/downloads/files/{house.tenant.id.hex}/{ids.uuid7().hex}", {}, clock.now() + timedelta(minutes=1)
    )
    statuses, heard = [], []
    for keys in ((TOKEN_KEY, ()), (NEW, (TOKEN_KEY,)), (NEW, ())):
        there = Api(database, valkey, replace(settings, token_key=keys[0], former_token_keys=keys[1]))
        try:
            answer = await there.client.post(
                "/graphql", json={"query": "{ viewer { __typename } }"}, headers={"authorization": f"Bearer {former}"}
            )
            heard.append("errors" in answer.json())
            statuses.append((await there.get(link)).status_code)
            fresh = (await there.data(SIGN_IN, input=who))["signIn"]["token"]
            signed_anew = jwt.get_unverified_header(fresh)["kid"] != jwt.get_unverified_header(former)["kid"]
            assert signed_anew is (keys[0] == NEW)
        finally:
            await there.close()
    assert heard == [False, False, True]
    # There is no such file, which only whoever has a link of ours is told.
    assert statuses[0] == statuses[1] != statuses[2], statuses


def test_several_keys_are_read(settings: Settings) -> None:
    environment = {
        "ISPGRAPH_DATABASE_URL": "postgresql://h/d",
        "ISPGRAPH_REDIS_URL": "redis://h",
        "ISPGRAPH_NETWORK_KEY": "00" * 32,
    }
    told = f"{NEW.hex()}, {TOKEN_KEY.hex()}"
    read = Settings.from_env(environment | {"ISPGRAPH_TOKEN_KEY": told})
    assert (read.token_key, read.token_keys) == (NEW, (NEW, TOKEN_KEY))
    # What was sealed with a key made of the former one is still known.
    former = Settings.from_env(environment | {"ISPGRAPH_TOKEN_KEY": TOKEN_KEY.hex()})
    assert Keys.of(former).name in Keys.of(read).by_name
    assert Keys.of(former).name != Keys.of(read).name
    for bad in ("", ",", "12", f"{NEW.hex()},12"):
        with pytest.raises(SettingsError, match="ISPGRAPH_TOKEN_KEY"):
            Settings.from_env(environment | {"ISPGRAPH_TOKEN_KEY": bad})


def test_quotes_of_the_former_key_are_kept() -> None:
    facts = {"operation": "test", "price": 1}
    promised = quotes.token(TOKEN_KEY, facts, clock.now() + timedelta(minutes=1))
    quotes.require((NEW, TOKEN_KEY), promised, facts)
    for keys, of in (((NEW,), facts), ((NEW, TOKEN_KEY), facts | {"price": 2})):
        with pytest.raises(DomainError):
            quotes.require(keys, promised, of)

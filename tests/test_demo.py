"""The demo: complete, stable, and usable with what it prints."""

import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from ispgraph import demo
from ispgraph.db import Base, Database
from ispgraph.domain import secrets
from ispgraph.domain.models import Role
from ispgraph.settings import Settings, SettingsError
from tests.api import Api

SIGN_IN = """mutation ($input: SignInInput!) { signIn(input: $input) { token errors { code message } } }"""


async def _rows(superuser: Database) -> dict[str, list[str]]:
    async with superuser.read(None) as session:
        return {
            table: sorted(str(row) for row in await session.scalars(text(f"SELECT to_jsonb(t) FROM {table} t")))
            for table in Base.metadata.tables
        }


async def test_filling_again_changes_nothing_and_prints_the_same(settings: Settings, dsns: Any) -> None:
    superuser = Database(dsns.superuser, pool_size=1)
    first = await demo.run(settings)
    before = await _rows(superuser)
    assert await demo.run(settings) == first
    assert await _rows(superuser) == before
    await superuser.dispose()
    assert json.loads(json.dumps(first)) == first
    # The secret that was printed is in no table in clear.
    assert first["radius_secret"] not in json.dumps(before)


async def test_there_is_an_operator_of_every_role_and_each_can_sign_in(settings: Settings, api: Api) -> None:
    filled = await demo.run(settings)
    ours = [one for one in filled["operators"] if one["tenant"] == "example-net"]
    assert {one["role"] for one in ours} == {role.value for role in Role} - {"CUSTOMER"}
    assert (filled["operators"][0]["role"], filled["operators"][0]["tenant"]) == ("ADMIN", "example-net")
    for one in filled["operators"]:
        answer = await api.data(SIGN_IN, input={name: one[name] for name in ("email", "password", "tenant")})
        assert answer["signIn"]["errors"] == [], one
        assert answer["signIn"]["token"]


async def test_the_demo_shows_a_catalogue_a_router_and_two_subtrees(settings: Settings, api: Api) -> None:
    filled = await demo.run(settings)
    signed_in = await api.data(SIGN_IN, input={k: filled["operators"][0][k] for k in ("email", "password", "tenant")})
    answer = await api(
        """{ packages { connectionTypes validityDays dataQuotaBytes fup { thresholdBytes } }
             zones { name parent { name } } customFields { type required } routers { name }
             operators { role email parent { email } } }""",
        token=signed_in["signIn"]["token"],
    )
    shown = answer["data"]
    assert len(shown["packages"]) == 5
    assert any(p["dataQuotaBytes"] == str(100 << 30) and p["fup"] for p in shown["packages"])
    assert any(p["connectionTypes"] == ["HOTSPOT"] for p in shown["packages"])
    assert any(len(p["connectionTypes"]) == 4 for p in shown["packages"])
    assert any(p["validityDays"] == 1 for p in shown["packages"])
    assert {zone["parent"] and zone["parent"]["name"] for zone in shown["zones"]} == {None, "North", "South"}
    assert [field["type"] for field in shown["customFields"]] == ["TEXT", "NUMBER", "DATE", "BOOLEAN", "SELECT"]
    assert not any(field["required"] for field in shown["customFields"])
    assert shown["routers"] == [{"name": "Core"}]
    assert len({one["parent"]["email"] for one in shown["operators"] if one["role"] == "SUB_OPERATOR"}) == 2
    # Tickets, and a way to pay that calls nobody.
    answer = await api(
        """{ tickets { nodes { status } } gateways { nodes { provider active } } gatewayPayments { nodes {
             state payerNote amount { amount } link { url amount { amount } } } } }""",
        token=signed_in["signIn"]["token"],
    )
    shown = answer["data"]
    assert {ticket["status"] for ticket in shown["tickets"]["nodes"]} == {"OPEN", "IN_PROGRESS", "RESOLVED"}
    assert shown["gateways"]["nodes"] == [{"provider": "bank_transfer", "active": True}]
    (waiting,) = shown["gatewayPayments"]["nodes"]
    assert (waiting["state"], waiting["payerNote"]) == ("PENDING", "Sent this morning")
    assert waiting["amount"] == waiting["link"]["amount"]
    assert "Bank transfer (demo)" in (await api.get(urlsplit(waiting["link"]["url"]).path)).text


async def test_the_printed_radius_secret_is_the_routers(settings: Settings, owner: Database) -> None:
    filled = await demo.run(settings)
    async with owner.read(None) as session:
        row = (await session.execute(text("SELECT tenant_id, id, radius_secret FROM routers"))).one()
    bound_to = secrets.router_radius(row.tenant_id, row.id)
    assert secrets.unseal(settings.network_key, row.radius_secret, bound_to) == filled["radius_secret"]


async def test_a_password_that_would_not_open_the_demo_is_not_printed(settings: Settings) -> None:
    await demo.run(settings)
    with pytest.raises(SettingsError, match="ISPGRAPH_DEMO_PASSWORD"):
        await demo.run(settings, password="another password")

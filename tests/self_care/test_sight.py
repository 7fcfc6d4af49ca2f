"""What customers may use and see: the table of it leaves nothing out, and holds."""

import json
from dataclasses import replace
from typing import Any

from graphql import GraphQLInterfaceType, GraphQLObjectType
from redis.asyncio import Redis

from ispgraph.db import Database
from ispgraph.domain import visibility
from ispgraph.domain.models import HostingServer, Operator
from ispgraph.resolvers.base import PUBLIC
from ispgraph.resolvers.build import Mutation, Query
from ispgraph.schema.self_care import DECISIONS, ROOTS
from ispgraph.settings import Settings
from tests.api import Api
from tests.self_care.graph import call, core, hidden, reached
from tests.self_care.home import ME, Home


def test_every_field_within_reach_was_decided_about() -> None:
    found = reached()
    assert len(found) > 50
    for name in sorted(found):
        kind = core().type_map[name]
        assert isinstance(kind, GraphQLObjectType | GraphQLInterfaceType), name
        assert name in DECISIONS, f"decide in schema/self_care.py what customers see of {name}"
        decision = DECISIONS[name]
        decided = [*decision.shown, *decision.hidden, *decision.blank]
        assert sorted(decided) == sorted(kind.fields), f"decide in schema/self_care.py about the fields of {name}"
    for root, names in ROOTS.items():
        kind = core().type_map[root]
        assert isinstance(kind, GraphQLObjectType)
        assert names <= set(kind.fields)
    # Interfaces are reached by fragments; nothing else is decided about in vain.
    assert set(DECISIONS) - found <= {"Payload", "UserError"}
    assert set(visibility.RULES) >= visibility.OF_CUSTOMERS
    assert not {Operator, HostingServer} & visibility.OF_CUSTOMERS


async def test_no_hidden_field_can_be_had(home: Home) -> None:
    await home.entered()
    tried = 0
    for kind, name, document in hidden():
        answer = await home.api(document, token=home.token)
        [error] = answer["errors"]
        assert error["extensions"]["code"] == "FORBIDDEN", document
        assert error["message"] == f"Customers cannot see {kind}.{name}."
        assert answer["data"] is None
        tried += 1
    assert tried > 70
    # By whatever way it is asked for.
    for document in (
        "{ viewer { customer { why: statusReason } } }",
        "{ viewer { customer { ... { statusReason } } } }",
        "{ viewer { customer { ... on Node { id ... on Customer { statusReason } } } } }",
        "{ viewer { customer { ...F } } } fragment F on Customer { id ...G } fragment G on Customer { statusReason }",
        f'{{ node(id: "{home.id}") {{ ... on Customer {{ statusReason }} }} }}',
        f'{{ nodes(ids: ["{home.id}"]) {{ ... on Operator {{ name }} }} }}',
        f'{{ customer(by: {{id: "{home.id}"}}) {{ id operator {{ id }} }} }}',
        "mutation { preferencesUpdate(input: {}) { customer { operator { name } } } }",
        "mutation { tokenRenew { viewer { customer { zone { name } } } } }",
        "query ($yes: Boolean = true) { viewer { customer { statusReason @include(if: $yes) } } }",
        "query ($no: Boolean = false) { viewer { customer { ... @skip(if: $no) { statusReason } } } }",
    ):
        assert await home.refused(document) == "FORBIDDEN", document
    # What is left out is not asked for, and what is null for customers can be asked for as operators do.
    assert await home.refused("{ viewer { customer { statusReason @include(if: false) } } }") == ""
    shared = "{ viewer { operator { name walletBalance { amount } } actingOperator { email } customer { name } } }"
    assert (await home.ask(shared))["viewer"] == {
        "operator": None,
        "actingOperator": None,
        "customer": {"name": "Ann Example"},
    }
    # Nor along with the sign-in.
    signing = """mutation { customerSignIn(input: {login: "N-1001", password: "correct horse battery", tenant: "north"})
      { token viewer { customer { statusReason } } } }"""
    answer = await home.api(signing)
    assert (answer["errors"][0]["extensions"]["code"], answer["data"]) == ("FORBIDDEN", None)


async def test_no_other_root_field_can_be_used(home: Home) -> None:
    await home.entered()
    public = {
        name
        for kind in (Query, Mutation)
        for field in kind.__strawberry_definition__.fields  # type: ignore[attr-defined]
        if field.access is PUBLIC
        for name in [_camel(field.python_name)]
    }
    tried = set()
    for operation, root in (("query", core().query_type), ("mutation", core().mutation_type)):
        assert root is not None
        for name, field in root.fields.items():
            if name in public or name in ROOTS[root.name]:
                continue
            asked = call(name, field)
            if "$file" in asked:
                answer = await _with_file(home, asked)
            else:
                answer = await home.api(f"{operation} {{ {asked} }}", token=home.token)
            assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN", (name, answer)
            tried.add(name)
    assert len(tried) > 150
    assert {"customers", "auditLog", "customerUpdate", "customerRevealNetworkPassword", "ticketAssign"} <= tried
    assert {"customerImportBegin", "portalUploadAssets"} <= tried
    # What was done by the way after a sign-in in one document is done as the customer.
    both = """mutation ($p: String!) { customerSignIn(input: {login: "N-1001", password: $p, tenant: "north"}) { token }
      zoneCreate(input: {name: "Mine"}) { errors { code } } }"""
    answer = await home.api(both, home.house.admin, p="correct horse battery")
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    # And what is for customers is not for operators.
    answer = await home.api("mutation { preferencesUpdate(input: {}) { errors { code } } }", home.house.admin)
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    me = (await home.api.data(ME, home.house.admin))["viewer"]
    assert (me["customer"], me["portalAdmin"], me["operator"] is not None) == (None, None, True)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


async def _with_file(home: Home, field: str) -> dict[str, Any]:
    """What comes of a mutation that takes a file, which comes in a request of its own."""
    operation = {"query": f"mutation ($file: Upload!) {{ {field} }}", "variables": {"file": None}}
    sent = {"operations": json.dumps(operation), "map": json.dumps({"0": ["variables.file"]})}
    signed = {"Authorization": f"Bearer {home.token}"}
    files = {"0": ("file.csv", b"name", "text/csv")}
    answer = await home.api.client.post("/graphql", data=sent, files=files, headers=signed)
    found: dict[str, Any] = answer.json()
    return found


async def test_the_schema_is_for_operators(home: Home, database: Database, valkey: Redis, settings: Settings) -> None:
    await home.entered()
    api = Api(database, valkey, replace(settings, introspection="operators"))
    asked = "{ __schema { queryType { name } } }"
    answer = await api(asked, token=home.token)
    assert answer["errors"][0]["extensions"]["code"] == "BAD_REQUEST"
    assert (await api.data(asked, home.house.admin))["__schema"]
    await api.close()

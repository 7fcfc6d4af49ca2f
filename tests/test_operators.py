"""The tree of operators: who sees whom, who creates whom, with which permissions."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import select

from ispgraph import create_operator, ids
from ispgraph.db import Database
from ispgraph.domain import operators
from ispgraph.domain.errors import DomainError, ErrorCode
from ispgraph.domain.models import (
    Account,
    AuditEntry,
    Journal,
    Operator,
    PaymentMethod,
    Posting,
    Role,
    Tenant,
)
from ispgraph.domain.permissions import DEFAULTS, LEVELS, Permission
from ispgraph.settings import Settings
from tests.api import Api
from tests.factories import PASSWORD, House

CREATE = """mutation ($input: OperatorInput!) { operatorCreate(input: $input) {
  operator { id name email role level permissions active smsCredits parent { id } walletBalance { amount } }
  errors { code field message } } }"""
SET = """mutation ($id: ID!, $permissions: [Permission!]!) {
  operatorSetPermissions(operatorId: $id, permissions: $permissions) {
    operator { permissions } errors { code field } } }"""
LIST = "query ($role: [Role!]) { operators(role: $role) { id } }"


@dataclass
class Tree:
    """admin > reseller > sub > clerk; admin > rival > rivals_clerk; admin > manager; admin > second (an admin)."""

    house: House
    people: dict[str, Operator]

    def __getattr__(self, name: str) -> Operator:
        return self.people[name]


@pytest.fixture
async def tree(house: House) -> Tree:
    people = {"admin": house.admin}
    for name, role, parent in (
        ("reseller", Role.OPERATOR, "admin"),
        ("sub", Role.SUB_OPERATOR, "reseller"),
        ("clerk", Role.STAFF, "sub"),
        ("rival", Role.OPERATOR, "admin"),
        ("rivals_clerk", Role.STAFF, "rival"),
        ("manager", Role.MANAGER, "admin"),
        ("second", Role.ADMIN, "admin"),
        ("portal", Role.CUSTOMER, "admin"),
    ):
        people[name] = await house.operator(role, people[parent], name=name)
    return Tree(house, people)


def public(operator: Operator) -> str:
    return ids.encode("opr", operator.id)


def wanted(**fields: Any) -> dict[str, Any]:
    return {"name": "New", "email": "new@example.net", "password": PASSWORD, "role": "STAFF"} | fields


async def create(api: Api, who: Operator, **fields: Any) -> dict[str, Any]:
    answer: dict[str, Any] = (await api.data(CREATE, who, input=wanted(**fields)))["operatorCreate"]
    return answer


def codes(payload: dict[str, Any]) -> list[tuple[str, str]]:
    return [(error["code"], ".".join(error["field"])) for error in payload["errors"]]


@pytest.mark.parametrize(
    ("who", "sees"),
    [
        ("admin", "admin second reseller rival sub manager clerk rivals_clerk portal"),
        ("manager", "admin second reseller rival sub manager clerk rivals_clerk portal"),
        ("reseller", "reseller sub clerk"),
        ("sub", "sub clerk"),
        ("clerk", "sub clerk"),
        ("rivals_clerk", "rival rivals_clerk"),
        ("portal", "portal"),
    ],
)
async def test_who_sees_whom(api: Api, tree: Tree, other_house: House, who: str, sees: str) -> None:
    found = {row["id"] for row in (await api.data(LIST, tree.people[who]))["operators"]}
    assert found == {public(tree.people[name]) for name in sees.split()}
    everyone = [public(operator) for operator in [*tree.people.values(), other_house.admin]]
    nodes = (await api.data("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", tree.people[who], ids=everyone))[
        "nodes"
    ]
    assert {row["id"] for row in nodes if row} == found


async def test_list_by_role_and_parents_out_of_sight(api: Api, tree: Tree) -> None:
    found = (await api.data(LIST, tree.admin, role=["OPERATOR", "MANAGER"]))["operators"]
    assert {row["id"] for row in found} == {public(tree.reseller), public(tree.rival), public(tree.manager)}
    seen = (await api.data("{ viewer { operator { parent { id } } } }", tree.reseller))["viewer"]["operator"]
    assert seen["parent"] is None
    seen = (await api.data("{ viewer { operator { parent { id } } } }", tree.clerk))["viewer"]["operator"]
    assert seen["parent"] == {"id": public(tree.sub)}


async def test_viewer(api: Api, tree: Tree) -> None:
    document = "{ viewer { tenant { id name currency timeZone } operator { id role level } permissions } }"
    seen = (await api.data(document, tree.clerk))["viewer"]
    assert seen["tenant"] | {"id": ""} == {
        "id": "",
        "name": "North Networks",
        "currency": "USD",
        "timeZone": "Asia/Dhaka",
    }
    assert seen["operator"] == {"id": public(tree.clerk), "role": "STAFF", "level": 80}
    assert seen["permissions"] == operators.spelt(DEFAULTS[Role.STAFF])
    assert (await api("{ viewer { permissions } }"))["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_created_operators_sign_in_below_their_creator(api: Api, tree: Tree, database: Database) -> None:
    made = await create(api, tree.reseller, email="New@Example.NET", role="SUB_OPERATOR")
    assert made["errors"] == []
    operator = made["operator"]
    assert operator | {"id": ""} == {
        "id": "",
        "name": "New",
        "email": "new@example.net",
        "role": "SUB_OPERATOR",
        "level": 40,
        "active": True,
        "smsCredits": 0,
        "permissions": operators.spelt(DEFAULTS[Role.SUB_OPERATOR] & DEFAULTS[Role.OPERATOR]),
        "parent": {"id": public(tree.reseller)},
        "walletBalance": {"amount": "0.00"},
    }
    signed = await api.data(
        "mutation ($input: SignInInput!) { signIn(input: $input) { token } }",
        input={"email": "new@example.net", "password": PASSWORD},
    )
    token = signed["signIn"]["token"]
    assert (await api("{ operators { id } }", token=token))["data"]["operators"] == [{"id": operator["id"]}]
    async with database.read(tree.house.tenant.id) as session:
        row = await session.get_one(Operator, ids.decode("opr", operator["id"]))
        assert row.ancestors == [tree.admin.id, tree.reseller.id]
        trail = select(AuditEntry).where(AuditEntry.subject_id == row.id).order_by(AuditEntry.id)
        entry = (await session.scalars(trail)).first()
        assert entry is not None
        assert (entry.action, entry.operator_id) == ("operator.create", tree.reseller.id)
        assert PASSWORD not in str(entry.details)


@pytest.mark.parametrize(
    ("who", "role", "parent", "outcome"),
    [
        ("admin", "ADMIN", None, [("NOT_PERMITTED", "input.role")]),
        ("admin", "SUPER_ADMIN", None, [("NOT_PERMITTED", "input.role")]),
        ("admin", "OPERATOR", None, []),
        ("admin", "STAFF", "sub", []),
        ("admin", "STAFF", "second", [("NOT_PERMITTED", "input.parentId")]),
        ("admin", "SUB_OPERATOR", "manager", [("INVALID", "input.parentId")]),
        ("manager", "STAFF", None, []),
        ("manager", "STAFF", "admin", [("NOT_PERMITTED", "input.parentId")]),
        ("manager", "STAFF", "reseller", [("NOT_PERMITTED", "input.parentId")]),
        ("manager", "OPERATOR", None, [("NOT_PERMITTED", "input.role")]),
        ("reseller", "SUB_OPERATOR", None, []),
        ("reseller", "STAFF", "sub", []),
        ("reseller", "SUB_OPERATOR", "sub", [("INVALID", "input.parentId")]),
        ("reseller", "STAFF", "admin", [("NOT_FOUND", "input.parentId")]),
        ("reseller", "STAFF", "rival", [("NOT_FOUND", "input.parentId")]),
        ("reseller", "OPERATOR", "rival", [("NOT_PERMITTED", "input.role"), ("NOT_FOUND", "input.parentId")]),
    ],
)
async def test_who_creates_whom_where(
    api: Api, tree: Tree, who: str, role: str, parent: str | None, outcome: list[tuple[str, str]]
) -> None:
    below = {} if parent is None else {"parentId": public(tree.people[parent])}
    made = await create(api, tree.people[who], role=role, permissions=[], **below)
    assert codes(made) == outcome
    assert (made["operator"] is None) == bool(outcome)


async def test_all_faults_at_once(api: Api, tree: Tree, other_house: House) -> None:
    made = await create(
        api,
        tree.reseller,
        name=" ",
        email="nonsense",
        password="short",
        role="ADMIN",
        parentId=public(other_house.admin),
        permissions=["MANAGE_ROUTERS", "VIEW_CUSTOMERS"],
    )
    assert codes(made) == [
        ("REQUIRED", "input.name"),
        ("INVALID", "input.email"),
        ("INVALID", "input.password"),
        ("NOT_PERMITTED", "input.role"),
        ("NOT_PERMITTED", "input.permissions"),
        ("NOT_FOUND", "input.parentId"),
    ]
    assert "MANAGE_ROUTERS" in made["errors"][4]["message"]
    assert "VIEW_CUSTOMERS" not in made["errors"][4]["message"]


@pytest.mark.parametrize("password", ["123456789", "x" * 201, "NEW@example.net"])
async def test_passwords_nobody_should_have(api: Api, tree: Tree, password: str) -> None:
    assert codes(await create(api, tree.admin, password=password)) == [("INVALID", "input.password")]


@pytest.mark.parametrize("parent", ["opr_1", "cus_" + "0" * 32, "opr_" + "0" * 32])
async def test_parents_that_are_nobody(api: Api, tree: Tree, parent: str) -> None:
    assert codes(await create(api, tree.admin, parentId=parent)) == [("NOT_FOUND", "input.parentId")]


async def test_an_address_belongs_to_one_operator_of_a_tenant(api: Api, tree: Tree, other_house: House) -> None:
    assert codes(await create(api, tree.admin, email="ADMIN@north.example")) == [("TAKEN", "input.email")]
    assert codes(await create(api, tree.admin, email="admin@south.example")) == []


async def test_a_race_for_an_address_has_one_winner(database: Database, tree: Tree) -> None:
    viewer = await tree.house.viewer()
    new = operators.NewOperator("New", "new@example.net", PASSWORD, Role.STAFF)

    def one() -> Awaitable[Operator]:
        return database.run(tree.house.tenant.id, lambda session: operators.create(session, new, by=viewer))

    outcomes = await asyncio.gather(*(one() for _ in range(4)), return_exceptions=True)
    faults = [outcome.faults for outcome in outcomes if isinstance(outcome, DomainError)]
    assert len(faults) == 3
    assert {(fault.code, fault.field) for [fault] in faults} == {(ErrorCode.TAKEN, ("input", "email"))}
    assert sum(isinstance(outcome, Operator) for outcome in outcomes) == 1


async def test_creating_needs_the_permission(api: Api, tree: Tree) -> None:
    for document, variables in (
        (CREATE, {"input": wanted()}),
        (SET, {"id": public(tree.clerk), "permissions": []}),
    ):
        answer = await api(document, tree.clerk, **variables)
        assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"


@pytest.mark.parametrize(
    ("who", "target", "outcome"),
    [
        ("admin", "clerk", []),
        ("admin", "manager", []),
        ("admin", "admin", [("NOT_PERMITTED", "operatorId")]),
        ("admin", "second", [("NOT_PERMITTED", "operatorId")]),
        ("second", "admin", [("NOT_PERMITTED", "operatorId")]),
        ("manager", "clerk", [("NOT_PERMITTED", "operatorId")]),
        ("manager", "reseller", [("NOT_PERMITTED", "operatorId")]),
        ("reseller", "clerk", []),
        ("reseller", "reseller", [("NOT_PERMITTED", "operatorId")]),
        ("reseller", "admin", [("NOT_FOUND", "operatorId")]),
        ("reseller", "rivals_clerk", [("NOT_FOUND", "operatorId")]),
    ],
)
async def test_whose_permissions_one_may_set(
    api: Api, tree: Tree, who: str, target: str, outcome: list[tuple[str, str]]
) -> None:
    variables = {"id": public(tree.people[target]), "permissions": ["SEND_SMS", "SEND_SMS", "VIEW_CUSTOMERS"]}
    changed = (await api.data(SET, tree.people[who], **variables))["operatorSetPermissions"]
    assert codes(changed) == outcome
    if not outcome:
        assert changed["operator"] == {"permissions": ["SEND_SMS", "VIEW_CUSTOMERS"]}


async def test_permissions_hold_at_once_and_only_what_one_has_can_be_given(api: Api, tree: Tree) -> None:
    assert "errors" not in await api(CREATE, tree.reseller, input=wanted())
    refused = await api.data(SET, tree.reseller, id=public(tree.sub), permissions=["MANAGE_ROUTERS"])
    assert codes(refused["operatorSetPermissions"]) == [("NOT_PERMITTED", "permissions")]
    kept = ["VIEW_CUSTOMERS"]
    await api.data(SET, tree.admin, id=public(tree.reseller), permissions=kept)
    answer = await api(CREATE, tree.reseller, input=wanted(email="second@example.net"))
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert (await api.data("{ viewer { permissions } }", tree.reseller))["viewer"] == {"permissions": kept}


async def test_another_tenants_operator_is_not_there(api: Api, tree: Tree, other_house: House) -> None:
    changed = await api.data(SET, tree.admin, id=public(other_house.admin), permissions=[])
    assert codes(changed["operatorSetPermissions"]) == [("NOT_FOUND", "operatorId")]


async def test_the_wallet_is_the_sum_of_its_postings(api: Api, tree: Tree) -> None:
    journal = Journal(id=ids.uuid7(), description="Wallet")
    sides = [
        Posting(account=Account.CASH, method=PaymentMethod.CASH, amount_minor=12_345),
        Posting(account=Account.OPERATOR_WALLET, operator_id=tree.reseller.id, amount_minor=-12_345),
    ]
    async with tree.house.database.transaction(tree.house.tenant.id) as session:
        journal.tenant_id = tree.house.tenant.id
        session.add(journal)
        await session.flush()
        for side in sides:
            side.tenant_id, side.journal_id = tree.house.tenant.id, journal.id
        session.add_all(sides)
    found = (await api.data("{ operators { id walletBalance { amount currency } } }", tree.admin))["operators"]
    held = {row["id"]: row["walletBalance"]["amount"] for row in found}
    assert held.pop(public(tree.reseller)) == "123.45"
    assert set(held.values()) == {"0.00"}


# ------------------------------------------------------------------------------------------ create-operator


def make(settings: Settings, **given: str) -> int:
    arguments = {"tenant": "East-Net", "email": "Boss@east.example", "name": "Boss", "role": "admin"} | given
    return create_operator.main(settings, **{"password": PASSWORD} | arguments)  # type: ignore[arg-type]


async def test_the_first_operator_of_a_new_tenant(
    api: Api, settings: Settings, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    made = await asyncio.to_thread(make, settings, tenant_name="East Net", currency="bdt", time_zone="Asia/Dhaka")
    out = capsys.readouterr().out
    assert made == 0
    assert out.endswith(" boss@east.example ADMIN of east-net\n")
    assert PASSWORD not in out
    signed = await api.data(
        "mutation ($input: SignInInput!) { signIn(input: $input) {"
        " viewer { tenant { name currency } operator { level parent { id } } permissions } } }",
        input={"email": "boss@east.example", "password": PASSWORD, "tenant": "east-net"},
    )
    viewer = signed["signIn"]["viewer"]
    assert viewer["tenant"] == {"name": "East Net", "currency": "BDT"}
    assert viewer["operator"] == {"level": LEVELS[Role.ADMIN], "parent": None}
    assert len(viewer["permissions"]) == len(Permission)


async def test_more_operators_of_a_tenant(
    settings: Settings, house: House, owner: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await asyncio.to_thread(make, settings, tenant="north", role="STAFF") == 0
    assert await asyncio.to_thread(make, settings, tenant="north", role="STAFF") == 1
    assert "email: An operator with this e-mail address exists already." in capsys.readouterr().err
    async with owner.read(None) as session:
        assert (await session.scalars(select(Tenant.slug))).all() == ["north"]


async def test_mistakes_are_all_named_and_nothing_is_made(
    settings: Settings, owner: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"tenant": "No Slug", "email": "x", "name": "", "role": "BOSS", "password": "short"}
    wrong = given | {"currency": "taka", "country": "XX", "time_zone": "Dhaka"}
    assert await asyncio.to_thread(make, settings, **wrong) == 1
    named = [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()]
    assert named == ["tenant", "currency", "country", "time_zone", "email", "name", "password", "role"]
    async with owner.read(None) as session:
        assert (await session.scalars(select(Tenant.slug))).all() == []


async def test_what_an_operator_may_and_owns_is_told_within_the_tree_only(api: Api, house: House) -> None:
    seller = await house.operator(Role.OPERATOR)
    started = await api.data("mutation { customerDraftStart { draft { id } } }", seller)
    draft = started["customerDraftStart"]["draft"]["id"]
    step = """mutation ($i: DraftAddressInput!) { customerDraftSetAddress(input: $i) { errors { code } } }"""
    await api.data(step, house.admin, i={"draftId": draft, "address": {"street": "X"}})
    document = "query ($id: ID!) { customerDraft(id: $id) { lastModifiedBy { name %s } } }"
    seen = await api.data(document.replace("%s", ""), seller, id=draft)
    assert seen["customerDraft"]["lastModifiedBy"]["name"] == house.admin.name
    wanted = "email permissions smsCredits walletBalance { amount }"
    seen = await api.data(document.replace("%s", wanted), seller, id=draft)
    blank = {"email": "hidden@invalid", "permissions": [], "smsCredits": 0, "walletBalance": {"amount": "0.00"}}
    assert seen["customerDraft"]["lastModifiedBy"] == {"name": house.admin.name, **blank}
    seen = await api.data(document.replace("%s", wanted), house.admin, id=draft)
    assert seen["customerDraft"]["lastModifiedBy"]["email"] == house.admin.email
    assert seen["customerDraft"]["lastModifiedBy"]["permissions"]

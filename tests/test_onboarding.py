"""The wizard's steps and drafts, through the API."""

from typing import Any

import pytest
from sqlalchemy import text

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain.models import CustomField, CustomFieldType, Role
from ispgraph.domain.onboarding import drafts
from tests import factories
from tests.api import Api
from tests.factories import House
from tests.wizard import PPPOE, Wizard, faults


async def test_steps_in_any_order_and_again(api: Api, house: House) -> None:
    package = await house.package()
    wizard = await Wizard.begin(api, house.admin)
    first = await wizard.step("Address", address={"street": "1 Example Street"})
    assert first["draft"]["currentStep"] == "BASICS"
    assert first["draft"]["completedSteps"] == ["ADDRESS"]
    await wizard.step("Package", packageId=ids.encode("pkg", package.id))
    again = await wizard.step("Address", address={"street": "2 Example Street"})
    assert again["draft"]["completedSteps"] == ["PACKAGE", "ADDRESS"]
    assert (again["draft"]["version"], again["draft"]["status"], again["draft"]["progressPercent"]) == (
        4,
        "PARTIAL",
        28,
    )
    assert (await wizard.read("address { street }"))["address"]["street"] == "2 Example Street"


async def test_all_faults_of_a_step_at_once(api: Api, house: House) -> None:
    wizard = await Wizard.begin(api, house.admin)
    payload = await wizard.step("Basics", name="  ", mobile="12", email="nobody@")
    assert faults(payload) == [("REQUIRED", "input.name"), ("INVALID", "input.mobile"), ("INVALID", "input.email")]
    payload = await wizard.step("Address", address={"street": "", "city": "x" * 101, "postalCode": "y" * 21})
    assert faults(payload) == [
        ("REQUIRED", "input.address.street"),
        ("INVALID", "input.address.city"),
        ("INVALID", "input.address.postalCode"),
    ]
    payload = await wizard.step("Payment", amount="-1.00", method="WALLET", reference="r" * 256)
    assert faults(payload) == [("INVALID", "input.amount"), ("INVALID", "input.method"), ("INVALID", "input.reference")]
    draft = await wizard.read("completedSteps version log { step succeeded error by }")
    assert draft["completedSteps"] == []
    assert [(entry["step"], entry["succeeded"]) for entry in draft["log"]] == [
        ("BASICS", False),
        ("ADDRESS", False),
        ("PAYMENT", False),
    ]
    assert draft["log"][0]["error"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [("REQUIRED", "input")]),
        ({**PPPOE, "other": {"configuration": "x"}}, [("INVALID", "input")]),
        ({"pppoe": {"username": "a b", "password": ""}}, ["INVALID:pppoe.username", "REQUIRED:pppoe.password"]),
        ({"hotspot": {"macAddress": "00:11:22:33:44"}}, ["INVALID:hotspot.macAddress"]),
        ({"staticIp": {"ipAddress": "300.1.1.1"}}, ["INVALID:staticIp.ipAddress"]),
        ({"staticIp": {"ipAddress": "10.0.0.5", "subnet": "10.1.0.0/24"}}, ["INVALID:staticIp.ipAddress"]),
        ({"staticIp": {"ipAddress": "10.0.0.5", "subnet": "10.0.0.5/24"}}, ["INVALID:staticIp.subnet"]),
        ({"staticIp": {"ipAddress": "10.0.0.255", "subnet": "10.0.0.0/24"}}, ["INVALID:staticIp.ipAddress"]),
        ({"staticIp": {"ipAddress": "10.0.0.5", "subnet": "0.0.0.0/0"}}, ["INVALID:staticIp.subnet"]),
        ({"staticIp": {"ipAddress": "127.0.0.1"}}, ["INVALID:staticIp.ipAddress"]),
        ({"staticIp": {"ipAddress": "2001:db8::9"}}, ["INVALID:staticIp.ipAddress"]),
        ({"other": {"configuration": " "}}, ["REQUIRED:other.configuration"]),
        ({**PPPOE, "routerId": "rtr_" + "0" * 32}, ["NOT_FOUND:routerId"]),
        ({**PPPOE, "routerId": "cus_" + "0" * 32}, ["NOT_FOUND:routerId"]),
    ],
)
async def test_misuse_of_the_connection_step(
    api: Api, house: House, given: dict[str, Any], expected: list[Any]
) -> None:
    wizard = await Wizard.begin(api, house.admin)
    wanted = [e if isinstance(e, tuple) else (e.partition(":")[0], "input." + e.partition(":")[2]) for e in expected]
    assert faults(await wizard.step("Connection", **given)) == wanted
    assert (await wizard.read("connection { type }"))["connection"] is None


async def test_values_are_normalised(api: Api, house: House) -> None:
    wizard = await Wizard.begin(api, house.admin)
    await wizard.step("Basics", name=" Jane  ", mobile="01712-345678", email="JANE@Example.com")
    assert (await wizard.read("basics { name mobile email }"))["basics"] == {
        "name": "Jane",
        "mobile": "+8801712345678",
        "email": "jane@example.com",
    }
    payload = await wizard.step("Connection", hotspot={"macAddress": "0011.2233.aabb"})
    assert payload["draft"]["connection"]["macAddress"] == "00:11:22:33:AA:BB"


async def test_email_may_be_made_optional(api: Api, owner: Database, database: Database) -> None:
    relaxed = await factories.house(owner, database, "relaxed", email_required=False)
    wizard = await Wizard.begin(api, relaxed.admin)
    assert (await wizard.step("Basics", name="Jane", mobile="01712345678"))["errors"] == []


async def test_package_and_connection_must_fit(api: Api, house: House) -> None:
    hotspot_only = await house.package("Hotspot day", connection_types=["HOTSPOT"])
    gone = await house.package("Gone", active=False)
    wizard = await Wizard.begin(api, house.admin)
    await wizard.step("Connection", **PPPOE)
    payload = await wizard.step("Package", packageId=ids.encode("pkg", hotspot_only.id))
    assert faults(payload) == [("INVALID", "input.packageId")]
    payload = await wizard.step("Package", packageId=ids.encode("pkg", gone.id))
    assert faults(payload) == [("INVALID_STATE", "input.packageId")]


async def test_custom_fields(api: Api, house: House) -> None:
    await house.add(
        CustomField(key="idCard", label="Identity card", type=CustomFieldType.TEXT, required=True),
        CustomField(key="floor", label="Floor", type=CustomFieldType.NUMBER),
    )
    package = await house.package()
    wizard = await (await Wizard.begin(api, house.admin)).fill(package)
    assert faults(await wizard.confirm()) == [("DRAFT_INCOMPLETE", "draft.customFields")]
    payload = await wizard.step("CustomFields", values=[{"key": "floor", "value": "high"}, {"key": "no", "value": 1}])
    assert sorted(code for code, _ in faults(payload)) == ["INVALID", "NOT_FOUND", "REQUIRED"]
    values = [{"key": "floor", "value": 3}, {"key": "idCard", "value": "A1"}]
    assert (await wizard.step("CustomFields", values=values))["errors"] == []
    made = await wizard.confirm()
    assert {item["field"]["key"]: item["value"] for item in made["customer"]["customFields"]} == {
        "idCard": "A1",
        "floor": 3,
    }


async def test_two_operators_on_one_draft(api: Api, house: House) -> None:
    colleague = await house.operator(Role.STAFF)
    mine = await Wizard.begin(api, house.admin)
    theirs = Wizard(api, colleague, mine.draft)
    assert (await theirs.step("Address", address={"street": "A"}, expectedVersion=1))["errors"] == []
    payload = await mine.step("Address", address={"street": "B"}, expectedVersion=1)
    assert faults(payload) == [("VERSION_CONFLICT", "input.expectedVersion")]
    draft = await mine.read("address { street } lastModifiedBy { email } createdBy { email }")
    assert draft["address"]["street"] == "A"
    assert draft["lastModifiedBy"]["email"] == colleague.email
    assert draft["createdBy"]["email"] == house.admin.email


LIST = """query ($mine: Boolean, $status: [DraftStatus!]) { customerDrafts(mine: $mine, status: $status, first: 2) {
  nodes { id status } totalCount pageInfo { hasNextPage } } }"""


async def test_the_list_of_unfinished_creations(api: Api, house: House, other_house: House) -> None:
    seller = await house.operator(Role.OPERATOR)
    under = await house.operator(Role.SUB_OPERATOR, seller)
    rival = await house.operator(Role.OPERATOR)
    wizards = {who.email: await Wizard.begin(api, who) for who in (house.admin, seller, under, rival)}
    await Wizard.begin(api, other_house.admin)

    async def seen(who: Any, **variables: Any) -> tuple[list[str], int]:
        found = (await api.data(LIST, who, **variables))["customerDrafts"]
        return [node["id"] for node in found["nodes"]], found["totalCount"]

    newest = [wizards[who.email].draft for who in (rival, under, seller, house.admin)]
    assert await seen(house.admin) == (newest[:2], 4)
    assert await seen(house.admin, mine=True) == ([wizards[house.admin.email].draft], 1)
    assert await seen(seller) == ([wizards[under.email].draft, wizards[seller.email].draft], 2)
    assert await seen(under) == ([wizards[under.email].draft], 1)
    stranger = Wizard(api, rival, wizards[under.email].draft)
    assert await stranger.read("id") is None
    assert faults(await stranger.step("Address", address={"street": "X"})) == [("NOT_FOUND", "input.draftId")]


async def test_cancel_erases_and_ends(api: Api, house: House) -> None:
    wizard = await (await Wizard.begin(api, house.admin)).fill(await house.package())
    document = "mutation ($i: StepInput!) { customerDraftCancel(input: $i) { draft { status } errors { code } } }"
    for _ in range(2):
        data = await api.data(document, house.admin, i={"draftId": wizard.draft})
        assert data["customerDraftCancel"] == {"draft": {"status": "CANCELLED"}, "errors": []}
    assert await wizard.read("basics { name } payment { method } package { id }") == {
        "basics": None,
        "payment": None,
        "package": None,
    }
    assert faults(await wizard.step("Address", address={"street": "X"})) == [("INVALID_STATE", "input.draftId")]
    assert faults(await wizard.confirm()) == [("INVALID_STATE", "input.draftId")]


async def test_a_draft_lives_a_day_after_the_last_touch(
    api: Api, house: House, database: Database, moved_clock: None
) -> None:
    wizard = await Wizard.begin(api, house.admin)
    clock.set_clock("+86300")
    assert (await wizard.step("Address", address={"street": "X"}))["errors"] == []
    clock.set_clock("+172600")
    assert (await wizard.read("status"))["status"] == "PARTIAL"
    clock.set_clock("+172800")
    assert (await wizard.read("status"))["status"] == "EXPIRED"
    assert faults(await wizard.step("Address", address={"street": "Y"})) == [("DRAFT_EXPIRED", "input.draftId")]
    assert (await api.data(LIST, house.admin))["customerDrafts"]["totalCount"] == 0
    assert (await api.data(LIST, house.admin, status=["EXPIRED"]))["customerDrafts"]["totalCount"] == 1
    async with database.transaction(house.tenant.id) as session:
        await drafts.clean(session, house.tenant.id)
    assert await wizard.read("status address { street }") == {"status": "EXPIRED", "address": None}
    clock.set_clock(f"+{172800 + 31 * 86400}")
    async with database.transaction(house.tenant.id) as session:
        await drafts.clean(session, house.tenant.id)
    assert await wizard.read("status") is None


async def test_the_network_password_is_nowhere_in_clear(api: Api, house: House, owner: Database) -> None:
    wizard = await (await Wizard.begin(api, house.admin)).fill(await house.package())
    made = await wizard.confirm()
    assert made["credentials"]["password"] == "a-Password-1"
    async with owner.read(house.tenant.id) as session:
        tables = await session.scalars(
            text("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
        )
        for table in tables.all():
            rows = await session.scalar(text(f"SELECT coalesce(string_agg(t::text, ' '), '') FROM {table} t"))
            assert "a-Password-1" not in rows, table
            assert made["credentials"]["loginPassword"] not in rows, table


async def test_who_may_use_the_wizard(api: Api, house: House) -> None:
    for role in (Role.SUPER_ADMIN, Role.ADMIN, Role.MANAGER, Role.STAFF, Role.OPERATOR, Role.SUB_OPERATOR):
        await Wizard.begin(api, await house.operator(role))
    accountant = await house.operator(Role.ACCOUNTANT)
    answer = await api("mutation { customerDraftStart { draft { id } } }", accountant)
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    answer = await api("mutation { customerDraftStart { draft { id } } }", None)
    assert answer["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"

"""Permissions that end, and permissions for the customers of one zone."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain import viewers
from ispgraph.domain.models import AuditEntry, Customer, CustomerStatus, Operator, Role, Zone
from ispgraph.domain.permissions import IN_ZONES
from tests.api import Api
from tests.crowd import customer, service
from tests.factories import House
from tests.test_operators import codes

GRANT = """mutation ($input: OperatorGrantInput!) { operatorGrant(input: $input) {
  grant { id permission zone { name } expiresAt inForce operator { id } grantedBy { id } } errors { code field } } }"""
REVOKE = "mutation ($id: ID!) { operatorRevokeGrant(grantId: $id) { grant { inForce endedAt } errors { code field } } }"
SUSPEND = """mutation ($id: ID!) { customerSuspend(input: {customerId: $id, reason: OTHER}) {
  customer { status } errors { code field } } }"""
ROUTER = """mutation { routerAdd(input: {name: "R", address: "192.0.2.9", username: "u", password: "p"}) {
  errors { code } } }"""


@pytest.fixture(autouse=True)
def believed_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewers, "_BELIEVED_SECONDS", 0.0)


@pytest.fixture
async def clerk(house: House) -> Operator:
    """Somebody who may look and nothing else."""
    return await house.operator(Role.STAFF, permissions=["VIEW_CUSTOMERS"])


async def grant(api: Api, by: Operator, to: Operator, permission: str, **fields: Any) -> dict[str, Any]:
    given = {"operatorId": ids.encode("opr", to.id), "permission": permission, **fields}
    found: dict[str, Any] = (await api.data(GRANT, by, input=given))["operatorGrant"]
    return found


async def suspend(api: Api, by: Operator, whom: Customer) -> list[tuple[str, str]] | str:
    """The faults, or the code with which it was refused before it was looked at."""
    answer = await api(SUSPEND, by, id=ids.encode("cus", whom.id))
    if "errors" in answer:
        return str(answer["errors"][0]["extensions"]["code"])
    return codes(answer["data"]["customerSuspend"])


async def line(house: House, zone: Zone | None, name: str, **fields: Any) -> Customer:
    """A customer in a zone, with a service that can be suspended."""
    package = await house.package(name)
    someone = customer(house, name, zone_id=zone.id if zone else None, status=CustomerStatus.ACTIVE, **fields)
    await house.add(someone, service(someone, package.id, username=name))
    return someone


def in_hours(hours: int) -> str:
    return (clock.now() + timedelta(hours=hours)).isoformat()


@pytest.mark.usefixtures("moved_clock")
async def test_a_grant_ends(api: Api, house: House, clerk: Operator, database: Database) -> None:
    someone, other = await line(house, None, "one"), await line(house, None, "two")
    assert await suspend(api, clerk, someone) == "FORBIDDEN"
    made = await grant(api, house.admin, clerk, "SUSPEND_CUSTOMERS", expiresAt=in_hours(2))
    assert made["errors"] == []
    assert made["grant"]["zone"] is None
    assert made["grant"]["inForce"] is True
    assert made["grant"]["grantedBy"] == {"id": ids.encode("opr", house.admin.id)}
    seen = "{ viewer { permissions operator { permissions grants { permission } } } }"
    viewer = (await api.data(seen, clerk))["viewer"]
    assert viewer["permissions"] == ["SUSPEND_CUSTOMERS", "VIEW_CUSTOMERS"]
    assert viewer["operator"] == {"permissions": ["VIEW_CUSTOMERS"], "grants": [{"permission": "SUSPEND_CUSTOMERS"}]}
    assert await suspend(api, clerk, someone) == []
    clock.set_clock("+7201")
    assert await suspend(api, clerk, other) == "FORBIDDEN"
    viewer = (await api.data(seen, clerk))["viewer"]
    assert (viewer["permissions"], viewer["operator"]["grants"]) == (["VIEW_CUSTOMERS"], [])
    ended = await api.data(REVOKE, house.admin, id=made["grant"]["id"])
    assert codes(ended["operatorRevokeGrant"]) == [("INVALID_STATE", "grantId")]
    async with database.read(house.tenant.id) as session:
        [entry] = (await session.scalars(select(AuditEntry).where(AuditEntry.action == "operator.grant"))).all()
    assert (entry.operator_id, entry.subject_id) == (house.admin.id, clerk.id)
    assert (entry.details["permission"], entry.details["zone"]) == ("SUSPEND_CUSTOMERS", None)


async def test_a_grant_for_a_zone_holds_there_alone(api: Api, house: House, clerk: Operator) -> None:
    north, south = await house.zone("North"), await house.zone("South")
    here, there, nowhere = [
        await line(house, zone, name) for name, zone in (("n", north), ("s", south), ("o", None))
    ]  # fmt: skip
    for permission in ("SUSPEND_CUSTOMERS", "ACTIVATE_CUSTOMERS", "RECORD_PAYMENTS", "GENERATE_BILLS"):
        made = await grant(api, house.admin, clerk, permission, zoneId=ids.encode("zon", north.id))
        assert (made["errors"], made["grant"]["zone"]) == ([], {"name": "North"})
    # It is no permission everywhere, and nothing that asks for one takes it for that.
    assert (await api.data("{ viewer { permissions } }", clerk))["viewer"]["permissions"] == ["VIEW_CUSTOMERS"]
    assert await suspend(api, clerk, there) == [("NOT_PERMITTED", "input.customerId")]
    assert await suspend(api, clerk, nowhere) == [("NOT_PERMITTED", "input.customerId")]
    assert await suspend(api, clerk, here) == []
    many = """mutation ($ids: [ID!]!) { customersActivate(input: {customerIds: $ids}) {
      results { customer { name } errors { code } } } }"""
    keys = [ids.encode("cus", each.id) for each in (here, there)]
    done = (await api.data(many, clerk, ids=keys))["customersActivate"]["results"]
    assert [(each["customer"], [error["code"] for error in each["errors"]]) for each in done] == [
        ({"name": "n"}, []),
        (None, ["NOT_PERMITTED"]),
    ]
    pay = """mutation ($id: ID!) { customerRecordAdvancePayment(input: {customerId: $id, amount: "5", method: CASH}) {
      errors { code field } } }"""
    paid = [
        codes((await api.data(pay, clerk, id=key))["customerRecordAdvancePayment"]) for key in keys
    ]  # fmt: skip
    assert paid == [[], [("NOT_PERMITTED", "input.customerId")]]
    # What looks at no customer is refused: a run bills the whole house, the list shows all of them.
    for document in (
        "{ billingRuns { totalCount } }",
        "mutation { billingRunStart(input: {dryRun: true}) { errors { code } } }",
    ):
        answer = await api(document, clerk)
        assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN", document
    # With the next zone both are his.
    await grant(api, house.admin, clerk, "SUSPEND_CUSTOMERS", zoneId=ids.encode("zon", south.id))
    assert await suspend(api, clerk, there) == []


async def test_who_sees_the_customers_of_a_zone_sees_no_others(api: Api, house: House) -> None:
    north, south = await house.zone("North"), await house.zone("South")
    here, there, nowhere = [
        await line(house, zone, name) for name, zone in (("n", north), ("s", south), ("o", None))
    ]  # fmt: skip
    blind = await house.operator(Role.STAFF, permissions=[])
    bill = """mutation ($id: ID!) { customerGenerateBill(input: {customerId: $id, amount: "5"}) {
      invoice { id } errors { code } } }"""
    papers = [
        (await api.data(bill, house.admin, id=ids.encode("cus", each.id)))["customerGenerateBill"]["invoice"]["id"]
        for each in (here, there)
    ]
    looks = "{ customers { totalCount nodes { name } } }"
    assert (await api(looks, blind))["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    zone = ids.encode("zon", north.id)
    for permission in ("VIEW_CUSTOMERS", "SUSPEND_CUSTOMERS"):
        assert (await grant(api, house.admin, blind, permission, zoneId=zone))["errors"] == []
    assert (await api.data(looks, blind))["customers"] == {"totalCount": 1, "nodes": [{"name": "n"}]}
    keys = [ids.encode("cus", each.id) for each in (here, there, nowhere)]
    one = """query ($id: ID!) { customer(by: {id: $id}) { name allowedActions invoices { totalCount }
      timeline { nodes { kind } } jobs { totalCount } service { username } } }"""
    found = [(await api.data(one, blind, id=key))["customer"] for key in keys]
    assert found[1:] == [None, None]
    assert (found[0]["name"], found[0]["allowedActions"]) == ("n", ["SUSPEND_CUSTOMERS"])
    assert found[0]["invoices"] == {"totalCount": 1}
    assert found[0]["timeline"]["nodes"]
    nodes = "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }"
    shown = (await api.data(nodes, blind, ids=[*keys, *papers]))["nodes"]
    assert [row and row["id"] for row in shown] == [keys[0], None, None, papers[0], None]
    # What is about all of them stays closed, and what is done by the other permission stays as it was.
    for closed in (
        "{ invoices { totalCount } }",
        "{ messages { totalCount } }",
        "{ jobs { totalCount } }",
        "{ customerStats { total } }",
        "{ customerTransfers { totalCount } }",
    ):
        assert (await api(closed, blind))["errors"][0]["extensions"]["code"] == "FORBIDDEN", closed
    assert await suspend(api, blind, there) == [("NOT_PERMITTED", "input.customerId")]
    assert await suspend(api, blind, here) == []
    # Nobody else's rights are read off the same statement.
    assert (await api.data(looks, house.admin))["customers"]["totalCount"] == 3
    await grant(api, house.admin, blind, "VIEW_CUSTOMERS", zoneId=ids.encode("zon", south.id))
    assert (await api.data(looks, blind))["customers"]["totalCount"] == 2


async def test_a_question_by_a_permission_for_a_zone(api: Api, house: House, clerk: Operator) -> None:
    north, south = await house.zone("North"), await house.zone("South")
    here, there = await line(house, north, "n"), await line(house, south, "s")
    other = ids.encode("pkg", (await house.package("Faster")).id)
    await grant(api, house.admin, clerk, "CHANGE_PACKAGE", zoneId=ids.encode("zon", north.id))
    # Both at a time, and what needs no permission between them: each is judged for itself.
    asked = """query ($a: ID!, $b: ID!, $package: ID!) {
      here: changePackageQuote(customerId: $a, packageId: $package) { token }
      viewer { permissions }
      there: changePackageQuote(customerId: $b, packageId: $package) { token } }"""
    keys = {"a": ids.encode("cus", here.id), "b": ids.encode("cus", there.id), "package": other}
    answer = await api(asked, clerk, **keys)
    assert [error["path"] for error in answer["errors"]] == [["there"]]
    assert "zones" in answer["errors"][0]["message"]
    same = await api(asked, clerk, **(keys | {"b": keys["a"]}))
    assert "errors" not in same, same


async def test_a_role_that_holds_it_everywhere_is_not_narrowed(api: Api, house: House) -> None:
    manager = await house.operator(Role.MANAGER)
    north = await house.zone("North")
    someone = await line(house, None, "anywhere")
    await grant(api, house.admin, manager, "SUSPEND_CUSTOMERS", zoneId=ids.encode("zon", north.id))
    assert await suspend(api, manager, someone) == []


async def test_the_same_grant_again_takes_the_place_of_the_first(api: Api, house: House, clerk: Operator) -> None:
    first = await grant(api, house.admin, clerk, "SUSPEND_CUSTOMERS", expiresAt=in_hours(1))
    await grant(api, house.admin, clerk, "SUSPEND_CUSTOMERS", expiresAt=in_hours(5))
    document = "query ($id: ID!) { node(id: $id) { ... on OperatorGrant { inForce } } viewer { operator { id } } }"
    assert (await api.data(document, house.admin, id=first["grant"]["id"]))["node"] == {"inForce": False}
    someone = await line(house, None, "one")
    assert await suspend(api, clerk, someone) == []
    listed = "query { operators(role: STAFF) { grants { id } } }"
    [row] = (await api.data(listed, house.admin))["operators"]
    [kept] = row["grants"]
    ended = (await api.data(REVOKE, house.admin, id=kept["id"]))["operatorRevokeGrant"]
    assert ended["errors"] == []
    assert ended["grant"]["inForce"] is False
    assert ended["grant"]["endedAt"]
    assert await suspend(api, clerk, await line(house, None, "two")) == "FORBIDDEN"


async def test_nobody_passes_on_what_was_lent(api: Api, house: House) -> None:
    reseller = await house.operator(Role.OPERATOR)
    sub = await house.operator(Role.SUB_OPERATOR, reseller)
    zone = ids.encode("zon", (await house.zone()).id)
    await grant(api, house.admin, reseller, "REFUND_PAYMENTS", expiresAt=in_hours(1))
    await grant(api, house.admin, reseller, "GENERATE_BILLS", zoneId=zone)
    for permission in ("REFUND_PAYMENTS", "GENERATE_BILLS", "MANAGE_ROUTERS"):
        for limits in ({"expiresAt": in_hours(1)}, {"expiresAt": in_hours(1), "zoneId": zone}):
            given = await grant(api, reseller, sub, permission, **limits)
            refused = [("NOT_PERMITTED", "input.permission")]
            assert codes(given)[:1] == refused, (permission, limits)
        changed = await api.data(
            "mutation ($id: ID!, $p: [Permission!]!) { operatorSetPermissions(operatorId: $id, permissions: $p) {"
            " errors { code field } } }",
            reseller,
            id=ids.encode("opr", sub.id),
            p=[permission],
        )
        assert codes(changed["operatorSetPermissions"]) == [("NOT_PERMITTED", "permissions")]
        made = await api.data(
            "mutation ($input: OperatorInput!) { operatorCreate(input: $input) { errors { code field } } }",
            reseller,
            input={"name": "N", "email": "n@example.net", "password": "long enough!", "role": "STAFF",
                   "permissions": [permission]},
        )  # fmt: skip
        assert codes(made["operatorCreate"]) == [("NOT_PERMITTED", "input.permissions")]
    assert (await grant(api, reseller, sub, "SEND_SMS", expiresAt=in_hours(1)))["errors"] == []


async def test_what_cannot_be_granted(api: Api, house: House, other_house: House, clerk: Operator) -> None:
    zone = ids.encode("zon", (await house.zone()).id)
    elsewhere = ids.encode("zon", (await other_house.zone()).id)
    reseller, rival = await house.operator(Role.OPERATOR), await house.operator(Role.OPERATOR)
    own = {"expiresAt": in_hours(1)}
    cases: list[tuple[Operator, Operator, str, dict[str, Any], list[tuple[str, str]]]] = [
        (house.admin, clerk, "SEND_SMS", {}, [("REQUIRED", "input.expiresAt")]),
        (house.admin, clerk, "SEND_SMS", {"expiresAt": in_hours(-1)}, [("INVALID", "input.expiresAt")]),
        (house.admin, clerk, "MANAGE_ROUTERS", {"zoneId": zone}, [("INVALID", "input.zoneId")]),
        (house.admin, clerk, "CREATE_CUSTOMERS", {"zoneId": zone}, [("INVALID", "input.zoneId")]),
        (house.admin, clerk, "SEND_SMS", {"zoneId": elsewhere}, [("NOT_FOUND", "input.zoneId")]),
        (house.admin, clerk, "SEND_SMS", {"zoneId": "zon_1"}, [("NOT_FOUND", "input.zoneId")]),
        (house.admin, house.admin, "SEND_SMS", own, [("NOT_PERMITTED", "input.operatorId")]),
        (house.admin, other_house.admin, "SEND_SMS", own, [("NOT_FOUND", "input.operatorId")]),
        (reseller, reseller, "SEND_SMS", own, [("NOT_PERMITTED", "input.operatorId")]),
        (reseller, rival, "SEND_SMS", own, [("NOT_FOUND", "input.operatorId")]),
    ]
    for who, to, permission, fields, outcome in cases:
        assert codes(await grant(api, who, to, permission, **fields)) == outcome
    made = await grant(api, house.admin, rival, "REFUND_PAYMENTS", **own)
    for who, code in ((reseller, "NOT_FOUND"), (rival, "NOT_PERMITTED"), (other_house.admin, "NOT_FOUND")):
        ended = (await api.data(REVOKE, who, id=made["grant"]["id"]))["operatorRevokeGrant"]
        assert codes(ended) == [(code, "grantId")]
    unknown = (await api.data(REVOKE, house.admin, id=ids.encode("gra", uuid4())))["operatorRevokeGrant"]
    assert codes(unknown) == [("NOT_FOUND", "grantId")]
    answer = await api(ROUTER, rival)
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert IN_ZONES

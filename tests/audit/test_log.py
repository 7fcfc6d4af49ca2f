"""Reading the record of who did what, and what is shown only after it is on record."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from ispgraph import clock, ids, sealing
from ispgraph.db import Database
from ispgraph.domain import reveal, secrets
from ispgraph.domain.audit_chain import Keys
from ispgraph.domain.models import AuditEntry, Operator, Role, Service
from ispgraph.domain.permissions import DEFAULTS, Permission
from ispgraph.settings import Settings
from tests.api import Api
from tests.crowd import customer, service
from tests.factories import NETWORK_KEY, House
from tests.statements import counted
from tests.tickets.counter import cus, faults, opr

LOG = """query ($where: AuditWhere, $first: Int, $after: String) {
  auditLog(where: $where, first: $first, after: $after) { totalCount pageInfo { hasNextPage endCursor }
  nodes { id at action subjectId details sequence operator { id name } } } }"""
NODE = "query ($id: ID!) { node(id: $id) { id ... on AuditEntry { action sequence } } }"
REVEAL = """mutation ($customerId: ID!, $serviceId: ID) {
  done: customerRevealNetworkPassword(customerId: $customerId, serviceId: $serviceId) { secret
  errors { code message field } } }"""
TIMELINE = """query ($id: ID!) { customer(by: {id: $id}) { timeline(first: 1) { nodes {
  kind summary actor before after } } } }"""
START = datetime(2026, 3, 10, 6, 0, tzinfo=UTC)


async def actions(api: Api, who: Operator, **where: Any) -> list[str]:
    page = (await api.data(LOG, who, where=where, first=100))["auditLog"]
    assert page["totalCount"] == len(page["nodes"])
    return [node["action"] for node in page["nodes"]]


async def entry(house: House, action: str, minute: int, by: Operator | None = None, subject: Any = None) -> AuditEntry:
    at = START + timedelta(minutes=minute)
    key = ids.UUID(int=ids.lowest(at).int | 7 << 76 | 2 << 62 | minute)
    row = AuditEntry(
        id=key, at=at, action=action, operator_id=by and by.id, subject_id=subject and subject.id, details={"n": minute}
    )
    await house.add(row)
    return row


async def test_the_log_is_narrowed_and_read_by_pages(
    api: Api, house: House, database: Database, settings: Settings
) -> None:
    someone = customer(house, "Someone")
    await house.add(someone)
    clerk = await house.operator(Role.STAFF)
    admin = house.admin
    await entry(house, "customer.update", 1, clerk, someone)
    await entry(house, "customers.export", 2, admin)
    await entry(house, "invoice.void", 3, admin, someone)
    await entry(house, "draft.start", 4, clerk, someone)
    await entry(house, "draft.confirm", 5, clerk, someone)
    await sealing.seal(database, Keys.of(settings))
    last = await entry(house, "Customer_.x%", 6)

    assert await actions(api, admin, action="customer.") == ["customer.update"]
    assert await actions(api, admin, action="customer") == ["customers.export", "customer.update"]
    assert await actions(api, admin, action="Customer_") == ["Customer_.x%"], "no pattern"
    assert await actions(api, admin, action="%") == []
    assert await actions(api, admin, operatorId=opr(clerk)) == ["draft.confirm", "draft.start", "customer.update"]
    assert await actions(api, admin, customerId=cus(someone), action="invoice.void") == ["invoice.void"]
    assert len(await actions(api, admin, subjectId=cus(someone))) == 4
    third = (START + timedelta(minutes=3)).isoformat()
    assert await actions(api, admin, to=third) == ["customers.export", "customer.update"]
    assert (await actions(api, admin, **{"from": third}))[-1] == "invoice.void"
    assert await actions(api, admin, **{"from": third, "to": (START + timedelta(minutes=4)).isoformat()}) == [
        "invoice.void"
    ]
    assert await actions(api, admin, to="9999-12-31T23:59:59Z", **{"from": "1970-01-01T00:00:00Z"})

    found, page = [], {"first": 4, "where": {}}
    with counted(database) as seen:
        for _ in range(2):
            answer = (await api.data(LOG, admin, **page))["auditLog"]
            found += answer["nodes"]
            page["after"] = answer["pageInfo"]["endCursor"]
    assert (len(seen), answer["pageInfo"]["hasNextPage"], len(found)) == (2, False, 6)
    assert found[0] | {"id": "", "at": ""} == {
        "id": "",
        "at": "",
        "action": "Customer_.x%",
        "subjectId": None,
        "details": {"n": 6},
        "sequence": None,
        "operator": None,
    }
    of_someone = cus(someone)
    kinds = {node["action"]: node["subjectId"] for node in found}
    assert (kinds["customer.update"], kinds["draft.confirm"]) == (of_someone, of_someone)
    assert kinds["draft.start"] == ids.encode("dft", someone.id)
    assert [node["sequence"] for node in found] == [None, "5", "4", "3", "2", "1"]
    name = ids.encode("aud", last.id)
    assert await api.data(NODE, admin, id=name) == {"node": {"id": name, "action": "Customer_.x%", "sequence": None}}


async def test_who_may_read_the_log(api: Api, house: House, other_house: House) -> None:
    reads = [*DEFAULTS[Role.OPERATOR], Permission.VIEW_AUDIT_LOG]
    reseller = await house.operator(Role.OPERATOR, permissions=[each.value for each in reads])
    below = await house.operator(Role.SUB_OPERATOR, reseller)
    other = await house.operator(Role.OPERATOR)
    await entry(house, "a.own", 1, reseller)
    await entry(house, "a.below", 2, below)
    await entry(house, "a.other", 3, other)
    mine = await entry(house, "a.product", 4)
    await entry(other_house, "a.foreign", 5, other_house.admin)
    assert await actions(api, reseller, action="a.") == ["a.below", "a.own"]
    assert await actions(api, house.admin, action="a.") == ["a.product", "a.other", "a.below", "a.own"]
    assert (await api.data(NODE, reseller, id=ids.encode("aud", mine.id)))["node"] is None
    refused = await api(LOG, below)
    assert refused["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert (await api.data(NODE, below, id=ids.encode("aud", mine.id)))["node"] is None


@pytest.mark.parametrize(
    ("where", "field"),
    [
        ({"subjectId": "x"}, "subjectId"),
        ({"operatorId": "cus_1"}, "operatorId"),
        ({"action": " "}, "action"),
        ({"action": "x" * 61}, "action"),
        ({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "to"),
    ],
)
async def test_what_is_wrong_is_named(api: Api, house: House, where: dict[str, Any], field: str) -> None:
    error = (await api(LOG, house.admin, where=where))["errors"][0]
    assert (error["extensions"]["code"], error["extensions"]["field"]) == ("BAD_REQUEST", ["where", field])


async def subscribed(house: House) -> tuple[Any, Service]:
    """A customer with a service that has a password."""
    someone, package = customer(house, "Someone"), await house.package()
    await house.add(someone)
    line = service(someone, package.id)
    line.password = secrets.seal(NETWORK_KEY, "hush-hush", secrets.service_password(house.tenant.id, line.id))
    await house.add(line)
    return someone, line


async def revealed(api: Api, who: Operator, someone: Any, line: Any = None) -> dict[str, Any]:
    of = ids.encode("svc", line.id) if line else None
    done: dict[str, Any] = (await api.data(REVEAL, who, customerId=cus(someone), serviceId=of))["done"]
    return done


async def test_a_password_is_shown_and_that_is_on_record(api: Api, house: House, other_house: House) -> None:
    someone, line = await subscribed(house)
    for of in (None, line):
        assert await revealed(api, house.admin, someone, of) == {"secret": "hush-hush", "errors": []}
    (node,) = (await api.data(TIMELINE, house.admin, id=cus(someone)))["customer"]["timeline"]["nodes"]
    assert node == {
        "kind": "SECRET_READ",
        "summary": "Network password read",
        "actor": house.admin.name,
        "before": None,
        "after": {"service": str(line.id), "username": line.username},
    }
    assert await actions(api, house.admin, action=reveal.ACTION) == [reveal.ACTION] * 2
    assert "hush" not in str(await api.data(LOG, house.admin, first=100))

    async with house.database.transaction(house.tenant.id) as session:
        await session.execute(text("UPDATE services SET password = ''"))
    none = await revealed(api, house.admin, someone)
    assert (none["secret"], faults(none)) == (None, [("INVALID_STATE", "customerId")])
    clerk = await house.operator(Role.STAFF)
    assert (await api(REVEAL, clerk, customerId=cus(someone)))["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    for who in (
        await house.operator(Role.OPERATOR, permissions=[Permission.REVEAL_SECRETS.value]),
        other_house.admin,
    ):
        missed = await revealed(api, who, someone)
        assert (missed["secret"], faults(missed)) == (None, [("NOT_FOUND", "customerId")])
    strange = await revealed(api, house.admin, someone, someone)
    assert faults(strange) == [("NOT_FOUND", "serviceId")]
    assert await actions(api, house.admin, action=reveal.ACTION) == [reveal.ACTION] * 2, "what was refused was not read"


async def test_nobody_reads_many_passwords_at_once(api: Api, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reveal, "MOST", 3)
    someone, _ = await subscribed(house)
    now = clock.now()
    at_once = await asyncio.gather(*(revealed(api, house.admin, someone) for _ in range(6)))
    assert (
        sorted(done["secret"] or faults(done)[0][0] for done in at_once) == ["LIMIT_EXCEEDED"] * 3 + ["hush-hush"] * 3
    )
    another = await house.operator(Role.ADMIN)
    assert (await revealed(api, another, someone))["secret"] == "hush-hush"
    for minutes, expected in ((9, None), (11, "hush-hush")):
        monkeypatch.setattr(clock, "now", lambda minutes=minutes: now + timedelta(minutes=minutes))
        assert (await revealed(api, house.admin, someone))["secret"] == expected

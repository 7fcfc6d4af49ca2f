"""Packages, zones, custom fields and routers, through the API."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import event, select

from ispgraph import ids
from ispgraph.db import Database
from ispgraph.domain import packages
from ispgraph.domain.models import (
    AuditEntry,
    BillingCycle,
    ConnectionType,
    Customer,
    CustomerStatus,
    Job,
    JobStatus,
    Role,
    Service,
    ServiceStatus,
)
from tests import factories
from tests.api import Api
from tests.factories import House
from tests.statements import counted

ERRORS = "errors { code field message }"
PACKAGE = f"""package {{ id name description active connectionTypes downloadKbps uploadKbps
  price {{ amount currency }} dailyRate {{ amount }} billingCycle validityDays dataQuotaBytes timeQuotaSeconds
  fup {{ thresholdBytes thresholdSeconds downloadKbps uploadKbps resetPeriod notifyAtPercent }} customerCount }}
  jobs {{ id }} {ERRORS}"""
PACKAGE_CREATE = f"mutation ($input: PackageInput!) {{ packageCreate(input: $input) {{ {PACKAGE} }} }}"
PACKAGE_UPDATE = f"""mutation ($packageId: ID!, $input: PackageInput!) {{
  packageUpdate(packageId: $packageId, input: $input) {{ {PACKAGE} }} }}"""
ZONE_CREATE = f"""mutation ($input: ZoneInput!) {{ zoneCreate(input: $input) {{
  zone {{ id name code parent {{ id name }} customerCount }} {ERRORS} }} }}"""
FIELD_DEFINE = f"""mutation ($input: CustomFieldDefinitionInput!) {{ customFieldDefine(input: $input) {{
  field {{ id key label type required options }} {ERRORS} }} }}"""
HOME = {
    "name": "Home 20",
    "connectionTypes": ["PPPOE", "STATIC_IP"],
    "downloadKbps": 20_000,
    "uploadKbps": 5_000,
    "price": "500.00",
}
SLOW = {"thresholdBytes": "85899345920", "downloadKbps": 2_000, "uploadKbps": 1_000}


async def created(api: Api, house: House, **changed: Any) -> dict[str, Any]:
    """The payload of packageCreate by the admin."""
    data = await api.data(PACKAGE_CREATE, house.admin, input=HOME | changed)
    payload: dict[str, Any] = data["packageCreate"]
    return payload


def found(payload: dict[str, Any]) -> set[tuple[str, ...]]:
    """The errors of a payload, as code and path."""
    return {(error["code"], *error["field"]) for error in payload["errors"]}


async def customer(house: House, number: int, **fields: Any) -> Customer:
    """A customer of the admin, or of `operator_id`."""
    row = Customer(
        **{
            "account_number": str(number),
            "name": f"Customer {number}",
            "mobile": "+8801712345678",
            "operator_id": house.admin.id,
            "status": CustomerStatus.ACTIVE,
        }
        | fields
    )
    await house.add(row)
    return row


async def test_a_package_has_defaults_and_comes_back_whole(api: Api, house: House) -> None:
    payload = await created(api, house)
    assert payload["errors"] == []
    assert payload["jobs"] == []
    package = payload["package"]
    assert package["price"] == {"amount": "500.00", "currency": "USD"}
    assert (package["billingCycle"], package["validityDays"], package["active"]) == ("MONTHLY", 30, True)
    assert package["fup"] is None
    assert package["customerCount"] == 0
    full = HOME | {
        "name": "  Fast\u0065\u0301 ",
        "description": "Two\r\nlines",
        "dailyRate": "20.5",
        "dataQuotaBytes": str(2**62),
        "timeQuotaSeconds": 2**31 - 1,
        "fup": SLOW | {"resetPeriod": "DAY", "notifyAtPercent": 100},
        "validityDays": 3660,
    }
    package = (await created(api, house, **full))["package"]
    assert package["name"] == "Fast\u00e9"
    assert package["description"] == "Two\nlines"
    assert package["dailyRate"] == {"amount": "20.50"}
    assert package["dataQuotaBytes"] == str(2**62)
    assert package["fup"] == {"thresholdSeconds": None, **SLOW, "resetPeriod": "DAY", "notifyAtPercent": 100}


async def test_every_fault_of_a_package_is_told_at_once(api: Api, house: House) -> None:
    await created(api, house)
    fup = {"downloadKbps": 20_001, "uploadKbps": 0, "thresholdSeconds": 0, "notifyAtPercent": 101}
    payload = await created(
        api,
        house,
        connectionTypes=["PPPOE", "PPPOE"],
        uploadKbps=0,
        price="1.001",
        dailyRate="-1",
        validityDays=3661,
        dataQuotaBytes="0",
        timeQuotaSeconds=-1,
        fup=fup,
    )
    assert payload["package"] is None
    assert found(payload) == {
        ("TAKEN", "input", "name"),
        *(
            ("INVALID", "input", name)
            for name in (
                "connectionTypes",
                "uploadKbps",
                "price",
                "dailyRate",
                "validityDays",
                "dataQuotaBytes",
                "timeQuotaSeconds",
            )
        ),
        *(
            ("INVALID", "input", "fup", name)
            for name in ("downloadKbps", "uploadKbps", "thresholdSeconds", "notifyAtPercent")
        ),
    }


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"name": " "}, ("REQUIRED", "input", "name")),
        ({"name": "x" * 101}, ("INVALID", "input", "name")),
        ({"name": "a\u202eb"}, ("INVALID", "input", "name")),
        ({"connectionTypes": []}, ("REQUIRED", "input", "connectionTypes")),
        ({"downloadKbps": 100_000_001}, ("INVALID", "input", "downloadKbps")),
        ({"price": "-0.01"}, ("INVALID", "input", "price")),
        ({"price": "99999999999999999"}, ("INVALID", "input", "price")),
        ({"validityDays": 0}, ("INVALID", "input", "validityDays")),
        ({"fup": {"downloadKbps": 1, "uploadKbps": 1}}, ("REQUIRED", "input", "fup", "thresholdBytes")),
        ({"fup": SLOW | {"downloadKbps": 20_000, "uploadKbps": 5_000}}, ("INVALID", "input", "fup", "downloadKbps")),
        ({"fup": SLOW | {"notifyAtPercent": 0}}, ("INVALID", "input", "fup", "notifyAtPercent")),
    ],
)
async def test_a_package_is_refused(api: Api, house: House, changed: dict[str, Any], error: tuple[str, ...]) -> None:
    payload = await created(api, house, **changed)
    assert found(payload) == {error}


@pytest.mark.parametrize(
    ("currency", "fits", "shown", "unfit"), [("JPY", "500", "500", "0.5"), ("KWD", "0.005", "0.005", "0.0005")]
)
async def test_prices_have_the_decimals_of_the_currency(
    api: Api, owner: Database, database: Database, currency: str, fits: str, shown: str, unfit: str
) -> None:
    abroad = await factories.house(owner, database, "abroad", currency=currency)
    assert (await created(api, abroad, price=fits))["package"]["price"] == {"amount": shown, "currency": currency}
    assert found(await created(api, abroad, name="B", price=unfit)) == {("INVALID", "input", "price")}


async def test_updating_replaces_every_term_and_the_same_terms_change_nothing(
    api: Api, database: Database, house: House
) -> None:
    before = (await created(api, house, fup=SLOW, description="Old"))["package"]
    other = (await created(api, house, name="Other"))["package"]

    async def update(package_id: str, **changed: Any) -> dict[str, Any]:
        variables = {"packageId": package_id, "input": HOME | changed}
        payload: dict[str, Any] = (await api.data(PACKAGE_UPDATE, house.admin, **variables))["packageUpdate"]
        return payload

    after = (await update(before["id"], downloadKbps=30_000, active=False))["package"]
    assert (after["downloadKbps"], after["fup"], after["description"], after["active"]) == (30_000, None, None, False)
    again = await update(before["id"], downloadKbps=30_000, active=False)
    assert (again["package"], again["errors"]) == (after, [])
    async with database.read(house.tenant.id) as session:
        trail = list(await session.scalars(select(AuditEntry).where(AuditEntry.action == "package.update")))
    assert [entry.details["download_kbps"] for entry in trail] == [[20_000, 30_000]]
    assert trail[0].details["fup_reset_period"] == ["MONTH", None]
    assert found(await update(other["id"], name="Home 20")) == {("TAKEN", "input", "name")}
    assert found(await update(other["id"], name="Other", uploadKbps=0)) == {("INVALID", "input", "uploadKbps")}


async def test_packages_are_listed_active_and_by_connection_type_cheapest_first(api: Api, house: House) -> None:
    for name, price, kinds, active in (
        ("Dear", "900", ["PPPOE"], True),
        ("Cheap", "100", ["HOTSPOT"], True),
        ("Gone", "50", ["PPPOE"], False),
    ):
        await created(api, house, name=name, price=price, connectionTypes=kinds, active=active)
    document = """{ offered: packages { name } all: packages(activeOnly: false) { name }
                    pppoe: packages(connectionType: PPPOE) { name } }"""
    shown = await api.data(document, house.admin)
    assert {key: [row["name"] for row in rows] for key, rows in shown.items()} == {
        "offered": ["Cheap", "Dear"],
        "all": ["Gone", "Cheap", "Dear"],
        "pppoe": ["Dear"],
    }


async def test_two_at_once_cannot_take_one_name(api: Api, house: House) -> None:
    async def zone() -> dict[str, Any]:
        payload: dict[str, Any] = (await api.data(ZONE_CREATE, house.admin, input={"name": "North", "code": "N"}))[
            "zoneCreate"
        ]
        return payload

    for make in (lambda: created(api, house), zone):
        payloads = await asyncio.gather(*(make() for _ in range(8)))
        assert sum(not payload["errors"] for payload in payloads) == 1
        for payload in payloads:
            assert found(payload) <= {("TAKEN", "input", "name"), ("TAKEN", "input", "code")}


async def test_the_unique_constraint_itself_answers_taken(database: Database, house: House) -> None:
    """The race without luck: the second looked before the first had committed."""
    viewer = await house.viewer()
    terms = packages.Terms(
        name="Raced",
        description=None,
        connection_types=[ConnectionType.PPPOE],
        download_kbps=2,
        upload_kbps=1,
        price=Decimal(1),
        billing_cycle=BillingCycle.MONTHLY,
        validity_days=30,
        daily_rate=None,
        data_quota_bytes=None,
        time_quota_seconds=None,
        fup=None,
        active=True,
    )
    inserting = asyncio.Event()

    def notice(_conn: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("INSERT INTO packages"):
            inserting.set()

    async def second() -> None:
        async with database.transaction(house.tenant.id) as session:
            await packages.create(session, terms, by=viewer)

    async with database.transaction(house.tenant.id) as session:
        await packages.create(session, terms, by=viewer)
        event.listen(database.engine.sync_engine, "before_cursor_execute", notice)
        waiting = asyncio.create_task(second())
        await asyncio.wait_for(inserting.wait(), 10)
    with pytest.raises(Exception, match="already taken") as raised:
        await waiting
    assert raised.value.faults[0].field == ("input", "name")  # type: ignore[attr-defined]


async def test_zones_lie_within_zones_of_the_same_tenant(api: Api, house: House, other_house: House) -> None:
    async def create(**given: Any) -> dict[str, Any]:
        payload: dict[str, Any] = (await api.data(ZONE_CREATE, house.admin, input=given))["zoneCreate"]
        return payload

    north = (await create(name="North", code=" N "))["zone"]
    assert (north["code"], north["parent"], north["customerCount"]) == ("N", None, 0)
    inner = (await create(name="Harbour", parentId=north["id"]))["zone"]
    assert inner["parent"] == {"id": north["id"], "name": "North"}
    foreign = ids.encode("zon", (await other_house.zone()).id)
    payload = await create(name="North", code="N", parentId=foreign)
    assert found(payload) == {
        ("TAKEN", "input", "name"),
        ("TAKEN", "input", "code"),
        ("NOT_FOUND", "input", "parentId"),
    }
    assert found(await create(name="X", parentId=north["id"].replace("zon", "pkg"))) == {
        ("NOT_FOUND", "input", "parentId")
    }
    shown = await api.data("{ zones { name } }", house.admin)
    assert [zone["name"] for zone in shown["zones"]] == ["Harbour", "North"]


async def test_counts_are_of_the_viewers_scope_and_of_one_statement(api: Api, database: Database, house: House) -> None:
    reseller = await house.operator(Role.OPERATOR)
    shop = await house.operator(Role.SUB_OPERATOR, reseller)
    zones = [await house.zone(f"Zone {number}") for number in range(3)]
    package, empty = await house.package(), await house.package("Empty")
    for number, (who, status) in enumerate(
        ((house.admin, "ACTIVE"), (reseller, "ACTIVE"), (shop, "SUSPENDED"), (shop, "TERMINATED"))
    ):
        row = await customer(house, number, operator_id=who.id, zone_id=zones[0].id, status=CustomerStatus[status])
        for place in range(2):
            await house.add(
                Service(
                    customer_id=row.id,
                    package_id=package.id,
                    is_primary=place == 0,
                    connection_type=ConnectionType.PPPOE,
                    status=ServiceStatus[status],
                    username=f"user{number}.{place}",
                    password=b"sealed",
                )
            )
    document = "{ zones { customerCount } packages { id customerCount } }"

    async def counts(who: Any) -> tuple[list[int], dict[str, int]]:
        shown = await api.data(document, who)
        return (
            [zone["customerCount"] for zone in shown["zones"]],
            {row["id"]: row["customerCount"] for row in shown["packages"]},
        )

    sold, unsold = ids.encode("pkg", package.id), ids.encode("pkg", empty.id)
    with counted(database) as statements:
        assert await counts(house.admin) == ([3, 0, 0], {sold: 2, unsold: 0})
    assert sum("count(" in statement for statement in statements) == 2
    assert await counts(reseller) == ([2, 0, 0], {sold: 1, unsold: 0})
    assert await counts(shop) == ([1, 0, 0], {sold: 0, unsold: 0})


async def test_routers_show_the_jobs_that_wait_for_them(api: Api, house: House) -> None:
    router, idle = await house.router("127.0.0.1", name="A"), await house.router("127.0.0.2", name="B")
    for status in (JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.SUCCEEDED):
        await house.add(Job(kind="service.provision", status=status, router_id=router.id))
    document = "{ routers { id name address apiPort status lastSeenAt version pendingJobs } }"
    first, second = (await api.data(document, house.admin))["routers"]
    assert (first["id"], second["id"]) == (ids.encode("rtr", router.id), ids.encode("rtr", idle.id))
    assert (first["pendingJobs"], second["pendingJobs"]) == (2, 0)
    assert (first["status"], first["apiPort"], first["lastSeenAt"]) == ("UNKNOWN", 8728, None)


async def test_writing_needs_the_permission_and_reading_a_sign_in(api: Api, house: House, other_house: House) -> None:
    staff = await house.operator(Role.STAFF)
    for document, fields in (
        (PACKAGE_CREATE, HOME),
        (ZONE_CREATE, {"name": "North"}),
        (FIELD_DEFINE, {"key": "floor", "label": "Floor", "type": "NUMBER"}),
    ):
        answer = await api(document, staff, input=fields)
        assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
        answer = await api(document, None, input=fields)
        assert answer["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    await other_house.package("Elsewhere")
    shown = await api.data("{ packages { id } zones { id } customFields { id } routers { id } }", staff)
    assert shown == {"packages": [], "zones": [], "customFields": [], "routers": []}
    foreign = (await other_house.package("Foreign")).id
    for text in (ids.encode("pkg", foreign), "pkg_1", "zon_" + foreign.hex):
        data = await api.data(PACKAGE_UPDATE, house.admin, packageId=text, input=HOME)
        assert found(data["packageUpdate"]) == {("NOT_FOUND", "packageId")}

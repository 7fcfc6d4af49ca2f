"""Looking at customers as a front end does: one, lists of them, and the figures above the lists."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from sqlalchemy import literal, select

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain.billing import invoices
from ispgraph.domain.models import (
    ConnectionType,
    Customer,
    CustomerStatus,
    Invoice,
    Operator,
    Role,
    ServiceMac,
    ServiceStatus,
)
from tests import accounting, factories
from tests.api import Api
from tests.billing.conftest import Till
from tests.conftest import Dsns
from tests.crowd import customer, service
from tests.factories import House

NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

LIST = """query ($where: CustomerWhere, $search: String, $orderBy: CustomerOrder) {
  customers(where: $where, search: $search, orderBy: $orderBy) { totalCount nodes { name } } }"""
STATS = """{ customerStats { total active suspended pending expired online averageBalance { amount currency }
  topByBalance { name balance { amount } } } }"""


def public(prefix: str, row: Any) -> str:
    """The public id of a row."""
    return ids.encode(prefix, row.id)


def instant(at: datetime) -> str:
    """An instant as GraphQL writes it."""
    return at.isoformat()


async def names(api: Api, who: Operator, **variables: Any) -> list[str]:
    """The names in a list of customers, in its order; `totalCount` is always their number."""
    found = (await api.data(LIST, who, **variables))["customers"]
    assert found["totalCount"] == len(found["nodes"])
    return [row["name"] for row in found["nodes"]]


async def refusal(api: Api, document: str, who: Operator, **variables: Any) -> tuple[str, str]:
    """The code and the dotted field of the only error of an answer."""
    [error] = (await api(document, who, **variables))["errors"]
    return error["extensions"]["code"], ".".join(error["extensions"].get("field", []))


@dataclass
class Town:
    """A house whose customers differ in everything that lists go by, beside another house."""

    house: House
    rows: Mapping[str, Customer]
    ids: Mapping[str, str]
    """Public ids of what filters name."""
    reseller: Operator

    @property
    def admin(self) -> Operator:
        return self.house.admin


@pytest.fixture
async def town(owner: Database, house: House, other_house: House, moved_clock: None) -> Town:
    """Ann to Fay, in the order in which they joined. The clock stands at NOW."""
    clock.set_clock("2026-05-20T12:00:00Z")
    reseller = await house.operator(Role.OPERATOR)
    north, south = await house.zone("North"), await house.zone("South")
    fast, slow = await house.package("Fast"), await house.package("Slow")
    router = await house.router()
    made = {
        "Ann": customer(house, "Ann", zone_id=north.id),
        "Bob": customer(house, "Bob", zone_id=south.id, status=CustomerStatus.SUSPENDED),
        "Cid": customer(house, "Cid", status=CustomerStatus.EXPIRED),
        "Dot": customer(house, "Dot", zone_id=north.id, status=CustomerStatus.PENDING),
        "Eve": customer(house, "Eve", zone_id=north.id, operator_id=reseller.id),
        "Fay": customer(house, "Fay", zone_id=south.id, status=CustomerStatus.TERMINATED),
    }
    for number, row in enumerate(made.values()):
        row.account_number = f"A{9 - number}"
        row.joined_at = NOW + (number - 6) * DAY
    await house.add(*made.values())
    kinds = ConnectionType
    await house.add(
        service(made["Ann"], fast.id, router_id=router.id, expires_at=NOW + 10 * DAY),
        service(made["Ann"], slow.id, is_primary=False, connection_type=kinds.OTHER, expires_at=NOW - 9 * DAY),
        service(made["Bob"], slow.id, connection_type=kinds.HOTSPOT, expires_at=NOW + DAY),
        service(made["Cid"], slow.id, connection_type=kinds.STATIC_IP, router_id=router.id, expires_at=NOW - DAY),
        service(made["Eve"], fast.id, connection_type=kinds.HOTSPOT),
        service(made["Fay"], fast.id, router_id=router.id, expires_at=NOW - DAY, status=ServiceStatus.TERMINATED),
    )
    till = Till(house, await house.viewer())
    await till.pay(3_000, customer_id=made["Ann"].id)
    # Due on 27 May; what is billed at NOW is not yet.
    await till.bill(made["Bob"].id, 5_000)
    await till.bill(made["Fay"].id, 9_000)
    clock.set_clock("2026-06-15T12:00:00Z")
    await till.bill(made["Cid"].id, 2_000)
    await till.pay(3_001, customer_id=made["Eve"].id)
    await accounting.account(
        owner,
        house,
        accounting.session(made["Ann"], NOW - HOUR),
        accounting.session(made["Ann"], NOW - 2 * HOUR),
        accounting.session(made["Cid"], NOW - DAY, stopped_at=NOW),
        accounting.session(made["Eve"], NOW - HOUR),
    )
    stranger = customer(other_house, "Stranger")
    foreign = await other_house.package("Fast")
    await other_house.add(stranger)
    await other_house.add(service(stranger, foreign.id))
    known = {
        "north": public("zon", north),
        "south": public("zon", south),
        "fast": public("pkg", fast),
        "slow": public("pkg", slow),
        "foreign": public("pkg", foreign),
        "router": public("rtr", router),
        "admin": public("opr", house.admin),
        "reseller": public("opr", reseller),
        "stranger": public("cus", stranger),
    }
    return Town(house, made, known, reseller)


# ---------------------------------------------------------------- filters


async def test_every_filter_by_itself_and_with_others(api: Api, town: Town) -> None:
    known = town.ids
    cases: list[tuple[dict[str, Any] | None, str]] = [
        (None, "Ann Bob Cid Dot Eve Fay"),
        ({}, "Ann Bob Cid Dot Eve Fay"),
        ({"status": None, "online": None, "zoneId": None}, "Ann Bob Cid Dot Eve Fay"),
        ({"status": ["ACTIVE"]}, "Ann Eve"),
        ({"status": ["EXPIRED", "PENDING"]}, "Cid Dot"),
        ({"status": ["TERMINATED"]}, "Fay"),
        ({"status": []}, ""),
        ({"connectionType": ["HOTSPOT"]}, "Bob Eve"),
        ({"connectionType": ["STATIC_IP", "OTHER"]}, "Ann Cid"),
        # Of services that have ended nothing counts: Fay's was over PPPoE.
        ({"connectionType": ["PPPOE"]}, "Ann"),
        ({"connectionType": []}, ""),
        ({"packageId": known["fast"]}, "Ann Eve"),
        ({"packageId": known["slow"]}, "Ann Bob Cid"),
        ({"packageId": known["foreign"]}, ""),
        ({"packageId": ids.encode("pkg", ids.uuid7())}, ""),
        ({"zoneId": known["north"]}, "Ann Dot Eve"),
        ({"operatorId": known["reseller"]}, "Eve"),
        ({"operatorId": known["admin"]}, "Ann Bob Cid Dot Fay"),
        ({"routerId": known["router"]}, "Ann Cid"),
        ({"online": True}, "Ann Eve"),
        ({"online": False}, "Bob Cid Dot Fay"),
        ({"overdue": True}, "Bob Fay"),
        ({"overdue": False}, "Ann Cid Dot Eve"),
        ({"joinedFrom": instant(NOW - 3 * DAY)}, "Dot Eve Fay"),
        ({"joinedTo": instant(NOW - 3 * DAY)}, "Ann Bob Cid"),
        ({"joinedFrom": "2026-06-10T18:00:00+06:00", "joinedTo": "2026-06-11T18:00:00+06:00"}, "Bob"),
        ({"expiresBefore": instant(NOW)}, "Ann Cid"),
        ({"expiresBefore": instant(NOW + DAY)}, "Ann Cid"),
        ({"expiresBefore": instant(NOW + DAY + timedelta(microseconds=1))}, "Ann Bob Cid"),
        ({"balanceBelow": "0"}, "Bob Cid Fay"),
        ({"balanceBelow": "-20"}, "Bob Fay"),
        ({"balanceBelow": -50}, "Fay"),
        ({"balanceAbove": "30.00"}, "Eve"),
        ({"balanceAbove": "-20.01", "balanceBelow": "30.01"}, "Ann Cid Dot"),
        ({"zoneId": known["north"], "online": True, "status": ["ACTIVE"]}, "Ann Eve"),
        ({"zoneId": known["north"], "online": True, "operatorId": known["reseller"]}, "Eve"),
        ({"packageId": known["slow"], "connectionType": ["HOTSPOT"], "overdue": True}, "Bob"),
        ({"packageId": known["slow"], "online": False, "balanceBelow": "0", "overdue": False}, "Cid"),
        ({"zoneId": known["south"], "online": True}, ""),
    ]
    found = [(where, " ".join(sorted(await names(api, town.admin, where=where)))) for where, _ in cases]
    assert found == cases


async def test_filters_and_search_add_up(api: Api, town: Town) -> None:
    assert await names(api, town.admin, search="ann", where={"online": True}) == ["Ann"]
    assert await names(api, town.admin, search="ann", where={"online": False}) == []
    order = {"field": "NAME", "direction": "DESC"}
    everybody = await names(api, town.admin, search="019000", where={"status": ["ACTIVE"]}, orderBy=order)
    assert everybody == ["Eve", "Ann"]


async def test_a_filter_that_means_nothing_is_refused_by_its_name(api: Api, house: House) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"balanceBelow": "1.005"}, "where.balanceBelow"),
        ({"balanceAbove": "0.001"}, "where.balanceAbove"),
        ({"balanceAbove": "999999999999999999"}, "where.balanceAbove"),
        ({"balanceBelow": "5", "balanceAbove": "5.00"}, "where.balanceBelow"),
        ({"joinedFrom": "2026-06-01T00:00:00Z", "joinedTo": "2026-06-01T06:00:00+06:00"}, "where.joinedTo"),
        ({"packageId": "zon_0190a0a0a0a07000800000000000000a"}, "where.packageId"),
        ({"zoneId": "pkg_0190a0a0a0a07000800000000000000a"}, "where.zoneId"),
        ({"operatorId": "1"}, "where.operatorId"),
        ({"routerId": ""}, "where.routerId"),
    ]
    for where, field in cases:
        assert await refusal(api, LIST, house.admin, where=where) == ("BAD_REQUEST", field), where


async def test_a_filter_of_the_wrong_type_is_refused(api: Api, house: House) -> None:
    cases: list[dict[str, Any]] = [
        *({"balanceBelow": 1.5}, {"balanceBelow": "1e3"}, {"balanceBelow": "NaN"}, {"balanceBelow": "1,000"}),
        *({"status": ["GONE"]}, {"status": [None]}, {"joinedFrom": "2026-06-01"}, {"joinedTo": "2026-06-01T00:00:00"}),
        *({"joinedFrom": "2026-02-30T00:00:00Z"}, {"expiresBefore": 0}, {"online": "yes"}, {"colour": "red"}),
    ]
    for where in cases:
        [error] = (await api(LIST, house.admin, where=where))["errors"]
        assert error["extensions"]["code"] == "BAD_REQUEST", where
        assert next(iter(where)) in error["message"], where


async def test_a_bad_value_in_the_document_is_shown_where_it_stands(api: Api, house: House) -> None:
    for value in ('joinedFrom: "yesterday"', "joinedTo: 5", 'balanceBelow: "a lot"', "balanceAbove: 1.5"):
        document = f"{{ customers(where: {{\n {value} }}) {{ totalCount }} }}"
        [error] = (await api(document, house.admin))["errors"]
        assert error["extensions"] == {"code": "BAD_REQUEST"}, value
        assert error["locations"] == [{"line": 2, "column": value.index(":") + 4}], value


# ---------------------------------------------------------------- orders


async def test_every_order_in_both_directions(api: Api, town: Town) -> None:
    orders = {
        "CREATED_AT": "Ann Bob Cid Dot Eve Fay",
        "NAME": "Ann Bob Cid Dot Eve Fay",
        "ACCOUNT_NUMBER": "Fay Eve Dot Cid Bob Ann",
        # By the primary service, ended or not; those without one, or without an end, come last.
        "EXPIRES_AT": "Cid Fay Bob Ann Dot Eve",
        "BALANCE": "Fay Bob Cid Dot Ann Eve",
        "STATUS": "Ann Eve Cid Dot Bob Fay",
    }
    for field, expected in orders.items():
        upwards = expected.split()
        assert await names(api, town.admin, orderBy={"field": field}) == upwards, field
        assert await names(api, town.admin, orderBy={"field": field, "direction": "ASC"}) == upwards, field
        assert await names(api, town.admin, orderBy={"field": field, "direction": "DESC"}) == upwards[::-1], field


async def test_the_newest_come_first_unless_sorted(api: Api, town: Town) -> None:
    assert await names(api, town.admin) == ["Fay", "Eve", "Dot", "Cid", "Bob", "Ann"]


# ---------------------------------------------------------------- search


async def test_what_a_search_finds(api: Api, house: House) -> None:
    till = Till(house, await house.viewer())
    ann = customer(
        house, "Ann Öberg", account_number="NX200417", mobile="+8801712345678", email="ann.oberg@example.net"
    )
    other = customer(house, "100% Wildcard_Ltd", account_number="NX300500", mobile="+8801898765432")
    package = await house.package()
    line = service(ann, package.id, username="ao-fibre", ip_address="203.0.113.77")
    await house.add(ann, other)
    await house.add(line, ServiceMac(service_id=line.id, mac="a4:5e:60:c2:19:f0"))
    number = (await till.bill(ann.id, 100)).number
    assert number is not None
    to_ann = [
        *("Ann Öberg", "öber", "ÖBERG", " n Ö "),
        *("ann.oberg@example.net", "OBERG@EX"),
        *("01712345678", "+8801712345678", "01712-345 678", "(01712) 345678", "+880 1712 345678", "0171", "345678"),
        *("NX200417", "nx2004"),
        *("ao-fibre", "AO-F"),
        *("A4:5E:60:C2:19:F0", "a45e.60c2.19f0", "a4-5e-60-c2-19-f0", "A45E60C219F0", "a4:5e:60"),
        "203.0.113.77",
        *(number, number.lower(), number[:-2]),
    ]
    found = {term: await names(api, house.admin, search=term) for term in to_ann}
    assert found == {term: ["Ann Öberg"] for term in to_ann}
    to_other = ["100%", "d_L", "100% W", "01898765432"]
    found = {term: await names(api, house.admin, search=term) for term in to_other}
    assert found == {term: ["100% Wildcard_Ltd"] for term in to_other}
    to_nobody = ["%%%", "___", "A%g", "n_Ö", "Oberg K", "203.0.113.7", "a4:5e:61", "INV-1999", "01712345679", "\\\\\\"]
    found = {term: await names(api, house.admin, search=term) for term in to_nobody}
    assert found == {term: [] for term in to_nobody}


async def test_a_search_too_short_too_long_or_unprintable_is_refused(api: Api, house: House) -> None:
    for term in ("ab", "  ab  ", "x" * 101, "a\tb\tc"):
        assert await refusal(api, LIST, house.admin, search=term) == ("BAD_REQUEST", "search"), term


async def test_no_search_at_all_is_no_condition(api: Api, town: Town) -> None:
    for nothing in (None, "", "  "):
        assert len(await names(api, town.admin, search=nothing)) == 6


# ---------------------------------------------------------------- who may see whom

CATALOGUE = "{ zones { name customerCount } packages { name customerCount } }"


async def test_a_reseller_sees_its_own_customers_and_no_others(api: Api, town: Town, other_house: House) -> None:
    clerk = await town.house.operator(Role.STAFF, town.reseller)
    rival = await town.house.operator(Role.OPERATOR)
    for who in (town.reseller, clerk):
        assert await names(api, who) == ["Eve"]
        assert await names(api, who, search="ann") == []
        assert await names(api, who, search="019000") == ["Eve"]
        assert await names(api, who, where={"operatorId": town.ids["admin"]}) == []
        assert await names(api, who, where={"zoneId": town.ids["north"]}, orderBy={"field": "BALANCE"}) == ["Eve"]
        figures = (await api.data(STATS, who))["customerStats"]
        assert figures == {
            **{"total": 1, "active": 1, "suspended": 0, "pending": 0, "expired": 0, "online": 1},
            "averageBalance": {"amount": "30.01", "currency": "USD"},
            "topByBalance": [{"name": "Eve", "balance": {"amount": "30.01"}}],
        }
        assert await api.data(CATALOGUE, who) == {
            "zones": [{"name": "North", "customerCount": 1}, {"name": "South", "customerCount": 0}],
            "packages": [{"name": "Fast", "customerCount": 1}, {"name": "Slow", "customerCount": 0}],
        }
    assert await names(api, rival) == []
    assert await names(api, other_house.admin) == ["Stranger"]
    assert await names(api, other_house.admin, where={"packageId": town.ids["fast"]}) == []
    assert await api.data(CATALOGUE, town.admin) == {
        # Who has left lives nowhere any more.
        "zones": [{"name": "North", "customerCount": 3}, {"name": "South", "customerCount": 1}],
        "packages": [{"name": "Fast", "customerCount": 2}, {"name": "Slow", "customerCount": 3}],
    }


async def test_a_subtree_has_branches(api: Api, house: House) -> None:
    reseller = await house.operator(Role.OPERATOR)
    branch = await house.operator(Role.SUB_OPERATOR, reseller)
    clerk = await house.operator(Role.STAFF, branch)
    sister = await house.operator(Role.SUB_OPERATOR, reseller)
    zone = await house.zone()
    await house.add(
        *(
            customer(house, f"Berg of {name}", operator_id=who.id, zone_id=zone.id)
            for name, who in (("house", house.admin), ("one", reseller), ("two", branch), ("three", sister))
        )
    )
    whole = {"house", "one", "two", "three"}
    for who, expected in (
        (house.admin, whole),
        (reseller, {"one", "two", "three"}),
        (branch, {"two"}),
        (clerk, {"two"}),
        (sister, {"three"}),
    ):
        for variables in ({}, {"search": "berg"}, {"where": {"zoneId": public("zon", zone)}}):
            found = {name.removeprefix("Berg of ") for name in await names(api, who, **variables)}
            assert found == expected, (who.role, variables)
        data = await api.data("{ customerStats { total topByBalance { name } } zones { customerCount } }", who)
        assert data["customerStats"]["total"] == len(data["customerStats"]["topByBalance"]) == len(expected)
        assert data["zones"] == [{"customerCount": len(expected)}]


async def test_looking_needs_its_permission(api: Api, town: Town) -> None:
    accountant = await town.house.operator(Role.ACCOUNTANT)
    assert len(await names(api, accountant)) == 6
    assert (await api.data(STATS, accountant))["customerStats"]["total"] == 5
    blind = await town.house.operator(Role.MANAGER, permissions=["EDIT_CUSTOMERS", "RECORD_PAYMENTS"])
    ann = public("cus", town.rows["Ann"])
    for document in (
        "{ customers { totalCount } }",
        "{ customers { nodes { name } } }",
        f'{{ customer(by: {{id: "{ann}"}}) {{ name }} }}',
        STATS,
        "{ invoices { totalCount } }",
    ):
        assert await refusal(api, document, blind) == ("FORBIDDEN", "")
        [error] = (await api(document))["errors"]
        assert error["extensions"]["code"] == "UNAUTHENTICATED"
    shown = """query ($id: ID!) { customer(by: {id: $id}) { id service { id } invoices { nodes { id } }
      payments { nodes { id } } ledger { nodes { id } } sessions { nodes { id } } } }"""
    data = [
        (await api.data(shown, accountant, id=public("cus", town.rows[name])))["customer"] for name in ("Ann", "Bob")
    ]
    known = re.findall(r"'((?:cus|svc|inv|pay|led|ses)_[0-9a-f]{32})'", str(data))
    assert {key[:3] for key in known} == {"cus", "svc", "inv", "pay", "led", "ses"}
    nodes = "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }"
    assert (await api.data(nodes, accountant, ids=known))["nodes"] == [{"id": key} for key in known]
    assert (await api.data(nodes, blind, ids=known))["nodes"] == [None] * len(known)


# ---------------------------------------------------------------- one customer

ONE = "query ($by: CustomerBy!) { customer(by: $by) { id name } }"


async def test_a_customer_is_found_by_each_key(api: Api, house: House, other_house: House) -> None:
    ann, stranger = customer(house, "Ann", account_number="C-77"), customer(other_house, "Stranger")
    await house.add(ann)
    await house.add(service(ann, (await house.package()).id, username="ann.line"))
    await other_house.add(stranger)
    await other_house.add(service(stranger, (await other_house.package()).id, username="strange"))
    key = public("cus", ann)
    for by in ({"id": key}, {"accountNumber": "C-77"}, {"username": "ann.line"}, {"username": "Ann.LINE"}):
        assert (await api.data(ONE, house.admin, by=by))["customer"] == {"id": key, "name": "Ann"}, by
    # A null is no key.
    assert (await api.data(ONE, house.admin, by={"id": key, "username": None}))["customer"]["name"] == "Ann"
    for by in (
        {"id": public("cus", stranger)},
        {"accountNumber": stranger.account_number},
        {"username": "strange"},
        {"id": ids.encode("cus", ids.uuid7())},
        {"accountNumber": "C-7"},
        {"accountNumber": ""},
        {"username": "ann.lin%"},
    ):
        assert (await api.data(ONE, house.admin, by=by))["customer"] is None, by
    reseller = await house.operator(Role.OPERATOR)
    for by in ({"id": key}, {"accountNumber": "C-77"}, {"username": "ann.line"}):
        assert (await api.data(ONE, reseller, by=by))["customer"] is None, by


async def test_two_keys_no_key_and_a_wrong_one_are_refused(api: Api, house: House) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "by"),
        ({"id": None}, "by"),
        ({"accountNumber": "C-77", "username": "ann"}, "by"),
        ({"id": "cus_0190a0a0a0a07000800000000000000a", "accountNumber": "C-77", "username": "ann"}, "by"),
        ({"id": "svc_0190a0a0a0a07000800000000000000a"}, "by.id"),
        ({"id": "C-77"}, "by.id"),
    ]
    for by, field in cases:
        assert await refusal(api, ONE, house.admin, by=by) == ("BAD_REQUEST", field), by


async def test_what_belongs_to_a_customer_is_narrowed_by_status(api: Api, house: House) -> None:
    till = Till(house, await house.viewer())
    ann = await till.customer()
    bills = [await till.bill(ann.id, price) for price in (100, 200, 300)]
    await till.pay(100, bills[0])
    await till.pay(50, bills[1])
    async with house.database.transaction(house.tenant.id) as session:
        await till.draft(session, ann.id, 400)
    document = """query ($id: ID!, $invoices: [InvoiceStatus!], $payments: [PaymentStatus!]) { customer(by: {id: $id}) {
      invoices(status: $invoices) { totalCount nodes { total { amount } } }
      payments(status: $payments) { totalCount nodes { amount { amount } } }
      ledger(first: 2) { totalCount nodes { credit { amount } balance { amount } } } } }"""

    async def found(bills: list[str] | None, payments: list[str] | None) -> tuple[str, str]:
        one = await api.data(document, house.admin, id=public("cus", ann), invoices=bills, payments=payments)
        shown = one["customer"]
        assert shown["ledger"] == {
            "totalCount": 5,
            "nodes": [
                {"credit": {"amount": "0.50"}, "balance": {"amount": "-4.50"}},
                {"credit": {"amount": "1.00"}, "balance": {"amount": "-5.00"}},
            ],
        }
        assert shown["invoices"]["totalCount"] == len(shown["invoices"]["nodes"])
        assert shown["payments"]["totalCount"] == len(shown["payments"]["nodes"])
        totals = " ".join(each["total"]["amount"] for each in shown["invoices"]["nodes"])
        return totals, " ".join(each["amount"]["amount"] for each in shown["payments"]["nodes"])

    assert await found(None, None) == ("4.00 3.00 2.00 1.00", "0.50 1.00")
    assert await found(["PAID", "DRAFT"], ["COMPLETED"]) == ("4.00 1.00", "0.50 1.00")
    assert await found(["PARTIALLY_PAID"], ["REFUNDED", "FAILED"]) == ("2.00", "")
    assert await found([], []) == ("", "")


# ---------------------------------------------------------------- figures


async def test_the_figures_above_the_list(api: Api, town: Town) -> None:
    # 30.00 - 50.00 - 20.00 + 0 + 30.01 over five; Fay, who has left, counts neither there nor at the top.
    assert (await api.data(STATS, town.admin))["customerStats"] == {
        **{"total": 5, "active": 2, "suspended": 1, "pending": 1, "expired": 1, "online": 2},
        "averageBalance": {"amount": "-2.00", "currency": "USD"},
        "topByBalance": [
            {"name": "Eve", "balance": {"amount": "30.01"}},
            {"name": "Ann", "balance": {"amount": "30.00"}},
            {"name": "Dot", "balance": {"amount": "0.00"}},
            {"name": "Cid", "balance": {"amount": "-20.00"}},
            {"name": "Bob", "balance": {"amount": "-50.00"}},
        ],
    }


async def test_the_figures_of_nobody(api: Api, house: House) -> None:
    assert (await api.data(STATS, house.admin))["customerStats"] == {
        **{"total": 0, "active": 0, "suspended": 0, "pending": 0, "expired": 0, "online": 0},
        "averageBalance": {"amount": "0.00", "currency": "USD"},
        "topByBalance": [],
    }


@pytest.mark.parametrize(
    ("currency", "paid", "average"),
    [
        ("USD", [1, 0], "0.01"),  # a half away from zero
        ("USD", [-1, 0], "-0.01"),
        ("USD", [1, 0, 0], "0.00"),
        ("USD", [2, 0, 0], "0.01"),
        ("JPY", [3, 0], "2"),
        ("KWD", [-3, 0], "-0.002"),
    ],
)
async def test_the_average_is_rounded_to_minor_units(
    api: Api, owner: Database, database: Database, currency: str, paid: list[int], average: str
) -> None:
    house = await factories.house(owner, database, "bank", currency=currency)
    till = Till(house, await house.viewer())
    for amount in paid:
        row = await till.customer()
        if amount > 0:
            await till.pay(amount, customer_id=row.id)
        elif amount < 0:
            await till.bill(row.id, -amount)
    figures = (await api.data(STATS, house.admin))["customerStats"]
    assert figures["averageBalance"] == {"amount": average, "currency": currency}


async def test_how_many_stand_at_the_top(api: Api, town: Town) -> None:
    document = "query ($first: Int) { customerStats { total topByBalance(first: $first) { name } } }"

    async def top(**variables: Any) -> list[str]:
        found = (await api.data(document, town.admin, **variables))["customerStats"]
        assert found["total"] == 5
        return [row["name"] for row in found["topByBalance"]]

    assert await top(first=0) == []
    assert await top(first=3) == ["Eve", "Ann", "Dot"]
    assert await top() == await top(first=None) == await top(first=100) == ["Eve", "Ann", "Dot", "Cid", "Bob"]
    for size in (101, -1):
        assert await refusal(api, document, town.admin, first=size) == ("BAD_REQUEST", "first")


# ---------------------------------------------------------------- invoices of all customers

INVOICES = """query ($status: [InvoiceStatus!], $overdue: Boolean, $first: Int, $after: String) {
  invoices(status: $status, overdue: $overdue, first: $first, after: $after) {
    totalCount nodes { overdue status customer { name } } pageInfo { hasNextPage endCursor } } }"""


async def test_invoices_of_all_customers(api: Api, town: Town, other_house: House) -> None:
    till = Till(town.house, await town.house.viewer())
    async with town.house.database.transaction(town.house.tenant.id) as session:
        await till.draft(session, town.rows["Dot"].id, 100)
    paid = await till.bill(town.rows["Eve"].id, 100)
    await till.pay(100, paid)

    async def found(who: Operator = town.admin, **variables: Any) -> str:
        shown = (await api.data(INVOICES, who, **variables))["invoices"]
        assert shown["totalCount"] == len(shown["nodes"])
        if variables.get("overdue") is not None:
            assert {each["overdue"] for each in shown["nodes"]} <= {variables["overdue"]}
        return " ".join(each["customer"]["name"] for each in shown["nodes"])

    assert await found() == await found(status=None, overdue=None) == "Eve Dot Cid Fay Bob"
    assert await found(status=["OPEN"]) == "Cid Fay Bob"
    assert await found(status=["DRAFT", "PAID"]) == "Eve Dot"
    assert await found(status=[]) == ""
    assert await found(overdue=True) == "Fay Bob"
    assert await found(overdue=False) == "Eve Dot Cid"
    assert await found(status=["PAID"], overdue=True) == ""
    assert await found(status=["OPEN"], overdue=False) == "Cid"
    assert await found(town.reseller) == "Eve"
    assert await found(town.reseller, overdue=True) == ""
    assert await found(other_house.admin) == ""

    pages, cursor = [], None
    while True:
        page = (await api.data(INVOICES, town.admin, first=2, after=cursor))["invoices"]
        assert page["totalCount"] == 5
        pages.append([each["customer"]["name"] for each in page["nodes"]])
        if not page["pageInfo"]["hasNextPage"]:
            break
        cursor = page["pageInfo"]["endCursor"]
    assert pages == [["Eve", "Dot"], ["Cid", "Fay"], ["Bob"]]
    assert await refusal(api, INVOICES, town.admin, first=101) == ("BAD_REQUEST", "first")


@pytest.mark.usefixtures("moved_clock")
async def test_an_invoice_is_overdue_when_the_day_is_over_where_the_tenant_is(api: Api, house: House) -> None:
    bob = customer(house, "Bob")
    await house.add(bob)
    # Due on 15 June, which ends in Dhaka at 18:00 UTC.
    due = Invoice(
        **{"customer_id": bob.id, "number": "INV-2026-000001", "status": "OPEN", "due_on": NOW.date()},
        **{"subtotal_minor": 100, "tax_minor": 0, "total_minor": 100},
    )
    await house.add(due)
    document = "{ late: invoices(overdue: true) { totalCount } rest: invoices(overdue: false) { totalCount } }"
    for at, late in (("2026-06-15T17:59:30Z", 0), ("2026-06-15T18:00:01Z", 1)):
        clock.set_clock(at)
        found = await api.data(document, house.admin)
        assert (found["late"]["totalCount"], found["rest"]["totalCount"]) == (late, 1 - late)


async def test_the_overdue_are_looked_for_among_what_is_not_paid(house: House, dsns: Dsns) -> None:
    ann = customer(house, "Ann")
    await house.add(ann)
    connection = await asyncpg.connect(dsns.superuser)
    await connection.execute(
        """INSERT INTO invoices (id, tenant_id, customer_id, number, status, due_on, subtotal_minor, tax_minor,
                                 total_minor, paid_minor, created_at)
           SELECT gen_random_uuid(), $1, $2, 'INV-2026-' || n, CASE WHEN n % 100 = 0 THEN 'OPEN' ELSE 'PAID' END,
                  date '2026-06-01', 1, 0, 1, (n % 100 <> 0)::integer, now() FROM generate_series(1, 3000) n""",
        house.tenant.id,
        ann.id,
    )
    await connection.execute("ANALYZE invoices")
    await connection.close()
    overdue = invoices.FILTERS["overdue"].matches(literal(NOW.date()), await house.viewer())
    async with house.database.read(house.tenant.id) as session:
        app = await session.connection()
        asked = select(Invoice.id).where(overdue).compile(dialect=app.dialect, compile_kwargs={"literal_binds": True})
        plan = "\n".join((await app.exec_driver_sql(f"EXPLAIN {asked}")).scalars())
    assert re.search(r"ix_invoices_status.*\n *Index Cond: .*status", plan), plan

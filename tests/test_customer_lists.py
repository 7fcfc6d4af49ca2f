"""Lists of customers: what narrows them, what sorts them, what a search finds, and the figures above the list."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import Select, bindparam, select, tuple_

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain import customer_lists as lists
from ispgraph.domain import customers, values
from ispgraph.domain.customer_lists import CustomerOrderField, CustomerWhere
from ispgraph.domain.errors import DomainError, ErrorCode
from ispgraph.domain.models import (
    ConnectionType,
    Customer,
    CustomerStatus,
    Invoice,
    InvoiceStatus,
    Role,
    ServiceMac,
    ServiceStatus,
    Session,
    SessionState,
)
from ispgraph.domain.permissions import Viewer
from tests import factories
from tests.billing.conftest import Till
from tests.conftest import Dsns
from tests.crowd import customer, fill, service
from tests.factories import House

NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)


def narrowed(rows: Select[Any], where: CustomerWhere | None, search: str | None, by: Viewer) -> Select[Any]:
    """Rows of customers with the conditions of what is asked for."""
    for name, value in lists.wanted(where, search, by=by).items():
        condition = lists.FILTERS[name]
        rows = rows.where(condition.matches(bindparam(name, value, type_=condition.kind), by))
    return rows


async def found(house: House, by: Viewer, search: str | None = None, **where: Any) -> set[str]:
    """The names of the customers that are found."""
    statement = narrowed(customers.visible(by), CustomerWhere(**where), search, by)
    async with house.database.read(house.tenant.id) as session:
        rows = list(await session.scalars(statement))
    assert len(rows) == len({row.id for row in rows})
    return {row.name for row in rows}


def sorted_rows(
    by: Viewer, field: CustomerOrderField, descending: bool, border: Sequence[Any], size: int
) -> Select[Any]:
    """A page of customers after a border, with the keys it is sorted by."""
    order = lists.ORDERS[field]
    keys = [key.expression for key in order.keys]
    rows = order.joined(customers.visible(by)).add_columns(*(key.label(f"key{i}") for i, key in enumerate(keys)))
    rows = rows.order_by(*(key.desc() if descending else key for key in keys)).limit(size)
    if not border:
        return rows
    last: Any = tuple_(*(bindparam(f"border{i}", border[i], type_=key.kind) for i, key in enumerate(order.keys)))
    here: Any = tuple_(*keys)
    return rows.where(here < last if descending else here > last)


async def in_order(house: House, by: Viewer, field: CustomerOrderField, descending: bool = False) -> list[str]:
    """The names of all customers in one order, read in pages of two."""
    names: list[str] = []
    border: Sequence[Any] = ()
    while True:
        async with house.database.read(house.tenant.id) as session:
            rows = (await session.execute(sorted_rows(by, field, descending, border, 2))).all()
        names += [row.Customer.name for row in rows]
        if len(rows) < 2:
            return names
        border = rows[-1][1:]
        assert None not in border


@pytest.fixture
async def admin(house: House) -> Viewer:
    """The viewer that the house's admin is."""
    return await house.viewer()


@pytest.fixture
async def till(house: House, admin: Viewer) -> Till:
    """The till of the house."""
    return Till(house, admin)


async def add_session(dsns: Dsns, house: House, of: Customer, **fields: Any) -> None:
    """An accounting session of a customer, open unless said otherwise: the application itself may not write them."""
    state = SessionState.STOPPED if fields.get("stopped_at") else SessionState.OPEN
    row = Session(
        tenant_id=house.tenant.id,
        customer_id=of.id,
        acct_session_id="81000001",
        unique_id=ids.uuid7().hex,
        username="someone",
        connection_type=ConnectionType.PPPOE,
        state=state,
        started_at=NOW,
        updated_at=NOW,
        **fields,
    )
    accounting = Database(dsns.owner, pool_size=1)
    async with accounting.transaction(house.tenant.id) as session:
        session.add(row)
    await accounting.dispose()


def invoice(of: Customer, due: date, status: InvoiceStatus = InvoiceStatus.OPEN, paid: int = 0) -> Invoice:
    """An invoice over 100 with the money it asks for left out of the ledger."""
    return Invoice(
        customer_id=of.id,
        number=f"INV-2026-{ids.uuid7().int % 10**6:06d}",
        status=status,
        issued_on=due - timedelta(days=7),
        due_on=due,
        subtotal_minor=100,
        tax_minor=0,
        total_minor=100,
        paid_minor=paid,
    )


# ---------------------------------------------------------------- filters


async def test_without_conditions_all_are_found(house: House, admin: Viewer) -> None:
    await house.add(customer(house, "Ann"), customer(house, "Bob", status=CustomerStatus.TERMINATED))
    assert await found(house, admin) == {"Ann", "Bob"}
    assert lists.wanted(None, None, by=admin) == {}
    assert lists.wanted(CustomerWhere(), None, by=admin) == {}


async def test_by_status(house: House, admin: Viewer) -> None:
    await house.add(*(customer(house, status.value, status=status) for status in CustomerStatus))
    assert await found(house, admin, status=[CustomerStatus.ACTIVE]) == {"ACTIVE"}
    assert await found(house, admin, status=[CustomerStatus.EXPIRED, CustomerStatus.PENDING]) == {"EXPIRED", "PENDING"}
    assert await found(house, admin, status=[]) == set()


async def test_by_what_a_customer_is_served_with(house: House, admin: Viewer) -> None:
    ann, bob, cid = (customer(house, name) for name in ("Ann", "Bob", "Cid"))
    fast, slow = await house.package("Fast"), await house.package("Slow")
    router = await house.router()
    await house.add(ann, bob, cid)
    await house.add(
        service(ann, fast.id, connection_type=ConnectionType.HOTSPOT, expires_at=NOW),
        service(ann, slow.id, is_primary=False, expires_at=None),
        service(bob, slow.id, router_id=router.id, expires_at=NOW + timedelta(days=1)),
        # What has ended is not what a customer is served with.
        service(cid, fast.id, router_id=router.id, expires_at=NOW, status=ServiceStatus.TERMINATED),
    )
    assert await found(house, admin, package_id=fast.id) == {"Ann"}
    assert await found(house, admin, package_id=slow.id) == {"Ann", "Bob"}
    assert await found(house, admin, router_id=router.id) == {"Bob"}
    assert await found(house, admin, connection_type=[ConnectionType.HOTSPOT]) == {"Ann"}
    assert await found(house, admin, connection_type=list(ConnectionType)) == {"Ann", "Bob"}
    assert await found(house, admin, connection_type=[]) == set()
    assert await found(house, admin, expires_before=NOW) == set()
    assert await found(house, admin, expires_before=NOW + timedelta(microseconds=1)) == {"Ann"}
    assert await found(house, admin, expires_before=NOW + timedelta(days=2)) == {"Ann", "Bob"}
    assert await found(house, admin, package_id=slow.id, router_id=router.id) == {"Bob"}
    assert await found(house, admin, package_id=ids.uuid7()) == set()


async def test_by_zone_and_operator(house: House, admin: Viewer) -> None:
    zone, reseller = await house.zone(), await house.operator(Role.OPERATOR)
    await house.add(customer(house, "Ann", zone_id=zone.id), customer(house, "Bob", operator_id=reseller.id))
    assert await found(house, admin, zone_id=zone.id) == {"Ann"}
    assert await found(house, admin, operator_id=reseller.id) == {"Bob"}
    assert await found(house, admin, operator_id=house.admin.id) == {"Ann"}


async def test_by_the_time_of_joining(house: House, admin: Viewer) -> None:
    hour = timedelta(hours=1)
    await house.add(*(customer(house, name, joined_at=NOW + n * hour) for n, name in enumerate(("Ann", "Bob", "Cid"))))
    assert await found(house, admin, joined_from=NOW + hour) == {"Bob", "Cid"}
    assert await found(house, admin, joined_to=NOW + hour) == {"Ann"}
    assert await found(house, admin, joined_from=NOW, joined_to=NOW + 2 * hour) == {"Ann", "Bob"}


async def test_who_is_online(house: House, admin: Viewer, dsns: Dsns) -> None:
    ann, bob, cid = (customer(house, name) for name in ("Ann", "Bob", "Cid"))
    await house.add(ann, bob, cid)
    await add_session(dsns, house, ann)
    await add_session(dsns, house, ann)
    await add_session(dsns, house, bob, stopped_at=NOW)
    assert await found(house, admin, online=True) == {"Ann"}
    assert await found(house, admin, online=False) == {"Bob", "Cid"}


@pytest.mark.usefixtures("moved_clock")
async def test_overdue_is_after_the_due_day_where_the_tenant_is(house: House, admin: Viewer) -> None:
    names = ("late", "in part", "today", "paid", "void", "none")
    late, partly, today, paid, void, _ = rows = [customer(house, name) for name in names]
    await house.add(*rows)
    day = date(2026, 6, 15)
    await house.add(
        invoice(late, day - timedelta(days=1)),
        invoice(late, day - timedelta(days=40)),
        invoice(partly, day - timedelta(days=1), InvoiceStatus.PARTIALLY_PAID, 10),
        invoice(today, day),
        invoice(paid, day - timedelta(days=1), InvoiceStatus.PAID, 100),
        invoice(void, day - timedelta(days=1), InvoiceStatus.VOID),
    )
    # Just before midnight in Dhaka, six hours ahead of UTC, and just after.
    clock.set_clock("2026-06-15T17:59:30Z")
    assert await found(house, admin, overdue=True) == {"late", "in part"}
    assert await found(house, admin, overdue=False) == {"today", "paid", "void", "none"}
    clock.set_clock("2026-06-15T18:00:01Z")
    assert await found(house, admin, overdue=True) == {"late", "in part", "today"}


async def test_by_balance(till: Till) -> None:
    house, by = till.house, till.by
    nothing, debt, credit = [await till.customer() for _ in range(3)]
    await till.bill(debt.id, 1050)
    await till.pay(300, customer_id=credit.id)
    assert await found(house, by, balance_below=Decimal("0")) == {debt.name}
    assert await found(house, by, balance_below=Decimal("-10.50")) == set()
    assert await found(house, by, balance_below=Decimal("-10.49")) == {debt.name}
    assert await found(house, by, balance_above=Decimal("-10.50")) == {nothing.name, credit.name}
    assert await found(house, by, balance_above=Decimal("2.99"), balance_below=Decimal("3.01")) == {credit.name}


async def test_conditions_add_up(house: House, admin: Viewer) -> None:
    zone = await house.zone()
    await house.add(
        customer(house, "Ann Berg", zone_id=zone.id),
        customer(house, "Bob Berg", zone_id=zone.id, status=CustomerStatus.EXPIRED),
        customer(house, "Cid Berg"),
    )
    assert await found(house, admin, "berg", zone_id=zone.id, status=[CustomerStatus.ACTIVE]) == {"Ann Berg"}


@pytest.mark.parametrize(
    ("where", "field"),
    [
        ({"balance_below": Decimal("1.005")}, "balanceBelow"),
        ({"balance_above": Decimal("1e30")}, "balanceAbove"),
        ({"balance_above": Decimal("5"), "balance_below": Decimal("5")}, "balanceBelow"),
        ({"joined_from": NOW, "joined_to": NOW}, "joinedTo"),
    ],
)
async def test_what_cannot_be_meant_is_refused(admin: Viewer, where: dict[str, Any], field: str) -> None:
    with pytest.raises(DomainError) as refusal:
        lists.wanted(CustomerWhere(**where), None, by=admin)
    assert [(fault.code, fault.field) for fault in refusal.value.faults] == [(ErrorCode.INVALID, ("where", field))]


async def test_all_that_is_wrong_is_told_at_once(admin: Viewer) -> None:
    with pytest.raises(DomainError) as refusal:
        lists.wanted(CustomerWhere(balance_below=Decimal("0.001"), joined_from=NOW, joined_to=NOW), "ab", by=admin)
    assert {fault.field for fault in refusal.value.faults} == {
        ("where", "balanceBelow"),
        ("where", "joinedTo"),
        ("search",),
    }


# ---------------------------------------------------------------- search


@pytest.fixture
async def someone(house: House) -> Customer:
    """A customer with everything that can be searched for, beside one with nothing of it."""
    row = customer(
        house,
        "Zoë Quimby",
        account_number="NX200417",
        mobile="+8801712345678",
        email="z.quimby@example.net",
    )
    package = await house.package()
    line = service(row, package.id, username="zq-fibre", ip_address="203.0.113.77")
    await house.add(row, customer(house, "Other"))
    await house.add(line, invoice(row, date(2026, 6, 1)))
    await house.add(ServiceMac(service_id=line.id, mac="a4:5e:60:c2:19:f0"))
    return row


@pytest.mark.parametrize(
    "term",
    [
        *("Zoë Quimby", "quim", "QUIMBY", "  oë Q  ", "zoë"),
        *("z.quimby@example.net", "QUIMBY@EX", ".net"),
        *("NX200417", "nx2004", "0417"),
        *("zq-fibre", "ZQ-", "fibre"),
        *("+8801712345678", "8801712345678", "01712345678", "01712-345678", "(01712) 345 678", "+880 1712 345678"),
        *("008801712345678", "0171234", "+88017", "345678", "12345", "1712345678", "+880 (0) 1712", "০১৭১২৩৪"),
        *("A4:5E:60:C2:19:F0", "a45e60c219f0", "a4-5e-60-c2-19-f0", "a45e.60c2.19f0", "A45E60-C219F0"),
        *("a4:5e:60", "a4:5", "a45e60c2", "A45E.60", "a45e60-c2", "a4-5e-60-", "a4 5e 60"),
        "203.0.113.77",
    ],
)
async def test_a_search_finds(house: House, admin: Viewer, someone: Customer, term: str) -> None:
    assert await found(house, admin, term) == {someone.name}


@pytest.mark.parametrize(
    "term",
    [
        *("quimbi", "Zoe Quimby", "example.org", "NX200418", "zqfibre"),
        *("01812345678", "+017123", "0017123", "9999"),
        *("5e:60:c2", "a4:5e:61", "c2:19:f0", "a4:5e:60:c2:19:f0:00"),
        *("203.0.113.7", "203.0.113", "203.0.113.770", "::1"),
        *("INV-2026-", "2026", "INV-1999-000001", "%%%", "___", "\\\\\\", "a%z", "z_q", "z%y", "qui\\mby", "null"),
    ],
)
async def test_a_search_does_not_find(house: House, admin: Viewer, someone: Customer, term: str) -> None:
    assert someone.name not in await found(house, admin, term)


async def test_invoice_numbers_are_found_by_their_beginning(till: Till) -> None:
    one, two = await till.customer(), await till.customer()
    first, second = await till.bill(one.id, 100), await till.bill(two.id, 100)
    assert first.number
    assert second.number
    assert await found(till.house, till.by, first.number) == {one.name}
    assert await found(till.house, till.by, second.number.lower()) == {two.name}
    assert await found(till.house, till.by, first.number[:-1]) == {one.name, two.name}
    assert await found(till.house, till.by, first.number + "0") == set()


async def test_every_character_stands_for_itself(house: House, admin: Viewer) -> None:
    names = ["100% Net", "100 Net", "a_b_c Ltd", "aXbXc Ltd", "back\\slash", "backslash"]
    await house.add(*(customer(house, name) for name in names))
    assert await found(house, admin, "100%") == {"100% Net"}
    assert await found(house, admin, "a_b_c") == {"a_b_c Ltd"}
    assert await found(house, admin, "k\\s") == {"back\\slash"}
    assert await found(house, admin, "%_%") == set()
    assert await found(house, admin, "'; DROP TABLE customers; --") == set()


async def test_an_address_that_was_given_back_finds_nobody(house: House, admin: Viewer) -> None:
    ann, bob = customer(house, "Ann"), customer(house, "Bob")
    package = await house.package()
    await house.add(ann, bob)
    await house.add(
        service(ann, package.id, ip_address="192.0.2.9", status=ServiceStatus.TERMINATED),
        service(bob, package.id, ip_address="192.0.2.9"),
    )
    assert await found(house, admin, "192.0.2.9") == {"Bob"}


async def test_ipv6_in_any_spelling(house: House, admin: Viewer) -> None:
    ann = customer(house, "Ann")
    package = await house.package()
    await house.add(ann)
    await house.add(service(ann, package.id, ip_address="2001:db8::5"))
    assert await found(house, admin, "2001:0DB8:0:0:0:0:0:5") == {"Ann"}
    assert await found(house, admin, "fe80::1%eth0") == set()


@pytest.mark.parametrize(
    ("country", "mobile", "terms"),
    [
        ("KE", "+254712345678", ["0712345678", "07123", "712 345", "+254 7", "254712", "00254712"]),
        ("US", "+12025550123", ["12025550", "(202) 555-0123", "202-555", "+1 202", "1 202 555"]),
        # Italy dials the nought of a number from abroad as well, and Estonia has no prefix at all.
        ("IT", "+390612345678", ["06 1234", "0612345678", "+39 06"]),
        ("EE", "+3725123456", ["5123456", "512", "+372 51"]),
        ("XX", "+8801712345678", ["+880171", "1712345"]),
    ],
)
async def test_telephone_numbers_as_they_are_dialled_in_a_country(
    owner: Database, database: Database, country: str, mobile: str, terms: list[str]
) -> None:
    house = await factories.house(owner, database, "abroad", country=country)
    await house.add(customer(house, "Ann", mobile=mobile), customer(house, "Bob", mobile="+4930999999"))
    by = await house.viewer()
    for term in terms:
        assert await found(house, by, term) == {"Ann"}, term


@pytest.mark.parametrize("term", ["ab", " ab ", "x" * 101, "abc\0", "abc\n def", "\u0301\u0301\u0301"])
async def test_a_search_that_cannot_be_is_refused(admin: Viewer, term: str) -> None:
    with pytest.raises(DomainError) as refusal:
        lists.wanted(None, term, by=admin)
    assert [(fault.code, fault.field) for fault in refusal.value.faults] == [(ErrorCode.INVALID, ("search",))]


# What a name may hold, with much of what LIKE and the trigrams take for something else.
NAMES = st.text(st.one_of(st.sampled_from("aB %_\\'\"-.éÉßİıΣς০ক漢😀"), st.characters()), min_size=3, max_size=20)


@pytest.fixture(params=[0, 5000])
async def crowded(request: pytest.FixtureRequest, house: House, dsns: Dsns) -> House:
    """The house with few customers, all of which PostgreSQL then reads, and with many, where it goes by the index."""
    await fill(dsns.superuser, house, request.param)
    return house


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(name=NAMES, start=st.integers(0, 17), length=st.integers(3, 20))
async def test_a_search_finds_every_name_that_contains_it(
    crowded: House, admin: Viewer, name: str, start: int, length: int
) -> None:
    try:
        name = values.text(name, 255)
        forms = lists.wanted(None, name[min(start, len(name) - 3) :][:length], by=admin)["search"]
    except (values.Unfit, DomainError):
        assume(False)
    search = lists.FILTERS["search"]
    async with crowded.database.transaction(crowded.tenant.id) as session:
        session.add(customer(crowded, name, tenant_id=crowded.tenant.id))
        await session.flush()
        matches = search.matches(bindparam("search", forms, type_=search.kind), admin)
        assert name in set(await session.scalars(select(Customer.name).where(matches)))
        await session.rollback()


# ---------------------------------------------------------------- scope


async def test_nobody_outside_the_viewers_scope_is_found(house: House, other_house: House, admin: Viewer) -> None:
    reseller, rival = await house.operator(Role.OPERATOR), await house.operator(Role.OPERATOR)
    clerk = await house.operator(Role.STAFF, reseller)
    await house.add(
        customer(house, "Berg of the house"),
        customer(house, "Berg of the reseller", operator_id=reseller.id),
        customer(house, "Berg of the rival", operator_id=rival.id),
    )
    stranger = customer(other_house, "Berg of the south", account_number="S1", mobile="+8801712345678")
    await other_house.add(stranger)
    package = await other_house.package()
    line = service(stranger, package.id, ip_address="203.0.113.5", username="southline")
    await other_house.add(line, invoice(stranger, date(2026, 6, 1)))
    await other_house.add(ServiceMac(service_id=line.id, mac="a4:5e:60:c2:19:f0"))
    below = await house.viewer(clerk)
    assert await found(house, below, "berg") == {"Berg of the reseller"}
    assert await found(house, below, operator_id=rival.id) == set()
    assert await found(house, below) == {"Berg of the reseller"}
    assert len(await found(house, admin, "berg")) == 3
    for term in ("01712345678", "203.0.113.5", "southline", "a4:5e:60:c2:19:f0", "INV-2026-0", "INV-2026-9", "south"):
        assert await found(house, admin, term) == set(), term
    assert await found(house, admin, package_id=package.id) == set()


# ---------------------------------------------------------------- orders


@pytest.fixture
async def five(till: Till, house: House) -> None:
    """Five customers that each order sorts in another way."""
    package = await house.package()
    made = [await till.customer() for _ in range(5)]
    names = ["delta", "Bravo", "alpha", "bravo", "Éclair"]
    status = [CustomerStatus.SUSPENDED, *[CustomerStatus.ACTIVE] * 3, CustomerStatus.EXPIRED]
    async with house.database.transaction(house.tenant.id) as session:
        for row, name, each in zip(made, names, status, strict=True):
            row = await session.get_one(Customer, row.id)
            row.name, row.status = name, each
    await house.add(
        service(made[0], package.id, expires_at=NOW),
        service(made[1], package.id, expires_at=None),
        # A second service does not count, however soon it ends.
        service(made[1], package.id, expires_at=NOW - timedelta(days=9), is_primary=False),
        service(made[3], package.id, expires_at=NOW - timedelta(days=1)),
    )
    await till.bill(made[0].id, 500)
    await till.bill(made[4].id, 500)
    await till.pay(700, customer_id=made[1].id)


@pytest.mark.usefixtures("five")
@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (CustomerOrderField.CREATED_AT, ["delta", "Bravo", "alpha", "bravo", "Éclair"]),
        (CustomerOrderField.NAME, ["alpha", "Bravo", "bravo", "delta", "Éclair"]),
        (CustomerOrderField.ACCOUNT_NUMBER, ["delta", "Bravo", "alpha", "bravo", "Éclair"]),
        (CustomerOrderField.EXPIRES_AT, ["bravo", "delta", "Bravo", "alpha", "Éclair"]),
        (CustomerOrderField.BALANCE, ["delta", "Éclair", "alpha", "bravo", "Bravo"]),
        (CustomerOrderField.STATUS, ["Bravo", "alpha", "bravo", "Éclair", "delta"]),
    ],
)
async def test_orders(house: House, admin: Viewer, field: CustomerOrderField, expected: list[str]) -> None:
    assert await in_order(house, admin, field) == expected
    assert await in_order(house, admin, field, descending=True) == expected[::-1]


def test_every_order_is_total_and_known_by_its_name() -> None:
    assert set(lists.ORDERS) == set(CustomerOrderField)
    assert len({order.name for order in lists.ORDERS.values()}) == len(CustomerOrderField)


# ---------------------------------------------------------------- figures


async def test_figures_are_of_the_viewers_scope(till: Till, dsns: Dsns) -> None:
    house = till.house
    reseller = await house.operator(Role.OPERATOR)
    statuses = [CustomerStatus.ACTIVE, CustomerStatus.ACTIVE, *CustomerStatus]
    made = [await till.customer() for _ in statuses]
    async with house.database.transaction(house.tenant.id) as session:
        for row, status in zip(made, statuses, strict=True):
            (await session.get_one(Customer, row.id)).status = status
        (await session.get_one(Customer, made[0].id)).operator_id = reseller.id
    await till.pay(9, customer_id=made[0].id)
    await till.bill(made[1].id, 30)
    # Of a terminated customer.
    await till.bill(made[-1].id, 10_000)
    await add_session(dsns, house, made[0])
    await add_session(dsns, house, made[0])
    async with house.database.read(house.tenant.id) as session:
        whole = (await session.execute(lists.figures(till.by))).one()
        part = (await session.execute(lists.figures(await house.viewer(reseller)))).one()
        none = (await session.execute(lists.figures(await house.viewer(await house.operator(Role.OPERATOR))))).one()
    # -21 / 6 = -3.5
    assert whole._asdict() == {
        "total": 6,
        "active": 3,
        "suspended": 1,
        "pending": 1,
        "expired": 1,
        "online": 1,
        "average_minor": -4,
    }
    assert tuple(part) == (1, 1, 0, 0, 0, 1, 9)
    assert tuple(none) == (0, 0, 0, 0, 0, 0, 0)


# ---------------------------------------------------------------- plans


async def test_a_selective_search_goes_through_the_indexes(house: House, other_house: House, dsns: Dsns) -> None:
    for each in (house, other_house):
        await fill(dsns.superuser, each, 5000)
    # What a function does shows in no EXPLAIN of its caller. The function runs as its owner whoever calls.
    connection = await asyncpg.connect(dsns.superuser)
    plans: list[str] = []
    connection.add_log_listener(lambda _, message: plans.append(message.message))
    await connection.execute("""
        LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on;
        SET client_min_messages = log""")
    await connection.execute("SELECT set_config('app.tenant_id', $1, false)", str(house.tenant.id))
    search = "SELECT customer_matches($1::text[])"
    for forms in (
        ["person4711@", None, None, None, None, None],
        ["4711003", "4711003", "+8804711003", None, None, None],
    ):
        for _ in range(7):  # planned for the values at hand, and in the end perhaps for any
            plans.clear()
            await connection.fetch(search, forms)
            [plan] = [each for each in plans if "UNION" in each]
            for index in ("ix_customers_search", "ix_services_search"):
                assert f"Bitmap Index Scan on {index}" in plan
            assert "Seq Scan on customers" not in plan
            assert "Seq Scan on services" not in plan
    await connection.close()


async def test_a_page_begins_where_the_index_is_at_its_border(
    house: House, other_house: House, dsns: Dsns, admin: Viewer
) -> None:
    for each in (house, other_house):
        await fill(dsns.superuser, each, 5000)
    for field, index, keys in (
        (CustomerOrderField.NAME, "ix_customers_name", "ROW(name_key, id)"),
        (CustomerOrderField.CREATED_AT, "uq_customers_tenant_id_id", "(id"),
        (CustomerOrderField.STATUS, "ix_customers_status", "ROW((status)::text, id)"),
        (CustomerOrderField.BALANCE, "ix_customer_balances_balance", "ROW(balance_minor, customer_id)"),
    ):
        async with house.database.read(house.tenant.id) as session:
            middle = (await session.execute(sorted_rows(admin, field, False, (), 2500))).all()[-1]
            page = sorted_rows(admin, field, False, middle[1:], 50)
            connection = await session.connection()
            compiled = page.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
            plan = "\n".join((await connection.exec_driver_sql(f"EXPLAIN {compiled}")).scalars())
        assert re.search(rf"using {index} on", plan), plan
        assert re.search(rf"Index Cond: .*tenant_id = .*{re.escape(keys)} > ", plan), plan
        assert "Sort" not in plan, plan

"""Prices agreed with customers and operators: who has to pay what, in Python and in SQL, and who may agree on it."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, true, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from ispgraph import clock, ids
from ispgraph.domain.billing import overrides
from ispgraph.domain.models import AuditEntry, Customer, Operator, Package, PriceOverride, Role
from ispgraph.domain.permissions import DEFAULTS
from tests.api import Api
from tests.billing.conftest import Till
from tests.billing.resellers import Tree, opr
from tests.factories import House
from tests.wizard import Wizard, faults

OVERRIDE = """priceOverride { id package { id } operator { id } customer { id } price { amount } discountPercent
  validFrom validUntil inForce reason } errors { code message field }"""
SET = f"mutation ($input: PriceOverrideInput!) {{ priceOverrideSet(input: $input) {{ {OVERRIDE} }} }}"
END = f"""mutation ($id: ID!, $at: DateTime, $key: String) {{
  priceOverrideEnd(overrideId: $id, at: $at, idempotencyKey: $key) {{ {OVERRIDE} }} }}"""
LIST = """query ($package: ID, $operator: ID, $customer: ID, $first: Int) { priceOverrides(packageId: $package,
  operatorId: $operator, customerId: $customer, first: $first) { totalCount nodes { id reason inForce } } }"""


@pytest.fixture
async def tree(api: Api, till: Till) -> Tree:
    return await Tree.grow(api, till)


def cus(customer: Customer) -> str:
    """The public id."""
    return ids.encode("cus", customer.id)


async def agree(
    tree: Tree, package: Package, whose: Operator | Customer | None, who: Operator | None = None, **terms: Any
) -> dict[str, Any]:
    """The payload of priceOverrideSet."""
    named = {"operatorId": opr(whose)} if isinstance(whose, Operator) else {}
    named |= {"customerId": cus(whose)} if isinstance(whose, Customer) else {}
    asked = {"packageId": ids.encode("pkg", package.id), "reason": "Agreed", **named, **terms}
    return await tree.ask(SET, who, input=asked)


async def price(tree: Tree, customer: Customer, package: Package) -> int:
    """What a package costs a customer now: the same in Python and in SQL."""
    at = clock.now()
    async with tree.till.database.read(tree.till.house.tenant.id) as session:
        by_sql = await session.scalar(select(overrides.price_minor(customer.id, package.id, at)))
        row = await session.get_one(Customer, customer.id)
        found = await overrides.agreed_minor(
            session,
            await session.get_one(Package, package.id),
            operator_id=row.operator_id,
            customer_id=row.id,
            at=at,
        )
    assert by_sql == found
    return found


async def test_the_customer_then_the_nearest_operator_then_the_package(tree: Tree) -> None:
    package, other = await tree.till.house.package("Home"), await tree.till.house.package("Other")
    customer, cousin = await tree.customer(tree.seller), await tree.customer(tree.sub)
    stranger = await tree.customer(tree.rival)
    everybody = (customer, cousin, stranger)

    async def prices() -> list[int]:
        return [await price(tree, each, package) for each in everybody]

    assert await prices() == [50_000] * 3
    made = await agree(tree, package, tree.reseller, discountPercent="10")
    assert (made["errors"], made["priceOverride"]["inForce"]) == ([], True)
    assert await prices() == [45_000, 45_000, 50_000]
    await agree(tree, package, tree.sub, discountPercent="33.333")
    assert await prices() == [33_334, 33_334, 50_000]
    await agree(tree, package, tree.seller, price="410.55")
    assert await prices() == [41_055, 33_334, 50_000]
    await agree(tree, package, customer, price="0")
    assert await prices() == [0, 33_334, 50_000]
    await agree(tree, package, cousin, discountPercent="100")
    assert await prices() == [0, 0, 50_000]
    assert [await price(tree, each, other) for each in everybody] == [50_000] * 3
    # The price of the package is what it was, and a discount follows it.
    seen = await tree.ask("{ packages { name price { amount } } }")
    assert {row["price"]["amount"] for row in seen} == {"500.00"}  # type: ignore[index]
    async with tree.till.database.transaction(tree.till.house.tenant.id) as session:
        await session.execute(update(Package).values(price_minor=1_999))
    assert await prices() == [0, 0, 1_999]
    away = await tree.customer(tree.sub)
    assert await price(tree, away, package) == 1_333


async def test_a_service_says_what_it_costs(tree: Tree) -> None:
    package, customer = await tree.till.house.package(), await tree.customer(tree.sub)
    await tree.service(customer, package)
    await agree(tree, package, tree.reseller, discountPercent="10")
    document = """query ($id: ID!) { customer(by: {id: $id}) { service { price { amount }
      package { price { amount } } } } }"""
    for who in (tree.admin, tree.sub):
        found = await tree.ask(document, who, id=cus(customer))
        assert found["service"] == {"price": {"amount": "450.00"}, "package": {"price": {"amount": "500.00"}}}


async def test_for_some_time(tree: Tree, moved_clock: None) -> None:
    clock.set_clock("2027-03-01T00:00:00Z")
    package = await tree.till.house.package()
    customer = await tree.customer(tree.sub)
    spring = {"validFrom": "2027-03-10T00:00:00Z", "validUntil": "2027-03-20T00:00:00Z"}
    made = await agree(tree, package, customer, price="1", **spring)
    assert (made["errors"], made["priceOverride"]["inForce"]) == ([], False)
    for moment, minor in (
        ("2027-03-09T23:59:59Z", 50_000),
        ("2027-03-10T00:00:00Z", 100),
        ("2027-03-19T23:59:59Z", 100),
        ("2027-03-20T00:00:00Z", 50_000),
    ):
        clock.set_clock(moment)
        assert await price(tree, customer, package) == minor, moment


async def test_a_new_price_ends_the_one_before(tree: Tree, moved_clock: None) -> None:
    clock.set_clock("2027-03-01T00:00:00Z")
    package = await tree.till.house.package()
    customer = await tree.customer(tree.sub)
    await agree(tree, package, customer, price="1")
    clock.set_clock("2027-03-02T00:00:00Z")
    later = await agree(tree, package, customer, price="2", validFrom="2027-04-01T00:00:00Z")
    assert await price(tree, customer, package) == 100
    # Between now and April there is no room for one without an end.
    refused = await agree(tree, package, customer, price="3")
    assert faults(refused) == [("TAKEN", "input.validUntil")]
    assert "2027-04-01" in refused["errors"][0]["message"]
    assert await price(tree, customer, package) == 100
    made = await agree(tree, package, customer, price="3", validUntil="2027-04-01T00:00:00Z")
    assert made["errors"] == []
    clock.set_clock("2027-03-15T00:00:00Z")
    assert await price(tree, customer, package) == 300
    never = await tree.ask(END, id=later["priceOverride"]["id"])
    assert (never["errors"], never["priceOverride"]["validUntil"]) == ([], "2027-04-01T00:00:00Z")
    clock.set_clock("2027-04-02T00:00:00Z")
    assert await price(tree, customer, package) == 50_000
    assert (await agree(tree, package, customer, price="4"))["errors"] == []
    removed = await tree.ask(
        "mutation ($id: ID!) { customerDelete(customerId: $id) { errors { code message field } } }", id=cus(customer)
    )
    assert [each["message"] for each in removed["errors"]] == ["A customer with 4 agreed prices cannot be deleted."]
    nodes = (await tree.ask(LIST, customer=cus(customer)))["nodes"]
    assert [row["inForce"] for row in nodes] == [True, False, False, False]


async def test_one_is_ended(tree: Tree, moved_clock: None) -> None:
    clock.set_clock("2027-03-01T00:00:00Z")
    package = await tree.till.house.package()
    customer = await tree.customer(tree.sub)
    key = (await agree(tree, package, tree.sub, price="1"))["priceOverride"]["id"]
    assert faults(await tree.ask(END, id=key, at="2027-02-28T00:00:00Z")) == [("INVALID", "at")]
    ended = await tree.ask(END, id=key, at="2027-03-05T00:00:00Z", key="k")
    assert ended["priceOverride"]["validUntil"] == "2027-03-05T00:00:00Z"
    assert faults(await tree.ask(END, id=key, at="2027-03-06T00:00:00Z")) == [("INVALID_STATE", "overrideId")]
    clock.set_clock("2027-03-04T00:00:00Z")
    assert await price(tree, customer, package) == 100
    assert (await tree.ask(END, id=key))["errors"] == []
    assert await price(tree, customer, package) == 50_000
    assert faults(await tree.ask(END, id=key)) == [("INVALID_STATE", "overrideId")]
    clock.set_clock("2027-03-08T00:00:00Z")
    assert (await tree.ask(END, id=key, at="2027-03-05T00:00:00Z", key="k"))["errors"] == []
    assert faults(await tree.ask(END, id="pov_" + "0" * 32)) == [("NOT_FOUND", "overrideId")]
    assert faults(await tree.ask(END, id="pkg_" + "0" * 32)) == [("NOT_FOUND", "overrideId")]
    async with tree.till.database.read(tree.till.house.tenant.id) as session:
        entries = (await session.scalars(select(AuditEntry).order_by(AuditEntry.id))).all()
    told = [(row.action, row.subject_id) for row in entries if row.action.startswith("price")]
    assert told == [("price_override.set", tree.sub.id), *[("price_override.end", tree.sub.id)] * 2]


async def test_of_two_at_once_one_is_agreed_for_each_moment(tree: Tree) -> None:
    package = await tree.till.house.package()
    customer = await tree.customer(tree.sub)
    done = await asyncio.gather(*(agree(tree, package, customer, price=str(number)) for number in range(6)))
    assert {tuple(map(str, faults(each))) for each in done} <= {(), ("('INVALID', 'input.validFrom')",)}
    async with tree.till.database.read(tree.till.house.tenant.id) as session:
        open_ones = select(func.count()).select_from(PriceOverride).where(PriceOverride.valid_until.is_(None))
        assert await session.scalar(open_ones) == 1
    await price(tree, customer, package)


async def test_the_wizard_shows_and_bills_what_is_agreed(tree: Tree, moved_clock: None) -> None:
    package = await tree.till.house.package()
    everything = sorted(permission.value for permission in DEFAULTS[Role.ADMIN])
    seller = await tree.till.house.operator(Role.OPERATOR, permissions=everything)
    await agree(tree, package, seller, price="30.30")
    wizard = await (await Wizard.begin(tree.api, seller)).fill(package, pays="30.30")
    review = "review { ready invoiceTotal { amount } invoiceStatusAfter missing { code } }"
    assert (await wizard.read(review))["review"] == {
        "ready": True,
        "invoiceTotal": {"amount": "30.30"},
        "invoiceStatusAfter": "PAID",
        "missing": [],
    }
    # What was shown is what is billed: another price has to be accepted first.
    clock.set_clock("+1")
    await agree(tree, package, seller, price="29")
    assert faults(await wizard.confirm()) == [("QUOTE_STALE", "draft.package")]
    await wizard.step("Package", packageId=ids.encode("pkg", package.id))
    made = await wizard.confirm()
    assert (made["errors"], made["invoice"]["total"], made["customer"]["wallet"]) == (
        [],
        {"amount": "29.00"},
        {"amount": "1.30"},
    )
    lines = await tree.ask(
        "query ($id: ID!) { node(id: $id) { ... on Invoice { lines { explanation } } } }", id=made["invoice"]["id"]
    )
    assert lines["lines"][0]["explanation"].startswith("1 month at 29.00 USD")


async def test_what_costs_nothing_is_active_at_once(tree: Tree) -> None:
    async with tree.till.database.transaction(tree.till.house.tenant.id) as session:
        await session.execute(update(type(tree.till.house.tenant)).values(pending_until_paid=True))
    package = await tree.till.house.package()
    await agree(tree, package, tree.admin, discountPercent="100")
    made = await (await (await Wizard.begin(tree.api, tree.admin)).fill(package, pays="0")).confirm()
    assert (made["errors"], made["customer"]["status"], made["invoice"]["status"]) == ([], "ACTIVE", "PAID")


# --------------------------------------------------------------------------------------------- bad and not allowed

TERMS: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
    ({}, [("INVALID", "input.price")]),
    ({"price": "1", "discountPercent": "5"}, [("INVALID", "input.price")]),
    ({"price": "-0.01"}, [("INVALID", "input.price")]),
    ({"price": "0.001"}, [("INVALID", "input.price")]),
    ({"price": "999999999999999999"}, [("INVALID", "input.price")]),
    ({"discountPercent": "0"}, [("INVALID", "input.discountPercent")]),
    ({"discountPercent": "-0"}, [("INVALID", "input.discountPercent")]),
    ({"discountPercent": "-5"}, [("INVALID", "input.discountPercent")]),
    ({"discountPercent": "100.001"}, [("INVALID", "input.discountPercent")]),
    ({"discountPercent": "0.0001"}, [("INVALID", "input.discountPercent")]),
    ({"price": "1", "reason": " "}, [("REQUIRED", "input.reason")]),
    ({"price": "1", "reason": "x" * 256}, [("INVALID", "input.reason")]),
    ({"price": "1", "validFrom": "2020-01-01T00:00:00Z"}, [("INVALID", "input.validFrom")]),
    ({"price": "1", "validUntil": "2020-01-01T00:00:00Z"}, [("INVALID", "input.validUntil")]),
    (
        {"price": "1", "validFrom": "2090-01-01T00:00:00Z", "validUntil": "2090-01-01T00:00:00Z"},
        [("INVALID", "input.validUntil")],
    ),
    ({"price": "1", "packageId": "pkg_" + "0" * 32}, [("NOT_FOUND", "input.packageId")]),
    ({"price": "1", "packageId": "x"}, [("NOT_FOUND", "input.packageId")]),
    ({"price": "1", "operatorId": "opr_" + "0" * 32}, [("NOT_FOUND", "input.operatorId")]),
    ({"price": "1", "operatorId": None}, [("INVALID", "input.operatorId")]),
    ({"price": "1", "operatorId": None, "customerId": "cus_" + "0" * 32}, [("NOT_FOUND", "input.customerId")]),
    ({"price": "1", "customerId": "cus_" + "0" * 32}, [("INVALID", "input.operatorId")]),
    ({"price": "1", "idempotencyKey": ""}, [("INVALID", "input.idempotencyKey")]),
    (
        {"price": "-1", "discountPercent": "0", "reason": "", "operatorId": None},
        [
            ("INVALID", "input.price"),
            ("INVALID", "input.price"),
            ("INVALID", "input.discountPercent"),
            ("REQUIRED", "input.reason"),
            ("INVALID", "input.operatorId"),
        ],
    ),
]


async def test_terms_that_are_none_are_named(tree: Tree) -> None:
    package = await tree.till.house.package()
    for terms, expected in TERMS:
        assert faults(await agree(tree, package, tree.sub, **terms)) == expected, terms
    for text in ("NaN", "1e309", "1,000", "١", "", "--1", "5%"):
        for name in ("price", "discountPercent"):
            asked = {"packageId": ids.encode("pkg", package.id), "operatorId": opr(tree.sub), "reason": "x", name: text}
            answer = await tree.api(SET, tree.admin, input=asked)
            assert answer["errors"][0]["extensions"]["code"] == "BAD_REQUEST", (name, text)
    assert (await tree.ask(LIST))["totalCount"] == 0


async def test_who_agrees_on_prices_and_sees_them(tree: Tree, other_house: House) -> None:
    package = await tree.till.house.package()
    everything = sorted(permission.value for permission in DEFAULTS[Role.ADMIN])
    mighty = await tree.till.house.operator(Role.OPERATOR, permissions=everything)
    own, foreign = await tree.customer(mighty), await tree.customer(tree.sub)
    assert faults(await agree(tree, package, own, mighty, price="1", reason="own customer")) == []
    assert faults(await agree(tree, package, mighty, mighty, price="2", reason="own tree")) == []
    assert faults(await agree(tree, package, foreign, mighty, price="1")) == [("NOT_FOUND", "input.customerId")]
    assert faults(await agree(tree, package, tree.sub, mighty, price="1")) == [("NOT_FOUND", "input.operatorId")]
    made = await agree(tree, package, foreign, price="3", reason="of another")
    assert faults(await tree.ask(END, mighty, id=made["priceOverride"]["id"])) == [("NOT_FOUND", "overrideId")]
    answer = await tree.api(SET, tree.reseller, input={"packageId": ids.encode("pkg", package.id), "reason": "x"})
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    for who, seen in (
        (tree.admin, ["of another", "own tree", "own customer"]),
        (mighty, ["own tree", "own customer"]),
        (tree.reseller, ["of another"]),
        (tree.rival, []),
        (other_house.admin, []),
    ):
        assert [row["reason"] for row in (await tree.ask(LIST, who))["nodes"]] == seen
    assert (await tree.ask(LIST, mighty, customer=cus(foreign)))["totalCount"] == 0
    assert (await tree.ask(LIST, operator=opr(mighty)))["totalCount"] == 1
    assert (await tree.ask(LIST, package="pkg_" + "0" * 32))["totalCount"] == 0
    for who, shown in ((tree.admin, True), (tree.reseller, True), (mighty, False), (other_house.admin, False)):
        found = await tree.api.data("query ($id: ID!) { node(id: $id) { id } }", who, id=made["priceOverride"]["id"])
        assert (found["node"] is not None) is shown


async def test_the_same_key_agrees_once(tree: Tree, moved_clock: None) -> None:
    package = await tree.till.house.package()
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    first = await agree(tree, package, tree.sub, discountPercent="5", validFrom=soon, idempotencyKey="k")
    clock.set_clock("+7200")
    again = await agree(tree, package, tree.sub, discountPercent="5.00", validFrom=soon, idempotencyKey="k")
    assert again["priceOverride"]["id"] == first["priceOverride"]["id"]
    refused = await agree(tree, package, tree.sub, discountPercent="6", validFrom=soon, idempotencyKey="k")
    assert faults(refused) == [("IDEMPOTENCY_KEY_REUSED", "input.idempotencyKey")]
    assert (await tree.ask(LIST))["totalCount"] == 1


async def test_the_database_keeps_it_too(tree: Tree) -> None:
    package = await tree.till.house.package()
    key = UUID((await agree(tree, package, tree.sub, price="5"))["priceOverride"]["id"].removeprefix("pov_"))
    tenant, database = tree.till.house.tenant.id, tree.till.database
    for change in ({"price_minor": 0}, {"valid_until": None}, {"reason": "Else"}):
        with pytest.raises(DBAPIError, match=r"permission denied|only ever ends earlier"):
            async with database.transaction(tenant) as session:
                await session.execute(update(PriceOverride).where(PriceOverride.id == key).values(**change))
    second = PriceOverride(
        tenant_id=tenant,
        package_id=package.id,
        operator_id=tree.sub.id,
        price_minor=1,
        valid_from=clock.now(),
        reason="x",
    )
    with pytest.raises(IntegrityError, match="ex_price_overrides_one_at_a_time"):
        async with database.transaction(tenant) as session:
            session.add(second)


# ---------------------------------------------------------------------------------------------- Python and SQL


@given(price=st.integers(0, 10**12), discount=st.decimals("0.001", 100, places=3))
@example(price=1, discount=Decimal(50))
@example(price=3, discount=Decimal("50"))
def test_a_discount_is_rounded_half_up(price: int, discount: Decimal) -> None:
    exact = price * (100 - discount) / 100
    reduced = overrides.reduced_minor(price, discount)
    assert 0 <= reduced <= price
    assert Decimal("-0.5") < reduced - exact <= Decimal("0.5")


_TERMS = st.one_of(
    st.tuples(st.integers(0, 10**6), st.none()), st.tuples(st.none(), st.decimals("0.001", 100, places=3))
)
_AGREED = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 1), _TERMS, st.integers(0, 5), st.none() | st.integers(1, 5)),
    max_size=14,
)


@pytest.mark.long
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(agreed=_AGREED, listed=st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)))
async def test_python_and_sql_say_the_same(tree: Tree, agreed: list[Any], listed: tuple[int, int]) -> None:
    house = tree.till.house
    packages = [await house.package(f"Package {ids.uuid7()}", price_minor=minor) for minor in listed]
    everybody = [await tree.customer(who) for who in (tree.seller, tree.sub, tree.rival)]
    whose: list[Any] = [tree.reseller, tree.sub, tree.seller, *everybody]
    begin = clock.now()
    rows = []
    for target, package, (minor, discount), since, length in agreed:
        until = None if length is None else since + length
        clash = [
            one
            for one in rows
            if one[:2] == (target, package) and (until is None or one[2] < until) and (one[3] is None or since < one[3])
        ]
        if not clash:
            rows.append((target, package, since, until, minor, discount))
    await house.add(
        *(
            PriceOverride(
                package_id=packages[package].id,
                operator_id=whose[target].id if target < 3 else None,
                customer_id=whose[target].id if target >= 3 else None,
                price_minor=minor,
                discount_percent=discount,
                valid_from=begin + timedelta(days=since),
                valid_until=None if until is None else begin + timedelta(days=until),
                reason="x",
            )
            for target, package, since, until, minor, discount in rows
        )
    )
    async with house.database.read(house.tenant.id) as session:
        for day in range(0, 11, 2):
            at = begin + timedelta(days=day)
            statement = (
                select(Customer.id, Package.id, overrides.price_minor(Customer.id, Package.id, at))
                .join(Package, true())
                .where(Customer.id.in_([each.id for each in everybody]))
                .where(Package.id.in_([each.id for each in packages]))
            )
            by_sql = {(row[0], row[1]): row[2] for row in await session.execute(statement)}
            by_python = {
                (each.id, package.id): await overrides.agreed_minor(
                    session, package, operator_id=each.operator_id, customer_id=each.id, at=at
                )
                for each in everybody
                for package in packages
            }
            assert by_sql == by_python


async def test_the_sql_sees_its_own_tenant_alone(tree: Tree, other_house: House) -> None:
    package = await tree.till.house.package()
    customer = await tree.customer(tree.sub)
    async with other_house.database.read(other_house.tenant.id) as session:
        assert await session.scalar(select(overrides.price_minor(customer.id, package.id, clock.now()))) is None

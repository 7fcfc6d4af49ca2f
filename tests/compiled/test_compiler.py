"""What the compiler promises for schemas and situations that the product has no case of, and errors people cause."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Annotated, Any

import asyncpg
import orjson
import pytest
import redis.asyncio
import strawberry
from sqlalchemy import ColumnElement, literal_column
from strawberry.schema.config import StrawberryConfig

from ispgraph import ids
from ispgraph.db import Database
from ispgraph.domain import models
from ispgraph.domain.customer_lists import CustomerOrderField
from ispgraph.domain.lists import Order
from ispgraph.domain.models import ConnectionType, CustomerStatus, Role
from ispgraph.domain.pages import newest_first
from ispgraph.schema.compiler import plans
from ispgraph.schema.compiler.executor import CompiledExecutor
from ispgraph.schema.compiler.fields import expression, many, pages, part, row_of
from ispgraph.schema.compiler.reading import page_of, reading
from ispgraph.schema.compiler.sources import Many, Pages, values_of
from ispgraph.schema.context import Context
from ispgraph.schema.errors import ApiSchema
from ispgraph.schema.limits import EXTENSIONS
from ispgraph.schema.pages import Connection
from ispgraph.schema.scalars import SCALAR_MAP
from ispgraph.settings import Settings
from tests import factories
from tests.api import Api
from tests.api import schema as product_schema
from tests.compiled import world
from tests.compiled.conftest import Both
from tests.conftest import Dsns
from tests.crowd import customer, service
from tests.factories import House
from tests.statements import counted

# -- a schema of its own over the product's tables


@strawberry.interface
class Wire:
    username: str


def _is(of_pppoe: bool) -> Any:
    def is_type_of(_cls: Any, value: Any, _info: Any) -> bool:
        return isinstance(value, models.Service) and (value.connection_type is ConnectionType.PPPOE) == of_pppoe

    return classmethod(is_type_of)


@strawberry.type
class PppoeWire(Wire):
    is_type_of = _is(True)
    profile: str | None


@strawberry.type
class OtherWire(Wire):
    is_type_of = _is(False)
    auto_renew: bool


row_of(models.Service)(Wire)
row_of(models.Service, when=lambda row: row.connection_type == ConnectionType.PPPOE)(PppoeWire)
row_of(models.Service, when=lambda row: row.connection_type != ConnectionType.PPPOE)(OtherWire)


def _numbered(number: int) -> Callable[..., ColumnElement[int]]:
    return lambda row, asked: literal_column(str(number))


_WIDE = {f"c{number}": expression(_numbered(number)) for number in range(60)}
Wide = strawberry.type(type("Wide", (), {"__annotations__": dict.fromkeys(_WIDE, int), **_WIDE}))


@strawberry.type
class Person:
    is_type_of = classmethod(lambda _cls, value, _info: isinstance(value, models.Customer))
    name: str
    wires: list[Wire] = many("customer_id")
    either: list[Annotated[PppoeWire | OtherWire, strawberry.union("Either")]] = many("customer_id")
    paged: Connection[Wire] = pages(
        lambda row, asked: models.Service.customer_id == row.id, newest_first("wires", models.Service.id)
    )
    wide: Wide = part()
    broken: int | None = expression(lambda row, asked: literal_column("1 / 0"))

    @strawberry.field
    def shout(root: strawberry.Parent[models.Customer]) -> str:
        return root.name.upper()

    @strawberry.field
    async def fails(root: strawberry.Parent[models.Customer], info: strawberry.Info) -> str | None:
        await asyncio.sleep(0)
        if root.name == "Bad":
            raise ValueError("secret")
        return "fine"

    @strawberry.field
    def must_not_fail(root: strawberry.Parent[models.Customer]) -> str:
        if root.name == "Bad":
            raise ValueError("secret")
        return "fine"


row_of(models.Customer)(Person)
_BY_NAME = Order("people", newest_first("people", models.Customer.id).keys)
_PEOPLE = Many(lambda _, row, asked: row.id.is_not(None), lambda row, asked: [row.name])
_PAGE = Pages(lambda _, asked: models.Customer.id.is_not(None), _BY_NAME, {}, values_of())


@strawberry.type
class Toy:
    @strawberry.field
    async def people(self) -> list[Person]:
        found: list[Person] = reading(_PEOPLE)
        return found

    @strawberry.field
    async def maybe(self) -> list[Person | None] | None:
        found: list[Person | None] = reading(_PEOPLE)
        return found

    @strawberry.field
    async def listed(self, first: int | None = None) -> Connection[Person]:
        found: Connection[Person] = page_of(_PAGE, {}, first=first)
        return found


Run = Callable[..., Any]


@pytest.fixture(scope="module")
def toy() -> ApiSchema:
    """The schema."""
    return ApiSchema(
        query=Toy,
        types=[PppoeWire, OtherWire],
        extensions=EXTENSIONS,
        execution_context_class=CompiledExecutor,
        config=StrawberryConfig(scalar_map=SCALAR_MAP),
    )


@pytest.fixture
async def run(toy: ApiSchema, house: House, database: Database, settings: Settings) -> AsyncIterator[Run]:
    """Answers a document, compiled or not, as JSON says it."""
    viewer = await house.viewer()
    client = redis.asyncio.from_url(settings.redis_url)

    async def answer(
        document: str, *, compiled: bool = True, operation: str | None = None, **variables: Any
    ) -> dict[str, Any]:
        context = Context(database, client, replace(settings, compiled_reads=compiled), viewer)
        result = await toy.execute(document, context_value=context, variable_values=variables, operation_name=operation)
        errors = [error.formatted for error in result.errors or []]
        for error in errors:
            error["extensions"].pop("traceId", None)
        made: dict[str, Any] = {"data": orjson.loads(orjson.dumps(result.data)), "errors": errors}
        return made

    yield answer
    await client.aclose()


@pytest.fixture
async def people(house: House) -> list[models.Customer]:
    """Two customers, one of whom is bad, with services of two kinds."""
    package = await house.package()
    made = [customer(house, "Good"), customer(house, "Bad")]
    await house.add(*made)
    for number, each in enumerate(made):
        kinds = (ConnectionType.PPPOE, ConnectionType.HOTSPOT, ConnectionType.PPPOE)[: 3 - number]
        for place, kind in enumerate(kinds):
            fields = {"connection_type": kind, "is_primary": place == 0, "username": f"u{number}{place}"}
            await house.add(service(each, package.id, profile=f"p{place}", **fields))
    return made


async def same(run: Run, database: Database, document: str, *, loads: bool = False, **variables: Any) -> dict[str, Any]:
    """The answer, which is the same in both ways, and which was compiled unless it `loads`."""
    with counted(database) as statements:
        answer = await run(document, **variables)
    assert all("set_config" in each for each in statements) != loads, statements
    other = await run(document, compiled=False, **variables)
    assert json.dumps(answer) == json.dumps(other)
    return dict(answer)


WIRES = "__typename username ... on PppoeWire { profile } ... on OtherWire { autoRenew name: username }"


@pytest.mark.usefixtures("people")
async def test_types_that_share_a_table(run: Run, database: Database) -> None:
    answer = await same(run, database, f"{{ people {{ wires {{ {WIRES} }} }} }}")
    assert answer["data"]["people"][1]["wires"] == [
        {"__typename": "PppoeWire", "username": "u00", "profile": "p0"},
        {"__typename": "OtherWire", "username": "u01", "autoRenew": False, "name": "u01"},
        {"__typename": "PppoeWire", "username": "u02", "profile": "p2"},
    ]
    paged = f"{{ people {{ paged(last: 2) {{ nodes {{ {WIRES} }} }} }} }}"
    assert len((await same(run, database, paged))["data"]["people"][1]["paged"]["nodes"]) == 2
    edges = f"{{ people {{ paged(first: 2) {{ edges {{ cursor node {{ {WIRES} }} }} pageInfo {{ hasNextPage }} }} }} }}"
    found = (await same(run, database, edges))["data"]["people"][1]["paged"]
    assert [edge["node"]["username"] for edge in found["edges"]] == ["u02", "u01"]
    assert found["pageInfo"] == {"hasNextPage": True}


@pytest.mark.usefixtures("people")
async def test_a_union_of_types_that_share_a_table(run: Run, database: Database) -> None:
    members = "__typename ... on PppoeWire { username profile } ... on OtherWire { name: username autoRenew }"
    answer = await same(run, database, f"{{ people {{ either {{ {members} }} }} }}")
    kinds = {wire["__typename"] for person in answer["data"]["people"] for wire in person["either"]}
    assert kinds == {"PppoeWire", "OtherWire"}


@pytest.mark.usefixtures("people")
async def test_computed_fields_stand_among_compiled_ones(run: Run, database: Database) -> None:
    answer = await same(run, database, "{ people { shout name again: shout wires { username } } }", loads=True)
    assert answer["data"]["people"][0] == {
        "shout": "BAD",
        "name": "Bad",
        "again": "BAD",
        "wires": [{"username": "u10"}, {"username": "u11"}],
    }


@pytest.mark.usefixtures("people")
async def test_a_computed_field_that_may_be_null_fails_alone(run: Run, database: Database) -> None:
    answer = await same(run, database, "{ people { n: name f: fails } }", loads=True)
    assert answer["data"]["people"] == [{"n": "Bad", "f": None}, {"n": "Good", "f": "fine"}]
    assert [error["path"] for error in answer["errors"]] == [["people", 0, "f"]]
    assert answer["errors"][0]["message"] == "Internal error"


@pytest.mark.usefixtures("people")
async def test_a_computed_field_that_may_not_be_null_takes_what_holds_it_along(run: Run, database: Database) -> None:
    answer = await same(run, database, "{ maybe { name mustNotFail } }", loads=True)
    assert answer["data"] == {"maybe": [None, {"name": "Good", "mustNotFail": "fine"}]}
    assert [error["path"] for error in answer["errors"]] == [["maybe", 0, "mustNotFail"]]
    answer = await same(run, database, "{ people { name mustNotFail } }", loads=True)
    assert answer["data"] is None
    assert [error["path"] for error in answer["errors"]] == [["people", 0, "mustNotFail"]]


@pytest.mark.usefixtures("people")
async def test_computed_fields_of_a_page_and_its_edges(run: Run, database: Database) -> None:
    document = "{ listed(first: 1) { edges { node { shout } } nodes { fails name } pageInfo { hasNextPage } } }"
    answer = await same(run, database, document, loads=True)
    assert answer["data"]["listed"]["edges"] == [{"node": {"shout": "BAD"}}]
    assert [error["path"] for error in answer["errors"]] == [["listed", "nodes", 0, "fails"]]


@pytest.mark.usefixtures("people")
async def test_keys_as_long_as_a_column_may_be_and_longer(run: Run, database: Database) -> None:
    for length, loads in ((63, False), (64, True), (200, True)):
        key = "k" * length
        answer = await same(run, database, f"{{ people {{ {key}: name }} }}", loads=loads)
        assert answer["data"]["people"][0] == {key: "Bad"}


@pytest.mark.usefixtures("people")
async def test_keys_that_sql_has_uses_for(run: Run, database: Database) -> None:
    for key in ("anon_1", "anon_2", "t", "x", "n", "id", "row", "node", "customers_1", "order", "A", "_", "__a"):
        answer = await same(run, database, f"{{ people {{ {key}: name wires {{ {key}: username }} }} }}")
        assert answer["data"]["people"][0] == {key: "Bad", "wires": [{key: "u10"}, {key: "u11"}]}


@pytest.mark.usefixtures("people")
async def test_more_members_than_a_function_has_arguments(run: Run, database: Database) -> None:
    few, many_ = (" ".join(f"c{number}" for number in range(count)) for count in (50, 51))
    answer = await same(run, database, f"{{ people {{ wide {{ {few} }} }} }}")
    assert len(answer["data"]["people"][0]["wide"]) == 50
    answer = await same(run, database, f"{{ people {{ wide {{ {many_} }} }} }}", loads=True)
    assert len(answer["data"]["people"][0]["wide"]) == 51


@pytest.mark.usefixtures("people")
async def test_nothing_selected(run: Run, database: Database) -> None:
    skipped = "{ people { name @skip(if: true) wires { username @skip(if: true) } } }"
    assert (await same(run, database, skipped))["data"] == {"people": [{"wires": [{}, {}]}, {"wires": [{}, {}, {}]}]}
    page = "{ listed { nodes { name @skip(if: true) } pageInfo { hasPreviousPage } } }"
    found = {"nodes": [{}, {}], "pageInfo": {"hasPreviousPage": False}}
    assert (await same(run, database, page))["data"] == {"listed": found}
    for only in ("hasPreviousPage", "__typename", "hasNextPage @skip(if: true)"):
        await same(run, database, f"{{ listed {{ pageInfo {{ {only} }} }} }}")


@pytest.mark.usefixtures("people")
async def test_one_document_has_a_plan_for_each_setting_of_its_conditions(
    toy: ApiSchema, run: Run, database: Database
) -> None:
    document = """query ($a: Boolean!, $b: Boolean = true) { people { name @include(if: $a) ...F } }
      fragment F on Person { wires @skip(if: $b) { username } }"""
    shapes = {}
    for a in (True, False):
        for b in (True, False):
            answer = await same(run, database, document, a=a, b=b)
            shapes[a, b] = sorted(answer["data"]["people"][0])
    assert shapes == {
        (True, True): ["name"],
        (True, False): ["name", "wires"],
        (False, True): [],
        (False, False): ["wires"],
    }
    assert sorted((await same(run, database, document, a=True))["data"]["people"][0]) == ["name"]
    kept = toy.__dict__["ispgraph_plans"]._fields
    assert max(len(each.trees) for each in kept.values()) == 4


@pytest.mark.usefixtures("people")
async def test_operations_that_share_a_fragment_do_not_share_its_variables(run: Run, database: Database) -> None:
    document = """query One($n: Int = 1, $s: Boolean!) { people { ...F } }
      query Two($s: Boolean!, $n: Int = 2) { people { ...F } }
      fragment F on Person { paged(first: $n) { nodes { username @skip(if: $s) __typename } } }"""
    for _ in range(2):
        for operation, given, count in (("One", {}, 1), ("Two", {}, 2), ("One", {"n": 3}, 3), ("Two", {"n": 0}, 0)):
            for skipped in (True, False):
                answer = await same(run, database, document, operation=operation, s=skipped, **given)
                nodes = answer["data"]["people"][1]["paged"]["nodes"]
                assert len(nodes) == count
                assert all(("username" in node) != skipped for node in nodes)


async def test_variables_deep_in_an_argument_are_read_each_time(both: Both, house: House) -> None:
    for status in (CustomerStatus.ACTIVE, CustomerStatus.ACTIVE, CustomerStatus.SUSPENDED):
        await house.add(customer(house, "Ann", status=status))
    document = """query ($s: CustomerStatus!, $i: InvoiceStatus = OPEN) {
      customers(where: {status: [$s, EXPIRED]}) {
        totalCount nodes { invoices(status: [$i, DRAFT]) { totalCount } } } }"""
    for _ in range(2):
        for status, count in (("ACTIVE", 2), ("SUSPENDED", 1), ("PENDING", 0), ("ACTIVE", 2)):
            answers = [await api.data(document, house.admin, s=status) for api in (both.compiled, both.loaded)]
            assert answers[0] == answers[1]
            assert answers[0]["customers"]["totalCount"] == count


async def test_kept_plans_are_bounded(
    house: House, toy: ApiSchema, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "_KEPT_FIELDS", 40)

    class Nothing(Database):
        async def read_texts(self, sql: str, arguments: Any) -> list[str | None]:
            return ["[]"]

    nowhere = Nothing(settings.database_url, pool_size=1)
    viewer = await house.viewer()
    client: Any = None
    for number in range(2 * plans._KEPT_FIELDS):
        context = Context(nowhere, client, settings, viewer)
        result = await toy.execute(f"{{ people {{ a{number}: name }} }}", context_value=context)
        assert result.errors is None
    kept = toy.__dict__["ispgraph_plans"]
    assert len(kept._fields) <= plans._KEPT_FIELDS
    await nowhere.dispose()


# -- when PostgreSQL does not do as it is told

ZONES = "{ zones { name code } }"


@pytest.mark.usefixtures("people")
async def test_what_postgresql_says_is_for_the_log_alone(run: Run) -> None:
    answer = await run("{ people { name broken } }")
    assert answer["data"] is None
    assert answer["errors"] == [
        {
            "message": "Internal error",
            "locations": [{"line": 1, "column": 3}],
            "path": ["people"],
            "extensions": {"code": "INTERNAL"},
        }
    ]


async def test_an_error_of_sql_is_masked_over_http(api: Api, house: House, dsns: Dsns) -> None:
    await api.data(ZONES, house.admin)
    await _as_superuser(dsns, "ALTER TABLE zones RENAME COLUMN code TO codex")
    answer = await api(ZONES, house.admin)
    (error,) = answer["errors"]
    assert answer["data"] is None
    assert error["extensions"]["code"] == "INTERNAL"
    assert re.fullmatch("[0-9a-f]{16}", error["extensions"]["traceId"])
    assert "code" not in error["message"]
    assert not re.search("SELECT|zones_1|does not exist|relation|app\\.tenant", json.dumps(answer))


async def test_a_connection_that_postgresql_closed_is_replaced(api: Api, house: House, dsns: Dsns) -> None:
    await house.zone("North")
    expected = await api.data(ZONES, house.admin)
    for _ in range(3):
        await _as_superuser(
            dsns,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE usename = 'ispgraph_app' AND datname = current_database()",
        )
        answers = await asyncio.gather(*(api(ZONES, house.admin) for _ in range(4)))
        assert answers == [{"data": expected}] * 4


async def test_a_changed_table_does_not_surface(api: Api, house: House, dsns: Dsns) -> None:
    await house.zone("North", code="N")
    expected = await api.data(ZONES, house.admin)
    for change in (
        "ALTER TABLE zones ADD COLUMN extra text",
        "ALTER TABLE zones ALTER COLUMN code TYPE varchar(30)",
        "ALTER TABLE zones DROP COLUMN extra",
        "CREATE INDEX ix_more ON zones (code)",
        "ANALYZE zones",
    ):
        await _as_superuser(dsns, change)
        assert await api.data(ZONES, house.admin) == expected, change


async def _as_superuser(dsns: Dsns, statement: str) -> None:
    connection = await asyncpg.connect(dsns.superuser)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


# -- who asks is part of a plan


async def test_viewers_of_other_rights_have_other_plans(api: Api, house: House, other_house: House) -> None:
    """The same document by all of them, one after another: whoever came first leaves a plan behind."""
    reseller = await house.operator(Role.OPERATOR)
    staff = await house.operator(Role.STAFF, permissions=[])
    seller = await house.operator(Role.STAFF, reseller, permissions=[])
    portal = await house.operator(Role.CUSTOMER, permissions=[], email="portal@north.example")
    await other_house.operator(Role.STAFF)
    everybody = (staff, seller, portal, reseller, house.admin, other_house.admin)
    for _ in range(2):
        seen = [len((await api.data("{ operators { id } }", who))["operators"]) for who in everybody]
        assert seen == [5, 2, 1, 2, 5, 2]


async def test_viewers_of_other_money_and_hours_have_other_plans(both: Both, owner: Database) -> None:
    document = """{ packages { price { amount currency } } customers { nodes { wallet { amount currency }
      usage(granularity: DAY) { points { start downloadBytes } } invoices { nodes { overdue } } } } }"""
    expected = {"USD": "500.00", "KWD": "50.000", "JPY": "50000", "CLF": "5.0000"}
    for _ in range(2):
        for currency, price in expected.items():
            slug = f"{currency}{_}".lower()
            house = await factories.house(owner, both.loaded_database, slug, currency=currency)
            await house.package()
            await house.add(customer(house, "Ann"))
            answers = [await api.data(document, house.admin) for api in (both.compiled, both.loaded)]
            assert answers[0] == answers[1]
            assert answers[0]["packages"] == [{"price": {"amount": price, "currency": currency}}]
            assert answers[0]["customers"]["nodes"][0]["wallet"]["currency"] == currency


# -- pages


@pytest.mark.parametrize("direction", ["ASC", "DESC"])
async def test_every_order_is_walked_from_both_ends(both: Both, dsns: Dsns, owner: Database, direction: str) -> None:
    """Balances that are the same, services without an end, names that differ in case: page by page nobody is missed."""
    land = await world.build(owner, both.loaded_database, dsns.superuser, "north")
    admin = land.house.admin
    fields = "nodes { id } pageInfo { hasNextPage hasPreviousPage startCursor endCursor }"
    for field in CustomerOrderField:
        order = f"orderBy: {{field: {field.value}, direction: {direction}}}"
        everyone = (await both.compiled.data(f"{{ customers({order}, first: 100) {{ {fields} }} }}", admin))[
            "customers"
        ]
        expected = [node["id"] for node in everyone["nodes"]]
        assert len(set(expected)) == len(world.NAMES)
        for size, border, more, end in (
            ("first", "after", "hasNextPage", "endCursor"),
            ("last", "before", "hasPreviousPage", "startCursor"),
        ):
            document = f"query ($c: String) {{ customers({order}, {size}: 5, {border}: $c) {{ {fields} }} }}"
            walked: list[str] = []
            page: dict[str, Any] = {"pageInfo": {more: True, end: None}}
            while page["pageInfo"][more]:
                page = (await both.compiled.data(document, admin, c=page["pageInfo"][end]))["customers"]
                found = [node["id"] for node in page["nodes"]]
                walked = walked + found if size == "first" else found + walked
                assert len(walked) <= len(expected), (field, size)
            assert walked == expected, (field, size)


# -- arguments that are wrong, at the root and in lists within lists

NESTED = "{{ customers {{ nodes {{ {} {{ totalCount }} }} }} }}"
ROOT = "{{ {} {{ totalCount }} }}"
BAD_PAGES = [
    ("first: 101", "first", "first must be from 0 to 100."),
    ("first: -1", "first", "first must be from 0 to 100."),
    ("last: 101", "last", "last must be from 0 to 100."),
    ("last: -1", "last", "last must be from 0 to 100."),
    ("first: 1, last: 1", "last", "Give first or last, not both."),
    ('after: "x"', "after", "after is not a cursor of this list."),
    ('before: ""', "before", "before is not a cursor of this list."),
    ("after: $cursor", "after", "after is not a cursor of this list."),
    ("first: 5, before: $cursor", "before", "before is not a cursor of this list."),
]


@pytest.mark.parametrize("arguments", BAD_PAGES, ids=lambda case: case[0])
async def test_bad_pages_are_named(both: Both, house: House, arguments: tuple[str, str, str]) -> None:
    given, argument, message = arguments
    await house.add(customer(house, "Ann"))
    # A cursor of the list of customers by name: of no other list, and of no other order.
    page = "query { customers(orderBy: {field: NAME}) { pageInfo { endCursor } } }"
    cursor = (await both.compiled.data(page, house.admin))["customers"]["pageInfo"]["endCursor"]
    cases = [(ROOT.format(f"customers({given})"), ["customers"]), (ROOT.format(f"invoices({given})"), ["invoices"])]
    cases += [
        (NESTED.format(f"{field}({given})"), ["customers", "nodes", 0, field])
        for field in ("invoices", "payments", "ledger", "sessions", "jobs")
    ]
    for fields, path in cases:
        document = f"query ($cursor: String) {fields}" if "$cursor" in given else fields
        answers = [await api(document, house.admin, cursor=cursor) for api in (both.compiled, both.loaded)]
        assert answers[0] == answers[1]
        assert answers[0]["data"] is None
        (error,) = answers[0]["errors"]
        assert error["message"] == message
        assert error["path"] == path
        assert error["extensions"] == {"code": "BAD_REQUEST", "field": [argument]}


async def test_bad_sizes_of_other_lists_are_named(both: Both, house: House) -> None:
    for size in (-1, 101):
        document = f"{{ customerStats {{ topByBalance(first: {size}) {{ id }} }} }}"
        answers = [await api(document, house.admin) for api in (both.compiled, both.loaded)]
        assert answers[0] == answers[1]
        (error,) = answers[0]["errors"]
        assert error["extensions"] == {"code": "BAD_REQUEST", "field": ["first"]}
    many_ids = ", ".join(f'"{ids.encode("cus", ids.uuid7())}"' for _ in range(101))
    (error,) = (await both.compiled(f"{{ nodes(ids: [{many_ids}]) {{ id }} }}", house.admin))["errors"]
    assert error["extensions"] == {"code": "BAD_REQUEST", "field": ["ids"]}


async def test_forged_ids_find_nothing(both: Both, house: House, other_house: House) -> None:
    theirs = customer(other_house, "Theirs")
    await other_house.add(theirs)
    forged = [ids.encode("cus", theirs.id), ids.encode("inv", theirs.id), ids.encode("cus", ids.uuid7())]
    forged += ["cus_" + "g" * 32, "cus_" + "A" * 32, "nonsense", "", "x" * 5000, "cus_' OR 1=1 --", f"{forged[0]} "]
    for api in (both.compiled, both.loaded):
        answer = await api.data("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", house.admin, ids=forged)
        assert answer == {"nodes": [None] * len(forged)}
        assert await api.data("query ($id: ID!) { node(id: $id) { id } }", house.admin, id=forged[0]) == {"node": None}
        answer = await api.data("query ($id: ID!) { customer(by: {id: $id}) { id } }", house.admin, id=forged[0])
        assert answer == {"customer": None}


async def test_documents_that_no_plan_is_made_for(both: Both, house: House) -> None:
    deep = "{ zones " + "{ parent " * 24 + "{ id }" + " }" * 24 + " }"
    cases = [
        (deep, "depth"),
        ("{ customers(where: {status: [NOBODY]}) { totalCount } }", "NOBODY"),
        ("{ customers { nodes { invoices(status: [LOST]) { totalCount } } } }", "LOST"),
        ("{ customers { nodes { usage(granularity: YEAR) { seconds } } } }", "YEAR"),
        ("query ($s: [InvoiceStatus!]) { invoices(status: $s) { totalCount } }", "LOST"),
    ]
    for document, word in cases:
        for api in (both.compiled, both.loaded):
            answer = await api(document, house.admin, s=["LOST"])
            assert answer.get("data") is None
            assert {error["extensions"]["code"] for error in answer["errors"]} == {"BAD_REQUEST"}
            assert word in answer["errors"][0]["message"]
    kept = product_schema().__dict__.get("ispgraph_plans", plans.Plans())
    assert len(kept._fields) <= plans._KEPT_FIELDS

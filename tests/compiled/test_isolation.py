"""What an operator is answered does not change with rows that are none of its business, down to the byte."""

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import patch
from uuid import UUID

import asyncpg
import pytest
import redis.asyncio

from ispgraph.db import Database
from ispgraph.domain.models import Draft, DraftStatus, Job, JobStatus, Operator, WizardStep
from ispgraph.settings import Settings
from tests.api import Api, schema
from tests.billing.conftest import Till
from tests.compiled import world
from tests.compiled.conftest import Both
from tests.compiled.documents import Documents, Pool
from tests.compiled.world import NOW, Land
from tests.conftest import Dsns
from tests.crowd import customer, service

COUNTED = (
    "{ customerStats { total active suspended pending expired online averageBalance { amount } "
    "topByBalance(first: 9) { id balance { amount } } } }",
    "{ customers(first: 100) { totalCount nodes { id name deviceCount services { username macAddresses } } } }",
    '{ customers(search: "example", first: 100, orderBy: {field: BALANCE}) { totalCount nodes { id } } }',
    '{ customers(search: "user-", orderBy: {field: EXPIRES_AT}) { totalCount edges { cursor node { name } } } }',
    "{ customers(where: {overdue: true}) { totalCount } online: customers(where: {online: true}) { totalCount } }",
    "{ invoices(first: 50) { totalCount nodes { id customer { name } payments { id } } } }",
    "{ late: invoices(overdue: true) { totalCount } open: invoices(status: [OPEN, PAID]) { totalCount } }",
    "{ jobs(first: 50) { totalCount nodes { id ... on NetworkJob { steps { detail } } } } }",
    "{ tickets(first: 50) { totalCount nodes { id customer { name } assignee { name } replies { author body } } } }",
    '{ tickets(search: "matter", orderBy: {field: PRIORITY}) { totalCount } '
    "late: tickets(where: {firstResponseOverdue: true}) { totalCount } }",
    "{ customerTransfers(first: 50) { totalCount nodes { id customerName fromOperator { name } waitingFor { name } } } "
    "mine: customerTransfers(mine: true) { totalCount } }",
    "{ customerDrafts(first: 50) { totalCount nodes { id status createdBy { name } customer { name } } } }",
    "{ packages(activeOnly: false) { id customerCount } zones { id customerCount } routers { id pendingJobs } }",
    "{ operators { id name email walletBalance { amount } parent { id } } viewer { operator { id } } }",
    "{ customFields { id label } }",
)
NORTHERN = ("admin", "reseller", "sub", "seller", "accountant", "blind")
SCOPED = ("reseller", "sub", "seller")


class Witness:
    """Knows what operators of a land are answered, to documents by hand, compiled and not, and from a seed."""

    def __init__(self, both: Both, land: Land, other: Sequence[str], names: Sequence[str]) -> None:
        pool = Pool(land.ids, other, land.account_numbers, land.usernames)
        made = Documents(schema()._schema, pool, seed=7)
        random = [made.make() for _ in range(15)]
        self._asked: list[tuple[str, dict[str, Any]]] = [(document, {}) for document in COUNTED]
        self._asked_compiled = self._asked + [(each.text, each.variables) for each in random]
        self._both, self._land, self._names = both, land, names

    async def answers(self, *, loaded: bool = True) -> dict[tuple[str, str, str], str]:
        """By way, operator and document."""
        ways = [("compiled", self._both.compiled, self._asked_compiled)]
        if loaded:
            ways.append(("loaded", self._both.loaded, self._asked))
        return {
            (way, name, document): json.dumps(await api(document, self._land.operators[name], **variables))
            for way, api, asked in ways
            for name in self._names
            for document, variables in asked
        }


def differing(before: dict[Any, str], after: dict[Any, str]) -> list[Any]:
    """What is answered differently now."""
    return [(key, before[key], answer) for key, answer in after.items() if before[key] != answer][:3]


async def rule_free(dsns: Dsns, *statements: str) -> None:
    """Statements that no trigger, foreign key or policy stops."""
    connection = await asyncpg.connect(dsns.superuser)
    try:
        await connection.execute("SET session_replication_role = replica")
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest.mark.long
async def test_another_tenant_is_not_noticed(
    both: Both, dsns: Dsns, owner: Database, stopped_clock: Callable[[], None]
) -> None:
    north = await world.build(owner, both.loaded_database, dsns.superuser, "north")
    stopped_clock()
    witness = Witness(both, north, [], NORTHERN)
    before = await witness.answers()
    assert sum('"errors"' not in answer for answer in before.values()) > 0.6 * len(before)

    south = await world.build(owner, both.loaded_database, dsns.superuser, "south", "KWD")
    assert not differing(before, await witness.answers())

    tenant = f"tenant_id = '{south.house.tenant.id}'"
    await rule_free(
        dsns,
        f"UPDATE customers SET name = 'Ann Example', mobile = '+8801700000000', status = 'ACTIVE' WHERE {tenant}",
        f"UPDATE invoices SET status = 'OPEN', due_on = '2020-01-01', paid_minor = 0 WHERE {tenant} AND number > ''",
        f"UPDATE customer_balances SET wallet_minor = 1000000 WHERE {tenant}",
        f"UPDATE sessions SET stopped_at = NULL, state = 'OPEN' WHERE {tenant}",
        f"UPDATE jobs SET status = 'QUEUED' WHERE {tenant}",
        f"UPDATE operators SET name = 'changed' WHERE {tenant}",
    )
    assert not differing(before, await witness.answers(loaded=False))

    tables = await both.loaded_database.read_texts(
        "SELECT c.table_name::text FROM information_schema.columns c JOIN information_schema.tables t"
        " USING (table_schema, table_name) WHERE c.column_name = 'tenant_id' AND c.table_schema = 'public'"
        " AND t.table_type = 'BASE TABLE'",
        [],
    )
    await rule_free(dsns, *(f"DELETE FROM {table} WHERE {tenant}" for table in tables))
    assert not differing(before, await witness.answers())


@pytest.mark.long
async def test_another_reseller_is_not_noticed(
    both: Both, dsns: Dsns, owner: Database, stopped_clock: Callable[[], None]
) -> None:
    north = await world.build(owner, both.loaded_database, dsns.superuser, "north")
    rival = north.operators["rival"]
    witness = Witness(both, north, [], SCOPED)
    whole = Witness(both, north, [], ["admin"])
    keys = await rivals(north, rival)
    stopped_clock()
    before, seen = await witness.answers(), await whole.answers(loaded=False)
    listed = ", ".join(f"'{key}'" for key in keys)

    await rule_free(
        dsns,
        f"UPDATE customers SET name = 'Ann Example', status = 'SUSPENDED' WHERE id IN ({listed})",
        f"UPDATE services SET status = 'ACTIVE' WHERE customer_id IN ({listed})",
        f"UPDATE invoices SET status = 'OPEN', due_on = '2020-01-01', paid_minor = 0 WHERE customer_id IN ({listed})",
        f"UPDATE customer_balances SET wallet_minor = 100000000 WHERE customer_id IN ({listed})",
        f"UPDATE jobs SET status = 'QUEUED' WHERE customer_id IN ({listed})",
        f"UPDATE operators SET name = 'changed' WHERE id = '{rival.id}'",
    )
    assert not differing(before, await witness.answers())
    assert differing(seen, await whole.answers(loaded=False)), "who sees the whole tenant sees that"

    await rivals(north, rival)
    assert not differing(before, await witness.answers(loaded=False))

    below = "allocations WHERE payment_id IN (SELECT id FROM payments WHERE customer_id IN"
    await rule_free(
        dsns,
        f"DELETE FROM {below} ({listed}))",
        *(
            f"DELETE FROM {table} WHERE customer_id IN ({listed})"
            for table in ("payments", "invoices", "postings", "jobs", "sessions", "services", "customer_balances")
        ),
        f"DELETE FROM drafts WHERE created_by_id = '{rival.id}'",
        f"DELETE FROM customers WHERE id IN ({listed})",
    )
    assert not differing(before, await witness.answers())


async def rivals(land: Land, rival: Operator) -> list[UUID]:
    """Customers of one operator with a service, money, a job and a draft each."""
    house = land.house
    till = Till(house, await house.viewer())
    package, router = (UUID(hex=land.ids[prefix][0][4:]) for prefix in ("pkg", "rtr"))
    made = []
    for number in range(4):
        each = customer(
            house, f"Rival's {number} Example", operator_id=rival.id, zone_id=UUID(hex=land.ids["zon"][0][4:])
        )
        await house.add(each)
        await house.add(
            service(each, package, router_id=router),
            Job(kind="service.provision", status=JobStatus.QUEUED, customer_id=each.id, router_id=router),
            Draft(
                status=DraftStatus.DRAFT,
                current_step=WizardStep.BASICS,
                created_by_id=rival.id,
                modified_by_id=rival.id,
                expires_at=NOW.replace(year=2030),
            ),
        )
        bill = await till.bill(each.id, 700)
        await till.pay((100, 900)[number % 2], bill)
        made.append(each.id)
    return made


# -- the tenant of a statement is set by the statement

EVERYTHING = (
    "{ customers(first: 100) { totalCount nodes { id name balance { amount } service { username network { radius { "
    "attribute value } } } invoices { totalCount } usage { totalBytes } } pageInfo { endCursor } } }"
)
FOUND = (
    '{ customers(search: "example") { totalCount nodes { id } } '
    "customerStats { total online topByBalance { id } } zones { id name } }"
)


async def captured(api: Api, database: Database, document: str, who: Operator) -> list[tuple[str, list[Any]]]:
    """The statements that a document is compiled to, with their arguments."""
    seen: list[tuple[str, list[Any]]] = []

    async def read_texts(sql: str, arguments: Sequence[Any]) -> list[str | None]:
        seen.append((sql, list(arguments)))
        return await Database.read_texts(database, sql, arguments)

    with patch.object(database, "read_texts", read_texts):
        await api.data(document, who)
    return seen


async def told(connection: Any, sql: str, arguments: Sequence[Any]) -> str:
    """The answer of a statement, a line for each row."""
    return "\n".join(str(row[0]) for row in await connection.fetch(sql, *arguments))


@pytest.fixture
async def lands(both: Both, dsns: Dsns, owner: Database) -> list[Land]:
    """Two tenants with the same in them."""
    return [await world.build(owner, both.loaded_database, dsns.superuser, slug) for slug in ("north", "south")]


@pytest.mark.long
async def test_a_statement_reads_the_tenant_that_it_sets(
    both: Both, dsns: Dsns, lands: list[Land], stopped_clock: Callable[[], None]
) -> None:
    north, south = (land.house for land in lands)
    stopped_clock()
    connection = await asyncpg.connect(dsns.app)
    await connection.execute("SET timezone = 'UTC'")
    some = ", ".join(json.dumps(land.ids[prefix][0]) for land in lands for prefix in ("cus", "inv", "opr"))
    by_id = f"{{ nodes(ids: [{some}]) {{ id ... on Customer {{ name service {{ id }} }} }} }}"
    for document in (EVERYTHING, FOUND, by_id):
        ours = await captured(both.compiled, both.compiled_database, document, north.admin)
        theirs = await captured(both.compiled, both.compiled_database, document, south.admin)
        assert [sql for sql, _ in ours] == [sql for sql, _ in theirs], "one plan serves both"
        for (sql, arguments), (_, others) in zip(ours, theirs, strict=True):
            place = arguments.index(north.tenant.id)
            assert [(a, b) for a, b in zip(arguments, others, strict=True) if a != b] == [
                (north.tenant.id, south.tenant.id)
            ]
            swapped = [south.tenant.id if number == place else each for number, each in enumerate(arguments)]
            nobody = [None if number == place else each for number, each in enumerate(arguments)]
            answers = []
            for given in (arguments, swapped, arguments, nobody, swapped):
                answers.append(await told(connection, sql, given))
                assert await connection.fetchval("SELECT current_setting('app.tenant_id', true)") in (None, "")
            of_north, of_south, again, of_nobody, once_more = answers
            assert of_north == again
            assert of_south == once_more
            assert of_north != of_south
            known = {house: set(re.findall("[a-z]{3}_[0-9a-f]{32}", text)) for house, text in enumerate(answers[:2])}
            assert not known[0] & known[1]
            assert not re.search("[a-z]{3}_[0-9a-f]{32}", of_nobody)
            # The answer waits for the row that sets the tenant, whatever the planner makes of the rest.
            plan = "\n".join(
                row[0] for row in await connection.fetch(f"EXPLAIN (VERBOSE, COSTS OFF) {sql}", *arguments)
            )
            assert re.search(r"One-Time Filter: \((x\.t|\(set_config\('app\.tenant_id'.*\)\)) IS NOT NULL\)", plan)
            assert re.search(r"Output: \(SubPlan \d+\)", plan)
            # The same select in a transaction that has set its tenant as every session does.
            plain = re.sub(r"set_config\('app\.tenant_id', (.+?), true\)", r"\1", sql)
            assert plain != sql
            for house, expected in ((north, of_north), (south, of_south)):
                async with connection.transaction():
                    await connection.execute("SELECT set_config('app.tenant_id', $1, true)", str(house.tenant.id))
                    assert await told(connection, plain, arguments) == expected
            # And without any tenant there is nothing, whatever the arguments say.
            assert not re.search("[a-z]{3}_[0-9a-f]{32}", await told(connection, plain, arguments))
    await connection.close()


@pytest.mark.long
async def test_tenants_take_turns_on_one_connection(
    dsns: Dsns,
    valkey: "redis.asyncio.Redis",
    settings: Settings,
    lands: list[Land],
    stopped_clock: Callable[[], None],
) -> None:
    stopped_clock()
    narrow = Database(dsns.app, pool_size=1)
    api = Api(narrow, valkey, settings)
    expected = {land.house.tenant.id: await api.data(EVERYTHING, land.house.admin) for land in lands}
    assert len({json.dumps(each) for each in expected.values()}) == 2
    for number in range(200):
        house = lands[number % 2].house
        assert await api.data(EVERYTHING, house.admin) == expected[house.tenant.id]
    for _ in range(5):
        turns = [lands[number % 2].house for number in range(20)]
        answers = await asyncio.gather(*(api.data(EVERYTHING, house.admin) for house in turns))
        assert answers == [expected[house.tenant.id] for house in turns]
    await api.close()
    await narrow.dispose()

"""What the database itself refuses, read from its catalog and tried by hand."""

import json
import re

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from ispgraph.db import Base, Database
from ispgraph.domain.models import Customer, CustomerStatus, Invoice, InvoiceStatus, ServiceMac, Zone
from tests.accounting import account
from tests.accounting import session as accounting_session
from tests.conftest import Dsns
from tests.crowd import customer, fill, service
from tests.factories import House

# Tables that are not of one tenant, each with its reason.
SHARED = {"alembic_version": "holds the revision of the schema"}

# Read as the owner by functions that find the tenant, or that name it themselves (the search).
LOOKED_UP = {
    "announcements",
    "audit_unsealed",
    "tenants",
    "operators",
    "routers",
    "jobs",
    "customers",
    "services",
    "service_macs",
    "packages",
    "service_limits",
    "service_watches",
    "invoices",
    "open_sessions",
    "accounting_inbox",
    "messages",
    "payment_links",
    "tickets",
    "portals",
    "billing_runs",
    "webhook_endpoints",
    "webhook_deliveries",
}


async def test_every_table_is_under_forced_row_level_security(owner: Database) -> None:
    async with owner.read(None) as session:
        rows = await session.execute(
            text("""
            SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity AS forced,
                   count(p.polname) FILTER (WHERE p.polname = 'tenant_isolation' AND p.polcmd = '*'
                                            AND p.polqual IS NOT NULL AND p.polwithcheck IS NOT NULL) AS policies,
                   array_remove(array_agg(p.polname::text) FILTER (WHERE p.polname <> 'tenant_isolation'), NULL) AS more
              FROM pg_class c LEFT JOIN pg_policy p ON p.polrelid = c.oid
             WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace
             GROUP BY c.oid""")
        )
        found = {row.relname: row for row in rows}
    assert set(found) - set(SHARED) == set(Base.metadata.tables)
    for name, row in found.items():
        if name not in SHARED:
            assert (row.forced, row.policies) == (True, 1), name
            assert (row.more or []) == (["owner_lookup"] if name in LOOKED_UP else []), name


async def test_partitions_are_reached_through_their_table_alone(owner: Database, dsns: Dsns, house: House) -> None:
    async with owner.read(None) as session:
        partitions = list(
            await session.scalars(
                text("SELECT relname FROM pg_class WHERE relispartition AND relkind IN ('r', 'p') ORDER BY relname")
            )
        )
        reachable = await session.scalars(
            text("""
            SELECT c.relname || ' ' || r FROM pg_class c, unnest(ARRAY['ispgraph_app', 'ispgraph_radius']) r
             WHERE c.relispartition AND c.relkind IN ('r', 'p')
               AND (has_table_privilege(r, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
                    OR has_any_column_privilege(r, c.oid, 'SELECT, INSERT, UPDATE, REFERENCES'))""")
        )
        assert list(reachable) == []
    assert len(partitions) == 5
    await house.add(someone := customer(house, "Someone"))
    await account(owner, house, accounting_session(someone, house.tenant.created_at))
    connection = await asyncpg.connect(dsns.app)
    await connection.execute("SELECT set_config('app.tenant_id', $1, false)", str(house.tenant.id))
    assert await connection.fetchval("SELECT count(*) FROM sessions") == 1
    for name in partitions:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch(f"SELECT FROM {name}")
    await connection.close()


async def test_every_foreign_key_between_tenant_tables_carries_the_tenant(owner: Database) -> None:
    async with owner.read(None) as session:
        rows = await session.execute(
            text("""
            SELECT conrelid::regclass::text AS source, confrelid::regclass::text AS target, conname,
                   (SELECT array_agg(a.attname::text) FROM pg_attribute a
                     WHERE a.attrelid = conrelid AND a.attnum = ANY (conkey)) AS columns
              FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace""")
        )
        for row in rows:
            assert row.columns == ["tenant_id"] if row.target == "tenants" else "tenant_id" in row.columns, row.conname


async def test_roles_own_nothing_and_cannot_bypass(owner: Database) -> None:
    async with owner.read(None) as session:
        roles = await session.execute(
            text("""
            SELECT rolname, rolsuper, rolbypassrls,
                   EXISTS (SELECT FROM pg_class WHERE relowner = r.oid)
                   OR EXISTS (SELECT FROM pg_proc WHERE proowner = r.oid) AS owns
              FROM pg_roles r WHERE rolname IN ('ispgraph_owner', 'ispgraph_app', 'ispgraph_radius')""")
        )
        found = {row.rolname: row for row in roles}
    for name, row in found.items():
        assert not row.rolsuper
        assert not row.rolbypassrls
        assert row.owns == (name == "ispgraph_owner")


async def test_every_definer_function_pins_its_search_path_and_is_not_public(owner: Database) -> None:
    async with owner.read(None) as session:
        rows = await session.execute(
            text("""
            SELECT p.proname, p.proconfig, has_function_privilege('public', p.oid, 'EXECUTE') AS public
              FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.prosecdef
                AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')""")
        )
        found = list(rows)
    assert found
    for row in found:
        assert any(item.startswith("search_path=") for item in row.proconfig or []), row.proname
        assert not row.public, row.proname


async def test_another_tenants_rows_are_not_there(database: Database, house: House, other_house: House) -> None:
    zone = await other_house.zone()
    async with database.read(house.tenant.id) as session:
        assert await session.get(Zone, zone.id) is None
    async with database.read(None) as session:
        assert await session.get(Zone, zone.id) is None
    async with database.read(other_house.tenant.id) as session:
        assert await session.get(Zone, zone.id) is not None


async def test_the_tenant_of_one_transaction_is_forgotten_by_the_next(dsns: "object", house: House) -> None:
    single = Database(dsns.app, pool_size=1)  # type: ignore[attr-defined]
    await house.zone()
    async with single.transaction(house.tenant.id) as session:
        assert (await session.execute(text("SELECT count(*) FROM zones"))).scalar() == 1
    async with single.read(None) as session:
        assert (await session.execute(text("SELECT count(*) FROM zones"))).scalar() == 0
    await single.dispose()


# As a compiled read sends it: the tenant is set by the statement that reads, outside a transaction block. What reads
# depends on what sets, or nothing would make the one come before the other.
IN_ONE_STATEMENT = """
    SELECT (SELECT json_agg(c.name) FROM (SELECT name FROM customers WHERE name LIKE '%o%' ORDER BY name_key, id) c
             WHERE x.t IS NOT NULL),
           (SELECT json_agg(c.name) FROM (SELECT name FROM customers
             WHERE id IN (SELECT customer_matches($2::text[])) ORDER BY name) c WHERE x.t IS NOT NULL)
      FROM (SELECT set_config('app.tenant_id', $1, true) t OFFSET 0) x"""


async def test_a_statement_that_sets_the_tenant_reads_as_that_tenant(
    dsns: Dsns, house: House, other_house: House
) -> None:
    for each in (house, other_house):
        await each.add(*(customer(each, f"{each.tenant.slug} {number}") for number in range(3)))
    connection = await asyncpg.connect(dsns.app)
    try:
        for slug in ("north", "south", "north", "nobody", *(["south", "north"] * 6)):
            # The same prepared statement each time, first planned for the values at hand, later for any.
            tenant = {"north": house.tenant.id, "south": other_house.tenant.id}.get(slug, "")
            found = await connection.fetchrow(IN_ONE_STATEMENT, str(tenant), [slug, None, None, None, None, None])
            names = [f"{slug} {number}" for number in range(3)] if tenant else None
            assert [json.loads(each) if each else None for each in found or ()] == [names, names], slug
            assert await connection.fetchval("SELECT count(*) FROM customers") == 0
    finally:
        await connection.close()


async def test_the_tenant_leads_into_the_indexes(dsns: Dsns, house: House, other_house: House) -> None:
    for each in (house, other_house):
        await fill(dsns.superuser, each, 2000)
    connection = await asyncpg.connect(dsns.app)
    async with connection.transaction():
        await connection.execute("SELECT set_config('app.tenant_id', $1, true)", str(house.tenant.id))
        for mode in ("force_custom_plan", "force_generic_plan"):
            await connection.execute(f"SET LOCAL plan_cache_mode = {mode}")
            await connection.execute("PREPARE page AS SELECT name FROM customers ORDER BY name_key, id LIMIT $1")
            plan = [row[0] for row in await connection.fetch("EXPLAIN EXECUTE page(20)")]
            await connection.execute("DEALLOCATE page")
            assert any("using ix_customers_name" in line for line in plan), plan
            assert any("Index Cond: (tenant_id = (InitPlan 1).col1)" in line for line in plan), plan
            assert not any("Sort" in line for line in plan), plan
            # Not one row, as it was when the planner took the tenant for NULL.
            [scan] = [line for line in plan if "using ix_customers_name" in line]
            assert int(re.findall(r"rows=(\d+)", scan)[0]) > 1000, plan
    await connection.close()


@pytest.mark.parametrize(
    ("form", "value"),
    [
        (0, "someone"),
        (0, "someones-line"),
        (1, "1900"),
        (2, "+88019"),
        (3, "a45e"),
        (4, "203.0.113.7"),
        (5, "INV-2026-1"),
    ],
)
async def test_the_search_answers_only_for_the_tenant_at_hand(
    database: Database, house: House, other_house: House, form: int, value: str
) -> None:
    someone, package = customer(house, "Someone"), await house.package()
    line = service(someone, package.id, username="someones-line", ip_address="203.0.113.7")
    bill = Invoice(customer_id=someone.id, number="INV-2026-1", status=InvoiceStatus.PAID, due_on=None)
    bill.subtotal_minor = bill.tax_minor = bill.total_minor = 0
    await house.add(someone, line, ServiceMac(service_id=line.id, mac="a4:5e:60:c2:19:f0"), bill)
    forms: list[str | None] = [None] * 6
    forms[form] = value
    answers = []
    for tenant_id in (house.tenant.id, other_house.tenant.id, None):
        async with database.read(tenant_id) as session:
            found = await session.scalars(text("SELECT customer_matches(CAST(:forms AS text[]))"), {"forms": forms})
            answers.append(list(found))
    # Of the function itself: a list would hide what it let through.
    assert answers == [[someone.id], [], []]


@pytest.mark.parametrize("table", ["sessions", "open_sessions", "usage_days", "usage_buckets", "customer_balances"])
async def test_what_accounting_writes_the_application_only_reads(owner: Database, table: str) -> None:
    async with owner.read(None) as session:
        granted = await session.scalars(
            text(
                "SELECT privilege_type FROM information_schema.role_table_grants WHERE grantee = 'ispgraph_app'"
                " AND table_name = :table"
            ),
            {"table": table},
        )
        assert list(granted) == ["SELECT"]


async def test_rows_cannot_be_written_for_or_refer_to_another_tenant(
    database: Database, house: House, other_house: House
) -> None:
    with pytest.raises(ProgrammingError, match="row-level security"):
        async with database.transaction(house.tenant.id) as session:
            session.add(Zone(tenant_id=other_house.tenant.id, name="smuggled"))
    zone = await other_house.zone()
    with pytest.raises(DBAPIError, match="foreign key"):
        await house.add(
            Customer(
                account_number="1",
                name="A",
                mobile="+8801712345678",
                operator_id=house.admin.id,
                zone_id=zone.id,
                status=CustomerStatus.ACTIVE,
            )
        )

"""What the database itself refuses, read from its catalog and tried by hand."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from ispgraph.db import Base, Database
from ispgraph.domain.models import Customer, CustomerStatus, Zone
from tests.factories import House

# Tables that are not of one tenant, each with its reason.
SHARED = {"alembic_version": "holds the revision of the schema"}

# Read as the owner by functions that find the tenant, or that name it themselves (the search).
LOOKED_UP = {"tenants", "operators", "routers", "jobs", "customers", "services", "service_macs", "invoices"}


async def test_every_table_is_under_forced_row_level_security(owner: Database) -> None:
    async with owner.read(None) as session:
        rows = await session.execute(
            text("""
            SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity AS forced,
                   count(p.polname) FILTER (WHERE p.polname = 'tenant_isolation' AND p.polcmd = '*'
                                            AND p.polqual IS NOT NULL AND p.polwithcheck IS NOT NULL) AS policies,
                   array_remove(array_agg(p.polname::text) FILTER (WHERE p.polname <> 'tenant_isolation'), NULL) AS more
              FROM pg_class c LEFT JOIN pg_policy p ON p.polrelid = c.oid
             WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace GROUP BY c.oid""")
        )
        found = {row.relname: row for row in rows}
    assert set(found) - set(SHARED) == set(Base.metadata.tables)
    for name, row in found.items():
        if name not in SHARED:
            assert (row.forced, row.policies) == (True, 1), name
            assert (row.more or []) == (["owner_lookup"] if name in LOOKED_UP else []), name


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

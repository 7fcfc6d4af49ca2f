"""Customers taken over from other systems."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None

CURRENT_TENANT = "(SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)"
_INSTANT = postgresql.TIMESTAMP(timezone=True)
_JSON = postgresql.JSONB()
_REFERS = {
    "customer_imports": {
        "created_by_id": "operators",
        "operator_id": "operators",
        "package_id": "packages",
        "zone_id": "zones",
        "router_id": "routers",
    },
    "import_chunks": {"import_id": "customer_imports"},
    "import_rows": {
        "import_id": "customer_imports",
        "package_id": "packages",
        "zone_id": "zones",
        "customer_id": "customers",
    },
    "customer_origins": {"customer_id": "customers"},
}
_SOURCES = "'CSV', 'XLSX', 'PHPNUXBILL', 'DALORADIUS', 'ROUTER'"
_STATUSES = "'CHECKING', 'CHECKED', 'RUNNING', 'DONE', 'UNDOING', 'UNDONE', 'FAILED'"
_OUTCOMES = "'FAULTY', 'CONFLICT', 'UNCHANGED', 'NEW', 'CREATED', 'REMOVED', 'TERMINATED', 'KEPT'"
_CUSTOMERS = "'PENDING', 'ACTIVE', 'SUSPENDED', 'EXPIRED', 'TERMINATED'"

# What autovacuum does within a minute or so. Until then a planner that takes these tables for small ones would have
# each customer looked up by going through all.
ANALYZE = """
CREATE FUNCTION analyze_imported() RETURNS void
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
  grown text;
BEGIN
  FOR grown IN SELECT s.relname FROM pg_stat_user_tables s
                WHERE s.schemaname = 'public' AND s.n_mod_since_analyze > 250 + 0.2 * s.n_live_tup
                  AND s.relname IN ('customers', 'services', 'service_macs', 'service_watches', 'customer_balances',
                                    'customer_origins', 'import_rows', 'invoices', 'invoice_lines', 'journals',
                                    'postings')
  LOOP
    EXECUTE format('ANALYZE public.%I', grown);
  END LOOP;
END $$"""


def upgrade() -> None:
    op.create_table(
        "customer_imports",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.String(20), nullable=False),
        sa.Column("label", sa.String(60), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("layout", _JSON, nullable=False),
        sa.Column("read_as", sa.String(60), nullable=True),
        sa.Column("plans", _JSON, nullable=False),
        sa.Column("told_customers", sa.Integer(), nullable=True),
        sa.Column("told_active", sa.Integer(), nullable=True),
        sa.Column("told_balance_minor", sa.BigInteger(), nullable=True),
        sa.Column("operator_id", sa.Uuid(), nullable=False),
        sa.Column("package_id", sa.Uuid(), nullable=True),
        sa.Column("zone_id", sa.Uuid(), nullable=True),
        sa.Column("router_id", sa.Uuid(), nullable=True),
        sa.Column("created_by_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("checked_at", _INSTANT, nullable=True),
        sa.Column("run_at", _INSTANT, nullable=True),
        sa.Column("undone_at", _INSTANT, nullable=True),
        sa.CheckConstraint(f"source IN ({_SOURCES})", name=op.f("ck_customer_imports_importsource")),
        sa.CheckConstraint(f"status IN ({_STATUSES})", name=op.f("ck_customer_imports_importstatus")),
        *_keys("customer_imports"),
    )
    op.create_index("ix_customer_imports_created_by", "customer_imports", ["tenant_id", "created_by_id", "id"])
    op.create_table(
        "import_chunks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        *_keys("import_chunks"),
        sa.UniqueConstraint("tenant_id", "import_id", "number", name="uq_import_chunks_tenant_id_import_id_number"),
    )
    _rows()
    op.create_table(
        "customer_origins",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("label", sa.String(60), nullable=False),
        sa.Column("source_key", sa.String(255), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        *_keys("customer_origins"),
        sa.UniqueConstraint("tenant_id", "label", "source_key", name="uq_customer_origins_tenant_id_label_source_key"),
    )
    op.create_index("ix_customer_origins_customer", "customer_origins", ["tenant_id", "customer_id"])
    own = f"tenant_id = {CURRENT_TENANT}"
    for table in _REFERS:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant_isolation ON {table} USING ({own}) WITH CHECK ({own})")
    op.execute("GRANT SELECT, INSERT, UPDATE ON customer_imports TO ispgraph_app")
    op.execute("GRANT SELECT, INSERT, DELETE ON import_chunks, customer_origins TO ispgraph_app")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON import_rows TO ispgraph_app")
    op.execute(ANALYZE)
    op.execute("REVOKE ALL ON FUNCTION analyze_imported() FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION analyze_imported() TO ispgraph_app")


def _rows() -> None:
    op.create_table(
        "import_rows",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(20), nullable=False),
        sa.Column("faults", _JSON, nullable=False),
        sa.Column("source_key", sa.String(255), nullable=True),
        sa.Column("name", sa.String(255), nullable=True),
        sa.Column("mobile", sa.String(20), nullable=True),
        sa.Column("email", sa.String(320), nullable=True),
        sa.Column("account_number", sa.String(24), nullable=True),
        sa.Column("username", sa.String(64), nullable=True),
        sa.Column("password", sa.LargeBinary(), nullable=True),
        sa.Column("ip_address", sa.String(45), nullable=True),
        sa.Column("mac_address", sa.String(17), nullable=True),
        sa.Column("connection_type", sa.String(20), nullable=True),
        sa.Column("status", sa.String(20), nullable=True),
        sa.Column("balance_minor", sa.BigInteger(), nullable=True),
        sa.Column("package_name", sa.String(100), nullable=True),
        sa.Column("package_id", sa.Uuid(), nullable=True),
        sa.Column("zone_name", sa.String(255), nullable=True),
        sa.Column("zone_id", sa.Uuid(), nullable=True),
        sa.Column("details", _JSON, nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=True),
        sa.Column("made", _JSON, nullable=True),
        sa.CheckConstraint(f"outcome IN ({_OUTCOMES})", name=op.f("ck_import_rows_importoutcome")),
        sa.CheckConstraint(
            "connection_type IN ('PPPOE', 'HOTSPOT', 'STATIC_IP', 'OTHER')", name=op.f("ck_import_rows_connectiontype")
        ),
        sa.CheckConstraint(f"status IN ({_CUSTOMERS})", name=op.f("ck_import_rows_customerstatus")),
        *_keys("import_rows"),
        sa.UniqueConstraint("tenant_id", "import_id", "number", name="uq_import_rows_tenant_id_import_id_number"),
    )
    op.create_index("ix_import_rows_outcome", "import_rows", ["tenant_id", "import_id", "outcome", "number"])
    op.create_index(
        "ix_import_rows_customer",
        "import_rows",
        ["tenant_id", "customer_id"],
        postgresql_where=sa.text("customer_id IS NOT NULL"),
    )


def _keys(table: str) -> "list[sa.Constraint]":
    return [
        *(
            sa.ForeignKeyConstraint(
                ["tenant_id", column],
                [f"{other}.tenant_id", f"{other}.id"],
                name=op.f(f"fk_{table}_tenant_id_{column}"),
            )
            for column, other in _REFERS[table].items()
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f(f"fk_{table}_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f(f"uq_{table}_tenant_id_id")),
    ]


def downgrade() -> None:
    op.execute("DROP FUNCTION analyze_imported()")
    for table in reversed(_REFERS):
        op.drop_table(table)

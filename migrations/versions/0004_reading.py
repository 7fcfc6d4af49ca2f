"""What reading needs: sessions and usage, a balance row per customer, indexes in the order of the lists, the search.

Row-level security asks for the tenant in a subquery from here on: it is then read once for each statement, and the
planner does not take it for NULL, which would mean no rows, when it plans before the tenant is set.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

FORMER_TENANT = "NULLIF(current_setting('app.tenant_id', true), '')::uuid"
CURRENT_TENANT = f"(SELECT {FORMER_TENANT})"

# The application only reads them: accounting and triggers write.
TABLES = ("sessions", "usage_days", "usage_buckets", "customer_balances")

# Read by customer_matches, which names the tenant itself: the conditions of row-level security would come before
# those of the search, and no index of trigrams could be used.
LOOKED_UP = ("customers", "services", "service_macs", "invoices")

_ACCOUNTS = ("RECEIVABLE", "WALLET", "REVENUE", "TAX", "CASH", "GATEWAY_CLEARING", "COMMISSION", "OPERATOR_WALLET")

# Statements are separated by empty lines.
FUNCTIONS = r"""
CREATE FUNCTION customer_gets_balance() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
BEGIN
  INSERT INTO customer_balances (tenant_id, customer_id, receivable_minor, wallet_minor)
  SELECT tenant_id, id, 0, 0 FROM added;
  RETURN NULL;
END $$;

CREATE FUNCTION balance_follows_postings() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
BEGIN
  -- In the order of the customers, so that two statements that touch the same ones cannot lock each other out.
  INSERT INTO customer_balances AS b (tenant_id, customer_id, receivable_minor, wallet_minor)
  SELECT tenant_id, customer_id, COALESCE(sum(amount_minor) FILTER (WHERE account = 'RECEIVABLE'), 0),
         COALESCE(-sum(amount_minor) FILTER (WHERE account = 'WALLET'), 0)
    FROM added WHERE customer_id IS NOT NULL GROUP BY tenant_id, customer_id ORDER BY tenant_id, customer_id
  ON CONFLICT (tenant_id, customer_id) DO UPDATE
     SET receivable_minor = b.receivable_minor + EXCLUDED.receivable_minor,
         wallet_minor = b.wallet_minor + EXCLUDED.wallet_minor;
  RETURN NULL;
END $$;

CREATE FUNCTION customer_matches(p_forms text[])
  RETURNS SETOF uuid LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100
  SET search_path = pg_catalog, public AS $$
-- The customers of the tenant at hand that a search finds. Its forms, in the order of the declarations, are made by
-- domain/customer_lists.py; one that is NULL matches nothing.
DECLARE
  tenant uuid := NULLIF(current_setting('app.tenant_id', true), '')::uuid;
  -- Any part of a name, e-mail, account number or username; every character stands for itself.
  part text := '%' || regexp_replace(p_forms[1], '([\\%_])', '\\\1', 'g') || '%';
  -- Where the case is folded in the table already, ILIKE would fold each row again.
  lower_part text := lower(part);
  -- Some digits of a mobile, and how one begins.
  some_digits text := '%' || p_forms[2] || '%';
  dialled text := p_forms[3] || '%';
  -- The hexadecimal digits that a MAC address begins with.
  hardware text := p_forms[4];
  held inet := p_forms[5]::inet;
  -- The beginning of an invoice number.
  numbered text := p_forms[6] || '%';
BEGIN
  RETURN QUERY
    SELECT c.id FROM customers c
     WHERE c.tenant_id = tenant AND (c.name_key LIKE lower_part OR c.email LIKE lower_part
                                     OR c.mobile LIKE some_digits OR c.account_number ILIKE part)
    UNION
    SELECT c.id FROM customers c WHERE c.tenant_id = tenant AND c.mobile LIKE dialled
    UNION
    SELECT s.customer_id FROM services s WHERE s.tenant_id = tenant AND s.username LIKE lower_part
    UNION
    SELECT s.customer_id FROM services s
     WHERE s.tenant_id = tenant AND s.ip_address = held AND s.status <> 'TERMINATED'
    UNION
    SELECT s.customer_id FROM service_macs m JOIN services s ON s.tenant_id = m.tenant_id AND s.id = m.service_id
     WHERE m.tenant_id = tenant AND m.mac BETWEEN rpad(hardware, 12, '0')::macaddr AND rpad(hardware, 12, 'f')::macaddr
    UNION
    SELECT i.customer_id FROM invoices i WHERE i.tenant_id = tenant AND i.number LIKE numbered;
END $$;
"""

SEARCH = "customer_matches(text[])"
INTERNAL = ("customer_gets_balance()", "balance_follows_postings()")


def upgrade() -> None:
    _tables()
    _lists_and_search()
    _accounts(*_ACCOUNTS, "ADJUSTMENT")
    _isolate(CURRENT_TENANT)
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        own = f"tenant_id = {CURRENT_TENANT}"
        op.execute(f"CREATE POLICY tenant_isolation ON {table} USING ({own}) WITH CHECK ({own})")
        op.execute(f"GRANT SELECT ON {table} TO ispgraph_app")
    for table in LOOKED_UP:
        op.execute(f"CREATE POLICY owner_lookup ON {table} FOR SELECT TO ispgraph_owner USING (true)")
    for function in FUNCTIONS.strip().split("\n\n"):
        op.execute(function)
    for signature in (*INTERNAL, SEARCH):
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {SEARCH} TO ispgraph_app")
    for table, function in (("customers", INTERNAL[0]), ("postings", INTERNAL[1])):
        op.execute(
            f"CREATE TRIGGER balance AFTER INSERT ON {table} REFERENCING NEW TABLE AS added "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {function}"
        )
    _fill_balances()
    op.execute("GRANT DELETE ON customers, services TO ispgraph_app")


def _accounts(*names: str) -> None:
    op.execute("ALTER TABLE postings DROP CONSTRAINT ck_postings_account")
    listed = ", ".join(f"'{name}'" for name in names)
    op.execute(f"ALTER TABLE postings ADD CONSTRAINT ck_postings_account CHECK (account IN ({listed}))")


def _isolate(tenant: str) -> None:
    """Have every policy that keeps tenants apart ask for the tenant with this expression."""
    tables = op.get_bind().scalars(
        sa.text("SELECT tablename FROM pg_policies WHERE policyname = 'tenant_isolation' AND schemaname = 'public'")
    )
    for table in sorted(tables):
        own = f"{'id' if table == 'tenants' else 'tenant_id'} = {tenant}"
        op.execute(f"ALTER POLICY tenant_isolation ON {table} USING ({own}) WITH CHECK ({own})")


def _fill_balances() -> None:
    # Tenant by tenant, for the owner is under row-level security as well.
    op.execute("""
DO $$
DECLARE tenant uuid;
BEGIN
  FOR tenant IN SELECT id FROM tenants LOOP
    PERFORM set_config('app.tenant_id', tenant::text, true);
    INSERT INTO customer_balances (tenant_id, customer_id, receivable_minor, wallet_minor)
    SELECT c.tenant_id, c.id, COALESCE(sum(p.amount_minor) FILTER (WHERE p.account = 'RECEIVABLE'), 0),
           COALESCE(-sum(p.amount_minor) FILTER (WHERE p.account = 'WALLET'), 0)
      FROM customers c LEFT JOIN postings p ON p.tenant_id = c.tenant_id AND p.customer_id = c.id
     WHERE c.tenant_id = tenant GROUP BY c.tenant_id, c.id;
  END LOOP;
  PERFORM set_config('app.tenant_id', '', true);
END $$""")


def downgrade() -> None:
    op.execute("REVOKE DELETE ON customers, services FROM ispgraph_app")
    for table in ("customers", "postings"):
        op.execute(f"DROP TRIGGER balance ON {table}")
    for signature in (SEARCH, *INTERNAL):
        op.execute(f"DROP FUNCTION {signature}")
    for table in LOOKED_UP:
        op.execute(f"DROP POLICY owner_lookup ON {table}")
    for table in TABLES:
        op.drop_table(table)
    _isolate(FORMER_TENANT)
    _accounts(*_ACCOUNTS)
    for name, table in _INDEXES:
        op.drop_index(name, table)
    op.drop_column("customers", "name_key")


def _tables() -> None:
    op.create_table(
        "sessions",
        sa.Column("customer_id", sa.Uuid(), nullable=True),
        sa.Column("service_id", sa.Uuid(), nullable=True),
        sa.Column("router_id", sa.Uuid(), nullable=True),
        sa.Column("acct_session_id", sa.String(length=253), nullable=False),
        sa.Column("unique_id", sa.String(length=64), nullable=False),
        sa.Column("username", sa.String(length=253), nullable=False),
        sa.Column(
            "connection_type", _names("connectiontype", "PPPOE", "HOTSPOT", "STATIC_IP", "OTHER"), nullable=False
        ),
        sa.Column("state", _names("sessionstate", "OPEN", "STOPPED", "STALE"), nullable=False),
        sa.Column("started_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("updated_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("stopped_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("duration_seconds", sa.Integer(), nullable=False),
        sa.Column("input_octets", sa.BigInteger(), nullable=False),
        sa.Column("output_octets", sa.BigInteger(), nullable=False),
        sa.Column("ip_address", postgresql.INET(), nullable=True),
        sa.Column("mac_address", postgresql.MACADDR(), nullable=True),
        sa.Column("nas_address", postgresql.INET(), nullable=True),
        sa.Column("terminate_cause", sa.String(length=253), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("(state = 'OPEN') = (stopped_at IS NULL)", name=op.f("ck_sessions_open_until_stopped")),
        sa.CheckConstraint(
            "duration_seconds >= 0 AND input_octets >= 0 AND output_octets >= 0", name=op.f("ck_sessions_counters")
        ),
        *_within_tenant("sessions", customer_id="customers", service_id="services", router_id="routers"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_sessions_tenant_id_id")),
        sa.UniqueConstraint("tenant_id", "unique_id", name=op.f("uq_sessions_tenant_id_unique_id")),
        postgresql_with={"fillfactor": 70},
    )
    op.create_index("ix_sessions_customer", "sessions", ["tenant_id", "customer_id", "started_at", "id"])
    op.create_index("ix_sessions_open", "sessions", ["tenant_id", "customer_id"], postgresql_where="stopped_at IS NULL")
    _usage("usage_days", sa.Column("day", sa.Date(), nullable=False))
    _usage(
        "usage_buckets",
        sa.Column("starts_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint(
            "extract(epoch FROM starts_at)::bigint % 900 = 0", name=op.f("ck_usage_buckets_quarter_of_an_hour")
        ),
    )
    op.create_table(
        "customer_balances",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("receivable_minor", sa.BigInteger(), nullable=False),
        sa.Column("wallet_minor", sa.BigInteger(), nullable=False),
        sa.Column(
            "balance_minor",
            sa.BigInteger(),
            sa.Computed("wallet_minor - receivable_minor", persisted=True),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "customer_id"],
            ["customers.tenant_id", "customers.id"],
            name=op.f("fk_customer_balances_tenant_id_customer_id"),
            ondelete="CASCADE",
        ),
        *_within_tenant("customer_balances"),
        sa.PrimaryKeyConstraint("tenant_id", "customer_id", name=op.f("pk_customer_balances")),
    )
    op.create_index("ix_customer_balances_balance", "customer_balances", ["tenant_id", "balance_minor", "customer_id"])


def _usage(table: str, when: "sa.Column[Any]", *rules: sa.CheckConstraint) -> None:
    op.create_table(
        table,
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("service_id", sa.Uuid(), nullable=False),
        when,
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("input_octets", sa.BigInteger(), nullable=False),
        sa.Column("output_octets", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Integer(), nullable=False),
        *rules,
        sa.CheckConstraint(
            "input_octets >= 0 AND output_octets >= 0 AND seconds >= 0", name=op.f(f"ck_{table}_counters")
        ),
        *_within_tenant(table, customer_id="customers", service_id="services"),
        sa.PrimaryKeyConstraint("tenant_id", "service_id", when.name, name=op.f(f"pk_{table}")),
        postgresql_with={"fillfactor": 70},
    )
    op.create_index(f"ix_{table}_customer", table, ["tenant_id", "customer_id", when.name])


def _names(name: str, *members: str) -> sa.Enum:
    return sa.Enum(*members, name=name, native_enum=False, create_constraint=True, length=20)


def _within_tenant(table: str, **columns: str) -> list[sa.ForeignKeyConstraint]:
    return [
        *(
            sa.ForeignKeyConstraint(
                ["tenant_id", column],
                [f"{other}.tenant_id", f"{other}.id"],
                name=op.f(f"fk_{table}_tenant_id_{column}"),
            )
            for column, other in columns.items()
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f(f"fk_{table}_tenant_id")),
    ]


_INDEXES = (
    ("ix_customers_joined", "customers"),
    ("ix_customers_mobile", "customers"),
    ("ix_customers_name", "customers"),
    ("ix_customers_search", "customers"),
    ("ix_customers_status", "customers"),
    ("ix_invoices_number", "invoices"),
    ("ix_service_macs_service", "service_macs"),
    ("ix_postings_operator", "postings"),
    ("ix_services_search", "services"),
    ("uq_services_primary", "services"),
)


def _lists_and_search() -> None:
    op.add_column(
        "customers",
        sa.Column("name_key", sa.Text(), sa.Computed("lower((name)::text)", persisted=True), nullable=False),
    )
    op.create_index("ix_customers_joined", "customers", ["tenant_id", "joined_at", "id"])
    op.create_index(
        "ix_customers_mobile", "customers", ["tenant_id", "mobile"], postgresql_ops={"mobile": "text_pattern_ops"}
    )
    op.create_index("ix_customers_name", "customers", ["tenant_id", "name_key", "id"])
    op.create_index("ix_customers_status", "customers", ["tenant_id", "status", "id"])
    _trigrams("ix_customers_search", "customers", "name_key", "mobile", "email", "account_number")
    _trigrams("ix_services_search", "services", "username")
    op.create_index(
        "ix_invoices_number", "invoices", ["tenant_id", "number"], postgresql_ops={"number": "text_pattern_ops"}
    )
    op.create_index("ix_service_macs_service", "service_macs", ["tenant_id", "service_id"])
    op.create_index(
        "ix_postings_operator", "postings", ["tenant_id", "operator_id"], postgresql_where="operator_id IS NOT NULL"
    )
    op.create_index(
        "uq_services_primary", "services", ["tenant_id", "customer_id"], unique=True, postgresql_where="is_primary"
    )


def _trigrams(name: str, table: str, *columns: str) -> None:
    op.create_index(
        name,
        table,
        list(columns),
        postgresql_using="gin",
        postgresql_ops=dict.fromkeys(columns, "gin_trgm_ops"),
        postgresql_with={"gin_pending_list_limit": 256},
    )

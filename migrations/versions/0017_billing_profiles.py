"""Billing profiles of customers, days on which services are suspended, and dunning."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

CURRENT_TENANT = "(SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)"
CYCLES = ("DAILY", "WEEKLY", "MONTHLY", "QUARTERLY", "YEARLY", "ONE_TIME")
METHODS = ("CASH", "BANK_TRANSFER", "CARD", "MOBILE_MONEY", "ONLINE", "WALLET", "VOUCHER", "OTHER")
SETTINGS = {
    "dunning_before": (postgresql.ARRAY(sa.Integer()), "{3}"),
    "dunning_after": (postgresql.ARRAY(sa.Integer()), "{1,3}"),
    "dunning_grace_days": (sa.Integer(), "3"),
    "dunning_holidays": (postgresql.ARRAY(sa.Date()), "{}"),
    "dunning_at": (sa.Time(), "09:00"),
}

FUNCTIONS = """
CREATE FUNCTION dunning_times() RETURNS TABLE (tenant_id uuid, time_zone text, dunning_at time)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  SELECT id, t.time_zone, t.dunning_at FROM tenants t ORDER BY id
$$;

CREATE FUNCTION dunning_suspension_on(p_from date, p_grace integer, p_holidays date[]) RETURNS date
  LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, public AS $$
  -- The first day after so many days of grace that is no holiday; holidays are no days of grace either.
  SELECT p_from + n FROM generate_series(1, p_grace + 1 + cardinality(p_holidays)) n
   WHERE p_from + n <> ALL (p_holidays) ORDER BY n OFFSET p_grace LIMIT 1
$$;
"""
CALLABLE = ("dunning_times()", "dunning_suspension_on(date, integer, date[])")


def upgrade() -> None:
    for name, (kind, default) in SETTINGS.items():
        op.add_column("tenants", sa.Column(name, kind, nullable=False, server_default=default))
    op.create_check_constraint(op.f("ck_tenants_dunning_grace_days"), "tenants", "dunning_grace_days BETWEEN 0 AND 60")
    op.execute(f"GRANT UPDATE ({', '.join(SETTINGS)}) ON tenants TO ispgraph_app")
    _profiles()
    _suspend_rules()
    _steps()
    for function in FUNCTIONS.strip().split("\n\n"):
        op.execute(function)
    for signature in CALLABLE:
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO ispgraph_app")


def _profiles() -> None:
    op.create_table(
        "billing_profiles",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("billing_cycle", sa.String(20), nullable=True),
        sa.Column("billing_day", sa.Integer(), nullable=True),
        sa.Column("grace_days", sa.Integer(), nullable=True),
        sa.Column("auto_generate", sa.Boolean(), nullable=False),
        sa.Column("auto_suspend", sa.Boolean(), nullable=False),
        sa.Column("payment_method", sa.String(20), nullable=True),
        sa.Column("contact_name", sa.String(255), nullable=True),
        sa.Column("contact_email", sa.String(320), nullable=True),
        sa.Column("contact_mobile", sa.String(20), nullable=True),
        sa.Column("updated_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint(_among("billing_cycle", CYCLES), name=op.f("ck_billing_profiles_billingcycle")),
        sa.CheckConstraint(_among("payment_method", METHODS), name=op.f("ck_billing_profiles_paymentmethod")),
        sa.CheckConstraint("billing_cycle <> 'ONE_TIME'", name=op.f("ck_billing_profiles_recurs")),
        sa.CheckConstraint("billing_day BETWEEN 1 AND 28", name=op.f("ck_billing_profiles_billing_day")),
        sa.CheckConstraint("grace_days BETWEEN 0 AND 60", name=op.f("ck_billing_profiles_grace_days")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_billing_profiles_tenant_id")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "customer_id"],
            ["customers.tenant_id", "customers.id"],
            name=op.f("fk_billing_profiles_tenant_id_customer_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "customer_id", name=op.f("pk_billing_profiles")),
    )
    _protect("billing_profiles", "SELECT, INSERT, UPDATE")


def _suspend_rules() -> None:
    op.create_table(
        "suspend_rules",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("service_id", sa.Uuid(), nullable=False),
        sa.Column("recurring_day", sa.Integer(), nullable=True),
        sa.Column("remind_days_before", sa.Integer(), nullable=True),
        sa.Column("reminded_for", sa.Date(), nullable=True),
        sa.CheckConstraint("recurring_day BETWEEN 1 AND 28", name=op.f("ck_suspend_rules_recurring_day")),
        sa.CheckConstraint("remind_days_before BETWEEN 1 AND 30", name=op.f("ck_suspend_rules_remind_days_before")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_suspend_rules_tenant_id")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "service_id"],
            ["services.tenant_id", "services.id"],
            name=op.f("fk_suspend_rules_tenant_id_service_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "service_id", name=op.f("pk_suspend_rules")),
    )
    _protect("suspend_rules", "SELECT, INSERT, UPDATE, DELETE")


def _steps() -> None:
    op.create_table(
        "dunning_steps",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("counted_from", sa.Date(), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.Column("planned_on", sa.Date(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("outcome", sa.String(20), nullable=False),
        sa.Column("done_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint(_among("kind", ("REMINDER", "SUSPENSION")), name=op.f("ck_dunning_steps_dunningkind")),
        sa.CheckConstraint(
            _among("outcome", ("SENT", "PASSED_OVER", "SUSPENDED")), name=op.f("ck_dunning_steps_dunningoutcome")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_dunning_steps_tenant_id")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "invoice_id"],
            ["invoices.tenant_id", "invoices.id"],
            name=op.f("fk_dunning_steps_tenant_id_invoice_id"),
        ),
        sa.PrimaryKeyConstraint(
            "tenant_id", "invoice_id", "kind", "counted_from", "days", name=op.f("pk_dunning_steps")
        ),
    )
    _protect("dunning_steps", "SELECT, INSERT")
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON dunning_steps "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER no_truncate BEFORE TRUNCATE ON dunning_steps "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def _among(column: str, names: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(name) for name in names)})"


def _protect(table: str, grants: str) -> None:
    own = f"tenant_id = {CURRENT_TENANT}"
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY tenant_isolation ON {table} USING ({own}) WITH CHECK ({own})")
    op.execute(f"GRANT {grants} ON {table} TO ispgraph_app")


def downgrade() -> None:
    for signature in CALLABLE:
        op.execute(f"DROP FUNCTION {signature}")
    for table in ("dunning_steps", "suspend_rules", "billing_profiles"):
        op.drop_table(table)
    op.drop_constraint(op.f("ck_tenants_dunning_grace_days"), "tenants")
    for name in reversed(SETTINGS):
        op.drop_column("tenants", name)

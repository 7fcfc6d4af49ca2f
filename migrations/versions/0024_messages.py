"""Messages are carried: texts of tenants, when they may be sent, what became of them, and the credits of operators."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

CURRENT_TENANT = "(SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)"
_INSTANT = postgresql.TIMESTAMP(timezone=True)

# What the application may change of its tenant from now on, with the defaults.
SETTINGS: dict[str, tuple[Any, bool, Any]] = {
    "message_language": (sa.String(35), False, "en"),
    "sms_enabled": (sa.Boolean(), False, sa.true()),
    "quiet_from": (sa.Time(), True, None),
    "quiet_until": (sa.Time(), True, None),
}
# Columns of customers.
WISHES: dict[str, tuple[Any, bool, Any]] = {
    "language": (sa.String(35), True, None),
    "sms_opt_out": (sa.Boolean(), False, sa.false()),
    "email_opt_out": (sa.Boolean(), False, sa.false()),
}
TABLES = {
    "message_templates": "SELECT, INSERT, UPDATE, DELETE",
    "sms_credit_entries": "SELECT, INSERT",
    "delivery_reports": "SELECT, INSERT, DELETE",
}

# Statements are separated by empty lines. Row-level security holds the owner as well: it goes from tenant to tenant.
BEFORE = """
DO $$ DECLARE tenant uuid; BEGIN
  FOR tenant IN SELECT tenant_id FROM all_tenants() LOOP
    PERFORM set_config('app.tenant_id', tenant::text, true);
    UPDATE messages SET status = 'FAILED', error = 'It was queued before messages were sent, and is out of date.'
     WHERE tenant_id = tenant AND status = 'QUEUED';
    INSERT INTO sms_credit_entries (id, tenant_id, operator_id, kind, credits, balance, created_at)
    SELECT gen_random_uuid(), o.tenant_id, o.id, 'ADDED', o.sms_credits, o.sms_credits, o.created_at
      FROM operators o WHERE o.tenant_id = tenant AND o.sms_credits > 0;
  END LOOP;
  PERFORM set_config('app.tenant_id', '', true);
END $$
"""
AFTER = """
DO $$ DECLARE tenant uuid; BEGIN
  FOR tenant IN SELECT tenant_id FROM all_tenants() LOOP
    PERFORM set_config('app.tenant_id', tenant::text, true);
    DELETE FROM messages WHERE tenant_id = tenant AND customer_id IS NULL;
  END LOOP;
  PERFORM set_config('app.tenant_id', '', true);
END $$
"""
DUE = """
CREATE FUNCTION due_messages(p_at timestamptz) RETURNS TABLE (tenant_id uuid)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  -- The tenants with messages that are to be sent now; those that are being sent have a later `not_before`.
  SELECT DISTINCT m.tenant_id FROM messages m WHERE m.status = 'QUEUED' AND m.not_before <= p_at
$$
"""


def upgrade() -> None:
    for name, (kind, nullable, default) in SETTINGS.items():
        op.add_column("tenants", sa.Column(name, kind, nullable=nullable, server_default=default))
    op.create_check_constraint(op.f("ck_tenants_quiet"), "tenants", "(quiet_from IS NULL) = (quiet_until IS NULL)")
    op.execute(f"GRANT UPDATE ({', '.join(SETTINGS)}) ON tenants TO ispgraph_app")
    for name, (kind, nullable, default) in WISHES.items():
        op.add_column("customers", sa.Column(name, kind, nullable=nullable, server_default=default))
    op.add_column("operators", sa.Column("credits_told_at", _INSTANT, nullable=True))
    op.create_check_constraint(op.f("ck_operators_sms_credits"), "operators", "sms_credits >= 0")
    _messages()
    _templates()
    _credits()
    _reports()
    own = f"tenant_id = {CURRENT_TENANT}"
    for table, grants in TABLES.items():
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant_isolation ON {table} USING ({own}) WITH CHECK ({own})")
        op.execute(f"GRANT {grants} ON {table} TO ispgraph_app")
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON sms_credit_entries "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER no_truncate BEFORE TRUNCATE ON sms_credit_entries "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    op.execute("CREATE POLICY owner_lookup ON messages FOR SELECT TO ispgraph_owner USING (true)")
    op.execute(DUE)
    op.execute("REVOKE ALL ON FUNCTION due_messages(timestamptz) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION due_messages(timestamptz) TO ispgraph_app")
    op.execute(BEFORE)


def _messages() -> None:
    op.alter_column("messages", "customer_id", nullable=True)
    for column in (
        sa.Column("operator_id", sa.Uuid(), nullable=True),
        sa.Column("language", sa.String(35), nullable=False, server_default="en"),
        sa.Column("subject", sa.String(200), nullable=True),
        sa.Column("once", sa.String(120), nullable=True),
        sa.Column("service_id", sa.Uuid(), nullable=True),
        sa.Column("charged_id", sa.Uuid(), nullable=True),
        sa.Column("reserved", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("not_before", _INSTANT, nullable=False, server_default="-infinity"),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("in_flight", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("gateway_id", sa.Uuid(), nullable=True),
        sa.Column("provider_reference", sa.String(200), nullable=True),
    ):
        op.add_column("messages", column)
    for column, table in (
        ("operator_id", "operators"),
        ("charged_id", "operators"),
        ("service_id", "services"),
        ("gateway_id", "gateways"),
    ):
        op.create_foreign_key(
            op.f(f"fk_messages_tenant_id_{column}"),
            "messages",
            table,
            ["tenant_id", column],
            ["tenant_id", "id"],
        )
    op.create_check_constraint(op.f("ck_messages_recipient"), "messages", "num_nonnulls(customer_id, operator_id) = 1")
    queued = sa.text("status = 'QUEUED'")
    op.create_index("ix_messages_due", "messages", ["not_before", "tenant_id"], postgresql_where=queued)
    once = sa.text("once IS NOT NULL")
    op.create_index(
        "uq_messages_once", "messages", ["tenant_id", "once", "channel"], unique=True, postgresql_where=once
    )
    referred = sa.text("provider_reference IS NOT NULL")
    op.create_index(
        "ix_messages_reference",
        "messages",
        ["tenant_id", "gateway_id", "provider_reference"],
        postgresql_where=referred,
    )


def _templates() -> None:
    op.create_table(
        "message_templates",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.String(60), nullable=False),
        sa.Column("channel", sa.String(20), nullable=False),
        sa.Column("language", sa.String(35), nullable=False),
        sa.Column("subject", sa.String(200), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("updated_at", _INSTANT, nullable=False),
        sa.CheckConstraint("channel IN ('SMS', 'EMAIL')", name=op.f("ck_message_templates_messagechannel")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_message_templates_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_message_templates")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_message_templates_tenant_id_id")),
    )
    op.create_index(
        "uq_message_templates_key", "message_templates", ["tenant_id", "key", "channel", "language"], unique=True
    )


def _credits() -> None:
    op.create_table(
        "sms_credit_entries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("operator_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("credits", sa.Integer(), nullable=False),
        sa.Column("balance", sa.Integer(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=True),
        sa.Column("note", sa.String(255), nullable=True),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("created_by_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "kind IN ('ADDED', 'RESERVED', 'SETTLED', 'RETURNED')", name=op.f("ck_sms_credit_entries_creditkind")
        ),
        sa.CheckConstraint("balance >= 0", name=op.f("ck_sms_credit_entries_balance")),
        *(
            sa.ForeignKeyConstraint(
                ["tenant_id", column],
                [f"{table}.tenant_id", f"{table}.id"],
                name=op.f(f"fk_sms_credit_entries_tenant_id_{column}"),
            )
            for column, table in (
                ("operator_id", "operators"),
                ("message_id", "messages"),
                ("created_by_id", "operators"),
            )
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_sms_credit_entries_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sms_credit_entries")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_sms_credit_entries_tenant_id_id")),
    )
    op.create_index("ix_sms_credit_entries_operator", "sms_credit_entries", ["tenant_id", "operator_id", "id"])
    op.create_index(
        "uq_sms_credit_entries_message", "sms_credit_entries", ["tenant_id", "message_id", "kind"], unique=True
    )


def _reports() -> None:
    op.create_table(
        "delivery_reports",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("gateway_id", sa.Uuid(), nullable=False),
        sa.Column("provider_reference", sa.String(200), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.CheckConstraint(
            "status IN ('QUEUED', 'SENT', 'DELIVERED', 'FAILED')", name=op.f("ck_delivery_reports_messagestatus")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "gateway_id"],
            ["gateways.tenant_id", "gateways.id"],
            name=op.f("fk_delivery_reports_tenant_id_gateway_id"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_delivery_reports_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery_reports")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_delivery_reports_tenant_id_id")),
    )
    op.create_index(
        "ix_delivery_reports_reference", "delivery_reports", ["tenant_id", "gateway_id", "provider_reference"]
    )


def downgrade() -> None:
    op.execute("DROP FUNCTION due_messages(timestamptz)")
    op.execute("DROP POLICY owner_lookup ON messages")
    for table in reversed(TABLES):
        op.drop_table(table)
    op.execute(AFTER)
    for index in ("ix_messages_reference", "uq_messages_once", "ix_messages_due"):
        op.drop_index(index, "messages")
    op.drop_constraint(op.f("ck_messages_recipient"), "messages")
    for column in ("gateway_id", "service_id", "charged_id", "operator_id"):
        op.drop_constraint(op.f(f"fk_messages_tenant_id_{column}"), "messages")
    for column in (
        *("provider_reference", "gateway_id", "in_flight", "attempts", "not_before", "reserved", "charged_id"),
        *("service_id", "once", "subject", "language", "operator_id"),
    ):
        op.drop_column("messages", column)
    op.alter_column("messages", "customer_id", nullable=False)
    op.drop_constraint(op.f("ck_operators_sms_credits"), "operators")
    op.drop_column("operators", "credits_told_at")
    for name in WISHES:
        op.drop_column("customers", name)
    op.drop_constraint(op.f("ck_tenants_quiet"), "tenants")
    for name in SETTINGS:
        op.drop_column("tenants", name)

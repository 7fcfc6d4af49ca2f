"""A chain of sealed links over the audit entries of each tenant, and what lists of entries are read by."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

CURRENT_TENANT = "(SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)"
_INSTANT = postgresql.TIMESTAMP(timezone=True)

# No entry without a link and without a row here: whoever adds one adds the other, in the same statement.
WAITS = """
CREATE FUNCTION audit_entry_waits() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
  INSERT INTO audit_unsealed (tenant_id, entry_id) SELECT tenant_id, id FROM fresh;
  RETURN NULL;
END $$;
"""

# Asked by the scheduler, before it knows a tenant.
UNSEALED_TENANTS = """
CREATE FUNCTION unsealed_tenants() RETURNS TABLE (tenant_id uuid)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  SELECT t.id FROM tenants t WHERE EXISTS (SELECT FROM audit_unsealed u WHERE u.tenant_id = t.id) ORDER BY t.id
$$;
"""


def upgrade() -> None:
    op.create_table(
        "audit_links",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        sa.Column("sealed_at", _INSTANT, nullable=False),
        sa.Column("key_name", sa.String(16), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("sequence > 0", name=op.f("ck_audit_links_sequence")),
        sa.CheckConstraint("octet_length(content) = 32 AND octet_length(hash) = 32", name=op.f("ck_audit_links_sizes")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_audit_links_tenant_id")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "entry_id"],
            ["audit_entries.tenant_id", "audit_entries.id"],
            name=op.f("fk_audit_links_tenant_id_entry_id"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "sequence", name=op.f("pk_audit_links")),
        sa.UniqueConstraint("tenant_id", "entry_id", name=op.f("uq_audit_links_tenant_id_entry_id")),
    )
    op.create_table(
        "audit_unsealed",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "entry_id", name=op.f("pk_audit_unsealed")),
    )
    # What was recorded before is sealed as it is found.
    op.execute("ALTER TABLE audit_entries NO FORCE ROW LEVEL SECURITY")
    op.execute("INSERT INTO audit_unsealed (tenant_id, entry_id) SELECT tenant_id, id FROM audit_entries")
    op.execute("ALTER TABLE audit_entries FORCE ROW LEVEL SECURITY")
    own = f"tenant_id = {CURRENT_TENANT}"
    for table, grants in (("audit_links", "SELECT, INSERT"), ("audit_unsealed", "SELECT, INSERT, DELETE")):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant_isolation ON {table} USING ({own}) WITH CHECK ({own})")
        op.execute(f"GRANT {grants} ON {table} TO ispgraph_app")
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_links "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER no_truncate BEFORE TRUNCATE ON audit_links FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    op.execute(WAITS)
    op.execute("REVOKE ALL ON FUNCTION audit_entry_waits() FROM PUBLIC")
    op.execute(
        "CREATE TRIGGER waits AFTER INSERT ON audit_entries REFERENCING NEW TABLE AS fresh "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_entry_waits()"
    )
    op.execute("CREATE POLICY owner_lookup ON audit_unsealed FOR SELECT TO ispgraph_owner USING (true)")
    op.execute(UNSEALED_TENANTS)
    op.execute("REVOKE ALL ON FUNCTION unsealed_tenants() FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION unsealed_tenants() TO ispgraph_app")
    op.create_index("ix_audit_entries_operator", "audit_entries", ["tenant_id", "operator_id", "id"])
    op.create_index(
        "ix_audit_entries_action",
        "audit_entries",
        ["tenant_id", "action", "id"],
        postgresql_ops={"action": "text_pattern_ops"},
    )


def downgrade() -> None:
    op.drop_index("ix_audit_entries_action", "audit_entries")
    op.drop_index("ix_audit_entries_operator", "audit_entries")
    op.execute("DROP FUNCTION unsealed_tenants()")
    op.execute("DROP TRIGGER waits ON audit_entries")
    op.execute("DROP FUNCTION audit_entry_waits()")
    op.drop_table("audit_unsealed")
    op.drop_table("audit_links")

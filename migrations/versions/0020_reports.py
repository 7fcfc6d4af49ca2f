"""What reports read: the ledger by time, and when what a payment had settled was released again."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

CURRENT_TENANT = "(SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)"
_INSTANT = postgresql.TIMESTAMP(timezone=True)

# What was released before this was kept is dated by what can have released it last: the void of the invoice, or the
# last refund of the payment. Tenant by tenant, for the owner is under row-level security as well.
EARLIER = """
DO $$
DECLARE tenant uuid;
BEGIN
  FOR tenant IN SELECT id FROM tenants LOOP
    PERFORM set_config('app.tenant_id', tenant::text, true);
    INSERT INTO allocation_releases (id, tenant_id, allocation_id, amount_minor, at)
    SELECT gen_random_uuid(), a.tenant_id, a.id, a.released_minor,
           COALESCE((SELECT max(j.at) FROM journals j JOIN invoices i ON i.id = j.invoice_id AND i.status = 'VOID'
                      WHERE j.invoice_id = a.invoice_id),
                    (SELECT max(r.at) FROM refunds r WHERE r.payment_id = a.payment_id),
                    a.created_at)
      FROM allocations a WHERE a.released_minor > 0;
  END LOOP;
  PERFORM set_config('app.tenant_id', '', true);
END $$
"""


def upgrade() -> None:
    op.create_table(
        "allocation_releases",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("allocation_id", sa.Uuid(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("at", _INSTANT, nullable=False),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_allocation_releases_amount")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "allocation_id"],
            ["allocations.tenant_id", "allocations.id"],
            name=op.f("fk_allocation_releases_tenant_id_allocation_id"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_allocation_releases_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_allocation_releases")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_allocation_releases_tenant_id_id")),
    )
    op.create_index("ix_allocation_releases_at", "allocation_releases", ["tenant_id", "at"])
    op.execute("ALTER TABLE allocation_releases ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE allocation_releases FORCE ROW LEVEL SECURITY")
    own = f"tenant_id = {CURRENT_TENANT}"
    op.execute(f"CREATE POLICY tenant_isolation ON allocation_releases USING ({own}) WITH CHECK ({own})")
    op.execute(EARLIER)
    op.execute("GRANT SELECT, INSERT ON allocation_releases TO ispgraph_app")
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON allocation_releases "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER no_truncate BEFORE TRUNCATE ON allocation_releases "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    op.create_index("ix_journals_at", "journals", ["tenant_id", "at"])


def downgrade() -> None:
    op.drop_index("ix_journals_at", "journals")
    op.drop_table("allocation_releases")

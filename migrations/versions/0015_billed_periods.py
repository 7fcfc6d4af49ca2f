"""What time of a service is charged, on which invoice and at what price: no moment twice."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

CURRENT_TENANT = "(SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)"
_INSTANT = postgresql.TIMESTAMP(timezone=True)

# The first invoice of whatever overlaps stands for the time: from here on the constraint keeps a second one away.
EARLIER = """
DO $$
DECLARE tenant uuid;
BEGIN
  FOR tenant IN SELECT id FROM tenants LOOP
    PERFORM set_config('app.tenant_id', tenant::text, true);
    INSERT INTO billed_periods (id, tenant_id, service_id, invoice_id, package_id, starts_at, ends_at, price_minor,
                                tax_rate, tax_included)
    SELECT gen_random_uuid(), i.tenant_id, i.service_id, i.id, s.package_id, i.period_start, i.period_end,
           l.price_minor, l.tax_rate, l.tax_included
      FROM invoices i JOIN services s ON s.tenant_id = i.tenant_id AND s.id = i.service_id
      JOIN LATERAL (SELECT sum(unit_price_minor * quantity)::bigint AS price_minor, max(tax_rate) AS tax_rate,
                           bool_or(tax_included) AS tax_included
                      FROM invoice_lines l WHERE l.tenant_id = i.tenant_id AND l.invoice_id = i.id) l ON true
     WHERE i.status NOT IN ('DRAFT', 'VOID') AND i.kind = 'INVOICE' AND i.period_start < i.period_end
     ORDER BY i.id
        ON CONFLICT DO NOTHING;
  END LOOP;
  PERFORM set_config('app.tenant_id', '', true);
END $$
"""


def upgrade() -> None:
    op.create_table(
        "billed_periods",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("service_id", sa.Uuid(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=False),
        sa.Column("package_id", sa.Uuid(), nullable=False),
        sa.Column("starts_at", _INSTANT, nullable=False),
        sa.Column("ends_at", _INSTANT, nullable=False),
        sa.Column("price_minor", sa.BigInteger(), nullable=False),
        sa.Column("tax_rate", sa.Numeric(6, 3), nullable=False),
        sa.Column("tax_included", sa.Boolean(), nullable=False),
        sa.Column("released_at", _INSTANT, nullable=True),
        sa.CheckConstraint("starts_at < ends_at", name=op.f("ck_billed_periods_period")),
        sa.CheckConstraint("price_minor >= 0", name=op.f("ck_billed_periods_price")),
        *(
            sa.ForeignKeyConstraint(
                ["tenant_id", f"{noun}_id"],
                [f"{noun}s.tenant_id", f"{noun}s.id"],
                name=op.f(f"fk_billed_periods_tenant_id_{noun}_id"),
            )
            for noun in ("service", "invoice", "package")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_billed_periods_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_billed_periods")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_billed_periods_tenant_id_id")),
    )
    op.create_index("ix_billed_periods_invoice", "billed_periods", ["tenant_id", "invoice_id"])
    op.execute(
        "ALTER TABLE billed_periods ADD CONSTRAINT ex_billed_periods_once EXCLUDE USING gist "
        "(service_id WITH =, tstzrange(starts_at, ends_at) WITH &&) WHERE (released_at IS NULL)"
    )
    op.execute("ALTER TABLE billed_periods ENABLE ROW LEVEL SECURITY")
    op.execute(EARLIER)
    op.execute("ALTER TABLE billed_periods FORCE ROW LEVEL SECURITY")
    own = f"tenant_id = {CURRENT_TENANT}"
    op.execute(f"CREATE POLICY tenant_isolation ON billed_periods USING ({own}) WITH CHECK ({own})")
    op.execute(
        "GRANT SELECT, INSERT, UPDATE (starts_at, ends_at, price_minor, released_at) ON billed_periods TO ispgraph_app"
    )
    op.execute(
        "CREATE TRIGGER append_only BEFORE DELETE ON billed_periods FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER no_truncate BEFORE TRUNCATE ON billed_periods "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def downgrade() -> None:
    op.drop_table("billed_periods")

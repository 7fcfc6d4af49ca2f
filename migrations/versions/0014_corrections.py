"""Money given back and invoices taken back: refunds, credit notes, and allocations that are released."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

CURRENT_TENANT = "(SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)"
_INSTANT = postgresql.TIMESTAMP(timezone=True)

RELEASE = """
CREATE FUNCTION allocation_keeps_its_word() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
  IF TG_OP = 'DELETE' OR to_jsonb(NEW) - 'released_minor' <> to_jsonb(OLD) - 'released_minor'
      OR NEW.released_minor < OLD.released_minor THEN
    RAISE EXCEPTION 'an allocation is only ever released' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$
"""


def upgrade() -> None:
    _refunds()
    _credit_notes()
    op.add_column("journals", sa.Column("refund_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("fk_journals_tenant_id_refund_id"),
        *("journals", "refunds"),
        ["tenant_id", "refund_id"],
        ["tenant_id", "id"],
    )
    op.add_column("allocations", sa.Column("released_minor", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_check_constraint(
        op.f("ck_allocations_released"), "allocations", "released_minor BETWEEN 0 AND amount_minor"
    )
    op.execute(RELEASE)
    op.execute("REVOKE ALL ON FUNCTION allocation_keeps_its_word() FROM PUBLIC")
    op.execute("DROP TRIGGER append_only ON allocations")
    op.execute(
        "CREATE TRIGGER final BEFORE UPDATE OR DELETE ON allocations "
        "FOR EACH ROW EXECUTE FUNCTION allocation_keeps_its_word()"
    )
    op.execute("GRANT UPDATE (released_minor) ON allocations TO ispgraph_app")


def _refunds() -> None:
    op.create_table(
        "refunds",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("payment_id", sa.Uuid(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(255), nullable=False),
        sa.Column("at", _INSTANT, nullable=False),
        sa.Column("by_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_refunds_amount")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "payment_id"],
            ["payments.tenant_id", "payments.id"],
            name=op.f("fk_refunds_tenant_id_payment_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "by_id"], ["operators.tenant_id", "operators.id"], name=op.f("fk_refunds_tenant_id_by_id")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_refunds_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refunds")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_refunds_tenant_id_id")),
    )
    op.create_index("ix_refunds_payment", "refunds", ["tenant_id", "payment_id"])
    op.execute("ALTER TABLE refunds ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE refunds FORCE ROW LEVEL SECURITY")
    own = f"tenant_id = {CURRENT_TENANT}"
    op.execute(f"CREATE POLICY tenant_isolation ON refunds USING ({own}) WITH CHECK ({own})")
    op.execute("GRANT SELECT, INSERT ON refunds TO ispgraph_app")
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON refunds FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER no_truncate BEFORE TRUNCATE ON refunds FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def _credit_notes() -> None:
    op.add_column("invoices", sa.Column("kind", sa.String(20), nullable=False, server_default="INVOICE"))
    op.add_column("invoices", sa.Column("credits_id", sa.Uuid(), nullable=True))
    op.create_check_constraint(op.f("ck_invoices_invoicekind"), "invoices", "kind IN ('INVOICE', 'CREDIT_NOTE')")
    op.create_check_constraint(
        op.f("ck_invoices_credit_notes"),
        "invoices",
        "CASE kind WHEN 'INVOICE' THEN credits_id IS NULL AND total_minor >= 0"
        " ELSE credits_id IS NOT NULL AND total_minor < 0 END",
    )
    op.create_foreign_key(
        op.f("fk_invoices_tenant_id_credits_id"),
        *("invoices", "invoices"),
        ["tenant_id", "credits_id"],
        ["tenant_id", "id"],
    )
    op.create_index(
        "ix_invoices_credits",
        "invoices",
        ["tenant_id", "credits_id"],
        postgresql_where=sa.text("credits_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.execute("REVOKE UPDATE (released_minor) ON allocations FROM ispgraph_app")
    op.execute("DROP TRIGGER final ON allocations")
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON allocations "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute("DROP FUNCTION allocation_keeps_its_word()")
    op.drop_column("allocations", "released_minor")
    op.drop_column("journals", "refund_id")
    op.drop_index("ix_invoices_credits", "invoices")
    for name in ("credits_id", "kind"):
        op.drop_column("invoices", name)
    op.drop_table("refunds")

"""Refunds by the gateways that took the money; refunds that are undone; the receipts that payers know; money
for the provider's own vouchers."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

CURRENT_TENANT = "(SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)"
_INSTANT = postgresql.TIMESTAMP(timezone=True)

# A refund that did not come about leaves the allocations as they were, by releases below zero.
KEEPS = """
CREATE OR REPLACE FUNCTION allocation_keeps_its_word() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
  IF TG_OP = 'DELETE' OR to_jsonb(NEW) - 'released_minor' <> to_jsonb(OLD) - 'released_minor' THEN
    RAISE EXCEPTION 'an allocation is only ever released' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$
"""

# The receipt that a payer has, by which the payment is found, may be told after the money was applied.
PAYMENT_KEEPS = """
CREATE OR REPLACE FUNCTION payment_keeps_its_word() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
  IF TG_OP = 'DELETE' OR to_jsonb(NEW) - ARRAY['status', 'reference'] <> to_jsonb(OLD) - ARRAY['status', 'reference']
      OR NEW.reference IS DISTINCT FROM OLD.reference AND NOT EXISTS (
        SELECT FROM gateway_payments g
         WHERE g.tenant_id = OLD.tenant_id AND g.customer_id = OLD.customer_id AND g.payment_id = OLD.id
           AND g.receipt = OLD.reference AND g.told_receipt = NEW.reference) THEN
    RAISE EXCEPTION 'payment % is final', OLD.number USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$
"""


def upgrade() -> None:
    op.add_column("refunds", sa.Column("undoes_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("fk_refunds_tenant_id_undoes_id"),
        *("refunds", "refunds"),
        ["tenant_id", "undoes_id"],
        ["tenant_id", "id"],
    )
    op.create_unique_constraint(op.f("uq_refunds_tenant_id_undoes_id"), "refunds", ["tenant_id", "undoes_id"])
    op.drop_constraint(op.f("ck_refunds_amount"), "refunds")
    op.create_check_constraint(
        op.f("ck_refunds_amount"), "refunds", "amount_minor <> 0 AND (amount_minor < 0) = (undoes_id IS NOT NULL)"
    )
    op.drop_constraint(op.f("ck_allocation_releases_amount"), "allocation_releases")
    op.create_check_constraint(op.f("ck_allocation_releases_amount"), "allocation_releases", "amount_minor <> 0")
    op.execute(KEEPS)
    _gateway_refunds()
    op.add_column("gateway_payments", sa.Column("told_receipt", sa.String(255), nullable=True))
    op.add_column("voucher_batches", sa.Column("sold", sa.Integer(), nullable=False, server_default="0"))
    op.create_check_constraint(
        op.f("ck_voucher_batches_sold"),
        "voucher_batches",
        "sold BETWEEN 0 AND count AND (sold = 0 OR paid_by_id IS NULL)",
    )
    op.execute(PAYMENT_KEEPS)
    op.create_index(
        "ix_payments_reference", "payments", ["tenant_id", "reference"], postgresql_where="reference IS NOT NULL"
    )


def _gateway_refunds() -> None:
    op.create_table(
        "gateway_refunds",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("refund_id", sa.Uuid(), nullable=False),
        sa.Column("gateway_payment_id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("provider_reference", sa.String(255), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("may_be_done", sa.Boolean(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("started_at", _INSTANT, nullable=False),
        sa.Column("settled_at", _INSTANT, nullable=True),
        sa.Column("next_try_at", _INSTANT, nullable=True),
        sa.Column("asking_until", _INSTANT, nullable=True),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "(state IN ('PENDING', 'ACCEPTED')) = (next_try_at IS NOT NULL)", name=op.f("ck_gateway_refunds_tried")
        ),
        sa.CheckConstraint(
            "state <> 'ACCEPTED' OR provider_reference IS NOT NULL", name=op.f("ck_gateway_refunds_accepted")
        ),
        sa.CheckConstraint(
            "state IN ('PENDING', 'ACCEPTED', 'DONE', 'FAILED', 'IN_DOUBT')",
            name=op.f("ck_gateway_refunds_gatewayrefundstate"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_gateway_refunds_tenant_id")),
        *(
            sa.ForeignKeyConstraint(
                ["tenant_id", column],
                [f"{other}.tenant_id", f"{other}.id"],
                name=op.f(f"fk_gateway_refunds_tenant_id_{column}"),
            )
            for column, other in (
                ("refund_id", "refunds"),
                ("gateway_payment_id", "gateway_payments"),
                ("customer_id", "customers"),
            )
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gateway_refunds")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_gateway_refunds_tenant_id_id")),
        sa.UniqueConstraint("tenant_id", "refund_id", name=op.f("uq_gateway_refunds_tenant_id_refund_id")),
    )
    op.create_index("ix_gateway_refunds_payment", "gateway_refunds", ["tenant_id", "gateway_payment_id"])
    op.create_index("ix_gateway_refunds_customer", "gateway_refunds", ["tenant_id", "customer_id", "id"])
    op.create_index(
        "ix_gateway_refunds_next_try",
        "gateway_refunds",
        ["tenant_id", "next_try_at"],
        postgresql_where="next_try_at IS NOT NULL",
    )
    own = f"tenant_id = {CURRENT_TENANT}"
    op.execute("ALTER TABLE gateway_refunds ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE gateway_refunds FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY tenant_isolation ON gateway_refunds USING ({own}) WITH CHECK ({own})")
    op.execute("GRANT SELECT, INSERT, UPDATE ON gateway_refunds TO ispgraph_app")


def downgrade() -> None:
    """Only where no refund was undone: the books as they were before have no place for that."""
    op.drop_index("ix_payments_reference", "payments")
    op.drop_column("voucher_batches", "sold")
    op.execute(_former("0002", "FUNCTIONS", "payment_keeps_its_word()"))
    op.drop_column("gateway_payments", "told_receipt")
    op.drop_table("gateway_refunds")
    op.execute(_former("0014", "RELEASE", "allocation_keeps_its_word()"))
    op.drop_constraint(op.f("ck_allocation_releases_amount"), "allocation_releases")
    op.create_check_constraint(op.f("ck_allocation_releases_amount"), "allocation_releases", "amount_minor > 0")
    op.drop_constraint(op.f("ck_refunds_amount"), "refunds")
    op.drop_column("refunds", "undoes_id")
    op.create_check_constraint(op.f("ck_refunds_amount"), "refunds", "amount_minor > 0")


def _former(number: str, among: str, signature: str) -> str:
    """A function as the revision made it that brought it."""
    folder = op.get_context().script
    assert folder is not None
    every: str = getattr(folder.get_revision(number).module, among)
    head = f"CREATE FUNCTION {signature} "
    (text,) = [part for part in every.strip().split("\n\n") if part.startswith(head)]
    return text.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1)

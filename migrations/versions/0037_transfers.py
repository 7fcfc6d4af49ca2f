"""Customers that change hands, and who earns by the invoices that stay behind."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None

CURRENT_TENANT = "(SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)"
_INSTANT = postgresql.TIMESTAMP(timezone=True)
_REFERS = {
    "customer_transfers": {
        "customer_id": "customers",
        "from_operator_id": "operators",
        "to_operator_id": "operators",
        "requested_by_id": "operators",
        "source_confirmed_by_id": "operators",
        "target_confirmed_by_id": "operators",
        "decided_by_id": "operators",
    },
    "invoice_earners": {"invoice_id": "invoices", "operator_id": "operators", "transfer_id": "customer_transfers"},
}
_CHANGES = (
    *("status", "source_confirmed_at", "source_confirmed_by_id", "target_confirmed_at", "target_confirmed_by_id"),
    *("decided_at", "decided_by_id", "note"),
)


def upgrade() -> None:
    _transfers()
    op.create_table(
        "invoice_earners",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=False),
        sa.Column("operator_id", sa.Uuid(), nullable=False),
        sa.Column("transfer_id", sa.Uuid(), nullable=False),
        *_keys("invoice_earners"),
        sa.UniqueConstraint("tenant_id", "invoice_id", name=op.f("uq_invoice_earners_tenant_id_invoice_id")),
    )
    own = f"tenant_id = {CURRENT_TENANT}"
    for table in _REFERS:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant_isolation ON {table} USING ({own}) WITH CHECK ({own})")
        op.execute(f"GRANT SELECT, INSERT ON {table} TO ispgraph_app")
        op.execute(
            f"CREATE TRIGGER no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
    op.execute(f"GRANT UPDATE ({', '.join(_CHANGES)}) ON customer_transfers TO ispgraph_app")
    op.execute("GRANT DELETE ON invoice_earners TO ispgraph_app")
    op.execute("CREATE TRIGGER kept BEFORE DELETE ON customer_transfers FOR EACH ROW EXECUTE FUNCTION refuse_change()")
    # What was decided stays as it was decided.
    op.execute(
        "CREATE TRIGGER decided BEFORE UPDATE ON customer_transfers FOR EACH ROW "
        "WHEN (OLD.decided_at IS NOT NULL) EXECUTE FUNCTION refuse_change()"
    )


def _transfers() -> None:
    op.create_table(
        "customer_transfers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("customer_name", sa.String(255), nullable=False),
        sa.Column("account_number", sa.String(24), nullable=False),
        sa.Column("from_operator_id", sa.Uuid(), nullable=False),
        sa.Column("to_operator_id", sa.Uuid(), nullable=False),
        sa.Column("transfer_invoices", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(500), nullable=True),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("requested_by_id", sa.Uuid(), nullable=False),
        sa.Column("source_confirmed_at", _INSTANT, nullable=True),
        sa.Column("source_confirmed_by_id", sa.Uuid(), nullable=True),
        sa.Column("target_confirmed_at", _INSTANT, nullable=True),
        sa.Column("target_confirmed_by_id", sa.Uuid(), nullable=True),
        sa.Column("decided_at", _INSTANT, nullable=True),
        sa.Column("decided_by_id", sa.Uuid(), nullable=True),
        sa.Column("note", sa.String(500), nullable=True),
        sa.CheckConstraint(
            "status IN ('PENDING_SOURCE', 'PENDING_TARGET', 'APPROVED', 'REJECTED')",
            name=op.f("ck_customer_transfers_transferstatus"),
        ),
        sa.CheckConstraint("from_operator_id <> to_operator_id", name=op.f("ck_customer_transfers_operators")),
        sa.CheckConstraint(
            "CASE status WHEN 'PENDING_SOURCE' THEN source_confirmed_at IS NULL"
            " WHEN 'PENDING_TARGET' THEN source_confirmed_at IS NOT NULL AND target_confirmed_at IS NULL"
            " WHEN 'APPROVED' THEN source_confirmed_at IS NOT NULL AND target_confirmed_at IS NOT NULL"
            " ELSE true END",
            name=op.f("ck_customer_transfers_confirmed"),
        ),
        sa.CheckConstraint(
            "(status IN ('APPROVED', 'REJECTED')) = (decided_at IS NOT NULL)",
            name=op.f("ck_customer_transfers_decided"),
        ),
        *_keys("customer_transfers"),
    )
    op.create_index(
        "uq_customer_transfers_pending",
        "customer_transfers",
        ["tenant_id", "customer_id"],
        unique=True,
        postgresql_where=sa.text("status IN ('PENDING_SOURCE', 'PENDING_TARGET')"),
    )
    for name, column in (
        ("customer", "customer_id"),
        ("status", "status"),
        ("from", "from_operator_id"),
        ("to", "to_operator_id"),
    ):
        op.create_index(f"ix_customer_transfers_{name}", "customer_transfers", ["tenant_id", column, "id"])


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
    op.drop_table("invoice_earners")
    op.drop_table("customer_transfers")

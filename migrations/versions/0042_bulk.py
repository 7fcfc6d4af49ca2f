"""The same done to many customers by one job, and what came of each."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0042"
down_revision = "0040"
branch_labels = None
depends_on = None

CURRENT_TENANT = "(SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)"
_INSTANT = postgresql.TIMESTAMP(timezone=True)
_REFERS = {
    "bulk_runs": {"job_id": "jobs", "started_by_id": "operators", "acting_id": "operators"},
    "bulk_rows": {"run_id": "bulk_runs", "customer_id": "customers"},
}
_GROWS = "done, unchanged, failed, charged_minor, credited_minor, segments, cancelled_at"
_BECOMES = "outcome, code, message, total_minor, segments, ended_at"


def upgrade() -> None:
    op.create_table(
        "bulk_runs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("action", sa.String(20), nullable=False),
        sa.Column("wish", postgresql.JSONB(), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("started_by_id", sa.Uuid(), nullable=False),
        sa.Column("acting_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("cancelled_at", _INSTANT, nullable=True),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("count", "done", "unchanged", "failed")),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("charged_minor", "credited_minor")),
        sa.Column("segments", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "action IN ('SUSPEND', 'ACTIVATE', 'CHANGE_PACKAGE', 'MESSAGE')", name=op.f("ck_bulk_runs_bulkaction")
        ),
        sa.CheckConstraint("count > 0 AND done + unchanged + failed <= count", name=op.f("ck_bulk_runs_count")),
        *_keys("bulk_runs"),
        sa.UniqueConstraint("tenant_id", "job_id", name=op.f("uq_bulk_runs_tenant_id_job_id")),
    )
    op.create_index("ix_bulk_runs_started_by", "bulk_runs", ["tenant_id", "started_by_id", "id"])
    op.create_table(
        "bulk_rows",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("outcome", sa.String(20), nullable=False),
        sa.Column("code", sa.String(40), nullable=True),
        sa.Column("message", sa.String(500), nullable=True),
        sa.Column("total_minor", sa.BigInteger(), nullable=True),
        sa.Column("segments", sa.Integer(), nullable=True),
        sa.Column("ended_at", _INSTANT, nullable=True),
        sa.CheckConstraint(
            "outcome IN ('WAITING', 'DONE', 'UNCHANGED', 'FAILED')", name=op.f("ck_bulk_rows_bulkoutcome")
        ),
        sa.CheckConstraint("(outcome = 'WAITING') = (ended_at IS NULL)", name=op.f("ck_bulk_rows_ended")),
        *_keys("bulk_rows"),
        sa.UniqueConstraint("tenant_id", "run_id", "position", name=op.f("uq_bulk_rows_tenant_id_run_id_position")),
    )
    op.create_index("ix_bulk_rows_customer", "bulk_rows", ["tenant_id", "customer_id"])
    op.create_index(
        "ix_bulk_rows_waiting",
        "bulk_rows",
        ["tenant_id", "run_id", "position"],
        postgresql_where=sa.text("outcome = 'WAITING'"),
    )
    own = f"tenant_id = {CURRENT_TENANT}"
    for table, changes in (("bulk_runs", _GROWS), ("bulk_rows", _BECOMES)):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant_isolation ON {table} USING ({own}) WITH CHECK ({own})")
        op.execute(f"GRANT SELECT, INSERT ON {table} TO ispgraph_app")
        op.execute(f"GRANT UPDATE ({changes}) ON {table} TO ispgraph_app")
    # What came of a customer stays as it was told.
    op.execute(
        "CREATE TRIGGER ended BEFORE UPDATE ON bulk_rows FOR EACH ROW "
        "WHEN (OLD.outcome <> 'WAITING') EXECUTE FUNCTION refuse_change()"
    )


def _keys(table: str) -> "list[sa.Constraint]":
    return [
        *(
            sa.ForeignKeyConstraint(
                ["tenant_id", column],
                [f"{other}.tenant_id", f"{other}.id"],
                name=op.f(f"fk_{table}_tenant_id_{column}"),
                ondelete="CASCADE" if other == "customers" else None,
            )
            for column, other in _REFERS[table].items()
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f(f"fk_{table}_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f(f"uq_{table}_tenant_id_id")),
    ]


def downgrade() -> None:
    op.drop_table("bulk_rows")
    op.drop_table("bulk_runs")

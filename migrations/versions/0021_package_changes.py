"""Requests for another package; which document gives charged time back; renewals that could not be paid."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

CURRENT_TENANT = "(SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)"
_INSTANT = postgresql.TIMESTAMP(timezone=True)
_REFERS = {
    "service_id": "services",
    "from_package_id": "packages",
    "to_package_id": "packages",
    "requested_by_id": "operators",
    "invoice_id": "invoices",
}


def upgrade() -> None:
    _requests()
    op.add_column("services", sa.Column("renewal_told_for", _INSTANT, nullable=True))
    op.create_index("ix_services_renewal", "services", ["tenant_id", "expires_at"], postgresql_where="auto_renew")
    op.add_column("billed_periods", sa.Column("given_back_by_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("fk_billed_periods_tenant_id_given_back_by_id"),
        *("billed_periods", "invoices"),
        ["tenant_id", "given_back_by_id"],
        ["tenant_id", "id"],
    )
    op.create_check_constraint(
        op.f("ck_billed_periods_given_back"), "billed_periods", "given_back_by_id IS NULL OR released_at IS NOT NULL"
    )
    op.create_index(
        "ix_billed_periods_given_back",
        "billed_periods",
        ["tenant_id", "given_back_by_id"],
        postgresql_where="given_back_by_id IS NOT NULL",
    )
    op.execute("GRANT UPDATE (given_back_by_id) ON billed_periods TO ispgraph_app")


def _requests() -> None:
    op.create_table(
        "package_changes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("service_id", sa.Uuid(), nullable=False),
        sa.Column("from_package_id", sa.Uuid(), nullable=False),
        sa.Column("to_package_id", sa.Uuid(), nullable=False),
        sa.Column("effective_on", sa.Date(), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("requested_at", _INSTANT, nullable=False),
        sa.Column("requested_by_id", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.String(500), nullable=True),
        sa.Column("applied_at", _INSTANT, nullable=True),
        sa.Column("invoice_id", sa.Uuid(), nullable=True),
        sa.Column("message", sa.String(500), nullable=True),
        sa.CheckConstraint(
            "status IN ('SCHEDULED', 'APPLIED', 'CANCELLED', 'FAILED')",
            name=op.f("ck_package_changes_packagechangestatus"),
        ),
        sa.CheckConstraint("(status = 'APPLIED') = (applied_at IS NOT NULL)", name=op.f("ck_package_changes_applied")),
        *(
            sa.ForeignKeyConstraint(
                ["tenant_id", column],
                [f"{table}.tenant_id", f"{table}.id"],
                name=op.f(f"fk_package_changes_tenant_id_{column}"),
            )
            for column, table in _REFERS.items()
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_package_changes_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_package_changes")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_package_changes_tenant_id_id")),
    )
    op.create_index("ix_package_changes_service", "package_changes", ["tenant_id", "service_id", "id"])
    # Of a service one request at most is still to be carried out.
    op.create_index(
        "uq_package_changes_scheduled",
        "package_changes",
        ["tenant_id", "service_id"],
        unique=True,
        postgresql_where="status = 'SCHEDULED'",
    )
    op.create_index(
        "ix_package_changes_due",
        "package_changes",
        ["tenant_id", "effective_on"],
        postgresql_where="status = 'SCHEDULED'",
    )
    op.execute("ALTER TABLE package_changes ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE package_changes FORCE ROW LEVEL SECURITY")
    own = f"tenant_id = {CURRENT_TENANT}"
    op.execute(f"CREATE POLICY tenant_isolation ON package_changes USING ({own}) WITH CHECK ({own})")
    op.execute(
        "GRANT SELECT, INSERT, UPDATE (status, applied_at, invoice_id, message, from_package_id) ON package_changes "
        "TO ispgraph_app"
    )


def downgrade() -> None:
    op.execute("REVOKE UPDATE (given_back_by_id) ON billed_periods FROM ispgraph_app")
    op.drop_index("ix_billed_periods_given_back", "billed_periods")
    op.drop_column("billed_periods", "given_back_by_id")
    op.drop_index("ix_services_renewal", "services")
    op.drop_column("services", "renewal_told_for")
    op.drop_table("package_changes")

"""Hosting panels, and the accounts of customers on them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None

CURRENT_TENANT = "(SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)"
_INSTANT = postgresql.TIMESTAMP(timezone=True)
_REFERS = {
    "hosting_servers": {"lane_job_id": "jobs", "check_job_id": "jobs"},
    "hosting_accounts": {
        "customer_id": "customers",
        "server_id": "hosting_servers",
        "job_id": "jobs",
        "created_by_id": "operators",
    },
}
_GRANTS = {"hosting_servers": "SELECT, INSERT, UPDATE, DELETE", "hosting_accounts": "SELECT, INSERT, UPDATE"}


def upgrade() -> None:
    op.add_column(
        "tenants",
        sa.Column("hosting_follows_invoices", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    op.execute("GRANT UPDATE (hosting_follows_invoices) ON tenants TO ispgraph_app")
    op.create_table(
        "hosting_servers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("base_url", sa.String(500), nullable=False),
        sa.Column("credentials", sa.LargeBinary(), nullable=False),
        sa.Column("capacity", sa.Integer(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("online", sa.Boolean(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("last_checked_at", _INSTANT, nullable=True),
        sa.Column("check_at", _INSTANT, nullable=False),
        sa.Column("check_job_id", sa.Uuid(), nullable=True),
        sa.Column("lane_job_id", sa.Uuid(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("unreachable_since", _INSTANT, nullable=True),
        sa.Column("retry_at", _INSTANT, nullable=True),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("updated_at", _INSTANT, nullable=False),
        sa.CheckConstraint("capacity BETWEEN 0 AND 1000000", name=op.f("ck_hosting_servers_capacity")),
        *_keys("hosting_servers"),
        sa.UniqueConstraint("tenant_id", "name", name=op.f("uq_hosting_servers_tenant_id_name")),
    )
    op.create_table(
        "hosting_accounts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("server_id", sa.Uuid(), nullable=False),
        sa.Column("any_server", sa.Boolean(), nullable=False),
        sa.Column("placed", sa.Boolean(), nullable=False),
        sa.Column("username", sa.String(32), nullable=False),
        sa.Column("package", sa.String(50), nullable=True),
        sa.Column("password", sa.LargeBinary(), nullable=True),
        sa.Column("external_id", sa.String(100), nullable=True),
        sa.Column("unsure", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("wish", sa.String(20), nullable=False),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(255), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("waits", sa.Boolean(), nullable=False),
        sa.Column("stats", postgresql.JSONB(), nullable=True),
        sa.Column("stats_at", _INSTANT, nullable=True),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("created_by_id", sa.Uuid(), nullable=True),
        sa.Column("updated_at", _INSTANT, nullable=False),
        sa.CheckConstraint(
            "status IN ('PENDING', 'ACTIVE', 'SUSPENDED', 'FAILED', 'DELETED')",
            name=op.f("ck_hosting_accounts_hostingstatus"),
        ),
        sa.CheckConstraint("wish IN ('ACTIVE', 'SUSPENDED', 'DELETED')", name=op.f("ck_hosting_accounts_hostingwish")),
        sa.CheckConstraint(
            "status NOT IN ('ACTIVE', 'SUSPENDED') OR external_id IS NOT NULL",
            name=op.f("ck_hosting_accounts_external_id"),
        ),
        sa.CheckConstraint(
            "password IS NULL OR (external_id IS NULL AND status <> 'DELETED')",
            name=op.f("ck_hosting_accounts_password"),
        ),
        *_keys("hosting_accounts"),
    )
    op.create_index(
        "uq_hosting_accounts_username",
        "hosting_accounts",
        ["tenant_id", "username"],
        unique=True,
        postgresql_where="status <> 'DELETED'",
    )
    op.create_index("ix_hosting_accounts_customer", "hosting_accounts", ["tenant_id", "customer_id", "id"])
    op.create_index("ix_hosting_accounts_server", "hosting_accounts", ["tenant_id", "server_id", "id"])
    own = f"tenant_id = {CURRENT_TENANT}"
    for table, grants in _GRANTS.items():
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant_isolation ON {table} USING ({own}) WITH CHECK ({own})")
        op.execute(f"GRANT {grants} ON {table} TO ispgraph_app")


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
    op.drop_table("hosting_accounts")
    op.drop_table("hosting_servers")
    op.drop_column("tenants", "hosting_follows_invoices")

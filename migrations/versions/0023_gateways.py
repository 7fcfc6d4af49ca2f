"""Accounts of tenants with those who carry messages and take money."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

CURRENT_TENANT = "(SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)"
_INSTANT = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.create_table(
        "gateways",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("provider", sa.String(40), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("settings", postgresql.JSONB(), nullable=False),
        sa.Column("secrets", sa.LargeBinary(), nullable=False),
        sa.Column("test_mode", sa.Boolean(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("updated_at", _INSTANT, nullable=False),
        sa.CheckConstraint("kind IN ('SMS', 'EMAIL', 'PAYMENT')", name=op.f("ck_gateways_gatewaykind")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_gateways_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gateways")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_gateways_tenant_id_id")),
    )
    op.create_index("uq_gateways_name", "gateways", ["tenant_id", "kind", "name"], unique=True)
    op.create_index("ix_gateways_order", "gateways", ["tenant_id", "kind", "position", "id"])
    own = f"tenant_id = {CURRENT_TENANT}"
    op.execute("ALTER TABLE gateways ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE gateways FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY tenant_isolation ON gateways USING ({own}) WITH CHECK ({own})")
    op.execute("GRANT SELECT, INSERT, UPDATE ON gateways TO ispgraph_app")


def downgrade() -> None:
    op.drop_table("gateways")

"""What stands on invoices and receipts: the letterhead of a tenant, its logo, and how it writes amounts."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

CURRENT_TENANT = "(SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)"
COLUMNS = {
    "locale": 35,
    "legal_name": 200,
    "address": 500,
    "phone": 20,
    "email": 320,
    "tax_number": 60,
    "footer": 500,
}


def upgrade() -> None:
    for name, length in COLUMNS.items():
        op.add_column("tenants", sa.Column(name, sa.String(length), nullable=True))
    op.execute(f"GRANT UPDATE ({', '.join(COLUMNS)}) ON tenants TO ispgraph_app")
    op.create_table(
        "tenant_logos",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("media_type", sa.String(20), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("width > 0 AND height > 0", name=op.f("ck_tenant_logos_size")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_tenant_logos_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_tenant_logos")),
    )
    own = f"tenant_id = {CURRENT_TENANT}"
    op.execute("ALTER TABLE tenant_logos ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE tenant_logos FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY tenant_isolation ON tenant_logos USING ({own}) WITH CHECK ({own})")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_logos TO ispgraph_app")


def downgrade() -> None:
    op.drop_table("tenant_logos")
    for name in reversed(COLUMNS):
        op.drop_column("tenants", name)

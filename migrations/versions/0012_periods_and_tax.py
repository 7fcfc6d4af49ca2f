"""What the billing periods of a service are counted from; prices with the tax in them, and rates of tax by package."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0010"
branch_labels = None
depends_on = None

CURRENT_TENANT = "(SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)"

ANCHOR = """
CREATE OR REPLACE FUNCTION service_anchor(p_service services) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
  -- What the billing periods of a service are counted from. Of 31 January the end on 28 February says nothing, so that
  -- stands in a column of its own; where it does not, it is the end that is paid for.
  SELECT COALESCE(p_service.billing_anchor, p_service.expires_at)
$$"""

# Until now a period was so many days: what begins at the end of one that is paid for is the first that may be months.
# Tenant by tenant, for the owner is under row-level security as well.
BACKFILL = """
DO $$
DECLARE tenant uuid;
BEGIN
  FOR tenant IN SELECT id FROM tenants LOOP
    PERFORM set_config('app.tenant_id', tenant::text, true);
    UPDATE services SET billing_anchor = COALESCE(expires_at, started_at, created_at) WHERE tenant_id = tenant;
  END LOOP;
  PERFORM set_config('app.tenant_id', '', true);
END $$"""


def upgrade() -> None:
    op.create_table(
        "tax_profiles",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("rate", sa.Numeric(6, 3), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint("rate BETWEEN 0 AND 100", name=op.f("ck_tax_profiles_rate")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_tax_profiles_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tax_profiles")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_tax_profiles_tenant_id_id")),
        sa.UniqueConstraint("tenant_id", "name", name=op.f("uq_tax_profiles_tenant_id_name")),
    )
    op.create_index(
        "uq_tax_profiles_default", "tax_profiles", ["tenant_id"], unique=True, postgresql_where=sa.text("is_default")
    )
    op.execute("ALTER TABLE tax_profiles ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE tax_profiles FORCE ROW LEVEL SECURITY")
    own = f"tenant_id = {CURRENT_TENANT}"
    op.execute(f"CREATE POLICY tenant_isolation ON tax_profiles USING ({own}) WITH CHECK ({own})")
    op.execute("GRANT SELECT, INSERT, UPDATE ON tax_profiles TO ispgraph_app")
    op.add_column("packages", sa.Column("tax_profile_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("fk_packages_tenant_id_tax_profile_id"),
        "packages",
        "tax_profiles",
        ["tenant_id", "tax_profile_id"],
        ["tenant_id", "id"],
    )
    for table, name in (("tenants", "tax_inclusive"), ("invoice_lines", "tax_included")):
        op.add_column(table, sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.text("false")))
    op.execute("GRANT UPDATE (tax_inclusive) ON tenants TO ispgraph_app")
    op.add_column("services", sa.Column("billing_anchor", postgresql.TIMESTAMP(timezone=True), nullable=True))
    op.execute(BACKFILL)
    op.execute(ANCHOR)


def downgrade() -> None:
    op.execute(_former_anchor())
    op.drop_column("services", "billing_anchor")
    op.drop_column("invoice_lines", "tax_included")
    op.drop_column("tenants", "tax_inclusive")
    op.drop_constraint(op.f("fk_packages_tenant_id_tax_profile_id"), "packages")
    op.drop_column("packages", "tax_profile_id")
    op.drop_table("tax_profiles")


def _former_anchor() -> str:
    """`service_anchor` as the revision 0008 made it."""
    folder = op.get_context().script
    assert folder is not None
    made: str = folder.get_revision("0008").module.FUNCTIONS
    (former,) = [text for text in made.strip().split("\n\n") if text.startswith("CREATE FUNCTION service_anchor(")]
    return former.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1)

"""Portals of branded customers, their pictures, their admins, and what was tried."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

CURRENT_TENANT = "(SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)"
_INSTANT = postgresql.TIMESTAMP(timezone=True)
_KINDS = "kind IN ('LOGO', 'BACKGROUND', 'ICON')"
_REFERS = {
    "portals": {"customer_id": "customers", "created_by_id": "operators", "modified_by_id": "operators"},
    "portal_files": {"portal_id": "portals"},
    "portal_assets": {"portal_id": "portals", "file_id": "portal_files"},
    "portal_admins": {"portal_id": "portals", "created_by_id": "operators"},
    "portal_log": {"portal_id": "portals", "by_id": "operators"},
}

FUNCTION = """
CREATE FUNCTION portal_tenant(p_subdomain text) RETURNS uuid
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  SELECT p.tenant_id FROM portals p WHERE p.subdomain = p_subdomain
$$
"""


def upgrade() -> None:
    _portals()
    _pictures()
    op.create_table(
        "portal_admins",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("portal_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("email", sa.String(320), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("created_by_id", sa.Uuid(), nullable=False),
        sa.Column("invitations", sa.Integer(), nullable=False),
        sa.Column("invitation_hash", sa.LargeBinary(), nullable=True),
        sa.Column("invitation_sent_at", _INSTANT, nullable=True),
        sa.Column("invitation_expires_at", _INSTANT, nullable=True),
        *_keys("portal_admins"),
        sa.UniqueConstraint("tenant_id", "portal_id", name=op.f("uq_portal_admins_tenant_id_portal_id")),
        sa.UniqueConstraint("tenant_id", "email", name=op.f("uq_portal_admins_tenant_id_email")),
    )
    op.create_index("ix_portal_admins_invitation", "portal_admins", ["tenant_id", "invitation_hash"])
    op.create_table(
        "portal_log",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("portal_id", sa.Uuid(), nullable=False),
        sa.Column("step", sa.String(20), nullable=False),
        sa.Column("kind", sa.String(20), nullable=True),
        sa.Column("succeeded", sa.Boolean(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("at", _INSTANT, nullable=False),
        sa.Column("by_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("step IN ('BRANDING', 'ASSETS', 'ADMIN')", name=op.f("ck_portal_log_portalstep")),
        sa.CheckConstraint(_KINDS, name=op.f("ck_portal_log_assetkind")),
        *_keys("portal_log"),
    )
    op.create_index("ix_portal_log_portal", "portal_log", ["tenant_id", "portal_id", "id"])
    own = f"tenant_id = {CURRENT_TENANT}"
    for table in _REFERS:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant_isolation ON {table} USING ({own}) WITH CHECK ({own})")
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO ispgraph_app")
    # Read by portal_tenant: whoever opens a portal does not know whose it is.
    op.execute("CREATE POLICY owner_lookup ON portals FOR SELECT TO ispgraph_owner USING (true)")
    op.execute(FUNCTION)
    op.execute("REVOKE ALL ON FUNCTION portal_tenant(text) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION portal_tenant(text) TO ispgraph_app")


def _portals() -> None:
    op.create_table(
        "portals",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("subdomain", sa.String(63), nullable=False),
        sa.Column("lookalike", sa.String(63), nullable=False),
        sa.Column("display_name", sa.String(100), nullable=False),
        sa.Column("subtitle", sa.String(200), nullable=True),
        sa.Column("theme", sa.String(40), nullable=True),
        sa.Column("active", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("held", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("completed_steps", postgresql.ARRAY(sa.String(20)), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("created_by_id", sa.Uuid(), nullable=False),
        sa.Column("updated_at", _INSTANT, nullable=False),
        sa.Column("modified_by_id", sa.Uuid(), nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=False),
        sa.Column("told_at", _INSTANT, nullable=True),
        sa.Column("finished_at", _INSTANT, nullable=True),
        sa.CheckConstraint("finished_at IS NOT NULL OR NOT active", name=op.f("ck_portals_active")),
        sa.CheckConstraint(
            "status IN ('DRAFT', 'PARTIAL', 'FAILED', 'COMPLETED', 'CANCELLED', 'EXPIRED')",
            name=op.f("ck_portals_draftstatus"),
        ),
        *_keys("portals"),
        sa.UniqueConstraint("tenant_id", "customer_id", name=op.f("uq_portals_tenant_id_customer_id")),
    )
    op.create_index("uq_portals_lookalike", "portals", ["lookalike"], unique=True)
    op.create_index("uq_portals_subdomain", "portals", ["subdomain"], unique=True)
    op.create_index(
        "ix_portals_unfinished", "portals", ["tenant_id", "expires_at"], postgresql_where="finished_at IS NULL"
    )


def _pictures() -> None:
    op.create_table(
        "portal_files",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("portal_id", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("unused_since", _INSTANT, nullable=True),
        sa.CheckConstraint(_KINDS, name=op.f("ck_portal_files_assetkind")),
        *_keys("portal_files"),
    )
    op.create_index("ix_portal_files_portal", "portal_files", ["tenant_id", "portal_id", "kind", "digest"])
    op.create_index(
        "ix_portal_files_unused",
        "portal_files",
        ["tenant_id", "unused_since"],
        postgresql_where="unused_since IS NOT NULL",
    )
    op.create_table(
        "portal_assets",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("portal_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("file_id", sa.Uuid(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("size_bytes", sa.Integer(), nullable=True),
        sa.Column("content_type", sa.String(100), nullable=True),
        sa.Column("uploaded_at", _INSTANT, nullable=True),
        sa.CheckConstraint(_KINDS, name=op.f("ck_portal_assets_assetkind")),
        sa.CheckConstraint("status IN ('PENDING', 'UPLOADED', 'FAILED')", name=op.f("ck_portal_assets_assetstatus")),
        sa.CheckConstraint(
            "num_nulls(file_id, width, height, size_bytes, content_type, uploaded_at) IN (0, 6)",
            name=op.f("ck_portal_assets_whole"),
        ),
        *_keys("portal_assets"),
        sa.UniqueConstraint("tenant_id", "portal_id", "kind", name=op.f("uq_portal_assets_tenant_id_portal_id_kind")),
    )


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
    op.execute("DROP FUNCTION portal_tenant(text)")
    for table in reversed(_REFERS):
        op.drop_table(table)

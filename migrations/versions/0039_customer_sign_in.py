"""Customers, and those who look after their portals, sign in; customers write on their tickets."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0039"
down_revision = "0037"
branch_labels = None
depends_on = None

CURRENT_TENANT = "(SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)"
_INSTANT = postgresql.TIMESTAMP(timezone=True)
_REFERS = {"customer_id": "customers", "admin_id": "portal_admins"}
# What the application may do with them besides looking and adding.
_GRANTS = {
    "customer_sign_ins": "UPDATE (token_version, ended_at), DELETE",
    "customer_password_resets": "UPDATE (used_at), DELETE",
}

# Whoever signs in to a portal does not know its tenant's id.
_TENANT_NAMED = """
CREATE FUNCTION tenant_named(p_slug text) RETURNS uuid
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  SELECT t.id FROM tenants t WHERE t.slug = lower(p_slug)
$$
"""


def upgrade() -> None:
    op.add_column("customers", sa.Column("token_version", sa.Integer(), server_default="1", nullable=False))
    op.add_column("customers", sa.Column("portal_access", sa.Boolean(), server_default=sa.true(), nullable=False))
    op.add_column("portal_admins", sa.Column("accepted_at", _INSTANT, nullable=True))
    op.add_column("portal_admins", sa.Column("password_hash", sa.String(200), nullable=True))
    op.add_column("portal_admins", sa.Column("token_version", sa.Integer(), server_default="1", nullable=False))
    op.create_table(
        "customer_sign_ins",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("admin_id", sa.Uuid(), nullable=True),
        sa.Column("token_version", sa.Integer(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=False),
        sa.Column("ended_at", _INSTANT, nullable=True),
        sa.Column("address", postgresql.INET(), nullable=True),
        sa.Column("user_agent", sa.String(300), nullable=True),
        *_keys("customer_sign_ins"),
    )
    op.create_index(op.f("ix_customer_sign_ins_expires_at"), "customer_sign_ins", ["expires_at"])
    op.create_table(
        "customer_password_resets",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("admin_id", sa.Uuid(), nullable=True),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=False),
        sa.Column("used_at", _INSTANT, nullable=True),
        *_keys("customer_password_resets"),
    )
    own = f"tenant_id = {CURRENT_TENANT}"
    for table, allowed in _GRANTS.items():
        op.create_index(f"ix_{table}_customer", table, ["tenant_id", "customer_id", "id"])
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant_isolation ON {table} USING ({own}) WITH CHECK ({own})")
        op.execute(f"GRANT SELECT, INSERT, {allowed} ON {table} TO ispgraph_app")
    op.alter_column("ticket_replies", "author_id", nullable=True)
    op.add_column("ticket_replies", sa.Column("author_name", sa.String(255), nullable=True))
    op.create_check_constraint(
        op.f("ck_ticket_replies_author"), "ticket_replies", "(author_id IS NULL) = (author_name IS NOT NULL)"
    )
    op.create_check_constraint(
        op.f("ck_ticket_replies_internal"), "ticket_replies", "author_id IS NOT NULL OR NOT internal"
    )
    op.execute(_TENANT_NAMED)
    op.execute("REVOKE ALL ON FUNCTION tenant_named(text) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION tenant_named(text) TO ispgraph_app")


def _keys(table: str) -> "list[sa.Constraint]":
    return [
        *(
            sa.ForeignKeyConstraint(
                ["tenant_id", column],
                [f"{other}.tenant_id", f"{other}.id"],
                name=op.f(f"fk_{table}_tenant_id_{column}"),
            )
            for column, other in _REFERS.items()
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f(f"fk_{table}_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f(f"uq_{table}_tenant_id_id")),
    ]


def downgrade() -> None:
    op.execute("DROP FUNCTION tenant_named(text)")
    op.drop_constraint(op.f("ck_ticket_replies_internal"), "ticket_replies")
    op.drop_constraint(op.f("ck_ticket_replies_author"), "ticket_replies")
    op.drop_column("ticket_replies", "author_name")
    # What customers have written is not thrown away: while there is any of it this stops here.
    op.alter_column("ticket_replies", "author_id", nullable=False)
    op.drop_table("customer_password_resets")
    op.drop_table("customer_sign_ins")
    for column in ("token_version", "password_hash", "accepted_at"):
        op.drop_column("portal_admins", column)
    for column in ("portal_access", "token_version"):
        op.drop_column("customers", column)

"""Grants that end or hold in one zone, API tokens, second factors, forgotten passwords, and who acts for whom."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

CURRENT_TENANT = "(SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)"
_INSTANT = postgresql.TIMESTAMP(timezone=True)
_REFERS = {
    "operator_grants": {
        "operator_id": "operators",
        "zone_id": "zones",
        "granted_by_id": "operators",
        "ended_by_id": "operators",
    },
    "api_tokens": {"operator_id": "operators"},
    "second_factors": {"operator_id": "operators"},
    "password_resets": {"operator_id": "operators"},
}
# What the application may do with them besides looking and adding.
_GRANTS = {
    "operator_grants": "UPDATE (ended_at, ended_by_id)",
    "api_tokens": "UPDATE (last_used_at, revoked_at)",
    "second_factors": "UPDATE (secret, created_at, confirmed_at, last_step, recovery), DELETE",
    "password_resets": "UPDATE (used_at), DELETE",
}


def upgrade() -> None:
    op.add_column("operators", sa.Column("credit_limit_minor", sa.BigInteger(), nullable=True))
    op.create_check_constraint(op.f("ck_operators_credit_limit"), "operators", "credit_limit_minor >= 0")
    op.add_column("sign_ins", sa.Column("acting_id", sa.Uuid(), nullable=True))
    op.add_column("sign_ins", sa.Column("acting_version", sa.Integer(), nullable=True))
    op.create_check_constraint(op.f("ck_sign_ins_acting"), "sign_ins", "(acting_id IS NULL) = (acting_version IS NULL)")
    op.create_foreign_key(
        op.f("fk_sign_ins_tenant_id_acting_id"),
        "sign_ins",
        "operators",
        ["tenant_id", "acting_id"],
        ["tenant_id", "id"],
    )
    op.create_index("ix_sign_ins_operator", "sign_ins", ["tenant_id", "operator_id", "id"])
    op.create_index(
        "ix_sign_ins_acting", "sign_ins", ["tenant_id", "acting_id"], postgresql_where="acting_id IS NOT NULL"
    )
    _grants()
    _tokens()
    op.create_table(
        "second_factors",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("operator_id", sa.Uuid(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("confirmed_at", _INSTANT, nullable=True),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("recovery", postgresql.ARRAY(sa.LargeBinary()), nullable=False),
        *_keys("second_factors"),
        sa.UniqueConstraint("tenant_id", "operator_id", name=op.f("uq_second_factors_tenant_id_operator_id")),
    )
    op.create_table(
        "password_resets",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("operator_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=False),
        sa.Column("used_at", _INSTANT, nullable=True),
        *_keys("password_resets"),
    )
    op.create_index("ix_password_resets_operator", "password_resets", ["tenant_id", "operator_id", "id"])
    own = f"tenant_id = {CURRENT_TENANT}"
    for table, allowed in _GRANTS.items():
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant_isolation ON {table} USING ({own}) WITH CHECK ({own})")
        op.execute(f"GRANT SELECT, INSERT, {allowed} ON {table} TO ispgraph_app")
    for table in ("operator_grants", "api_tokens"):
        op.execute(f"CREATE TRIGGER kept BEFORE DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_change()")


def _grants() -> None:
    op.create_table(
        "operator_grants",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("operator_id", sa.Uuid(), nullable=False),
        sa.Column("permission", sa.String(40), nullable=False),
        sa.Column("zone_id", sa.Uuid(), nullable=True),
        sa.Column("expires_at", _INSTANT, nullable=True),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("granted_by_id", sa.Uuid(), nullable=False),
        sa.Column("ended_at", _INSTANT, nullable=True),
        sa.Column("ended_by_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("expires_at > created_at", name=op.f("ck_operator_grants_expires_at")),
        *_keys("operator_grants"),
    )
    op.create_index(
        "uq_operator_grants_open",
        "operator_grants",
        ["tenant_id", "operator_id", "permission", "zone_id"],
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where="ended_at IS NULL",
    )


def _tokens() -> None:
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("operator_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("prefix", sa.String(20), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("permissions", postgresql.ARRAY(sa.String(40)), nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("last_used_at", _INSTANT, nullable=True),
        sa.Column("revoked_at", _INSTANT, nullable=True),
        sa.CheckConstraint("octet_length(digest) = 32", name=op.f("ck_api_tokens_digest")),
        *_keys("api_tokens"),
    )
    op.create_index("ix_api_tokens_operator", "api_tokens", ["tenant_id", "operator_id", "id"])


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
    for table in reversed(_REFERS):
        op.drop_table(table)
    op.drop_index("ix_sign_ins_acting", "sign_ins")
    op.drop_index("ix_sign_ins_operator", "sign_ins")
    op.drop_column("sign_ins", "acting_version")
    op.drop_column("sign_ins", "acting_id")
    op.drop_column("operators", "credit_limit_minor")

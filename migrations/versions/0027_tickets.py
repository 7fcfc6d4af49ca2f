"""Tickets of customers, and what is answered on them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

CURRENT_TENANT = "(SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)"
_INSTANT = postgresql.TIMESTAMP(timezone=True)
_RANKS = "CASE priority WHEN 'LOW' THEN 1 WHEN 'MEDIUM' THEN 2 WHEN 'HIGH' THEN 3 WHEN 'URGENT' THEN 4 END"
_REFERS = {
    "tickets": {"customer_id": "customers", "assignee_id": "operators", "created_by_id": "operators"},
    "ticket_replies": {"ticket_id": "tickets", "author_id": "operators"},
}
_CHANGES = (
    *("subject", "category", "priority", "status", "status_since", "assignee_id", "version", "updated_at"),
    *("first_response_due_at", "first_responded_at", "resolved_at", "closed_at", "reopen_count", "handled"),
)

SEARCH = "ticket_matches(text[])"
FUNCTION = r"""
CREATE FUNCTION ticket_matches(p_forms text[])
  RETURNS SETOF uuid LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100
  SET search_path = pg_catalog, public AS $$
-- The tickets of the tenant at hand that a search finds. Its forms are made by domain/ticket_lists.py; one that is NULL
-- matches nothing.
DECLARE
  tenant uuid := NULLIF(current_setting('app.tenant_id', true), '')::uuid;
  -- Any part of a subject; every character stands for itself.
  part text := '%' || lower(regexp_replace(p_forms[1], '([\\%_])', '\\\1', 'g')) || '%';
  -- The beginning of a number, and its digits after the year.
  numbered text := p_forms[2] || '%';
  running text := '%-' || p_forms[3];
BEGIN
  RETURN QUERY
    SELECT t.id FROM tickets t WHERE t.tenant_id = tenant AND t.subject_key LIKE part
    UNION
    SELECT t.id FROM tickets t WHERE t.tenant_id = tenant AND t.number LIKE numbered
    UNION
    SELECT t.id FROM tickets t WHERE t.tenant_id = tenant AND t.number LIKE running;
END $$;
"""


def upgrade() -> None:
    _tickets()
    op.create_table(
        "ticket_replies",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("author_id", sa.Uuid(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("internal", sa.Boolean(), nullable=False),
        sa.Column("at", _INSTANT, nullable=False),
        *_keys("ticket_replies"),
    )
    op.create_index("ix_ticket_replies_ticket", "ticket_replies", ["tenant_id", "ticket_id", "id"])
    own = f"tenant_id = {CURRENT_TENANT}"
    for table in _REFERS:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant_isolation ON {table} USING ({own}) WITH CHECK ({own})")
        op.execute(f"GRANT SELECT, INSERT ON {table} TO ispgraph_app")
        op.execute(
            f"CREATE TRIGGER no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
    op.execute(f"GRANT UPDATE ({', '.join(_CHANGES)}) ON tickets TO ispgraph_app")
    op.execute("CREATE TRIGGER kept BEFORE DELETE ON tickets FOR EACH ROW EXECUTE FUNCTION refuse_change()")
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ticket_replies "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    # Read by ticket_matches, which names the tenant itself: no index of trigrams serves a condition behind a policy.
    op.execute("CREATE POLICY owner_lookup ON tickets FOR SELECT TO ispgraph_owner USING (true)")
    op.execute(FUNCTION)
    op.execute(f"REVOKE ALL ON FUNCTION {SEARCH} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {SEARCH} TO ispgraph_app")


def _tickets() -> None:
    op.create_table(
        "tickets",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.String(30), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("subject_key", sa.Text(), sa.Computed("lower((subject)::text)", persisted=True), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("category", sa.String(20), nullable=False),
        sa.Column("priority", sa.String(20), nullable=False),
        sa.Column("priority_rank", sa.SmallInteger(), sa.Computed(_RANKS, persisted=True), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("status_since", _INSTANT, nullable=False),
        sa.Column("assignee_id", sa.Uuid(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("created_by_id", sa.Uuid(), nullable=True),
        sa.Column("updated_at", _INSTANT, nullable=False),
        sa.Column("first_response_due_at", _INSTANT, nullable=False),
        sa.Column("first_responded_at", _INSTANT, nullable=True),
        sa.Column("resolved_at", _INSTANT, nullable=True),
        sa.Column("closed_at", _INSTANT, nullable=True),
        sa.Column("reopen_count", sa.Integer(), nullable=False),
        sa.Column("handled", sa.Interval(), nullable=False),
        sa.CheckConstraint(
            "category IN ('TECHNICAL', 'BILLING', 'COMPLAINT', 'GENERAL', 'FEATURE_REQUEST')",
            name=op.f("ck_tickets_ticketcategory"),
        ),
        sa.CheckConstraint("priority IN ('LOW', 'MEDIUM', 'HIGH', 'URGENT')", name=op.f("ck_tickets_ticketpriority")),
        sa.CheckConstraint(
            "status IN ('OPEN', 'PENDING', 'IN_PROGRESS', 'RESOLVED', 'CLOSED')", name=op.f("ck_tickets_ticketstatus")
        ),
        sa.CheckConstraint(
            "(status IN ('RESOLVED', 'CLOSED')) = (resolved_at IS NOT NULL)", name=op.f("ck_tickets_resolved")
        ),
        sa.CheckConstraint("(status = 'CLOSED') = (closed_at IS NOT NULL)", name=op.f("ck_tickets_closed")),
        sa.CheckConstraint("reopen_count >= 0 AND handled >= '0'::interval", name=op.f("ck_tickets_counters")),
        *_keys("tickets"),
        sa.UniqueConstraint("tenant_id", "number", name=op.f("uq_tickets_tenant_id_number")),
    )
    op.create_index("ix_tickets_customer", "tickets", ["tenant_id", "customer_id", "id"])
    op.create_index("ix_tickets_status", "tickets", ["tenant_id", "status", "id"])
    op.create_index("ix_tickets_assignee", "tickets", ["tenant_id", "assignee_id", "id"])
    op.create_index("ix_tickets_created", "tickets", ["tenant_id", "created_at"])
    op.create_index("ix_tickets_updated", "tickets", ["tenant_id", "updated_at", "id"])
    op.create_index("ix_tickets_priority", "tickets", ["tenant_id", "priority_rank", "id"])
    op.create_index("ix_tickets_response_due", "tickets", ["tenant_id", "first_response_due_at", "id"])
    for name, column, where in (
        ("unanswered", "first_response_due_at", "first_responded_at IS NULL AND resolved_at IS NULL"),
        ("responded", "first_responded_at", "first_responded_at IS NOT NULL"),
        ("resolved", "resolved_at", "resolved_at IS NOT NULL"),
    ):
        op.create_index(f"ix_tickets_{name}", "tickets", ["tenant_id", column], postgresql_where=where)
    op.create_index(
        "ix_tickets_search",
        "tickets",
        ["number", "subject_key"],
        postgresql_using="gin",
        postgresql_ops={"number": "gin_trgm_ops", "subject_key": "gin_trgm_ops"},
        postgresql_with={"gin_pending_list_limit": 256},
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
    op.execute(f"DROP FUNCTION {SEARCH}")
    op.drop_table("ticket_replies")
    op.drop_table("tickets")

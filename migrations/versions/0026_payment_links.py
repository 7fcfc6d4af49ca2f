"""Payment links, attempts to pay with gateways, and what gateways report."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0026"
down_revision = "0024"
branch_labels = None
depends_on = None

CURRENT_TENANT = "(SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)"
_INSTANT = postgresql.TIMESTAMP(timezone=True)

# Whoever opens a page has nothing but its token, which says nothing of the tenant.
LOOKUP = """
CREATE FUNCTION payment_link_tenant(p_hash bytea) RETURNS uuid
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  SELECT l.tenant_id FROM payment_links l WHERE l.token_hash = p_hash
$$
"""


def upgrade() -> None:
    op.create_table(
        "payment_links",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("token_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=True),
        sa.Column("gateway_ids", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=False),
        sa.Column("cancelled_at", _INSTANT, nullable=True),
        sa.Column("open_count", sa.Integer(), nullable=False),
        sa.Column("last_opened_at", _INSTANT, nullable=True),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("created_by_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_payment_links_amount")),
        sa.CheckConstraint("invoice_id IS NULL OR amount_minor IS NULL", name=op.f("ck_payment_links_asks_for_one")),
        *_keys("payment_links", customer_id="customers", invoice_id="invoices", created_by_id="operators"),
        sa.UniqueConstraint("token_hash", name=op.f("uq_payment_links_token_hash")),
    )
    op.create_index("ix_payment_links_customer", "payment_links", ["tenant_id", "customer_id", "id"])
    op.create_table(
        "gateway_payments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("gateway_id", sa.Uuid(), nullable=False),
        sa.Column("link_id", sa.Uuid(), nullable=True),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=True),
        sa.Column("reference", sa.String(40), nullable=False),
        sa.Column("form_key", sa.String(64), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("provider_reference", sa.String(255), nullable=True),
        sa.Column("redirect_url", sa.Text(), nullable=True),
        sa.Column("instructions", sa.Text(), nullable=True),
        sa.Column("payer_note", sa.String(200), nullable=True),
        sa.Column("received_minor", sa.BigInteger(), nullable=True),
        sa.Column("receipt", sa.String(255), nullable=True),
        sa.Column("payment_id", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("started_at", _INSTANT, nullable=False),
        sa.Column("settled_at", _INSTANT, nullable=True),
        sa.Column("asked_at", _INSTANT, nullable=True),
        sa.Column("next_check_at", _INSTANT, nullable=True),
        sa.Column("checks", sa.Integer(), nullable=False),
        sa.Column("check_job_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_gateway_payments_amount")),
        sa.CheckConstraint("(state = 'PAID') = (payment_id IS NOT NULL)", name=op.f("ck_gateway_payments_paid")),
        sa.CheckConstraint(
            "payment_id IS NULL OR (received_minor > 0 AND receipt IS NOT NULL)",
            name=op.f("ck_gateway_payments_received"),
        ),
        sa.CheckConstraint(
            "state IN ('STARTED', 'PENDING', 'PAID', 'FAILED', 'CANCELLED', 'EXPIRED', 'IN_DOUBT')",
            name=op.f("ck_gateway_payments_gatewaypaymentstate"),
        ),
        *_keys(
            "gateway_payments",
            gateway_id="gateways",
            link_id="payment_links",
            customer_id="customers",
            invoice_id="invoices",
            payment_id="payments",
        ),
        sa.UniqueConstraint("tenant_id", "reference", name=op.f("uq_gateway_payments_tenant_id_reference")),
    )
    op.create_index(
        "uq_gateway_payments_receipt",
        "gateway_payments",
        ["tenant_id", "gateway_id", "receipt"],
        unique=True,
        postgresql_where="receipt IS NOT NULL",
    )
    op.create_index(
        "uq_gateway_payments_form",
        "gateway_payments",
        ["tenant_id", "link_id", "form_key"],
        unique=True,
        postgresql_where="form_key IS NOT NULL",
    )
    op.create_index("ix_gateway_payments_customer", "gateway_payments", ["tenant_id", "customer_id", "id"])
    op.create_index("ix_gateway_payments_link", "gateway_payments", ["tenant_id", "link_id", "id"])
    op.create_index("ix_gateway_payments_theirs", "gateway_payments", ["tenant_id", "gateway_id", "provider_reference"])
    op.create_index(
        "ix_gateway_payments_next_check",
        "gateway_payments",
        ["tenant_id", "next_check_at"],
        postgresql_where="next_check_at IS NOT NULL",
    )
    op.create_table(
        "gateway_events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("gateway_id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.String(255), nullable=False),
        sa.Column("gateway_payment_id", sa.Uuid(), nullable=True),
        sa.Column("verdict", sa.String(20), nullable=False),
        sa.Column("state", sa.String(20), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.String(3), nullable=True),
        sa.Column("receipt", sa.String(255), nullable=True),
        sa.Column("body_digest", sa.LargeBinary(), nullable=False),
        sa.Column("sent_at", _INSTANT, nullable=True),
        sa.Column("received_at", _INSTANT, nullable=False),
        sa.CheckConstraint(
            "verdict IN ('APPLIED', 'NOTED', 'ASKED', 'UNKNOWN')", name=op.f("ck_gateway_events_gatewayverdict")
        ),
        *_keys("gateway_events", gateway_id="gateways", gateway_payment_id="gateway_payments"),
        sa.UniqueConstraint(
            "tenant_id", "gateway_id", "event_id", name=op.f("uq_gateway_events_tenant_id_gateway_id_event_id")
        ),
    )
    op.create_index("ix_gateway_events_payment", "gateway_events", ["tenant_id", "gateway_payment_id", "id"])
    own = f"tenant_id = {CURRENT_TENANT}"
    for table, more in (("payment_links", ", UPDATE"), ("gateway_payments", ", UPDATE"), ("gateway_events", "")):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant_isolation ON {table} USING ({own}) WITH CHECK ({own})")
        op.execute(f"GRANT SELECT, INSERT{more} ON {table} TO ispgraph_app")
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON gateway_events "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER no_truncate BEFORE TRUNCATE ON gateway_events "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    op.execute("CREATE POLICY owner_lookup ON payment_links FOR SELECT TO ispgraph_owner USING (true)")
    op.execute(LOOKUP)
    op.execute("REVOKE ALL ON FUNCTION payment_link_tenant(bytea) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION payment_link_tenant(bytea) TO ispgraph_app")


def _keys(table: str, **refers: str) -> list[sa.schema.SchemaItem]:
    return [
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f(f"fk_{table}_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f(f"uq_{table}_tenant_id_id")),
        *(
            sa.ForeignKeyConstraint(
                ["tenant_id", column],
                [f"{other}.tenant_id", f"{other}.id"],
                name=op.f(f"fk_{table}_tenant_id_{column}"),
            )
            for column, other in refers.items()
        ),
    ]


def downgrade() -> None:
    op.execute("DROP FUNCTION payment_link_tenant(bytea)")
    op.drop_table("gateway_events")
    op.drop_table("gateway_payments")
    op.drop_table("payment_links")

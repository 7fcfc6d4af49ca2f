"""Others are told of what happens: endpoints, and what is to be sent to each.

Triggers write down what happened in the transaction in which it did, whoever did it: a person, a worker, accounting.
Where no endpoint asks for an event they do no more than look.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None

CURRENT_TENANT = "(SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)"
_INSTANT = postgresql.TIMESTAMP(timezone=True)

# Statements are separated by empty lines.
FUNCTIONS = """
CREATE FUNCTION raise_webhook_event() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
  -- The arguments: the event, the prefix of the ids of what it is about, and the columns of that and of its customer.
  fresh jsonb;
  former jsonb;
  state text;
BEGIN
  IF TG_OP = 'DELETE' THEN
    fresh := to_jsonb(OLD);
  ELSIF EXISTS (SELECT FROM webhook_endpoints e
                 WHERE e.tenant_id = NEW.tenant_id AND e.status <> 'DISABLED' AND TG_ARGV[0] = ANY (e.events)) THEN
    fresh := to_jsonb(NEW);
  ELSE
    RETURN NULL;
  END IF;
  IF TG_OP = 'UPDATE' THEN
    former := to_jsonb(OLD);
  END IF;
  state := CASE WHEN fresh ? 'status' THEN 'status' ELSE 'state' END;
  INSERT INTO webhook_deliveries
         (id, tenant_id, endpoint_id, event_id, event, subject, customer, details, occurred_at, created_at)
  SELECT uuid_of(clock_timestamp()), e.tenant_id, e.id, o.id, TG_ARGV[0],
         TG_ARGV[1] || '_' || replace(fresh ->> TG_ARGV[2], '-', ''),
         'cus_' || replace(fresh ->> TG_ARGV[3], '-', ''),
         jsonb_strip_nulls(jsonb_build_object('status', fresh -> state, 'formerStatus', former -> state)),
         o.at, o.at
    FROM (SELECT uuid_of(clock_timestamp()) AS id, clock_timestamp() AS at) o, webhook_endpoints e
   WHERE e.tenant_id = (fresh ->> 'tenant_id')::uuid AND e.status <> 'DISABLED' AND TG_ARGV[0] = ANY (e.events)
   ORDER BY e.id;
  RETURN NULL;
END $$

CREATE FUNCTION due_webhooks(p_at timestamptz, p_limit integer) RETURNS TABLE (tenant_id uuid, endpoint_id uuid)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  -- The endpoints with something to be sent now. Of one object an event waits for those before it.
  SELECT e.tenant_id, e.id FROM webhook_endpoints e
   WHERE e.status = 'ACTIVE' AND (e.rests_until IS NULL OR e.rests_until <= p_at)
     AND EXISTS (SELECT FROM webhook_deliveries d
                  WHERE d.tenant_id = e.tenant_id AND d.endpoint_id = e.id AND d.status = 'PENDING'
                    AND d.next_attempt_at <= p_at
                    AND NOT EXISTS (SELECT FROM webhook_deliveries b
                                     WHERE b.tenant_id = d.tenant_id AND b.endpoint_id = d.endpoint_id
                                       AND b.subject = d.subject AND b.status = 'PENDING' AND b.place < d.place))
   LIMIT p_limit
$$
"""
_SIGNATURES = ("raise_webhook_event()", "due_webhooks(timestamptz, integer)")

# Event, table, when, prefix, and the columns that name the object and its customer.
_INSERT, _UPDATE, _DELETE = "AFTER INSERT", "AFTER UPDATE", "AFTER DELETE"


def _becomes(status: str, column: str = "status") -> str:
    return f"OLD.{column} IS DISTINCT FROM NEW.{column} AND NEW.{column} = '{status}'"


_ISSUED = "NOT IN ('DRAFT', 'VOID')"
EVENTS: tuple[tuple[str, str, str, str, str, str, str], ...] = (
    ("CUSTOMER_CREATED", "customers", _INSERT, "true", "cus", "id", "id"),
    ("CUSTOMER_UPDATED", "customers", _UPDATE, "OLD.version <> NEW.version", "cus", "id", "id"),
    ("CUSTOMER_TRANSFERRED", "customers", _UPDATE, "OLD.operator_id <> NEW.operator_id", "cus", "id", "id"),
    *(
        (f"CUSTOMER_{verb}", "customers", _UPDATE, _becomes(status), "cus", "id", "id")
        for verb, status in (
            *(("ACTIVATED", "ACTIVE"), ("SUSPENDED", "SUSPENDED")),
            *(("EXPIRED", "EXPIRED"), ("TERMINATED", "TERMINATED")),
        )
    ),
    ("CUSTOMER_DELETED", "customers", _DELETE, "true", "cus", "id", "id"),
    ("SERVICE_CREATED", "services", _INSERT, "true", "svc", "id", "customer_id"),
    *(
        (f"SERVICE_{verb}", "services", _UPDATE, _becomes(status), "svc", "id", "customer_id")
        for verb, status in (
            *(("ACTIVATED", "ACTIVE"), ("SUSPENDED", "SUSPENDED")),
            *(("EXPIRED", "EXPIRED"), ("TERMINATED", "TERMINATED")),
        )
    ),
    (
        *("SERVICE_PACKAGE_CHANGED", "services", _UPDATE, "OLD.package_id <> NEW.package_id"),
        *("svc", "id", "customer_id"),
    ),
    (
        *("SERVICE_PROVISIONED", "services", _UPDATE, _becomes("APPLIED", "provisioning")),
        *("svc", "id", "customer_id"),
    ),
    (
        *("SERVICE_PROVISIONING_FAILED", "services", _UPDATE, _becomes("FAILED", "provisioning")),
        *("svc", "id", "customer_id"),
    ),
    *(
        (event, "invoices", when, f"NEW.kind = '{kind}' AND {condition}", "inv", "id", "customer_id")
        for event, kind in (("INVOICE_ISSUED", "INVOICE"), ("CREDIT_NOTE_ISSUED", "CREDIT_NOTE"))
        for when, condition in (
            (_INSERT, f"NEW.status {_ISSUED}"),
            (_UPDATE, f"OLD.status = 'DRAFT' AND NEW.status {_ISSUED}"),
        )
    ),
    *(
        (
            f"INVOICE_{status}",
            "invoices",
            _UPDATE,
            f"NEW.kind = 'INVOICE' AND {_becomes(status)}",
            "inv",
            "id",
            "customer_id",
        )
        for status in ("PARTIALLY_PAID", "PAID")
    ),
    ("INVOICE_PAID", "invoices", _INSERT, "NEW.kind = 'INVOICE' AND NEW.status = 'PAID'", "inv", "id", "customer_id"),
    ("INVOICE_VOIDED", "invoices", _UPDATE, _becomes("VOID"), "inv", "id", "customer_id"),
    ("PAYMENT_RECEIVED", "payments", _INSERT, "NEW.status = 'COMPLETED'", "pay", "id", "customer_id"),
    (
        "PAYMENT_RECEIVED",
        "payments",
        _UPDATE,
        "OLD.status = 'PENDING' AND NEW.status = 'COMPLETED'",
        "pay",
        "id",
        "customer_id",
    ),
    ("PAYMENT_FAILED", "payments", _UPDATE, _becomes("FAILED"), "pay", "id", "customer_id"),
    ("PAYMENT_REFUNDED", "payments", _UPDATE, _becomes("REFUNDED"), "pay", "id", "customer_id"),
    ("TICKET_CREATED", "tickets", _INSERT, "true", "tkt", "id", "customer_id"),
    (
        *(
            "TICKET_ASSIGNED",
            "tickets",
            _UPDATE,
            "NEW.assignee_id IS NOT NULL AND OLD.assignee_id IS DISTINCT FROM NEW.assignee_id",
        ),
        *("tkt", "id", "customer_id"),
    ),
    ("TICKET_RESOLVED", "tickets", _UPDATE, _becomes("RESOLVED"), "tkt", "id", "customer_id"),
    ("TICKET_CLOSED", "tickets", _UPDATE, _becomes("CLOSED"), "tkt", "id", "customer_id"),
    ("TICKET_REOPENED", "tickets", _UPDATE, "OLD.reopen_count < NEW.reopen_count", "tkt", "id", "customer_id"),
    ("TICKET_REPLIED", "ticket_replies", _INSERT, "NOT NEW.internal", "tkt", "ticket_id", ""),
    *(
        (f"JOB_{status}", "jobs", _UPDATE, _becomes(status), "job", "id", "customer_id")
        for status in ("SUCCEEDED", "FAILED", "CANCELLED")
    ),
    *(
        (f"ROUTER_{status}", "routers", _UPDATE, _becomes(status), "rtr", "id", "")
        for status in ("ONLINE", "DEGRADED", "OFFLINE")
    ),
    ("SESSION_OPENED", "sessions", _INSERT, "NEW.state = 'OPEN'", "ses", "id", "customer_id"),
    ("SESSION_OPENED", "sessions", _UPDATE, _becomes("OPEN", "state"), "ses", "id", "customer_id"),
    ("SESSION_CLOSED", "sessions", _UPDATE, "OLD.state = 'OPEN' AND NEW.state <> 'OPEN'", "ses", "id", "customer_id"),
    ("PORTAL_CREATED", "portals", _INSERT, "true", "prt", "id", "customer_id"),
    ("PORTAL_ACTIVATED", "portals", _UPDATE, "NEW.active AND NOT OLD.active", "prt", "id", "customer_id"),
    ("PORTAL_DEACTIVATED", "portals", _UPDATE, "OLD.active AND NOT NEW.active", "prt", "id", "customer_id"),
    (
        *("TRANSFER_REQUESTED", "customer_transfers", _INSERT, "true"),
        *("trf", "id", "customer_id"),
    ),
    ("TRANSFER_APPROVED", "customer_transfers", _INSERT, "NEW.status = 'APPROVED'", "trf", "id", "customer_id"),
    ("TRANSFER_APPROVED", "customer_transfers", _UPDATE, _becomes("APPROVED"), "trf", "id", "customer_id"),
    ("TRANSFER_REJECTED", "customer_transfers", _UPDATE, _becomes("REJECTED"), "trf", "id", "customer_id"),
    (
        *("VOUCHER_REDEEMED", "vouchers", _UPDATE, "OLD.redeemed_at IS NULL AND NEW.redeemed_at IS NOT NULL"),
        *("vou", "id", "redeemed_by_id"),
    ),
)


def upgrade() -> None:
    _endpoints()
    _deliveries()
    own = f"tenant_id = {CURRENT_TENANT}"
    for table in ("webhook_endpoints", "webhook_deliveries"):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant_isolation ON {table} USING ({own}) WITH CHECK ({own})")
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO ispgraph_app")
        # Whoever accounts sets no tenant, and the sweep looks at all of them.
        op.execute(f"CREATE POLICY owner_lookup ON {table} TO ispgraph_owner USING (true) WITH CHECK (true)")
    for function in FUNCTIONS.strip().split("\n\n"):
        op.execute(function)
    for signature in _SIGNATURES:
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {_SIGNATURES[1]} TO ispgraph_app")
    for event, table, when, condition, *arguments in EVENTS:
        given = ", ".join(f"'{argument}'" for argument in (event, *arguments))
        op.execute(
            f"CREATE TRIGGER {_trigger(event, when)} {when} ON {table} FOR EACH ROW WHEN ({condition}) "
            f"EXECUTE FUNCTION raise_webhook_event({given})"
        )


def _trigger(event: str, when: str) -> str:
    return f"webhook_{event.lower()}_{when.split()[1].lower()}"


def _endpoints() -> None:
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("url", sa.String(500), nullable=False),
        sa.Column("events", postgresql.ARRAY(sa.String(40)), nullable=False),
        sa.Column("document", sa.Text(), nullable=True),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("former_secret", sa.LargeBinary(), nullable=True),
        sa.Column("former_until", _INSTANT, nullable=True),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("problem", sa.String(300), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", _INSTANT, nullable=True),
        sa.Column("rests_until", _INSTANT, nullable=True),
        sa.Column("delivered_at", _INSTANT, nullable=True),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("updated_at", _INSTANT, nullable=False),
        sa.Column("removed_at", _INSTANT, nullable=True),
        sa.CheckConstraint(
            "status IN ('ACTIVE', 'PAUSED', 'DISABLED')", name=op.f("ck_webhook_endpoints_webhookstatus")
        ),
        sa.CheckConstraint(
            "(former_secret IS NULL) = (former_until IS NULL)", name=op.f("ck_webhook_endpoints_former")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "owner_id"],
            ["operators.tenant_id", "operators.id"],
            name=op.f("fk_webhook_endpoints_tenant_id_owner_id"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_webhook_endpoints_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoints")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_webhook_endpoints_tenant_id_id")),
    )
    op.create_index("ix_webhook_endpoints_owner", "webhook_endpoints", ["tenant_id", "owner_id", "id"])


def _deliveries() -> None:
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("endpoint_id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("place", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("event", sa.String(40), nullable=False),
        sa.Column("subject", sa.String(40), nullable=False),
        sa.Column("customer", sa.String(40), nullable=True),
        sa.Column("details", postgresql.JSONB(), nullable=False),
        sa.Column("occurred_at", _INSTANT, nullable=False),
        sa.Column("status", sa.String(20), server_default="PENDING", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_attempt_at", _INSTANT, server_default="2000-01-01Z", nullable=False),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("response_status", sa.Integer(), nullable=True),
        sa.Column("response_body", sa.Text(), nullable=True),
        sa.Column("error", sa.String(300), nullable=True),
        sa.Column("log", postgresql.JSONB(), server_default="[]", nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("ended_at", _INSTANT, nullable=True),
        sa.CheckConstraint(
            "status IN ('PENDING', 'DELIVERED', 'GIVEN_UP', 'WITHHELD')",
            name=op.f("ck_webhook_deliveries_deliverystatus"),
        ),
        sa.CheckConstraint("(status = 'PENDING') = (ended_at IS NULL)", name=op.f("ck_webhook_deliveries_ended")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "endpoint_id"],
            ["webhook_endpoints.tenant_id", "webhook_endpoints.id"],
            name=op.f("fk_webhook_deliveries_tenant_id_endpoint_id"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_webhook_deliveries_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_webhook_deliveries_tenant_id_id")),
    )
    op.create_index("ix_webhook_deliveries_place", "webhook_deliveries", ["tenant_id", "place"])
    op.create_index("ix_webhook_deliveries_endpoint", "webhook_deliveries", ["tenant_id", "endpoint_id", "place"])
    pending = sa.text("status = 'PENDING'")
    op.create_index(
        "ix_webhook_deliveries_due",
        "webhook_deliveries",
        ["tenant_id", "endpoint_id", "next_attempt_at"],
        postgresql_where=pending,
    )
    op.create_index(
        "ix_webhook_deliveries_subject",
        "webhook_deliveries",
        ["tenant_id", "endpoint_id", "subject", "place"],
        postgresql_where=pending,
    )
    ended = sa.text("ended_at IS NOT NULL")
    op.create_index(
        "ix_webhook_deliveries_ended", "webhook_deliveries", ["tenant_id", "ended_at"], postgresql_where=ended
    )


def downgrade() -> None:
    for event, table, when, *_ in EVENTS:
        op.execute(f"DROP TRIGGER {_trigger(event, when)} ON {table}")
    for signature in _SIGNATURES:
        op.execute(f"DROP FUNCTION {signature}")
    op.drop_table("webhook_deliveries")
    op.drop_table("webhook_endpoints")

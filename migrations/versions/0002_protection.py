"""Tenant isolation, least grants, and the rules of the ledger that no program may break."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

EXTENSIONS = ("pgcrypto", "pg_trgm", "btree_gist", "citext")

# What the application may do besides SELECT and INSERT. Money and evidence are only ever added.
TABLES = {
    "allocations": "",
    "audit_entries": "",
    "custom_field_values": "UPDATE, DELETE",
    "custom_fields": "UPDATE",
    "customers": "UPDATE",
    "draft_log": "DELETE",
    "drafts": "UPDATE, DELETE",
    "idempotency_keys": "UPDATE, DELETE",
    "invoice_lines": "",
    "invoices": "UPDATE",
    "jobs": "UPDATE",
    "journals": "",
    "network_steps": "",
    "number_series": "UPDATE",
    "operators": "UPDATE",
    "packages": "UPDATE",
    "payments": "UPDATE",
    "postings": "",
    "routers": "UPDATE",
    "scheduled_runs": "DELETE",
    "service_macs": "DELETE",
    "services": "UPDATE",
    "sign_ins": "UPDATE, DELETE",
    "zones": "UPDATE",
}

# Of its own row the application changes these.
SETTINGS = "email_required, pending_until_paid, tax_rate, invoice_due_days, account_prefix"

# Read across tenants by the owner's functions below (and by the RADIUS functions), before a tenant is known.
LOOKED_UP = ("tenants", "operators", "routers", "jobs")
APPEND_ONLY = ("allocations", "audit_entries", "journals", "postings", "network_steps")

CURRENT_TENANT = "NULLIF(current_setting('app.tenant_id', true), '')::uuid"

FUNCTIONS = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
  RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;

CREATE FUNCTION journal_balances() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
DECLARE difference numeric;
BEGIN
  SELECT sum(amount_minor) INTO difference FROM postings
   WHERE tenant_id = NEW.tenant_id AND journal_id = NEW.journal_id;
  IF difference <> 0 THEN
    RAISE EXCEPTION 'journal % is out of balance by %', NEW.journal_id, difference
      USING ERRCODE = 'check_violation';
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION invoice_keeps_its_word() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
  IF OLD.status <> 'DRAFT' AND (TG_OP = 'DELETE'
      OR to_jsonb(NEW) - 'status' - 'paid_minor' <> to_jsonb(OLD) - 'status' - 'paid_minor'
      OR NEW.status = 'DRAFT' OR (OLD.status = 'VOID' AND NEW.status <> 'VOID')) THEN
    RAISE EXCEPTION 'invoice % is final', OLD.number USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN COALESCE(NEW, OLD);
END $$;

CREATE FUNCTION invoice_lines_are_final() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
DECLARE line invoice_lines := COALESCE(NEW, OLD);
BEGIN
  IF (SELECT status FROM invoices WHERE tenant_id = line.tenant_id AND id = line.invoice_id) <> 'DRAFT' THEN
    RAISE EXCEPTION 'lines of a final invoice do not change' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN line;
END $$;

CREATE FUNCTION payment_keeps_its_word() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
  IF TG_OP = 'DELETE' OR to_jsonb(NEW) - 'status' <> to_jsonb(OLD) - 'status' THEN
    RAISE EXCEPTION 'payment % is final', OLD.number USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;

CREATE FUNCTION sign_in_candidates(p_email text, p_tenant text)
  RETURNS TABLE (tenant_id uuid, operator_id uuid)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  SELECT o.tenant_id, o.id FROM operators o JOIN tenants t ON t.id = o.tenant_id
   WHERE o.email = lower(p_email) AND o.active AND (p_tenant IS NULL OR t.slug = lower(p_tenant))
   ORDER BY o.tenant_id LIMIT 2
$$;

CREATE FUNCTION due_jobs(p_at timestamptz, p_limit integer)
  RETURNS TABLE (tenant_id uuid, job_id uuid, kind text)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  SELECT j.tenant_id, j.id, j.kind FROM jobs j
   WHERE j.status IN ('QUEUED', 'RUNNING') AND j.next_attempt_at <= p_at
   ORDER BY j.next_attempt_at LIMIT p_limit
$$;

CREATE FUNCTION all_tenants() RETURNS TABLE (tenant_id uuid, time_zone text)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  SELECT id, t.time_zone FROM tenants t ORDER BY id
$$;
"""

CALLABLE = ("sign_in_candidates(text, text)", "due_jobs(timestamptz, integer)", "all_tenants()")
INTERNAL = (
    "refuse_change()",
    "journal_balances()",
    "invoice_keeps_its_word()",
    "invoice_lines_are_final()",
    "payment_keeps_its_word()",
)


def upgrade() -> None:
    missing = op.get_bind().scalars(
        sa.text("SELECT r FROM unnest(ARRAY['ispgraph_app', 'ispgraph_radius']) r WHERE to_regrole(r) IS NULL")
    )
    for role in missing:
        raise RuntimeError(f"create the role {role} first (README, production)")
    for extension in EXTENSIONS:
        op.execute(f"CREATE EXTENSION IF NOT EXISTS {extension}")
    op.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    op.execute("GRANT USAGE ON SCHEMA public TO ispgraph_app, ispgraph_radius")
    for function in FUNCTIONS.strip().split("\n\n"):
        op.execute(function)
    for signature in CALLABLE + INTERNAL:
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
    for signature in CALLABLE:
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO ispgraph_app")
    protect("tenants", f"UPDATE ({SETTINGS})", column="id", insert=False)
    for table, grants in TABLES.items():
        protect(table, grants)
    for table in LOOKED_UP:
        op.execute(f"CREATE POLICY owner_lookup ON {table} FOR SELECT TO ispgraph_owner USING (true)")
    _triggers()


def protect(table: str, grants: str, *, column: str = "tenant_id", insert: bool = True) -> None:
    """Row-level security that even the owner obeys, and the grants of the application."""
    own = f"{column} = {CURRENT_TENANT}"
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY tenant_isolation ON {table} USING ({own}) WITH CHECK ({own})")
    allowed = ", ".join(filter(None, ("SELECT", "INSERT" if insert else "", grants)))
    op.execute(f"GRANT {allowed} ON {table} TO ispgraph_app")


def _triggers() -> None:
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
    for table in (*APPEND_ONLY, "invoices", "invoice_lines", "payments"):
        op.execute(
            f"CREATE TRIGGER no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
    op.execute(
        "CREATE CONSTRAINT TRIGGER balanced AFTER INSERT ON postings DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION journal_balances()"
    )
    op.execute(
        "CREATE TRIGGER final BEFORE UPDATE OR DELETE ON invoices "
        "FOR EACH ROW EXECUTE FUNCTION invoice_keeps_its_word()"
    )
    op.execute(
        "CREATE TRIGGER final BEFORE INSERT OR UPDATE OR DELETE ON invoice_lines "
        "FOR EACH ROW EXECUTE FUNCTION invoice_lines_are_final()"
    )
    op.execute(
        "CREATE TRIGGER final BEFORE UPDATE OR DELETE ON payments "
        "FOR EACH ROW EXECUTE FUNCTION payment_keeps_its_word()"
    )


def downgrade() -> None:
    for table in (*APPEND_ONLY, "invoices", "invoice_lines", "payments"):
        op.execute(f"DROP TRIGGER no_truncate ON {table}")
    for table in APPEND_ONLY:
        op.execute(f"DROP TRIGGER append_only ON {table}")
    op.execute("DROP TRIGGER balanced ON postings")
    for table in ("invoices", "invoice_lines", "payments"):
        op.execute(f"DROP TRIGGER final ON {table}")
    for table in LOOKED_UP:
        op.execute(f"DROP POLICY owner_lookup ON {table}")
    for table in ("tenants", *TABLES):
        op.execute(f"DROP POLICY tenant_isolation ON {table}")
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
        op.execute(f"REVOKE ALL ON {table} FROM ispgraph_app")
    for signature in CALLABLE + INTERNAL:
        op.execute(f"DROP FUNCTION {signature}")
    op.execute("REVOKE USAGE ON SCHEMA public FROM ispgraph_app, ispgraph_radius")
    for extension in reversed(EXTENSIONS):
        op.execute(f"DROP EXTENSION {extension}")

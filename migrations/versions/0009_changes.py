"""Changes that people watch are announced when they commit, whoever makes them: accounting, a worker, a person.

An announcement is a hint, and may be lost: who listens reads the rows again. What happens by the thousand at once is
announced once, for the whole tenant.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_MANY = 200

# Statements are separated by empty lines.
FUNCTIONS = f"""
CREATE FUNCTION announce_session() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  PERFORM pg_notify('ispgraph_changes', concat_ws(' ', 'session', NEW.tenant_id, NEW.id, NEW.customer_id));
  RETURN NULL;
END $$;

CREATE FUNCTION announce_router() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  PERFORM pg_notify('ispgraph_changes', concat_ws(' ', 'router', NEW.tenant_id, NEW.id));
  RETURN NULL;
END $$;

CREATE FUNCTION announce_customers() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog AS $$
-- With the column that names the customer. The rows are those of one tenant: row-level security lets no others through.
DECLARE
  customer uuid;
  tenant uuid;
  customers uuid[];
  many boolean;
BEGIN
  IF TG_ARGV[0] = 'id' THEN
    SELECT array_agg(m.id), min(m.tenant_id::text)::uuid, count(*) > {_MANY} INTO customers, tenant, many
      FROM (SELECT c.id, c.tenant_id FROM changed c LIMIT {_MANY + 1}) m;
  ELSE
    SELECT array_agg(DISTINCT m.customer_id), min(m.tenant_id::text)::uuid, count(*) > {_MANY}
      INTO customers, tenant, many
      FROM (SELECT c.customer_id, c.tenant_id FROM changed c LIMIT {_MANY + 1}) m;
  END IF;
  IF many THEN
    PERFORM pg_notify('ispgraph_changes', concat_ws(' ', 'customer', tenant));
  ELSE
    FOREACH customer IN ARRAY COALESCE(customers, '{{}}') LOOP
      PERFORM pg_notify('ispgraph_changes', concat_ws(' ', 'customer', tenant, customer));
    END LOOP;
  END IF;
  RETURN NULL;
END $$;
"""
_FUNCTIONS = ("announce_session()", "announce_router()", "announce_customers()")
_CUSTOMERS = {"customers": "id", "services": "customer_id", "customer_balances": "customer_id"}
_ROWS = {
    # Not an interim update, which leaves the state as it is.
    ("sessions", "announce_opened"): "AFTER INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION announce_session()",
    ("sessions", "announce_state"): "AFTER UPDATE OF state ON sessions FOR EACH ROW "
    "WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION announce_session()",
    ("routers", "announce_status"): "AFTER UPDATE OF status ON routers FOR EACH ROW "
    "WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION announce_router()",
}


def upgrade() -> None:
    for function in FUNCTIONS.strip().split("\n\n"):
        op.execute(function)
    for signature in _FUNCTIONS:
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
    for (_, name), when in _ROWS.items():
        op.execute(f"CREATE TRIGGER {name} {when}")
    for table, column in _CUSTOMERS.items():
        op.execute(
            f"CREATE TRIGGER announce AFTER UPDATE ON {table} REFERENCING NEW TABLE AS changed "
            f"FOR EACH STATEMENT EXECUTE FUNCTION announce_customers('{column}')"
        )


def downgrade() -> None:
    for table in _CUSTOMERS:
        op.execute(f"DROP TRIGGER announce ON {table}")
    for table, name in _ROWS:
        op.execute(f"DROP TRIGGER {name} ON {table}")
    for signature in _FUNCTIONS:
        op.execute(f"DROP FUNCTION {signature}")

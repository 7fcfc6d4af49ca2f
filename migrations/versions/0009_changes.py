"""Changes that people watch are announced when they commit, whoever makes them: accounting, a worker, a person.

An announcement is a row that a live program takes away at once. It is a hint, and may be lost: who listens reads the
rows again. While no live program takes any, none are made. (`pg_notify` would let commits go one by one: Start and Stop
of accounting took 1.6 times as long with it.)
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# What happens by the thousand at once is announced once, for the whole tenant.
_MANY = 200
_CURRENT_TENANT = "NULLIF(current_setting('app.tenant_id', true), '')::uuid"

# Statements are separated by empty lines.
FUNCTIONS = f"""
CREATE FUNCTION announced(p_limit integer) RETURNS TABLE (tenant_id uuid, words text)
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
BEGIN
  -- Takes what was announced, and says for a while that somebody does.
  INSERT INTO announcements (id, tenant_id, words, at)
  VALUES (0, '00000000-0000-0000-0000-000000000000', '', clock_timestamp() + interval '10 s')
  ON CONFLICT (id) DO UPDATE SET at = EXCLUDED.at WHERE announcements.at < clock_timestamp() + interval '5 s';
  RETURN QUERY
    DELETE FROM announcements a WHERE a.id IN (
      SELECT o.id FROM announcements o WHERE o.id > 0 ORDER BY o.id LIMIT p_limit FOR UPDATE SKIP LOCKED)
    RETURNING a.tenant_id, a.words;
END $$;

CREATE FUNCTION announce_row() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
BEGIN
  IF EXISTS (SELECT FROM announcements a WHERE a.id = 0 AND a.at > clock_timestamp()) THEN
    IF TG_TABLE_NAME = 'routers' THEN
      INSERT INTO announcements (tenant_id, words) VALUES (NEW.tenant_id, 'router ' || NEW.id);
    ELSE
      INSERT INTO announcements (tenant_id, words)
      VALUES (NEW.tenant_id, concat_ws(' ', 'session', NEW.id, NEW.customer_id));
    END IF;
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION announce_customers() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
  tenant uuid;
  customers uuid[];
  many boolean;
BEGIN
  IF NOT EXISTS (SELECT FROM announcements a WHERE a.id = 0 AND a.at > clock_timestamp()) THEN
    RETURN NULL;
  END IF;
  -- The argument is the column that names the customer. All rows are of one tenant, which is all that anybody sees.
  IF TG_ARGV[0] = 'id' THEN
    SELECT array_agg(m.id), min(m.tenant_id::text)::uuid, count(*) > {_MANY} INTO customers, tenant, many
      FROM (SELECT c.id, c.tenant_id FROM changed c LIMIT {_MANY + 1}) m;
  ELSE
    SELECT array_agg(DISTINCT m.customer_id), min(m.tenant_id::text)::uuid, count(*) > {_MANY}
      INTO customers, tenant, many
      FROM (SELECT c.customer_id, c.tenant_id FROM changed c LIMIT {_MANY + 1}) m;
  END IF;
  INSERT INTO announcements (tenant_id, words)
  SELECT tenant, 'customer' WHERE many
  UNION ALL
  SELECT tenant, 'customer ' || each FROM unnest(customers) each WHERE NOT many;
  RETURN NULL;
END $$;
"""
_FUNCTIONS = ("announced(integer)", "announce_row()", "announce_customers()")
_CUSTOMERS = {"customers": "id", "services": "customer_id", "customer_balances": "customer_id"}
_ROWS = {
    # Not an interim update, which leaves the state as it is.
    ("sessions", "announce_opened"): "AFTER INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION announce_row()",
    ("sessions", "announce_state"): "AFTER UPDATE OF state ON sessions FOR EACH ROW "
    "WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION announce_row()",
    ("routers", "announce_status"): "AFTER UPDATE OF status ON routers FOR EACH ROW "
    "WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION announce_row()",
}


def upgrade() -> None:
    op.create_table(
        "announcements",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_announcements")),
        prefixes=["UNLOGGED"],
    )
    op.execute("ALTER TABLE announcements ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE announcements FORCE ROW LEVEL SECURITY")
    own = f"tenant_id = {_CURRENT_TENANT}"
    op.execute(f"CREATE POLICY tenant_isolation ON announcements USING ({own}) WITH CHECK ({own})")
    op.execute("CREATE POLICY owner_lookup ON announcements TO ispgraph_owner USING (true) WITH CHECK (true)")
    for function in FUNCTIONS.strip().split("\n\n"):
        op.execute(function)
    for signature in _FUNCTIONS:
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION announced(integer) TO ispgraph_app")
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
    op.drop_table("announcements")

"""Services that are bound to devices, by hand or at the first login, and files that people download.

A device may dial in for several services; only a hotspot's device, which logs in by its address alone, belongs to one.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

CURRENT_TENANT = "(SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)"
_INSTANT = postgresql.TIMESTAMP(timezone=True)

# Statements are separated by empty lines.
FUNCTIONS = """
CREATE OR REPLACE FUNCTION radius_authorize(
    p_username text, p_nas inet, p_calling_station text DEFAULT NULL, p_at timestamptz DEFAULT NULL)
  RETURNS TABLE (list text, attribute text, op text, value text)
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
  nas_tenant uuid;
  found services;
  by_mac macaddr;
  clear text;
  welcome boolean;
BEGIN
  -- A router that keeps its users itself has no business here: were both to answer, a refusal here would not count.
  SELECT r.tenant_id INTO nas_tenant FROM routers r
   WHERE r.radius_address = p_nas AND r.radius_secret IS NOT NULL AND r.mode = 'RADIUS';
  IF nas_tenant IS NULL THEN
    RETURN;
  END IF;
  PERFORM set_config('app.tenant_id', nas_tenant::text, true);
  SELECT s.* INTO found FROM services s WHERE s.tenant_id = nas_tenant AND s.username = lower(p_username);
  IF found.id IS NOT NULL THEN
    clear := radius_unseal(found.password, 'service:' || found.tenant_id || ':' || found.id);
    -- Of a service that is bound, only its devices may; one that does not say its address is none of them.
    by_mac := radius_mac(p_calling_station);
    SELECT bool_or(m.mac IS NOT DISTINCT FROM by_mac) INTO welcome FROM service_macs m
     WHERE m.tenant_id = nas_tenant AND m.service_id = found.id;
  ELSE
    -- A hotspot device that logs in by itself (mac-as-username-and-password). The station must be that device:
    -- a neighbour's address, typed on the login page, is not a key.
    by_mac := radius_mac(p_username);
    SELECT s.* INTO found FROM service_macs m JOIN services s ON s.tenant_id = m.tenant_id AND s.id = m.service_id
     WHERE m.tenant_id = nas_tenant AND m.mac = by_mac AND s.connection_type = 'HOTSPOT'
       AND COALESCE(radius_mac(p_calling_station), by_mac) = by_mac;
    clear := p_username;
  END IF;
  IF welcome IS FALSE THEN
    -- Whoever would be refused anyway hears why: that is not for the device to solve.
    RETURN QUERY
      WITH decided AS MATERIALIZED (
        SELECT d.* FROM radius_decided(found, clear, COALESCE(p_at, radius_now())) d)
      SELECT r.list, r.attribute, ':=', r.value FROM (VALUES
        ('check', 'Auth-Type', 'Reject'),
        ('reply', 'Reply-Message', COALESCE(
          (SELECT d.value FROM decided d WHERE d.attribute = 'Reply-Message'
              AND EXISTS (SELECT FROM decided a WHERE a.attribute = 'Auth-Type')),
          'This account is bound to another device'))) r (list, attribute, value);
  ELSE
    RETURN QUERY
      WITH decided AS MATERIALIZED (
        SELECT d.* FROM radius_decided(found, clear, COALESCE(p_at, radius_now())) d)
      SELECT d.list, d.attribute, d.op, d.value FROM decided d
      UNION ALL
      -- Acct-Session-Id comes round again after a few reboots of a router. This cookie, which it echoes in accounting,
      -- tells the sessions apart, and tells what each was let in with.
      SELECT 'reply', 'Class', ':=', '0x' || radius_policy(array_agg(d.attribute), array_agg(d.value))
             || encode(gen_random_bytes(8), 'hex')
        FROM decided d HAVING bool_or(d.attribute = 'Cleartext-Password');
  END IF;
  PERFORM set_config('app.tenant_id', '', true);
END $$;

CREATE FUNCTION session_of_device() RETURNS trigger
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, public AS $$
DECLARE
  allowed boolean;
  line services;
  bound uuid;
  elsewhere record;
BEGIN
  -- A session has begun: the password was right, which an Access-Request alone does not say.
  SELECT bool_or(m.mac = NEW.mac_address) INTO allowed FROM service_macs m
   WHERE m.tenant_id = NEW.tenant_id AND m.service_id = NEW.service_id;
  IF allowed THEN
    RETURN NULL;
  END IF;
  IF allowed IS NULL THEN
    PERFORM FROM services s JOIN packages k ON k.tenant_id = s.tenant_id AND k.id = s.package_id
      WHERE s.tenant_id = NEW.tenant_id AND s.id = NEW.service_id AND k.bind_mac_on_first_login
        AND s.connection_type IN ('PPPOE', 'HOTSPOT');
    IF NOT FOUND OR NEW.mac_address = '00:00:00:00:00:00'
       OR NEW.mac_address & '01:00:00:00:00:00' <> '00:00:00:00:00:00' THEN
      RETURN NULL;
    END IF;
    -- Of two devices at once the second waits here, and then finds the service bound.
    SELECT s.* INTO line FROM services s
     WHERE s.tenant_id = NEW.tenant_id AND s.id = NEW.service_id FOR NO KEY UPDATE;
    SELECT bool_or(m.mac = NEW.mac_address) INTO allowed FROM service_macs m
     WHERE m.tenant_id = NEW.tenant_id AND m.service_id = NEW.service_id;
    IF allowed IS NULL THEN
      INSERT INTO service_macs (id, tenant_id, service_id, mac, logs_in)
      VALUES (uuid_of(NEW.updated_at), NEW.tenant_id, NEW.service_id, NEW.mac_address, line.connection_type = 'HOTSPOT')
          ON CONFLICT DO NOTHING RETURNING id INTO bound;
      IF bound IS NULL THEN
        -- The device of another hotspot service, which it logs in for by itself.
        RETURN NULL;
      END IF;
      INSERT INTO audit_entries (id, tenant_id, at, operator_id, action, subject_id, details)
      VALUES (uuid_of(NEW.updated_at), NEW.tenant_id, NEW.updated_at, NULL, 'customer.bindMac', line.customer_id,
              jsonb_build_object('service', line.id, 'before', '[]'::jsonb, 'after',
                jsonb_build_array(upper(NEW.mac_address::text)), 'first_login', true));
      -- A router that keeps its users has to be told, and whoever is on line from elsewhere has to go.
      FOR elsewhere IN
        SELECT r.id FROM routers r
         WHERE r.tenant_id = NEW.tenant_id AND r.mode = 'LOCAL' AND r.id IN (NEW.router_id, line.router_id)
        UNION
        SELECT s.router_id FROM sessions s
         WHERE s.tenant_id = NEW.tenant_id AND s.service_id = NEW.service_id AND s.stopped_at IS NULL
           AND s.mac_address IS DISTINCT FROM NEW.mac_address AND s.router_id IS NOT NULL
      LOOP
        PERFORM network_session_differs(NEW.tenant_id, NEW.service_id, elsewhere.id, NEW.updated_at);
      END LOOP;
    END IF;
  END IF;
  IF allowed IS FALSE AND NEW.router_id IS NOT NULL THEN
    -- It was on its way while the service came to be bound to others.
    PERFORM network_session_differs(NEW.tenant_id, NEW.service_id, NEW.router_id, NEW.updated_at);
  END IF;
  RETURN NULL;
END $$;
"""

# What each login calls, in PL/pgSQL as everything else there: a function in SQL is planned anew with each call.
PLANNED = """
CREATE OR REPLACE FUNCTION radius_now() RETURNS timestamptz
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
BEGIN
  -- The offset lets a drill move the time of a FreeRADIUS that runs on the real clock.
  RETURN now() + make_interval(secs =>
    COALESCE(NULLIF(current_setting('ispgraph.clock_offset', true), ''), '0')::float8);
END $$;

CREATE OR REPLACE FUNCTION radius_mac(p_text text) RETURNS macaddr
  LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog AS $$
DECLARE
  -- As RouterOS may write it: 00:1A:2B:3C:4D:5E, 00-1a-2b-3c-4d-5e, 001a.2b3c.4d5e, 001A2B-3C4D5E, 001a2b3c4d5e.
  hexadecimal text := lower(regexp_replace(p_text, '[-:.]', '', 'g'));
BEGIN
  RETURN CASE WHEN hexadecimal ~ '^[0-9a-f]{12}$' THEN hexadecimal::macaddr END;
END $$;

CREATE OR REPLACE FUNCTION radius_value(p_value text) RETURNS text
  LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog AS $$
DECLARE
  -- rlm_sql unquotes a value that stands in quotes, runs one in back quotes as a program, and reads backslash escapes:
  -- a quote at the start and every backslash are written in octal, and then none of that happens.
  escaped text := replace(p_value, E'\\\\', E'\\\\134');
BEGIN
  RETURN CASE WHEN escaped ~ '^["''`]' THEN E'\\\\' || lpad(to_oct(ascii(escaped)), 3, '0') || substr(escaped, 2)
              ELSE escaped END;
END $$;

CREATE OR REPLACE FUNCTION radius_policy(p_attributes text[], p_values text[]) RETURNS text
  LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog AS $$
BEGIN
  -- 24 hexadecimal digits: 16 of what a session keeps as long as it lasts, then 8 of its rate, which can be changed.
  RETURN (
    SELECT left(md5(COALESCE(string_agg(a || '=' || v, E'\\n' ORDER BY a)
             FILTER (WHERE a IN ('Auth-Type', 'Framed-IP-Address', 'Framed-IP-Netmask', 'Framed-Pool', 'Mikrotik-Group',
                                 'Mikrotik-Address-List')), '')), 16)
        || left(md5(COALESCE(max(v) FILTER (WHERE a = 'Mikrotik-Rate-Limit'), '')), 8)
      FROM unnest(p_attributes, p_values) AS r (a, v));
END $$;

CREATE OR REPLACE FUNCTION radius_check(p_username text, p_nas inet, p_calling_station text DEFAULT NULL)
  RETURNS TABLE (id bigint, username text, attribute text, value text, op text)
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, public AS $$
BEGIN
  RETURN QUERY SELECT row_number() OVER (), p_username, a.attribute, radius_value(a.value), a.op
    FROM radius_authorize(p_username, p_nas, p_calling_station) a WHERE a.list = 'check';
END $$;

CREATE OR REPLACE FUNCTION radius_reply(p_username text, p_nas inet, p_calling_station text DEFAULT NULL)
  RETURNS TABLE (id bigint, username text, attribute text, value text, op text)
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, public AS $$
BEGIN
  RETURN QUERY SELECT row_number() OVER (), p_username, a.attribute, radius_value(a.value), a.op
    FROM radius_authorize(p_username, p_nas, p_calling_station) a WHERE a.list = 'reply';
END $$;
"""

TRIGGER = """
CREATE TRIGGER sessions_device AFTER INSERT ON sessions FOR EACH ROW
  WHEN (NEW.service_id IS NOT NULL AND NEW.mac_address IS NOT NULL AND NEW.state = 'OPEN')
  EXECUTE FUNCTION session_of_device()"""

# Tenant by tenant, for the owner is under row-level security as well.
_EACH_TENANT = """
DO $$
DECLARE tenant uuid;
BEGIN
  FOR tenant IN SELECT id FROM tenants LOOP
    PERFORM set_config('app.tenant_id', tenant::text, true);
    {}
  END LOOP;
  PERFORM set_config('app.tenant_id', '', true);
END $$"""
_LOGINS = """UPDATE service_macs m SET logs_in = true FROM services s
      WHERE m.tenant_id = tenant AND s.tenant_id = tenant AND s.id = m.service_id AND s.connection_type = 'HOTSPOT';"""
# Before, a device belonged to one service: the hotspot's, or else the first.
_SINGLE = """DELETE FROM service_macs m USING service_macs o
      WHERE m.tenant_id = tenant AND o.tenant_id = tenant AND o.mac = m.mac
        AND (o.logs_in, m.id) > (m.logs_in, o.id);"""


def upgrade() -> None:
    _no_default("packages", "bind_mac_on_first_login")
    _no_default("service_macs", "logs_in")
    op.execute(_EACH_TENANT.format(_LOGINS))
    op.drop_constraint(op.f("uq_service_macs_tenant_id_mac"), "service_macs")
    op.drop_index("ix_service_macs_service", "service_macs")
    op.create_unique_constraint(
        op.f("uq_service_macs_tenant_id_service_id_mac"), "service_macs", ["tenant_id", "service_id", "mac"]
    )
    op.create_index("ix_service_macs_mac", "service_macs", ["tenant_id", "mac"])
    op.create_index(
        "uq_service_macs_login", "service_macs", ["tenant_id", "mac"], unique=True, postgresql_where=sa.text("logs_in")
    )
    for function in (FUNCTIONS + PLANNED).strip().split("\n\n"):
        op.execute(function)
    op.execute("REVOKE ALL ON FUNCTION session_of_device() FROM PUBLIC")
    op.execute(TRIGGER)
    _files()


def _files() -> None:
    op.create_table(
        "files",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("media_type", sa.String(100), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("ready_at", _INSTANT, nullable=True),
        sa.Column("expires_at", _INSTANT, nullable=False),
        sa.CheckConstraint("size >= 0", name=op.f("ck_files_size")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_files_tenant_id")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "job_id"], ["jobs.tenant_id", "jobs.id"], name=op.f("fk_files_tenant_id_job_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_files")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_files_tenant_id_id")),
    )
    op.create_index("ix_files_job", "files", ["tenant_id", "job_id"])
    op.create_table(
        "file_chunks",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("file_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_file_chunks_tenant_id")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "file_id"], ["files.tenant_id", "files.id"], name=op.f("fk_file_chunks_tenant_id_file_id")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "file_id", "number", name=op.f("pk_file_chunks")),
    )
    own = f"tenant_id = {CURRENT_TENANT}"
    for table, granted in (("files", "SELECT, INSERT, UPDATE, DELETE"), ("file_chunks", "SELECT, INSERT, DELETE")):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant_isolation ON {table} USING ({own}) WITH CHECK ({own})")
        op.execute(f"GRANT {granted} ON {table} TO ispgraph_app")


def _no_default(table: str, name: str) -> None:
    op.add_column(table, sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.text("false")))


def downgrade() -> None:
    op.drop_table("file_chunks")
    op.drop_table("files")
    op.execute("DROP TRIGGER sessions_device ON sessions")
    op.execute("DROP FUNCTION session_of_device()")
    for name in ("radius_authorize", "radius_policy"):
        op.execute(_former("0005", name))
    for name in ("radius_now", "radius_mac", "radius_value", "radius_check", "radius_reply"):
        op.execute(_former("0003", name))
    op.drop_index("uq_service_macs_login", "service_macs")
    op.drop_index("ix_service_macs_mac", "service_macs")
    op.drop_constraint(op.f("uq_service_macs_tenant_id_service_id_mac"), "service_macs")
    op.execute(_EACH_TENANT.format(_SINGLE))
    op.create_unique_constraint(op.f("uq_service_macs_tenant_id_mac"), "service_macs", ["tenant_id", "mac"])
    op.create_index("ix_service_macs_service", "service_macs", ["tenant_id", "service_id"])
    op.drop_column("service_macs", "logs_in")
    op.drop_column("packages", "bind_mac_on_first_login")


def _former(revision: str, name: str) -> str:
    """A function as an older revision made it."""
    folder = op.get_context().script
    assert folder is not None
    text: str = folder.get_revision(revision).module.FUNCTIONS
    start = f"CREATE FUNCTION {name}("
    made = next(each for each in text.strip().split("\n\n") if each.startswith(start))
    return made.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1)

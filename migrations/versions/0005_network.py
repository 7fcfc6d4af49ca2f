"""Routers that are managed, what the network should hold for a service, and messages to customers.

A session is let in with a Class that tells the policy it was let in with: whether the network has to be told of a
change, and how, follows from comparing the two.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

CURRENT_TENANT = "(SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)"
_INSTANT = postgresql.TIMESTAMP(timezone=True)


def _choice(name: str, *members: str) -> sa.Enum:
    # The checks are made apart: adding a column leaves them out.
    return sa.Enum(*members, name=name, native_enum=False, length=20)


CHOICES = {
    ("tenants", "suspension"): ("REJECT", "WALLED_GARDEN"),
    ("routers", "routermode"): ("RADIUS", "LOCAL"),
    ("services", "suspendreason"): ("NON_PAYMENT", "VIOLATION", "MAINTENANCE", "CUSTOMER_REQUEST", "OTHER"),
    ("services", "provisioningstate"): ("PENDING", "APPLIED", "FAILED", "UNREACHABLE", "NOT_MANAGED"),
}
CHOSEN = {"suspension": "suspension", "routermode": "mode", "suspendreason": "suspend_reason"}
CHOSEN["provisioningstate"] = "provisioning"

# Columns by table; a column that may not be NULL has the value of the rows that are there already.
COLUMNS: dict[str, Sequence[tuple[str, Any, str | None]]] = {
    "tenants": (
        ("suspension", _choice("suspension", *CHOICES["tenants", "suspension"]), "'REJECT'"),
        ("walled_address_list", sa.String(63), "'suspended'"),
        ("walled_kbps", sa.Integer(), "512"),
    ),
    "routers": (
        ("mode", _choice("routermode", *CHOICES["routers", "routermode"]), "'RADIUS'"),
        ("api_tls", sa.Boolean(), "false"),
        ("check_at", _INSTANT, "now()"),
        ("failures", sa.Integer(), "0"),
        ("drift", postgresql.JSONB(), "'[]'"),
    ),
    "services": (
        ("provisioning", _choice("provisioningstate", *CHOICES["services", "provisioningstate"]), "'PENDING'"),
        ("drift", postgresql.JSONB(), "'[]'"),
    ),
}
NULLABLE: dict[str, Sequence[tuple[str, Any]]] = {
    "tenants": (("walled_pool", sa.String(63)),),
    "routers": (
        ("api_username", sa.String(100)),
        ("api_password", sa.LargeBinary()),
        ("api_fingerprint", sa.String(64)),
        ("problem", sa.Text()),
        ("accounting_last_seen_at", _INSTANT),
        ("board", sa.String(60)),
        ("serial", sa.String(60)),
        ("lane", sa.Uuid()),
        ("lane_until", _INSTANT),
        ("unreachable_since", _INSTANT),
        ("retry_at", _INSTANT),
        ("reconciled_at", _INSTANT),
    ),
    "services": (
        ("suspend_reason", _choice("suspendreason", *CHOICES["services", "suspendreason"])),
        ("suspended_at", _INSTANT),
        ("network_problem", sa.Text()),
    ),
}
SETTINGS = "suspension, walled_address_list, walled_pool, walled_kbps"

# Statements are separated by empty lines.
FUNCTIONS = """
CREATE FUNCTION uuid_of(p_at timestamptz) RETURNS uuid
  LANGUAGE sql VOLATILE SET search_path = pg_catalog AS $$
  -- UUIDv7 (RFC 9562 section 5.7): the milliseconds of the instant, then random bits.
  SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
    PLACING substr(int8send(floor(extract(epoch FROM p_at) * 1000)::bigint), 3) FROM 1 FOR 6), 52, 1), 53, 1),
    'hex')::uuid
$$;

CREATE FUNCTION due_work(p_at timestamptz, p_limit integer)
  RETURNS TABLE (tenant_id uuid, job_id uuid, router_id uuid)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  -- Jobs that go over a router are that router's business: its turn is due, once however many wait.
  (SELECT j.tenant_id, j.id, NULL::uuid FROM jobs j
    WHERE j.status IN ('QUEUED', 'RUNNING') AND j.next_attempt_at <= p_at AND j.router_id IS NULL
    ORDER BY j.next_attempt_at LIMIT p_limit)
  UNION ALL
  (SELECT r.tenant_id, NULL::uuid, r.id FROM routers r
    WHERE (r.lane_until IS NULL OR r.lane_until <= p_at)
      AND (r.check_at <= p_at OR EXISTS (
        SELECT FROM jobs j WHERE j.tenant_id = r.tenant_id AND j.router_id = r.id
           AND j.status IN ('QUEUED', 'RUNNING') AND j.next_attempt_at <= p_at))
    LIMIT p_limit)
$$;

CREATE FUNCTION radius_is_walled(
    p_suspension text, p_service text, p_customer text, p_reason text, p_expires_at timestamptz, p_at timestamptz)
  RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  -- Without a search path of its own, so that it becomes a part of the statement that calls it.
  SELECT p_suspension = 'WALLED_GARDEN' AND 'TERMINATED' NOT IN (p_service, p_customer)
     AND 'PENDING' NOT IN (p_service, p_customer) AND p_reason IS DISTINCT FROM 'VIOLATION'
     AND (p_service <> 'ACTIVE' OR p_customer <> 'ACTIVE' OR COALESCE(p_expires_at <= p_at, false))
$$;

CREATE FUNCTION radius_policy_rows(
    p_refusal text, p_password text, p_profile text, p_ip_address inet, p_subnet cidr, p_upload_kbps integer,
    p_download_kbps integer, p_data_quota_bytes bigint, p_time_quota_seconds integer, p_expires_at timestamptz,
    p_at timestamptz, p_wall_list text DEFAULT NULL, p_wall_pool text DEFAULT NULL, p_wall_kbps integer DEFAULT NULL)
  RETURNS TABLE (list text, attribute text, op text, value text)
  LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog AS $$
#variable_conflict use_column
BEGIN
  -- One value that FreeRADIUS cannot parse refuses the login, and an integer past its range wraps without a word:
  -- so every value is made here from typed ones. What RouterOS would not need is left out, not sent empty.
  -- With a wall, whoever would be refused is let in, slowly, into its address list.
  -- In PL/pgSQL, which plans a statement once for a connection: in SQL it was planned anew for each login.
  RETURN QUERY SELECT t.list, t.attribute, ':=', t.value
    FROM (SELECT p_refusal IS NULL AS free, p_refusal IS NOT NULL AND p_wall_list IS NOT NULL AS walled,
                 p_refusal IS NOT NULL AND p_wall_list IS NULL AS refused,
                 p_refusal IS NULL OR p_wall_pool IS NULL AS addressed) c
    CROSS JOIN LATERAL (VALUES
    (1, 'check', 'Auth-Type', c.refused, 'Reject'),
    (2, 'reply', 'Reply-Message', NOT c.free, p_refusal),
    (3, 'check', 'Cleartext-Password', NOT c.refused, NULLIF(p_password, '')),
    -- RouterOS: received/transmitted as the router sees it, that is upload/download.
    (4, 'reply', 'Mikrotik-Rate-Limit', c.free AND p_upload_kbps > 0 AND p_download_kbps > 0,
      p_upload_kbps || 'k/' || p_download_kbps || 'k'),
    (4, 'reply', 'Mikrotik-Rate-Limit', c.walled, p_wall_kbps || 'k/' || p_wall_kbps || 'k'),
    (5, 'reply', 'Session-Timeout', c.free, (SELECT LEAST(GREATEST(min(seconds), 60), 2147483647)::text
      FROM (VALUES (NULLIF(floor(extract(epoch FROM p_expires_at - p_at)), 'Infinity')),
                   (p_time_quota_seconds::numeric)) q (seconds)
      HAVING min(seconds) IS NOT NULL)),
    (6, 'reply', 'Framed-IP-Address', NOT c.refused AND c.addressed AND family(p_ip_address) = 4, host(p_ip_address)),
    (7, 'reply', 'Framed-IP-Netmask', NOT c.refused AND c.addressed AND family(p_subnet) = 4,
      host(netmask(p_subnet))),
    (8, 'reply', 'Mikrotik-Group', c.free AND octet_length(p_profile) <= 247, NULLIF(p_profile, '')),
    (9, 'reply', 'Mikrotik-Address-List', c.walled, p_wall_list),
    (10, 'reply', 'Framed-Pool', c.walled, p_wall_pool),
    -- In two words of 32 bits. Recv-Limit and Xmit-Limit count one direction each and could not say a total; that
    -- RouterOS obeys Total-Limit for PPP as it does for hotspots is not proved, so usage must also be watched.
    (11, 'reply', 'Mikrotik-Total-Limit', c.free AND p_data_quota_bytes > 0,
      (p_data_quota_bytes & 4294967295)::text),
    (12, 'reply', 'Mikrotik-Total-Limit-Gigawords', c.free AND p_data_quota_bytes > 0,
      (p_data_quota_bytes >> 32)::text),
    (13, 'reply', 'Acct-Interim-Interval', NOT c.refused, '300')
  ) t (n, list, attribute, wanted, value) WHERE t.wanted AND t.value IS NOT NULL ORDER BY t.n;
END $$;

CREATE FUNCTION radius_decided(p_service services, p_clear text, p_at timestamptz)
  RETURNS TABLE (list text, attribute text, op text, value text)
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public AS $$
#variable_conflict use_column
BEGIN
  -- Under the row-level security of whoever calls.
  RETURN QUERY SELECT p.list, p.attribute, p.op, p.value
    FROM customers c
    JOIN tenants t ON t.id = c.tenant_id
    JOIN packages k ON k.tenant_id = c.tenant_id AND k.id = p_service.package_id
    CROSS JOIN LATERAL (SELECT
      radius_refusal(p_service.status, c.status, p_service.expires_at, p_at) AS reason,
      radius_is_walled(t.suspension, p_service.status, c.status, p_service.suspend_reason, p_service.expires_at, p_at)
        AS walled) w
    CROSS JOIN LATERAL radius_policy_rows(
      w.reason, p_clear, p_service.profile, p_service.ip_address, p_service.subnet, k.upload_kbps, k.download_kbps,
      k.data_quota_bytes, k.time_quota_seconds, p_service.expires_at, p_at,
      CASE WHEN w.walled THEN t.walled_address_list END, t.walled_pool, t.walled_kbps) p
   WHERE c.tenant_id = p_service.tenant_id AND c.id = p_service.customer_id;
END $$;

CREATE FUNCTION radius_policy(p_attributes text[], p_values text[]) RETURNS text
  LANGUAGE sql IMMUTABLE SET search_path = pg_catalog AS $$
  -- 24 hexadecimal digits: 16 of what a session keeps as long as it lasts, then 8 of its rate, which can be changed.
  SELECT left(md5(COALESCE(string_agg(a || '=' || v, E'\\n' ORDER BY a)
           FILTER (WHERE a IN ('Auth-Type', 'Framed-IP-Address', 'Framed-IP-Netmask', 'Framed-Pool', 'Mikrotik-Group',
                               'Mikrotik-Address-List')), '')), 16)
      || left(md5(COALESCE(max(v) FILTER (WHERE a = 'Mikrotik-Rate-Limit'), '')), 8)
    FROM unnest(p_attributes, p_values) AS r (a, v)
$$;

CREATE FUNCTION radius_rows(p_service uuid, p_at timestamptz DEFAULT NULL)
  RETURNS TABLE (list text, attribute text, op text, value text)
  LANGUAGE sql STABLE SET search_path = pg_catalog, public AS $$
  -- What a login would meet now, for people to read: under the caller's own row-level security, and no password.
  SELECT p.list, p.attribute, p.op, p.value
    FROM services s CROSS JOIN LATERAL radius_decided(s, '********', COALESCE(p_at, radius_now())) p
   WHERE s.id = p_service
$$;

CREATE FUNCTION radius_policy_of(p_service uuid, p_at timestamptz DEFAULT NULL) RETURNS text
  LANGUAGE sql STABLE SET search_path = pg_catalog, public AS $$
  -- What a session should have been let in with, to compare with the Class it brings.
  SELECT radius_policy(array_agg(r.attribute), array_agg(r.value)) FROM radius_rows(p_service, p_at) r
$$;

CREATE FUNCTION radius_authorize(
    p_username text, p_nas inet, p_calling_station text DEFAULT NULL, p_at timestamptz DEFAULT NULL)
  RETURNS TABLE (list text, attribute text, op text, value text)
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
  nas_tenant uuid;
  found services;
  by_mac macaddr;
  clear text;
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
  ELSE
    -- A hotspot device that logs in by itself (mac-as-username-and-password). The station must be that device:
    -- a neighbour's address, typed on the login page, is not a key.
    by_mac := radius_mac(p_username);
    SELECT s.* INTO found FROM service_macs m JOIN services s ON s.tenant_id = m.tenant_id AND s.id = m.service_id
     WHERE m.tenant_id = nas_tenant AND m.mac = by_mac AND s.connection_type = 'HOTSPOT'
       AND COALESCE(radius_mac(p_calling_station), by_mac) = by_mac;
    clear := p_username;
  END IF;
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
  PERFORM set_config('app.tenant_id', '', true);
END $$;

CREATE FUNCTION network_session_differs(p_tenant uuid, p_service uuid, p_router uuid, p_at timestamptz) RETURNS void
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, public AS $$
BEGIN
  -- A session was let in with what is no longer right: it was on its way while somebody changed the service.
  INSERT INTO jobs (id, tenant_id, kind, status, customer_id, service_id, router_id, arguments, created_at, attempts,
                    next_attempt_at)
  SELECT uuid_of(p_at), p_tenant, 'service.provision', 'QUEUED', s.customer_id, s.id, p_router, '{}', p_at, 0, p_at
    FROM services s
   WHERE s.tenant_id = p_tenant AND s.id = p_service AND NOT EXISTS (
     SELECT FROM jobs j WHERE j.tenant_id = p_tenant AND j.service_id = p_service AND j.router_id = p_router
        AND j.kind = 'service.provision' AND j.status = 'QUEUED');
END $$;
"""

_POLICY = "radius_policy_rows(text, text, text, inet, cidr, integer, integer, bigint, integer, timestamptz, timestamptz"
GRANTS = {
    "uuid_of(timestamptz)": None,
    "due_work(timestamptz, integer)": "ispgraph_app",
    "radius_is_walled(text, text, text, text, timestamptz, timestamptz)": "ispgraph_app",
    f"{_POLICY}, text, text, integer)": "ispgraph_app",
    "radius_policy(text[], text[])": "ispgraph_app",
    "radius_decided(services, text, timestamptz)": "ispgraph_app",
    "radius_rows(uuid, timestamptz)": "ispgraph_app",
    "radius_policy_of(uuid, timestamptz)": "ispgraph_app",
    "radius_authorize(text, inet, text, timestamptz)": "ispgraph_radius",
    "network_session_differs(uuid, uuid, uuid, timestamptz)": None,
}
REFUSAL = "radius_refusal(text, text, timestamptz, timestamptz)"
# What this revision replaces.
FORMER = {
    "due_jobs(timestamptz, integer)": "ispgraph_app",
    f"{_POLICY})": "ispgraph_app",
    "radius_rows(uuid, timestamptz)": "ispgraph_app",
    "radius_authorize(text, inet, text, timestamptz)": "ispgraph_radius",
}


def upgrade() -> None:
    for table, columns in COLUMNS.items():
        for name, kind, value in columns:
            op.add_column(table, sa.Column(name, kind, nullable=False, server_default=sa.text(value or "NULL")))
            op.alter_column(table, name, server_default=None)
    for table, nullable in NULLABLE.items():
        for name, kind in nullable:
            op.add_column(table, sa.Column(name, kind, nullable=True))
    for (table, name), members in CHOICES.items():
        listed = ", ".join(f"'{member}'" for member in members)
        op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, f"{CHOSEN[name]} IN ({listed})")
    op.create_check_constraint(op.f("ck_tenants_walled_kbps"), "tenants", "walled_kbps BETWEEN 8 AND 1000000")
    op.create_index(
        "ix_jobs_router",
        "jobs",
        ["tenant_id", "router_id"],
        postgresql_where=sa.text("status IN ('QUEUED', 'RUNNING')"),
    )
    # Tenant by tenant, for the owner is under row-level security as well.
    op.execute("""
DO $$
DECLARE tenant uuid;
BEGIN
  FOR tenant IN SELECT id FROM tenants LOOP
    PERFORM set_config('app.tenant_id', tenant::text, true);
    UPDATE services SET provisioning = 'APPLIED' WHERE tenant_id = tenant AND applied_version >= desired_version;
  END LOOP;
  PERFORM set_config('app.tenant_id', '', true);
END $$""")
    op.execute(f"GRANT UPDATE ({SETTINGS}) ON tenants TO ispgraph_app")
    _messages()
    for signature in FORMER:
        op.execute(f"DROP FUNCTION {signature}")
    for function in FUNCTIONS.strip().split("\n\n"):
        op.execute(function)
    _grant(GRANTS)
    # It becomes a part of the statement that calls it, as radius_is_walled does.
    op.execute(f"ALTER FUNCTION {REFUSAL} RESET search_path")


def _messages() -> None:
    op.create_table(
        "messages",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("channel", _choice("messagechannel", "SMS", "EMAIL"), nullable=False),
        sa.Column("to", sa.String(320), nullable=False),
        sa.Column("event", sa.String(60), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("status", _choice("messagestatus", "QUEUED", "SENT", "DELIVERED", "FAILED"), nullable=False),
        sa.Column("segments", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("created_by_id", sa.Uuid(), nullable=True),
        sa.Column("sent_at", _INSTANT, nullable=True),
        sa.Column("delivered_at", _INSTANT, nullable=True),
        sa.CheckConstraint("channel IN ('SMS', 'EMAIL')", name=op.f("ck_messages_messagechannel")),
        sa.CheckConstraint(
            "status IN ('QUEUED', 'SENT', 'DELIVERED', 'FAILED')", name=op.f("ck_messages_messagestatus")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "created_by_id"],
            ["operators.tenant_id", "operators.id"],
            name=op.f("fk_messages_tenant_id_created_by_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "customer_id"],
            ["customers.tenant_id", "customers.id"],
            name=op.f("fk_messages_tenant_id_customer_id"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_messages_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_messages_tenant_id_id")),
    )
    op.create_index("ix_messages_customer", "messages", ["tenant_id", "customer_id", "id"], unique=False)
    op.execute("ALTER TABLE messages ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE messages FORCE ROW LEVEL SECURITY")
    own = f"tenant_id = {CURRENT_TENANT}"
    op.execute(f"CREATE POLICY tenant_isolation ON messages USING ({own}) WITH CHECK ({own})")
    op.execute("GRANT SELECT, INSERT, UPDATE ON messages TO ispgraph_app")


def _grant(grants: dict[str, str | None]) -> None:
    for signature, role in grants.items():
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        if role:
            op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO {role}")


def downgrade() -> None:
    op.execute(f"ALTER FUNCTION {REFUSAL} SET search_path = pg_catalog")
    for signature in reversed(GRANTS):
        op.execute(f"DROP FUNCTION {signature}")
    for function in _former_functions():
        op.execute(function)
    _grant(FORMER)
    op.drop_table("messages")
    op.drop_index("ix_jobs_router", "jobs")
    for table, columns in COLUMNS.items():
        for name, _, _ in columns:
            op.drop_column(table, name)
    for table, nullable in NULLABLE.items():
        for name, _ in nullable:
            op.drop_column(table, name)


def _former_functions() -> list[str]:
    """The functions as the revisions before made them."""
    folder = op.get_context().script
    assert folder is not None
    text = ""
    for number in ("0002", "0003"):
        text += folder.get_revision(number).module.FUNCTIONS.strip() + "\n\n"
    names = tuple(f"CREATE FUNCTION {signature.partition('(')[0]}(" for signature in FORMER)
    return [function for function in text.strip().split("\n\n") if function.startswith(names)]

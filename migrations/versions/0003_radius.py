"""The functions that decide what RADIUS answers, for FreeRADIUS and for the embedded responder alike.

``radius_authorize`` is the one place that decides. It knows the tenant from the address of the packet, goes on under
that tenant's row-level security, and is the only place where a network password is clear, for the length of a call.
The key stands in the setting ``ispgraph.network_key`` of the connection, never in the database.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Statements are separated by empty lines.
FUNCTIONS = """
CREATE FUNCTION radius_now() RETURNS timestamptz
  LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
  -- The offset lets a drill move the time of a FreeRADIUS that runs on the real clock.
  SELECT now() + make_interval(secs =>
    COALESCE(NULLIF(current_setting('ispgraph.clock_offset', true), ''), '0')::float8)
$$;

CREATE FUNCTION radius_unseal(p_blob bytea, p_bound_to text) RETURNS text
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public AS $$
DECLARE
  key_text text := current_setting('ispgraph.network_key', true);
  key bytea;
  body bytea := substr(p_blob, 1, length(p_blob) - 32);
BEGIN
  IF key_text IS NULL OR key_text !~ '^[0-9a-f]{64}$' THEN
    RAISE EXCEPTION 'this connection has no network key' USING ERRCODE = 'invalid_password';
  END IF;
  key := decode(key_text, 'hex');
  IF length(p_blob) < 65 OR get_byte(p_blob, 0) <> 1 OR substr(p_blob, length(p_blob) - 31)
      <> hmac(body || convert_to(p_bound_to, 'UTF8'), hmac('mac'::bytea, key, 'sha256'), 'sha256') THEN
    RAISE EXCEPTION 'a sealed secret does not open with this network key' USING ERRCODE = 'invalid_password';
  END IF;
  RETURN convert_from(decrypt_iv(substr(body, 18), hmac('enc'::bytea, key, 'sha256'), substr(body, 2, 16),
                                 'aes-cbc/pad:pkcs'), 'UTF8');
END $$;

CREATE FUNCTION radius_mac(p_text text) RETURNS macaddr
  LANGUAGE sql IMMUTABLE SET search_path = pg_catalog AS $$
  -- As RouterOS may write it: 00:1A:2B:3C:4D:5E, 00-1a-2b-3c-4d-5e, 001a.2b3c.4d5e, 001A2B-3C4D5E, 001a2b3c4d5e.
  SELECT CASE WHEN hexadecimal ~ '^[0-9a-f]{12}$' THEN hexadecimal::macaddr END
    FROM (SELECT lower(regexp_replace(p_text, '[-:.]', '', 'g')) AS hexadecimal) t
$$;

CREATE FUNCTION radius_refusal(p_service text, p_customer text, p_expires_at timestamptz, p_at timestamptz)
  RETURNS text LANGUAGE sql IMMUTABLE SET search_path = pg_catalog AS $$
  SELECT CASE
    WHEN p_service = 'ACTIVE' AND p_customer = 'ACTIVE' AND (p_expires_at > p_at OR p_expires_at IS NULL) THEN NULL
    WHEN 'TERMINATED' IN (p_service, p_customer) THEN 'Account closed'
    WHEN 'SUSPENDED' IN (p_service, p_customer) THEN 'Account suspended'
    WHEN 'EXPIRED' IN (p_service, p_customer) OR p_expires_at <= p_at THEN 'Account expired'
    ELSE 'Account not active yet'
  END
$$;

CREATE FUNCTION radius_policy_rows(
    p_refusal text, p_password text, p_profile text, p_ip_address inet, p_subnet cidr, p_upload_kbps integer,
    p_download_kbps integer, p_data_quota_bytes bigint, p_time_quota_seconds integer, p_expires_at timestamptz,
    p_at timestamptz)
  RETURNS TABLE (list text, attribute text, op text, value text)
  LANGUAGE sql IMMUTABLE SET search_path = pg_catalog AS $$
  -- One value that FreeRADIUS cannot parse refuses the login, and an integer past its range wraps without a word:
  -- so every value is made here from typed ones. What RouterOS would not need is left out, not sent empty.
  SELECT t.list, t.attribute, ':=', t.value FROM (VALUES
    (1, 'check', 'Auth-Type', p_refusal IS NOT NULL, 'Reject'),
    (2, 'reply', 'Reply-Message', p_refusal IS NOT NULL, p_refusal),
    (3, 'check', 'Cleartext-Password', p_refusal IS NULL, NULLIF(p_password, '')),
    -- RouterOS: received/transmitted as the router sees it, that is upload/download.
    (4, 'reply', 'Mikrotik-Rate-Limit', p_refusal IS NULL AND p_upload_kbps > 0 AND p_download_kbps > 0,
      p_upload_kbps || 'k/' || p_download_kbps || 'k'),
    (5, 'reply', 'Session-Timeout', p_refusal IS NULL, (SELECT LEAST(GREATEST(min(seconds), 60), 2147483647)::text
      FROM (VALUES (NULLIF(floor(extract(epoch FROM p_expires_at - p_at)), 'Infinity')),
                   (p_time_quota_seconds::numeric)) q (seconds)
      HAVING min(seconds) IS NOT NULL)),
    (6, 'reply', 'Framed-IP-Address', p_refusal IS NULL AND family(p_ip_address) = 4, host(p_ip_address)),
    (7, 'reply', 'Framed-IP-Netmask', p_refusal IS NULL AND family(p_subnet) = 4, host(netmask(p_subnet))),
    (8, 'reply', 'Mikrotik-Group', p_refusal IS NULL AND octet_length(p_profile) <= 247, NULLIF(p_profile, '')),
    -- In two words of 32 bits. Recv-Limit and Xmit-Limit count one direction each and could not say a total; that
    -- RouterOS obeys Total-Limit for PPP as it does for hotspots is not proved, so usage must also be watched.
    (9, 'reply', 'Mikrotik-Total-Limit', p_refusal IS NULL AND p_data_quota_bytes > 0,
      (p_data_quota_bytes & 4294967295)::text),
    (10, 'reply', 'Mikrotik-Total-Limit-Gigawords', p_refusal IS NULL AND p_data_quota_bytes > 0,
      (p_data_quota_bytes >> 32)::text),
    (11, 'reply', 'Acct-Interim-Interval', p_refusal IS NULL, '300')
  ) t (n, list, attribute, wanted, value) WHERE t.wanted AND t.value IS NOT NULL ORDER BY t.n
$$;

CREATE FUNCTION radius_rows(p_service uuid, p_at timestamptz DEFAULT NULL)
  RETURNS TABLE (list text, attribute text, op text, value text)
  LANGUAGE sql STABLE SET search_path = pg_catalog, public AS $$
  -- What a login would meet now, for people to read: under the caller's own row-level security, and no password.
  SELECT p.list, p.attribute, p.op, p.value
    FROM services s
    JOIN customers c ON c.tenant_id = s.tenant_id AND c.id = s.customer_id
    JOIN packages k ON k.tenant_id = s.tenant_id AND k.id = s.package_id
    CROSS JOIN (SELECT COALESCE(p_at, radius_now()) AS at) t
    CROSS JOIN radius_policy_rows(
      radius_refusal(s.status, c.status, s.expires_at, t.at), '********', s.profile, s.ip_address, s.subnet,
      k.upload_kbps, k.download_kbps, k.data_quota_bytes, k.time_quota_seconds, s.expires_at, t.at) p
   WHERE s.id = p_service
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
  SELECT r.tenant_id INTO nas_tenant FROM routers r WHERE r.radius_address = p_nas AND r.radius_secret IS NOT NULL;
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
    SELECT p.list, p.attribute, p.op, p.value
      FROM customers c
      JOIN packages k ON k.tenant_id = c.tenant_id AND k.id = found.package_id
      CROSS JOIN (SELECT COALESCE(p_at, radius_now()) AS at) t
      CROSS JOIN LATERAL (SELECT radius_refusal(found.status, c.status, found.expires_at, t.at) AS reason) refusal
      CROSS JOIN LATERAL (
        SELECT * FROM radius_policy_rows(
          refusal.reason, clear, found.profile, found.ip_address, found.subnet, k.upload_kbps, k.download_kbps,
          k.data_quota_bytes, k.time_quota_seconds, found.expires_at, t.at)
        UNION ALL
        -- Acct-Session-Id comes round again after a few reboots of a router; this cookie, which it echoes in
        -- accounting, tells the sessions apart.
        SELECT 'reply', 'Class', ':=', '0x' || encode(gen_random_bytes(16), 'hex') WHERE refusal.reason IS NULL
      ) p
     WHERE c.tenant_id = found.tenant_id AND c.id = found.customer_id;
  PERFORM set_config('app.tenant_id', '', true);
END $$;

CREATE FUNCTION radius_value(p_value text) RETURNS text
  LANGUAGE sql IMMUTABLE SET search_path = pg_catalog AS $$
  -- rlm_sql unquotes a value that stands in quotes, runs one in back quotes as a program, and reads backslash escapes:
  -- a quote at the start and every backslash are written in octal, and then none of that happens.
  SELECT CASE WHEN escaped ~ '^["''`]' THEN E'\\\\' || lpad(to_oct(ascii(escaped)), 3, '0') || substr(escaped, 2)
              ELSE escaped END
    FROM (SELECT replace(p_value, E'\\\\', E'\\\\134') AS escaped) t
$$;

CREATE FUNCTION radius_check(p_username text, p_nas inet, p_calling_station text DEFAULT NULL)
  RETURNS TABLE (id bigint, username text, attribute text, value text, op text)
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, public AS $$
  SELECT row_number() OVER (), p_username, a.attribute, radius_value(a.value), a.op
    FROM radius_authorize(p_username, p_nas, p_calling_station) a WHERE a.list = 'check'
$$;

CREATE FUNCTION radius_reply(p_username text, p_nas inet, p_calling_station text DEFAULT NULL)
  RETURNS TABLE (id bigint, username text, attribute text, value text, op text)
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, public AS $$
  SELECT row_number() OVER (), p_username, a.attribute, radius_value(a.value), a.op
    FROM radius_authorize(p_username, p_nas, p_calling_station) a WHERE a.list = 'reply'
$$;

CREATE FUNCTION radius_client(p_address inet) RETURNS TABLE (shortname text, secret text, nas_identifier text)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  SELECT r.name, radius_unseal(r.radius_secret, 'router-radius:' || r.tenant_id || ':' || r.id), r.nas_identifier
    FROM routers r WHERE r.radius_address = p_address AND r.radius_secret IS NOT NULL
$$;
"""

# Who may call what. The owner's own are called by the others only.
_POLICY = (
    "radius_policy_rows(text, text, text, inet, cidr, integer, integer, bigint, integer, timestamptz, timestamptz)"
)
GRANTS = {
    "radius_client(inet)": "ispgraph_radius",
    "radius_reply(text, inet, text)": "ispgraph_radius",
    "radius_check(text, inet, text)": "ispgraph_radius",
    "radius_value(text)": "ispgraph_radius",
    "radius_authorize(text, inet, text, timestamptz)": "ispgraph_radius",
    "radius_rows(uuid, timestamptz)": "ispgraph_app",
    _POLICY: "ispgraph_app",
    "radius_refusal(text, text, timestamptz, timestamptz)": "ispgraph_app",
    "radius_mac(text)": None,
    "radius_unseal(bytea, text)": None,
    "radius_now()": "ispgraph_app",
}


def upgrade() -> None:
    for function in FUNCTIONS.strip().split("\n\n"):
        op.execute(function)
    for signature, role in GRANTS.items():
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        if role:
            op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO {role}")


def downgrade() -> None:
    for signature in GRANTS:
        op.execute(f"DROP FUNCTION {signature}")

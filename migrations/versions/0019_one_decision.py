"""What a login meets is found by one statement and decided once.

Most of the time of a login was spent getting ready: each statement, each call of a function with settings of its own
and each expression of PL/pgSQL is made ready anew in every transaction. So the rows are read by one statement (the view
`radius_lines`), the answer is one array (`radius_values`), and what only these functions call has no settings: where it
is no more than an expression, it becomes a part of what calls it.
"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

# What a login has to know of a service; under the row-level security of whoever asks.
LINES = """
CREATE VIEW radius_lines WITH (security_invoker = true) AS
SELECT s.tenant_id, s.id, s.username, s.password, s.connection_type, s.status, s.suspend_reason, s.expires_at,
       s.profile, s.ip_address, s.subnet, c.status AS customer_status, t.suspension, t.walled_address_list,
       t.walled_pool, t.walled_kbps, k.upload_kbps, k.download_kbps,
       l.service_id IS NOT NULL OR k.data_quota_bytes IS NOT NULL OR k.time_quota_seconds IS NOT NULL
         OR k.fup_reset_period IS NOT NULL AS limited,
       EXISTS (SELECT FROM service_macs m WHERE m.tenant_id = s.tenant_id AND m.service_id = s.id) AS bound
  FROM services s
  JOIN customers c ON c.tenant_id = s.tenant_id AND c.id = s.customer_id
  JOIN tenants t ON t.id = s.tenant_id
  JOIN packages k ON k.tenant_id = s.tenant_id AND k.id = s.package_id
  LEFT JOIN service_limits l ON l.tenant_id = s.tenant_id AND l.service_id = s.id"""

# Statements are separated by empty lines.
FUNCTIONS = """
CREATE FUNCTION radius_attributes() RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
  -- What may stand in an answer, in the order of radius_values; the first two are for the server alone.
  SELECT ARRAY['Auth-Type', 'Cleartext-Password', 'Reply-Message', 'Mikrotik-Rate-Limit', 'Session-Timeout',
               'Framed-IP-Address', 'Framed-IP-Netmask', 'Mikrotik-Group', 'Mikrotik-Address-List', 'Framed-Pool',
               'Mikrotik-Total-Limit', 'Mikrotik-Total-Limit-Gigawords', 'Acct-Interim-Interval', 'Class']
$$;

CREATE FUNCTION radius_values(
    p_refusal text, p_password text, p_profile text, p_ip_address inet, p_subnet cidr, p_upload_kbps integer,
    p_download_kbps integer, p_data_quota_bytes bigint, p_time_quota_seconds integer, p_expires_at timestamptz,
    p_at timestamptz, p_wall_list text, p_wall_pool text, p_wall_kbps integer)
  RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
  -- One value that FreeRADIUS cannot parse refuses the login, and an integer past its range wraps without a word:
  -- so every value is made here from typed ones. What RouterOS would not need is left out, not sent empty.
  -- With a wall, whoever would be refused is let in, slowly, into its address list.
  SELECT CASE WHEN p_refusal IS NOT NULL AND p_wall_list IS NULL THEN ARRAY['Reject', NULL, p_refusal] ELSE ARRAY[
    NULL,
    NULLIF(p_password, ''),
    p_refusal,
    -- RouterOS: received/transmitted as the router sees it, that is upload/download.
    CASE WHEN p_refusal IS NOT NULL THEN p_wall_kbps::text || 'k/' || p_wall_kbps::text || 'k'
         WHEN p_upload_kbps > 0 AND p_download_kbps > 0
         THEN p_upload_kbps::text || 'k/' || p_download_kbps::text || 'k' END,
    CASE WHEN p_refusal IS NULL AND (p_expires_at < 'infinity' OR p_time_quota_seconds IS NOT NULL) THEN
      GREATEST(LEAST(floor(extract(epoch FROM p_expires_at - p_at)), p_time_quota_seconds, 2147483647), 60)::text END,
    CASE WHEN (p_refusal IS NULL OR p_wall_pool IS NULL) AND family(p_ip_address) = 4 THEN host(p_ip_address) END,
    CASE WHEN (p_refusal IS NULL OR p_wall_pool IS NULL) AND family(p_subnet) = 4 THEN host(netmask(p_subnet)) END,
    CASE WHEN p_refusal IS NULL AND octet_length(p_profile) <= 247 THEN NULLIF(p_profile, '') END,
    CASE WHEN p_refusal IS NOT NULL THEN p_wall_list END,
    CASE WHEN p_refusal IS NOT NULL THEN p_wall_pool END,
    -- In two words of 32 bits. Recv-Limit and Xmit-Limit count one direction each and could not say a total; that
    -- RouterOS obeys Total-Limit for PPP as it does for hotspots is not proved, so usage must also be watched.
    CASE WHEN p_refusal IS NULL AND p_data_quota_bytes > 0 THEN (p_data_quota_bytes & 4294967295)::text END,
    CASE WHEN p_refusal IS NULL AND p_data_quota_bytes > 0 THEN (p_data_quota_bytes >> 32)::text END,
    '300'] END
$$;

CREATE FUNCTION radius_listed(p_values text[])
  RETURNS TABLE (list text, attribute text, op text, value text)
  LANGUAGE sql IMMUTABLE AS $$
  -- Without a search path of its own, so that it becomes a part of the statement that calls it.
  SELECT CASE WHEN v.n <= 2 THEN 'check' ELSE 'reply' END, (radius_attributes())[v.n], ':=', v.value
    FROM unnest(p_values) WITH ORDINALITY v (value, n) WHERE v.value IS NOT NULL
$$;

CREATE FUNCTION radius_decision(p_line radius_lines, p_clear text, p_at timestamptz) RETURNS text[]
  LANGUAGE plpgsql STABLE AS $$
DECLARE
  n record;
  reason text := radius_refusal(p_line.status, p_line.customer_status, p_line.expires_at, p_at);
BEGIN
  -- The one place that decides. What is left is only asked where there is a limit, on behalf of the tenant at hand.
  IF reason IS NOT NULL THEN
    RETURN radius_values(
      reason, p_clear, p_line.profile, p_line.ip_address, p_line.subnet, NULL, NULL, NULL, NULL, NULL, p_at,
      CASE WHEN radius_is_walled(p_line.suspension, p_line.status, p_line.customer_status, p_line.suspend_reason,
             p_line.expires_at, p_at) THEN p_line.walled_address_list END,
      p_line.walled_pool, p_line.walled_kbps);
  ELSIF p_line.limited THEN
    SELECT s.barred, s.upload_kbps, s.download_kbps, s.octets_left, s.seconds_left INTO n
      FROM service_standing(p_line.id, p_at) s;
    RETURN radius_values(
      n.barred, p_clear, p_line.profile, p_line.ip_address, p_line.subnet, n.upload_kbps, n.download_kbps,
      n.octets_left, LEAST(n.seconds_left, 2147483647)::integer, p_line.expires_at, p_at, NULL, NULL, NULL);
  END IF;
  RETURN radius_values(
    NULL, p_clear, p_line.profile, p_line.ip_address, p_line.subnet, p_line.upload_kbps, p_line.download_kbps, NULL,
    NULL, p_line.expires_at, p_at, NULL, NULL, NULL);
END $$;

CREATE FUNCTION radius_answer(p_username text, p_nas inet, p_calling_station text, p_at timestamptz) RETURNS text[]
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
-- What a login from the router at p_nas meets, in the order of radius_attributes; NULL: nobody is known by that name.
DECLARE
  line radius_lines;
  clear text := p_username;
  device macaddr;
  welcome boolean;
  told text[];
BEGIN
  -- A router that keeps its users itself has no business here: were both to answer, a refusal here would not count.
  SELECT s.* INTO line
    FROM routers r JOIN radius_lines s ON s.tenant_id = r.tenant_id AND s.username = lower(p_username)
   WHERE r.radius_address = p_nas AND r.radius_secret IS NOT NULL AND r.mode = 'RADIUS';
  IF FOUND THEN
    clear := radius_unseal(line.password, 'service:' || line.tenant_id || ':' || line.id);
    IF line.bound THEN
      -- Only its devices may; one that does not say its address is none of them.
      device := radius_mac(p_calling_station);
      welcome := EXISTS (SELECT FROM service_macs m
                          WHERE m.tenant_id = line.tenant_id AND m.service_id = line.id AND m.mac = device);
    END IF;
  ELSE
    -- A hotspot device that logs in by itself (mac-as-username-and-password). The station must be that device:
    -- a neighbour's address, typed on the login page, is not a key.
    device := radius_mac(p_username);
    SELECT s.* INTO line
      FROM routers r
      JOIN service_macs m ON m.tenant_id = r.tenant_id AND m.mac = device
      JOIN radius_lines s ON s.tenant_id = m.tenant_id AND s.id = m.service_id AND s.connection_type = 'HOTSPOT'
     WHERE r.radius_address = p_nas AND r.radius_secret IS NOT NULL AND r.mode = 'RADIUS'
       AND COALESCE(radius_mac(p_calling_station), device) = device;
    IF NOT FOUND THEN
      RETURN NULL;
    END IF;
  END IF;
  IF line.limited THEN
    PERFORM set_config('app.tenant_id', line.tenant_id::text, true);
  END IF;
  told := radius_decision(line, clear, COALESCE(p_at, radius_now()));
  IF line.limited THEN
    PERFORM set_config('app.tenant_id', '', true);
  END IF;
  IF welcome IS FALSE THEN
    -- Whoever would be refused anyway hears why: that is not for the device to solve.
    told := ARRAY['Reject', NULL,
                  CASE WHEN told[1] IS NULL THEN 'This account is bound to another device' ELSE told[3] END];
  ELSIF told[2] IS NOT NULL THEN
    -- Acct-Session-Id comes round again after a few reboots of a router. This cookie, which it echoes in accounting,
    -- tells the sessions apart, and tells what each was let in with.
    told[14] := '0x' || radius_policy(radius_attributes(), told) || encode(gen_random_bytes(8), 'hex');
  END IF;
  RETURN told;
END $$;
"""

GRANTS = {
    "radius_attributes()": "ispgraph_app, ispgraph_radius",
    "radius_values(text, text, text, inet, cidr, integer, integer, bigint, integer, timestamptz, timestamptz, text, "
    "text, integer)": "ispgraph_app",
    "radius_listed(text[])": "ispgraph_app, ispgraph_radius",
    "radius_decision(radius_lines, text, timestamptz)": "ispgraph_app",
    "radius_answer(text, inet, text, timestamptz)": "ispgraph_radius",
}

REPLACED = """
CREATE OR REPLACE FUNCTION radius_policy_rows(
    p_refusal text, p_password text, p_profile text, p_ip_address inet, p_subnet cidr, p_upload_kbps integer,
    p_download_kbps integer, p_data_quota_bytes bigint, p_time_quota_seconds integer, p_expires_at timestamptz,
    p_at timestamptz, p_wall_list text DEFAULT NULL, p_wall_pool text DEFAULT NULL, p_wall_kbps integer DEFAULT NULL)
  RETURNS TABLE (list text, attribute text, op text, value text)
  LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, public AS $$
BEGIN
  RETURN QUERY SELECT r.* FROM radius_listed(radius_values(
    p_refusal, p_password, p_profile, p_ip_address, p_subnet, p_upload_kbps, p_download_kbps, p_data_quota_bytes,
    p_time_quota_seconds, p_expires_at, p_at, p_wall_list, p_wall_pool, p_wall_kbps)) r;
END $$;

CREATE OR REPLACE FUNCTION radius_rows(p_service uuid, p_at timestamptz DEFAULT NULL)
  RETURNS TABLE (list text, attribute text, op text, value text)
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public AS $$
DECLARE
  line radius_lines;
BEGIN
  -- What a login would meet now, for people to read: under the caller's own row-level security, and no password.
  SELECT s.* INTO line FROM radius_lines s WHERE s.id = p_service;
  IF FOUND THEN
    RETURN QUERY SELECT r.* FROM radius_listed(radius_decision(line, '********', COALESCE(p_at, radius_now()))) r;
  END IF;
END $$;

CREATE OR REPLACE FUNCTION radius_policy(p_attributes text[], p_values text[]) RETURNS text
  LANGUAGE sql IMMUTABLE AS $$
  -- 24 hexadecimal digits: 16 of what a session keeps as long as it lasts, then 8 of its rate, which can be changed.
  SELECT left(md5(substr(
           COALESCE(E'\\nAuth-Type=' || p_values[array_position(p_attributes, 'Auth-Type')], '')
           || COALESCE(E'\\nFramed-IP-Address=' || p_values[array_position(p_attributes, 'Framed-IP-Address')], '')
           || COALESCE(E'\\nFramed-IP-Netmask=' || p_values[array_position(p_attributes, 'Framed-IP-Netmask')], '')
           || COALESCE(E'\\nFramed-Pool=' || p_values[array_position(p_attributes, 'Framed-Pool')], '')
           || COALESCE(E'\\nMikrotik-Address-List='
                || p_values[array_position(p_attributes, 'Mikrotik-Address-List')], '')
           || COALESCE(E'\\nMikrotik-Group=' || p_values[array_position(p_attributes, 'Mikrotik-Group')], ''), 2)), 16)
      || left(md5(COALESCE(p_values[array_position(p_attributes, 'Mikrotik-Rate-Limit')], '')), 8)
$$;

CREATE OR REPLACE FUNCTION radius_now() RETURNS timestamptz LANGUAGE sql STABLE AS $$
  -- The offset lets a drill move the time of a FreeRADIUS that runs on the real clock.
  SELECT now() + make_interval(secs =>
    COALESCE(NULLIF(current_setting('ispgraph.clock_offset', true), ''), '0')::float8)
$$;

CREATE OR REPLACE FUNCTION radius_mac(p_text text) RETURNS macaddr LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  -- As RouterOS may write it: 00:1A:2B:3C:4D:5E, 00-1a-2b-3c-4d-5e, 001a.2b3c.4d5e, 001A2B-3C4D5E, 001a2b3c4d5e.
  hexadecimal text := translate(lower(p_text), '-:.', '');
BEGIN
  RETURN CASE WHEN length(hexadecimal) = 12 AND translate(hexadecimal, '0123456789abcdef', '') = ''
              THEN hexadecimal::macaddr END;
END $$;

CREATE OR REPLACE FUNCTION radius_unseal(p_blob bytea, p_bound_to text) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
  digits text := current_setting('ispgraph.network_key', true);
  key bytea;
BEGIN
  -- A regular expression would take longer to look at the key than it takes to open the blob.
  IF (length(digits) = 64 AND translate(digits, '0123456789abcdef', '') = '') IS NOT TRUE THEN
    RAISE EXCEPTION 'this connection has no network key' USING ERRCODE = 'invalid_password';
  END IF;
  key := decode(digits, 'hex');
  IF length(p_blob) < 65 OR get_byte(p_blob, 0) <> 1 OR substr(p_blob, length(p_blob) - 31)
      <> public.hmac(substr(p_blob, 1, length(p_blob) - 32) || convert_to(p_bound_to, 'UTF8'),
                     public.hmac('mac'::bytea, key, 'sha256'), 'sha256') THEN
    RAISE EXCEPTION 'a sealed secret does not open with this network key' USING ERRCODE = 'invalid_password';
  END IF;
  RETURN convert_from(public.decrypt_iv(substr(p_blob, 18, length(p_blob) - 49),
                                        public.hmac('enc'::bytea, key, 'sha256'), substr(p_blob, 2, 16),
                                        'aes-cbc/pad:pkcs'), 'UTF8');
END $$;

CREATE OR REPLACE FUNCTION radius_value(p_value text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  -- rlm_sql unquotes a value that stands in quotes, runs one in back quotes as a program, and reads backslash escapes:
  -- a quote at the start and every backslash are written in octal, and then none of that happens.
  -- Without a search path of its own, so that it becomes a part of the statement that calls it.
  SELECT CASE WHEN left(p_value, 1) IN ('"', '''', '`')
              THEN E'\\\\' || lpad(to_oct(ascii(p_value)), 3, '0')
                   || replace(substr(p_value, 2), E'\\\\', E'\\\\134')
              ELSE replace(p_value, E'\\\\', E'\\\\134') END
$$;

CREATE OR REPLACE FUNCTION radius_authorize(
    p_username text, p_nas inet, p_calling_station text DEFAULT NULL, p_at timestamptz DEFAULT NULL)
  RETURNS TABLE (list text, attribute text, op text, value text)
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, public AS $$
DECLARE
  told text[] := radius_answer(p_username, p_nas, p_calling_station, p_at);
BEGIN
  RETURN QUERY SELECT r.* FROM radius_listed(told) r;
END $$;
"""

# Where the former texts of those functions stand, to be made again.
_FORMER = {
    "radius_policy_rows": "0005",
    "radius_rows": "0005",
    "radius_policy": "0010",
    "radius_now": "0010",
    "radius_mac": "0010",
    "radius_unseal": "0003",
    "radius_value": "0010",
    "radius_authorize": "0010",
}
_DECIDED = "radius_decided(services, text, timestamptz)"
# The functions above name the tenant of each row, as of the tables that they read before.
_LOOKED_UP = ("packages", "service_limits")


# Of a batch each packet was compared with the key of every other, for the settings of that function leave no other way
# to join the two lists; and all were parted into quarters of an hour once more to be added to their days.
_BATCH = [
    ("k.key, p.session_time AS seconds,", "p.key, p.session_time AS seconds,"),
    (
        "p_output_gigawords, p_delay, p_event, p_at) WITH ORDINALITY p (",
        "p_output_gigawords, p_delay, p_event, p_at, keys) WITH ORDINALITY p (",
    ),
    (
        "delay, event, received, n)\n        JOIN unnest(keys) WITH ORDINALITY k (key, n) ON k.n = p.n\n",
        "delay, event, received, key, n)\n",
    ),
    (
        """
    SELECT tenant, t.service, (q.starts_at AT TIME ZONE zone)::date AS day, t.customer, sum(q.input_octets),
           sum(q.output_octets), sum(q.seconds)
      FROM unnest(of_service, of_customer, since, happened, input, output, seconds) t (
             service, customer, since, at, input, output, seconds),
           usage_pieces(t.since, t.at, t.input, t.output, t.seconds) q
     WHERE t.service IS NOT NULL
     GROUP BY t.service, t.customer, day ORDER BY t.service, day
""",
        """
    SELECT tenant, t.service, q.day, t.customer, sum(q.input_octets), sum(q.output_octets), sum(q.seconds)
      FROM unnest(of_service, of_customer, since, happened, input, output, seconds) t (
             service, customer, since, at, input, output, seconds),
           LATERAL (
             SELECT (date_bin('15 min', t.since, timestamptz '2000-01-01 00:00Z') AT TIME ZONE zone)::date,
                    (date_bin('15 min', t.at - interval '1 microsecond', timestamptz '2000-01-01 00:00Z')
                      AT TIME ZONE zone)::date) d (first, last),
           LATERAL (
             SELECT d.first AS day, t.input AS input_octets, t.output AS output_octets, t.seconds
              WHERE d.first = d.last
              UNION ALL
             SELECT (p.starts_at AT TIME ZONE zone)::date, p.input_octets, p.output_octets, p.seconds
               FROM usage_pieces(t.since, t.at, t.input, t.output, t.seconds) p WHERE d.first <> d.last) q
     WHERE t.service IS NOT NULL
     GROUP BY t.service, t.customer, q.day ORDER BY t.service, q.day
""",
    ),
]
# In percent. A batch writes every row of a page once before a version of it may go: there is room for one of each.
_ROOM, _FORMER_ROOM = 50, 70


def upgrade() -> None:
    op.execute(f"ALTER TABLE usage_buckets SET (fillfactor = {_ROOM})")
    batch = _former_batch()
    for former, latter in _BATCH:
        assert batch.count(former) == 1, former
        batch = batch.replace(former, latter)
    op.execute(batch)
    op.execute(LINES)
    op.execute("GRANT SELECT ON radius_lines TO ispgraph_app")
    for table in _LOOKED_UP:
        op.execute(f"CREATE POLICY owner_lookup ON {table} FOR SELECT TO ispgraph_owner USING (true)")
    for function in (FUNCTIONS + REPLACED).strip().split("\n\n"):
        op.execute(function)
    for signature, role in GRANTS.items():
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO {role}")
    op.execute(f"DROP FUNCTION {_DECIDED}")


def downgrade() -> None:
    op.execute(f"ALTER TABLE usage_buckets SET (fillfactor = {_FORMER_ROOM})")
    op.execute(_former_batch())
    op.execute(_made_by("0008", "radius_decided"))
    op.execute(f"REVOKE ALL ON FUNCTION {_DECIDED} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {_DECIDED} TO ispgraph_app")
    for name, revision_ in _FORMER.items():
        op.execute(_made_by(revision_, name))
    for signature in reversed(GRANTS):
        op.execute(f"DROP FUNCTION {signature}")
    for table in _LOOKED_UP:
        op.execute(f"DROP POLICY owner_lookup ON {table}")
    op.execute("DROP VIEW radius_lines")


def _made_by(revision_: str, name: str) -> str:
    """A function as an earlier revision made it, to be made in its place."""
    folder = op.get_context().script
    assert folder is not None
    module = folder.get_revision(revision_).module
    texts = "\n\n".join(getattr(module, part, "").strip() for part in ("FUNCTIONS", "PLANNED", "DECIDED"))
    (made,) = [text for text in texts.split("\n\n") if f" FUNCTION {name}(" in text.split("\n", 1)[0]]
    return made.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1)


def _former_batch() -> str:
    """`radius_accounting_batch` as the revision 0011 made it of that of 0007."""
    folder = op.get_context().script
    assert folder is not None
    module, name = folder.get_revision("0011").module, "radius_accounting_batch"
    made: str = module._changed(module._former("0007", name), module.CHANGES["0007", name])
    return made

"""Accounting writes the sessions: one function call for each packet, from FreeRADIUS and the embedded responder alike.

Packets come late, twice, in any order, or never. A session therefore only ever grows: what is older than what is known
of it is acknowledged and changes nothing.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# Statements are separated by empty lines.
FUNCTIONS = """
CREATE FUNCTION radius_text(p_octets text) RETURNS text
  LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog AS $$
BEGIN
  -- Text in hexadecimal digits, as FreeRADIUS hands on what may be anything. What is not text is empty.
  RETURN convert_from(decode(p_octets, 'hex'), 'UTF8');
EXCEPTION WHEN character_not_in_repertoire THEN
  RETURN '';
END $$;

CREATE FUNCTION radius_terminate_cause(p_number bigint) RETURNS text
  LANGUAGE sql IMMUTABLE SET search_path = pg_catalog AS $$
  -- RFC 2866 section 5.10, as FreeRADIUS writes them.
  SELECT COALESCE((ARRAY[
    'User-Request', 'Lost-Carrier', 'Lost-Service', 'Idle-Timeout', 'Session-Timeout', 'Admin-Reset', 'Admin-Reboot',
    'Port-Error', 'NAS-Error', 'NAS-Request', 'NAS-Reboot', 'Port-Unneeded', 'Port-Preempted', 'Port-Suspended',
    'Service-Unavailable', 'Callback', 'User-Error', 'Host-Request'])[LEAST(p_number, 100)::integer],
    p_number::text)
$$;

CREATE FUNCTION radius_accounting(
    p_username text, p_nas inet, p_status bigint, p_session_id text, p_class text DEFAULT NULL,
    p_session_time bigint DEFAULT NULL, p_input_octets bigint DEFAULT NULL, p_input_gigawords bigint DEFAULT NULL,
    p_output_octets bigint DEFAULT NULL, p_output_gigawords bigint DEFAULT NULL, p_ip_address inet DEFAULT NULL,
    p_calling_station text DEFAULT NULL, p_nas_address inet DEFAULT NULL, p_service_type bigint DEFAULT NULL,
    p_port_type bigint DEFAULT NULL, p_delay bigint DEFAULT NULL, p_event timestamptz DEFAULT NULL,
    p_terminate_cause bigint DEFAULT NULL, p_at timestamptz DEFAULT NULL)
  RETURNS boolean
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
-- One Accounting-Request from the address p_nas; the class in hexadecimal digits. True when it may be acknowledged.
DECLARE
  c_start CONSTANT integer := 1;
  c_stop CONSTANT integer := 2;
  c_interim CONSTANT integer := 3;
  received timestamptz := COALESCE(p_at, radius_now());
  happened timestamptz := received - make_interval(secs => LEAST(COALESCE(p_delay, 0), 86400));
  router uuid;
  tenant uuid;
  seen timestamptz;
  cookie text := NULLIF(lower(p_class), '');
  key text;
  device macaddr := radius_mac(p_calling_station);
  told_input bigint := p_input_octets + (LEAST(COALESCE(p_input_gigawords, 0), 1048575) << 32);
  told_output bigint := p_output_octets + (LEAST(COALESCE(p_output_gigawords, 0), 1048575) << 32);
  known sessions;
  line services;
  locked boolean := false;
  created boolean := false;
  reset_input boolean;
  reset_output boolean;
  seconds integer;
  more_seconds integer;
  more_input bigint;
  more_output bigint;
BEGIN
  SELECT r.id, r.tenant_id, r.accounting_last_seen_at INTO router, tenant, seen
    FROM routers r WHERE r.radius_address = p_nas AND r.radius_secret IS NOT NULL;
  IF router IS NULL OR p_status IS NULL THEN
    RETURN false;
  END IF;
  PERFORM set_config('app.tenant_id', tenant::text, true);
  -- A router that has just started may think that it is 1970.
  IF p_event BETWEEN happened - interval '300 s' AND happened + interval '300 s' THEN
    happened := LEAST(p_event, received);
  END IF;
  IF p_status IN (c_start, c_stop, c_interim) THEN
    key := radius_session_key(router, p_session_id, cookie);
    -- Looked for a second time behind a lock, when it is not there: so no two packets make it both.
    LOOP
      IF cookie IS NOT NULL THEN
        SELECT s.* INTO known FROM sessions s
         WHERE s.tenant_id = tenant AND s.unique_id = key FOR NO KEY UPDATE;
      ELSE
        SELECT s.* INTO known FROM sessions s
         WHERE s.tenant_id = tenant AND s.router_id = router AND s.acct_session_id = p_session_id AND s.class IS NULL
           AND lower(s.username) = lower(p_username)
         ORDER BY s.started_at DESC, s.id DESC LIMIT 1 FOR NO KEY UPDATE;
        -- Numbers of sessions come round again; a Start that is only late is older than the end.
        IF p_status = c_start AND known.stopped_at < happened THEN
          known := NULL;
        END IF;
      END IF;
      EXIT WHEN known.id IS NOT NULL OR locked;
      PERFORM pg_advisory_xact_lock(hashtextextended(router::text || lower(p_username), 0));
      locked := true;
    END LOOP;
    seconds := LEAST(2147483647, GREATEST(0, COALESCE(
      p_session_time, extract(epoch FROM happened - known.started_at)::bigint, 0)));
    IF known.id IS NULL THEN
      SELECT s.* INTO line FROM services s WHERE s.tenant_id = tenant AND s.username = lower(p_username);
      IF line.id IS NULL THEN
        SELECT s.* INTO line FROM service_macs m JOIN services s ON s.tenant_id = m.tenant_id AND s.id = m.service_id
         WHERE m.tenant_id = tenant AND m.mac = radius_mac(p_username) AND s.connection_type = 'HOTSPOT';
      END IF;
      known.started_at := happened - make_interval(secs => seconds);
      -- Empty: what this packet tells is added below, as that of any other.
      INSERT INTO sessions (
        id, tenant_id, customer_id, service_id, router_id, acct_session_id, unique_id, class, policy, rate, username,
        connection_type, state, started_at, updated_at, duration_seconds, input_octets, output_octets, input_base,
        output_base, ip_address, mac_address, nas_address)
      VALUES (
        uuid_of(received), tenant, line.customer_id, line.id, router, p_session_id,
        COALESCE(key, radius_session_key(
          router, p_session_id, lower(p_username) || ' ' || extract(epoch FROM known.started_at))),
        cookie, CASE WHEN length(cookie) = 40 THEN left(cookie, 16) END,
        CASE WHEN length(cookie) = 40 THEN substr(cookie, 17, 8) END, p_username,
        CASE WHEN p_service_type = 2 AND p_port_type = 15 THEN 'PPPOE'
             WHEN p_service_type = 1 OR p_port_type = 19 THEN 'HOTSPOT'
             ELSE COALESCE(line.connection_type, 'OTHER') END,
        'OPEN', known.started_at, happened, 0, 0, 0, 0, 0, p_ip_address, device, COALESCE(p_nas_address, p_nas))
      RETURNING * INTO known;
      created := true;
      -- The same device has dialled again: it must have lost the session before, and its Stop is lost too.
      IF p_status <> c_stop THEN
        UPDATE sessions s SET state = 'STALE', stopped_at = s.updated_at, terminate_cause = 'Lost-Carrier'
         WHERE s.tenant_id = tenant AND s.router_id = router AND s.mac_address = device AND s.stopped_at IS NULL
           AND lower(s.username) = lower(p_username) AND s.started_at <= known.started_at AND s.id <> known.id;
      END IF;
    END IF;
    -- The one place that says what is new in a packet. Octets that fall while the time goes on are a counter that
    -- began again at zero: what it showed before stays, as the base.
    more_seconds := GREATEST(seconds - known.duration_seconds, 0);
    reset_input := more_seconds > 0 AND told_input < known.input_octets - known.input_base;
    reset_output := more_seconds > 0 AND told_output < known.output_octets - known.output_base;
    more_input := CASE WHEN reset_input THEN told_input
                       ELSE GREATEST(told_input - (known.input_octets - known.input_base), 0) END;
    more_output := CASE WHEN reset_output THEN told_output
                        ELSE GREATEST(told_output - (known.output_octets - known.output_base), 0) END;
    -- An end that was told is final, one that was only supposed is not.
    IF (CASE WHEN p_status = c_start THEN false
             WHEN known.state = 'STOPPED' THEN p_status = c_stop AND more_seconds > 0
             WHEN p_status = c_stop OR more_seconds > 0 THEN true
             ELSE known.state = 'OPEN' AND seconds = known.duration_seconds AND more_input + more_output > 0 END) THEN
      created := created OR known.state = 'STALE';
      UPDATE sessions s SET
             state = CASE WHEN p_status = c_stop THEN 'STOPPED' ELSE 'OPEN' END,
             stopped_at = CASE WHEN p_status = c_stop THEN GREATEST(happened, s.started_at) END,
             terminate_cause = CASE WHEN p_status = c_stop THEN radius_terminate_cause(p_terminate_cause) END,
             updated_at = GREATEST(s.updated_at, happened),
             duration_seconds = s.duration_seconds + more_seconds,
             input_octets = s.input_octets + more_input,
             output_octets = s.output_octets + more_output,
             input_base = CASE WHEN reset_input THEN s.input_octets ELSE s.input_base END,
             output_base = CASE WHEN reset_output THEN s.output_octets ELSE s.output_base END,
             ip_address = COALESCE(p_ip_address, s.ip_address)
       WHERE s.tenant_id = tenant AND s.id = known.id;
    END IF;
    -- The one place that notices a session that was let in with what is no longer right.
    IF created AND p_status <> c_stop AND known.service_id IS NOT NULL
       AND known.policy || known.rate <> radius_policy_of(known.service_id, received) THEN
      PERFORM network_session_differs(tenant, known.service_id, router, received);
    END IF;
  ELSIF p_status IN (7, 8) THEN
    -- Accounting-On and -Off, which may come late as well: what has begun since lives on.
    UPDATE sessions s SET state = 'STOPPED', stopped_at = s.updated_at, terminate_cause = 'NAS-Reboot'
     WHERE s.tenant_id = tenant AND s.router_id = router AND s.stopped_at IS NULL AND s.started_at < happened;
  END IF;
  IF seen IS NULL OR seen NOT BETWEEN received - interval '30 s' AND received + interval '30 s' THEN
    -- Packets never wait for whoever holds the row of the router.
    UPDATE routers r SET accounting_last_seen_at = received WHERE r.id = (
      SELECT o.id FROM routers o
       WHERE o.tenant_id = tenant AND o.id = router AND o.accounting_last_seen_at IS NOT DISTINCT FROM seen
         FOR NO KEY UPDATE SKIP LOCKED);
  END IF;
  PERFORM set_config('app.tenant_id', '', true);
  RETURN true;
END $$;

CREATE FUNCTION radius_session_key(p_router uuid, p_session_id text, p_rest text) RETURNS text
  LANGUAGE sql IMMUTABLE SET search_path = pg_catalog AS $$
  SELECT encode(sha256(convert_to(p_router || ' ' || p_rest || ' ' || p_session_id, 'UTF8')), 'hex')
$$;

CREATE FUNCTION radius_session_gone(p_session uuid, p_at timestamptz) RETURNS boolean
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
BEGIN
  -- The router said at p_at that it has no such session of the tenant at hand. False when there is nothing to close:
  -- it is closed, or accounting has told of it since.
  UPDATE sessions s SET state = 'STALE', stopped_at = s.updated_at, terminate_cause = 'Lost-Carrier'
   WHERE s.tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid AND s.id = p_session
     AND s.stopped_at IS NULL AND s.updated_at <= p_at;
  RETURN FOUND;
END $$;
"""

_ACCOUNTING = (
    "radius_accounting(text, inet, bigint, text, text, bigint, bigint, bigint, bigint, bigint, inet, text, inet, "
    "bigint, bigint, bigint, timestamptz, bigint, timestamptz)"
)
GRANTS = {
    _ACCOUNTING: "ispgraph_radius",
    "radius_text(text)": "ispgraph_radius",
    "radius_session_gone(uuid, timestamptz)": "ispgraph_app",
    "radius_session_key(uuid, text, text)": None,
    "radius_terminate_cause(bigint)": None,
}

OPEN = sa.text("stopped_at IS NULL")
INDEXES = {
    "ix_sessions_service_open": (["tenant_id", "service_id"], OPEN),
    "ix_sessions_router_open": (["tenant_id", "router_id", "mac_address"], OPEN),
    "ix_sessions_classless": (["tenant_id", "router_id", "acct_session_id", "started_at"], sa.text("class IS NULL")),
}


def upgrade() -> None:
    for name, kind in (("class", sa.Text()), ("policy", sa.String(16)), ("rate", sa.String(8))):
        op.add_column("sessions", sa.Column(name, kind, nullable=True))
    for name in ("input_base", "output_base"):
        op.add_column("sessions", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    for name, (columns, where) in INDEXES.items():
        op.create_index(name, "sessions", columns, postgresql_where=where)
    op.execute("GRANT UPDATE (rate) ON sessions TO ispgraph_app")
    for function in FUNCTIONS.strip().split("\n\n"):
        op.execute(function)
    for signature, role in GRANTS.items():
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        if role:
            op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO {role}")


def downgrade() -> None:
    for signature in GRANTS:
        op.execute(f"DROP FUNCTION {signature}")
    for name in INDEXES:
        op.drop_index(name, "sessions")
    for name in ("class", "policy", "rate", "input_base", "output_base"):
        op.drop_column("sessions", name)

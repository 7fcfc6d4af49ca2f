"""Usage follows from accounting: what each packet adds is spread over the time since the packet before it.

A quarter of an hour of UTC belongs wholly to one day of any zone of this century, so days are sums of quarters.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

CURRENT_TENANT = "(SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)"
_INSTANT = postgresql.TIMESTAMP(timezone=True)

# Statements are separated by empty lines.
FUNCTIONS = """
CREATE FUNCTION usage_pieces(
    p_since timestamptz, p_until timestamptz, p_input bigint, p_output bigint, p_seconds bigint)
  RETURNS TABLE (starts_at timestamptz, input_octets bigint, output_octets bigint, seconds bigint)
  LANGUAGE sql IMMUTABLE AS $$
  -- Without a search path of its own, so that it becomes a part of the statement that calls it.
  -- What came about evenly from p_since to p_until, by quarters of an hour. A piece is what had come about at its end
  -- less what had at its beginning, both rounded down: so the sums are exact over any run of quarters.
  SELECT q.at, (div(p_input * q.ends, q.whole) - div(p_input * q.begins, q.whole))::bigint,
         (div(p_output * q.ends, q.whole) - div(p_output * q.begins, q.whole))::bigint,
         (div(p_seconds * q.ends, q.whole) - div(p_seconds * q.begins, q.whole))::bigint
    FROM (SELECT b.at, extract(epoch FROM p_until - p_since) AS whole,
                 GREATEST(extract(epoch FROM b.at - p_since), 0) AS begins,
                 LEAST(extract(epoch FROM b.at + interval '15 min' - p_since), extract(epoch FROM p_until - p_since))
                   AS ends
            FROM generate_series(date_bin('15 min', p_since, timestamptz '2000-01-01 00:00Z'),
                                 p_until - interval '1 microsecond', interval '15 min') b (at)) q
$$;

CREATE FUNCTION usage_doubt(
    p_since timestamptz, p_until timestamptz, p_seconds bigint, p_input bigint, p_output bigint) RETURNS text
  LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog AS $$
-- Why what a packet adds cannot be: NULL when it can. Faster than the customer's line may be a burst, or a limit that
-- the router does not know of; faster than 100 Gbit/s, no port of such a router is. And nobody keeps silent for three
-- months and then knows.
DECLARE
  passed bigint := GREATEST(extract(epoch FROM p_until - p_since), 0);
BEGIN
  IF passed > 92 * 86400 THEN
    RETURN 'LONG';
  -- A packet that was kept may be taken to be older than it is, by a day at most.
  ELSIF p_seconds > passed + 86400 THEN
    RETURN 'CLOCK';
  ELSIF GREATEST(p_input, p_output) > 12500000000 * GREATEST(passed, p_seconds, 1) THEN
    RETURN 'RATE';
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION usage_spread(
    p_tenant uuid, p_zone text, p_service uuid, p_customer uuid, p_since timestamptz, p_until timestamptz,
    p_input bigint, p_output bigint, p_seconds bigint) RETURNS void
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, public SET plan_cache_mode = force_generic_plan AS $$
-- Any number of quarters, as after a silence.
-- To plan for the pieces at hand, which is what PostgreSQL would do with each packet, takes longer than to add them.
BEGIN
  INSERT INTO usage_buckets AS u (tenant_id, service_id, starts_at, customer_id, input_octets, output_octets, seconds)
  SELECT p_tenant, p_service, p.starts_at, p_customer, p.input_octets, p.output_octets, p.seconds
    FROM usage_pieces(p_since, p_until, p_input, p_output, p_seconds) p
   ORDER BY p.starts_at
  ON CONFLICT (tenant_id, service_id, starts_at) DO UPDATE SET
         input_octets = u.input_octets + excluded.input_octets,
         output_octets = u.output_octets + excluded.output_octets,
         seconds = LEAST(u.seconds::bigint + excluded.seconds, 2147483647);
  INSERT INTO usage_days AS u (tenant_id, service_id, day, customer_id, input_octets, output_octets, seconds)
  SELECT p_tenant, p_service, (p.starts_at AT TIME ZONE p_zone)::date AS day, p_customer, sum(p.input_octets),
         sum(p.output_octets), sum(p.seconds)
    FROM usage_pieces(p_since, p_until, p_input, p_output, p_seconds) p
   GROUP BY day ORDER BY day
  ON CONFLICT (tenant_id, service_id, day) DO UPDATE SET
         input_octets = u.input_octets + excluded.input_octets,
         output_octets = u.output_octets + excluded.output_octets,
         seconds = LEAST(u.seconds::bigint + excluded.seconds, 2147483647);
END $$;

CREATE FUNCTION usage_add(
    p_tenant uuid, p_zone text, p_service uuid, p_customer uuid, p_since timestamptz, p_until timestamptz,
    p_input bigint, p_output bigint, p_seconds bigint) RETURNS void
  LANGUAGE plpgsql VOLATILE AS $$
-- Under the settings of radius_accounting, which alone calls it: to have some of its own would take time.
-- Always quarters before days and early before late: so the packets of two devices of one service wait for each other,
-- but never in a circle.
DECLARE
  quarter timestamptz := date_bin('15 min', p_since, timestamptz '2000-01-01 00:00Z');
  next_quarter timestamptz := quarter + interval '15 min';
  today date := quarter AT TIME ZONE p_zone;
  part numeric;
  whole numeric;
  input bigint;
  output bigint;
  passed bigint;
BEGIN
  IF p_until <= next_quarter THEN
    INSERT INTO usage_buckets AS u (
      tenant_id, service_id, starts_at, customer_id, input_octets, output_octets, seconds)
    VALUES (p_tenant, p_service, quarter, p_customer, p_input, p_output, p_seconds)
    ON CONFLICT (tenant_id, service_id, starts_at) DO UPDATE SET
           input_octets = u.input_octets + excluded.input_octets,
           output_octets = u.output_octets + excluded.output_octets,
           seconds = LEAST(u.seconds::bigint + excluded.seconds, 2147483647);
  ELSIF p_until <= next_quarter + interval '15 min' AND (next_quarter AT TIME ZONE p_zone)::date = today THEN
    -- Parted as by usage_pieces.
    part := extract(epoch FROM next_quarter - p_since);
    whole := extract(epoch FROM p_until - p_since);
    input := div(p_input * part, whole);
    output := div(p_output * part, whole);
    passed := div(p_seconds * part, whole);
    INSERT INTO usage_buckets AS u (
      tenant_id, service_id, starts_at, customer_id, input_octets, output_octets, seconds)
    VALUES (p_tenant, p_service, quarter, p_customer, input, output, passed),
           (p_tenant, p_service, next_quarter, p_customer, p_input - input, p_output - output, p_seconds - passed)
    ON CONFLICT (tenant_id, service_id, starts_at) DO UPDATE SET
           input_octets = u.input_octets + excluded.input_octets,
           output_octets = u.output_octets + excluded.output_octets,
           seconds = LEAST(u.seconds::bigint + excluded.seconds, 2147483647);
  ELSE
    PERFORM usage_spread(p_tenant, p_zone, p_service, p_customer, p_since, p_until, p_input, p_output, p_seconds);
    RETURN;
  END IF;
  INSERT INTO usage_days AS u (tenant_id, service_id, day, customer_id, input_octets, output_octets, seconds)
  VALUES (p_tenant, p_service, today, p_customer, p_input, p_output, p_seconds)
  ON CONFLICT (tenant_id, service_id, day) DO UPDATE SET
         input_octets = u.input_octets + excluded.input_octets,
         output_octets = u.output_octets + excluded.output_octets,
         seconds = LEAST(u.seconds::bigint + excluded.seconds, 2147483647);
END $$;

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
-- Functions in SQL are planned anew with each call, so those that each packet would call are written out: the time is
-- that of radius_now, the key that of radius_session_key.
DECLARE
  c_start CONSTANT integer := 1;
  c_stop CONSTANT integer := 2;
  c_interim CONSTANT integer := 3;
  received timestamptz := COALESCE(p_at, now() + make_interval(secs =>
    COALESCE(NULLIF(current_setting('ispgraph.clock_offset', true), ''), '0')::float8));
  happened timestamptz := received - make_interval(secs => LEAST(COALESCE(p_delay, 0), 86400));
  router uuid;
  tenant uuid;
  zone text;
  seen timestamptz;
  swapped boolean;
  cookie text := NULLIF(lower(p_class), '');
  key text;
  device macaddr;
  told_input bigint := p_input_octets + (LEAST(COALESCE(p_input_gigawords, 0), 1048575) << 32);
  told_output bigint := p_output_octets + (LEAST(COALESCE(p_output_gigawords, 0), 1048575) << 32);
  known sessions;
  line services;
  ordinary boolean := false;
  locked boolean := false;
  created boolean := false;
  reset_input boolean;
  reset_output boolean;
  seconds integer;
  more_seconds integer;
  more_input bigint;
  more_output bigint;
  since timestamptz;
  reason text;
  session uuid;
  version xid;
  service uuid;
  customer uuid;
  ignored text;
BEGIN
  SELECT r.id, r.tenant_id, r.accounting_last_seen_at, r.octets_swapped, t.time_zone
    INTO router, tenant, seen, swapped, zone
    FROM routers r JOIN tenants t ON t.id = r.tenant_id
   WHERE r.radius_address = p_nas AND r.radius_secret IS NOT NULL;
  IF router IS NULL OR p_status IS NULL THEN
    RETURN false;
  END IF;
  ignored := set_config('app.tenant_id', tenant::text, true);
  -- A router that has just started may think that it is 1970.
  IF p_event BETWEEN happened - interval '300 s' AND happened + interval '300 s' THEN
    happened := LEAST(p_event, received);
  END IF;
  key := encode(sha256(convert_to(router::text || ' ' || cookie || ' ' || p_session_id, 'UTF8')), 'hex');
  -- The ordinary packet: an Interim of an open session that goes on, fifteen minutes after the last one at most. What
  -- is done below with any packet would come to the same; but here there is no lock, and little to find out.
  IF p_status = c_interim AND cookie IS NOT NULL AND p_session_time BETWEEN 1 AND 2147483647 THEN
    SELECT s.id, s.xmin, s.service_id, s.customer_id, s.updated_at, p_session_time - s.duration_seconds,
           told_input - (s.input_octets - s.input_base), told_output - (s.output_octets - s.output_base)
      INTO session, version, service, customer, since, more_seconds, more_input, more_output
      FROM sessions s
     WHERE s.tenant_id = tenant AND s.unique_id = key AND s.state = 'OPEN' AND NOT s.octets_swapped
       AND s.updated_at < happened AND s.updated_at >= happened - interval '15 min';
    IF more_seconds BETWEEN 1 AND 86400 AND more_input BETWEEN 0 AND 12500000000
       AND more_output BETWEEN 0 AND 12500000000 THEN
      -- Not if another packet has come in between.
      UPDATE sessions s SET updated_at = happened, duration_seconds = p_session_time,
             input_octets = s.input_octets + more_input, output_octets = s.output_octets + more_output,
             ip_address = COALESCE(p_ip_address, s.ip_address)
       WHERE s.tenant_id = tenant AND s.id = session AND s.xmin = version;
      ordinary := FOUND;
      IF ordinary AND service IS NOT NULL THEN
        ignored := usage_add(tenant, zone, service, customer, since, happened, more_input, more_output, more_seconds);
      END IF;
    END IF;
  END IF;
  IF p_status IN (c_start, c_stop, c_interim) AND NOT ordinary THEN
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
      device := radius_mac(p_calling_station);
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
        output_base, ip_address, mac_address, nas_address, octets_swapped)
      VALUES (
        uuid_of(received), tenant, line.customer_id, line.id, router, p_session_id,
        COALESCE(key, radius_session_key(
          router, p_session_id, lower(p_username) || ' ' || extract(epoch FROM known.started_at))),
        cookie, CASE WHEN length(cookie) = 40 THEN left(cookie, 16) END,
        CASE WHEN length(cookie) = 40 THEN substr(cookie, 17, 8) END, p_username,
        CASE WHEN p_service_type = 2 AND p_port_type = 15 THEN 'PPPOE'
             WHEN p_service_type = 1 OR p_port_type = 19 THEN 'HOTSPOT'
             ELSE COALESCE(line.connection_type, 'OTHER') END,
        'OPEN', known.started_at, happened, 0, 0, 0, 0, 0, p_ip_address, device, COALESCE(p_nas_address, p_nas),
        swapped)
      RETURNING * INTO known;
      created := true;
      -- The same device has dialled again: it must have lost the session before, and its Stop is lost too.
      IF p_status <> c_stop THEN
        UPDATE sessions s SET state = 'STALE', stopped_at = s.updated_at, terminate_cause = 'Lost-Carrier'
         WHERE s.tenant_id = tenant AND s.router_id = router AND s.mac_address = device AND s.stopped_at IS NULL
           AND lower(s.username) = lower(p_username) AND s.started_at <= known.started_at AND s.id <> known.id;
      END IF;
    END IF;
    -- Of what is new in a packet, nobody knows more than that it came about since the last one.
    since := CASE WHEN created THEN known.started_at ELSE known.updated_at END;
    -- A session ends as it began, whatever is said of its router meanwhile: its counters were taken for one direction.
    IF known.octets_swapped THEN
      SELECT told_output, told_input INTO told_input, told_output;
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
      IF known.service_id IS NOT NULL AND (more_seconds > 0 OR more_input > 0 OR more_output > 0) THEN
        reason := usage_doubt(since, happened, more_seconds, more_input, more_output);
        IF reason IS NULL THEN
          PERFORM usage_add(tenant, zone, known.service_id, known.customer_id, since, happened, more_input,
                            more_output, more_seconds);
        ELSE
          INSERT INTO usage_quarantine (
            id, tenant_id, session_id, service_id, since, at, input_octets, output_octets, seconds, reason)
          VALUES (uuid_of(received), tenant, known.id, known.service_id, since, happened, more_input,
                  more_output, more_seconds, reason);
        END IF;
      END IF;
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
    UPDATE routers r SET accounting_last_seen_at = received,
           accounting_resumed_at =
             CASE WHEN seen > received - interval '15 min' THEN r.accounting_resumed_at ELSE received END
     WHERE r.id = (
      SELECT o.id FROM routers o
       WHERE o.tenant_id = tenant AND o.id = router AND o.accounting_last_seen_at IS NOT DISTINCT FROM seen
         FOR NO KEY UPDATE SKIP LOCKED);
  END IF;
  ignored := set_config('app.tenant_id', '', true);
  RETURN true;
END $$;

CREATE FUNCTION radius_accounting_batch(
    p_username text[], p_nas inet[], p_status bigint[], p_session_id text[], p_class text[], p_session_time bigint[],
    p_input_octets bigint[], p_input_gigawords bigint[], p_output_octets bigint[], p_output_gigawords bigint[],
    p_ip_address inet[], p_delay bigint[], p_event timestamptz[], p_at timestamptz[])
  RETURNS SETOF integer
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
-- Many packets in the order of their arrival, as radius_accounting has them one by one. Takes what is simple: Interims
-- that go on with open sessions. Returns the positions of the others, in order: whoever calls gives these to
-- radius_accounting afterwards, each in a transaction of its own, for a transaction that holds usage and wants another
-- session could wait in a circle. What one packet may mean for another's session keeps its order: all of a user on a
-- router are taken, or none; none of a router that says that it started.
DECLARE
  tenant uuid;
  zone text;
  keys text[];
  taken integer[] := '{}';
  numbers integer[];
  of_session uuid[];
  of_service uuid[];
  of_customer uuid[];
  since timestamptz[];
  happened timestamptz[];
  input bigint[];
  output bigint[];
  seconds bigint[];
BEGIN
  FOR tenant, zone IN
    SELECT t.id, t.time_zone FROM tenants t WHERE t.id IN (
      SELECT r.tenant_id FROM routers r WHERE r.radius_address = ANY (p_nas) AND r.radius_secret IS NOT NULL)
     ORDER BY t.id
  LOOP
    PERFORM set_config('app.tenant_id', tenant::text, true);
    keys := ARRAY(
      SELECT CASE WHEN p.status = 3 AND p.class <> '' THEN
               encode(sha256(convert_to(r.id || ' ' || lower(p.class) || ' ' || p.session_id, 'UTF8')), 'hex') END
        FROM unnest(p_nas, p_status, p_session_id, p_class) WITH ORDINALITY p (nas, status, session_id, class, n)
        LEFT JOIN routers r ON r.tenant_id = tenant AND r.radius_address = p.nas AND r.radius_secret IS NOT NULL
       ORDER BY p.n);
    PERFORM FROM sessions s
      WHERE s.tenant_id = tenant AND s.unique_id = ANY (keys) AND s.stopped_at IS NULL
      ORDER BY s.id FOR NO KEY UPDATE;
    WITH told AS (
      SELECT p.n, r.id AS router, lower(p.username) AS username, p.status, k.key, p.session_time AS seconds,
             p.input_octets + (LEAST(COALESCE(p.input_gigawords, 0), 1048575) << 32) AS first,
             p.output_octets + (LEAST(COALESCE(p.output_gigawords, 0), 1048575) << 32) AS second,
             CASE WHEN p.event BETWEEN h.at - interval '300 s' AND h.at + interval '300 s'
                  THEN LEAST(p.event, p.received) ELSE h.at END AS at
        FROM unnest(p_username, p_nas, p_status, p_session_time, p_input_octets, p_input_gigawords, p_output_octets,
                    p_output_gigawords, p_delay, p_event, p_at) WITH ORDINALITY p (
               username, nas, status, session_time, input_octets, input_gigawords, output_octets, output_gigawords,
               delay, event, received, n)
        JOIN unnest(keys) WITH ORDINALITY k (key, n) ON k.n = p.n
        JOIN routers r ON r.tenant_id = tenant AND r.radius_address = p.nas AND r.radius_secret IS NOT NULL,
             LATERAL (SELECT p.received - make_interval(secs => LEAST(COALESCE(p.delay, 0), 86400))) h (at)
    ), readings AS (
      SELECT t.*, s.id AS session, s.service_id, s.customer_id,
             GREATEST(s.updated_at, max(t.at) OVER (w ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) AS since,
             t.seconds - lag(t.seconds, 1, s.duration_seconds::bigint) OVER w AS more_seconds,
             c.up - lag(c.up, 1, s.input_octets - s.input_base) OVER w AS more_input,
             c.down - lag(c.down, 1, s.output_octets - s.output_base) OVER w AS more_output
        FROM told t
        LEFT JOIN sessions s ON s.tenant_id = tenant AND s.unique_id = t.key AND s.stopped_at IS NULL,
             LATERAL (SELECT CASE WHEN s.octets_swapped THEN t.second ELSE t.first END,
                             CASE WHEN s.octets_swapped THEN t.first ELSE t.second END) c (up, down)
      WINDOW w AS (PARTITION BY t.key ORDER BY t.n)
    ), judged AS (
      SELECT r.*, r.status = 3 AND r.session IS NOT NULL AND r.seconds <= 2147483647 AND r.more_seconds > 0
                  AND r.more_input >= 0 AND r.more_output >= 0 AND r.at > r.since
                  AND usage_doubt(r.since, r.at, r.more_seconds, r.more_input, r.more_output) IS NULL AS simple
        FROM readings r
    ), fit AS (
      SELECT j.*, bool_and(COALESCE(j.simple, false)) OVER (PARTITION BY j.router, j.username)
                  AND bool_and(j.status NOT IN (7, 8)) OVER (PARTITION BY j.router) AS all_simple
        FROM judged j
    )
    SELECT array_agg(f.n ORDER BY f.n), array_agg(f.session ORDER BY f.n), array_agg(f.service_id ORDER BY f.n),
           array_agg(f.customer_id ORDER BY f.n), array_agg(f.since ORDER BY f.n), array_agg(f.at ORDER BY f.n),
           array_agg(f.more_input ORDER BY f.n), array_agg(f.more_output ORDER BY f.n),
           array_agg(f.more_seconds ORDER BY f.n)
      INTO numbers, of_session, of_service, of_customer, since, happened, input, output, seconds
      FROM fit f WHERE f.all_simple;
    CONTINUE WHEN numbers IS NULL;
    UPDATE sessions s SET updated_at = m.at, duration_seconds = s.duration_seconds + m.seconds,
           input_octets = s.input_octets + m.input, output_octets = s.output_octets + m.output,
           ip_address = COALESCE(m.ip_address, s.ip_address)
      FROM (SELECT t.session, max(t.at) AS at, sum(t.seconds) AS seconds, sum(t.input) AS input,
                   sum(t.output) AS output,
                   (array_agg(p_ip_address[t.n] ORDER BY t.n DESC) FILTER (WHERE p_ip_address[t.n] IS NOT NULL))[1]
                     AS ip_address
              FROM unnest(numbers, of_session, happened, input, output, seconds) t (
                     n, session, at, input, output, seconds)
             GROUP BY t.session) m
     WHERE s.tenant_id = tenant AND s.id = m.session;
    INSERT INTO usage_buckets AS u (
      tenant_id, service_id, starts_at, customer_id, input_octets, output_octets, seconds)
    SELECT tenant, t.service, q.starts_at, t.customer, sum(q.input_octets), sum(q.output_octets), sum(q.seconds)
      FROM unnest(of_service, of_customer, since, happened, input, output, seconds) t (
             service, customer, since, at, input, output, seconds),
           usage_pieces(t.since, t.at, t.input, t.output, t.seconds) q
     WHERE t.service IS NOT NULL
     GROUP BY t.service, t.customer, q.starts_at ORDER BY t.service, q.starts_at
    ON CONFLICT (tenant_id, service_id, starts_at) DO UPDATE SET
           input_octets = u.input_octets + excluded.input_octets,
           output_octets = u.output_octets + excluded.output_octets,
           seconds = LEAST(u.seconds::bigint + excluded.seconds, 2147483647);
    INSERT INTO usage_days AS u (tenant_id, service_id, day, customer_id, input_octets, output_octets, seconds)
    SELECT tenant, t.service, (q.starts_at AT TIME ZONE zone)::date AS day, t.customer, sum(q.input_octets),
           sum(q.output_octets), sum(q.seconds)
      FROM unnest(of_service, of_customer, since, happened, input, output, seconds) t (
             service, customer, since, at, input, output, seconds),
           usage_pieces(t.since, t.at, t.input, t.output, t.seconds) q
     WHERE t.service IS NOT NULL
     GROUP BY t.service, t.customer, day ORDER BY t.service, day
    ON CONFLICT (tenant_id, service_id, day) DO UPDATE SET
           input_octets = u.input_octets + excluded.input_octets,
           output_octets = u.output_octets + excluded.output_octets,
           seconds = LEAST(u.seconds::bigint + excluded.seconds, 2147483647);
    UPDATE routers r SET accounting_last_seen_at = m.at, accounting_resumed_at =
             CASE WHEN r.accounting_last_seen_at > m.at - interval '15 min' THEN r.accounting_resumed_at ELSE m.at END
      FROM (SELECT p_nas[n] AS nas, max(p_at[n]) AS at FROM unnest(numbers) n GROUP BY 1) m
     WHERE r.id IN (
       SELECT o.id FROM routers o
        WHERE o.tenant_id = tenant AND o.radius_address = m.nas
          AND (o.accounting_last_seen_at IS NULL OR o.accounting_last_seen_at < m.at - interval '30 s')
          FOR NO KEY UPDATE SKIP LOCKED);
    taken := taken || numbers;
  END LOOP;
  PERFORM set_config('app.tenant_id', '', true);
  RETURN QUERY SELECT n FROM generate_subscripts(p_nas, 1) n EXCEPT SELECT unnest(taken) ORDER BY 1;
END $$;

CREATE FUNCTION radius_sessions_silent(p_at timestamptz, p_limit integer) RETURNS integer
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
-- Ends those sessions of the tenant at hand of which nothing was heard for too long, at their last update; how many.
-- That is only supposed: a session that is heard of again goes on. Never waits for a packet, nor with one in a circle.
DECLARE
  tenant uuid := NULLIF(current_setting('app.tenant_id', true), '')::uuid;
  c_interim CONSTANT interval := interval '300 s';
  c_silent CONSTANT interval := GREATEST(3 * c_interim, interval '15 min');
  -- A router of which nothing at all is heard is probably cut off from us, and its customers on line: it gets longer.
  c_cut_off CONSTANT interval := interval '1 hour';
  ended integer;
BEGIN
  WITH starts AS MATERIALIZED (
    -- RouterOS: two symbols for the kind of session, one that another start of the router changes, five that count.
    SELECT s.router_id, left(lower(s.acct_session_id), 2) AS kind, substr(lower(s.acct_session_id), 3, 1) AS number,
           min(s.started_at) AS began, max(s.updated_at) AS heard
      FROM sessions s
     WHERE s.tenant_id = tenant AND s.stopped_at IS NULL AND s.acct_session_id ~ '^[0-9A-Fa-f]{8}$'
     GROUP BY 1, 2, 3
  ), before_reboot AS MATERIALIZED (
    -- One odd number proves nothing: of all with the older number, none was heard since the first with another began,
    -- nor for so long that each of them would have been.
    SELECT o.* FROM starts o WHERE o.heard < p_at - 2 * c_interim AND EXISTS (
      SELECT FROM starts n WHERE n.router_id = o.router_id AND n.kind = o.kind AND n.number <> o.number
         AND n.began > o.heard AND n.heard > p_at - 2 * c_interim)
  ), gone AS (
    SELECT s.id, b.router_id IS NOT NULL AS rebooted
      FROM sessions s
      LEFT JOIN routers r ON r.tenant_id = s.tenant_id AND r.id = s.router_id
      LEFT JOIN before_reboot b ON b.router_id = s.router_id AND length(s.acct_session_id) = 8
                               AND left(lower(s.acct_session_id), 3) = b.kind || b.number
     WHERE s.tenant_id = tenant AND s.stopped_at IS NULL AND (
       b.router_id IS NOT NULL
       OR CASE WHEN r.accounting_last_seen_at > p_at - c_silent
            THEN GREATEST(s.updated_at, r.accounting_resumed_at) <= p_at - c_silent
            ELSE GREATEST(s.updated_at, r.accounting_last_seen_at) <= p_at - c_cut_off END)
     ORDER BY s.id LIMIT p_limit FOR NO KEY UPDATE OF s SKIP LOCKED
  )
  UPDATE sessions s SET state = 'STALE', stopped_at = s.updated_at,
         terminate_cause = CASE WHEN gone.rebooted THEN 'NAS-Reboot' ELSE 'Lost-Carrier' END
    FROM gone WHERE s.tenant_id = tenant AND s.id = gone.id AND s.stopped_at IS NULL;
  GET DIAGNOSTICS ended = ROW_COUNT;
  RETURN ended;
END $$;
"""

_ACCOUNTING = (
    "radius_accounting(text, inet, bigint, text, text, bigint, bigint, bigint, bigint, bigint, inet, text, inet, "
    "bigint, bigint, bigint, timestamptz, bigint, timestamptz)"
)
_BATCH = (
    "radius_accounting_batch(text[], inet[], bigint[], text[], text[], bigint[], bigint[], bigint[], bigint[], "
    "bigint[], inet[], bigint[], timestamptz[], timestamptz[])"
)
# A check is read from its text for every statement that writes to its table, which took an eighth of the time of a
# packet. Only functions of the owner write to these, and check-invariants knows the same rules.
CHECKS = {
    ("sessions", "open_until_stopped"): "(state = 'OPEN') = (stopped_at IS NULL)",
    ("sessions", "counters"): "duration_seconds >= 0 AND input_octets >= 0 AND output_octets >= 0",
    ("sessions", "connectiontype"): "connection_type IN ('PPPOE', 'HOTSPOT', 'STATIC_IP', 'OTHER')",
    ("sessions", "sessionstate"): "state IN ('OPEN', 'STOPPED', 'STALE')",
    ("usage_days", "counters"): "input_octets >= 0 AND output_octets >= 0 AND seconds >= 0",
    ("usage_buckets", "counters"): "input_octets >= 0 AND output_octets >= 0 AND seconds >= 0",
    ("usage_buckets", "quarter_of_an_hour"): "extract(epoch FROM starts_at)::bigint % 900 = 0",
}
FORMER = {_ACCOUNTING: "ispgraph_radius"}
GRANTS = {
    "usage_pieces(timestamptz, timestamptz, bigint, bigint, bigint)": None,
    "usage_doubt(timestamptz, timestamptz, bigint, bigint, bigint)": None,
    "usage_spread(uuid, text, uuid, uuid, timestamptz, timestamptz, bigint, bigint, bigint)": None,
    "usage_add(uuid, text, uuid, uuid, timestamptz, timestamptz, bigint, bigint, bigint)": None,
    _ACCOUNTING: "ispgraph_radius",
    _BATCH: "ispgraph_radius",
    "radius_sessions_silent(timestamptz, integer)": "ispgraph_app",
}


def upgrade() -> None:
    for table in ("routers", "sessions"):
        op.add_column(table, sa.Column("octets_swapped", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("routers", sa.Column("accounting_resumed_at", _INSTANT, nullable=True))
    _quarantine()
    for table, name in CHECKS:
        op.drop_constraint(op.f(f"ck_{table}_{name}"), table)
    for signature in FORMER:
        op.execute(f"DROP FUNCTION {signature}")
    for function in FUNCTIONS.strip().split("\n\n"):
        op.execute(function)
    _grant(GRANTS)


def _quarantine() -> None:
    op.create_table(
        "usage_quarantine",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("service_id", sa.Uuid(), nullable=False),
        sa.Column("since", _INSTANT, nullable=False),
        sa.Column("at", _INSTANT, nullable=False),
        sa.Column("input_octets", sa.BigInteger(), nullable=False),
        sa.Column("output_octets", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(20), nullable=False),
        sa.CheckConstraint("reason IN ('LONG', 'CLOCK', 'RATE')", name=op.f("ck_usage_quarantine_usagedoubt")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "session_id"],
            ["sessions.tenant_id", "sessions.id"],
            name=op.f("fk_usage_quarantine_tenant_id_session_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "service_id"],
            ["services.tenant_id", "services.id"],
            name=op.f("fk_usage_quarantine_tenant_id_service_id"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_usage_quarantine_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_quarantine")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_usage_quarantine_tenant_id_id")),
    )
    op.create_index("ix_usage_quarantine_service", "usage_quarantine", ["tenant_id", "service_id", "at"])
    op.execute("ALTER TABLE usage_quarantine ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE usage_quarantine FORCE ROW LEVEL SECURITY")
    own = f"tenant_id = {CURRENT_TENANT}"
    op.execute(f"CREATE POLICY tenant_isolation ON usage_quarantine USING ({own}) WITH CHECK ({own})")
    op.execute("GRANT SELECT ON usage_quarantine TO ispgraph_app")


def _grant(grants: dict[str, str | None]) -> None:
    for signature, role in grants.items():
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        if role:
            op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO {role}")


def downgrade() -> None:
    for signature in reversed(GRANTS):
        op.execute(f"DROP FUNCTION {signature}")
    for function in _former_functions():
        op.execute(function)
    _grant(dict(FORMER))
    for (table, name), rule in CHECKS.items():
        op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, rule)
    op.drop_table("usage_quarantine")
    op.drop_column("routers", "accounting_resumed_at")
    for table in ("sessions", "routers"):
        op.drop_column(table, "octets_swapped")


def _former_functions() -> list[str]:
    """The functions as the revision before made them."""
    folder = op.get_context().script
    assert folder is not None
    text = folder.get_revision("0006").module.FUNCTIONS.strip()
    names = tuple(f"CREATE FUNCTION {signature.partition('(')[0]}(" for signature in FORMER)
    return [function for function in text.split("\n\n") if function.startswith(names)]

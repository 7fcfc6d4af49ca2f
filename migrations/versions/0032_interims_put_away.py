"""An Interim of an open session is only put away, and added to the books a little later, together with others.

What it cost to add one packet by itself was mostly to get ready: for each statement, each expression and each trigger,
for one row. To put it away is one row in a table without keys, committed like anything that is acknowledged; to add a
thousand of them takes a fifth of the time for each. Whoever must know what was told so far (a login with a limit, a
Start, a Stop, a reboot) adds first what waits for the sessions that it is about.

What waits for a session is taken only by who holds the lock of the session's row. So any number may add at once, and
the packets of one session keep their order.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

CURRENT_TENANT = "(SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)"
_INSTANT = postgresql.TIMESTAMP(timezone=True)

_ARGUMENTS = """
    p_username text, p_nas inet, p_status bigint, p_session_id text, p_class text DEFAULT NULL,
    p_session_time bigint DEFAULT NULL, p_input_octets bigint DEFAULT NULL, p_input_gigawords bigint DEFAULT NULL,
    p_output_octets bigint DEFAULT NULL, p_output_gigawords bigint DEFAULT NULL, p_ip_address inet DEFAULT NULL,
    p_calling_station text DEFAULT NULL, p_nas_address inet DEFAULT NULL, p_service_type bigint DEFAULT NULL,
    p_port_type bigint DEFAULT NULL, p_delay bigint DEFAULT NULL, p_event timestamptz DEFAULT NULL,
    p_terminate_cause bigint DEFAULT NULL, p_at timestamptz DEFAULT NULL"""

# Whatever PostgreSQL believes of the tables: any other way to join would read every partition.
_BY_KEY = """SET search_path = pg_catalog, public SET plan_cache_mode = force_generic_plan
  SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off"""

# Statements are separated by empty lines.
FUNCTIONS = f"""
CREATE FUNCTION session_told(
    p_zone text, p_known sessions, p_status bigint, p_happened timestamptz, p_received timestamptz, p_seconds bigint,
    p_input bigint, p_output bigint, p_ip_address inet, p_cause bigint, p_created boolean) RETURNS void
  LANGUAGE plpgsql VOLATILE AS $$
-- What one packet tells of a session whose row is locked; the octets as the router counts them. Under the settings of
-- whoever calls it.
DECLARE
  c_start CONSTANT integer := 1;
  c_stop CONSTANT integer := 2;
  -- A session ends as it began, whatever is said of its router meanwhile: its counters were taken for one direction.
  told_input bigint := CASE WHEN p_known.octets_swapped THEN p_output ELSE p_input END;
  told_output bigint := CASE WHEN p_known.octets_swapped THEN p_input ELSE p_output END;
  -- Of what is new in a packet, nobody knows more than that it came about since the last one.
  since timestamptz := CASE WHEN p_created THEN p_known.started_at ELSE p_known.updated_at END;
  created boolean := p_created;
  -- The one place that says what is new in a packet. Octets that fall while the time goes on are a counter that
  -- began again at zero: what it showed before stays, as the base.
  more_seconds integer := GREATEST(p_seconds - p_known.duration_seconds, 0);
  reset_input boolean := more_seconds > 0 AND told_input < p_known.input_octets - p_known.input_base;
  reset_output boolean := more_seconds > 0 AND told_output < p_known.output_octets - p_known.output_base;
  more_input bigint := CASE WHEN reset_input THEN told_input
                            ELSE GREATEST(told_input - (p_known.input_octets - p_known.input_base), 0) END;
  more_output bigint := CASE WHEN reset_output THEN told_output
                             ELSE GREATEST(told_output - (p_known.output_octets - p_known.output_base), 0) END;
  reason text;
BEGIN
  -- An end that was told is final, one that was only supposed is not.
  IF (CASE WHEN p_status = c_start THEN false
           WHEN p_known.state = 'STOPPED' THEN p_status = c_stop AND more_seconds > 0
           WHEN p_status = c_stop OR more_seconds > 0 THEN true
           ELSE p_known.state = 'OPEN' AND p_seconds = p_known.duration_seconds AND more_input + more_output > 0 END)
  THEN
    created := created OR p_known.state = 'STALE';
    UPDATE sessions s SET
           state = CASE WHEN p_status = c_stop THEN 'STOPPED' ELSE 'OPEN' END,
           stopped_at = CASE WHEN p_status = c_stop THEN GREATEST(p_happened, s.started_at) END,
           terminate_cause = CASE WHEN p_status = c_stop THEN radius_terminate_cause(p_cause) END,
           updated_at = GREATEST(s.updated_at, p_happened),
           duration_seconds = s.duration_seconds + more_seconds,
           input_octets = s.input_octets + more_input,
           output_octets = s.output_octets + more_output,
           input_base = CASE WHEN reset_input THEN s.input_octets ELSE s.input_base END,
           output_base = CASE WHEN reset_output THEN s.output_octets ELSE s.output_base END,
           ip_address = COALESCE(p_ip_address, s.ip_address)
     WHERE s.tenant_id = p_known.tenant_id AND s.id = p_known.id AND s.started_at = p_known.started_at;
    IF p_known.service_id IS NOT NULL AND (more_seconds > 0 OR more_input > 0 OR more_output > 0) THEN
      reason := usage_doubt(since, p_happened, more_seconds, more_input, more_output);
      IF reason IS NULL THEN
        -- Beside others like this, which never wait in a circle (see usage_add), but not beside sessions_told.
        PERFORM pg_advisory_xact_lock_shared(hashtextextended('usage ' || p_known.tenant_id, 0));
        PERFORM usage_add(p_known.tenant_id, p_zone, p_known.service_id, p_known.customer_id, since, p_happened,
                          more_input, more_output, more_seconds);
      ELSE
        INSERT INTO usage_quarantine (
          id, tenant_id, session_id, service_id, since, at, input_octets, output_octets, seconds, reason)
        VALUES (uuid_of(p_received), p_known.tenant_id, p_known.id, p_known.service_id, since, p_happened, more_input,
                more_output, more_seconds, reason);
      END IF;
    END IF;
  END IF;
  -- The one place that notices a session that was let in with what is no longer right.
  IF created AND p_status <> c_stop AND p_known.service_id IS NOT NULL
     AND p_known.policy || p_known.rate <> radius_policy_of(p_known.service_id, p_received) THEN
    PERFORM network_session_differs(p_known.tenant_id, p_known.service_id, p_known.router_id, p_received);
  END IF;
END $$;

CREATE FUNCTION sessions_told(
    p_tenant uuid, p_zone text, p_session uuid[], p_started timestamptz[], p_router uuid[], p_happened timestamptz[],
    p_received timestamptz[], p_seconds bigint[], p_input bigint[], p_output bigint[], p_ip_address inet[])
  RETURNS void LANGUAGE plpgsql VOLATILE {_BY_KEY} AS $$
-- What Interims tell of sessions whose rows are locked, for the tenant at hand: each session's in the order of their
-- positions. Those of a session that simply goes on are added together with all others, as session_told has them one by
-- one; where anything is odd, that has them.
DECLARE
  of_session uuid[];
  of_start timestamptz[];
  of_service uuid[];
  of_customer uuid[];
  since timestamptz[];
  happened timestamptz[];
  input bigint[];
  output bigint[];
  seconds bigint[];
  positions integer[];
  odd integer[];
  of_day date[];
  octets bigint[];
  oldest timestamptz;
  newest timestamptz;
  known sessions;
  n integer;
BEGIN
  -- Usage of many services, in more than one order where anything is odd: so nobody else adds any for this tenant until
  -- all of it is committed. Whoever waits here or in session_told holds sessions alone.
  PERFORM pg_advisory_xact_lock(hashtextextended('usage ' || p_tenant, 0));
  WITH readings AS (
    SELECT p.n::integer, p.session, p.started, p.happened, s.service_id, s.customer_id, s.state,
           GREATEST(s.updated_at, max(p.happened) OVER (w ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) AS since,
           p.seconds - lag(p.seconds, 1, s.duration_seconds::bigint) OVER w AS more_seconds,
           c.up - lag(c.up, 1, s.input_octets - s.input_base) OVER w AS more_input,
           c.down - lag(c.down, 1, s.output_octets - s.output_base) OVER w AS more_output
      FROM unnest(p_session, p_started, p_happened, p_seconds, p_input, p_output) WITH ORDINALITY p (
             session, started, happened, seconds, input, output, n),
           LATERAL (
             SELECT s.service_id, s.customer_id, s.state, s.updated_at, s.duration_seconds, s.input_octets,
                    s.output_octets, s.input_base, s.output_base, s.octets_swapped
               FROM sessions s
              WHERE s.tenant_id = p_tenant AND s.id = p.session AND s.started_at = p.started OFFSET 0) s,
           LATERAL (SELECT CASE WHEN s.octets_swapped THEN p.output ELSE p.input END,
                           CASE WHEN s.octets_swapped THEN p.input ELSE p.output END) c (up, down)
    WINDOW w AS (PARTITION BY p.session ORDER BY p.n)
  ), fit AS (
    -- Stricter than usage_doubt.
    SELECT r.*, bool_and(r.state = 'OPEN' AND r.more_seconds BETWEEN 1 AND 86400 AND r.more_input >= 0
                         AND r.more_output >= 0 AND r.happened > r.since AND r.happened < r.since + interval '90 days'
                         AND GREATEST(r.more_input, r.more_output) <= 12500000000 * r.more_seconds)
                  OVER (PARTITION BY r.session) AS simple
      FROM readings r
  )
  SELECT array_agg(f.session) FILTER (WHERE f.simple), array_agg(f.started) FILTER (WHERE f.simple),
         array_agg(f.service_id) FILTER (WHERE f.simple), array_agg(f.customer_id) FILTER (WHERE f.simple),
         array_agg(f.since) FILTER (WHERE f.simple), array_agg(f.happened) FILTER (WHERE f.simple),
         array_agg(f.more_input) FILTER (WHERE f.simple), array_agg(f.more_output) FILTER (WHERE f.simple),
         array_agg(f.more_seconds) FILTER (WHERE f.simple), array_agg(f.n) FILTER (WHERE f.simple),
         array_agg(f.n ORDER BY f.n) FILTER (WHERE NOT f.simple)
    INTO of_session, of_start, of_service, of_customer, since, happened, input, output, seconds, positions, odd
    FROM fit f;
  IF positions IS NOT NULL THEN
    SELECT min(t.started), max(t.started) INTO oldest, newest FROM unnest(of_start) t (started);
    UPDATE sessions s SET updated_at = m.at, duration_seconds = s.duration_seconds + m.seconds,
           input_octets = s.input_octets + m.input, output_octets = s.output_octets + m.output,
           ip_address = COALESCE(m.ip_address, s.ip_address)
      FROM (SELECT t.session, t.started, max(t.at) AS at, sum(t.seconds) AS seconds, sum(t.input) AS input,
                   sum(t.output) AS output,
                   (array_agg(p_ip_address[t.n] ORDER BY t.n DESC) FILTER (WHERE p_ip_address[t.n] IS NOT NULL))[1]
                     AS ip_address
              FROM unnest(of_session, of_start, happened, input, output, seconds, positions) t (
                     session, started, at, input, output, seconds, n)
             GROUP BY t.session, t.started) m
     WHERE s.tenant_id = p_tenant AND s.id = m.session AND s.started_at = m.started
       -- However the two are joined, no other partition is read.
       AND s.started_at BETWEEN oldest AND newest;
    -- Always quarters before days and early before late, as in usage_add.
    INSERT INTO usage_buckets AS u (
      tenant_id, service_id, starts_at, customer_id, input_octets, output_octets, seconds)
    SELECT p_tenant, t.service, q.starts_at, t.customer, sum(q.input_octets), sum(q.output_octets), sum(q.seconds)
      FROM unnest(of_service, of_customer, since, happened, input, output, seconds) t (
             service, customer, since, at, input, output, seconds),
           LATERAL (SELECT date_bin('15 min', t.since, timestamptz '2000-01-01 00:00Z') OFFSET 0) b (at),
           LATERAL (
             SELECT b.at AS starts_at, t.input AS input_octets, t.output AS output_octets, t.seconds
              WHERE t.at <= b.at + interval '15 min'
              UNION ALL
             SELECT p.* FROM usage_pieces(t.since, t.at, t.input, t.output, t.seconds) p
              WHERE t.at > b.at + interval '15 min') q
     WHERE t.service IS NOT NULL
     GROUP BY t.service, t.customer, q.starts_at ORDER BY t.service, q.starts_at
    ON CONFLICT (tenant_id, service_id, starts_at) DO UPDATE SET
           input_octets = u.input_octets + excluded.input_octets,
           output_octets = u.output_octets + excluded.output_octets,
           seconds = LEAST(u.seconds::bigint + excluded.seconds, 2147483647);
    -- Instead of usage_is_watched for each row.
    PERFORM set_config('ispgraph.together', 'yes', true);
    WITH days AS (
      INSERT INTO usage_days AS u (tenant_id, service_id, day, customer_id, input_octets, output_octets, seconds)
      SELECT p_tenant, t.service, q.day, t.customer, sum(q.input_octets), sum(q.output_octets), sum(q.seconds)
        FROM unnest(of_service, of_customer, since, happened, input, output, seconds) t (
               service, customer, since, at, input, output, seconds),
             LATERAL (
               SELECT (date_bin('15 min', t.since, timestamptz '2000-01-01 00:00Z') AT TIME ZONE p_zone)::date,
                      (date_bin('15 min', t.at - interval '1 microsecond', timestamptz '2000-01-01 00:00Z')
                        AT TIME ZONE p_zone)::date OFFSET 0) d (first, last),
             LATERAL (
               SELECT d.first AS day, t.input AS input_octets, t.output AS output_octets, t.seconds
                WHERE d.first = d.last
                UNION ALL
               SELECT (p.starts_at AT TIME ZONE p_zone)::date, p.input_octets, p.output_octets, p.seconds
                 FROM usage_pieces(t.since, t.at, t.input, t.output, t.seconds) p WHERE d.first <> d.last) q
       WHERE t.service IS NOT NULL
       GROUP BY t.service, t.customer, q.day ORDER BY t.service, q.day
      ON CONFLICT (tenant_id, service_id, day) DO UPDATE SET
             input_octets = u.input_octets + excluded.input_octets,
             output_octets = u.output_octets + excluded.output_octets,
             seconds = LEAST(u.seconds::bigint + excluded.seconds, 2147483647)
      RETURNING u.service_id, u.day, u.input_octets + u.output_octets AS octets, u.seconds
    )
    SELECT array_agg(d.service_id), array_agg(d.day), array_agg(d.octets), array_agg(d.seconds::bigint)
      INTO of_service, of_day, octets, seconds FROM days d;
    PERFORM set_config('ispgraph.together', '', true);
    UPDATE service_watches w SET look_at = '-infinity'
      FROM unnest(of_service, of_day, octets, seconds) d (service, day, octets, seconds)
     WHERE w.tenant_id = p_tenant AND w.service_id = d.service AND w.look_at IS DISTINCT FROM '-infinity'
       AND CASE d.day - w.alarm_day
             WHEN 0 THEN d.octets >= w.alarm_octets OR d.seconds >= w.alarm_seconds
             WHEN 1 THEN (
               SELECT d.octets + COALESCE(sum(u.input_octets + u.output_octets), 0) >= w.alarm_octets
                      OR d.seconds + COALESCE(sum(u.seconds), 0) >= w.alarm_seconds
                 FROM usage_days u
                WHERE u.tenant_id = w.tenant_id AND u.service_id = w.service_id AND u.day = w.alarm_day)
             ELSE w.alarm_day IS NOT NULL END;
  END IF;
  FOREACH n IN ARRAY COALESCE(odd, '{{}}') LOOP
    SELECT s.* INTO known FROM sessions s
     WHERE s.tenant_id = p_tenant AND s.id = p_session[n] AND s.started_at = p_started[n];
    PERFORM session_told(p_zone, known, 3, p_happened[n], p_received[n], p_seconds[n], p_input[n], p_output[n],
                         p_ip_address[n], NULL, false);
  END LOOP;
  UPDATE routers r SET accounting_last_seen_at = m.at, accounting_resumed_at =
           CASE WHEN r.accounting_last_seen_at > m.at - interval '15 min' THEN r.accounting_resumed_at ELSE m.at END
    FROM (SELECT t.router, max(t.at) AS at FROM unnest(p_router, p_received) t (router, at) GROUP BY 1) m
   WHERE r.id IN (
     SELECT o.id FROM routers o
      WHERE o.tenant_id = p_tenant AND o.id = m.router
        AND (o.accounting_last_seen_at IS NULL OR o.accounting_last_seen_at < m.at - interval '30 s')
        FOR NO KEY UPDATE SKIP LOCKED);
END $$;

CREATE FUNCTION sessions_settle(p_tenant uuid, p_zone text, p_session uuid[], p_started timestamptz[]) RETURNS integer
  LANGUAGE plpgsql VOLATILE {_BY_KEY} AS $$
-- Adds what waits of these sessions, of the tenant at hand; how many packets it was. Locks the sessions first, in
-- order: who holds usage must not want another session.
DECLARE
  found record;
BEGIN
  PERFORM FROM (SELECT p.* FROM unnest(p_session, p_started) p (id, started) ORDER BY p.id OFFSET 0) p,
    LATERAL (
      SELECT FROM sessions s WHERE s.tenant_id = p_tenant AND s.id = p.id AND s.started_at = p.started
         FOR NO KEY UPDATE) s;
  WITH taken AS (
    DELETE FROM accounting_inbox i WHERE i.tenant_id = p_tenant AND i.session_id = ANY (p_session) RETURNING i.*
  ), ordered AS (SELECT t.* FROM taken t ORDER BY t.session_id, t.id)
  SELECT array_agg(o.session_id) AS sessions, array_agg(o.started_at) AS started, array_agg(o.router_id) AS routers,
         array_agg(o.happened) AS happened, array_agg(o.received) AS received, array_agg(o.seconds::bigint) AS seconds,
         array_agg(o.input_octets) AS input, array_agg(o.output_octets) AS output, array_agg(o.ip_address) AS addresses
    INTO found FROM ordered o;
  IF found.sessions IS NULL THEN
    RETURN 0;
  END IF;
  PERFORM sessions_told(p_tenant, p_zone, found.sessions, found.started, found.routers, found.happened, found.received,
                        found.seconds, found.input, found.output, found.addresses);
  RETURN cardinality(found.sessions);
END $$;

CREATE FUNCTION service_settle(p_tenant uuid, p_service uuid) RETURNS void
  LANGUAGE plpgsql VOLATILE AS $$
-- Adds what waits of a service's sessions, of the tenant at hand. Under the settings of radius_answer.
DECLARE
  waiting uuid[];
  begun timestamptz[];
BEGIN
  SELECT array_agg(o.session_id), array_agg(o.started_at) INTO waiting, begun
    FROM open_sessions o
   WHERE o.tenant_id = p_tenant AND o.service_id = p_service
     AND EXISTS (SELECT FROM accounting_inbox i WHERE i.tenant_id = p_tenant AND i.session_id = o.session_id);
  IF waiting IS NOT NULL THEN
    PERFORM sessions_settle(p_tenant, t.time_zone, waiting, begun) FROM tenants t WHERE t.id = p_tenant;
  END IF;
END $$;

CREATE FUNCTION radius_accounting_waits() RETURNS SETOF uuid
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public SET enable_seqscan = off AS $$
BEGIN
  -- The tenants of which packets wait to be added.
  RETURN QUERY SELECT t.id FROM tenants t
    WHERE EXISTS (SELECT FROM accounting_inbox i WHERE i.tenant_id = t.id) ORDER BY t.id;
END $$;

CREATE FUNCTION radius_accounting_add(p_limit integer) RETURNS integer
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER {_BY_KEY} AS $$
-- Adds what waits of the tenant at hand, about p_limit packets; how many it was. Leaves sessions that somebody is at.
DECLARE
  tenant uuid := NULLIF(current_setting('app.tenant_id', true), '')::uuid;
  zone text := (SELECT t.time_zone FROM tenants t WHERE t.id = tenant);
  waiting uuid[];
  begun timestamptz[];
  held uuid[];
  held_begun timestamptz[];
BEGIN
  SELECT array_agg(w.session_id), array_agg(w.started_at) INTO waiting, begun
    FROM (SELECT DISTINCT i.session_id, i.started_at
            FROM (SELECT i.session_id, i.started_at FROM accounting_inbox i WHERE i.tenant_id = tenant
                   LIMIT p_limit) i) w;
  IF waiting IS NULL THEN
    RETURN 0;
  END IF;
  SELECT array_agg(s.id), array_agg(s.started_at) INTO held, held_begun
    FROM unnest(waiting, begun) w (id, started),
         LATERAL (
           SELECT s.id, s.started_at FROM sessions s
            WHERE s.tenant_id = tenant AND s.id = w.id AND s.started_at = w.started FOR NO KEY UPDATE SKIP LOCKED) s;
  IF cardinality(held) IS DISTINCT FROM cardinality(waiting) THEN
    -- Of a session that was removed, there is nothing to be told.
    DELETE FROM accounting_inbox i
     WHERE i.tenant_id = tenant AND i.session_id = ANY (waiting) AND NOT EXISTS (
       SELECT FROM sessions s
        WHERE s.tenant_id = tenant AND s.id = i.session_id AND s.started_at = i.started_at OFFSET 0);
  END IF;
  IF held IS NULL THEN
    RETURN 0;
  END IF;
  RETURN sessions_settle(tenant, zone, held, held_begun);
END $$;
"""

# What takes the place of functions that there are.
ACCOUNTING = f"""CREATE OR REPLACE FUNCTION radius_accounting({_ARGUMENTS})
  RETURNS boolean
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public
  SET plan_cache_mode = force_generic_plan AS $$
-- One Accounting-Request from the address p_nas; the class in hexadecimal digits. True when it may be acknowledged.
-- Each statement and each expression here is made ready anew for every packet. So what has to be known is found by the
-- statement that writes it down: the tenant, as of radius_client; the session, by the key of radius_session_key; the
-- time, as of radius_now. A router that has just started may think that it is 1970.
BEGIN
  IF p_status = 3 AND p_class <> '' AND p_session_time BETWEEN 0 AND 2147483647
     AND p_input_octets + p_output_octets >= 0 THEN
    INSERT INTO accounting_inbox (
      tenant_id, session_id, started_at, router_id, happened, received, seconds, input_octets, output_octets,
      ip_address)
    SELECT o.tenant_id, o.session_id, o.started_at, r.id,
           CASE WHEN p_event BETWEEN h.at - interval '300 s' AND h.at + interval '300 s'
                THEN LEAST(p_event, h.received) ELSE h.at END, h.received, p_session_time,
           p_input_octets + (LEAST(COALESCE(p_input_gigawords, 0), 1048575) << 32),
           p_output_octets + (LEAST(COALESCE(p_output_gigawords, 0), 1048575) << 32), p_ip_address
      FROM routers r
      JOIN open_sessions o ON o.tenant_id = r.tenant_id AND o.unique_id = encode(sha256(convert_to(
             r.id::text || ' ' || lower(p_class) || ' ' || p_session_id, 'UTF8')), 'hex'),
           LATERAL (
             SELECT n.received, n.received - make_interval(secs => LEAST(COALESCE(p_delay, 0), 86400))
               FROM (SELECT COALESCE(p_at, now() + make_interval(secs => COALESCE(
                       NULLIF(current_setting('ispgraph.clock_offset', true), ''), '0')::float8)) OFFSET 0) n (received)
             OFFSET 0) h (received, at)
     WHERE r.radius_address = p_nas AND r.radius_secret IS NOT NULL
       AND set_config('app.tenant_id', r.tenant_id::text, true) IS NOT NULL;
    IF FOUND THEN
      PERFORM set_config('app.tenant_id', '', true);
      RETURN true;
    END IF;
  END IF;
  RETURN radius_accounting_now(
    p_username, p_nas, p_status, p_session_id, p_class, p_session_time, p_input_octets, p_input_gigawords,
    p_output_octets, p_output_gigawords, p_ip_address, p_calling_station, p_nas_address, p_service_type, p_port_type,
    p_delay, p_event, p_terminate_cause, p_at);
END $$"""

BATCH = f"""CREATE OR REPLACE FUNCTION radius_accounting_batch(
    p_username text[], p_nas inet[], p_status bigint[], p_session_id text[], p_class text[], p_session_time bigint[],
    p_input_octets bigint[], p_input_gigawords bigint[], p_output_octets bigint[], p_output_gigawords bigint[],
    p_ip_address inet[], p_delay bigint[], p_event timestamptz[], p_at timestamptz[])
  RETURNS SETOF integer
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER {_BY_KEY} AS $$
-- Many packets in the order of their arrival, as radius_accounting has them one by one, but added at once. Takes
-- Interims of open sessions. Returns the positions of the others, in order: whoever calls gives these to
-- radius_accounting afterwards, each in a transaction of its own, for a transaction that holds usage and wants another
-- session could wait in a circle. What one packet may mean for another's session keeps its order: all of a user on a
-- router are taken, or none; none of a router that says that it started.
DECLARE
  tenant uuid;
  zone text;
  found record;
  taken integer[] := '{{}}';
BEGIN
  FOR tenant, zone IN
    SELECT t.id, t.time_zone FROM tenants t WHERE t.id IN (
      SELECT r.tenant_id FROM routers r WHERE r.radius_address = ANY (p_nas) AND r.radius_secret IS NOT NULL)
     ORDER BY t.id
  LOOP
    PERFORM set_config('app.tenant_id', tenant::text, true);
    WITH told AS (
      SELECT p.n, r.id AS router, lower(p.username) AS username, p.status, p.received, p.session_time,
             p.input_octets + (LEAST(COALESCE(p.input_gigawords, 0), 1048575) << 32) AS input,
             p.output_octets + (LEAST(COALESCE(p.output_gigawords, 0), 1048575) << 32) AS output,
             CASE WHEN p.event BETWEEN h.at - interval '300 s' AND h.at + interval '300 s'
                  THEN LEAST(p.event, p.received) ELSE h.at END AS at,
             p.ip_address, o.session_id AS session, o.started_at AS started
        FROM unnest(p_username, p_nas, p_status, p_session_id, p_class, p_session_time, p_input_octets,
                    p_input_gigawords, p_output_octets, p_output_gigawords, p_ip_address, p_delay, p_event, p_at)
               WITH ORDINALITY p (
               username, nas, status, session_id, class, session_time, input_octets, input_gigawords, output_octets,
               output_gigawords, ip_address, delay, event, received, n)
        JOIN routers r ON r.tenant_id = tenant AND r.radius_address = p.nas AND r.radius_secret IS NOT NULL
        LEFT JOIN open_sessions o
          ON p.status = 3 AND p.class <> '' AND o.tenant_id = tenant AND o.unique_id = encode(sha256(convert_to(
               r.id::text || ' ' || lower(p.class) || ' ' || p.session_id, 'UTF8')), 'hex'),
             LATERAL (SELECT p.received - make_interval(secs => LEAST(COALESCE(p.delay, 0), 86400)) OFFSET 0) h (at)
    ), fit AS (
      SELECT t.*, bool_and(t.session IS NOT NULL AND COALESCE(t.session_time BETWEEN 0 AND 2147483647
                             AND t.input + t.output >= 0, false)) OVER (PARTITION BY t.router, t.username)
                  AND bool_and(t.status NOT IN (7, 8)) OVER (PARTITION BY t.router) AS whole
        FROM told t
    ), ordered AS (SELECT f.* FROM fit f WHERE f.whole ORDER BY f.session, f.n)
    SELECT array_agg(o.n) AS numbers, array_agg(o.session) AS sessions, array_agg(o.started) AS started,
           array_agg(o.router) AS routers, array_agg(o.at) AS happened, array_agg(o.received) AS received,
           array_agg(o.session_time) AS seconds, array_agg(o.input) AS input, array_agg(o.output) AS output,
           array_agg(o.ip_address) AS addresses
      INTO found FROM ordered o;
    CONTINUE WHEN found.numbers IS NULL;
    PERFORM sessions_settle(tenant, zone, found.sessions, found.started);
    PERFORM sessions_told(tenant, zone, found.sessions, found.started, found.routers, found.happened, found.received,
                          found.seconds, found.input, found.output, found.addresses);
    taken := taken || found.numbers;
  END LOOP;
  PERFORM set_config('app.tenant_id', '', true);
  RETURN QUERY SELECT n FROM generate_subscripts(p_nas, 1) n EXCEPT SELECT unnest(taken) ORDER BY 1;
END $$"""

# By function: what stands there now, from one words to another, which stay; and what takes its place.
NOW = [
    ("CREATE OR REPLACE FUNCTION radius_accounting", "(\n    p_username text", "CREATE FUNCTION radius_accounting_now"),
    (
        "-- One Accounting-Request from",
        "DECLARE",
        """-- What radius_accounting does not put away: everything but the Interims of open sessions. Adds first what
-- waits of the sessions that it is about.
-- Functions in SQL are planned anew with each call, so those that each packet would call are written out: the time is
-- that of radius_now, the key that of radius_session_key.
""",
    ),
    ("  ordinary boolean := false;\n", "  locked boolean", ""),
    ("  reset_input boolean;\n", "  seconds integer;", ""),
    ("  more_seconds integer;\n", "  ignored text;", "  others uuid[];\n  begun timestamptz[];\n"),
    ("  -- The ordinary packet: an Interim", "  IF p_status IN (c_start, c_stop, c_interim)", ""),
    (" AND NOT ordinary THEN", "\n    latest :=", " THEN"),
    (
        "    seconds := LEAST(2147483647,",
        "GREATEST(0, COALESCE(",
        """    IF known.id IS NOT NULL AND EXISTS (
         SELECT FROM accounting_inbox i WHERE i.tenant_id = tenant AND i.session_id = known.id) THEN
      PERFORM sessions_settle(tenant, zone, ARRAY[known.id], ARRAY[known.started_at]);
      SELECT s.* INTO known FROM sessions s
       WHERE s.tenant_id = tenant AND s.id = known.id AND s.started_at = known.started_at;
    END IF;
    seconds := LEAST(2147483647, """,
    ),
    (
        "      IF p_status <> c_stop THEN\n",
        "        FOR place IN",
        """      IF p_status <> c_stop THEN
        SELECT array_agg(o.session_id), array_agg(o.started_at) INTO others, begun
          FROM open_sessions o
         WHERE o.tenant_id = tenant AND o.router_id = router AND o.mac_address = device
           AND o.started_at <= known.started_at AND o.session_id <> known.id;
        IF EXISTS (SELECT FROM accounting_inbox i WHERE i.tenant_id = tenant AND i.session_id = ANY (others)) THEN
          PERFORM sessions_settle(tenant, zone, others, begun);
        END IF;
""",
    ),
    (
        "    -- Of what is new in a packet,",
        "  ELSIF p_status IN (7, 8) THEN",
        """    PERFORM session_told(zone, known, p_status, happened, received, seconds, told_input, told_output,
                         p_ip_address, p_terminate_cause, created);
""",
    ),
    (
        "    -- Accounting-On and -Off,",
        "    FOR place IN",
        """    -- Accounting-On and -Off, which may come late as well: what has begun since lives on.
    SELECT array_agg(o.session_id), array_agg(o.started_at) INTO others, begun
      FROM open_sessions o WHERE o.tenant_id = tenant AND o.router_id = router AND o.started_at < happened;
    IF EXISTS (SELECT FROM accounting_inbox i WHERE i.tenant_id = tenant AND i.session_id = ANY (others)) THEN
      PERFORM sessions_settle(tenant, zone, others, begun);
    END IF;
""",
    ),
]
SILENT = [
    (
        "     WHERE o.tenant_id = tenant AND s.started_at >= oldest AND s.stopped_at IS NULL AND (\n",
        "       b.router_id IS NOT NULL",
        """     WHERE o.tenant_id = tenant AND s.started_at >= oldest AND s.stopped_at IS NULL
       -- Of these something was heard, if nobody has added it yet.
       AND NOT EXISTS (SELECT FROM accounting_inbox i WHERE i.tenant_id = tenant AND i.session_id = s.id) AND (
""",
    ),
]
ANSWER = [
    (
        "    PERFORM set_config('app.tenant_id', line.tenant_id::text, true);\n",
        "  END IF;\n  told :=",
        """    PERFORM set_config('app.tenant_id', line.tenant_id::text, true);
    PERFORM service_settle(line.tenant_id, line.id);
""",
    ),
]

_SIGNATURE = (
    "text, inet, bigint, text, text, bigint, bigint, bigint, bigint, bigint, inet, text, inet, bigint, bigint, bigint, "
    "timestamptz, bigint, timestamptz"
)
GRANTS = {
    "session_told(text, sessions, bigint, timestamptz, timestamptz, bigint, bigint, bigint, inet, bigint, "
    "boolean)": None,
    "sessions_told(uuid, text, uuid[], timestamptz[], uuid[], timestamptz[], timestamptz[], bigint[], bigint[], "
    "bigint[], inet[])": None,
    "sessions_settle(uuid, text, uuid[], timestamptz[])": None,
    "service_settle(uuid, uuid)": None,
    "radius_accounting_waits()": "ispgraph_app",
    "radius_accounting_add(integer)": "ispgraph_app",
    f"radius_accounting_now({_SIGNATURE})": None,
}
# In percent. Whoever adds many at once writes many rows of a page before a version of them may go.
_ROOM, _FORMER_ROOM = 50, 70
# A third of all packets begin a quarter of an hour, and each of these three keys was then looked up by a statement of
# its own. Nothing is added to a quarter that is not added to its day, which has the same keys.
_KEYS = {
    "fk_usage_buckets_tenant_id": (["tenant_id"], "tenants", ["id"]),
    "fk_usage_buckets_tenant_id_customer_id": (["tenant_id", "customer_id"], "customers", ["tenant_id", "id"]),
    "fk_usage_buckets_tenant_id_service_id": (["tenant_id", "service_id"], "services", ["tenant_id", "id"]),
}
_WATCHED = "AFTER INSERT OR UPDATE OF input_octets, output_octets, seconds ON usage_days FOR EACH ROW"


def upgrade() -> None:
    op.create_table(
        "accounting_inbox",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("started_at", _INSTANT, nullable=False),
        sa.Column("router_id", sa.Uuid(), nullable=False),
        sa.Column("happened", _INSTANT, nullable=False),
        sa.Column("received", _INSTANT, nullable=False),
        sa.Column("seconds", sa.Integer(), nullable=False),
        sa.Column("input_octets", sa.BigInteger(), nullable=False),
        sa.Column("output_octets", sa.BigInteger(), nullable=False),
        sa.Column("ip_address", postgresql.INET(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "session_id", "id", name=op.f("pk_accounting_inbox")),
    )
    op.execute("ALTER TABLE accounting_inbox ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE accounting_inbox FORCE ROW LEVEL SECURITY")
    own = f"tenant_id = {CURRENT_TENANT}"
    op.execute(f"CREATE POLICY tenant_isolation ON accounting_inbox USING ({own}) WITH CHECK ({own})")
    op.execute("CREATE POLICY owner_lookup ON accounting_inbox FOR SELECT TO ispgraph_owner USING (true)")
    op.execute("GRANT SELECT ON accounting_inbox TO ispgraph_app")
    op.execute(f"ALTER TABLE usage_days SET (fillfactor = {_ROOM})")
    _give_sessions(_ROOM)
    for key in _KEYS:
        op.drop_constraint(op.f(key), "usage_buckets", type_="foreignkey")
    op.execute("DROP TRIGGER watched ON usage_days")
    op.execute(
        f"CREATE TRIGGER watched {_WATCHED} WHEN (current_setting('ispgraph.together', true) IS DISTINCT FROM 'yes') "
        "EXECUTE FUNCTION usage_is_watched()"
    )
    for function in FUNCTIONS.strip().split("\n\n"):
        op.execute(function)
    op.execute(_changed(_former("radius_accounting"), NOW))
    for signature, role in GRANTS.items():
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        if role:
            op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO {role}")
    op.execute(ACCOUNTING)
    op.execute(BATCH)
    op.execute(_changed(_former("radius_sessions_silent"), SILENT))
    op.execute(_changed(_former("radius_answer"), ANSWER))


def downgrade() -> None:
    # Everybody's: what was acknowledged stays in the books.
    op.execute(
        """DO $$
        DECLARE
          tenant uuid;
        BEGIN
          FOR tenant IN SELECT radius_accounting_waits() LOOP
            PERFORM set_config('app.tenant_id', tenant::text, true);
            PERFORM radius_accounting_add(2147483647);
          END LOOP;
          PERFORM set_config('app.tenant_id', '', true);
        END $$"""
    )
    for name in ("radius_accounting", "radius_accounting_batch", "radius_sessions_silent", "radius_answer"):
        op.execute(_former(name))
    for signature in reversed(GRANTS):
        op.execute(f"DROP FUNCTION {signature}")
    op.execute("DROP TRIGGER watched ON usage_days")
    op.execute(f"CREATE TRIGGER watched {_WATCHED} EXECUTE FUNCTION usage_is_watched()")
    op.execute(f"ALTER TABLE usage_days SET (fillfactor = {_FORMER_ROOM})")
    _give_sessions(_FORMER_ROOM)
    for key, (columns, target, of_target) in _KEYS.items():
        op.create_foreign_key(op.f(key), "usage_buckets", target, columns, of_target)
    op.drop_table("accounting_inbox")


def _give_sessions(room: int) -> None:
    """The same to each partition of `sessions`, those that are to be made included."""
    op.execute(
        f"""DO $$
        DECLARE
          quarter regclass;
        BEGIN
          FOR quarter IN SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = 'sessions'::regclass LOOP
            EXECUTE format('ALTER TABLE %s SET (fillfactor = {room})', quarter);
          END LOOP;
        END $$"""
    )
    folder = op.get_context().script
    assert folder is not None
    texts = folder.get_revision("0011").module.FUNCTIONS.strip().split("\n\n")
    (text,) = [each for each in texts if each.startswith("CREATE FUNCTION sessions_quarters(")]
    assert text.count(f"fillfactor = {_FORMER_ROOM}") == 1
    text = text.replace(f"fillfactor = {_FORMER_ROOM}", f"fillfactor = {room}")
    op.execute(text.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1))


def _former(name: str) -> str:
    """A function as it was made last, to be made in its place."""
    folder = op.get_context().script
    assert folder is not None
    quarters, decision = folder.get_revision("0011").module, folder.get_revision("0019").module
    if name == "radius_answer":
        (text,) = [each for each in decision.FUNCTIONS.strip().split("\n\n") if f" FUNCTION {name}(" in each]
        return str(text).replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1)
    made: str = quarters._changed(quarters._former("0007", name), quarters.CHANGES["0007", name])
    if name == "radius_accounting_batch":
        made = quarters._changed(made, decision._BATCH)
    return made


def _changed(function: str, passages: list[tuple[str, str, str]]) -> str:
    for begin, end, instead in passages:
        assert function.count(begin) == 1, begin
        before, _, rest = function.partition(begin)
        assert end in rest, end
        function = before + instead + rest[rest.index(end) :]
    return function

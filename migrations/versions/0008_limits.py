"""Limits of speed, time and volume, and fair use: what is left at a login, and what is watched in mid-session.

`service_standing` is the one place that says how a service stands at a moment. RADIUS, the graph and the scheduler ask
it; a service without any limit is not asked about at a login.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

CURRENT_TENANT = "(SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)"
_INSTANT = postgresql.TIMESTAMP(timezone=True)

# Statements are separated by empty lines.
FUNCTIONS = """
CREATE FUNCTION billing_cycle(p_cycle text, p_validity_days integer, OUT months integer, OUT days integer)
  LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog AS $$
BEGIN
  -- How long a period is, by the rule of `domain.billing.periods.cycle_of`: months of the calendar, or days.
  months := CASE WHEN p_cycle = 'MONTHLY' AND p_validity_days BETWEEN 28 AND 31 THEN 1
                 WHEN p_cycle = 'QUARTERLY' AND (p_validity_days = 30 OR p_validity_days BETWEEN 89 AND 92) THEN 3
                 WHEN p_cycle = 'YEARLY' AND p_validity_days IN (30, 365, 366) THEN 12 ELSE 0 END;
  days := CASE WHEN months > 0 THEN 0 WHEN p_cycle = 'WEEKLY' AND p_validity_days = 30 THEN 7
               ELSE p_validity_days END;
END $$;

CREATE FUNCTION billing_boundary(
    p_anchor timestamptz, p_zone text, p_months integer, p_days integer, p_number integer)
  RETURNS timestamptz LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
DECLARE
  wall timestamp;
  found timestamptz;
  before timestamptz;
  earlier timestamptz;
BEGIN
  -- When the period with this number begins, counted from the anchor by the calendar of the zone, at the anchor's time
  -- on the wall. The day of a month that has no such day is its last.
  IF p_number = 0 THEN
    RETURN p_anchor;
  END IF;
  wall := p_anchor AT TIME ZONE p_zone + make_interval(months => p_number * p_months, days => p_number * p_days);
  found := wall AT TIME ZONE p_zone;
  -- Of a time that comes twice that is the second; the first is meant, by the offset from before the change.
  before := found - interval '24 hours';
  earlier := (wall + (before AT TIME ZONE 'UTC' - before AT TIME ZONE p_zone)) AT TIME ZONE 'UTC';
  RETURN CASE WHEN earlier < found AND earlier AT TIME ZONE p_zone = wall THEN earlier ELSE found END;
END $$;

CREATE FUNCTION billing_number(
    p_anchor timestamptz, p_zone text, p_months integer, p_days integer, p_at timestamptz)
  RETURNS integer LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public AS $$
DECLARE
  first timestamp := p_anchor AT TIME ZONE p_zone;
  wall timestamp := p_at AT TIME ZONE p_zone;
  n integer;
BEGIN
  -- The number of the period around p_at; before the anchor it is below zero.
  IF p_months > 0 THEN
    n := floor((12 * (extract(year FROM wall) - extract(year FROM first))
                + extract(month FROM wall) - extract(month FROM first)) / p_months);
  ELSE
    n := floor((wall::date - first::date)::numeric / p_days);
  END IF;
  -- That was by the calendar alone; the time of day can put it into the period before or after.
  WHILE billing_boundary(p_anchor, p_zone, p_months, p_days, n) > p_at LOOP
    n := n - 1;
  END LOOP;
  WHILE billing_boundary(p_anchor, p_zone, p_months, p_days, n + 1) <= p_at LOOP
    n := n + 1;
  END LOOP;
  RETURN n;
END $$;

CREATE FUNCTION service_anchor(p_service services) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
  -- What the billing periods of a service are counted from: the end that is paid for.
  SELECT p_service.expires_at
$$;

CREATE FUNCTION limits_period(
    p_kind text, p_zone text, p_anchor timestamptz, p_cycle text, p_days integer, p_at timestamptz,
    OUT starts timestamptz, OUT ends timestamptz)
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public AS $$
DECLARE
  wall timestamp := p_at AT TIME ZONE p_zone;
  step interval;
  cycle record;
  n integer;
BEGIN
  -- The period around p_at: a DAY, WEEK (from Monday) or MONTH of the zone's calendar, or the BILLING_PERIOD of a
  -- package. Without an anchor to count from that is the month.
  IF p_kind = 'BILLING_PERIOD' AND p_days > 0 AND isfinite(p_anchor) THEN
    SELECT c.months, c.days INTO cycle FROM billing_cycle(p_cycle, p_days) c;
    n := billing_number(p_anchor, p_zone, cycle.months, cycle.days, p_at);
    starts := billing_boundary(p_anchor, p_zone, cycle.months, cycle.days, n);
    ends := billing_boundary(p_anchor, p_zone, cycle.months, cycle.days, n + 1);
    RETURN;
  END IF;
  step := CASE p_kind WHEN 'DAY' THEN interval '1 day' WHEN 'WEEK' THEN interval '7 days' ELSE interval '1 month' END;
  wall := date_trunc(CASE WHEN p_kind IN ('DAY', 'WEEK') THEN p_kind ELSE 'MONTH' END, wall);
  starts := wall AT TIME ZONE p_zone;
  ends := (wall + step) AT TIME ZONE p_zone;
END $$;

CREATE FUNCTION limits_used(
    p_tenant uuid, p_service uuid, p_zone text, p_since timestamptz, p_until timestamptz,
    OUT octets bigint, OUT seconds bigint)
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public AS $$
DECLARE
  since timestamp := p_since AT TIME ZONE p_zone;
  until timestamp := p_until AT TIME ZONE p_zone;
  first_day date := since::date;
  end_day date := COALESCE(until::date, 'infinity');
  head timestamptz;
  tail timestamptz;
  more record;
BEGIN
  -- Both directions together, from p_since until before p_until, or all there is. Whole days of the zone, and quarters
  -- of an hour where a period begins or ends within a day: a quarter belongs to the period in which it begins.
  IF since <> first_day THEN
    first_day := first_day + 1;
    head := LEAST(first_day::timestamp AT TIME ZONE p_zone, p_until);
  END IF;
  IF until <> end_day AND end_day >= first_day THEN
    tail := end_day::timestamp AT TIME ZONE p_zone;
  END IF;
  SELECT COALESCE(sum(d.input_octets + d.output_octets), 0), COALESCE(sum(d.seconds), 0) INTO octets, seconds
    FROM usage_days d
   WHERE d.tenant_id = p_tenant AND d.service_id = p_service AND d.day >= first_day AND d.day < end_day;
  IF head IS NOT NULL OR tail IS NOT NULL THEN
    SELECT COALESCE(sum(b.octets), 0) AS octets, COALESCE(sum(b.seconds), 0) AS seconds INTO more FROM (
      SELECT h.input_octets + h.output_octets AS octets, h.seconds FROM usage_buckets h
       WHERE h.tenant_id = p_tenant AND h.service_id = p_service AND h.starts_at >= p_since AND h.starts_at < head
       UNION ALL
      SELECT t.input_octets + t.output_octets, t.seconds FROM usage_buckets t
       WHERE t.tenant_id = p_tenant AND t.service_id = p_service AND t.starts_at >= tail AND t.starts_at < p_until) b;
    octets := octets + more.octets;
    seconds := seconds + more.seconds;
  END IF;
END $$;

CREATE FUNCTION limits_running(p_tenant uuid, p_service uuid, p_since timestamptz, p_at timestamptz) RETURNS bigint
  LANGUAGE sql STABLE SET search_path = pg_catalog, public AS $$
  -- The seconds of open sessions since accounting last told of them. One that was not heard of for longer than three
  -- interim intervals may be gone: no more is counted than that.
  SELECT COALESCE(sum(GREATEST(0, extract(epoch FROM
           LEAST(p_at, s.updated_at + interval '900 s') - GREATEST(s.updated_at, p_since)))), 0)::bigint
    FROM sessions s WHERE s.tenant_id = p_tenant AND s.service_id = p_service AND s.stopped_at IS NULL
$$;

CREATE FUNCTION limits_carried(
    p_tenant uuid, p_service uuid, p_zone text, p_anchor timestamptz, p_cycle text, p_days integer, p_octets bigint,
    p_since timestamptz, p_starts timestamptz)
  RETURNS bigint LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public AS $$
DECLARE
  bounds timestamptz[] := ARRAY[p_starts];
  carried bigint := 0;
  used bigint;
BEGIN
  -- What is left over when the period that begins at p_starts begins: at most one period's worth. A period that ended
  -- before p_since has left nothing; nor has one of a year ago and more.
  WHILE bounds[1] > p_since AND cardinality(bounds) <= 12 LOOP
    bounds := (SELECT p.starts FROM limits_period(
      'BILLING_PERIOD', p_zone, p_anchor, p_cycle, p_days, bounds[1] - interval '1 microsecond') p) || bounds;
  END LOOP;
  FOR i IN 2 .. cardinality(bounds) LOOP
    used := (SELECT u.octets FROM limits_used(p_tenant, p_service, p_zone, bounds[i - 1], bounds[i]) u);
    carried := LEAST(p_octets, GREATEST(0, p_octets + carried - used));
  END LOOP;
  RETURN carried;
END $$;

CREATE FUNCTION limits_hours(
    p_windows jsonb, p_zone text, p_at timestamptz, OUT within boolean, OUT changes_at timestamptz)
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
DECLARE
  today date := (p_at AT TIME ZONE p_zone)::date;
  spans tstzmultirange;
BEGIN
  -- Whether one of the windows is open, and until when, those that follow without a gap included; or when the next one
  -- opens. NULL: never. A window that ends as late as it begins or earlier ends on the next day.
  SELECT range_agg(tstzrange(w.opens, GREATEST(w.opens, w.closes))) INTO spans FROM (
    SELECT (d.day + e.begins) AT TIME ZONE p_zone AS opens,
           (d.day + CASE WHEN e.finishes <= e.begins THEN 1 ELSE 0 END + e.finishes) AT TIME ZONE p_zone AS closes
      FROM (SELECT today + n AS day FROM generate_series(-1, 8) n) d
      CROSS JOIN (SELECT j.value -> 'days' AS days, (j.value ->> 'from')::time AS begins,
                         (j.value ->> 'to')::time AS finishes FROM jsonb_array_elements(p_windows) j) e
     WHERE e.days @> to_jsonb(extract(isodow FROM d.day)::integer)) w;
  changes_at := (SELECT upper(s) FROM unnest(spans) s WHERE s @> p_at);
  within := changes_at IS NOT NULL;
  IF within THEN
    changes_at := CASE WHEN changes_at < p_at + interval '7 days' THEN changes_at END;
  ELSE
    changes_at := (SELECT min(lower(s)) FROM unnest(spans) s WHERE lower(s) > p_at);
  END IF;
END $$;

CREATE FUNCTION service_standing(
    p_service uuid, p_at timestamptz,
    OUT standing text, OUT refusal text, OUT barred text, OUT upload_kbps integer, OUT download_kbps integer,
    OUT source text, OUT until timestamptz, OUT octets_left bigint, OUT seconds_left bigint,
    OUT changes_at timestamptz, OUT look_octets bigint, OUT look_seconds bigint, OUT today date,
    OUT today_octets bigint, OUT today_seconds bigint, OUT period_octets bigint, OUT quota_octets bigint,
    OUT fup_active boolean, OUT fup_since timestamptz, OUT fup_until timestamptz, OUT fup_octets bigint,
    OUT fup_seconds bigint, OUT fup_percent numeric, OUT fup_notice boolean)
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public AS $$
-- How a service stands: `refusal` is why nobody gets on line, `barred` the part of it that is due to limits; the rates
-- and where they come from, 0 for the router's own; what is left for a session that begins now; when that changes by
-- the clock, and after how much use. NULL: no limit.
DECLARE
  o record;
  day record;
  period record;
  used record;
  other record;
  hours record;
  quota bigint;
  spent bigint;
  spent_ends timestamptz;
BEGIN
  SELECT s.tenant_id, s.status, s.expires_at, c.status AS customer_status, t.time_zone AS zone,
         service_anchor(s) AS anchor, k.billing_cycle, k.validity_days, k.upload_kbps, k.download_kbps,
         k.data_quota_bytes, k.time_quota_seconds, k.fup_threshold_bytes, k.fup_threshold_seconds,
         k.fup_download_kbps, k.fup_upload_kbps, k.fup_reset_period, k.fup_notify_at_percent, l.service_id AS limited,
         l.speed_download_kbps, l.speed_upload_kbps, l.temporary_download_kbps, l.temporary_upload_kbps,
         l.temporary_until, l.session_seconds, l.daily_seconds, l.weekly_seconds, l.monthly_seconds, l.windows,
         l.daily_bytes, l.monthly_bytes, l.rollover, l.rollover_since,
         w.fup_notified_since, w.fup_reset_at, w.fup_forgiven_octets, w.fup_forgiven_seconds
    INTO o
    FROM services s
    JOIN customers c ON c.tenant_id = s.tenant_id AND c.id = s.customer_id
    JOIN packages k ON k.tenant_id = s.tenant_id AND k.id = s.package_id
    JOIN tenants t ON t.id = s.tenant_id
    LEFT JOIN service_limits l ON l.tenant_id = s.tenant_id AND l.service_id = s.id
    LEFT JOIN service_watches w ON w.tenant_id = s.tenant_id AND w.service_id = s.id
   WHERE s.id = p_service;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  upload_kbps := o.upload_kbps;
  download_kbps := o.download_kbps;
  source := 'PACKAGE';
  fup_active := false;
  changes_at := CASE WHEN o.expires_at > p_at THEN o.expires_at END;
  -- What counts by the day.
  IF o.limited IS NOT NULL OR o.data_quota_bytes IS NOT NULL OR o.time_quota_seconds IS NOT NULL
     OR o.fup_reset_period IS NOT NULL THEN
    today := (p_at AT TIME ZONE o.zone)::date;
    SELECT p.starts, p.ends INTO day FROM limits_period('DAY', o.zone, NULL, NULL, NULL, p_at) p;
    SELECT u.octets, u.seconds INTO used FROM limits_used(o.tenant_id, p_service, o.zone, day.starts, NULL) u;
    today_octets := used.octets;
    today_seconds := used.seconds;
  END IF;
  IF o.daily_bytes IS NOT NULL THEN
    octets_left := o.daily_bytes - today_octets;
    look_octets := CASE WHEN octets_left > 0 THEN octets_left END;
    IF octets_left <= 0 THEN
      barred := 'The data of today is used up';
      changes_at := LEAST(changes_at, day.ends);
    END IF;
  END IF;
  -- What counts by the billing period.
  IF COALESCE(o.data_quota_bytes, o.time_quota_seconds, o.daily_bytes, o.monthly_bytes) IS NOT NULL THEN
    SELECT p.starts, p.ends INTO period
      FROM limits_period('BILLING_PERIOD', o.zone, o.anchor, o.billing_cycle, o.validity_days, p_at) p;
    SELECT u.octets, u.seconds INTO used FROM limits_used(o.tenant_id, p_service, o.zone, period.starts, NULL) u;
    period_octets := used.octets;
    quota_octets := o.monthly_bytes + CASE WHEN o.rollover THEN limits_carried(
      o.tenant_id, p_service, o.zone, o.anchor, o.billing_cycle, o.validity_days, o.monthly_bytes, o.rollover_since,
      period.starts)
      ELSE 0 END;
    quota_octets := LEAST(quota_octets, o.data_quota_bytes);
    IF quota_octets IS NOT NULL THEN
      quota := quota_octets - used.octets;
      octets_left := LEAST(octets_left, quota);
      IF quota > 0 THEN
        look_octets := LEAST(look_octets, quota);
      ELSE
        barred := COALESCE(barred, 'The data of this period is used up');
        changes_at := LEAST(changes_at, period.ends);
      END IF;
    END IF;
  END IF;
  -- Time, with that of open sessions which accounting has not told of yet.
  IF COALESCE(o.daily_seconds, o.weekly_seconds, o.monthly_seconds, o.time_quota_seconds) IS NOT NULL THEN
    FOR other IN
      SELECT v.kind, v.allowed, v.message
        FROM (VALUES ('DAY', o.daily_seconds, 'The time of today is used up'),
                     ('WEEK', o.weekly_seconds, 'The time of this week is used up'),
                     ('MONTH', o.monthly_seconds, 'The time of this month is used up'),
                     ('BILLING_PERIOD', o.time_quota_seconds, 'The time of this period is used up'))
             v (kind, allowed, message)
       WHERE v.allowed IS NOT NULL
    LOOP
      SELECT p.starts, p.ends INTO period
        FROM limits_period(other.kind, o.zone, o.anchor, o.billing_cycle, o.validity_days, p_at) p;
      SELECT other.allowed - u.seconds - limits_running(o.tenant_id, p_service, period.starts, p_at) INTO quota
        FROM limits_used(o.tenant_id, p_service, o.zone, period.starts, NULL) u;
      seconds_left := LEAST(seconds_left, quota);
      IF quota > 0 THEN
        look_seconds := LEAST(look_seconds, quota);
      ELSE
        barred := COALESCE(barred, other.message);
        changes_at := LEAST(changes_at, period.ends);
      END IF;
    END LOOP;
  END IF;
  seconds_left := LEAST(seconds_left, o.session_seconds);
  IF o.windows IS NOT NULL THEN
    SELECT h.within, h.changes_at INTO hours FROM limits_hours(o.windows, o.zone, p_at) h;
    changes_at := LEAST(changes_at, hours.changes_at);
    IF hours.within THEN
      seconds_left := LEAST(seconds_left, floor(extract(epoch FROM hours.changes_at - p_at))::bigint);
    ELSE
      barred := 'Outside of the hours of this service';
    END IF;
  END IF;
  -- Fair use.
  IF o.fup_reset_period IS NOT NULL THEN
    SELECT p.starts, p.ends INTO fup_since, fup_until
      FROM limits_period(o.fup_reset_period, o.zone, o.anchor, o.billing_cycle, o.validity_days, p_at) p;
    SELECT u.octets, u.seconds INTO fup_octets, fup_seconds
      FROM limits_used(o.tenant_id, p_service, o.zone, fup_since, NULL) u;
    IF o.fup_threshold_seconds IS NOT NULL THEN
      fup_seconds := fup_seconds + limits_running(o.tenant_id, p_service, fup_since, p_at);
    END IF;
    IF o.fup_reset_at >= fup_since THEN
      fup_octets := GREATEST(0, fup_octets - o.fup_forgiven_octets);
      fup_seconds := GREATEST(0, fup_seconds - o.fup_forgiven_seconds);
    END IF;
    fup_percent := GREATEST(100.0 * fup_octets / o.fup_threshold_bytes, 100.0 * fup_seconds / o.fup_threshold_seconds);
    fup_active := fup_percent >= 100;
    fup_notice := fup_percent >= o.fup_notify_at_percent AND o.fup_notified_since IS DISTINCT FROM fup_since;
    IF fup_active THEN
      changes_at := LEAST(changes_at, fup_until);
    ELSE
      look_octets := LEAST(look_octets, o.fup_threshold_bytes - fup_octets);
      look_seconds := LEAST(look_seconds, o.fup_threshold_seconds - fup_seconds);
      IF fup_percent < o.fup_notify_at_percent THEN
        look_octets := LEAST(look_octets,
          ceil(o.fup_threshold_bytes * o.fup_notify_at_percent / 100.0)::bigint - fup_octets);
        look_seconds := LEAST(look_seconds,
          ceil(o.fup_threshold_seconds * o.fup_notify_at_percent / 100.0)::bigint - fup_seconds);
      END IF;
    END IF;
  END IF;
  -- Which rates count. A temporary limit was set for these very days, so it beats everything. Fair use beats what is
  -- permanent wherever it is slower: a limit set once must not be a way around it, nor does it make anybody faster.
  IF o.speed_download_kbps IS NOT NULL THEN
    upload_kbps := o.speed_upload_kbps;
    download_kbps := o.speed_download_kbps;
    source := CASE WHEN download_kbps = 0 THEN 'ROUTER' ELSE 'SPEED_LIMIT' END;
  END IF;
  IF fup_active AND (source = 'ROUTER' OR upload_kbps > o.fup_upload_kbps OR download_kbps > o.fup_download_kbps) THEN
    upload_kbps := LEAST(NULLIF(upload_kbps, 0), o.fup_upload_kbps);
    download_kbps := LEAST(NULLIF(download_kbps, 0), o.fup_download_kbps);
    source := 'FUP';
    until := fup_until;
  END IF;
  IF o.temporary_until > p_at THEN
    upload_kbps := o.temporary_upload_kbps;
    download_kbps := o.temporary_download_kbps;
    source := CASE WHEN download_kbps = 0 THEN 'ROUTER' ELSE 'TEMPORARY_SPEED_LIMIT' END;
    until := o.temporary_until;
    changes_at := LEAST(changes_at, o.temporary_until);
  END IF;
  refusal := COALESCE(radius_refusal(o.status, o.customer_status, o.expires_at, p_at), barred);
  standing := CASE WHEN refusal IS NOT NULL THEN 'off' WHEN download_kbps = 0 THEN 'router'
                   ELSE upload_kbps || 'k/' || download_kbps || 'k' END;
END $$;

CREATE FUNCTION watch_services(p_services uuid[], p_at timestamptz)
  RETURNS TABLE (service_id uuid, changed boolean, notice boolean, overstayed boolean)
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, public AS $$
#variable_conflict use_column
BEGIN
  -- Look at services whose rows and watches the caller has locked, and say when to look again. `changed`: the network
  -- was told something else, and there is something in it that has to follow now: RADIUS itself decides anew at each
  -- login. `notice`: the threshold of fair use is near for the first time in a period. `overstayed`: a session is
  -- longer than it may be. Who was never looked at is known by the sessions it has.
  RETURN QUERY
  WITH seen AS MATERIALIZED (
    SELECT w.tenant_id AS owner, w.service_id AS id, w.standing AS former, n.*, e.*,
           e.online > 0 OR (s.connection_type = 'STATIC_IP' AND s.router_id IS NOT NULL)
             OR COALESCE(r.mode = 'LOCAL', false) AS concerned
      FROM services s
      JOIN service_watches w ON w.tenant_id = s.tenant_id AND w.service_id = s.id
      LEFT JOIN routers r ON r.tenant_id = s.tenant_id AND r.id = s.router_id
      LEFT JOIN service_limits l ON l.tenant_id = s.tenant_id AND l.service_id = s.id
      CROSS JOIN LATERAL service_standing(s.id, p_at) n
      CROSS JOIN LATERAL (
        SELECT count(*) AS online, min(o.started_at) + make_interval(secs => l.session_seconds) AS too_long,
               COALESCE(bool_or(CASE WHEN w.standing IS NULL
                 THEN o.policy || o.rate <> radius_policy_of(s.id, p_at) END), false) AS unlike
          FROM sessions o WHERE o.tenant_id = s.tenant_id AND o.service_id = s.id AND o.stopped_at IS NULL) e
     WHERE s.id = ANY (p_services)),
  kept AS (
    UPDATE service_watches w SET
           standing = f.standing,
           -- Time passes only in sessions; one may begin at any moment.
           look_at = COALESCE(LEAST(f.changes_at,
             CASE WHEN f.look_seconds > 0 THEN p_at + make_interval(secs =>
               CASE WHEN f.online > 0 THEN GREATEST(f.look_seconds / f.online, 5)
                    ELSE GREATEST(f.look_seconds, 60) END) END,
             -- Within a day at the latest where usage counts, each at another time.
             CASE WHEN COALESCE(f.look_octets, f.look_seconds) IS NOT NULL
                  THEN p_at + interval '12 hours' * (1 + random()) END,
             -- The router has been told as well, at the login: it may do it first.
             CASE WHEN f.too_long IS NOT NULL THEN GREATEST(f.too_long, p_at) + interval '20 s' END), 'infinity'),
           alarm_day = CASE WHEN COALESCE(f.look_octets, f.look_seconds) IS NOT NULL THEN f.today END,
           alarm_octets = f.today_octets + f.look_octets,
           alarm_seconds = f.today_seconds + f.look_seconds,
           fup_activated_at = CASE WHEN f.fup_active THEN CASE
             WHEN w.fup_activated_at >= f.fup_since THEN w.fup_activated_at ELSE p_at END END,
           fup_manual = w.fup_manual AND f.fup_active AND w.fup_activated_at >= f.fup_since,
           fup_notified_since = CASE WHEN f.fup_notice THEN f.fup_since ELSE w.fup_notified_since END
      FROM seen f WHERE w.tenant_id = f.owner AND w.service_id = f.id)
  SELECT f.id, f.concerned AND (f.former <> f.standing OR f.unlike) IS TRUE, COALESCE(f.fup_notice, false),
         COALESCE(f.too_long <= p_at, false)
    FROM seen f ORDER BY f.id;
END $$;

CREATE FUNCTION watch_told(p_service uuid, p_at timestamptz) RETURNS void
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, public AS $$
  -- The network is being told how a service stands now: only a change from this is worth another job.
  UPDATE service_watches w SET look_at = '-infinity', standing = n.standing
    FROM services s CROSS JOIN LATERAL service_standing(s.id, p_at) n
   WHERE s.id = p_service AND w.tenant_id = s.tenant_id AND w.service_id = s.id
$$;

CREATE FUNCTION due_watches(p_at timestamptz) RETURNS TABLE (tenant_id uuid)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  SELECT t.id FROM tenants t
   WHERE EXISTS (SELECT FROM service_watches w WHERE w.tenant_id = t.id AND w.look_at <= p_at)
$$;

CREATE FUNCTION service_is_watched() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
  INSERT INTO service_watches (tenant_id, service_id, look_at, fup_manual, fup_forgiven_octets, fup_forgiven_seconds)
  VALUES (NEW.tenant_id, NEW.id, '-infinity', false, 0, 0)
  ON CONFLICT (tenant_id, service_id) DO UPDATE SET look_at = '-infinity';
  RETURN NULL;
END $$;

CREATE FUNCTION usage_is_watched() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
  UPDATE service_watches w SET look_at = '-infinity'
   WHERE w.tenant_id = NEW.tenant_id AND w.service_id = NEW.service_id
     -- Not a comparison that an index could be read by: the key is what leads to the row.
     AND w.look_at IS DISTINCT FROM '-infinity'
     AND CASE NEW.day - w.alarm_day
           WHEN 0 THEN NEW.input_octets + NEW.output_octets >= w.alarm_octets OR NEW.seconds >= w.alarm_seconds
           -- After midnight that of both days counts, so that not everybody is looked at then.
           WHEN 1 THEN (
             SELECT NEW.input_octets + NEW.output_octets + COALESCE(sum(d.input_octets + d.output_octets), 0)
                      >= w.alarm_octets
                    OR NEW.seconds + COALESCE(sum(d.seconds), 0) >= w.alarm_seconds
               FROM usage_days d
              WHERE d.tenant_id = w.tenant_id AND d.service_id = w.service_id AND d.day = w.alarm_day)
           ELSE w.alarm_day IS NOT NULL END;
  RETURN NULL;
END $$;
"""

DECIDED = """
CREATE OR REPLACE FUNCTION radius_decided(p_service services, p_clear text, p_at timestamptz)
  RETURNS TABLE (list text, attribute text, op text, value text)
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public AS $$
#variable_conflict use_column
DECLARE
  o record;
  n record;
  reason text;
BEGIN
  -- Under the row-level security of whoever calls. What is left is only asked where there is a limit.
  SELECT c.status AS customer_status, t.suspension, t.walled_address_list, t.walled_pool, t.walled_kbps, k.upload_kbps,
         k.download_kbps, l.service_id IS NOT NULL OR k.data_quota_bytes IS NOT NULL
           OR k.time_quota_seconds IS NOT NULL OR k.fup_reset_period IS NOT NULL AS limited
    INTO o
    FROM customers c
    JOIN tenants t ON t.id = c.tenant_id
    JOIN packages k ON k.tenant_id = c.tenant_id AND k.id = p_service.package_id
    LEFT JOIN service_limits l ON l.tenant_id = c.tenant_id AND l.service_id = p_service.id
   WHERE c.tenant_id = p_service.tenant_id AND c.id = p_service.customer_id;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  reason := radius_refusal(p_service.status, o.customer_status, p_service.expires_at, p_at);
  IF o.limited AND reason IS NULL THEN
    SELECT s.barred, s.upload_kbps, s.download_kbps, s.octets_left, s.seconds_left INTO n
      FROM service_standing(p_service.id, p_at) s;
    RETURN QUERY SELECT p.list, p.attribute, p.op, p.value FROM radius_policy_rows(
      n.barred, p_clear, p_service.profile, p_service.ip_address, p_service.subnet, n.upload_kbps, n.download_kbps,
      n.octets_left, LEAST(n.seconds_left, 2147483647)::integer, p_service.expires_at, p_at) p;
    RETURN;
  END IF;
  RETURN QUERY SELECT p.list, p.attribute, p.op, p.value FROM radius_policy_rows(
    reason, p_clear, p_service.profile, p_service.ip_address, p_service.subnet, o.upload_kbps, o.download_kbps,
    NULL, NULL, p_service.expires_at, p_at,
    CASE WHEN reason IS NOT NULL AND radius_is_walled(o.suspension, p_service.status, o.customer_status,
           p_service.suspend_reason, p_service.expires_at, p_at) THEN o.walled_address_list END,
    o.walled_pool, o.walled_kbps) p;
END $$;
"""

TRIGGERS = """
CREATE TRIGGER watched AFTER INSERT OR UPDATE OF status, package_id, expires_at ON services
  FOR EACH ROW EXECUTE FUNCTION service_is_watched();

CREATE TRIGGER watched AFTER INSERT OR UPDATE OF input_octets, output_octets, seconds ON usage_days
  FOR EACH ROW EXECUTE FUNCTION usage_is_watched();
"""

GRANTS = {
    "billing_cycle(text, integer)": "ispgraph_app",
    "billing_boundary(timestamptz, text, integer, integer, integer)": "ispgraph_app",
    "billing_number(timestamptz, text, integer, integer, timestamptz)": "ispgraph_app",
    "service_anchor(services)": "ispgraph_app",
    "limits_period(text, text, timestamptz, text, integer, timestamptz)": "ispgraph_app",
    "limits_used(uuid, uuid, text, timestamptz, timestamptz)": "ispgraph_app",
    "limits_running(uuid, uuid, timestamptz, timestamptz)": "ispgraph_app",
    "limits_carried(uuid, uuid, text, timestamptz, text, integer, bigint, timestamptz, timestamptz)": "ispgraph_app",
    "limits_hours(jsonb, text, timestamptz)": "ispgraph_app",
    "service_standing(uuid, timestamptz)": "ispgraph_app",
    "watch_services(uuid[], timestamptz)": "ispgraph_app",
    "watch_told(uuid, timestamptz)": "ispgraph_app",
    "due_watches(timestamptz)": "ispgraph_app",
    "service_is_watched()": None,
    "usage_is_watched()": None,
}


def _rates(prefix: str) -> str:
    down, up = f"{prefix}_download_kbps", f"{prefix}_upload_kbps"
    return (
        f"({down} IS NULL) = ({up} IS NULL) AND ({down} = 0) IS NOT DISTINCT FROM ({up} = 0) "
        f"AND {down} BETWEEN 0 AND 10000000 AND {up} BETWEEN 0 AND 10000000"
    )


CHECKS = {
    "speed": _rates("speed"),
    "temporary": _rates("temporary"),
    "temporary_until": "(temporary_until IS NULL) = (temporary_download_kbps IS NULL)",
    "seconds": "session_seconds > 0 AND daily_seconds > 0 AND weekly_seconds > 0 AND monthly_seconds > 0",
    "bytes": "daily_bytes > 0 AND monthly_bytes > 0",
}


def upgrade() -> None:
    rates = ("speed_download_kbps", "speed_upload_kbps", "temporary_download_kbps", "temporary_upload_kbps")
    seconds = ("session_seconds", "daily_seconds", "weekly_seconds", "monthly_seconds")
    _table(
        "service_limits",
        "SELECT, INSERT, UPDATE, DELETE",
        *(sa.Column(name, sa.Integer(), nullable=True) for name in rates),
        sa.Column("temporary_until", _INSTANT, nullable=True),
        *(sa.Column(name, sa.Integer(), nullable=True) for name in seconds),
        sa.Column("windows", postgresql.JSONB(), nullable=True),
        sa.Column("daily_bytes", sa.BigInteger(), nullable=True),
        sa.Column("monthly_bytes", sa.BigInteger(), nullable=True),
        sa.Column("rollover", sa.Boolean(), nullable=False),
        sa.Column("rollover_since", _INSTANT, nullable=True),
        *(sa.CheckConstraint(rule, name=op.f(f"ck_service_limits_{name}")) for name, rule in CHECKS.items()),
    )
    _table(
        "service_watches",
        "SELECT, INSERT, UPDATE",
        sa.Column("look_at", _INSTANT, nullable=False),
        sa.Column("standing", sa.String(40), nullable=True),
        sa.Column("alarm_day", sa.Date(), nullable=True),
        sa.Column("alarm_octets", sa.BigInteger(), nullable=True),
        sa.Column("alarm_seconds", sa.BigInteger(), nullable=True),
        sa.Column("fup_activated_at", _INSTANT, nullable=True),
        sa.Column("fup_manual", sa.Boolean(), nullable=False),
        sa.Column("fup_notified_since", _INSTANT, nullable=True),
        sa.Column("fup_reset_at", _INSTANT, nullable=True),
        sa.Column("fup_forgiven_octets", sa.BigInteger(), nullable=False),
        sa.Column("fup_forgiven_seconds", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_service_watches_look_at", "service_watches", ["tenant_id", "look_at"], unique=False)
    op.execute("CREATE POLICY owner_lookup ON service_watches FOR SELECT TO ispgraph_owner USING (true)")
    for statement in (FUNCTIONS + DECIDED + TRIGGERS).strip().split("\n\n"):
        op.execute(statement)
    for signature, role in GRANTS.items():
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        if role:
            op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO {role}")
    # Tenant by tenant, for the owner is under row-level security as well.
    op.execute("""
DO $$
DECLARE tenant uuid;
BEGIN
  FOR tenant IN SELECT id FROM tenants LOOP
    PERFORM set_config('app.tenant_id', tenant::text, true);
    INSERT INTO service_watches (tenant_id, service_id, look_at, fup_manual, fup_forgiven_octets, fup_forgiven_seconds)
    SELECT tenant, id, '-infinity', false, 0, 0 FROM services WHERE tenant_id = tenant;
  END LOOP;
  PERFORM set_config('app.tenant_id', '', true);
END $$""")


def _table(name: str, grants: str, *parts: sa.Column[object] | sa.CheckConstraint) -> None:
    """A table with a row for a service, which goes when the service goes."""
    op.create_table(
        name,
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("service_id", sa.Uuid(), nullable=False),
        *parts,
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f(f"fk_{name}_tenant_id")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "service_id"],
            ["services.tenant_id", "services.id"],
            name=op.f(f"fk_{name}_tenant_id_service_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "service_id", name=op.f(f"pk_{name}")),
    )
    op.execute(f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY")
    own = f"tenant_id = {CURRENT_TENANT}"
    op.execute(f"CREATE POLICY tenant_isolation ON {name} USING ({own}) WITH CHECK ({own})")
    op.execute(f"GRANT {grants} ON {name} TO ispgraph_app")


def downgrade() -> None:
    for table in ("usage_days", "services"):
        op.execute(f"DROP TRIGGER watched ON {table}")
    op.execute(_former_decision())
    for signature in reversed(GRANTS):
        op.execute(f"DROP FUNCTION {signature}")
    op.drop_table("service_watches")
    op.drop_table("service_limits")


def _former_decision() -> str:
    """`radius_decided` as the revision 0005 made it."""
    folder = op.get_context().script
    assert folder is not None
    made: str = folder.get_revision("0005").module.FUNCTIONS
    (former,) = [text for text in made.strip().split("\n\n") if text.startswith("CREATE FUNCTION radius_decided(")]
    return former.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1)

"""Interims of many routers are put away by one statement, for a program that gathers those of the same moment.

By itself, an Interim costs a call, a look-up and a commit of its own; the row that is written is the least of it.

And what is added to the books together is not compared with every session of the quarter, nor counted out from the
first address for each address.
"""

from alembic import op

revision = "0052"
down_revision = "0050"
branch_labels = None
depends_on = None

# The gates of radius_accounting for what may be put away, and its words for what is.
INTERIMS = """
CREATE FUNCTION radius_interims(
    p_nas inet[], p_session_id text[], p_class text[], p_session_time bigint[], p_input_octets bigint[],
    p_output_octets bigint[], p_ip_address inet[], p_delay bigint[], p_event timestamptz[], p_at timestamptz[])
  RETURNS integer[]
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public
  SET plan_cache_mode = force_generic_plan
  SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_material = off AS $$
-- Interims that came at about the same time, as radius_accounting puts each away; the octets with their Gigawords, the
-- class in hexadecimal digits. Takes those of open sessions and returns the positions of the others, which are for
-- radius_accounting, each in a transaction of its own.
DECLARE
  tenant uuid;
  put integer[];
  taken integer[] := '{}';
BEGIN
  FOR tenant IN
    SELECT DISTINCT r.tenant_id
      FROM (SELECT DISTINCT nas FROM unnest(p_nas) nas) n
      JOIN routers r ON r.radius_address = n.nas AND r.radius_secret IS NOT NULL
  LOOP
    PERFORM set_config('app.tenant_id', tenant::text, true);
    -- One statement: what is found open is put away, and nothing else is said to be.
    WITH told AS MATERIALIZED (
      SELECT p.n, o.session_id, o.started_at, r.id AS router_id, p.received, p.received - make_interval(
               secs => LEAST(COALESCE(p.delay, 0), 86400)) AS at, p.event, p.session_time, p.input, p.output,
             p.ip_address
        FROM unnest(p_nas, p_session_id, p_class, p_session_time, p_input_octets, p_output_octets, p_ip_address,
                    p_delay, p_event, p_at) WITH ORDINALITY p (
               nas, session_id, class, session_time, input, output, ip_address, delay, event, received, n)
             CROSS JOIN LATERAL (
               SELECT r.id FROM routers r
                WHERE r.tenant_id = tenant AND r.radius_address = p.nas AND r.radius_secret IS NOT NULL OFFSET 0) r
             CROSS JOIN LATERAL (
               SELECT o.session_id, o.started_at FROM open_sessions o
                WHERE o.tenant_id = tenant AND o.unique_id = encode(sha256(convert_to(
                        r.id::text || ' ' || lower(p.class) || ' ' || p.session_id, 'UTF8')), 'hex') OFFSET 0) o
       WHERE p.class <> '' AND p.session_time BETWEEN 0 AND 2147483647 AND p.input + p.output >= 0
    ), away AS (
      INSERT INTO accounting_inbox (
        tenant_id, session_id, started_at, router_id, happened, received, seconds, input_octets, output_octets,
        ip_address)
      SELECT tenant, t.session_id, t.started_at, t.router_id,
             CASE WHEN t.event BETWEEN t.at - interval '300 s' AND t.at + interval '300 s'
                  THEN LEAST(t.event, t.received) ELSE t.at END,
             t.received, t.session_time, t.input, t.output, t.ip_address
        FROM told t ORDER BY t.n
    )
    SELECT array_agg(t.n) INTO put FROM told t;
    taken := taken || put;
  END LOOP;
  PERFORM set_config('app.tenant_id', '', true);
  IF cardinality(taken) = cardinality(p_nas) THEN
    RETURN '{}';
  END IF;
  RETURN ARRAY(SELECT n FROM generate_subscripts(p_nas, 1) n WHERE n <> ALL (taken) ORDER BY n);
END $$
"""
LOOKED_UP = """
CREATE FUNCTION looked_up(p_id uuid) RETURNS uuid
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 100000 AS $$
-- The same. The planner takes it to be dear, so rows that it stands in are made once, and it never goes through a
-- table of which it believes that it is nearly empty to make them anew for each of its rows.
BEGIN
  RETURN p_id;
END $$
"""
# In sessions_told: from one words to another, which stay, and what takes the place of what stands between.
TOLD = [
    (
        "           c.down - lag(",
        "           LATERAL (\n             SELECT s.service_id",
        """           c.down - lag(c.down, 1, s.output_octets - s.output_base) OVER w AS more_output, p.ip_address
      FROM unnest(p_session, p_started, p_happened, p_seconds, p_input, p_output, p_ip_address) WITH ORDINALITY p (
             session, started, happened, seconds, input, output, ip_address, n),
""",
    ),
    (
        "         array_agg(f.n ORDER BY f.n) FILTER (WHERE NOT f.simple)\n",
        "    FROM fit f;",
        """         array_agg(f.n ORDER BY f.n) FILTER (WHERE NOT f.simple),
         array_agg(f.ip_address) FILTER (WHERE f.simple)
    INTO of_session, of_start, of_service, of_customer, since, happened, input, output, seconds, positions, odd,
         addresses
""",
    ),
    ("  odd integer[];\n", "  of_day date[];", "  odd integer[];\n  addresses inet[];\n"),
    ("  oldest timestamptz;\n", "  known sessions;", ""),
    (
        "    SELECT min(t.started), max(t.started)",
        "    -- Always quarters before days",
        """    -- Each is looked up by its key, which reads no other partition (see looked_up).
    UPDATE sessions s SET updated_at = m.at, duration_seconds = s.duration_seconds + m.seconds,
           input_octets = s.input_octets + m.input, output_octets = s.output_octets + m.output,
           ip_address = COALESCE(m.ip_address, s.ip_address)
      FROM (SELECT looked_up(t.session) AS session, t.started, max(t.at) AS at, sum(t.seconds) AS seconds,
                   sum(t.input) AS input, sum(t.output) AS output,
                   (array_agg(t.ip_address ORDER BY t.n DESC) FILTER (WHERE t.ip_address IS NOT NULL))[1] AS ip_address
              FROM unnest(of_session, of_start, happened, input, output, seconds, positions, addresses) t (
                     session, started, at, input, output, seconds, n, ip_address)
             GROUP BY t.session, t.started) m
     WHERE s.tenant_id = p_tenant AND s.id = m.session AND s.started_at = m.started;
""",
    ),
]
# In radius_accounting_batch: each packet is not held against every router.
BATCH = [
    (
        "        JOIN routers r ON r.tenant_id = tenant",
        "        LEFT JOIN open_sessions o",
        """        CROSS JOIN LATERAL (
          SELECT r.id FROM routers r
           WHERE r.tenant_id = tenant AND r.radius_address = p.nas AND r.radius_secret IS NOT NULL OFFSET 0) r
""",
    ),
]
# Otherwise each packet would be held against every session that began between the first and the last of them.
BY_KEY = (
    "sessions_told(uuid, text, uuid[], timestamptz[], uuid[], timestamptz[], timestamptz[], bigint[], bigint[], "
    "bigint[], inet[])",
    "radius_accounting_add(integer)",
    "radius_accounting_batch(text[], inet[], bigint[], text[], text[], bigint[], bigint[], bigint[], bigint[], "
    "bigint[], inet[], bigint[], timestamptz[], timestamptz[])",
)
_SIGNATURE = (
    "radius_interims(inet[], text[], text[], bigint[], bigint[], bigint[], inet[], bigint[], timestamptz[], "
    "timestamptz[])"
)


def _changed() -> list[tuple[str, str]]:
    """sessions_told and radius_accounting_batch as they were, and as they are now."""
    folder = op.get_context().script
    assert folder is not None
    module = folder.get_revision("0032").module
    texts = module.FUNCTIONS.strip().split("\n\n")
    (text,) = [each for each in texts if each.startswith("CREATE FUNCTION sessions_told(")]
    former = text.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1)
    return [(former, module._changed(former, TOLD)), (module.BATCH, module._changed(module.BATCH, BATCH))]


def upgrade() -> None:
    op.execute(LOOKED_UP)
    op.execute("REVOKE ALL ON FUNCTION looked_up(uuid) FROM PUBLIC")
    for _, now in _changed():
        op.execute(now)
    for function in BY_KEY:
        op.execute(f"ALTER FUNCTION {function} SET enable_material = off")
    op.execute(INTERIMS)
    op.execute(f"REVOKE ALL ON FUNCTION {_SIGNATURE} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {_SIGNATURE} TO ispgraph_radius")


def downgrade() -> None:
    for function in BY_KEY:
        op.execute(f"ALTER FUNCTION {function} RESET enable_material")
    for former, _ in _changed():
        op.execute(former)
    op.execute("DROP FUNCTION looked_up(uuid)")
    op.execute(f"DROP FUNCTION {_SIGNATURE}")

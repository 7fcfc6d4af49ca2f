"""Interims of many routers are put away by one statement, for a program that gathers those of the same moment.

By itself, an Interim costs a call, a look-up and a commit of its own; the row that is written is the least of it.
"""

from alembic import op

revision = "0052"
down_revision = "0045"
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
  SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
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
        JOIN routers r ON r.tenant_id = tenant AND r.radius_address = p.nas AND r.radius_secret IS NOT NULL
        JOIN open_sessions o ON o.tenant_id = tenant AND o.unique_id = encode(sha256(convert_to(
               r.id::text || ' ' || lower(p.class) || ' ' || p.session_id, 'UTF8')), 'hex')
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
_SIGNATURE = (
    "radius_interims(inet[], text[], text[], bigint[], bigint[], bigint[], inet[], bigint[], timestamptz[], "
    "timestamptz[])"
)


def upgrade() -> None:
    op.execute(INTERIMS)
    op.execute(f"REVOKE ALL ON FUNCTION {_SIGNATURE} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {_SIGNATURE} TO ispgraph_radius")


def downgrade() -> None:
    op.execute(f"DROP FUNCTION {_SIGNATURE}")

"""What monitoring asks of all tenants at once: counts and ages, nothing of anybody."""

from alembic import op

revision = "0045"
down_revision = "0043"
branch_labels = None
depends_on = None

FIGURES = """
CREATE FUNCTION monitoring_figures(p_at timestamptz) RETURNS TABLE (name text, of text, figure float8)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  WITH due AS (
    SELECT j.kind, count(*) AS many, max(extract(epoch FROM p_at - j.next_attempt_at)) AS age
      FROM jobs j WHERE j.status IN ('QUEUED', 'RUNNING') AND j.next_attempt_at <= p_at GROUP BY j.kind
  )
  SELECT 'jobs_due', d.kind::text, d.many::float8 FROM due d
   UNION ALL
  SELECT 'jobs_overdue_seconds', d.kind, d.age::float8 FROM due d
   UNION ALL
  SELECT 'routers', r.status, count(*) FROM routers r GROUP BY r.status
   UNION ALL
  SELECT 'routers_left_alone', '', count(*) FROM routers r WHERE r.retry_at > p_at
   UNION ALL
  SELECT 'routers_without_accounting', '', count(*)
    FROM routers r
   WHERE r.radius_secret IS NOT NULL AND r.accounting_last_seen_at < p_at - interval '15 min'
   UNION ALL
  SELECT 'sessions_open', '', count(*) FROM open_sessions
   UNION ALL
  SELECT 'accounting_waiting', '', count(*) FROM accounting_inbox
   UNION ALL
  SELECT 'accounting_lag_seconds', '', COALESCE(extract(epoch FROM p_at - min(i.received)), 0)
    FROM accounting_inbox i
   UNION ALL
  SELECT 'messages_due', '', count(*)
    FROM messages m WHERE m.status = 'QUEUED' AND m.not_before <= p_at
   UNION ALL
  SELECT 'billing_runs_unfinished', '', count(*)
    FROM billing_runs b JOIN jobs j ON j.tenant_id = b.tenant_id AND j.id = b.job_id
   WHERE j.status IN ('QUEUED', 'RUNNING')
   UNION ALL
  SELECT 'billing_last_failed', '', COALESCE(sum(l.failed), 0)
    FROM (SELECT DISTINCT ON (b.tenant_id) b.failed FROM billing_runs b WHERE NOT b.dry_run
           ORDER BY b.tenant_id, b.id DESC) l
   UNION ALL
  SELECT 'billing_last_age_seconds', '', extract(epoch FROM p_at - max(b.created_at))
    FROM billing_runs b WHERE NOT b.dry_run HAVING count(*) > 0;
END $$
"""


def upgrade() -> None:
    op.execute("CREATE POLICY owner_lookup ON billing_runs FOR SELECT TO ispgraph_owner USING (true)")
    op.execute(FIGURES)
    op.execute("REVOKE ALL ON FUNCTION monitoring_figures(timestamptz) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION monitoring_figures(timestamptz) TO ispgraph_app")


def downgrade() -> None:
    op.execute("DROP FUNCTION monitoring_figures(timestamptz)")
    op.execute("DROP POLICY owner_lookup ON billing_runs")

"""Quarters of an hour of usage are kept as long as the tenant says; days stay for ever.

They are nearly all of the disk, and once the hours are of no interest only those of a day on which a billing period
began, by the clock at another time than midnight, can still be asked for. Whoever is there already keeps them for ever
until something else is said.
"""

import sqlalchemy as sa
from alembic import op

from ispgraph import big_tables

revision = "0054"
down_revision = "0052"
branch_labels = None
depends_on = None

_PRUNED = "usage_detail_pruned(uuid, integer, integer, timestamptz)"
FUNCTION = """
CREATE FUNCTION usage_detail_pruned(
    p_after uuid, p_services integer, p_rows integer, p_at timestamptz, OUT last uuid, OUT finished boolean)
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public
  SET enable_seqscan = off AS $$
-- Forget the quarters of an hour that are older than the tenant keeps them, of the next p_services services after
-- p_after in the order of their ids, and p_rows of them at most. Where to go on, and whether that was all.
DECLARE
  tenant uuid := NULLIF(current_setting('app.tenant_id', true), '')::uuid;
  kept_days integer;
  zone text;
  cut timestamptz;
  room integer := p_rows;
  gone integer;
  looked_at integer := 0;
  service record;
  begun date[];
BEGIN
  last := p_after;
  finished := true;
  SELECT t.usage_detail_days, t.time_zone INTO kept_days, zone FROM tenants t WHERE t.id = tenant;
  IF COALESCE(kept_days, 0) = 0 THEN
    RETURN;
  END IF;
  cut := ((p_at AT TIME ZONE zone)::date - kept_days)::timestamp AT TIME ZONE zone;
  FOR service IN
    SELECT s.id, s.customer_id, service_anchor(s) AS anchor, c.months, c.days
      FROM services s
      JOIN packages k ON k.tenant_id = s.tenant_id AND k.id = s.package_id
           CROSS JOIN LATERAL billing_cycle(k.billing_cycle, k.validity_days) c
     WHERE s.tenant_id = tenant AND s.id > COALESCE(p_after, '00000000-0000-0000-0000-000000000000'::uuid)
     ORDER BY s.id LIMIT p_services
  LOOP
    -- What is carried over from earlier periods is counted twelve periods back.
    begun := '{}';
    IF isfinite(service.anchor) THEN
      begun := ARRAY(
        SELECT (b.at AT TIME ZONE zone)::date
          FROM billing_number(service.anchor, zone, service.months, service.days, p_at) n (now),
               generate_series(n.now - 13, n.now) i (number),
               billing_boundary(service.anchor, zone, service.months, service.days, i.number) b (at)
         WHERE b.at < cut AND b.at AT TIME ZONE zone <> (b.at AT TIME ZONE zone)::date);
    END IF;
    -- With the customer, so that either index finds them: a plan may be kept that was made when there were few rows.
    DELETE FROM usage_buckets u
     WHERE u.tenant_id = tenant AND u.customer_id = service.customer_id AND u.service_id = service.id
       AND u.starts_at = ANY (ARRAY(
       SELECT o.starts_at FROM usage_buckets o
        WHERE o.tenant_id = tenant AND o.customer_id = service.customer_id AND o.service_id = service.id
          AND o.starts_at < cut AND (o.starts_at AT TIME ZONE zone)::date <> ALL (begun)
        ORDER BY o.starts_at LIMIT room));
    GET DIAGNOSTICS gone = ROW_COUNT;
    room := room - gone;
    IF room = 0 THEN
      finished := false;
      RETURN;
    END IF;
    last := service.id;
    looked_at := looked_at + 1;
  END LOOP;
  finished := looked_at < p_services;
END $$
"""


def upgrade() -> None:
    op.add_column("tenants", sa.Column("usage_detail_days", sa.Integer(), nullable=False, server_default="0"))
    op.alter_column("tenants", "usage_detail_days", server_default="400")
    op.create_check_constraint(
        op.f("ck_tenants_usage_detail_days"),
        "tenants",
        "usage_detail_days = 0 OR usage_detail_days BETWEEN 62 AND 3700",
        postgresql_not_valid=True,
    )
    op.execute("GRANT UPDATE (usage_detail_days) ON tenants TO ispgraph_app")
    op.execute(FUNCTION)
    op.execute(f"REVOKE ALL ON FUNCTION {_PRUNED} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {_PRUNED} TO ispgraph_app")
    big_tables.validate("tenants", "ck_tenants_usage_detail_days")


def downgrade() -> None:
    op.execute(f"DROP FUNCTION {_PRUNED}")
    op.drop_constraint(op.f("ck_tenants_usage_detail_days"), "tenants", type_="check")
    op.drop_column("tenants", "usage_detail_days")

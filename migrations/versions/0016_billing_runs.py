"""Billing runs, and what a period costs in the words and numbers of `domain.billing`, for many periods at once."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

CURRENT_TENANT = "(SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)"
_INSTANT = postgresql.TIMESTAMP(timezone=True)

# Those in SQL have no search path of their own, so that they become a part of the statement that calls them.
# Statements are separated by empty lines.
FUNCTIONS = """
CREATE FUNCTION billing_missed(
    p_anchor timestamptz, p_zone text, p_months integer, p_days integer, p_from timestamptz, p_until timestamptz,
    p_most integer)
  RETURNS TABLE (starts timestamptz, ends timestamptz, whole boolean, days_left integer, days integer)
  LANGUAGE plpgsql STABLE ROWS 1 SET search_path = pg_catalog, public AS $$
DECLARE
  n integer := CASE WHEN p_from = p_anchor THEN 0
                    ELSE billing_number(p_anchor, p_zone, p_months, p_days, p_from) END;
  opens timestamptz := billing_boundary(p_anchor, p_zone, p_months, p_days, n);
  first date := (opens AT TIME ZONE p_zone)::date;
  last date;
BEGIN
  -- The periods from p_from on, up to the one around p_until, at most so many. Where p_from is no boundary the first
  -- is what is left of a period, of which so many of its days are charged; if no day is left, that goes with the next.
  starts := p_from;
  ends := billing_boundary(p_anchor, p_zone, p_months, p_days, n + 1);
  last := (ends AT TIME ZONE p_zone)::date;
  days := last - first;
  days_left := last - (starts AT TIME ZONE p_zone)::date;
  whole := starts = opens;
  WHILE p_most > 0 LOOP
    IF whole OR days_left > 0 THEN
      RETURN NEXT;
      EXIT WHEN ends > p_until;
      p_most := p_most - 1;
      starts := ends;
    END IF;
    whole := true;
    n := n + 1;
    first := last;
    ends := billing_boundary(p_anchor, p_zone, p_months, p_days, n + 1);
    last := (ends AT TIME ZONE p_zone)::date;
    days := last - first;
    days_left := days;
  END LOOP;
END $$;

CREATE FUNCTION billing_part(p_minor bigint, p_left integer, p_of integer) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
  -- What so many of the days of a period are of its price, rounded half up: `proration.left_minor`.
  SELECT div(2 * p_minor::numeric * p_left + p_of, 2 * p_of)
$$;

CREATE FUNCTION billing_net(p_minor numeric, p_rate numeric, p_included boolean) RETURNS numeric
  LANGUAGE sql IMMUTABLE AS $$
  -- An amount without the tax that is in it, rounded half up: `tax.taxed`. A quotient of numeric is rounded somewhere,
  -- and to round it again would be once too often; so it is whole numbers that are divided.
  SELECT CASE WHEN p_included THEN div(200000 * p_minor + (100 + p_rate) * 1000, 2000 * (100 + p_rate))
              ELSE p_minor END
$$;

CREATE FUNCTION billing_tax(p_minor numeric, p_rate numeric, p_included boolean) RETURNS numeric
  LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN p_included THEN p_minor - billing_net(p_minor, p_rate, true)
              ELSE round(p_minor * p_rate * 0.01) END
$$;

CREATE FUNCTION billing_shown(p_minor bigint, p_exponent integer, p_currency text) RETURNS text
  LANGUAGE sql IMMUTABLE AS $$
  -- An amount in a sentence: `money.shown`.
  SELECT round(p_minor * (ARRAY[1, 0.1, 0.01, 0.001, 0.0001])[p_exponent + 1], p_exponent) || ' ' || p_currency
$$;

CREATE FUNCTION billing_taxed_words(p_rate numeric, p_included boolean) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  -- How the tax goes with a price: `proration.Sold.tax`.
  SELECT CASE WHEN p_rate = 0 THEN 'without tax'
              WHEN p_included THEN 'with ' || trim_scale(p_rate) || ' % tax in it'
              ELSE 'and ' || trim_scale(p_rate) || ' % tax' END
$$;

CREATE FUNCTION billing_days_words(p_days integer) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT p_days || CASE p_days WHEN 1 THEN ' day' ELSE ' days' END
$$;

CREATE FUNCTION billing_cycle_words(p_months integer, p_days integer) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  -- How long a period is, for a person: `periods.Cycle.words`.
  SELECT CASE p_months WHEN 0 THEN billing_days_words(p_days) WHEN 1 THEN '1 month' WHEN 12 THEN '1 year'
                       ELSE p_months || ' months' END
$$;

CREATE FUNCTION billing_span(p_starts timestamp, p_ends timestamp) RETURNS text LANGUAGE sql STABLE AS $$
  -- From when to when by the clock on the wall, for a person: `periods.span`.
  SELECT to_char(p_starts, CASE extract(year FROM p_starts) WHEN extract(year FROM p_ends) THEN 'FMDD FMMonth'
                                ELSE 'FMDD FMMonth FMYYYY' END) || ' to ' || to_char(p_ends, 'FMDD FMMonth FMYYYY')
$$;
"""

CALLABLE = (
    "billing_missed(timestamptz, text, integer, integer, timestamptz, timestamptz, integer)",
    "billing_part(bigint, integer, integer)",
    "billing_net(numeric, numeric, boolean)",
    "billing_tax(numeric, numeric, boolean)",
    "billing_shown(bigint, integer, text)",
    "billing_taxed_words(numeric, boolean)",
    "billing_days_words(integer)",
    "billing_cycle_words(integer, integer)",
    "billing_span(timestamp, timestamp)",
)


def upgrade() -> None:
    op.create_table(
        "billing_runs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("started_by_id", sa.Uuid(), nullable=True),
        sa.Column("as_of", _INSTANT, nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("services", sa.Integer(), nullable=False),
        sa.Column("invoices", sa.Integer(), nullable=False),
        sa.Column("subtotal_minor", sa.BigInteger(), nullable=False),
        sa.Column("tax_minor", sa.BigInteger(), nullable=False),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("failures", postgresql.JSONB(), nullable=False),
        sa.Column("lines", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.CheckConstraint("total_minor = subtotal_minor + tax_minor", name=op.f("ck_billing_runs_total")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "job_id"], ["jobs.tenant_id", "jobs.id"], name=op.f("fk_billing_runs_tenant_id_job_id")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "started_by_id"],
            ["operators.tenant_id", "operators.id"],
            name=op.f("fk_billing_runs_tenant_id_started_by_id"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_billing_runs_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_billing_runs")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f("uq_billing_runs_tenant_id_id")),
        sa.UniqueConstraint("tenant_id", "job_id", name=op.f("uq_billing_runs_tenant_id_job_id")),
    )
    op.execute("ALTER TABLE billing_runs ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE billing_runs FORCE ROW LEVEL SECURITY")
    own = f"tenant_id = {CURRENT_TENANT}"
    op.execute(f"CREATE POLICY tenant_isolation ON billing_runs USING ({own}) WITH CHECK ({own})")
    op.execute("GRANT SELECT, INSERT, UPDATE ON billing_runs TO ispgraph_app")
    for function in FUNCTIONS.strip().split("\n\n"):
        op.execute(function)
    for signature in CALLABLE:
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO ispgraph_app")


def downgrade() -> None:
    for signature in reversed(CALLABLE):
        op.execute(f"DROP FUNCTION {signature}")
    op.drop_table("billing_runs")

"""What a period of another cycle than the package's own costs, for many services at once."""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

SIGNATURE = "billing_price(bigint, bigint, integer, integer, integer, integer)"
PRICE = """
CREATE FUNCTION billing_price(
    p_price bigint, p_daily bigint, p_own_months integer, p_own_days integer, p_months integer, p_days integer)
  RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
  -- What a period of so many months or days costs of a package that has this price for one of its own: by months where
  -- both have months, otherwise by days, at the daily rate if there is one. `cycles.price_minor` says the same.
  SELECT CASE WHEN (p_own_months, p_own_days) = (p_months, p_days) THEN p_price
              WHEN p_own_months > 0 AND p_months > 0
              THEN div(2 * p_price::numeric * p_months + p_own_months, 2 * p_own_months)::bigint
              WHEN p_daily IS NOT NULL THEN p_daily * wanted
              ELSE div(2 * p_price::numeric * wanted + own, 2 * own)::bigint END
    FROM (SELECT CASE p_months WHEN 0 THEN p_days WHEN 12 THEN 365 ELSE 30 * p_months END AS wanted,
                 CASE p_own_months WHEN 0 THEN p_own_days WHEN 12 THEN 365 ELSE 30 * p_own_months END AS own) d
$$
"""


def upgrade() -> None:
    op.execute(PRICE)
    op.execute(f"REVOKE ALL ON FUNCTION {SIGNATURE} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {SIGNATURE} TO ispgraph_app")


def downgrade() -> None:
    op.execute(f"DROP FUNCTION {SIGNATURE}")

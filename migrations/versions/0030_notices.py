"""What customers are told of the limits they come to, and the colour of the pages that they see.

`service_standing` stays the one place that says how a service stands: it now also says which limits are met, so that
whoever looks at a service can tell of them, and has it looked at when 80 % of a volume are used.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

_STANDING = "service_standing(uuid, timestamptz)"
_WATCH = "watch_services(uuid[], timestamptz)"

FUNCTIONS = {
    "limits_near(bigint)": """
CREATE FUNCTION limits_near(p_allowed bigint) RETURNS bigint
  LANGUAGE sql IMMUTABLE SET search_path = pg_catalog AS $$
  -- The fewest octets that are 80 % of a volume.
  SELECT p_allowed - p_allowed / 5
$$""",
    "limits_met(text, text, timestamptz, timestamptz, bigint, bigint, bigint)": """
CREATE FUNCTION limits_met(
    p_kind text, p_unit text, p_since timestamptz, p_until timestamptz, p_given bigint, p_allowed bigint,
    p_used bigint)
  RETURNS jsonb LANGUAGE sql IMMUTABLE SET search_path = pg_catalog AS $$
  -- A row of `met` of service_standing: so much of what is allowed between two instants is used. `given` is what was
  -- agreed on; more than that is allowed where something went over from a period before.
  SELECT jsonb_build_array(jsonb_build_object(
    'kind', p_kind, 'unit', p_unit, 'since', floor(extract(epoch FROM p_since))::bigint,
    'until', floor(extract(epoch FROM p_until))::bigint, 'given', p_given, 'allowed', p_allowed, 'used', p_used))
$$""",
}

# What the functions say otherwise from now on.
STANDING = (
    ("OUT fup_notice boolean)", "OUT fup_notice boolean, OUT met jsonb)"),
    (
        "-- the clock, and after how much use. NULL: no limit.\n",
        "-- the clock, and after how much use. NULL: no limit. `met`: limits of which 80 % of the octets or all the\n"
        "-- seconds are used (limits_met), unless something else keeps the service off line.\n",
    ),
    ("  spent_ends timestamptz;\n", "  spent_ends timestamptz;\n  given bigint;\n  allowed bigint;\n"),
    ("  fup_active := false;\n", "  fup_active := false;\n  met := '[]';\n"),
    (
        "    look_octets := CASE WHEN octets_left > 0 THEN octets_left END;\n",
        """    look_octets := CASE WHEN octets_left > 0 THEN octets_left END;
    IF today_octets < limits_near(o.daily_bytes) THEN
      look_octets := limits_near(o.daily_bytes) - today_octets;
    ELSE
      met := met || limits_met('DAY', 'OCTETS', day.starts, day.ends, o.daily_bytes, o.daily_bytes, today_octets);
    END IF;
""",
    ),
    ("a.since AS paid_since,", "a.until AS paid_until, a.since AS paid_since,"),
    (
        "    quota_octets := LEAST(quota_octets, o.data_quota_bytes);\n",
        """    IF o.paid_octets IS NOT NULL AND o.data_quota_bytes IS NOT NULL THEN
      -- What was paid for was put in the terms of the period above: this is what is used of it.
      given := used.octets + o.paid_octets - o.data_quota_bytes;
      IF given < limits_near(o.paid_octets) THEN
        look_octets := LEAST(look_octets, limits_near(o.paid_octets) - given);
      ELSE
        met := met || limits_met(
          'PAID', 'OCTETS', o.paid_since, o.paid_until, o.paid_octets, o.paid_octets, given);
      END IF;
      given := o.monthly_bytes;
      allowed := quota_octets;
    ELSE
      given := LEAST(o.monthly_bytes, o.data_quota_bytes);
      allowed := LEAST(quota_octets, o.data_quota_bytes);
    END IF;
    IF used.octets < limits_near(allowed) THEN
      look_octets := LEAST(look_octets, limits_near(allowed) - used.octets);
    ELSIF allowed IS NOT NULL THEN
      met := met || limits_met('PERIOD', 'OCTETS', period.starts, period.ends, given, allowed, used.octets);
    END IF;
    quota_octets := LEAST(quota_octets, o.data_quota_bytes);
""",
    ),
    (
        "        barred := COALESCE(barred, other.message);\n",
        """        IF other.kind = 'BILLING_PERIOD' AND o.paid_seconds IS NOT NULL THEN
          met := met || limits_met('PAID', 'SECONDS', o.paid_since, o.paid_until, o.paid_seconds, o.paid_seconds,
                                   o.paid_seconds - quota);
        ELSE
          met := met || limits_met(other.kind, 'SECONDS', period.starts, period.ends, other.allowed, other.allowed,
                                   other.allowed - quota);
        END IF;
        barred := COALESCE(barred, other.message);
""",
    ),
    (
        "  standing := CASE WHEN refusal IS NOT NULL THEN 'off'",
        """  IF refusal IS DISTINCT FROM barred THEN
    met := '[]';
  END IF;
  standing := CASE WHEN refusal IS NOT NULL THEN 'off'""",
    ),
)
WATCH = (
    ("overstayed boolean)", "overstayed boolean, met jsonb)"),
    (
        "  -- longer than it may be. Who was never looked at",
        "  -- longer than it may be. `met` is as service_standing says it. Who was never looked at",
    ),
    (
        "         COALESCE(f.too_long <= p_at, false)\n",
        "         COALESCE(f.too_long <= p_at, false), f.met\n",
    ),
)


def upgrade() -> None:
    for signature, text in FUNCTIONS.items():
        op.execute(text)
        _granted(signature)
    _change(_STANDING, STANDING)
    _change(_WATCH, WATCH)
    op.add_column("tenants", sa.Column("page_color", sa.String(7), nullable=True))
    op.create_check_constraint(op.f("ck_tenants_page_color"), "tenants", "page_color ~ '^#[0-9a-f]{6}$'")
    op.execute("GRANT UPDATE (page_color) ON tenants TO ispgraph_app")


def downgrade() -> None:
    op.drop_constraint(op.f("ck_tenants_page_color"), "tenants", type_="check")
    op.drop_column("tenants", "page_color")
    for signature, changes in ((_WATCH, WATCH), (_STANDING, STANDING)):
        _change(signature, [(latter, former) for former, latter in changes])
    for signature in FUNCTIONS:
        op.execute(f"DROP FUNCTION {signature}")


def _change(signature: str, changes: Sequence[tuple[str, str]]) -> None:
    """Make a function anew with these parts of its text changed. What it answers is changed too, so it is made anew."""
    made = op.get_bind().scalar(sa.text(f"SELECT pg_get_functiondef('{signature}'::regprocedure)"))
    for former, latter in changes:
        assert made.count(former) == 1, former
        made = made.replace(former, latter)
    op.execute(f"DROP FUNCTION {signature}")
    op.execute(made.replace(":", "\\:"))
    _granted(signature)


def _granted(signature: str) -> None:
    op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO ispgraph_app")

"""Vouchers, and what a recharged hotspot service may use.

A hotspot service that was recharged does not count by billing periods: whatever was bought counts until its time is
over, and what is left of it is added to what is bought next. `service_standing` stays the one place that says so.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

CURRENT_TENANT = "(SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)"
_INSTANT = postgresql.TIMESTAMP(timezone=True)
_ACCOUNTS = ("RECEIVABLE", "WALLET", "REVENUE", "TAX", "CASH", "GATEWAY_CLEARING", "COMMISSION", "OPERATOR_WALLET")
_ACCOUNTS += ("ADJUSTMENT",)

# Statements are separated by empty lines.
FUNCTIONS = """
CREATE FUNCTION voucher_ends_once() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
  IF OLD.redeemed_at IS NOT NULL OR OLD.cancelled_at IS NOT NULL THEN
    RAISE EXCEPTION 'a voucher that was redeemed or cancelled stays so' USING ERRCODE = 'restrict_violation';
  END IF;
  IF to_jsonb(NEW) - ARRAY['redeemed_at', 'redeemed_by_id', 'payment_id', 'cancelled_at']
      <> to_jsonb(OLD) - ARRAY['redeemed_at', 'redeemed_by_id', 'payment_id', 'cancelled_at'] THEN
    RAISE EXCEPTION 'a voucher stays what it is' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER ends_once BEFORE UPDATE ON vouchers FOR EACH ROW EXECUTE FUNCTION voucher_ends_once();

CREATE FUNCTION hotspot_tenant(p_slug text) RETURNS uuid
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  -- Whose captive portal this is. Nobody is signed in there.
  SELECT t.id FROM tenants t WHERE t.slug = p_slug
$$;

CREATE FUNCTION allowance_granted(
    p_service uuid, p_package uuid, p_octets bigint, p_seconds bigint, p_until timestamptz, p_at timestamptz)
  RETURNS void LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, public AS $$
DECLARE
  o record;
  day timestamptz;
  since timestamptz;
  octets bigint;
  seconds bigint;
  used record;
BEGIN
  -- A service, not changed yet, is to have a package until p_until: it may use so much then, NULL: as much as it likes,
  -- and what is left of what it may use now, as long as its time is not over. Its row is locked.
  SELECT s.tenant_id, s.status, s.expires_at, service_anchor(s) AS anchor, t.time_zone AS zone, k.billing_cycle,
         k.validity_days, k.data_quota_bytes, k.time_quota_seconds, a.since, a.octets, a.seconds,
         a.service_id IS NOT NULL AND a.package_id = s.package_id AND a.until > p_at AS granted
    INTO o
    FROM services s
    JOIN tenants t ON t.id = s.tenant_id
    JOIN packages k ON k.tenant_id = s.tenant_id AND k.id = s.package_id
    LEFT JOIN service_allowances a ON a.tenant_id = s.tenant_id AND a.service_id = s.id
   WHERE s.id = p_service;
  day := date_trunc('day', p_at AT TIME ZONE o.zone) AT TIME ZONE o.zone;
  IF o.status = 'ACTIVE' AND o.expires_at > p_at THEN
    IF o.granted THEN
      since := o.since;
      octets := o.octets;
      seconds := o.seconds;
    ELSE
      SELECT p.starts INTO since
        FROM limits_period('BILLING_PERIOD', o.zone, o.anchor, o.billing_cycle, o.validity_days, p_at) p;
      octets := o.data_quota_bytes;
      seconds := o.time_quota_seconds;
    END IF;
  END IF;
  -- In one statement: accounting may tell of more at any moment, and both must have heard of the same.
  SELECT b.octets AS octets_before, b.seconds AS seconds_before, d.octets AS octets_today, d.seconds AS seconds_today
    INTO used
    FROM limits_used(o.tenant_id, p_service, o.zone, COALESCE(since, day), NULL) b,
         limits_used(o.tenant_id, p_service, o.zone, day, NULL) d;
  octets := p_octets + COALESCE(GREATEST(octets - used.octets_before, 0), 0) + used.octets_today;
  seconds := p_seconds + COALESCE(GREATEST(seconds - used.seconds_before, 0), 0) + used.seconds_today;
  INSERT INTO service_allowances (tenant_id, service_id, package_id, since, until, octets, seconds)
  VALUES (o.tenant_id, p_service, p_package, day, p_until, octets, seconds)
  ON CONFLICT ON CONSTRAINT pk_service_allowances DO UPDATE
    SET package_id = excluded.package_id, since = excluded.since, until = excluded.until, octets = excluded.octets,
        seconds = excluded.seconds;
END $$;
"""

GRANTS = {
    "voucher_ends_once()": None,
    "hotspot_tenant(text)": "ispgraph_app",
    "allowance_granted(uuid, uuid, bigint, bigint, timestamptz, timestamptz)": "ispgraph_app",
}

# What service_standing says otherwise from now on. The allowance is put in place of what the package gives in a period,
# in the terms of that period, so that all that follows stays as it is.
CHANGES = (
    (
        "k.data_quota_bytes, k.time_quota_seconds, k.fup_threshold_bytes,",
        "k.data_quota_bytes, k.time_quota_seconds::bigint AS time_quota_seconds,\n"
        "         a.since AS paid_since, a.octets AS paid_octets, a.seconds AS paid_seconds, k.fup_threshold_bytes,",
    ),
    (
        "    LEFT JOIN service_watches w ON w.tenant_id = s.tenant_id AND w.service_id = s.id\n",
        "    LEFT JOIN service_watches w ON w.tenant_id = s.tenant_id AND w.service_id = s.id\n"
        "    LEFT JOIN service_allowances a ON a.tenant_id = s.tenant_id AND a.service_id = s.id\n"
        "          AND a.package_id = s.package_id AND a.until > p_at\n",
    ),
    (
        "    period_octets := used.octets;\n",
        """    period_octets := used.octets;
    -- What was paid for does not count by periods.
    IF o.paid_octets IS NOT NULL AND o.data_quota_bytes IS NOT NULL THEN
      SELECT GREATEST(0, used.octets + o.paid_octets - u.octets) INTO o.data_quota_bytes
        FROM limits_used(o.tenant_id, p_service, o.zone, o.paid_since, NULL) u;
    END IF;
    IF o.paid_seconds IS NOT NULL AND o.time_quota_seconds IS NOT NULL THEN
      SELECT used.seconds + limits_running(o.tenant_id, p_service, period.starts, p_at)
             + o.paid_seconds - u.seconds - limits_running(o.tenant_id, p_service, o.paid_since, p_at)
        INTO o.time_quota_seconds
        FROM limits_used(o.tenant_id, p_service, o.zone, o.paid_since, NULL) u;
    END IF;
""",
    ),
)


def upgrade() -> None:
    _accounts(*_ACCOUNTS, "VOUCHERS")
    _table(
        "voucher_batches",
        sa.Column("package_id", sa.Uuid(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("made", sa.Integer(), nullable=False),
        sa.Column("prefix", sa.String(8), nullable=True),
        sa.Column("price_minor", sa.BigInteger(), nullable=False),
        sa.Column("paid_by_id", sa.Uuid(), nullable=True),
        sa.Column("returned", sa.Integer(), nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=True),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("created_by_id", sa.Uuid(), nullable=False),
        sa.Column("cancelled_at", _INSTANT, nullable=True),
        _check(
            "voucher_batches",
            "count",
            "count > 0 AND made BETWEEN 0 AND count AND returned BETWEEN 0 AND count",
        ),
        _check("voucher_batches", "price", "price_minor >= 0"),
        package_id="packages",
        created_by_id="operators",
        paid_by_id="operators",
    )
    _table(
        "vouchers",
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("package_id", sa.Uuid(), nullable=False),
        sa.Column("lookup", sa.String(64), nullable=False),
        sa.Column("code", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=True),
        sa.Column("redeemed_by_id", sa.Uuid(), nullable=True),
        sa.Column("redeemed_at", _INSTANT, nullable=True),
        sa.Column("payment_id", sa.Uuid(), nullable=True),
        sa.Column("cancelled_at", _INSTANT, nullable=True),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.UniqueConstraint("tenant_id", "lookup", name=op.f("uq_vouchers_tenant_id_lookup")),
        sa.UniqueConstraint("tenant_id", "batch_id", "number", name=op.f("uq_vouchers_tenant_id_batch_id_number")),
        sa.UniqueConstraint("tenant_id", "payment_id", name=op.f("uq_vouchers_tenant_id_payment_id")),
        _check("vouchers", "redeemed", "(redeemed_at IS NULL) = (redeemed_by_id IS NULL)"),
        _check("vouchers", "ended_once", "redeemed_at IS NULL OR cancelled_at IS NULL"),
        _check("vouchers", "paid_when_redeemed", "payment_id IS NULL OR redeemed_at IS NOT NULL"),
        batch_id="voucher_batches",
        package_id="packages",
        redeemed_by_id="customers",
        payment_id="payments",
    )
    op.create_index(
        "ix_vouchers_redeemed_by",
        "vouchers",
        ["tenant_id", "redeemed_by_id"],
        postgresql_where="redeemed_by_id IS NOT NULL",
    )
    _allowances()
    for table in ("voucher_batches", "vouchers", "service_allowances"):
        _protect(table)
    for statement in FUNCTIONS.strip().split("\n\n"):
        op.execute(statement)
    for signature, role in GRANTS.items():
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        if role:
            op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO {role}")
    _change_standing(CHANGES)


def downgrade() -> None:
    _change_standing([(latter, former) for former, latter in CHANGES])
    op.execute("DROP FUNCTION allowance_granted(uuid, uuid, bigint, bigint, timestamptz, timestamptz)")
    op.execute("DROP FUNCTION hotspot_tenant(text)")
    for table in ("service_allowances", "vouchers", "voucher_batches"):
        op.drop_table(table)
    op.execute("DROP FUNCTION voucher_ends_once()")
    _accounts(*_ACCOUNTS)


def _change_standing(changes: Any) -> None:
    """Make `service_standing` anew with these parts of its text changed."""
    made = op.get_bind().scalar(
        sa.text("SELECT pg_get_functiondef('service_standing(uuid, timestamptz)'::regprocedure)")
    )
    for former, latter in changes:
        assert made.count(former) == 1, former
        made = made.replace(former, latter)
    op.execute(made.replace(":", "\\:"))


def _allowances() -> None:
    op.create_table(
        "service_allowances",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("service_id", sa.Uuid(), nullable=False),
        sa.Column("package_id", sa.Uuid(), nullable=False),
        sa.Column("since", _INSTANT, nullable=False),
        sa.Column("until", _INSTANT, nullable=False),
        sa.Column("octets", sa.BigInteger(), nullable=True),
        sa.Column("seconds", sa.BigInteger(), nullable=True),
        _check("service_allowances", "amounts", "octets >= 0 AND seconds >= 0"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_service_allowances_tenant_id")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "service_id"],
            ["services.tenant_id", "services.id"],
            name=op.f("fk_service_allowances_tenant_id_service_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "package_id"],
            ["packages.tenant_id", "packages.id"],
            name=op.f("fk_service_allowances_tenant_id_package_id"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "service_id", name=op.f("pk_service_allowances")),
    )


def _check(table: str, name: str, rule: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(rule, name=op.f(f"ck_{table}_{name}"))


def _table(name: str, *parts: Any, **refers: str) -> None:
    """A table of rows of tenants; `refers` says to which table each of these columns refers, within the tenant."""
    op.create_table(
        name,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        *parts,
        *(
            sa.ForeignKeyConstraint(
                ["tenant_id", column],
                [f"{table}.tenant_id", f"{table}.id"],
                name=op.f(f"fk_{name}_tenant_id_{column}"),
            )
            for column, table in refers.items()
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f(f"fk_{name}_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{name}")),
        sa.UniqueConstraint("tenant_id", "id", name=op.f(f"uq_{name}_tenant_id_id")),
    )


def _protect(table: str) -> None:
    own = f"tenant_id = {CURRENT_TENANT}"
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY tenant_isolation ON {table} USING ({own}) WITH CHECK ({own})")
    op.execute(f"GRANT SELECT, INSERT, UPDATE ON {table} TO ispgraph_app")


def _accounts(*names: str) -> None:
    op.execute("ALTER TABLE postings DROP CONSTRAINT ck_postings_account")
    listed = ", ".join(f"'{name}'" for name in names)
    op.execute(f"ALTER TABLE postings ADD CONSTRAINT ck_postings_account CHECK (account IN ({listed}))")

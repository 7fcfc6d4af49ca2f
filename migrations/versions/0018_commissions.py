"""Commission of operators, their wallets, and prices agreed beside those of the packages."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

CURRENT_TENANT = "(SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)"
_INSTANT = postgresql.TIMESTAMP(timezone=True)
_METHODS = ("CASH", "BANK_TRANSFER", "CARD", "MOBILE_MONEY", "ONLINE", "WALLET", "VOUCHER", "OTHER")
APPEND_ONLY = ("commission_rates", "commission_shares", "commissions", "operator_payments")

# Statements are separated by empty lines.
FUNCTIONS = """
CREATE FUNCTION override_keeps_its_word() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
  IF TG_OP = 'DELETE' OR to_jsonb(NEW) - 'valid_until' <> to_jsonb(OLD) - 'valid_until'
      OR NEW.valid_until IS NULL OR NEW.valid_until > OLD.valid_until THEN
    RAISE EXCEPTION 'a price override only ever ends earlier' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;

CREATE FUNCTION package_price(p_customer uuid, p_package uuid, p_at timestamptz)
  RETURNS bigint LANGUAGE plpgsql STABLE AS $$
-- What a period of a package costs a customer at an instant, in minor units: as agreed with the customer, else with the
-- nearest operator above, else as the package says. domain/billing/overrides.py says the same.
DECLARE
  tenant uuid := NULLIF(current_setting('app.tenant_id', true), '')::uuid;
  listed bigint;
  agreed record;
BEGIN
  SELECT p.price_minor INTO listed FROM packages p WHERE p.tenant_id = tenant AND p.id = p_package;
  SELECT o.price_minor, o.discount_percent INTO agreed FROM price_overrides o
   WHERE o.tenant_id = tenant AND o.customer_id = p_customer AND o.package_id = p_package
     AND o.valid_from <= p_at AND (o.valid_until IS NULL OR o.valid_until > p_at);
  IF NOT FOUND THEN
    SELECT o.price_minor, o.discount_percent INTO agreed
      FROM customers c
      JOIN operators w ON w.tenant_id = c.tenant_id AND w.id = c.operator_id
      JOIN price_overrides o ON o.tenant_id = c.tenant_id AND o.package_id = p_package
       AND o.operator_id = ANY (w.ancestors || w.id)
       AND o.valid_from <= p_at AND (o.valid_until IS NULL OR o.valid_until > p_at)
     WHERE c.tenant_id = tenant AND c.id = p_customer
     ORDER BY array_position(w.ancestors || w.id, o.operator_id) DESC LIMIT 1;
  END IF;
  RETURN COALESCE(agreed.price_minor, round(listed * (100 - agreed.discount_percent) * 0.01), listed);
END $$;
"""


def upgrade() -> None:
    _rates_and_shares()
    _payments()
    _overrides()
    for function in FUNCTIONS.strip().split("\n\n"):
        op.execute(function)
    op.execute("REVOKE ALL ON FUNCTION override_keeps_its_word() FROM PUBLIC")
    op.execute("REVOKE ALL ON FUNCTION package_price(uuid, uuid, timestamptz) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION package_price(uuid, uuid, timestamptz) TO ispgraph_app")
    own = f"tenant_id = {CURRENT_TENANT}"
    for table in (*APPEND_ONLY, "price_overrides"):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant_isolation ON {table} USING ({own}) WITH CHECK ({own})")
        op.execute(f"GRANT SELECT, INSERT ON {table} TO ispgraph_app")
        op.execute(
            f"CREATE TRIGGER no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
    op.execute("GRANT UPDATE (valid_until) ON price_overrides TO ispgraph_app")
    op.execute(
        "CREATE TRIGGER final BEFORE UPDATE OR DELETE ON price_overrides "
        "FOR EACH ROW EXECUTE FUNCTION override_keeps_its_word()"
    )
    op.create_check_constraint(
        op.f("ck_postings_operator_account"),
        "postings",
        "(account = 'OPERATOR_WALLET') = (operator_id IS NOT NULL)",
    )
    op.drop_index("ix_postings_operator", "postings")
    op.create_index(
        "ix_postings_operator",
        "postings",
        ["tenant_id", "operator_id", "id"],
        postgresql_include=["amount_minor"],
        postgresql_where=sa.text("operator_id IS NOT NULL"),
    )


def _rates_and_shares() -> None:
    _table(
        "commission_rates",
        sa.Column("operator_id", sa.Uuid(), nullable=False),
        sa.Column("package_id", sa.Uuid(), nullable=True),
        sa.Column("percent", sa.Numeric(6, 3), nullable=True),
        sa.Column("fixed_minor", sa.BigInteger(), nullable=True),
        sa.Column("valid_from", _INSTANT, nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("by_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("percent BETWEEN 0 AND 100", name=op.f("ck_commission_rates_percent")),
        sa.CheckConstraint("fixed_minor > 0", name=op.f("ck_commission_rates_fixed")),
        sa.CheckConstraint("percent IS NULL OR fixed_minor IS NULL", name=op.f("ck_commission_rates_one_of_both")),
        operator_id="operators",
        package_id="packages",
        by_id="operators",
    )
    op.create_index(
        "ix_commission_rates_operator", "commission_rates", ["tenant_id", "operator_id", "valid_from", "id"]
    )
    _table(
        "commission_shares",
        sa.Column("allocation_id", sa.Uuid(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=False),
        sa.Column("operator_id", sa.Uuid(), nullable=False),
        sa.Column("rate_id", sa.Uuid(), nullable=False),
        sa.UniqueConstraint(
            *("tenant_id", "allocation_id", "operator_id"),
            name=op.f("uq_commission_shares_tenant_id_allocation_id_operator_id"),
        ),
        allocation_id="allocations",
        invoice_id="invoices",
        operator_id="operators",
        rate_id="commission_rates",
    )
    op.create_index("ix_commission_shares_invoice", "commission_shares", ["tenant_id", "invoice_id"])
    _table(
        "commissions",
        sa.Column("operator_id", sa.Uuid(), nullable=False),
        sa.Column("invoice_id", sa.Uuid(), nullable=False),
        sa.Column("journal_id", sa.Uuid(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount_minor <> 0", name=op.f("ck_commissions_amount")),
        sa.UniqueConstraint(
            "tenant_id", "journal_id", "operator_id", name=op.f("uq_commissions_tenant_id_journal_id_operator_id")
        ),
        operator_id="operators",
        invoice_id="invoices",
        journal_id="journals",
    )
    op.create_index("ix_commissions_invoice", "commissions", ["tenant_id", "invoice_id", "operator_id"])


def _payments() -> None:
    _table(
        "operator_payments",
        sa.Column("operator_id", sa.Uuid(), nullable=False),
        sa.Column("kind", _names("operatorpaymentkind", "TOP_UP", "PAYOUT", "ADJUSTMENT"), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("method", _names("paymentmethod", *_METHODS), nullable=True),
        sa.Column("reference", sa.String(255), nullable=True),
        sa.Column("notes", sa.String(500), nullable=True),
        sa.Column("journal_id", sa.Uuid(), nullable=False),
        sa.Column("at", _INSTANT, nullable=False),
        sa.Column("by_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "CASE kind WHEN 'TOP_UP' THEN amount_minor > 0 WHEN 'PAYOUT' THEN amount_minor < 0"
            " ELSE amount_minor <> 0 END",
            name=op.f("ck_operator_payments_amount"),
        ),
        sa.CheckConstraint("(kind = 'ADJUSTMENT') = (method IS NULL)", name=op.f("ck_operator_payments_method")),
        sa.UniqueConstraint("tenant_id", "journal_id", name=op.f("uq_operator_payments_tenant_id_journal_id")),
        operator_id="operators",
        journal_id="journals",
        by_id="operators",
    )
    op.create_index("ix_operator_payments_operator", "operator_payments", ["tenant_id", "operator_id", "id"])


def _overrides() -> None:
    _table(
        "price_overrides",
        sa.Column("package_id", sa.Uuid(), nullable=False),
        sa.Column("operator_id", sa.Uuid(), nullable=True),
        sa.Column("customer_id", sa.Uuid(), nullable=True),
        sa.Column("price_minor", sa.BigInteger(), nullable=True),
        sa.Column("discount_percent", sa.Numeric(6, 3), nullable=True),
        sa.Column("valid_from", _INSTANT, nullable=False),
        sa.Column("valid_until", _INSTANT, nullable=True),
        sa.Column("reason", sa.String(255), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("by_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("(operator_id IS NULL) <> (customer_id IS NULL)", name=op.f("ck_price_overrides_whose")),
        sa.CheckConstraint(
            "(price_minor IS NULL) <> (discount_percent IS NULL)", name=op.f("ck_price_overrides_one_of_both")
        ),
        sa.CheckConstraint("price_minor >= 0", name=op.f("ck_price_overrides_price")),
        sa.CheckConstraint(
            "discount_percent > 0 AND discount_percent <= 100", name=op.f("ck_price_overrides_discount")
        ),
        sa.CheckConstraint("valid_until >= valid_from", name=op.f("ck_price_overrides_time")),
        postgresql.ExcludeConstraint(
            ("tenant_id", "="),
            ("package_id", "="),
            (sa.text("COALESCE(operator_id, customer_id)"), "="),
            (sa.text("tstzrange(valid_from, valid_until)"), "&&"),
            name="ex_price_overrides_one_at_a_time",
        ),
        package_id="packages",
        operator_id="operators",
        customer_id="customers",
        by_id="operators",
    )
    for column, keys in (("operator", ("package_id", "operator_id")), ("customer", ("customer_id", "package_id"))):
        op.create_index(
            f"ix_price_overrides_{column}",
            "price_overrides",
            ["tenant_id", *keys],
            postgresql_where=sa.text(f"{column}_id IS NOT NULL"),
        )


def _table(name: str, *columns: Any, **refers: str) -> None:
    """A table of rows of tenants; `refers` says to which table each of these columns refers, within the tenant."""
    op.create_table(
        name,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        *columns,
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


def _names(name: str, *members: str) -> sa.Enum:
    return sa.Enum(*members, name=name, native_enum=False, create_constraint=True, length=20)


def downgrade() -> None:
    op.drop_index("ix_postings_operator", "postings")
    op.create_index(
        "ix_postings_operator", "postings", ["tenant_id", "operator_id"], postgresql_where="operator_id IS NOT NULL"
    )
    op.drop_constraint(op.f("ck_postings_operator_account"), "postings")
    op.execute("DROP FUNCTION package_price(uuid, uuid, timestamptz)")
    for table in ("price_overrides", *reversed(APPEND_ONLY)):
        op.drop_table(table)
    op.execute("DROP FUNCTION override_keeps_its_word()")

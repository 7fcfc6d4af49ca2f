"""Prices that are agreed beside those of the packages."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, Numeric, String, func, text
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.orm import Mapped, mapped_column

from ispgraph.domain.models.base import Instant, TenantRow, moment, of_tenant, refers


class PriceOverride(TenantRow):
    """What a package costs one customer, or the customers of an operator and of those below, for some time.

    A price in minor units, or a discount in percent of the package's. Half open from `valid_from`; only `valid_until`
    changes, and only to an earlier moment (trigger). At no time are there two for the same package and the same
    customer or operator.
    """

    __tablename__ = "price_overrides"
    __table_args__ = of_tenant(
        refers("package_id", "packages"),
        refers("operator_id", "operators"),
        refers("customer_id", "customers"),
        refers("by_id", "operators"),
        Index(
            "ix_price_overrides_operator",
            "tenant_id",
            "package_id",
            "operator_id",
            postgresql_where="operator_id IS NOT NULL",
        ),
        Index(
            "ix_price_overrides_customer",
            "tenant_id",
            "customer_id",
            "package_id",
            postgresql_where="customer_id IS NOT NULL",
        ),
        ExcludeConstraint(
            ("tenant_id", "="),
            ("package_id", "="),
            (text("COALESCE(operator_id, customer_id)"), "="),
            (func.tstzrange(text("valid_from"), text("valid_until")), "&&"),
            name="ex_price_overrides_one_at_a_time",
        ),
        CheckConstraint("(operator_id IS NULL) <> (customer_id IS NULL)", name="whose"),
        CheckConstraint("(price_minor IS NULL) <> (discount_percent IS NULL)", name="one_of_both"),
        CheckConstraint("price_minor >= 0", name="price"),
        CheckConstraint("discount_percent > 0 AND discount_percent <= 100", name="discount"),
        CheckConstraint("valid_until >= valid_from", name="time"),
    )

    package_id: Mapped[UUID]
    operator_id: Mapped[UUID | None]
    customer_id: Mapped[UUID | None]
    price_minor: Mapped[int | None] = mapped_column(BigInteger)
    discount_percent: Mapped[Decimal | None] = mapped_column(Numeric(6, 3))
    valid_from: Mapped[datetime] = mapped_column(Instant)
    valid_until: Mapped[datetime | None] = mapped_column(Instant)
    reason: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = moment()
    by_id: Mapped[UUID | None]

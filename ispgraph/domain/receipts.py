"""By which numbers people find a payment by a gateway."""

from typing import Any

from sqlalchemy import ColumnElement, Select, String, and_, func, select, union_all

from ispgraph.domain import paying
from ispgraph.domain.lists import Filter
from ispgraph.domain.models import GatewayPayment, Payment

FILTERS = {**paying.FILTERS, "reference": Filter(String(), lambda value, by: GatewayPayment.id.in_(_named(value)))}


def shown(attempt: Any) -> ColumnElement[str]:
    """The number of the money that its payer has, or else the gateway's."""
    return func.coalesce(attempt.told_receipt, attempt.receipt)


def _named(value: ColumnElement[Any]) -> Select[Any]:
    # Each part has an index of its own.
    named = select(GatewayPayment.id)
    theirs = named.join(
        Payment, and_(Payment.id == GatewayPayment.payment_id, Payment.customer_id == GatewayPayment.customer_id)
    )
    parts = named.where(GatewayPayment.reference == value), theirs.where(Payment.reference == value)
    return select(union_all(*parts).subquery().c.id)

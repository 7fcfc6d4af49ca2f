"""Customers: who of them a viewer may see, and finding one."""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from ispgraph.domain.errors import ErrorCode, fail, not_found
from ispgraph.domain.models import Customer
from ispgraph.domain.permissions import Permission, Scoped, Viewer, in_scope, in_zones_seen


def visible(by: Scoped) -> Select[Customer]:
    """Customers of the viewer's tenant whose responsible operator stands in the viewer's subtree; a customer sees
    itself alone."""
    return select(Customer).where(_placed(by, Customer))


def seen(by: Viewer, customer: Any = Customer) -> ColumnElement[bool]:
    """Whether a customer is one of the `visible`, for whoever looks at customers, perhaps at those of some zones
    alone."""
    placed = _placed(by, customer)
    if by.customer_id is not None or by.may(Permission.VIEW_CUSTOMERS):
        return placed
    return and_(placed, in_zones_seen(by, customer.zone_id))


def _placed(by: Scoped, customer: Any) -> ColumnElement[bool]:
    own = _own(by)
    if own is not None:
        itself: ColumnElement[bool] = customer.id == own
        return itself
    return in_scope(by, customer.operator_id)


def _own(by: Scoped) -> UUID | None:
    return by.customer_id if isinstance(by, Viewer) else None


def belonging(by: Scoped, customer_id: InstrumentedAttribute[Any]) -> ColumnElement[bool]:
    """Rows that belong to a customer the viewer may see; rows of no customer are for those who see the whole tenant."""
    own = _own(by)
    if own is not None:
        return customer_id == own
    if by.scope_id is None:
        return true()
    return customer_id.in_(visible(by).with_only_columns(Customer.id))


def require_zone(customer: Customer, by: Viewer, *at: str) -> None:
    """Whoever may do what is being done in some zones alone may do it to this customer.

    Raises DomainError NOT_PERMITTED at the path `at`. Asked of each customer to whom something is done: what asks
    nothing is refused to such a viewer.
    """
    if by.within is not None and not by.within.holds(customer.zone_id):
        message = "You may do this to customers of some zones only, and this customer is in none of them."
        raise fail(ErrorCode.NOT_PERMITTED, message, *at)


async def find(
    session: AsyncSession, customer_id: UUID, *, by: Viewer, at: tuple[str, ...] = ("input", "customerId")
) -> Customer | None:
    """The visible customer with this id; None when there is none. Raises DomainError as `require_zone`."""
    customer = await session.scalar(visible(by).where(Customer.id == customer_id))
    if customer is not None:
        require_zone(customer, by, *at)
    return customer


async def lock(
    session: AsyncSession,
    customer_id: UUID,
    *,
    by: Viewer,
    at: tuple[str, ...] = ("input", "customerId"),
    alone: bool = False,
) -> Customer:
    """The visible customer, locked to the end of the transaction. Raises DomainError NOT_FOUND at the path `at`, or as
    `require_zone`.

    Rows that refer to the customer, such as payments, may still be added by others, unless `alone`.
    """
    rows = visible(by).where(Customer.id == customer_id).with_for_update(of=Customer, key_share=not alone)
    customer = await session.scalar(rows)
    if customer is None:
        raise not_found("customer", *at)
    require_zone(customer, by, *at)
    return customer

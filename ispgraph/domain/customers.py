"""Customers: who of them a viewer may see, and finding one."""

from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain.models import Customer, Service
from ispgraph.domain.permissions import Viewer, in_scope


def visible(by: Viewer) -> Select[Customer]:
    """Customers of the viewer's tenant whose responsible operator stands in the viewer's subtree."""
    return select(Customer).where(in_scope(by, Customer.operator_id))


async def find(
    session: AsyncSession,
    *,
    by: Viewer,
    customer_id: UUID | None = None,
    account_number: str | None = None,
    username: str | None = None,
) -> Customer | None:
    """The visible customer with this id, account number or network username; None when there is none."""
    rows = visible(by)
    if customer_id is not None:
        rows = rows.where(Customer.id == customer_id)
    if account_number is not None:
        rows = rows.where(Customer.account_number == account_number)
    if username is not None:
        rows = rows.where(Customer.id.in_(select(Service.customer_id).where(Service.username == username.lower())))
    return await session.scalar(rows)

"""Looking at customers."""

from typing import Any

import strawberry

from ispgraph.domain import customers
from ispgraph.domain.errors import ErrorCode, fail
from ispgraph.domain.permissions import Permission
from ispgraph.domain.references import optional_id
from ispgraph.resolvers.base import query
from ispgraph.schema.context import Info
from ispgraph.schema.customers import Customer


@strawberry.input(description="Exactly one field.")
class CustomerBy:
    id: strawberry.ID | None = None
    account_number: str | None = None
    username: str | None = None


async def customer(info: Info, by: CustomerBy) -> Customer | None:
    """The customer with this id, account number or username; null when there is none the viewer may see."""
    if sum(value is not None for value in (by.id, by.account_number, by.username)) != 1:
        raise fail(ErrorCode.INVALID, "Give exactly one of id, accountNumber and username.", "by")
    async with info.context.read() as session:
        found: Any = await customers.find(
            session,
            by=info.context.viewer_or_refuse(),
            customer_id=optional_id("cus", by.id, "by", "id"),
            account_number=by.account_number,
            username=by.username,
        )
    return found


@strawberry.type
class CustomerQueries:
    customer = query(customer, Permission.VIEW_CUSTOMERS)

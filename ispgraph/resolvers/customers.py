"""Looking at customers: one, lists of them, and the figures above the lists."""

import strawberry

from ispgraph.domain import customer_lists
from ispgraph.domain.customer_lists import CustomerOrderField
from ispgraph.domain.errors import ErrorCode, fail
from ispgraph.domain.permissions import Permission
from ispgraph.domain.references import optional_id
from ispgraph.resolvers.base import query
from ispgraph.schema import roots
from ispgraph.schema.compiler.reading import page_of, reading
from ispgraph.schema.context import Info
from ispgraph.schema.customer_lists import CustomerOrder, CustomerWhere
from ispgraph.schema.customers import Customer, CustomerStats
from ispgraph.schema.enums import OrderDirection
from ispgraph.schema.pages import Connection


@strawberry.input(description="Exactly one field.")
class CustomerBy:
    id: strawberry.ID | None = None
    account_number: str | None = None
    username: str | None = strawberry.field(default=None, description="Of any of the customer's services.")


async def customer(info: Info, by: CustomerBy) -> Customer | None:
    """The customer with this id, account number or username; null when there is none the viewer may see."""
    if sum(value is not None for value in (by.id, by.account_number, by.username)) != 1:
        raise fail(ErrorCode.INVALID, "Give exactly one of id, accountNumber and username.", "by")
    found: Customer | None = reading(
        roots.CUSTOMER,
        id=optional_id("cus", by.id, "by", "id"),
        account_number=by.account_number,
        username=by.username.lower() if by.username is not None else None,
    )
    return found


async def customers(
    info: Info,
    where: CustomerWhere | None = None,
    search: str | None = None,
    order_by: CustomerOrder | None = None,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
) -> Connection[Customer]:
    """The viewer's customers, newest first unless sorted. `search` finds names, mobile numbers in any form, e-mail
    addresses, account numbers, usernames, MAC and IP addresses and invoice numbers, from three characters on: any part
    of a text, the beginning of a MAC address, that of an invoice number with a digit after the year, an IP address as a
    whole. Blank is no search."""
    wanted = customer_lists.wanted(
        where.checked() if where is not None else None, search, by=info.context.viewer_or_refuse()
    )
    found: Connection[Customer] = page_of(
        roots.CUSTOMERS[order_by.field if order_by else CustomerOrderField.CREATED_AT],
        wanted,
        descending=order_by is None or order_by.direction is OrderDirection.DESC,
        first=first,
        after=after,
        last=last,
        before=before,
    )
    return found


async def stats(info: Info) -> CustomerStats:
    """Figures of the viewer's customers. Those who are terminated count in neither the total nor the average."""
    found: CustomerStats = reading(roots.CUSTOMER_STATS)
    return found


@strawberry.type
class CustomerQueries:
    customer = query(customer, Permission.VIEW_CUSTOMERS, narrowed=True)
    customers = query(customers, Permission.VIEW_CUSTOMERS, narrowed=True)
    customer_stats = query(stats, Permission.VIEW_CUSTOMERS)

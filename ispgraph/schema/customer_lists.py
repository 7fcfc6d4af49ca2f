"""What narrows and sorts lists of customers."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import strawberry

from ispgraph.domain import customer_lists, models
from ispgraph.domain.customer_lists import CustomerOrderField
from ispgraph.domain.errors import DomainError, beneath
from ispgraph.domain.references import optional_id
from ispgraph.schema.enums import OrderDirection


@strawberry.input(
    description="What is left out is no condition, and an empty list matches nobody. All conditions are met: "
    "connectionType, packageId, routerId and expiresBefore each by some service that is not terminated."
)
class CustomerWhere:
    status: list[models.CustomerStatus] | None = None
    connection_type: list[models.ConnectionType] | None = None
    package_id: strawberry.ID | None = None
    zone_id: strawberry.ID | None = None
    operator_id: strawberry.ID | None = None
    router_id: strawberry.ID | None = None
    online: bool | None = strawberry.field(default=None, description="Whether a session is open.")
    overdue: bool | None = strawberry.field(
        default=None, description="Whether money is still due on an invoice whose due day is over."
    )
    joined_from: datetime | None = strawberry.field(default=None, description="At this instant or later.")
    joined_to: datetime | None = strawberry.field(default=None, description="Earlier than this instant.")
    expires_before: datetime | None = strawberry.field(
        default=None, description="A service ends, or has ended, earlier than this instant."
    )
    balance_below: Decimal | None = strawberry.field(
        default=None, description="In the tenant's currency; below -100 is who owes more than 100."
    )
    balance_above: Decimal | None = strawberry.field(
        default=None, description="In the tenant's currency; above 0 is who has credit."
    )

    def checked(self) -> customer_lists.CustomerWhere:
        """With ids as they stand in tables. Raises DomainError."""
        keys: Mapping[str, Any] = {
            "package_id": optional_id("pkg", self.package_id, "where", "packageId"),
            "zone_id": optional_id("zon", self.zone_id, "where", "zoneId"),
            "operator_id": optional_id("opr", self.operator_id, "where", "operatorId"),
            "router_id": optional_id("rtr", self.router_id, "where", "routerId"),
        }
        return customer_lists.CustomerWhere(**{**vars(self), **keys})


@strawberry.input
class CustomerOrder:
    field: CustomerOrderField = strawberry.field(
        description="NAME goes without regard to case. EXPIRES_AT is that of the primary service; who has none, or one "
        "without an end, comes last, and with DESC first."
    )
    direction: OrderDirection = OrderDirection.ASC


def checked_below(where: CustomerWhere | None, *above: str) -> customer_lists.CustomerWhere | None:
    """What `checked` gives of one that stands below the path `above`; None stays None. Raises DomainError."""
    try:
        return None if where is None else where.checked()
    except DomainError as error:
        raise beneath(error, *above) from error

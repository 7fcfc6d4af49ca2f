"""Prices agreed beside those of the packages."""

from datetime import datetime
from typing import Any

import strawberry

from ispgraph.domain.billing import overrides
from ispgraph.domain.permissions import Permission
from ispgraph.domain.references import optional_id, typed_id
from ispgraph.resolvers.base import action, query
from ispgraph.schema import roots
from ispgraph.schema.compiler.reading import page_of
from ispgraph.schema.context import Info
from ispgraph.schema.overrides import PriceOverride, PriceOverrideInput, PriceOverridePayload
from ispgraph.schema.pages import Connection


async def list_overrides(
    info: Info,
    package_id: strawberry.ID | None = None,
    operator_id: strawberry.ID | None = None,
    customer_id: strawberry.ID | None = None,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
) -> Connection[PriceOverride]:
    """What was agreed about prices, the latest first, with the viewer's customers and the operators in the viewer's
    tree: for a package, for an operator, for a customer, or all of it."""
    wanted = {
        "package": optional_id("pkg", package_id, "packageId"),
        "operator": optional_id("opr", operator_id, "operatorId"),
        "customer": optional_id("cus", customer_id, "customerId"),
    }
    found: Connection[PriceOverride] = page_of(
        roots.PRICE_OVERRIDES, wanted, first=first, after=after, last=last, before=before
    )
    return found


async def set_override(info: Info, input: PriceOverrideInput) -> PriceOverridePayload:
    """Agree on another price of a package, with a customer or for those of an operator. Invoices already made keep
    theirs."""
    row: Any = await overrides.set_override(
        info.context.session,
        overrides.Terms(
            package_id=typed_id("pkg", input.package_id, "input", "packageId"),
            operator_id=optional_id("opr", input.operator_id, "input", "operatorId"),
            customer_id=optional_id("cus", input.customer_id, "input", "customerId"),
            price=input.price,
            discount_percent=input.discount_percent,
            valid_from=input.valid_from,
            valid_until=input.valid_until,
            reason=input.reason,
        ),
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return PriceOverridePayload(price_override=row)


async def end_override(
    info: Info, override_id: strawberry.ID, at: datetime | None = None, idempotency_key: str | None = None
) -> PriceOverridePayload:
    """End an override, now or later. One that has not begun by then never counts."""
    row: Any = await overrides.end_override(
        info.context.session,
        typed_id("pov", override_id, "overrideId"),
        at,
        idempotency_key=idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return PriceOverridePayload(price_override=row)


@strawberry.type
class OverrideQueries:
    price_overrides = query(list_overrides, Permission.VIEW_CUSTOMERS)


@strawberry.type
class OverrideMutations:
    price_override_set = action(set_override, Permission.MANAGE_PACKAGES)
    price_override_end = action(end_override, Permission.MANAGE_PACKAGES)

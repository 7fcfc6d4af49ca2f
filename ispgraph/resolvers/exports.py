"""Files for people to download."""

from typing import Any

import strawberry

from ispgraph.domain import customer_exports, exports
from ispgraph.domain.customer_lists import CustomerOrderField
from ispgraph.domain.permissions import Permission
from ispgraph.domain.references import typed_id
from ispgraph.resolvers.base import action
from ispgraph.schema.context import Info
from ispgraph.schema.customer_lists import checked_below
from ispgraph.schema.enums import OrderDirection
from ispgraph.schema.exports import CustomersExportInput, SessionExportInput
from ispgraph.schema.jobs import JobPayload
from ispgraph.schema.sessions import SessionWhere


async def export_sessions(info: Info, input: SessionExportInput) -> JobPayload:
    """Make a file of a customer's sessions, oldest first. The job tells how far it is, and then where the file is."""
    where = input.where or SessionWhere()
    wanted = exports.Wanted(
        customer_id=typed_id("cus", input.customer_id, "input", "customerId"),
        format=input.format,
        since=where.from_,
        until=where.to,
        connection_type=where.connection_type,
        state=where.state,
    )
    job: Any = await exports.promise(
        info.context.session, wanted, idempotency_key=input.idempotency_key, by=info.context.viewer_or_refuse()
    )
    return JobPayload(job=job)


async def export_customers(info: Info, input: CustomersExportInput) -> JobPayload:
    """Make a file of a list of customers, as it is when the job begins. The job tells how far it is, and then where
    the file is."""
    order = input.order_by
    wish = customer_exports.Wish(
        where=checked_below(input.where, "input"),
        search=input.search,
        order=order.field if order else CustomerOrderField.CREATED_AT,
        descending=order is None or order.direction is OrderDirection.DESC,
        columns=customer_exports.USUAL if input.columns is None else input.columns,
        format=input.format,
    )
    job: Any = await customer_exports.promise(
        info.context.session, wish, idempotency_key=input.idempotency_key, by=info.context.viewer_or_refuse()
    )
    return JobPayload(job=job)


@strawberry.type
class ExportMutations:
    customer_export_sessions = action(export_sessions, Permission.EXPORT_DATA)
    customers_export = action(export_customers, Permission.EXPORT_DATA)

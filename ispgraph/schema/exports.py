"""What is made into files."""

import strawberry

from ispgraph.domain.customer_exports import CustomerColumn
from ispgraph.domain.exports import ExportFormat
from ispgraph.schema.customer_lists import CustomerOrder, CustomerWhere
from ispgraph.schema.sessions import SessionWhere


@strawberry.input
class SessionExportInput:
    customer_id: strawberry.ID
    where: SessionWhere | None = strawberry.field(default=None, description="Left out: every session so far.")
    format: ExportFormat = ExportFormat.CSV
    idempotency_key: str | None = None


@strawberry.input(description="Any list that `customers` can show, as a file.")
class CustomersExportInput:
    where: CustomerWhere | None = None
    search: str | None = None
    order_by: CustomerOrder | None = strawberry.field(default=None, description="Left out: newest first.")
    columns: list[CustomerColumn] | None = strawberry.field(
        default=None,
        description="In this order, each once; left out: the usual ones. Those from PACKAGE to EXPIRES_AT are of the "
        "primary service.",
    )
    format: ExportFormat = ExportFormat.CSV
    idempotency_key: str | None = None

"""What is made into files."""

import strawberry

from ispgraph.domain.exports import ExportFormat
from ispgraph.schema.sessions import SessionWhere


@strawberry.input
class SessionExportInput:
    customer_id: strawberry.ID
    where: SessionWhere | None = strawberry.field(default=None, description="Left out: every session so far.")
    format: ExportFormat = ExportFormat.CSV
    idempotency_key: str | None = None

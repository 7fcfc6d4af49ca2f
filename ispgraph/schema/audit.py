"""The record of who did what."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import strawberry
from sqlalchemy import select

from ispgraph.domain import audit_log, models
from ispgraph.domain.references import any_id, optional_id
from ispgraph.schema.base import Node, node
from ispgraph.schema.compiler.fields import expression, one
from ispgraph.schema.compiler.printing import typed_id_of
from ispgraph.schema.operators import Operator
from ispgraph.schema.scalars import JSON, BigInt


def _sequence(entry: Any) -> Any:
    rows = select(models.AuditLink.sequence).where(
        models.AuditLink.tenant_id == entry.tenant_id, models.AuditLink.entry_id == entry.id
    )
    return rows.correlate_except(models.AuditLink).scalar_subquery()


@node(
    "aud",
    models.AuditEntry,
    description="What somebody did. It never changes: `verify-audit` would find that.",
)
class AuditEntry(Node):
    at: datetime
    operator: Operator | None = one("operator_id", description="Who did it; null where the product did by itself.")
    action: str = strawberry.field(description="As noun.verb, such as customer.update.")
    subject_id: strawberry.ID | None = expression(
        lambda entry, asked: typed_id_of(audit_log.subject_prefix(entry), entry.subject_id),
        description="The id of what it was done to: the customer, wherever one is concerned. Null where it was nothing "
        "that has an id.",
    )
    details: JSON = strawberry.field(description="Without secrets; amounts in minor units.")
    sequence: BigInt | None = expression(
        lambda entry, asked: _sequence(entry),
        description="Its place in the chain; null for the moment until it is sealed.",
    )


@strawberry.input(description="Entries for which each of these holds.")
class AuditWhere:
    operator_id: strawberry.ID | None = None
    action: str | None = strawberry.field(
        default=None, description="An action or the beginning of it: `customer.` is all that was done to customers."
    )
    subject_id: strawberry.ID | None = strawberry.field(default=None, description="Of any kind.")
    customer_id: strawberry.ID | None = None
    from_: datetime | None = strawberry.field(default=None, name="from", description="At this instant or later.")
    to: datetime | None = strawberry.field(default=None, description="Earlier than this instant.")

    def checked(self) -> audit_log.AuditWhere:
        """With ids as they stand in tables. Raises DomainError."""
        keys: Mapping[str, Any] = {
            "operator_id": optional_id("opr", self.operator_id, "where", "operatorId"),
            "customer_id": optional_id("cus", self.customer_id, "where", "customerId"),
            "subject_id": None if self.subject_id is None else any_id(self.subject_id, "where", "subjectId"),
        }
        return audit_log.AuditWhere(action=self.action, made_from=self.from_, made_to=self.to, **keys)

"""What lets operators in, and what they are granted for a while or for a zone."""

from datetime import datetime

import strawberry

from ispgraph.domain import grants, models
from ispgraph.domain.permissions import Permission
from ispgraph.schema.base import Node, Payload, node
from ispgraph.schema.catalogue import Zone
from ispgraph.schema.compiler.fields import expression, one
from ispgraph.schema.operators import Operator


@node(
    "gra",
    models.OperatorGrant,
    description="A permission that an operator has beside its own ones: for a while, in one zone, or both.",
)
class OperatorGrant(Node):
    operator: Operator = one("operator_id")
    permission: Permission
    zone: Zone | None = one("zone_id", description="Whose customers alone it is for; null for all.")
    expires_at: datetime | None = strawberry.field(description="Null: without an end.")
    in_force: bool = expression(
        lambda grant, asked: grants.in_force(grant, asked.now), description="Whether it counts now."
    )
    created_at: datetime
    granted_by: Operator = one("granted_by_id")
    ended_at: datetime | None = strawberry.field(description="When it was taken back, or replaced by another one.")


@strawberry.type
class OperatorGrantPayload(Payload):
    grant: OperatorGrant | None = None

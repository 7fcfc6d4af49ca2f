"""Actions on many customers at once: what they take and answer."""

import strawberry

from ispgraph.domain.bulk import MOST
from ispgraph.domain.models import SuspendReason
from ispgraph.schema.base import Payload
from ispgraph.schema.customers import Customer
from ispgraph.schema.jobs import Job
from ispgraph.schema.services import NOTE, NOTIFY

_CUSTOMERS = f"At most {MOST}, each once. What is done is done to the primary service of each, or the only one."


@strawberry.input
class CustomersSuspendInput:
    customer_ids: list[strawberry.ID] = strawberry.field(description=_CUSTOMERS)
    reason: SuspendReason
    note: str | None = strawberry.field(default=None, description=NOTE)
    notify: bool = strawberry.field(default=False, description=NOTIFY)
    idempotency_key: str | None = None


@strawberry.input
class CustomersActivateInput:
    customer_ids: list[strawberry.ID] = strawberry.field(description=_CUSTOMERS)
    note: str | None = strawberry.field(default=None, description=NOTE)
    notify: bool = strawberry.field(default=False, description=NOTIFY)
    idempotency_key: str | None = None


@strawberry.type(description="What came of one of many customers: the customer, or why nothing was changed.")
class CustomerActionResult(Payload):
    customer_id: strawberry.ID
    customer: Customer | None
    jobs: list[Job] = strawberry.field(description="What carries the change into the network.")


@strawberry.type(
    description="In the order of `customerIds`. A customer that cannot be changed is named in its result, and does not "
    "stand in the way of the others."
)
class CustomersActionPayload(Payload):
    results: list[CustomerActionResult] = strawberry.field(default_factory=list)

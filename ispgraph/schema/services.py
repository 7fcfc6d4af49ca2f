"""Actions on what a customer has: what they take and answer."""

import strawberry

from ispgraph.domain.models import SuspendReason
from ispgraph.schema.base import Payload
from ispgraph.schema.billing import Invoice, Payment
from ispgraph.schema.customers import Customer
from ispgraph.schema.jobs import Job
from ispgraph.schema.scalars import MacAddress

_SERVICE = "Left out: the primary service, or the only one."
NOTE = "For operators, at most 200 characters."
NOTIFY = "Write to the customer, by every way there is."


@strawberry.input
class SuspendInput:
    customer_id: strawberry.ID
    service_id: strawberry.ID | None = strawberry.field(default=None, description=_SERVICE)
    reason: SuspendReason
    note: str | None = strawberry.field(default=None, description=NOTE)
    notify: bool = strawberry.field(default=False, description=NOTIFY)
    idempotency_key: str | None = None


@strawberry.input
class ActivateInput:
    customer_id: strawberry.ID
    service_id: strawberry.ID | None = strawberry.field(default=None, description=_SERVICE)
    note: str | None = strawberry.field(default=None, description=NOTE)
    notify: bool = strawberry.field(default=False, description=NOTIFY)
    idempotency_key: str | None = None


@strawberry.input
class DisconnectInput:
    customer_id: strawberry.ID
    service_id: strawberry.ID | None = strawberry.field(default=None, description=_SERVICE)
    session_id: strawberry.ID | None = strawberry.field(
        default=None, description="Left out: every open session of the service."
    )
    idempotency_key: str | None = None


@strawberry.input
class MacBindInput:
    customer_id: strawberry.ID
    service_id: strawberry.ID | None = strawberry.field(default=None, description=_SERVICE)
    mac_address: MacAddress | None = strawberry.field(
        default=None, description="In any of the usual notations. Needed to bind; without one, all are removed."
    )
    idempotency_key: str | None = None


@strawberry.type
class CustomerActionPayload(Payload):
    customer: Customer | None = None
    invoice: Invoice | None = None
    payment: Payment | None = None
    jobs: list[Job] = strawberry.field(
        default_factory=list, description="What carries the change into the network; follow them with jobUpdated."
    )
    warnings: list[str] = strawberry.field(
        default_factory=list, description="What follows from the change that one may not expect, for people to read."
    )

"""What inputs and payloads of actions on a customer's services have in common."""

from typing import Any, Protocol

import strawberry

from ispgraph.domain.references import optional_id, typed_id
from ispgraph.domain.services import Chosen, Done
from ispgraph.schema.services import CustomerActionPayload


class OfCustomer(Protocol):
    """An input that names a customer, and perhaps a service; the primary one is meant otherwise."""

    customer_id: strawberry.ID
    service_id: strawberry.ID | None


def chosen(input: OfCustomer) -> Chosen:
    """Whom an input means."""
    return Chosen(
        typed_id("cus", input.customer_id, "input", "customerId"),
        optional_id("svc", input.service_id, "input", "serviceId"),
    )


def payload(done: Done) -> CustomerActionPayload:
    """What was done, for the one who asked."""
    customer: Any = done.customer
    jobs: Any = list(done.jobs)
    invoice: Any = done.invoice
    payment: Any = done.payment
    return CustomerActionPayload(
        customer=customer, invoice=invoice, payment=payment, jobs=jobs, warnings=list(done.warnings)
    )

"""Money at the desk: what these mutations take and answer."""

from decimal import Decimal

import strawberry

from ispgraph.domain.models import PaymentCategory, PaymentMethod
from ispgraph.schema.base import Payload
from ispgraph.schema.billing import Invoice, Payment
from ispgraph.schema.customers import Customer

_METHOD = "WALLET spends what the customer's wallet holds, at most what is due."


@strawberry.input
class InvoicePaymentInput:
    invoice_id: strawberry.ID
    amount: Decimal = strawberry.field(
        description="What is more than is due settles other open invoices, the oldest first, then goes to the wallet."
    )
    method: PaymentMethod = strawberry.field(description=_METHOD)
    reference: str | None = None
    notes: str | None = None
    idempotency_key: str | None = None


@strawberry.input
class AdvancePaymentInput:
    customer_id: strawberry.ID
    amount: Decimal = strawberry.field(
        description="Settles open invoices, the oldest first; what is left is in the wallet for those to come."
    )
    method: PaymentMethod
    reference: str | None = None
    notes: str | None = None
    invoice_id: strawberry.ID | None = strawberry.field(default=None, description="An open invoice to settle first.")
    idempotency_key: str | None = None


@strawberry.input
class OtherPaymentInput:
    customer_id: strawberry.ID
    amount: Decimal = strawberry.field(description="With the tax in it.")
    method: PaymentMethod
    category: PaymentCategory = strawberry.field(description="Neither SERVICE nor ADVANCE nor RECHARGE.")
    reference: str | None = None
    notes: str | None = None
    idempotency_key: str | None = None


@strawberry.type
class PaymentPayload(Payload):
    payment: Payment | None = None
    customer: Customer | None = None


@strawberry.type
class InvoicePayload(Payload):
    invoice: Invoice | None = None
    customer: Customer | None = None

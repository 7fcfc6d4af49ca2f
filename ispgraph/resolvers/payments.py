"""Taking money, giving it back, and taking invoices back."""

from decimal import Decimal
from typing import Any

import strawberry

from ispgraph.domain.billing import credit_notes, desk
from ispgraph.domain.permissions import Permission
from ispgraph.domain.references import optional_id, typed_id
from ispgraph.resolvers.base import action
from ispgraph.resolvers.once import once
from ispgraph.schema.context import Info
from ispgraph.schema.payments import (
    AdvancePaymentInput,
    InvoicePayload,
    InvoicePaymentInput,
    OtherPaymentInput,
    PaymentPayload,
)


async def record_payment(info: Info, input: InvoicePaymentInput) -> PaymentPayload:
    """Record money for an invoice."""
    paid = await desk.pay_invoice(
        info.context.session,
        typed_id("inv", input.invoice_id, "input", "invoiceId"),
        desk.Money(input.amount, input.method, input.reference, input.notes),
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return _payload(paid)


async def record_advance(info: Info, input: AdvancePaymentInput) -> PaymentPayload:
    """Record money ahead of time: for what is open, and for what is to come."""
    paid = await desk.pay_in_advance(
        info.context.session,
        typed_id("cus", input.customer_id, "input", "customerId"),
        desk.Money(input.amount, input.method, input.reference, input.notes),
        invoice_id=optional_id("inv", input.invoice_id, "input", "invoiceId"),
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return _payload(paid)


async def record_other(info: Info, input: OtherPaymentInput) -> PaymentPayload:
    """Record money for something other than a service. An invoice over it is made, and is paid."""
    paid = await desk.pay_other(
        info.context.session,
        typed_id("cus", input.customer_id, "input", "customerId"),
        desk.Money(input.amount, input.method, input.reference, input.notes),
        category=input.category,
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return _payload(paid)


async def refund(
    info: Info,
    payment_id: strawberry.ID,
    reason: str,
    amount: Decimal | None = None,
    idempotency_key: str | None = None,
    at_gateway: bool | None = None,
) -> PaymentPayload:
    """Give a payment back by the way it came: as a whole, or `amount` of it.

    What is still in the wallet goes first; then the invoices that it settled are owed again, the last settled first.

    Of a payment by a gateway that can give money back, the gateway does it: that is promised here, and the
    `gatewayRefund` of the refund says how it stands. Should the gateway refuse, the refund is undone in the books.
    `atGateway: false` only books what was given back otherwise, such as in the gateway's own panel, and so does a
    gateway that cannot (M-Pesa, a bank transfer) unless `atGateway: true` asks for it, which is INVALID there.
    INVALID_STATE while another refund of the payment waits for the gateway's answer.
    """
    paid = await desk.refund(
        info.context.session,
        typed_id("pay", payment_id, "paymentId"),
        amount=amount,
        reason=reason,
        at_gateway=at_gateway,
        idempotency_key=idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return _payload(paid)


@once()
async def void(info: Info, invoice_id: strawberry.ID, reason: str) -> InvoicePayload:
    """Take an invoice back as a whole: what was paid of it is in the customer's wallet then. Of one that was credited,
    or whose time was given back by a change of the package, the later paper is to be taken back first. A credit note
    takes what it gave out of the wallet."""
    key = typed_id("inv", invoice_id, "invoiceId")
    row, customer = await desk.void(info.context.session, key, reason=reason, by=info.context.viewer_or_refuse())
    shown: Any = row
    owner: Any = customer
    return InvoicePayload(invoice=shown, customer=owner)


async def credit(
    info: Info, invoice_id: strawberry.ID, amount: Decimal, reason: str, idempotency_key: str | None = None
) -> InvoicePayload:
    """Give a part of an invoice back, or all of it, by a credit note: `amount` has the tax in it. What it gives is in
    the wallet, and settles what the customer has open. Answers with the credit note."""
    row, customer = await credit_notes.give(
        info.context.session,
        typed_id("inv", invoice_id, "invoiceId"),
        amount=amount,
        reason=reason,
        idempotency_key=idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    shown: Any = row
    owner: Any = customer
    return InvoicePayload(invoice=shown, customer=owner)


def _payload(paid: desk.Paid) -> PaymentPayload:
    payment: Any = paid.payment
    customer: Any = paid.customer
    return PaymentPayload(payment=payment, customer=customer)


@strawberry.type
class PaymentMutations:
    invoice_record_payment = action(record_payment, Permission.RECORD_PAYMENTS)
    customer_record_advance_payment = action(record_advance, Permission.RECORD_PAYMENTS)
    customer_record_other_payment = action(record_other, Permission.RECORD_PAYMENTS)
    payment_refund = action(refund, Permission.REFUND_PAYMENTS)
    invoice_void = action(void, Permission.GENERATE_BILLS)
    invoice_credit = action(credit, Permission.GENERATE_BILLS)

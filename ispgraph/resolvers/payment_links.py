"""Payment links, and attempts to pay with gateways."""

from typing import Any

import strawberry

from ispgraph.domain import models, payment_decisions, payment_links
from ispgraph.domain.payment_links import Wish
from ispgraph.domain.permissions import Permission
from ispgraph.domain.references import optional_id, typed_id
from ispgraph.resolvers.base import action, query
from ispgraph.resolvers.once import once
from ispgraph.schema import roots
from ispgraph.schema.compiler.reading import page_of
from ispgraph.schema.context import Info
from ispgraph.schema.pages import Connection
from ispgraph.schema.payment_links import (
    GatewayPayment,
    GatewayPaymentConfirmInput,
    GatewayPaymentPayload,
    GatewayPaymentRejectInput,
    PaymentLink,
    PaymentLinkPayload,
    SendPaymentLinkInput,
    payload,
)


async def gateway_payments(
    info: Info,
    state: list[models.GatewayPaymentState] | None = None,
    reference: str | None = None,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
) -> Connection[GatewayPayment]:
    """Attempts of the viewer's customers to pay with gateways, newest first; with `state`, those in these states;
    with `reference`, those that we, the gateway or the payer name so: our reference, or the receipt, in full."""
    found: Connection[GatewayPayment] = page_of(
        roots.GATEWAY_PAYMENTS,
        {"state": state, "reference": reference},
        first=first,
        after=after,
        last=last,
        before=before,
    )
    return found


async def list_links(
    info: Info,
    status: list[models.PaymentLinkStatus] | None = None,
    customer_id: strawberry.ID | None = None,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
) -> Connection[PaymentLink]:
    """Payment links of the viewer's customers, newest first; those with one of these statuses now, or of one
    customer."""
    wanted = {"status": status, "customer": optional_id("cus", customer_id, "customerId")}
    found: Connection[PaymentLink] = page_of(
        roots.PAYMENT_LINKS, wanted, first=first, after=after, last=last, before=before
    )
    return found


async def send(info: Info, input: SendPaymentLinkInput) -> PaymentLinkPayload:
    """Make a page to pay on for a customer, and write its address by SMS, by e-mail, or both. The page asks for what is
    due of an invoice, or of all, when it is looked at."""
    settings = info.context.settings
    sent = await payment_links.send(
        info.context.session,
        Wish(
            customer_id=typed_id("cus", input.customer_id, "input", "customerId"),
            invoice_id=optional_id("inv", input.invoice_id, "input", "invoiceId"),
            amount=input.amount,
            channels=input.channels,
            gateways=input.gateways,
            expires_at=input.expires_at,
        ),
        network_key=settings.network_key,
        origin=settings.origin,
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    link: Any = sent.link
    messages: Any = list(sent.messages)
    return PaymentLinkPayload(link=link, messages=messages)


async def cancel(info: Info, payment_link_id: strawberry.ID, idempotency_key: str | None = None) -> PaymentLinkPayload:
    """Take a payment link back. What is being paid by it arrives all the same."""
    link: Any = await payment_links.cancel(
        info.context.session,
        typed_id("pln", payment_link_id, "paymentLinkId"),
        idempotency_key=idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return PaymentLinkPayload(link=link)


async def confirm(info: Info, input: GatewayPaymentConfirmInput) -> GatewayPaymentPayload:
    """The money of a bank transfer, or of a payment in doubt, has come: it is applied as money at the desk is."""
    attempt, customer = await payment_decisions.confirm(
        info.context.session,
        typed_id("gpy", input.gateway_payment_id, "input", "gatewayPaymentId"),
        amount=input.amount,
        receipt=input.receipt,
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return payload(attempt, customer)


async def reject(info: Info, input: GatewayPaymentRejectInput) -> GatewayPaymentPayload:
    """No money has come of a bank transfer, or of a payment in doubt."""
    attempt, customer = await payment_decisions.reject(
        info.context.session,
        typed_id("gpy", input.gateway_payment_id, "input", "gatewayPaymentId"),
        reason=input.reason,
        idempotency_key=input.idempotency_key,
        by=info.context.viewer_or_refuse(),
    )
    return payload(attempt, customer)


@once()
async def check(info: Info, gateway_payment_id: strawberry.ID) -> GatewayPaymentPayload:
    """Have the gateway asked now how a payment stands, also one that was given up; what it says shows on the payment
    soon after."""
    attempt = await payment_decisions.ask(
        info.context.session,
        typed_id("gpy", gateway_payment_id, "gatewayPaymentId"),
        by=info.context.viewer_or_refuse(),
    )
    return payload(attempt)


@strawberry.type
class PaymentLinkQueries:
    gateway_payments = query(gateway_payments, Permission.VIEW_CUSTOMERS)
    payment_links = query(list_links, Permission.SEND_PAYMENT_LINK)


@strawberry.type
class PaymentLinkMutations:
    customer_send_payment_link = action(send, Permission.SEND_PAYMENT_LINK)
    payment_link_cancel = action(cancel, Permission.SEND_PAYMENT_LINK)
    gateway_payment_confirm = action(confirm, Permission.RECORD_PAYMENTS)
    gateway_payment_reject = action(reject, Permission.RECORD_PAYMENTS)
    gateway_payment_check = action(check, Permission.RECORD_PAYMENTS)

"""Payment links, attempts to pay with gateways, and what people decide about these."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import strawberry

from ispgraph.domain import models, payment_links, receipts
from ispgraph.schema.base import Money, Node, Payload, node
from ispgraph.schema.billing import CustomerLink, Invoice, Payment
from ispgraph.schema.compiler.fields import amount as amount_of
from ispgraph.schema.compiler.fields import expression, one
from ispgraph.schema.context import Info
from ispgraph.schema.messages import Message


@node("pln", models.PaymentLink, description="A page for one customer to pay on.")
class PaymentLink(Node):
    amount: Money = amount_of(
        lambda link, asked: payment_links.due_of(link),
        description="What it asks for now: it follows what is due, and is nothing when that is paid.",
    )
    customer: CustomerLink = one("customer_id")
    invoice: Invoice | None = one("invoice_id", description="Null: it asks for everything that is open.")
    status: models.PaymentLinkStatus = expression(
        lambda link, asked: payment_links.status_of(link, asked.now),
        description="PAID also when what it asks for was paid in another way.",
    )
    expires_at: datetime
    open_count: int = strawberry.field(
        description="How often people opened it: programs that look at links are not counted."
    )
    last_opened_at: datetime | None
    gateways: list[str] = expression(
        lambda link, asked: payment_links.names_of(link), description="The names of those that it offers now."
    )

    @strawberry.field(description="The address of the page. Whoever has it can see what is owed, and pay it.")
    def url(root: strawberry.Parent[models.PaymentLink], info: Info) -> str:
        settings = info.context.settings
        return payment_links.url(root, settings.network_key, settings.origin)


@node("gpy", models.GatewayPayment, description="One attempt of a customer to pay with one gateway.")
class GatewayPayment(Node):
    state: models.GatewayPaymentState
    reason: str | None = strawberry.field(description="Why it failed, is in doubt, or brought another amount.")
    gateway: str = expression(lambda attempt, asked: payment_links.gateway_name(attempt), description="Its name.")
    reference: str = strawberry.field(description="What the gateway, or a transfer, names it by.")
    provider_reference: str | None
    receipt: str | None = expression(
        lambda attempt, asked: receipts.shown(attempt),
        description="The number of the money that its payer has: the gateway's, or the bank's.",
    )
    amount: Money = amount_of("amount_minor", description="What was asked for.")
    received: Money | None = amount_of("received_minor", description="What came.")
    payer_note: str | None = strawberry.field(description="What the payer says of a bank transfer.")
    customer: CustomerLink = one("customer_id")
    invoice: Invoice | None = one("invoice_id")
    link: PaymentLink | None = one("link_id")
    payment: Payment | None = one("payment_id", description="What came of it, once it is PAID.")
    started_at: datetime
    settled_at: datetime | None
    next_check_at: datetime | None = strawberry.field(description="When the gateway is asked again.")


@strawberry.input
class SendPaymentLinkInput:
    customer_id: strawberry.ID
    invoice_id: strawberry.ID | None = strawberry.field(
        default=None, description="Left out, and without an amount: everything that is open."
    )
    amount: Decimal | None = strawberry.field(
        default=None, description="To be paid ahead of time, for the wallet, in place of what is due."
    )
    channels: list[models.MessageChannel] = strawberry.field(description="None: it is only made.")
    gateways: list[str] | None = strawberry.field(
        default=None, description="By their names or those of their providers. Left out: every one in use."
    )
    expires_at: datetime | None = strawberry.field(
        default=None, description="Within the next 366 days. Left out: in 14 days."
    )
    idempotency_key: str | None = None


@strawberry.input
class GatewayPaymentConfirmInput:
    gateway_payment_id: strawberry.ID
    amount: Decimal | None = strawberry.field(default=None, description="What came. Left out: what was asked for.")
    receipt: str | None = strawberry.field(
        default=None, description="The bank's number of the transfer; each counts once, for ever."
    )
    idempotency_key: str | None = None


@strawberry.input
class GatewayPaymentRejectInput:
    gateway_payment_id: strawberry.ID
    reason: str = strawberry.field(description="At most 200 characters.")
    idempotency_key: str | None = None


@strawberry.type
class PaymentLinkPayload(Payload):
    link: PaymentLink | None = None
    messages: list[Message] = strawberry.field(default_factory=list)


@strawberry.type
class GatewayPaymentPayload(Payload):
    gateway_payment: GatewayPayment | None = None
    customer: CustomerLink | None = None


def payload(attempt: Any, customer: Any = None) -> GatewayPaymentPayload:
    """An attempt as somebody has left it."""
    return GatewayPaymentPayload(gateway_payment=attempt, customer=customer)

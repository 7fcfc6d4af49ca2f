"""Refunds that gateways carry out."""

from datetime import datetime

import strawberry
from sqlalchemy import and_, select

from ispgraph.domain import gateway_refunds, models, visibility
from ispgraph.domain.jobs import GATEWAY_REFUND
from ispgraph.schema.base import Money, Node, Payload, node
from ispgraph.schema.billing import CustomerLink, Payment
from ispgraph.schema.compiler.fields import amount as amount_of
from ispgraph.schema.compiler.fields import expression, one
from ispgraph.schema.jobs import Job, of_kind


@node(
    "grf",
    models.GatewayRefund,
    description="A refund that the gateway carries out that took the money. It is booked from its beginning; one that "
    "FAILED is undone in the books. PENDING: the gateway has not answered yet, and is asked again. ACCEPTED: it does "
    "it later. IN_DOUBT: an operator has to find out, and to say what is true.",
)
class GatewayRefund(Node):
    state: models.GatewayRefundState
    reason: str | None = strawberry.field(description="Why it waits, failed, or is in doubt.")
    amount: Money = amount_of(
        lambda refund, asked: (
            select(models.Refund.amount_minor)
            .where(models.Refund.id == refund.refund_id)
            .correlate_except(models.Refund)
            .scalar_subquery()
        )
    )
    gateway: str = expression(lambda refund, asked: gateway_refunds.gateway_name(refund), description="Its name.")
    provider_reference: str | None = strawberry.field(description="The gateway's number of the refund.")
    payment: Payment | None = one(
        lambda refund, payment, asked: payment.id.in_(
            select(models.Refund.payment_id).where(models.Refund.id == refund.refund_id).correlate_except(models.Refund)
        )
    )
    customer: CustomerLink = one("customer_id")
    tries: int = strawberry.field(description="How often the gateway was asked.")
    started_at: datetime
    settled_at: datetime | None
    next_try_at: datetime | None = strawberry.field(description="When the gateway is asked again.")


@node(
    "job",
    models.Job,
    when=lambda job: job.kind == GATEWAY_REFUND,
    description="A job that has a payment gateway give money back.",
)
class GatewayRefundJob(Job):
    is_type_of = of_kind(lambda kind: kind == GATEWAY_REFUND)
    gateway_refund: GatewayRefund | None = one(
        lambda job, refund, asked: and_(
            refund.job_id == job.id, visibility.condition(asked.viewer, models.GatewayRefund, refund)
        ),
        description="As long as no other job has asked about it since.",
    )


@strawberry.type
class GatewayRefundPayload(Payload):
    gateway_refund: GatewayRefund | None = None
    customer: CustomerLink | None = None

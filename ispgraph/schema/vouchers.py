"""Vouchers, and recharging hotspots."""

from datetime import datetime

import strawberry

from ispgraph.domain import models, visibility, voucher_codes, vouchers
from ispgraph.domain.permissions import Permission
from ispgraph.schema.base import Money, Node, Payload, node
from ispgraph.schema.billing import Payment
from ispgraph.schema.catalogue import Package
from ispgraph.schema.compiler.fields import amount as amount_of
from ispgraph.schema.compiler.fields import expression, one
from ispgraph.schema.context import Info
from ispgraph.schema.customers import Customer
from ispgraph.schema.jobs import Job
from ispgraph.schema.onboarding import Credentials
from ispgraph.schema.operators import Operator


@node("vbt", models.VoucherBatch, description="Vouchers that were made together.")
class VoucherBatch(Node):
    package: Package = one("package_id")
    count: int
    made: int = strawberry.field(description="How many of them there are already.")
    prefix: str | None
    price: Money = amount_of("price_minor", description="What one is worth, tax included.")
    expires_at: datetime | None
    created_at: datetime
    created_by: Operator = one("created_by_id")
    paid_by: Operator | None = one("paid_by_id", description="The reseller from whose wallet they were paid for.")
    sold: int = strawberry.field(
        description="For how many of the provider's own the money was handed in; 0 for a reseller's."
    )
    cancelled_at: datetime | None
    redeemed_count: int = expression(lambda batch, asked: vouchers.redeemed_count(batch))


@node("vou", models.Voucher, description="Whoever has the code can redeem it, once.")
class Voucher(Node):
    package: Package = one("package_id")
    batch: VoucherBatch | None = one(
        lambda voucher, batch, asked: (
            (batch.id == voucher.batch_id) & visibility.condition(asked.viewer, models.VoucherBatch, batch)
        ),
        description="Null for those who may not see the others of it.",
    )
    number: int = strawberry.field(description="From 1 within the batch.")
    status: models.VoucherStatus = expression(lambda voucher, asked: vouchers.status_at(voucher, asked.now))
    expires_at: datetime | None
    redeemed_by: Customer | None = one(
        lambda voucher, customer, asked: (
            (customer.id == voucher.redeemed_by_id) & visibility.condition(asked.viewer, models.Customer, customer)
        )
    )
    redeemed_at: datetime | None

    @strawberry.field(description="Hidden from those without the permission MANAGE_VOUCHERS.")
    def code(root: strawberry.Parent[models.Voucher], info: Info) -> str:
        if not info.context.viewer_or_refuse().may(Permission.MANAGE_VOUCHERS):
            return voucher_codes.HIDDEN
        return vouchers.code_of(info.context.settings.network_key, root)


@strawberry.input
class VoucherBatchInput:
    package_id: strawberry.ID = strawberry.field(description="One that is sold for hotspots.")
    count: int = strawberry.field(description=f"From 1 to {vouchers.MOST}; a job makes more than {vouchers.AT_ONCE}.")
    prefix: str | None = strawberry.field(default=None, description="What each code begins with: 1 to 8 A–Z 0–9.")
    expires_at: datetime | None = strawberry.field(default=None, description="Until when they can be redeemed.")
    idempotency_key: str | None = None


@strawberry.input(description="Money for the provider's own vouchers, at what they are worth.")
class VoucherSaleInput:
    batch_id: strawberry.ID
    count: int = strawberry.field(description="For how many; below zero: the money for so many was given back.")
    method: models.PaymentMethod = strawberry.field(description="Neither WALLET nor VOUCHER.")
    reference: str | None = None
    idempotency_key: str | None = None


@strawberry.input
class HotspotRechargeInput:
    customer_id: strawberry.ID
    service_id: strawberry.ID | None = strawberry.field(default=None, description="Left out: the hotspot service.")
    package_id: strawberry.ID | None = strawberry.field(
        default=None, description="Left out: that of the service; with a voucher, that of the voucher."
    )
    voucher_code: str | None = strawberry.field(default=None, description="In whatever case, with dashes or without.")
    method: models.PaymentMethod | None = strawberry.field(default=None, description="How it is paid, else.")
    reference: str | None = None
    idempotency_key: str | None = None


@strawberry.type
class VoucherPayload(Payload):
    batch: VoucherBatch | None = None
    vouchers: list[Voucher] = strawberry.field(
        default_factory=list, description="Those that were made or cancelled; empty while a job makes them."
    )
    job: Job | None = None


@strawberry.type
class HotspotRechargePayload(Payload):
    customer: Customer | None = None
    payment: Payment | None = None
    voucher: Voucher | None = None
    credentials: Credentials | None = strawberry.field(
        default=None, description="Of a service that was made for this; null when it is told again."
    )
    jobs: list[Job] = strawberry.field(default_factory=list)


@strawberry.type
class VoucherSheetPayload(Payload):
    batch: VoucherBatch | None = None
    urls: list[str] = strawberry.field(
        default_factory=list,
        description="PDF files to be printed, of what can be redeemed then. Whoever has an address can read the codes.",
    )
    expires_at: datetime | None = strawberry.field(default=None, description="Until when the addresses are good.")

"""What is sold, where, and what a tenant asks about its customers."""

from decimal import Decimal
from typing import Annotated

import strawberry

from ispgraph.domain import models, packages, zones
from ispgraph.schema.base import Money, Node, Payload, money, node
from ispgraph.schema.context import Info
from ispgraph.schema.scalars import JSON, BigInt

JobLink = Annotated["Job", strawberry.lazy("ispgraph.schema.jobs")]  # type: ignore[name-defined]  # noqa: F821


@strawberry.type(description="Fair use: from a threshold on, the rest of the period runs at the lower rates.")
class FupPolicy:
    threshold_bytes: BigInt | None
    threshold_seconds: int | None
    download_kbps: int
    upload_kbps: int
    reset_period: models.ResetPeriod
    notify_at_percent: int


@node("pkg", models.Package, description="What a customer can buy.")
class Package(Node):
    name: str
    description: str | None
    active: bool
    download_kbps: int
    upload_kbps: int
    billing_cycle: models.BillingCycle
    validity_days: int
    data_quota_bytes: BigInt | None = strawberry.field(description="Per period; without one there is no limit.")
    time_quota_seconds: int | None = strawberry.field(description="Per period; without one there is no limit.")

    @strawberry.field
    def connection_types(root: strawberry.Parent[models.Package]) -> list[models.ConnectionType]:
        return [models.ConnectionType(kind) for kind in root.connection_types]

    @strawberry.field
    def price(root: strawberry.Parent[models.Package], info: Info) -> Money:
        return money(info, root.price_minor)

    @strawberry.field
    def daily_rate(root: strawberry.Parent[models.Package], info: Info) -> Money | None:
        return None if root.daily_rate_minor is None else money(info, root.daily_rate_minor)

    @strawberry.field
    def fup(root: strawberry.Parent[models.Package]) -> FupPolicy | None:
        if root.fup_download_kbps is None:
            return None
        names = ("threshold_bytes", "threshold_seconds", "download_kbps", "upload_kbps", "reset_period")
        return FupPolicy(**{name: getattr(root, f"fup_{name}") for name in (*names, "notify_at_percent")})

    @strawberry.field(description="Customers you may see who have an active service of this package.")
    async def customer_count(root: strawberry.Parent[models.Package], info: Info) -> int:
        viewer = info.context.viewer_or_refuse()
        loader = info.context.loaders.batched(
            ("package_customers",), lambda session, keys: packages.customer_counts(session, viewer, keys)
        )
        return await loader.load(root.id)


@node("zon", models.Zone, description="A part of the area served.")
class Zone(Node):
    name: str
    code: str | None

    @strawberry.field
    async def parent(
        root: strawberry.Parent[models.Zone], info: Info
    ) -> Annotated["Zone", strawberry.lazy("ispgraph.schema.catalogue")] | None:
        return await info.context.loaders.one(models.Zone, root.parent_id)

    @strawberry.field(description="Customers you may see who live in this zone itself.")
    async def customer_count(root: strawberry.Parent[models.Zone], info: Info) -> int:
        viewer = info.context.viewer_or_refuse()
        loader = info.context.loaders.batched(
            ("zone_customers",), lambda session, keys: zones.customer_counts(session, viewer, keys)
        )
        return await loader.load(root.id)


@node("cfd", models.CustomField, description="A question of the tenant's own about each customer.")
class CustomField(Node):
    key: str
    label: str
    type: models.CustomFieldType
    required: bool
    options: list[str]


@strawberry.type
class CustomFieldValue:
    field: CustomField
    value: JSON | None


@strawberry.input
class CustomFieldInput:
    key: str
    value: JSON | None = None


@strawberry.input
class FupInput:
    download_kbps: int
    upload_kbps: int
    threshold_bytes: BigInt | None = None
    threshold_seconds: int | None = None
    reset_period: models.ResetPeriod = models.ResetPeriod.MONTH
    notify_at_percent: int = 80


@strawberry.input(description="Rates in kbit/s, amounts in the tenant's currency.")
class PackageInput:
    name: str
    connection_types: list[models.ConnectionType]
    download_kbps: int
    upload_kbps: int
    price: Decimal
    description: str | None = None
    billing_cycle: models.BillingCycle = models.BillingCycle.MONTHLY
    validity_days: int = 30
    daily_rate: Decimal | None = None
    data_quota_bytes: BigInt | None = None
    time_quota_seconds: int | None = None
    fup: FupInput | None = None
    active: bool = True


@strawberry.input
class ZoneInput:
    name: str
    code: str | None = None
    parent_id: strawberry.ID | None = None


@strawberry.input
class CustomFieldDefinitionInput:
    key: str
    label: str
    type: models.CustomFieldType
    required: bool = False
    options: list[str] | None = None


@strawberry.type
class PackagePayload(Payload):
    package: Package | None = None
    jobs: list[JobLink] = strawberry.field(
        default_factory=list, description="Empty: what RADIUS answers is computed from the package at each login."
    )


@strawberry.type
class ZonePayload(Payload):
    zone: Zone | None = None


@strawberry.type
class CustomFieldPayload(Payload):
    field: CustomField | None = None

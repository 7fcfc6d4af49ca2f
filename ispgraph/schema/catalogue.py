"""What is sold, where, and what a tenant asks about its customers."""

from decimal import Decimal
from typing import Annotated

import strawberry

from ispgraph.domain import models, packages, zones
from ispgraph.schema.base import Money, Node, Payload, node, row
from ispgraph.schema.compiler.fields import amount, column, expression, one, part
from ispgraph.schema.compiler.sources import Column
from ispgraph.schema.scalars import JSON, BigInt

JobLink = Annotated["Job", strawberry.lazy("ispgraph.schema.jobs")]  # type: ignore[name-defined]  # noqa: F821

_CYCLE = (
    "How long a period is. WEEKLY is 7 days, MONTHLY a month of the calendar, QUARTERLY three and YEARLY twelve, "
    "unless `validityDays` says something else; DAILY and ONE_TIME are `validityDays` days. ONE_TIME is not followed "
    "by another period. What began on the 31st ends on the last day of a shorter month, and comes back to the 31st."
)
_PARTS = "Whether a recharge may end with some hours of a day, each for the 24th part of what a day costs."
_VALIDITY = (
    "The length of a period in days. For WEEKLY 7 and 30, for MONTHLY 28 to 31, for QUARTERLY 30 and 89 to 92, for "
    "YEARLY 30, 365 and 366 say no more than the cycle itself."
)


@strawberry.type(description="Fair use: from a threshold on, the rest of the period runs at the lower rates.")
class FupPolicy:
    threshold_bytes: BigInt | None
    threshold_seconds: int | None
    download_kbps: int
    upload_kbps: int
    reset_period: models.ResetPeriod
    notify_at_percent: int


@node(
    "tax", models.TaxProfile, description="A rate of tax, in per cent. The default one is for packages that name none."
)
class TaxProfile(Node):
    name: str
    rate: Decimal = column("rate")
    is_default: bool


@node("pkg", models.Package, description="What a customer can buy.")
class Package(Node):
    name: str
    description: str | None
    active: bool
    connection_types: list[models.ConnectionType]
    download_kbps: int
    upload_kbps: int
    price: Money = amount("price_minor")
    billing_cycle: models.BillingCycle = strawberry.field(description=_CYCLE)
    validity_days: int = strawberry.field(description=_VALIDITY)
    tax_profile: TaxProfile | None = one(
        "tax_profile_id", description="Null: the default profile of the tenant, and without one its tax rate."
    )
    daily_rate: Money | None = amount("daily_rate_minor")
    allow_partial_day: bool = strawberry.field(description=_PARTS)
    data_quota_bytes: BigInt | None = strawberry.field(description="Per period; without one there is no limit.")
    time_quota_seconds: int | None = strawberry.field(description="Per period; without one there is no limit.")
    bind_mac_on_first_login: bool = strawberry.field(
        description="Bind a service that is bound to no device to the first one that gets on line."
    )
    fup: FupPolicy | None = part(
        lambda package, asked: package.fup_download_kbps.is_not(None),
        members={name: Column(f"fup_{name}") for name in FupPolicy.__annotations__},
    )
    customer_count: int = expression(
        lambda package, asked: packages.customer_count(package, asked.viewer),
        description="Customers you may see who have an active service of this package.",
    )


@node("zon", models.Zone, description="A part of the area served.")
class Zone(Node):
    name: str
    code: str | None
    parent: Annotated["Zone", strawberry.lazy("ispgraph.schema.catalogue")] | None = one("parent_id")
    customer_count: int = expression(
        lambda zone, asked: zones.customer_count(zone, asked.viewer),
        description="Customers you may see who live in this zone itself.",
    )


@node("cfd", models.CustomField, description="A question of the tenant's own about each customer.")
class CustomField(Node):
    key: str
    label: str
    type: models.CustomFieldType
    required: bool
    options: list[str]


@row(models.CustomFieldValue)
class CustomFieldValue:
    field: CustomField = one("field_id")
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
    billing_cycle: models.BillingCycle = strawberry.field(default=models.BillingCycle.MONTHLY, description=_CYCLE)
    validity_days: int = strawberry.field(default=30, description=_VALIDITY)
    daily_rate: Decimal | None = None
    data_quota_bytes: BigInt | None = None
    time_quota_seconds: int | None = None
    fup: FupInput | None = None
    active: bool = True
    bind_mac_on_first_login: bool = False
    allow_partial_day: bool = strawberry.field(default=False, description=_PARTS)
    tax_profile_id: strawberry.ID | None = strawberry.field(
        default=None, description="Null: the default profile of the tenant, and without one its tax rate."
    )
    idempotency_key: str | None = None


@strawberry.input
class TaxProfileInput:
    name: str
    rate: Decimal = strawberry.field(description="Per cent, from 0 to 100, with at most three decimals.")
    id: strawberry.ID | None = strawberry.field(default=None, description="Of the one to change; null makes a new one.")
    is_default: bool = strawberry.field(default=False, description="It takes the place of the default one before.")
    idempotency_key: str | None = None


@strawberry.input
class ZoneInput:
    name: str
    code: str | None = None
    parent_id: strawberry.ID | None = None
    idempotency_key: str | None = None


@strawberry.input
class CustomFieldDefinitionInput:
    key: str
    label: str
    type: models.CustomFieldType
    required: bool = False
    options: list[str] | None = None
    idempotency_key: str | None = None


@strawberry.type
class PackagePayload(Payload):
    package: Package | None = None
    jobs: list[JobLink] = strawberry.field(
        default_factory=list,
        description="What tells the network of those who are on line: a job for each, or one for all when they are "
        "many. At a login RADIUS answers by the package as it is.",
    )


@strawberry.type
class TaxProfilePayload(Payload):
    tax_profile: TaxProfile | None = None


@strawberry.type
class ZonePayload(Payload):
    zone: Zone | None = None


@strawberry.type
class CustomFieldPayload(Payload):
    field: CustomField | None = None

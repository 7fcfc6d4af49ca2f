"""Requests for another package."""

from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated

import strawberry

from ispgraph.domain import models
from ispgraph.schema.base import Node, Payload, node
from ispgraph.schema.billing import Invoice
from ispgraph.schema.catalogue import Package
from ispgraph.schema.compiler.fields import one
from ispgraph.schema.operators import Operator

if TYPE_CHECKING:
    from ispgraph.schema.customers import Service

ServiceLink = Annotated["Service", strawberry.lazy("ispgraph.schema.customers")]


@node("pch", models.PackageChange, description="A request for another package of a service.")
class PackageChange(Node):
    status: models.PackageChangeStatus
    effective_on: date = strawberry.field(
        description="SCHEDULED: carried out when this day begins in the tenant's time zone."
    )
    service: ServiceLink = one("service_id")
    from_package: Package = one("from_package_id")
    to_package: Package = one("to_package_id")
    requested_at: datetime
    requested_by: Operator | None = one("requested_by_id")
    reason: str | None
    applied_at: datetime | None
    invoice: Invoice | None = one("invoice_id", description="The invoice or the credit note that came of it.")
    message: str | None = strawberry.field(description="Why it failed, or what took its place.")


@strawberry.type
class PackageChangePayload(Payload):
    package_change: PackageChange | None = None

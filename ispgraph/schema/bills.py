"""Bills that a person asks for, and billing runs."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated

import strawberry

from ispgraph.domain import models
from ispgraph.domain.billing import runs
from ispgraph.schema.base import Money, Node, Payload, node
from ispgraph.schema.compiler.fields import amount as amount_of
from ispgraph.schema.compiler.fields import expression, one, rows
from ispgraph.schema.jobs import Job

OperatorLink = Annotated["Operator", strawberry.lazy("ispgraph.schema.operators")]  # type: ignore[name-defined]  # noqa: F821
ServiceLink = Annotated["Service", strawberry.lazy("ispgraph.schema.customers")]  # type: ignore[name-defined]  # noqa: F821


@strawberry.input
class GenerateBillInput:
    customer_id: strawberry.ID
    service_id: strawberry.ID | None = None
    package_id: strawberry.ID | None = strawberry.field(
        default=None, description="That of the service, which is also meant when neither this nor an amount is given."
    )
    amount: Decimal | None = strawberry.field(
        default=None,
        description="For something else than time of a service; with the tax in it or without, as prices of packages.",
    )
    period_start: date | None = strawberry.field(
        default=None, description="The first day of the time; left out for that which follows what is paid for."
    )
    period_end: date | None = strawberry.field(
        default=None, description="The day on which it ends, at the latest that of its period."
    )
    prorate: bool = strawberry.field(
        default=False, description="Charge for a part of a period by its days; the rest can be billed later."
    )
    due_on: date | None = None
    description: str | None = None
    tax_rate: Decimal | None = strawberry.field(default=None, description="In percent, in place of the usual one.")
    idempotency_key: str | None = None


@strawberry.input
class BillingRunInput:
    dry_run: bool = strawberry.field(description="Only say what would be billed.")
    as_of: date | None = strawberry.field(
        default=None,
        description="Bill what ends by the end of this day in the tenant's time zone; left out: by now. A day to come "
        "can only be tried.",
    )
    idempotency_key: str | None = None


@strawberry.type(description="A service that could not be billed.")
class BillingFailure:
    service: ServiceLink | None = one("service_id")
    reason: str


@strawberry.type(description="A line that a run would write.")
class BillingRunLine:
    service: ServiceLink | None = one("service_id")
    description: str
    explanation: str
    period_start: datetime
    period_end: datetime
    subtotal: Money = amount_of("subtotal_minor")
    tax: Money = amount_of("tax_minor")
    total: Money = amount_of("total_minor")


@node(
    "run",
    models.BillingRun,
    description="The bills of all services whose time had come to an end. The figures grow while its job works.",
)
class BillingRun(Node):
    as_of: datetime = strawberry.field(description="Until when time had to end to be billed.")
    dry_run: bool = strawberry.field(description="Nothing was written: the figures say what would have been.")
    job: Job = one("job_id")
    started_by: OperatorLink | None = one("started_by_id", description="Null for the run of the day.")
    status: models.JobStatus = expression(lambda run, asked: runs.of_its_job(run, models.Job.status))
    started_at: datetime | None = expression(lambda run, asked: runs.of_its_job(run, models.Job.started_at))
    ended_at: datetime | None = expression(lambda run, asked: runs.of_its_job(run, models.Job.finished_at))
    services: int
    invoices: int
    subtotal: Money = amount_of("subtotal_minor")
    tax: Money = amount_of("tax_minor")
    total: Money = amount_of("total_minor")
    failed: int = strawberry.field(description="How many services could not be billed.")
    failures: list[BillingFailure] = rows(
        lambda run, asked: runs.failures(run), description="The first 100 of them, with the reasons."
    )
    lines: list[BillingRunLine] = rows(
        lambda run, asked: runs.lines(run), description="Of a dry run the first 100 lines that would be written."
    )


@strawberry.type
class BillingRunPayload(Payload):
    run: BillingRun | None = None

"""Jobs and what each met in the network."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

import strawberry
from sqlalchemy import ColumnElement, Integer, Text, Uuid, and_, case, cast, literal_column, null

from ispgraph.domain import exports, links, models, visibility
from ispgraph.domain.jobs import BILLING_RUN, BULK, EXPORT_REPORT, EXPORTS, GATEWAY_CHECK, OFFICE, READ_USERS, VOUCHERS
from ispgraph.domain.permissions import Permission
from ispgraph.schema.base import Node, Payload, node, row
from ispgraph.schema.compiler.fields import expression, many, one, row_of
from ispgraph.schema.compiler.sources import Asked
from ispgraph.schema.context import Info

CustomerLink = Annotated["Customer", strawberry.lazy("ispgraph.schema.customers")]  # type: ignore[name-defined]  # noqa: F821
BillingRunLink = Annotated["BillingRun", strawberry.lazy("ispgraph.schema.bills")]  # type: ignore[name-defined]  # noqa: F821
GatewayPaymentLink = Annotated["GatewayPayment", strawberry.lazy("ispgraph.schema.payment_links")]  # type: ignore[name-defined]  # noqa: F821
BulkRunLink = Annotated["BulkRun", strawberry.lazy("ispgraph.schema.bulk_runs")]  # type: ignore[name-defined]  # noqa: F821
VoucherBatchLink = Annotated["VoucherBatch", strawberry.lazy("ispgraph.schema.vouchers")]  # type: ignore[name-defined]  # noqa: F821
RouterLink = Annotated["Router", strawberry.lazy("ispgraph.schema.routers")]  # type: ignore[name-defined]  # noqa: F821


@strawberry.interface(description="Slow work that was promised and is carried out in the background.")
class Job(Node):
    kind: str
    status: models.JobStatus
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    attempts: int
    message: str | None = strawberry.field(description="Why it ended as it did, or why the last attempt failed.")
    progress_done: int | None
    progress_total: int | None

    # Of a running job the column holds the end of its lease, which is nobody's business.
    next_attempt_at: datetime | None = expression(
        lambda job, asked: case((job.status == models.JobStatus.QUEUED, job.next_attempt_at))
    )


row_of(models.Job)(Job)


@row(models.NetworkStep, description="One exchange with the network, and how it ended.")
class NetworkStep:
    protocol: models.StepProtocol
    outcome: models.StepOutcome
    detail: str | None
    error_cause: int | None = strawberry.field(description="Error-Cause of a refusal (RFC 5176 section 3.5).")
    round_trip_ms: float | None
    at: datetime


def of_kind(is_one: Callable[[str], bool]) -> Any:
    """`is_type_of` of the types that share the table."""
    return classmethod(lambda _cls, value, _info: isinstance(value, models.Job) and is_one(value.kind))


def _file_id(job: Any, asked: Asked) -> ColumnElement[str | None]:
    if not asked.viewer.may(Permission.MANAGE_ROUTERS):
        return cast(null(), Text())
    file: ColumnElement[str | None] = job.arguments["file"].astext
    return case((job.kind == READ_USERS, literal_column("'fil_'") + file))


@node("job", models.Job, when=lambda job: job.kind.not_in(OFFICE), description="A job that reaches the network.")
class NetworkJob(Job):
    is_type_of = of_kind(lambda kind: kind not in OFFICE)
    customer: CustomerLink | None = one(
        lambda job, customer, asked: and_(
            customer.id == job.customer_id, visibility.condition(asked.viewer, models.Customer, customer)
        )
    )
    router: RouterLink | None = one("router_id")
    steps: list[NetworkStep] = many("job_id")
    file_id: strawberry.ID | None = expression(
        _file_id,
        description="Of routerReadUsers: what was read, which an import of customers takes within 24 hours. It cannot "
        "be downloaded. Null before, of other jobs, and for those without the permission MANAGE_ROUTERS.",
    )


@node("job", models.Job, when=lambda job: job.kind.in_(EXPORTS), description="A job that makes a file.")
class ExportJob(Job):
    is_type_of = of_kind(lambda kind: kind in EXPORTS)
    row_count: int | None = expression(
        lambda job, asked: cast(job.arguments["rows"].astext, Integer), description="Of the file, when it is made."
    )

    @strawberry.field(
        description="Where the file can be had for 24 hours by whoever has this address; null before, after, and for "
        "those without the permission EXPORT_DATA, or, of a report, VIEW_REPORTS."
    )
    def download_url(root: strawberry.Parent[models.Job], info: Info) -> str | None:
        viewer = info.context.viewer_or_refuse()
        may = viewer.may(Permission.EXPORT_DATA) and (root.kind != EXPORT_REPORT or viewer.may(Permission.VIEW_REPORTS))
        made = exports.file_of(root) if may else None
        if made is None:
            return None
        file_id, until = made
        settings = info.context.settings
        return settings.origin + links.signed(settings.token_key, exports.link_path(root.tenant_id, file_id), {}, until)


@node("job", models.Job, when=lambda job: job.kind == BILLING_RUN, description="A job that bills what is due.")
class BillingJob(Job):
    is_type_of = of_kind(lambda kind: kind == BILLING_RUN)
    run: BillingRunLink | None = one(
        lambda job, run, asked: and_(run.job_id == job.id, visibility.condition(asked.viewer, models.BillingRun, run))
    )


@node("job", models.Job, when=lambda job: job.kind == GATEWAY_CHECK, description="A job that asks a payment gateway.")
class GatewayPaymentJob(Job):
    is_type_of = of_kind(lambda kind: kind == GATEWAY_CHECK)
    gateway_payment: GatewayPaymentLink | None = one(
        lambda job, attempt, asked: and_(
            attempt.check_job_id == job.id, visibility.condition(asked.viewer, models.GatewayPayment, attempt)
        ),
        description="The payment it asks about, as long as no other job has asked about it since.",
    )


@node("job", models.Job, when=lambda job: job.kind == BULK, description="A job that does the same to many customers.")
class BulkJob(Job):
    is_type_of = of_kind(lambda kind: kind == BULK)
    bulk_run: BulkRunLink | None = one(
        lambda job, run, asked: and_(run.job_id == job.id, visibility.condition(asked.viewer, models.BulkRun, run))
    )


@node("job", models.Job, when=lambda job: job.kind == VOUCHERS, description="A job that makes vouchers.")
class VoucherJob(Job):
    is_type_of = of_kind(lambda kind: kind == VOUCHERS)
    batch: VoucherBatchLink | None = one(
        lambda job, batch, asked: and_(
            batch.id == cast(job.arguments["batch"].astext, Uuid),
            visibility.condition(asked.viewer, models.VoucherBatch, batch),
        )
    )


@strawberry.type
class JobPayload(Payload):
    job: Job | None = None

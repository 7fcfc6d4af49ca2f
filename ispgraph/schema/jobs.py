"""Jobs and what each met in the network."""

from datetime import datetime
from typing import Annotated

import strawberry
from sqlalchemy import and_, case

from ispgraph.domain import models, visibility
from ispgraph.schema.base import Node, Payload, node, row
from ispgraph.schema.compiler.fields import expression, many, one, row_of

CustomerLink = Annotated["Customer", strawberry.lazy("ispgraph.schema.customers")]  # type: ignore[name-defined]  # noqa: F821
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


@node("job", models.Job, description="A job that reaches the network.")
class NetworkJob(Job):
    customer: CustomerLink | None = one(
        lambda job, customer, asked: and_(
            customer.id == job.customer_id, visibility.condition(asked.viewer, models.Customer, customer)
        )
    )
    router: RouterLink | None = one("router_id")
    steps: list[NetworkStep] = many("job_id")


@strawberry.type
class JobPayload(Payload):
    job: Job | None = None

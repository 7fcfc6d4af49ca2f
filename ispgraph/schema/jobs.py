"""Jobs and what each met in the network."""

from datetime import datetime
from typing import Annotated, Any

import strawberry

from ispgraph.domain import models
from ispgraph.schema.base import Node, Payload, node
from ispgraph.schema.context import Info

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

    @strawberry.field
    def next_attempt_at(root: strawberry.Parent[models.Job]) -> datetime | None:
        # Of a running job the column holds the end of its lease, which is nobody's business.
        return root.next_attempt_at if root.status is models.JobStatus.QUEUED else None


@strawberry.type(description="One exchange with the network, and how it ended.")
class NetworkStep:
    protocol: models.StepProtocol
    outcome: models.StepOutcome
    detail: str | None
    error_cause: int | None = strawberry.field(description="Error-Cause of a refusal (RFC 5176 section 3.5).")
    round_trip_ms: float | None
    at: datetime


@node("job", models.Job, description="A job that reaches the network.")
class NetworkJob(Job):
    @strawberry.field
    async def customer(root: strawberry.Parent[models.Job], info: Info) -> CustomerLink | None:
        found: Any = await info.context.loaders.one(models.Customer, root.customer_id)
        return found

    @strawberry.field
    async def router(root: strawberry.Parent[models.Job], info: Info) -> RouterLink | None:
        found: Any = await info.context.loaders.one(models.Router, root.router_id)
        return found

    @strawberry.field
    async def steps(root: strawberry.Parent[models.Job], info: Info) -> list[NetworkStep]:
        found: Any = await info.context.loaders.many(models.NetworkStep, "job_id", root.id)
        return list(found)


@strawberry.type
class JobPayload(Payload):
    job: Job | None = None

"""What jobs met in the network, recorded; and how they, and the services they are for, end."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from ispgraph import clock
from ispgraph.domain import jobs
from ispgraph.domain.models import (
    Job,
    JobStatus,
    NetworkStep,
    ProvisioningState,
    Service,
    StepOutcome,
    StepProtocol,
)
from ispgraph.domain.network.items import Drift

_LONGEST = 2000
_TOLD = 3
_NOTHING_NEW = (StepOutcome.TIMEOUT, StepOutcome.UNREACHABLE)


@dataclass(frozen=True, slots=True)
class Step:
    """One exchange with the network, and how it ended."""

    protocol: StepProtocol
    outcome: StepOutcome
    detail: str
    error_cause: int | None = None
    round_trip_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of bringing one router to a version of a service. `drift` is what it held instead; with a `problem` it
    could not be brought there."""

    service_id: UUID
    customer_id: UUID
    version: int
    drift: Sequence[Drift] = ()
    managed: bool = True
    problem: str | None = None


def record(session: AsyncSession, job: Job, steps: Iterable[Step], message: str | None = None) -> None:
    """Keep the steps of a running job, and say how far it is.

    A job that waits for a router for hours tells of the first times it was tried, and then of what is new.
    """
    now = clock.now()
    for step in steps:
        if jobs.waits(job) >= _TOLD and (step.outcome in _NOTHING_NEW or step.protocol is StepProtocol.RADIUS_SQL):
            continue
        session.add(
            NetworkStep(
                tenant_id=job.tenant_id,
                job_id=job.id,
                at=now,
                protocol=step.protocol,
                outcome=step.outcome,
                # What a router shows may hold what PostgreSQL cannot.
                detail=step.detail[:_LONGEST].replace("\0", ""),
                error_cause=step.error_cause,
                round_trip_ms=step.round_trip_ms,
            )
        )
    if message is not None:
        jobs.tell(session, job, message)


async def conclude(session: AsyncSession, findings: Sequence[Finding]) -> None:
    """Say of each service how far the network is with it, in three statements however many. Their jobs have ended in
    this transaction.

    What has changed since is another job's, and while another router has still to be told, or has failed, the service
    is not there yet.
    """
    await session.flush()
    keys = {one.service_id: one.customer_id for one in findings}
    rows = select(Service).where(Service.id.in_(keys)).order_by(Service.id).with_for_update(key_share=True)
    services = {service.id: service for service in await session.scalars(rows)}
    unfinished = await _unfinished(session, keys)
    failures = await _failed_elsewhere(session, keys)
    for one in findings:
        service = services[one.service_id]
        service.checked_at = clock.now()
        service.drift = [each.as_row() for each in one.drift]
        if service.desired_version != one.version:
            continue
        if one.problem is None and one.service_id in unfinished:
            continue
        problem = one.problem or failures.get((one.service_id, one.version))
        service.network_problem = problem
        if problem is not None:
            service.provisioning = ProvisioningState.FAILED
            continue
        service.applied_version = one.version
        service.provisioning = ProvisioningState.APPLIED if one.managed else ProvisioningState.NOT_MANAGED


async def job_failed(session: AsyncSession, job: Job, problem: str) -> None:
    """End a held job badly, and say so of its service."""
    jobs.finish(session, job, JobStatus.FAILED, problem)
    await _spread(session, job, problem)


async def job_postponed(session: AsyncSession, job: Job, problem: str) -> None:
    """Have a held job tried again later; after its last attempt it has failed."""
    jobs.postpone(session, job, problem)
    if job.status is JobStatus.FAILED:
        await _spread(session, job, problem)


async def _spread(session: AsyncSession, job: Job, problem: str) -> None:
    if job.kind == jobs.PROVISION and job.service_id is not None:
        service = await _lock(session, job.service_id)
        service.provisioning, service.network_problem = ProvisioningState.FAILED, problem


def supersede(session: AsyncSession, job: Job) -> None:
    """A later change of the same service has made this job pointless before it began."""
    jobs.finish(
        session, job, JobStatus.CANCELLED, "A later change took its place before the network was told of this one."
    )


async def _lock(session: AsyncSession, service_id: UUID) -> Service:
    return (
        await session.scalars(select(Service).where(Service.id == service_id).with_for_update(key_share=True))
    ).one()


async def _unfinished(session: AsyncSession, keys: Mapping[UUID, UUID]) -> set[UUID | None]:
    """Which of these services, given with their customers, have a router that is still to be told."""
    rows = select(Job.service_id).where(*_of(keys), Job.status.in_(jobs.UNFINISHED))
    return set(await session.scalars(rows))


async def _failed_elsewhere(session: AsyncSession, keys: Mapping[UUID, UUID]) -> dict[tuple[UUID | None, object], str]:
    """By service and version: why a job has failed that no later one of the same router has made good."""
    later = aliased(Job)
    made_good = exists().where(
        later.customer_id == Job.customer_id,
        later.service_id == Job.service_id,
        later.kind == jobs.PROVISION,
        later.router_id.is_not_distinct_from(Job.router_id),
        later.id > Job.id,
    )
    rows = select(Job).where(*_of(keys), Job.status == JobStatus.FAILED, ~made_good).order_by(Job.id.desc())
    return {(job.service_id, job.arguments.get("version")): job.message or "" for job in await session.scalars(rows)}


def _of(keys: Mapping[UUID, UUID]) -> Sequence[ColumnElement[bool]]:
    # The customers are named for the index: the table keeps the jobs of years.
    return Job.customer_id.in_(keys.values()), Job.service_id.in_(keys), Job.kind == jobs.PROVISION

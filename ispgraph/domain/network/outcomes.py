"""What jobs met in the network, recorded; and how they, and the services they are for, end."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import exists, select
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


async def applied(
    session: AsyncSession, service_id: UUID, version: int, *, drift: Sequence[Drift] = (), managed: bool = True
) -> None:
    """The network was found to hold this version of a service, as far as one router goes.

    What has changed since is another job's, and while another router has still to be told, or has failed, the service
    is not there yet.
    """
    service = await _lock(session, service_id)
    service.checked_at = clock.now()
    service.drift = [each.as_row() for each in drift]
    if service.desired_version != version or await _others(session, service_id):
        return
    if (failure := await _failed_elsewhere(session, service_id, version)) is not None:
        service.provisioning, service.network_problem = ProvisioningState.FAILED, failure.message
        return
    service.applied_version = version
    service.provisioning = ProvisioningState.APPLIED if managed else ProvisioningState.NOT_MANAGED
    service.network_problem = None


async def failed(
    session: AsyncSession, service_id: UUID, version: int, problem: str, *, drift: Sequence[Drift] = ()
) -> None:
    """The network could not be brought to this version of a service."""
    service = await _lock(session, service_id)
    service.checked_at = clock.now()
    service.drift = [each.as_row() for each in drift]
    if service.desired_version == version:
        service.provisioning = ProvisioningState.FAILED
        service.network_problem = problem


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


async def _others(session: AsyncSession, service_id: UUID) -> bool:
    """Whether another router has still to be told: those of this one have ended in this transaction."""
    await session.flush()
    unfinished: Any = exists().where(
        Job.service_id == service_id, Job.kind == jobs.PROVISION, Job.status.in_(jobs.UNFINISHED)
    )
    return bool(await session.scalar(select(unfinished)))


async def _failed_elsewhere(session: AsyncSession, service_id: UUID, version: int) -> Job | None:
    """A job for this version that has failed, and that no later one of the same router has made good."""
    later = aliased(Job)
    made_good = exists().where(
        later.service_id == service_id,
        later.kind == jobs.PROVISION,
        later.router_id.is_not_distinct_from(Job.router_id),
        later.id > Job.id,
    )
    rows = select(Job).where(
        Job.service_id == service_id,
        Job.kind == jobs.PROVISION,
        Job.status == JobStatus.FAILED,
        Job.arguments["version"].as_integer() == version,
        ~made_good,
    )
    return await session.scalar(rows.order_by(Job.id).limit(1))

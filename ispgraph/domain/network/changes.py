"""Telling the network: the jobs that follow from a change of a service, and from the wish to end a session."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import jobs
from ispgraph.domain.models import Job, OpenSession, ProvisioningState, Service, Session
from ispgraph.domain.network import desired


async def changed(session: AsyncSession, service: Service, *, by: UUID | None) -> list[Job]:
    """A locked service has changed in a way that the network should know of: its jobs, one for each router that it
    concerns, committed with the change. `by` is an operator, None for the product itself."""
    return (await all_changed(session, [service], by=by))[service.id]


async def besides(session: AsyncSession, service: Service, made: Sequence[Job], *, by: UUID | None) -> list[Job]:
    """As `changed`, together with jobs that were made just now: when there is one of the service, it brings all."""
    if any(job.service_id == service.id for job in made):
        return list(made)
    return [*made, *await changed(session, service, by=by)]


async def all_changed(
    session: AsyncSession, services: Sequence[Service], *, by: UUID | None
) -> Mapping[UUID, list[Job]]:
    """As `changed` for many services: the jobs of each by its id, in three statements however many."""
    for service in services:
        service.desired_version += 1
    made = await all_promised(session, services, by)
    # From here on only what differs from this is worth another job.
    await session.execute(select(func.watch_told(Service.id, clock.now())).where(Service.id.in_(made)))
    return made


async def promised(session: AsyncSession, service: Service, *, by: UUID | None) -> list[Job]:
    """The jobs that bring the network to the service's state as it is; `changed` for a new one.

    Without a router there is one all the same: it asks what RADIUS would say.
    """
    return (await all_promised(session, [service], by))[service.id]


async def all_promised(session: AsyncSession, services: Sequence[Service], by: UUID | None) -> Mapping[UUID, list[Job]]:
    """As `promised` for many services: the jobs of each by its id."""
    # Before anything is asked, so that all that has changed of a service goes out as one update.
    for service in services:
        service.provisioning = ProvisioningState.PENDING
        service.network_problem = None
    routers = await _routers(session, services)
    made: dict[UUID, list[Job]] = {}
    for service in services:
        arguments: dict[str, object] = {"version": service.desired_version}
        concerned = routers[service.id]
        made[service.id] = [_job(jobs.PROVISION, service, router_id, arguments, by) for router_id in concerned]
    await jobs.enqueue_all(session, [job for each in made.values() for job in each])
    return made


async def asked(session: AsyncSession, services: Sequence[Service]) -> None:
    """New services that no router knows of, made in this transaction as APPLIED, all at once and without a job: of whom
    RADIUS would not say what the service's state asks for, that is said."""
    told = await desired.load(session, [service.id for service in services], None)
    for service in services:
        wanted = told[service.id]
        if not wanted.agrees:
            service.provisioning, service.network_problem = ProvisioningState.FAILED, wanted.detail
            service.applied_version = 0
    await session.flush()


async def disconnected(
    session: AsyncSession, service: Service, sessions: Sequence[Session], *, by: UUID | None
) -> list[Job]:
    """The jobs that end these open sessions of a service, one for each router; a static address has none, and loses
    its connections. Nothing else changes: who dials again gets on line again."""
    by_router: dict[UUID | None, list[str]] = {}
    for row in sessions:
        by_router.setdefault(row.router_id, []).append(str(row.id))
    if not sessions:
        by_router[service.router_id] = []
    made = [
        _job(jobs.DISCONNECT, service, router_id, {"sessions": chosen}, by) for router_id, chosen in by_router.items()
    ]
    await jobs.enqueue_all(session, made)
    return made


def _job(kind: str, service: Service, router_id: UUID | None, arguments: dict[str, object], by: UUID | None) -> Job:
    return jobs.promise(
        kind,
        tenant_id=service.tenant_id,
        customer_id=service.customer_id,
        service_id=service.id,
        router_id=router_id,
        by=by,
        arguments=arguments,
    )


async def _routers(session: AsyncSession, services: Sequence[Service]) -> Mapping[UUID, Sequence[UUID | None]]:
    """By service, the routers on which something may have to change: its own, and those its open sessions are on.
    None where there is none."""
    found: dict[UUID, set[UUID]] = {
        service.id: set() if service.router_id is None else {service.router_id} for service in services
    }
    on_line = select(OpenSession.service_id, OpenSession.router_id).where(OpenSession.service_id.in_(found))
    for service_id, router_id in await session.execute(on_line):
        if service_id is not None and router_id is not None:
            found[service_id].add(router_id)
    return {service_id: sorted(routers) or [None] for service_id, routers in found.items()}

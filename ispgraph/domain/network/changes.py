"""Telling the network: the jobs that follow from a change of a service, and from the wish to end a session."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import jobs
from ispgraph.domain.models import Job, ProvisioningState, Service, Session


async def changed(session: AsyncSession, service: Service, *, by: UUID | None) -> list[Job]:
    """A locked service has changed in a way that the network should know of: its jobs, one for each router that it
    concerns, committed with the change. `by` is an operator, None for the product itself."""
    service.desired_version += 1
    made = await promised(session, service, by=by)
    # From here on only what differs from this is worth another job.
    await session.execute(select(func.watch_told(service.id, clock.now())))
    return made


async def promised(session: AsyncSession, service: Service, *, by: UUID | None) -> list[Job]:
    """The jobs that bring the network to the service's state as it is; `changed` for a new one.

    Without a router there is one all the same: it asks what RADIUS would say.
    """
    service.provisioning = ProvisioningState.PENDING
    service.network_problem = None
    arguments: dict[str, object] = {"version": service.desired_version}
    routers = await _routers(session, service)
    return [await _promise(session, jobs.PROVISION, service, router_id, arguments, by) for router_id in routers]


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
    return [
        await _promise(session, jobs.DISCONNECT, service, router_id, {"sessions": chosen}, by)
        for router_id, chosen in by_router.items()
    ]


async def _promise(
    session: AsyncSession,
    kind: str,
    service: Service,
    router_id: UUID | None,
    arguments: dict[str, object],
    by: UUID | None,
) -> Job:
    return await jobs.enqueue(
        session,
        kind,
        tenant_id=service.tenant_id,
        customer_id=service.customer_id,
        service_id=service.id,
        router_id=router_id,
        by=by,
        arguments=arguments,
    )


async def _routers(session: AsyncSession, service: Service) -> list[UUID | None]:
    """The routers on which something may have to change: its own, and those its open sessions are on. None if none."""
    on_line = select(Session.router_id).where(
        Session.service_id == service.id, Session.stopped_at.is_(None), Session.router_id.is_not(None)
    )
    found = {service.router_id, *await session.scalars(on_line)} - {None}
    return [*sorted(router for router in found if router is not None)] or [None]

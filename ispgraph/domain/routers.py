"""The routers of a tenant, read."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain import jobs
from ispgraph.domain.models import Job, JobStatus, Router
from ispgraph.domain.permissions import Viewer


async def every(session: AsyncSession) -> Sequence[Router]:
    """All routers of the tenant, by name."""
    return (await session.scalars(select(Router).order_by(Router.name, Router.id))).all()


async def pending_jobs(session: AsyncSession, routers: Sequence[UUID], *, by: Viewer) -> list[int]:
    """How many jobs that the viewer may see wait for or run on each router, in the order given."""
    rows = await session.execute(
        select(Job.router_id, func.count())
        .where(Job.router_id.in_(routers), Job.status.in_((JobStatus.QUEUED, JobStatus.RUNNING)), jobs.visible(by))
        .group_by(Job.router_id)
    )
    found = {row[0]: row[1] for row in rows}
    return [found.get(router, 0) for router in routers]

"""The routers of a tenant, read."""

from typing import Any

from sqlalchemy import ColumnElement, func, select

from ispgraph.domain import jobs
from ispgraph.domain.models import Job, JobStatus
from ispgraph.domain.permissions import Viewer


def pending_jobs(router: Any, by: Viewer) -> ColumnElement[int]:
    """How many jobs that the viewer may see wait for or run on a router."""
    return (
        select(func.count())
        .select_from(Job)
        .where(Job.router_id == router.id, Job.status.in_((JobStatus.QUEUED, JobStatus.RUNNING)), jobs.visible(by))
        .scalar_subquery()
    )

"""Jobs: looking at them, trying again, cancelling, following."""

from collections.abc import AsyncGenerator
from typing import Any

import strawberry

from ispgraph.domain import jobs as domain
from ispgraph.domain import models
from ispgraph.domain.errors import ErrorCode, fail
from ispgraph.domain.models import JobStatus
from ispgraph.domain.permissions import Permission
from ispgraph.domain.references import typed_id
from ispgraph.resolvers.base import SIGNED_IN, action, query, stream
from ispgraph.resolvers.once import once
from ispgraph.schema import roots
from ispgraph.schema.compiler.reading import RowOf, page_of
from ispgraph.schema.context import Info
from ispgraph.schema.jobs import Job, JobPayload
from ispgraph.schema.pages import Connection

# Rows are read again this often even if no event comes: an event that Redis lost only makes things later.
REREAD_SECONDS = 2.0


async def jobs(
    info: Info,
    status: list[JobStatus] | None = None,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
) -> Connection[Job]:
    """Jobs of the viewer's customers, newest first, in these states (none given: in any)."""
    page: Connection[Job] = page_of(roots.JOBS, {"status": status}, first=first, after=after, last=last, before=before)
    return page


async def job(info: Info, id: strawberry.ID) -> Job | None:
    """One job; null when there is none the viewer may see."""
    found: Any = RowOf(models.Job, typed_id("job", id, "id"), if_visible=True)
    return found


@once()
async def retry(info: Info, job_id: strawberry.ID) -> JobPayload:
    """Queue a failed or cancelled job again."""
    wanted = typed_id("job", job_id, "jobId")
    done: Any = await domain.retry(info.context.session, wanted, by=info.context.viewer_or_refuse())
    return JobPayload(job=done)


@once()
async def cancel(info: Info, job_id: strawberry.ID) -> JobPayload:
    """Cancel a job that has not begun."""
    wanted = typed_id("job", job_id, "jobId")
    done: Any = await domain.cancel(info.context.session, wanted, by=info.context.viewer_or_refuse())
    return JobPayload(job=done)


async def updated(
    info: Info, job_id: strawberry.ID | None = None, customer_id: strawberry.ID | None = None
) -> AsyncGenerator[Job, None]:
    """One job until it has ended, or every job of one customer for as long as one listens. First, as it is."""
    if (job_id is None) == (customer_id is None):
        raise fail(ErrorCode.INVALID, "Give either jobId or customerId.", "jobId" if job_id is None else "customerId")
    by, read = info.context.viewer_or_refuse(), info.context.read
    if job_id is not None:
        changes = domain.follow_job(read, typed_id("job", job_id, "jobId"), by=by, seconds=REREAD_SECONDS)
    else:
        wanted = typed_id("cus", customer_id or "", "customerId")
        changes = domain.follow_customer(read, wanted, by=by, seconds=REREAD_SECONDS)
    async for changed in changes:
        info.context.loaders.forget()
        event: Any = changed
        yield event


@strawberry.type
class JobQueries:
    jobs = query(jobs, Permission.VIEW_CUSTOMERS)
    job = query(job, Permission.VIEW_CUSTOMERS, narrowed=True)


@strawberry.type
class JobMutations:
    # Either of two permissions will do: the verb asks for them.
    job_retry = action(retry, SIGNED_IN)
    job_cancel = action(cancel, SIGNED_IN)


@strawberry.type
class JobSubscriptions:
    job_updated = stream(updated, Permission.VIEW_CUSTOMERS)

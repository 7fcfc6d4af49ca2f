"""Files that jobs make and people download: written chunk by chunk, and given to nobody before they are whole."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from sqlalchemy import and_, delete, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock, ids
from ispgraph.domain.models import File, FileChunk, Job

CHUNK_BYTES = 512 * 1024
KEPT = timedelta(hours=24)
"""So long a file can be downloaded after it was made."""
# No job takes so long: what was not finished by then was given up.
_GIVEN_UP = timedelta(days=1)


class Reads(Protocol):
    """Opens a short session for reading on behalf of a tenant."""

    def __call__(self, tenant_id: UUID) -> AbstractAsyncContextManager[AsyncSession]: ...


async def begin(session: AsyncSession, job: Job, *, name: str, media_type: str) -> File:
    """An empty file of a job that is held. What an earlier run of the job began is thrown away."""
    await _remove(session, list(await session.scalars(select(File.id).where(File.job_id == job.id))))
    file = File(
        id=ids.uuid7(),
        tenant_id=job.tenant_id,
        job_id=job.id,
        name=name,
        media_type=media_type,
        created_at=clock.now(),
        expires_at=clock.now() + KEPT,
    )
    session.add(file)
    await session.flush()
    return file


def append(session: AsyncSession, file: File, number: int, body: bytes) -> None:
    """The chunk of this number, from 0 on without a gap."""
    session.add(FileChunk(tenant_id=file.tenant_id, file_id=file.id, number=number, body=body))


async def finish(session: AsyncSession, file: File, size: int) -> File:
    """The file is whole: from now on, for a day, it can be downloaded."""
    row = await session.get_one(File, file.id)
    row.size, row.ready_at = size, clock.now()
    row.expires_at = row.ready_at + KEPT
    return row


async def find(session: AsyncSession, file_id: UUID) -> File | None:
    """A whole file whose time is not over."""
    whole = and_(File.ready_at.is_not(None), File.expires_at > clock.now())
    return await session.scalar(select(File).where(File.id == file_id, whole))


async def chunks(read: Reads, file: File) -> AsyncIterator[bytes]:
    """The file's bytes, read one chunk after the other. Raises LookupError when it is thrown away meanwhile."""
    sent = number = 0
    while sent < file.size:
        async with read(file.tenant_id) as session:
            rows = select(FileChunk.body).where(FileChunk.file_id == file.id, FileChunk.number == number)
            body = await session.scalar(rows)
        if body is None:
            raise LookupError(f"chunk {number} of file {file.id}")
        yield body
        sent, number = sent + len(body), number + 1


async def prune(session: AsyncSession, tenant_id: UUID) -> None:
    """Throw away the files whose time is over, and those that were given up."""
    over = and_(File.ready_at.is_not(None), File.expires_at <= clock.now())
    given_up = and_(File.ready_at.is_(None), File.created_at < clock.now() - _GIVEN_UP)
    rows = select(File.id).where(File.tenant_id == tenant_id, or_(over, given_up))
    await _remove(session, list(await session.scalars(rows)))


async def _remove(session: AsyncSession, keys: list[UUID]) -> None:
    if keys:
        await session.execute(delete(FileChunk).where(FileChunk.file_id.in_(keys)))
        await session.execute(delete(File).where(File.id.in_(keys)))

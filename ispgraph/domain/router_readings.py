"""What routers were read as, kept for a day until somebody imports it. Sealed, for it holds passwords: nobody is given
it to download."""

import asyncio
from collections.abc import Iterator, Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain import files, jobs, secrets
from ispgraph.domain.errors import not_found
from ispgraph.domain.models import File, FileChunk, Job, Router
from ispgraph.domain.permissions import Permission, Viewer

MEDIA_TYPE = "application/x-ndjson"


def sealed(job: Job, parts: Sequence[str], network_key: bytes) -> list[bytes]:
    """The lines of a reading in chunks, as they are stored. Pure, and some work: for a thread."""
    return [
        secrets.seal(network_key, text, secrets.router_reading(job.tenant_id, job.id, number))
        for number, text in enumerate(_chunks(parts))
    ]


async def keep(session: AsyncSession, job: Job, router: Router, chunks: Sequence[bytes]) -> UUID:
    """Store a reading with the job that is held, which tells of it from then on; the id of the file."""
    file = await files.begin(session, job, name=f"router-{router.id.hex}.ndjson", media_type=MEDIA_TYPE)
    for number, body in enumerate(chunks):
        files.append(session, file, number, body)
    await session.flush()
    await files.finish(session, file, sum(map(len, chunks)))
    job.arguments = {**job.arguments, "file": file.id.hex}
    return file.id


async def find(session: AsyncSession, file_id: UUID, *, by: Viewer) -> File | None:
    """What a router was read as; None when there is no such file, or none any more, or it is not for the
    viewer."""
    file = await files.find(session, file_id) if by.may(Permission.MANAGE_ROUTERS) else None
    job = await jobs.find(session, file.job_id, by=by) if file is not None else None
    return file if job is not None and job.kind == jobs.READ_USERS else None


async def body(session: AsyncSession, file_id: UUID, *, network_key: bytes, by: Viewer, field: Sequence[str]) -> bytes:
    """What a router was read as, for an import. Raises DomainError NOT_FOUND at `field` when `find` has none."""
    file = await find(session, file_id, by=by)
    if file is None:
        raise not_found("file", *field)
    rows = select(FileChunk.body).where(FileChunk.file_id == file_id).order_by(FileChunk.number)
    chunks = (await session.scalars(rows)).all()
    return await asyncio.to_thread(_opened, file, chunks, network_key)


def _opened(file: File, chunks: Sequence[bytes], network_key: bytes) -> bytes:
    bound_to = [secrets.router_reading(file.tenant_id, file.job_id, number) for number in range(len(chunks))]
    return "".join(map(secrets.unseal, [network_key] * len(chunks), chunks, bound_to)).encode()


def _chunks(parts: Sequence[str]) -> Iterator[str]:
    waiting, size = [], 0
    for part in parts:
        waiting.append(part)
        size += len(part)
        if size >= files.CHUNK_BYTES:
            yield "".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield "".join(waiting)

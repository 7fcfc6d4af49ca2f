"""Kinds of job that tests watch and steer through Redis, and a worker that knows them."""

import asyncio

import redis.asyncio

from ispgraph import worker
from ispgraph.actors.registry import ACTIONS
from ispgraph.actors.run import Run
from ispgraph.domain.models import AuditEntry
from ispgraph.settings import Settings

MARK, GATED = "test.mark", "test.gated"
STARTED, GATE = "test:started", "test:gate"


async def mark(run: Run) -> None:
    """Leave one row, and end in the same transaction."""
    async with run.transaction() as session:
        row = AuditEntry(tenant_id=run.job.tenant_id, action="test.effect", subject_id=run.job.id, details={})
        session.add(row)
        await run.succeed(session, "marked")


async def gated(run: Run) -> None:
    """Say so, wait until the gate opens, then as `mark`."""
    async with redis.asyncio.from_url(run.settings.redis_url) as client:
        await client.incr(STARTED)
        while not await client.exists(GATE):
            await asyncio.sleep(0.02)
    await mark(run)


KINDS = {MARK: mark, GATED: gated}


def main(settings: Settings) -> None:
    """The product's worker with these kinds besides its own."""
    worker.main(settings, {**ACTIONS, **KINDS})

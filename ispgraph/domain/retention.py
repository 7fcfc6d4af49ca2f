"""How long the house keeps what only had a passing use."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import files
from ispgraph.domain.messaging import sending
from ispgraph.domain.models import (
    CustomerPasswordReset,
    CustomerSignIn,
    IdempotencyKey,
    ScheduledRun,
    SignIn,
)
from ispgraph.domain.webhooks import deliveries

KEPT = timedelta(days=7)
# Longer than any outage that should still be noticed; a run that is forgotten would be made up for again.
_RUNS_KEPT = timedelta(days=400)


async def prune(session: AsyncSession, tenant_id: UUID) -> None:
    """Delete sign-ins that ended, and answers that were given, more than seven days ago; files nobody
    can have, reports of gateways about messages that nobody knows, and the log of webhooks of more than 30 days ago."""
    before = clock.now() - KEPT
    await session.execute(delete(SignIn).where(SignIn.tenant_id == tenant_id, SignIn.expires_at < before))
    for table in (CustomerSignIn, CustomerPasswordReset):
        await session.execute(delete(table).where(table.tenant_id == tenant_id, table.expires_at < before))
    await session.execute(
        delete(IdempotencyKey).where(IdempotencyKey.tenant_id == tenant_id, IdempotencyKey.created_at < before)
    )
    await files.prune(session, tenant_id)
    await sending.prune(session, tenant_id)
    await deliveries.prune(session, tenant_id)
    forgotten = (clock.now() - _RUNS_KEPT).date()
    await session.execute(
        delete(ScheduledRun).where(ScheduledRun.tenant_id == tenant_id, ScheduledRun.run_on < forgotten)
    )

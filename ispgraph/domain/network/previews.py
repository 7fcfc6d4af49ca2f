"""What the network would hold for a service if it were another one: tried in the database, and taken back."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph import clock
from ispgraph.domain import radius_rows
from ispgraph.domain.models import Customer, Service
from ispgraph.domain.radius_rows import RadiusRow

_POLICY_DIGITS = 16
_SEEN = text("""
    SELECT radius_policy_of(:service, :at) AS policy, n.refusal, n.barred, n.fup_active, n.quota_octets, n.period_octets
      FROM service_standing(:service, :at) n""")


@dataclass(frozen=True, slots=True)
class Preview:
    """What RADIUS would say to a login, and how the limits would stand. `refusal` is why nobody would get on line,
    `barred` the part of it that is due to limits; octets of the period, None without a quota."""

    rows: Sequence[RadiusRow]
    policy: str
    refusal: str | None
    barred: str | None
    fup_active: bool
    quota_octets: int | None
    period_octets: int | None

    def ends_sessions(self, before: "Preview") -> bool:
        """Whether an open session could not be kept: address, pool or admission are other ones."""
        return self.policy[:_POLICY_DIGITS] != before.policy[:_POLICY_DIGITS]


async def of_service(session: AsyncSession, service_id: UUID) -> Preview:
    """As the service is now."""
    rows = await radius_rows.of_service(session, service_id)
    seen = (await session.execute(_SEEN, {"service": service_id, "at": clock.now()})).one()
    return Preview(
        rows,
        seen.policy or "",
        seen.refusal,
        seen.barred,
        bool(seen.fup_active),
        seen.quota_octets,
        seen.period_octets,
    )


async def of_changed(
    session: AsyncSession, service: Service, values: Mapping[str, object], customer: Mapping[str, object]
) -> Preview:
    """As it would be with other values of its columns, and of its customer's."""
    async with _as_if(session):
        # The customer first, as whoever changes them locks them.
        await _set(session, Customer, service.customer_id, customer)
        await _set(session, Service, service.id, values)
        return await of_service(session, service.id)


async def _set(session: AsyncSession, kind: type[Service | Customer], key: UUID, values: Mapping[str, object]) -> None:
    if values:
        statement = update(kind).where(kind.id == key).values(**values)
        await session.execute(statement.execution_options(synchronize_session=False))


@asynccontextmanager
async def _as_if(session: AsyncSession) -> AsyncIterator[None]:
    savepoint = await session.begin_nested()
    try:
        yield
    finally:
        await savepoint.rollback()

"""The line that a customer's reading is about, as the books know it: the newest open session, or where it would be."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, lateral, or_, select, true, union
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain import sessions
from ispgraph.domain.live.readings import LiveUsageSource, Reading, printed
from ispgraph.domain.models import ConnectionType, Customer, OpenSession, Service, ServiceStatus


@dataclass(frozen=True, slots=True)
class Update:
    """What the last accounting update of a session told: octets and seconds from its beginning."""

    at: datetime
    seconds: int
    input_octets: int
    output_octets: int


@dataclass(frozen=True, slots=True)
class Line:
    """A customer's newest open session with its service; without a session, the primary service.

    `username` is what the router knows the session by, `mac` too for a hotspot; `router_id` where it is, or where it
    will be.
    """

    customer_id: UUID
    operator_id: UUID
    service_id: UUID | None
    router_id: UUID | None
    kind: ConnectionType | None
    username: str
    mac: str | None
    session_id: UUID | None
    update: Update | None


async def of_customers(session: AsyncSession, customers: Collection[UUID]) -> list[Line]:
    """The lines of these customers, as far as there are such customers."""
    return await _lines(session, Customer.id.in_(customers))


async def of_router(session: AsyncSession, router_id: UUID | None) -> list[Line]:
    """The lines of all who have an open session or a static address on a router; None: on any or none."""
    online = select(OpenSession.customer_id).where(OpenSession.customer_id.is_not(None))
    static = select(Service.customer_id).where(
        Service.connection_type == ConnectionType.STATIC_IP,
        Service.status != ServiceStatus.TERMINATED,
        Service.router_id.is_not(None),
    )
    if router_id is not None:
        online, static = online.where(OpenSession.router_id == router_id), static.where(Service.router_id == router_id)
    lines = await _lines(session, Customer.id.in_(union(online, static)))
    return [line for line in lines if router_id in (None, line.router_id)]


async def _lines(session: AsyncSession, which: ColumnElement[bool]) -> list[Line]:
    newest = (
        sessions.opened(OpenSession.customer_id == Customer.id)
        .order_by(OpenSession.started_at.desc(), OpenSession.session_id.desc())
        .limit(1)
    )
    opened = lateral(newest).alias("o")
    served = or_(Service.id == opened.c.service_id, and_(opened.c.service_id.is_(None), Service.is_primary))
    service = lateral(select(Service).where(Service.customer_id == Customer.id, served).limit(1)).alias("s")
    found = (
        select(
            Customer.id.label("customer_id"),
            Customer.operator_id,
            service.c.id.label("service_id"),
            service.c.router_id.label("fixed_router_id"),
            service.c.connection_type.label("service_kind"),
            service.c.username.label("service_username"),
            opened.c.id.label("session_id"),
            opened.c.router_id,
            opened.c.connection_type,
            opened.c.username,
            opened.c.mac_address,
            opened.c.updated_at,
            opened.c.duration_seconds,
            opened.c.input_octets,
            opened.c.output_octets,
        )
        .select_from(Customer)
        .join(opened, true(), isouter=True)
        .join(service, true(), isouter=True)
        .where(which)
    )
    return [_line(row) for row in await session.execute(found)]


def _line(row: Any) -> Line:
    there = row.session_id is not None
    return Line(
        customer_id=row.customer_id,
        operator_id=row.operator_id,
        service_id=row.service_id,
        router_id=row.router_id if there else row.fixed_router_id,
        kind=row.connection_type if there else row.service_kind,
        username=(row.username if there else row.service_username) or "",
        mac=str(row.mac_address).upper() if row.mac_address is not None else None,
        session_id=row.session_id,
        update=Update(row.updated_at, row.duration_seconds, row.input_octets, row.output_octets) if there else None,
    )


def told(line: Line, now: datetime, before: Update | None = None) -> Reading:
    """What the books tell of a line: the average since the accounting update `before`, or else of the whole session."""
    update = line.update
    if update is None:
        return Reading(
            *(line.customer_id, line.operator_id, line.router_id, None, printed(now), False, 0, 0, 0, 0),
            LiveUsageSource.ACCOUNTING,
        )
    begun = before if before is not None and before.seconds < update.seconds else Update(update.at, 0, 0, 0)
    seconds = update.seconds - begun.seconds
    down, up = update.output_octets - begun.output_octets, update.input_octets - begun.input_octets
    return Reading(
        customer_id=line.customer_id,
        operator_id=line.operator_id,
        router_id=line.router_id,
        session_id=line.session_id,
        at=printed(update.at),
        online=True,
        download_bps=max(0, down * 8 // seconds) if seconds else 0,
        upload_bps=max(0, up * 8 // seconds) if seconds else 0,
        download_bytes=update.output_octets,
        upload_bytes=update.input_octets,
        source=LiveUsageSource.ACCOUNTING,
    )


async def standing(session: AsyncSession, customers: Sequence[UUID], now: datetime) -> list[Reading]:
    """What the books tell of these customers."""
    return [told(line, now) for line in await of_customers(session, customers)]

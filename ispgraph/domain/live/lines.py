"""The line that a customer's reading is about, as the books know it: the newest open session, or where it would be."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, bindparam, lateral, or_, select, true, union
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain import sessions
from ispgraph.domain.live.readings import LiveUsageSource, Reading, printed
from ispgraph.domain.models import ConnectionType, Customer, OpenSession, Router, Service, ServiceStatus


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
    found = await session.execute(_of_customers(), {"customers": list(customers)})
    return [_line(row) for row in found]


async def of_router(session: AsyncSession, router_id: UUID | None) -> list[Line]:
    """The lines of all who have an open session or a static address on a router; None: on any or none."""
    if router_id is None:
        return [_line(row) for row in await session.execute(_of_routers())]
    found = [_line(row) for row in await session.execute(_of_routers(one=True), {"router": router_id})]
    return [line for line in found if line.router_id == router_id]


# Statements are put together once: that takes longer than asking the database.


@cache
def _of_customers() -> Select[Any]:
    return _lines(Customer.id.in_(bindparam("customers", expanding=True)))


@cache
def _of_routers(*, one: bool = False) -> Select[Any]:
    online = select(OpenSession.customer_id).where(OpenSession.customer_id.is_not(None))
    static = select(Service.customer_id).where(
        Service.connection_type == ConnectionType.STATIC_IP,
        Service.status != ServiceStatus.TERMINATED,
        Service.router_id.is_not(None),
    )
    if one:
        router = bindparam("router", type_=Router.id.type)
        online, static = online.where(OpenSession.router_id == router), static.where(Service.router_id == router)
    return _lines(Customer.id.in_(union(online, static)))


def _lines(which: ColumnElement[bool]) -> Select[Any]:
    newest = (
        sessions.opened(OpenSession.customer_id == Customer.id)
        .order_by(OpenSession.started_at.desc(), OpenSession.session_id.desc())
        .limit(1)
    )
    opened = lateral(newest).alias("o")
    served = or_(Service.id == opened.c.service_id, and_(opened.c.service_id.is_(None), Service.is_primary))
    service = lateral(select(Service).where(Service.customer_id == Customer.id, served).limit(1)).alias("s")
    return (
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
    nothing = Reading(
        customer_id=line.customer_id.hex,
        operator_id=line.operator_id.hex,
        router_id=line.router_id.hex if line.router_id else None,
        session_id=None,
        at=printed(now),
        online=False,
        download_bps=0,
        upload_bps=0,
        download_bytes=0,
        upload_bytes=0,
        source=LiveUsageSource.ACCOUNTING,
    )
    update = line.update
    if update is None:
        return nothing
    begun = before if before is not None and before.seconds < update.seconds else Update(update.at, 0, 0, 0)
    seconds = update.seconds - begun.seconds
    down, up = update.output_octets - begun.output_octets, update.input_octets - begun.input_octets
    return nothing._replace(
        session_id=line.session_id.hex if line.session_id else None,
        at=printed(update.at),
        online=True,
        download_bps=max(0, down * 8 // seconds) if seconds else 0,
        upload_bps=max(0, up * 8 // seconds) if seconds else 0,
        download_bytes=update.output_octets,
        upload_bytes=update.input_octets,
    )


async def standing(session: AsyncSession, customers: Sequence[UUID], now: datetime) -> list[Reading]:
    """What the books tell of these customers."""
    return [told(line, now) for line in await of_customers(session, customers)]

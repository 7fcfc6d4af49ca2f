"""Accounting sessions: what they can be narrowed by, who is on line, what waits to be added to them, and which have
ended without a word."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Select,
    String,
    Uuid,
    and_,
    func,
    literal_column,
    select,
    tuple_,
    type_coerce,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from ispgraph.domain.lists import Filter, Key, Order
from ispgraph.domain.models import OpenSession, Session

_INSTANT = DateTime(timezone=True)

NEWEST = Order("sessions", (Key(Session.started_at, _INSTANT), Key(Session.id, Uuid())))
FILTERS = {
    "begun_from": Filter(_INSTANT, lambda value, by: Session.started_at >= value),
    "begun_to": Filter(_INSTANT, lambda value, by: Session.started_at < value),
    "connection_type": Filter(String(), lambda value, by: type_coerce(Session.connection_type, String()) == value),
    "state": Filter(String(), lambda value, by: type_coerce(Session.state, String()) == value),
}


def open_count(customer: Any) -> ColumnElement[int]:
    """How many sessions of a customer are open."""
    return select(func.count()).select_from(OpenSession).where(OpenSession.customer_id == customer.id).scalar_subquery()


def is_newest_open(session: Any, customer: Any) -> ColumnElement[bool]:
    """Whether a session is the newest of a customer's that are open."""
    each = aliased(OpenSession)
    newest = (
        select(each.session_id, each.started_at)
        .where(each.customer_id == customer.id)
        .order_by(each.started_at.desc(), each.session_id.desc())
        .limit(literal_column("1"))
        # Of the customer wherever that stands, also two selects further out.
        .correlate_except(each)
        .scalar_subquery()
    )
    return tuple_(session.id, session.started_at) == newest


def opened(*conditions: ColumnElement[bool]) -> Select[Session]:
    """The open sessions whose row of `OpenSession` meets the conditions."""
    where_it_stands = and_(Session.id == OpenSession.session_id, Session.started_at == OpenSession.started_at)
    rows = select(Session).join(OpenSession, where_it_stands)
    return rows.where(*conditions, Session.stopped_at.is_(None))


async def make_room(session: AsyncSession, *, at: datetime) -> int:
    """See to it that the sessions of this quarter and the next two have their partitions; how many were missing."""
    made: int = (await session.execute(select(func.sessions_quarters(at)))).scalar_one()
    return made


async def waiting(session: AsyncSession) -> list[UUID]:
    """The tenants of which Interims that were acknowledged wait to be added to their sessions and usage."""
    return list(await session.scalars(select(func.radius_accounting_waits())))


async def add_waiting(session: AsyncSession, *, limit: int) -> int:
    """Add about `limit` packets that wait of the tenant at hand, all of a session at once; how many were.

    Any number of programs may: what one is at, the others leave to it.
    """
    added: int = (await session.execute(select(func.radius_accounting_add(limit)))).scalar_one()
    return added


async def end_silent(session: AsyncSession, *, at: datetime, limit: int) -> int:
    """End up to `limit` sessions of the tenant at hand of which nothing was heard for too long; how many were.

    They end at their last update and are STALE: one that is heard of again goes on.
    """
    ended: int = (await session.execute(select(func.radius_sessions_silent(at, limit)))).scalar_one()
    return ended

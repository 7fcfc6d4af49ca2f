"""Accounting sessions: what they can be narrowed by, who is on line, and which have ended without a word."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, DateTime, String, Uuid, func, literal_column, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from ispgraph.domain.lists import Filter, Key, Order
from ispgraph.domain.models import Session

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
    return (
        select(func.count())
        .select_from(Session)
        .where(Session.customer_id == customer.id, Session.stopped_at.is_(None))
        .scalar_subquery()
    )


def newest_open(customer: Any) -> ColumnElement[UUID]:
    """The id of a customer's newest open session."""
    each = aliased(Session)
    return (
        select(each.id)
        .where(each.customer_id == customer.id, each.stopped_at.is_(None))
        .order_by(each.started_at.desc(), each.id.desc())
        .limit(literal_column("1"))
        # Of the customer wherever that stands, also two selects further out.
        .correlate_except(each)
        .scalar_subquery()
    )


async def end_silent(session: AsyncSession, *, at: datetime, limit: int) -> int:
    """End up to `limit` sessions of the tenant at hand of which nothing was heard for too long; how many were.

    They end at their last update and are STALE: one that is heard of again goes on.
    """
    ended: int = (await session.execute(select(func.radius_sessions_silent(at, limit)))).scalar_one()
    return ended

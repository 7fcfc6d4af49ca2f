"""Many customers that are meant together: named one by one, or as a list of customers is narrowed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Integer, Select, Uuid, func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.domain import customer_lists, customers
from ispgraph.domain.customer_lists import CustomerWhere
from ispgraph.domain.errors import DomainError, ErrorCode, Faults, beneath, fail
from ispgraph.domain.models import Customer, CustomerStatus
from ispgraph.domain.permissions import Permission, Viewer

MOST_NAMED = 5_000
"""So many customers may be named one by one."""
Counts = Mapping[CustomerStatus, int]


@dataclass(frozen=True, slots=True)
class Selection:
    """These customers; or, where none are named, those of the list that `where` and `search` narrow."""

    customer_ids: Sequence[UUID] | None = None
    where: CustomerWhere | None = None
    search: str | None = None

    def given(self) -> Mapping[str, object]:
        """What an idempotency key stands for."""
        where = None if self.where is None else {name: getattr(self.where, name) for name in self.where.__slots__}
        return {"customers": self.customer_ids, "where": where, "search": self.search}


async def rows(session: AsyncSession, selection: Selection, *, by: Viewer, at: tuple[str, ...]) -> Select[Any]:
    """The ids of the selected customers with their positions, the highest of which is the first: as they were named,
    or newest first.

    Raises DomainError at the path `at`: NOT_FOUND for each that the viewer may not see, INVALID, REQUIRED.
    """
    if selection.customer_ids is not None:
        if selection.where is not None or selection.search is not None:
            message = "Name customers, or narrow the list of them: one of the two."
            raise fail(ErrorCode.INVALID, message, *at, "customerIds")
        return await _named(session, selection.customer_ids, by, (*at, "customerIds"))
    if selection.where is None and selection.search is None:
        message = "Say which customers: customerIds, where or search. An empty `where` is all of them."
        raise fail(ErrorCode.REQUIRED, message, *at)
    if not by.may(Permission.VIEW_CUSTOMERS):
        raise fail(ErrorCode.NOT_PERMITTED, "To look for customers needs the permission VIEW_CUSTOMERS as well.", *at)
    try:
        asked = customer_lists.wanted(selection.where, selection.search, by=by)
    except DomainError as error:
        raise beneath(error, *at) from error
    position = func.row_number().over(order_by=Customer.id)
    return customer_lists.narrowed(asked, by).with_only_columns(Customer.id, position.label("position"))


async def _named(session: AsyncSession, keys: Sequence[UUID], by: Viewer, at: tuple[str, ...]) -> Select[Any]:
    faults = Faults(*at)
    if not keys:
        faults.add(ErrorCode.REQUIRED, "Name at least one customer.")
    if len(keys) > MOST_NAMED:
        faults.add(ErrorCode.LIMIT_EXCEEDED, f"At most {MOST_NAMED} customers can be named: narrow the list instead.")
    faults.raise_if_any()
    first = {key: place for place, key in reversed(list(enumerate(keys)))}
    named = literal(list(keys), ARRAY(Uuid()))
    visible = customers.visible(by).with_only_columns(Customer.id).where(Customer.id == func.any(named))
    found = set(await session.scalars(visible))
    for place, key in enumerate(keys):
        if key not in found:
            faults.add(ErrorCode.NOT_FOUND, "There is no such customer.", str(place))
        elif first[key] != place:
            faults.add(ErrorCode.INVALID, "This customer is named twice.", str(place))
    faults.raise_if_any()
    place_of: ColumnElement[int] = len(keys) + 1 - func.array_position(named, Customer.id, type_=Integer())
    return visible.add_columns(place_of.label("position"))


async def by_status(session: AsyncSession, selection: Selection, *, by: Viewer, at: tuple[str, ...]) -> Counts:
    """How many are selected, by their status. Raises DomainError as `rows`."""
    found = (await rows(session, selection, by=by, at=at)).subquery()
    counts = select(Customer.status, func.count()).join(found, found.c.id == Customer.id).group_by(Customer.status)
    return {row[0]: row[1] for row in await session.execute(counts)}

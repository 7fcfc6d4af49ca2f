"""Pages of a list by keyset: stable while rows come and go, and as fast at the end as at the start."""

import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from ispgraph.domain.errors import ErrorCode, fail

DEFAULT = 20
MAXIMUM = 100


@dataclass(frozen=True, slots=True)
class Page:
    """One page of rows with the cursors of its ends; `count` counts the whole list and runs only when asked for."""

    rows: Sequence[Any]
    cursors: Sequence[str]
    has_next: bool
    has_previous: bool
    count: Callable[[AsyncSession], Awaitable[int]]


async def page(
    session: AsyncSession,
    rows: Select[Any],
    key: InstrumentedAttribute[UUID],
    *,
    name: str,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
    descending: bool = True,
) -> Page:
    """A page of `rows` ordered by `key`. Cursors belong to the list called `name`. Raises DomainError INVALID."""
    size, backwards = _size(first, last)
    wanted = rows
    for field, text in (("after", after), ("before", before)):
        if text is not None:
            position = _position(name, text, field)
            wanted = wanted.where(key < position if (field == "after") == descending else key > position)
    downwards = descending != backwards
    wanted = wanted.order_by(key.desc() if downwards else key.asc()).limit(size + 1)
    found = list(await session.scalars(wanted))
    more, found = len(found) > size, found[:size]
    if backwards:
        found.reverse()

    async def count(reading: AsyncSession) -> int:
        return await reading.scalar(select(func.count()).select_from(rows.order_by(None).subquery())) or 0

    return Page(
        rows=found,
        cursors=[_cursor(name, getattr(row, key.key)) for row in found],
        has_next=before is not None if backwards else more,
        has_previous=more if backwards else after is not None,
        count=count,
    )


def _size(first: int | None, last: int | None) -> tuple[int, bool]:
    if first is not None and last is not None:
        raise fail(ErrorCode.INVALID, "Give first or last, not both.", "last")
    size = first if first is not None else last if last is not None else DEFAULT
    if not 0 <= size <= MAXIMUM:
        name = "last" if last is not None else "first"
        raise fail(ErrorCode.INVALID, f"{name} must be from 0 to {MAXIMUM}.", name)
    return size, last is not None


def _cursor(name: str, key: UUID) -> str:
    return base64.urlsafe_b64encode(f"{name}:{key.hex}".encode()).decode().rstrip("=")


def _position(name: str, text: str, field: str) -> UUID:
    try:
        found, _, key = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii").partition(":")
        if found == name and len(key) == 32:
            return UUID(hex=key)
    except (binascii.Error, ValueError):
        pass
    raise fail(ErrorCode.INVALID, f"{field} is not a cursor of this list.", field)

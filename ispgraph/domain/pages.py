"""Pages of a list by keyset: stable while rows come and go, and as fast at the end as at the start.

A page is described as SQL with parameters (`page`) and the values for them (`Window.value`), so that the same words
serve a compiled read, whose plan is kept, and a loader, which runs at once.
"""

import base64
import binascii
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Date,
    DateTime,
    Integer,
    Select,
    String,
    Text,
    Uuid,
    cast,
    func,
    literal,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.types import TypeEngine

from ispgraph.domain.errors import ErrorCode, fail
from ispgraph.domain.lists import Key, Order

DEFAULT = 20
MAXIMUM = 100
_LONGEST_CURSOR = 2000

Parameter = Callable[[str, TypeEngine[Any]], ColumnElement[Any]]
"""Makes the parameter of a name and an SQL type."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of rows with the cursor of each; `count` counts the whole list and runs only when asked for."""

    rows: Sequence[Any]
    cursors: Sequence[str]
    has_next: bool
    has_previous: bool
    count: Callable[[AsyncSession], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of a sorted list is wanted. The keys in `after` and `before` are those of the rows at its borders."""

    size: int
    backwards: bool
    descending: bool
    after: tuple[Any, ...] | None
    before: tuple[Any, ...] | None

    @property
    def shape(self) -> tuple[bool, ...]:
        """What the SQL depends on."""
        return (self.backwards, self.descending, self.after is not None, self.before is not None)

    def value(self, name: str) -> Any:
        """The value of a parameter: `size`, `one_more` than that, or a key of a border, such as `after0`."""
        if name == "size":
            return self.size
        if name == "one_more":
            return self.size + 1
        border = self.after if name.startswith("after") else self.before
        assert border is not None
        return border[int(name.removeprefix("after").removeprefix("before"))]


def newest_first(name: str, key: InstrumentedAttribute[UUID]) -> Order:
    """By id: UUIDs of version 7 are in the order of time. To be read descending."""
    return Order(name, (Key(key, Uuid()),))


def window(
    order: Order,
    *,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
    descending: bool = True,
) -> Window:
    """The arguments of a page, checked. Raises DomainError INVALID naming the argument."""
    if first is not None and last is not None:
        raise fail(ErrorCode.INVALID, "Give first or last, not both.", "last")
    size = first if first is not None else last if last is not None else DEFAULT
    if not 0 <= size <= MAXIMUM:
        name = "last" if last is not None else "first"
        raise fail(ErrorCode.INVALID, f"{name} must be from 0 to {MAXIMUM}.", name)
    return Window(
        size=size,
        backwards=last is not None,
        descending=descending,
        after=None if after is None else _border(order, after, "after"),
        before=None if before is None else _border(order, before, "before"),
    )


def page(rows: Select[Any], order: Order, wanted: Window, parameter: Parameter, *, one_more: bool) -> Select[Any]:
    """`rows` narrowed to a page, in the order of reading (backwards from the end for `last`).

    The keys are added as columns `key0`, `key1`, …; with `one_more` a row too many tells that the list goes on.
    """
    narrowed = order.joined(rows).add_columns(*(key.expression.label(f"key{i}") for i, key in enumerate(order.keys)))
    for name, border in (("after", wanted.after), ("before", wanted.before)):
        if border is not None:
            onwards = (name == "after") != wanted.descending
            narrowed = narrowed.where(_beyond(order, name, onwards, parameter))
    downwards = wanted.descending != wanted.backwards
    keys = [key.expression.desc() if downwards else key.expression.asc() for key in order.keys]
    return narrowed.order_by(*keys).limit(parameter("one_more" if one_more else "size", Integer()))


def cursor(order: Order, keys: Sequence[ColumnElement[Any]]) -> ColumnElement[str]:
    """The cursor of a row, made by SQL from its keys: base64url of a JSON array of the order's name and the keys."""
    named = func.json_build_array(literal(order.name, String()), *(cast(key, Text) for key in keys))
    encoded = func.encode(func.convert_to(cast(named, Text), "UTF8"), "base64")
    return func.translate(encoded, "+/=\n", "-_", type_=String())


def _beyond(order: Order, name: str, onwards: bool, parameter: Parameter) -> ColumnElement[bool]:
    keys: Any = tuple_(*(key.expression for key in order.keys))
    border: Any = tuple_(*(parameter(f"{name}{i}", key.kind) for i, key in enumerate(order.keys)))
    beyond: ColumnElement[bool] = keys > border if onwards else keys < border
    return beyond


def _border(order: Order, text: str, field: str) -> tuple[Any, ...]:
    try:
        if len(text) > _LONGEST_CURSOR:
            raise ValueError
        padded = text + "=" * (-len(text) % 4)
        name, *keys = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True).decode())
        if name == order.name and len(keys) == len(order.keys):
            return tuple(_key(order.keys[i].kind, key) for i, key in enumerate(keys))
    except (binascii.Error, ValueError, TypeError, OverflowError, RecursionError):
        # Of what clients make up themselves even the brackets may be too many.
        pass
    raise fail(ErrorCode.INVALID, f"{field} is not a cursor of this list.", field)


def _key(kind: TypeEngine[Any], text: str) -> Any:
    """A key as PostgreSQL prints it. Raises ValueError or TypeError for anything else."""
    if not isinstance(text, str) or "\0" in text:
        raise TypeError
    if isinstance(kind, Uuid):
        return UUID(text)
    if isinstance(kind, BigInteger | Integer):
        number = int(text)
        if not -(2**63) <= number < 2**63:
            raise ValueError
        return number
    if isinstance(kind, DateTime):
        if text == "infinity":
            return datetime.max.replace(tzinfo=UTC)
        return datetime.fromisoformat(text).astimezone(UTC)
    if isinstance(kind, Date):
        return date.fromisoformat(text)
    text.encode()
    return text

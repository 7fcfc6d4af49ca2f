"""What a list of rows can be narrowed by and sorted by, as SQL expressions that do not know their values yet.

Nothing here runs: a list is described once, and whoever reads it (a compiled read, a loader) supplies the values as
bound parameters, so that one plan serves every value.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.types import TypeEngine

from ispgraph.domain.permissions import Viewer


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition. `kind` is the SQL type of its value; `matches` makes the predicate from the value's parameter.

    The viewer given to `matches` may hold parameters in place of ids: compare them, do not look into them.
    """

    kind: TypeEngine[Any]
    matches: Callable[[ColumnElement[Any], Viewer], ColumnElement[bool]]


@dataclass(frozen=True, slots=True)
class Key:
    """One expression that a list is sorted by. It is never null, and `kind` is its SQL type."""

    expression: ColumnElement[Any] | InstrumentedAttribute[Any]
    kind: TypeEngine[Any]


@dataclass(frozen=True, slots=True)
class Order:
    """A total order: the last key is unique. `name` stands in the cursors, so that one of another order is refused.

    `joined` adds what the keys need to a select of the listed rows.
    """

    name: str
    keys: tuple[Key, ...]
    joined: Callable[[Select[Any]], Select[Any]] = lambda rows: rows

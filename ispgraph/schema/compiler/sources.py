"""Where the value of a field comes from. `fields` has the one-liners that put these beside the fields."""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.types import TypeEngine
from strawberry.types.field import StrawberryField

from ispgraph.domain.lists import Filter, Order
from ispgraph.domain.pages import Window, window
from ispgraph.domain.permissions import Viewer


@dataclass(frozen=True, slots=True)
class Asked:
    """What an expression may use besides its row.

    In a plan that is kept, the ids of `viewer`, `now` and the values in `given` are parameters. Whether the viewer has
    a scope, the permissions, the currency and the time zone are as they are. `given` holds the arguments of the field
    at hand as its `Arguments.prepare` left them; those not in use are not in it.
    """

    viewer: Viewer
    now: ColumnElement[Any]
    given: Mapping[str, Any] = field(default_factory=dict)


Build = Callable[[Any, Asked], Any]
"""Makes an SQL expression from a row (a table under an alias) and what was asked."""
Matches = Callable[[Any, Any, Asked], ColumnElement[bool]]
"""Whether a row of another table (the second argument) belongs to a row (the first; None at the root)."""


class Choice(str):
    """A prepared argument that decides about the SQL itself; any other is only a value in it."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of a field: their Python types by name, and how they become values for SQL.

    `prepare` gets the viewer and the arguments, and gives the values of those in use, or raises DomainError. `kinds`
    are the SQL types of the values.
    """

    annotations: Mapping[str, Any]
    prepare: Callable[..., Mapping[str, Any]]
    kinds: Mapping[str, TypeEngine[Any]]
    defaults: Mapping[str, Any] = field(default_factory=dict)


def values_of(**kinds: TypeEngine[Any]) -> "Arguments":
    """What a source at the root is read with: values of these SQL types, checked by the resolver."""
    return Arguments({}, in_use, kinds)


def kinds_of(filters: Mapping[str, Filter]) -> Mapping[str, TypeEngine[Any]]:
    """The SQL types of the values of filters."""
    return {name: each.kind for name, each in filters.items()}


def in_use(_viewer: Viewer, **arguments: Any) -> Mapping[str, Any]:
    """The arguments that are not null, under their own names."""
    return used(arguments)


def used(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Those of the values that are not None, as they stand in tables."""
    return {name: plain(value) for name, value in values.items() if value is not None}


def plain(value: Any) -> Any:
    """Members of enumerations by their names, as they stand in tables."""
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.name if isinstance(value, enum.Enum) else value


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the row."""

    name: str


@dataclass(frozen=True, slots=True)
class TypedId:
    """The id of a node, with its prefix."""


@dataclass(frozen=True, slots=True)
class Expression:
    """An SQL expression whose value is printed as the field's scalar; or an array, printed already."""

    build: Build


@dataclass(frozen=True, slots=True)
class Amount:
    """An SQL expression in minor units of the tenant's currency, for a field of type Money."""

    build: Build


@dataclass(frozen=True, slots=True)
class Part:
    """An object made of the same row. Members that are not named here are columns, or what their type declares."""

    present: Build | None
    members: Mapping[str, "Source"]
    arguments: Arguments | None = None


@dataclass(frozen=True, slots=True)
class One:
    """The row of another table that matches, or none. `unique` where there cannot be two; `column` is that of the row
    itself that holds the other's id, where there is one."""

    matches: Matches
    unique: bool = False
    column: str | None = None
    arguments: Arguments | None = None


@dataclass(frozen=True, slots=True)
class Many:
    """The rows of another table that match, in order, for a list that is short by nature."""

    matches: Matches
    order: Callable[[Any, Asked], list[ColumnElement[Any]]]
    arguments: Arguments | None = None
    limit: Build | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of any select over the row, or its only one; its columns are the fields of the type."""

    select: Callable[[Any, Asked], Any]
    single: bool = False


@dataclass(frozen=True, slots=True)
class Pages:
    """A connection: the rows that match, narrowed by filters, sorted, and read by keyset."""

    matches: Build
    order: Order
    filters: Mapping[str, Filter]
    arguments: Arguments

    def narrowed(self, row: Any, asked: Asked) -> list[ColumnElement[bool]]:
        """The conditions on a listed row: that it belongs to `row`, and the filters in use."""
        used = [name for name in asked.given if name in self.filters]
        filters = [self.filters[name].matches(asked.given[name], asked.viewer) for name in used]
        return [self.matches(row, asked), *filters]


@dataclass(frozen=True, slots=True)
class Link:
    """A field of a connection; `schema.pages` has them."""


Source = Column | TypedId | Expression | Amount | Part | One | Many | Rows | Pages | Link

PAGE_ARGUMENTS: Mapping[str, Any] = {
    "first": int | None,
    "after": str | None,
    "last": int | None,
    "before": str | None,
}

MODELS: dict[type, Any] = {}
"""The table of each schema type whose objects are rows."""
PREFIXES: dict[Any, str] = {}
"""The prefix of the ids of each table whose rows are nodes."""
VARIANTS: dict[type, Callable[[Any], ColumnElement[bool]]] = {}
"""Of the types that share a table behind an interface or a union: which rows are theirs."""


def source_of(declared: StrawberryField) -> Source | None:
    """Where a field comes from: as declared, a column of its own name, or None when it is computed in Python."""
    found: Source | None = declared.metadata.get("source")
    if found is not None:
        return found
    return Column(declared.python_name) if declared.base_resolver is None else None


@dataclass(frozen=True, slots=True)
class Prepared:
    """The arguments of one field of one request, checked: values for SQL and, of a connection, the window."""

    values: Mapping[str, Any]
    window: Window | None = None

    @property
    def shape(self) -> tuple[Any, ...]:
        """What the SQL depends on: which values there are, and those that are choices."""
        names = tuple((name, value) if isinstance(value, Choice) else name for name, value in self.values.items())
        return (names, self.window.shape if self.window else None)

    def value(self, name: str) -> Any:
        """The value of one parameter."""
        if name in self.values:
            return self.values[name]
        assert self.window is not None
        return self.window.value(name)


def prepare(source: Source, viewer: Viewer, arguments: Mapping[str, Any]) -> Prepared:
    """Check the arguments of a field. Raises DomainError."""
    if isinstance(source, Pages):
        page = {name: value for name, value in arguments.items() if name in PAGE_ARGUMENTS}
        others = {name: value for name, value in arguments.items() if name not in PAGE_ARGUMENTS}
        return Prepared(source.arguments.prepare(viewer, **others), window(source.order, **page))
    given = getattr(source, "arguments", None)
    return Prepared(given.prepare(viewer, **arguments) if given else {})

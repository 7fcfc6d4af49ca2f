"""The one-liners that stand beside the fields of a schema type and say where their values come from.

    @node("cus", models.Customer)
    class Customer(Node):
        name: str                                                 # a column of the same name
        balance: Money = amount(lambda customer, asked: ...)      # an SQL expression, in minor units
        zone: Zone | None = one("zone_id")                        # the row that a column refers to
        services: list[Service] = many("customer_id")             # the rows that refer to this one
        invoices: Connection[Invoice] = pages(...)                # the same, page by page

A field with a resolver of its own (`@strawberry.field`) is computed in Python.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import strawberry
from sqlalchemy import ColumnElement

from ispgraph.domain.lists import Filter, Order
from ispgraph.schema.compiler import loading
from ispgraph.schema.compiler.sources import (
    MODELS,
    PAGE_ARGUMENTS,
    VARIANTS,
    Amount,
    Arguments,
    Asked,
    Build,
    Column,
    Expression,
    Many,
    Matches,
    One,
    Pages,
    Part,
    Rows,
    Source,
    in_use,
    kinds_of,
)
from ispgraph.schema.context import Info

T = TypeVar("T", bound=type)
_PARENT: Any = strawberry.Parent
_PARENT = _PARENT[Any]


def row_of(model: Any, *, when: Callable[[Any], ColumnElement[bool]] | None = None) -> Callable[[T], T]:
    """A schema type whose objects are rows of a table; of types that share one, `when` tells whose a row is."""

    def decorate(cls: T) -> T:
        MODELS[cls] = model
        if when is not None:
            VARIANTS[cls] = when
        return cls

    return decorate


def column(name: str, *, description: str | None = None) -> Any:
    """A column under another name."""
    return declared(Column(name), description)


def expression(build: Build, *, description: str | None = None) -> Any:
    """A scalar by SQL; or a list of them, as an array of printed ones."""
    return declared(Expression(build), description)


def amount(build: Build | str, *, description: str | None = None) -> Any:
    """Money: a column or an expression in minor units."""
    return declared(Amount(_getter(build) if isinstance(build, str) else build), description)


def part(
    present: Build | None = None,
    *,
    members: Mapping[str, Source] | None = None,
    arguments: Arguments | None = None,
    description: str | None = None,
) -> Any:
    """An object made of the same row, null where `present` is not true. Members that are not given are columns."""
    return declared(Part(present, members or {}, arguments), description)


def one(join: str | Matches, *, description: str | None = None) -> Any:
    """The row that a column refers to, or the one that matches."""
    return declared(One(_refers(join), unique=True, column=join) if isinstance(join, str) else One(join), description)


def many(
    join: str | Matches,
    *,
    order: Callable[[Any, Asked], list[ColumnElement[Any]]] = lambda other, asked: [other.id],
    description: str | None = None,
) -> Any:
    """The rows whose column refers to this one, or those that match; oldest first unless said otherwise."""
    return declared(Many(_referring(join) if isinstance(join, str) else join, order), description)


def rows(select: Callable[[Any, Asked], Any], *, description: str | None = None) -> Any:
    """Objects that are rows of a select of their own."""
    return declared(Rows(select), description)


def pages(
    matches: Build,
    order: Order,
    *,
    filters: Mapping[str, Filter] | None = None,
    arguments: Mapping[str, Any] | None = None,
    wanted: Callable[..., Mapping[str, Any]] = in_use,
    description: str | None = None,
) -> Any:
    """A connection, newest first. `arguments` are those besides the page's; `wanted(viewer, **arguments)` makes the
    values of `filters` from them."""
    made = Arguments({**PAGE_ARGUMENTS, **(arguments or {})}, wanted, kinds_of(filters or {}))
    return declared(Pages(matches, order, filters or {}, made), description)


def declared(source: Source, description: str | None = None) -> Any:
    """A field with its source, and with a resolver by which graphql-core reads it where it has to."""

    async def resolve(root: Any, info: Info, **arguments: Any) -> Any:
        return await loading.load(source, root, info, arguments)

    resolve.__signature__ = _signature(getattr(source, "arguments", None))  # type: ignore[attr-defined]
    resolve.__annotations__ = {}
    return strawberry.field(resolver=resolve, description=description, metadata={"source": source})


def _signature(given: Arguments | None) -> inspect.Signature:
    places = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [
        inspect.Parameter("root", places, annotation=_PARENT),
        inspect.Parameter("info", places, annotation=Info),
    ]
    for name, annotation in (given.annotations if given else {}).items():
        default = given.defaults.get(name) if given else None
        parameters.append(inspect.Parameter(name, places, annotation=annotation, default=default))
    return inspect.Signature(parameters)


def _getter(name: str) -> Build:
    return lambda row, asked: getattr(row, name)


def _refers(name: str) -> Matches:
    return lambda row, other, asked: other.id == getattr(row, name)


def _referring(name: str) -> Matches:
    return lambda row, other, asked: getattr(other, name) == row.id

"""The forms of SQL that statements are put together from: parameters, objects and lists as JSON, correlation."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, func, literal_column, select
from sqlalchemy.types import TypeEngine

from ispgraph.schema.compiler.selection import NotCompiled, Selection

EMPTY_LIST: ColumnElement[Any] = literal_column("'[]'::json")
_MOST_PAIRS = 50


class Plain:
    """The columns of a table or a subselect, as those of a row."""

    def __init__(self, table: Any) -> None:
        self.table = table

    def __getattr__(self, name: str) -> Any:
        return self.table.c[name]


def parameter(name: str, kind: TypeEngine[Any]) -> Any:
    """The parameter of a name."""
    return bindparam(name, None, type_=kind)


def type_name(selection: Selection) -> ColumnElement[Any]:
    """What `__typename` says of the objects of a selection."""
    return literal_column(f"'{selection.type.name}'")


def object_of(pairs: Sequence[tuple[str, ColumnElement[Any]]]) -> ColumnElement[Any]:
    """A JSON object. Raises NotCompiled for more members than a function can have arguments."""
    if len(pairs) > _MOST_PAIRS:
        raise NotCompiled("more members than a function has arguments")
    # Response keys are GraphQL names: letters, digits and underscores.
    arguments = [part for key, value in pairs for part in (literal_column(f"'{key}'"), value)]
    return func.json_build_object(*arguments)


def list_of(element: Any, inner: Any) -> ColumnElement[Any]:
    """A JSON array of what stands for the rows of a subselect, in its order."""
    return select(func.coalesce(func.json_agg(element), EMPTY_LIST)).select_from(inner).scalar_subquery()


def within(rows: Select[Any], row: Any) -> Select[Any]:
    """A select that refers to the row it stands below."""
    if row is None:
        return rows
    return rows.correlate(row.table if isinstance(row, Plain) else row)


def only(below: Mapping[str, Selection]) -> Selection:
    """The selection where objects are of one type. Raises NotCompiled where they are of several."""
    if len(below) != 1:
        raise NotCompiled("objects of several types that share no table")
    return next(iter(below.values()))

"""Connections as SQL: the nodes, edges, ends and number of a list that is read by pages."""

from collections.abc import Mapping
from typing import Any, Protocol

from graphql import get_named_type
from sqlalchemy import ColumnElement, Integer, Label, Select, case, func, literal_column, null, select, true
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import aliased
from sqlalchemy.types import TypeEngine

from ispgraph.domain import pages
from ispgraph.schema.compiler.forms import EMPTY_LIST, list_of, object_of, only, parameter, type_name, within
from ispgraph.schema.compiler.selection import Selected, Selection, model_of
from ispgraph.schema.compiler.sources import Asked, Pages, Prepared


class Objects(Protocol):
    """What makes the objects of a list: the statement."""

    def objects(self, below: Mapping[str, Selection], other: Any, asked: Asked, narrow: Any) -> tuple[Any, Any]: ...

    def typed(self, below: Mapping[str, Selection], row: Any, asked: Asked) -> ColumnElement[Any]: ...


class Connection:
    """The SQL of one connection. `site` tells its parameters from those of others."""

    def __init__(
        self,
        statement: Objects,
        source: Pages,
        selection: Selection,
        row: Any,
        asked: Asked,
        prepared: Prepared,
        site: int,
    ) -> None:
        assert prepared.window is not None
        self._statement = statement
        self._selection = selection
        self._asked = asked
        self._site = site
        self._order = source.order
        self._window = prepared.window
        self._model = model_of(get_named_type(selection.type.fields["nodes"].type))
        matching = source.narrowed(row, asked)
        self._rows = within(select(self._model).where(*matching), row)
        self._count = within(select(func.count()).select_from(self._model).where(*matching), row)
        self._size = self._parameter("size", Integer())

    def json(self) -> ColumnElement[Any]:
        """The connection as a JSON object."""
        if any(each.name in ("edges", "page_info") for each in self._selection.fields):
            return self._with_ends()
        return object_of([(each.key, self._without_ends(each)) for each in self._selection.fields])

    def _parameter(self, name: str, kind: TypeEngine[Any]) -> Any:
        return parameter(f"s{self._site}_{name}", kind)

    def _page(self, *, one_more: bool) -> Any:
        rows: Select[Any] = pages.page(self._rows, self._order, self._window, self._parameter, one_more=one_more)
        return rows.subquery()

    def _without_ends(self, each: Selected) -> ColumnElement[Any]:
        """A field where nothing tells whether the list goes on: no row too many is read."""
        if each.definition is None:
            return type_name(self._selection)
        if each.name == "total_count":
            return self._count.scalar_subquery()
        page = self._page(one_more=False)
        if not self._window.backwards:
            inner, element = self._statement.objects(
                each.below, aliased(self._model, page), self._asked, lambda rows: rows
            )
            return list_of(element, inner)
        numbered = _numbered(page)
        other = aliased(self._model, numbered)
        inner, element = self._statement.objects(
            each.below, other, self._asked, lambda rows: rows.order_by(numbered.c.n.desc())
        )
        return list_of(element, inner)

    def _with_ends(self) -> ColumnElement[Any]:
        """All fields from one reading of the page, with a row too many that tells whether the list goes on."""
        numbered = _numbered(self._page(one_more=True))
        other = aliased(self._model, numbered)
        cursor = pages.cursor(self._order, [numbered.c[f"key{i}"] for i in range(len(self._order.keys))])
        columns: list[Any] = [numbered.c.n, self._kept(numbered, cursor, "cursor")]
        for number, each in enumerate(self._selection.fields):
            if each.name == "nodes":
                node = self._statement.typed(each.below, other, self._asked)
                columns.append(self._kept(numbered, node, f"f{number}"))
            elif each.name == "edges":
                columns.append(self._kept(numbered, self._edge(only(each.below), other, cursor), f"f{number}"))
        found = select(*columns).subquery()
        pairs = [
            (each.key, self._value(each, found, f"f{number}")) for number, each in enumerate(self._selection.fields)
        ]
        # One object also where nothing in it is an aggregate.
        return select(object_of(pairs)).select_from(found).having(true()).scalar_subquery()

    def _kept(self, numbered: Any, value: ColumnElement[Any], name: str) -> Label[Any]:
        return case((numbered.c.n <= self._size, value), else_=null()).label(name)

    def _edge(self, selection: Selection, other: Any, cursor: ColumnElement[Any]) -> ColumnElement[Any]:
        def value(each: Selected) -> ColumnElement[Any]:
            if each.definition is None:
                return type_name(selection)
            return cursor if each.name == "cursor" else self._statement.typed(each.below, other, self._asked)

        return object_of([(each.key, value(each)) for each in selection.fields])

    def _value(self, each: Selected, found: Any, name: str) -> ColumnElement[Any]:
        if each.definition is None:
            return type_name(self._selection)
        if each.name == "total_count":
            return self._count.scalar_subquery()
        if each.name == "page_info":
            return self._page_info(only(each.below), found)
        order = found.c.n.desc() if self._window.backwards else found.c.n
        kept = func.json_agg(aggregate_order_by(found.c[name], order)).filter(found.c.n <= self._size)
        return func.coalesce(kept, EMPTY_LIST)

    def _page_info(self, selection: Selection, found: Any) -> ColumnElement[Any]:
        backwards = self._window.backwards
        more = func.count() > self._size
        came_from = (self._window.before if backwards else self._window.after) is not None
        onwards: ColumnElement[Any] = literal_column("true" if came_from else "false")
        first, last = found.c.n.asc(), found.c.n.desc()
        if backwards:
            first, last = last, first
        values = {
            "has_next_page": onwards if backwards else more,
            "has_previous_page": more if backwards else onwards,
            "start_cursor": _outermost(found, first),
            "end_cursor": _outermost(found, last),
        }
        typed = type_name(selection)
        return object_of([(each.key, values[each.name] if each.definition else typed) for each in selection.fields])


def _numbered(page: Any) -> Any:
    return select(page, func.row_number().over().label("n")).subquery()


def _outermost(found: Any, order: ColumnElement[Any]) -> ColumnElement[Any]:
    cursors = func.json_agg(aggregate_order_by(found.c.cursor, order)).filter(found.c.cursor.is_not(None))
    return cursors.op("->")(literal_column("0"))

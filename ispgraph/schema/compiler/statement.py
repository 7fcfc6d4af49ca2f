"""A selection as one SQL statement that returns JSON text.

Objects are rows of a subselect made JSON by `row_to_json`, lists by `json_agg`: the fastest forms PostgreSQL has. What
stands below an object is a correlated subselect in its column. The order of a list is that of its ordered subselect.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from graphql import get_named_type, is_non_null_type
from sqlalchemy import (
    ColumnElement,
    DateTime,
    Integer,
    Label,
    Select,
    Uuid,
    and_,
    bindparam,
    case,
    func,
    literal,
    literal_column,
    null,
    select,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import aliased
from sqlalchemy.types import TypeEngine

from ispgraph.domain import pages
from ispgraph.domain.permissions import Viewer
from ispgraph.schema.compiler import printing
from ispgraph.schema.compiler.arguments import DEFINITION
from ispgraph.schema.compiler.selection import NotCompiled, Selected, Selection
from ispgraph.schema.compiler.sources import (
    MODELS,
    PREFIXES,
    VARIANTS,
    Amount,
    Asked,
    Choice,
    Column,
    Expression,
    Many,
    One,
    Pages,
    Part,
    Prepared,
    Rows,
    Source,
    TypedId,
)

ROW_ID = "#"
"""The key under which an object carries the id of its row where Python has to compute some of its fields."""

_MOST_PAIRS = 50
_ONE: ColumnElement[Any] = literal_column("1")
_EMPTY_LIST: ColumnElement[Any] = literal_column("'[]'::json")
Narrow = Callable[[Select[Any]], Select[Any]]
Visible = Callable[[Viewer, Any], ColumnElement[bool]]
"""Whether the viewer may see a row."""


def parameter(name: str, kind: TypeEngine[Any]) -> Any:
    """The parameter of a name."""
    return bindparam(name, None, type_=kind)


def symbolic(viewer: Viewer) -> Viewer:
    """The viewer with parameters in place of ids, so that one statement serves all who have the same rights."""
    scope = None if viewer.scope_id is None else parameter("viewer_scope_id", Uuid())
    return replace(
        viewer,
        tenant_id=parameter("viewer_tenant_id", Uuid()),
        operator_id=parameter("viewer_operator_id", Uuid()),
        scope_id=scope,
    )


class Statement:
    """Builds the SQL of one selection. `prepared` are the arguments at its sites; only their shape is looked at."""

    def __init__(self, viewer: Viewer, prepared: Sequence[Prepared]) -> None:
        self._viewer = viewer
        self._prepared = prepared
        self._asked = Asked(symbolic(viewer), parameter("now", DateTime(timezone=True)))

    def root(self, source: Source, site: int, below: Mapping[str, Selection]) -> ColumnElement[Any]:
        """What a root field reads, as JSON."""
        return self._nested(source, site, below, None, self._asked)

    def by_id(self, below: Mapping[str, Selection], keys: Any, visible: Visible | None) -> ColumnElement[Any]:
        """The row with the id `keys.c.id`, as JSON; where `visible` is given, only if the viewer may see it."""

        def matches(key: Any, other: Any, asked: Asked) -> ColumnElement[bool]:
            found: ColumnElement[bool] = other.id == key.id
            return found if visible is None else and_(found, visible(asked.viewer, other))

        return self._one(One(matches, unique=True), below, _Plain(keys), self._asked)

    def _nested(
        self, source: Source, site: int | None, below: Mapping[str, Selection], row: Any, asked: Asked
    ) -> ColumnElement[Any]:
        asked = self._given(source, site, asked)
        if isinstance(source, Part):
            return self._part(source, _only(below), row, asked)
        if isinstance(source, One):
            return self._one(source, below, row, asked)
        if isinstance(source, Many):
            return self._many(source, below, row, asked)
        if isinstance(source, Rows):
            return self._rows(source, _only(below), row, asked)
        if isinstance(source, Pages):
            assert site is not None
            return self._connection(source, site, _only(below), row, asked)
        raise NotCompiled(type(source).__name__)

    def _given(self, source: Source, site: int | None, asked: Asked) -> Asked:
        if site is None:
            return asked
        arguments = getattr(source, "arguments", None)
        kinds = arguments.kinds if arguments else {}
        given = {
            name: value if isinstance(value, Choice) else parameter(f"s{site}_{name}", kinds[name])
            for name, value in self._prepared[site].values.items()
        }
        return replace(asked, given=given)

    def _columns(self, selection: Selection, row: Any, asked: Asked) -> list[Label[Any]]:
        columns = [self._value(each, selection, row, asked).label(each.key) for each in selection.fields]
        if selection.computed:
            columns.append(func.encode(func.uuid_send(row.id), literal_column("'hex'")).label(ROW_ID))
        return columns

    def _value(
        self,
        each: Selected,
        selection: Selection,
        row: Any,
        asked: Asked,
        members: Mapping[str, Source] | None = None,
    ) -> ColumnElement[Any]:
        if each.definition is None:
            return literal_column(f"'{selection.type.name}'")
        source = (members or {}).get(each.name, each.source)
        if source is None:
            return null()
        assert each.kind is not None
        if isinstance(source, Column | Expression):
            value = getattr(row, source.name) if isinstance(source, Column) else source.build(row, asked)
            # The members of an array are printed already.
            return value if each.listed else printing.printed(value, each.kind.name)
        if isinstance(source, TypedId):
            return printing.typed_id(PREFIXES[MODELS[selection.cls]], row.id)
        if isinstance(source, Amount):
            return self._money(each, source.build(row, asked))
        return self._nested(source, each.site, each.below, row, asked)

    def _money(self, each: Selected, minor: Any) -> ColumnElement[Any]:
        selection, currency = _only(each.below), self._viewer.currency
        values = {"amount": printing.amount(minor, currency), "currency": literal(currency)}
        typed: ColumnElement[Any] = literal_column(f"'{selection.type.name}'")
        made = _object([(part.key, values[part.name] if part.definition else typed) for part in selection.fields])
        assert each.definition is not None
        return made if is_non_null_type(each.definition.type) else case((minor.is_(None), null()), else_=made)

    def _part(self, source: Part, selection: Selection, row: Any, asked: Asked) -> ColumnElement[Any]:
        pairs = [(each.key, self._value(each, selection, row, asked, source.members)) for each in selection.fields]
        made = _object(pairs)
        return made if source.present is None else case((source.present(row, asked), made), else_=null())

    def _one(self, source: One, below: Mapping[str, Selection], row: Any, asked: Asked) -> ColumnElement[Any]:
        other = aliased(_model(below))

        def narrow(rows: Select[Any]) -> Select[Any]:
            found = _within(rows, row).where(source.matches(row, other, asked))
            return found if source.unique else found.limit(_ONE)

        inner, element = self._objects(below, other, asked, narrow)
        made = func.row_to_json(element) if len(below) == 1 else element
        return select(made).select_from(inner).scalar_subquery()

    def _many(self, source: Many, below: Mapping[str, Selection], row: Any, asked: Asked) -> ColumnElement[Any]:
        other = aliased(_model(below))

        def narrow(rows: Select[Any]) -> Select[Any]:
            found = _within(rows, row).where(source.matches(row, other, asked)).order_by(*source.order(other, asked))
            return found if source.limit is None else found.limit(source.limit(other, asked))

        inner, element = self._objects(below, other, asked, narrow)
        return _list(element, inner)

    def _rows(self, source: Rows, selection: Selection, row: Any, asked: Asked) -> ColumnElement[Any]:
        found = _within(source.select(row, asked), row).subquery()
        columns = [self._value(each, selection, _Plain(found), asked).label(each.key) for each in selection.fields]
        inner = select(*columns).select_from(found).subquery()
        if source.single:
            return select(func.row_to_json(inner.table_valued())).select_from(inner).scalar_subquery()
        return _list(inner.table_valued(), inner)

    def _objects(
        self, below: Mapping[str, Selection], other: Any, asked: Asked, narrow: Narrow
    ) -> tuple[Any, ColumnElement[Any]]:
        """A subselect of objects and what stands for one of them: its whole row, or a column of JSON where rows are of
        several types."""
        if len(below) == 1:
            columns = self._columns(_only(below), other, asked)
            inner = narrow(select(*columns).select_from(other)).subquery()
            return inner, inner.table_valued()
        inner = narrow(select(self._typed(below, other, asked).label("node")).select_from(other)).subquery()
        return inner, inner.c.node

    def _typed(self, below: Mapping[str, Selection], row: Any, asked: Asked) -> ColumnElement[Any]:
        """A row as JSON, of whichever type it is."""
        if len(below) == 1:
            return self._inline(_only(below), row, asked)
        cases = [(VARIANTS[each.cls](row), self._inline(each, row, asked)) for each in below.values()]
        return case(*cases, else_=null())

    def _inline(self, selection: Selection, row: Any, asked: Asked) -> ColumnElement[Any]:
        return _object([(column.name, column.element) for column in self._columns(selection, row, asked)])

    def _connection(self, source: Pages, site: int, selection: Selection, row: Any, asked: Asked) -> ColumnElement[Any]:
        matching = source.narrowed(row, asked)
        listed = _Listed(source, _listed_model(selection), matching, row, self._prepared[site], site)
        if any(each.name in ("edges", "page_info") for each in selection.fields):
            return self._whole_connection(selection, listed, asked)
        pairs = [(each.key, self._without_ends(each, selection, listed, asked)) for each in selection.fields]
        return _object(pairs)

    def _without_ends(
        self, each: Selected, selection: Selection, listed: "_Listed", asked: Asked
    ) -> ColumnElement[Any]:
        """A field of a connection of which nothing tells whether the list goes on: no row too many is read."""
        if each.definition is None:
            return literal_column(f"'{selection.type.name}'")
        if each.name == "total_count":
            return listed.count()
        page = listed.page(one_more=False)
        other = aliased(listed.model, page)
        if listed.backwards:
            numbered = select(page, func.row_number().over().label("n")).subquery()
            other = aliased(listed.model, numbered)
            inner, element = self._objects(each.below, other, asked, lambda rows: rows.order_by(numbered.c.n.desc()))
        else:
            inner, element = self._objects(each.below, other, asked, lambda rows: rows)
        return _list(element, inner)

    def _whole_connection(self, selection: Selection, listed: "_Listed", asked: Asked) -> ColumnElement[Any]:
        page = listed.page(one_more=True)
        numbered = select(page, func.row_number().over().label("n")).subquery()
        other = aliased(listed.model, numbered)
        keys = [numbered.c[f"key{i}"] for i in range(len(listed.order.keys))]
        size = listed.parameter("size", Integer())
        columns: list[Any] = [
            numbered.c.n,
            case((numbered.c.n <= size, pages.cursor(listed.order, keys))).label("cursor"),
        ]
        for number, each in enumerate(selection.fields):
            if each.name == "nodes":
                columns.append(self._kept(numbered, size, self._typed(each.below, other, asked), f"f{number}"))
            elif each.name == "edges":
                edge = self._edge(_only(each.below), other, listed, keys, asked)
                columns.append(self._kept(numbered, size, edge, f"f{number}"))
        found = select(*columns).subquery()
        pairs = [
            (each.key, self._connection_value(each, selection, listed, found, f"f{number}"))
            for number, each in enumerate(selection.fields)
        ]
        return select(_object(pairs)).select_from(found).scalar_subquery()

    @staticmethod
    def _kept(numbered: Any, size: Any, value: ColumnElement[Any], name: str) -> Label[Any]:
        return case((numbered.c.n <= size, value), else_=null()).label(name)

    def _edge(
        self, selection: Selection, other: Any, listed: "_Listed", keys: Sequence[Any], asked: Asked
    ) -> ColumnElement[Any]:
        pairs: list[tuple[str, ColumnElement[Any]]] = []
        for each in selection.fields:
            if each.definition is None:
                pairs.append((each.key, literal_column(f"'{selection.type.name}'")))
            elif each.name == "cursor":
                pairs.append((each.key, pages.cursor(listed.order, keys)))
            else:
                pairs.append((each.key, self._typed(each.below, other, asked)))
        return _object(pairs)

    def _connection_value(
        self, each: Selected, selection: Selection, listed: "_Listed", found: Any, name: str
    ) -> ColumnElement[Any]:
        if each.definition is None:
            return literal_column(f"'{selection.type.name}'")
        if each.name == "total_count":
            return listed.count()
        if each.name == "page_info":
            return self._page_info(_only(each.below), listed, found)
        order = found.c.n.desc() if listed.backwards else found.c.n
        kept = func.json_agg(aggregate_order_by(found.c[name], order)).filter(
            found.c.n <= listed.parameter("size", Integer())
        )
        return func.coalesce(kept, _EMPTY_LIST)

    def _page_info(self, selection: Selection, listed: "_Listed", found: Any) -> ColumnElement[Any]:
        size = listed.parameter("size", Integer())
        more = func.count() > size
        onwards: ColumnElement[Any] = literal_column("true" if listed.beyond else "false")
        first, last = found.c.n.asc(), found.c.n.desc()
        if listed.backwards:
            first, last = last, first
        values = {
            "has_next_page": onwards if listed.backwards else more,
            "has_previous_page": more if listed.backwards else onwards,
            "start_cursor": _outermost(found, first),
            "end_cursor": _outermost(found, last),
        }
        typed: ColumnElement[Any] = literal_column(f"'{selection.type.name}'")
        return _object([(each.key, values[each.name] if each.definition else typed) for each in selection.fields])


class _Listed:
    """The rows of one connection."""

    def __init__(self, source: Pages, model: Any, matching: list[Any], row: Any, prepared: Prepared, site: int) -> None:
        assert prepared.window is not None
        self.model = model
        self.order = source.order
        self.backwards = prepared.window.backwards
        self.beyond = (prepared.window.before if self.backwards else prepared.window.after) is not None
        self._window = prepared.window
        self._rows = _within(select(model).where(*matching), row)
        self._count = _within(select(func.count()).select_from(model).where(*matching), row)
        self._site = site

    def parameter(self, name: str, kind: TypeEngine[Any]) -> Any:
        return parameter(f"s{self._site}_{name}", kind)

    def page(self, *, one_more: bool) -> Any:
        return pages.page(self._rows, self.order, self._window, self.parameter, one_more=one_more).subquery()

    def count(self) -> ColumnElement[Any]:
        return self._count.scalar_subquery()


class _Plain:
    """The columns of a subselect, as those of a row."""

    def __init__(self, table: Any) -> None:
        self.table = table

    def __getattr__(self, name: str) -> Any:
        return self.table.c[name]


def _within(rows: Select[Any], row: Any) -> Select[Any]:
    """A select that refers to the row it stands below."""
    if row is None:
        return rows
    return rows.correlate(row.table if isinstance(row, _Plain) else row)


def _only(below: Mapping[str, Selection]) -> Selection:
    if len(below) != 1:
        raise NotCompiled("objects of several types that share no table")
    return next(iter(below.values()))


def _model(below: Mapping[str, Selection]) -> Any:
    return MODELS[next(iter(below.values())).cls]


def _listed_model(connection: Selection) -> Any:
    return MODELS[get_named_type(connection.type.fields["nodes"].type).extensions[DEFINITION].origin]


def _object(pairs: Sequence[tuple[str, ColumnElement[Any]]]) -> ColumnElement[Any]:
    if len(pairs) > _MOST_PAIRS:
        raise NotCompiled("more members than a function has arguments")
    # Response keys are GraphQL names: letters, digits and underscores.
    arguments = [part for key, value in pairs for part in (literal_column(f"'{key}'"), value)]
    return func.json_build_object(*arguments)


def _list(element: Any, inner: Any) -> ColumnElement[Any]:
    return select(func.coalesce(func.json_agg(element), _EMPTY_LIST)).select_from(inner).scalar_subquery()


def _outermost(found: Any, order: ColumnElement[Any]) -> ColumnElement[Any]:
    cursors = func.json_agg(aggregate_order_by(found.c.cursor, order)).filter(found.c.cursor.is_not(None))
    return cursors.op("->")(literal_column("0"))

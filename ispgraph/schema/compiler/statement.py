"""A selection as one SQL statement that returns JSON text.

Objects are rows of a subselect made JSON by `row_to_json`, lists by `json_agg`: the fastest forms PostgreSQL has. What
stands below an object is a correlated subselect in its column. The order of a list is that of its ordered subselect.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from graphql import is_non_null_type
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    DateTime,
    Label,
    Select,
    Uuid,
    and_,
    case,
    func,
    literal,
    literal_column,
    null,
    select,
)
from sqlalchemy.orm import aliased

from ispgraph.domain.permissions import Viewer
from ispgraph.schema.compiler import printing
from ispgraph.schema.compiler.connection import Connection
from ispgraph.schema.compiler.forms import Plain, list_of, object_of, only, parameter, type_name, within
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

# No response key can be spelt like this: a column of the same name would stand in the way of the row.
_WHOLE_ROW = "#row"
_ONE: ColumnElement[Any] = literal_column("1")
Narrow = Callable[[Select[Any]], Select[Any]]
Visible = Callable[[Viewer, Any], ColumnElement[bool]]
"""Whether the viewer may see a row."""


def symbolic(viewer: Viewer) -> Viewer:
    """The viewer with parameters in place of ids, so that one statement serves all who have the same rights."""
    zones = None if viewer.zones_seen is None else parameter("viewer_zones_seen", ARRAY(Uuid()))
    scope = None if viewer.scope_id is None else parameter("viewer_scope_id", Uuid())
    return replace(
        viewer,
        tenant_id=parameter("viewer_tenant_id", Uuid()),
        operator_id=parameter("viewer_operator_id", Uuid()),
        scope_id=scope,
        customer_id=None if viewer.customer_id is None else parameter("viewer_customer_id", Uuid()),
        zones_seen=zones,
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

        return self._one(One(matches, unique=True), below, Plain(keys), self._asked)

    def _nested(
        self, source: Source, site: int | None, below: Mapping[str, Selection], row: Any, asked: Asked
    ) -> ColumnElement[Any]:
        asked = self._given(source, site, asked)
        if isinstance(source, Part):
            return self._part(source, only(below), row, asked)
        if isinstance(source, One):
            return self._one(source, below, row, asked)
        if isinstance(source, Many):
            return self._many(source, below, row, asked)
        if isinstance(source, Rows):
            return self._rows(source, only(below), row, asked)
        if isinstance(source, Pages):
            assert site is not None
            selection = only(below)
            return Connection(self, source, selection, row, asked, self._prepared[site], site).json()
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
            return type_name(selection)
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
        selection, currency = only(each.below), self._viewer.currency
        values = {"amount": printing.amount(minor, currency), "currency": literal(currency)}
        typed = type_name(selection)
        made = object_of([(part.key, values[part.name] if part.definition else typed) for part in selection.fields])
        assert each.definition is not None
        return made if is_non_null_type(each.definition.type) else case((minor.is_(None), null()), else_=made)

    def _part(self, source: Part, selection: Selection, row: Any, asked: Asked) -> ColumnElement[Any]:
        pairs = [(each.key, self._value(each, selection, row, asked, source.members)) for each in selection.fields]
        made = object_of(pairs)
        return made if source.present is None else case((source.present(row, asked), made), else_=null())

    def _one(self, source: One, below: Mapping[str, Selection], row: Any, asked: Asked) -> ColumnElement[Any]:
        other = aliased(_model(below))

        def narrow(rows: Select[Any]) -> Select[Any]:
            found = within(rows, row).where(source.matches(row, other, asked))
            return found if source.unique else found.limit(_ONE)

        inner, element = self.objects(below, other, asked, narrow)
        made = func.row_to_json(element) if _is_row(below) else element
        return select(made).select_from(inner).scalar_subquery()

    def _many(self, source: Many, below: Mapping[str, Selection], row: Any, asked: Asked) -> ColumnElement[Any]:
        other = aliased(_model(below))

        def narrow(rows: Select[Any]) -> Select[Any]:
            found = within(rows, row).where(source.matches(row, other, asked)).order_by(*source.order(other, asked))
            return found if source.limit is None else found.limit(source.limit(other, asked))

        inner, element = self.objects(below, other, asked, narrow)
        return list_of(element, inner)

    def _rows(self, source: Rows, selection: Selection, row: Any, asked: Asked) -> ColumnElement[Any]:
        found = within(source.select(row, asked), row).subquery()
        columns = [self._value(each, selection, Plain(found), asked).label(each.key) for each in selection.fields]
        if not columns:
            raise NotCompiled("no members")
        inner = select(*columns).select_from(found).subquery(_WHOLE_ROW)
        if source.single:
            return select(func.row_to_json(inner.table_valued())).select_from(inner).scalar_subquery()
        return list_of(inner.table_valued(), inner)

    def objects(
        self, below: Mapping[str, Selection], other: Any, asked: Asked, narrow: Narrow
    ) -> tuple[Any, ColumnElement[Any]]:
        """A subselect of objects and what stands for one of them: its whole row, or a column of JSON."""
        if _is_row(below):
            columns = self._columns(only(below), other, asked)
            inner = narrow(select(*columns).select_from(other)).subquery(_WHOLE_ROW)
            return inner, inner.table_valued()
        inner = narrow(select(self.typed(below, other, asked).label("node")).select_from(other)).subquery()
        return inner, inner.c.node

    def typed(self, below: Mapping[str, Selection], row: Any, asked: Asked) -> ColumnElement[Any]:
        """A row as JSON, of whichever type it is."""
        if len(below) == 1:
            return self._inline(only(below), row, asked)
        cases = [(VARIANTS[each.cls](row), self._inline(each, row, asked)) for each in below.values()]
        return case(*cases, else_=null())

    def _inline(self, selection: Selection, row: Any, asked: Asked) -> ColumnElement[Any]:
        return object_of([(column.name, column.element) for column in self._columns(selection, row, asked)])


def _is_row(below: Mapping[str, Selection]) -> bool:
    """Whether objects are rows with their members as columns: not where they are of several types, or have none."""
    return len(below) == 1 and bool(only(below).fields)


def _model(below: Mapping[str, Selection]) -> Any:
    return MODELS[next(iter(below.values())).cls]

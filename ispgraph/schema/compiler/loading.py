"""The same declarations as the compiler's, carried out field by field for graphql-core, many rows at a time.

It serves where a selection is not compiled: below what Python computes, where arguments are wrong and the error has to
find its place, and with the compiler switched off, against which the compiler is compared.
"""

from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from graphql import GraphQLNamedType, get_named_type
from sqlalchemy import DateTime, Row, Select, func, literal, null, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlalchemy.types import TypeEngine

from ispgraph import clock, ids
from ispgraph.db import Base
from ispgraph.domain import pages
from ispgraph.schema.compiler.forms import within
from ispgraph.schema.compiler.reading import Reading
from ispgraph.schema.compiler.selection import model_of
from ispgraph.schema.compiler.sources import (
    PREFIXES,
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
    prepare,
)
from ispgraph.schema.context import Context, Info
from ispgraph.schema.money import money_of


@dataclass(frozen=True)
class PartOf:
    """An object made of a row; its attributes are awaitables."""

    row: Any
    source: Part
    prepared: Prepared
    context: Context

    def __getattr__(self, name: str) -> Coroutine[Any, Any, Any]:
        source = self.source.members.get(name, Column(name))
        return _read(source, self.row, self.prepared, self.context, None)


async def load(source: Source, root: Any, info: Info, arguments: Mapping[str, Any]) -> Any:
    """The value of a field of `root`, a row or a part of one. Raises DomainError for bad arguments."""
    row, prepared = (root.row, root.prepared) if isinstance(root, PartOf) else (root, Prepared({}))
    if isinstance(row, Row) and isinstance(source, Many | One) and getattr(source, "column", None) is None:
        row = None
    if getattr(source, "arguments", None) is not None:
        prepared = prepare(source, info.context.viewer_or_refuse(), arguments)
    return await _read(source, row, prepared, info.context, get_named_type(info._raw_info.return_type))


async def start(reading: Reading, kind: GraphQLNamedType, context: Context) -> Any:
    """What a field reads that starts from no row."""
    return await _read(reading.source, None, reading.prepared, context, kind)


async def _read(source: Source, row: Any, prepared: Prepared, context: Context, kind: GraphQLNamedType | None) -> Any:
    if isinstance(source, Column):
        value = getattr(row, source.name)
        # Without the zeros that only the column's scale puts there, as `printing` has it.
        return value.normalize() if isinstance(value, Decimal) else value
    if isinstance(source, TypedId):
        return ids.encode(PREFIXES[type(row)], row.id)
    if isinstance(source, Part):
        there = source.present is None or await _read(Expression(source.present), row, prepared, context, None)
        return PartOf(row, source, prepared, context) if there else None
    if isinstance(source, One) and source.column is not None:
        # Not by the id of the row, which has none where it stands in no table yet.
        return await context.loaders.one(_model(source, kind), getattr(row, source.column))
    reader = _Reader(context, source, prepared, kind)
    stored = row is None or isinstance(row, Base)
    if not stored:
        return reader.at_hand(row)
    if row is None:
        async with context.read() as session:
            return (await reader.batch(session, None, [None]))[0]
    name = (id(source), type(row), repr(prepared))
    loader = context.loaders.batched(name, lambda session, keys: reader.batch(session, type(row), keys))
    return await loader.load(row.id)


class _Reader:
    """Reads one source for many rows of one table at once; or for none, with the single key None."""

    def __init__(self, context: Context, source: Source, prepared: Prepared, kind: GraphQLNamedType | None) -> None:
        self._viewer = context.viewer_or_refuse()
        self._source = source
        self._prepared = prepared
        self._kind = kind
        kinds = source.arguments.kinds if isinstance(source, Part | One | Many | Pages) and source.arguments else {}
        given = {
            name: value if isinstance(value, Choice) else literal(value, kinds.get(name))
            for name, value in prepared.values.items()
        }
        self._asked = Asked(self._viewer, literal(clock.now(), DateTime(timezone=True)), given)

    def at_hand(self, row: Any) -> Any:
        """A value that stands in the row of a select, or in an object that is like a row and in no table yet."""
        assert isinstance(self._source, Expression | Amount)
        value = self._source.build(row, self._asked)
        return money_of(self._viewer.currency, value) if isinstance(self._source, Amount) else value

    async def batch(self, session: AsyncSession, model: Any, keys: list[Any]) -> list[Any]:
        """The values for the rows of `model` with these ids, in their order."""
        parent = None if model is None else aliased(model)
        statement, collect = self._statement(parent)
        if parent is not None:
            statement = statement.where(parent.id.in_(keys))
        groups: dict[Any, list[Any]] = defaultdict(list)
        for row in await session.execute(statement):
            groups[row[0]].append(row)
        return [collect(groups[key], key) for key in keys]

    def _statement(self, parent: Any) -> tuple[Select[Any], Callable[[list[Any], Any], Any]]:
        """A select whose first column is the parent's id, and what makes a value of the rows of one parent."""
        source, key = self._source, null() if parent is None else parent.id
        if isinstance(source, Expression | Amount):
            value = source.build(parent, self._asked)
            rows = _beside(select(key.label("parent_id"), value.label("value")), parent)
            return rows, self._money if isinstance(source, Amount) else _single
        if isinstance(source, Rows):
            numbered = _numbered(within(source.select(parent, self._asked), parent), parent)
            rows = _beside(select(key.label("parent_id"), numbered), parent, numbered)
            return rows.order_by(numbered.c.n), _first if source.single else _all
        if isinstance(source, Pages):
            return self._page(source, parent, key)
        assert isinstance(source, One | Many)
        model = _model(source, self._kind)
        other = aliased(model)
        matching = select(other).where(source.matches(parent, other, self._asked))
        if isinstance(source, Many):
            matching = matching.order_by(*source.order(other, self._asked))
            if source.limit is not None:
                matching = matching.limit(source.limit(other, self._asked))
        numbered = _numbered(within(matching, parent), parent)
        rows = _beside(select(key.label("parent_id"), aliased(model, numbered)), parent, numbered)
        collect = _single if isinstance(source, One) else _objects
        return rows.order_by(numbered.c.n), collect

    def _page(self, source: Pages, parent: Any, key: Any) -> tuple[Select[Any], Callable[[list[Any], Any], Any]]:
        window = self._prepared.window
        assert window is not None
        model = _model(source, self._kind)
        matching = source.narrowed(parent, self._asked)
        listed = within(select(model).where(*matching), parent)
        page = pages.page(listed, source.order, window, self._parameter, one_more=True)
        numbered = _numbered(page, parent)
        other = aliased(model, numbered)
        cursor = pages.cursor(source.order, [numbered.c[f"key{i}"] for i in range(len(source.order.keys))])
        rows = _beside(select(key.label("parent_id"), other, cursor), parent, numbered).order_by(numbered.c.n)

        async def count(session: AsyncSession, of: Any) -> int:
            counted = select(func.count()).select_from(model).where(*matching)
            if parent is not None:
                counted = select(counted.correlate(parent).scalar_subquery()).where(parent.id == of)
            return await session.scalar(counted) or 0

        def collect(found: list[Any], of: Any) -> pages.Page:
            more, kept = len(found) > window.size, found[: window.size]
            if window.backwards:
                kept.reverse()
            return pages.Page(
                rows=[row[1] for row in kept],
                cursors=[row[2] for row in kept],
                has_next=window.before is not None if window.backwards else more,
                has_previous=more if window.backwards else window.after is not None,
                count=lambda session: count(session, of),
            )

        return rows, collect

    def _parameter(self, name: str, kind: TypeEngine[Any]) -> Any:
        return literal(self._prepared.value(name), kind)

    def _money(self, found: list[Any], _key: Any) -> Any:
        minor = _single(found, None)
        return None if minor is None else money_of(self._viewer.currency, int(minor))


def _model(source: Source, kind: Any) -> Any:
    """The table of the rows that a field of this type holds."""
    listed = get_named_type(kind.fields["nodes"].type) if isinstance(source, Pages) else kind
    return model_of(listed)


def _single(found: list[Any], _key: Any) -> Any:
    return found[0][1] if found else None


def _first(found: list[Any], _key: Any) -> Any:
    return found[0] if found else None


def _all(found: list[Any], _key: Any) -> list[Any]:
    return found


def _objects(found: list[Any], _key: Any) -> list[Any]:
    return [row[1] for row in found]


def _numbered(rows: Select[Any], parent: Any) -> Any:
    """Rows for each row of the parent, numbered in their order."""
    return within(select(rows.subquery(), func.row_number().over().label("n")), parent).lateral()


def _beside(rows: Select[Any], parent: Any, table: Any = None) -> Select[Any]:
    """Read from the parent and, beside each of its rows, from a table."""
    if parent is None:
        return rows if table is None else rows.select_from(table)
    return rows.select_from(parent) if table is None else rows.select_from(parent).join(table, true())

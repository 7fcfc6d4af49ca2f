"""Connections: edges, nodes, pageInfo and totalCount of one page.

The compiler knows these fields by name; the resolvers here are for graphql-core, over a page that was loaded.
"""

import inspect
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import strawberry

from ispgraph.domain import pages
from ispgraph.schema.compiler.sources import Link
from ispgraph.schema.context import Info

T = TypeVar("T")


def _linked(resolver: Callable[..., Any]) -> Any:
    return strawberry.field(resolver=resolver, description=inspect.getdoc(resolver), metadata={"source": Link()})


@strawberry.type(description="Where a page stands in its list.")
class PageInfo:
    has_next_page: bool = strawberry.field(description="The list goes on after this page.")
    has_previous_page: bool = strawberry.field(description="There is more of the list before this page.")
    start_cursor: str | None = strawberry.field(description="Of the first row, for `before`; null without rows.")
    end_cursor: str | None = strawberry.field(description="Of the last row, for `after`; null without rows.")


@strawberry.type
class Edge(Generic[T]):
    cursor: str
    node: T


@strawberry.type(
    description="A page of a list: 20 rows, unless `first` or `last` asks for another number up to 100. Cursors are of "
    "one list in one order. What is selected of a row costs as often as the page may have rows."
)
class Connection(Generic[T]):
    @_linked
    def edges(root: strawberry.Parent[pages.Page]) -> list[Edge[T]]:
        return [Edge(cursor=cursor, node=row) for cursor, row in zip(root.cursors, root.rows, strict=True)]

    @_linked
    def nodes(root: strawberry.Parent[pages.Page]) -> list[T]:
        return list(root.rows)

    @_linked
    def page_info(root: strawberry.Parent[pages.Page]) -> PageInfo:
        return PageInfo(
            has_next_page=root.has_next,
            has_previous_page=root.has_previous,
            start_cursor=root.cursors[0] if root.cursors else None,
            end_cursor=root.cursors[-1] if root.cursors else None,
        )

    @_linked
    async def total_count(root: strawberry.Parent[pages.Page], info: Info) -> int:
        """How many rows the whole list has."""
        async with info.context.read() as session:
            return await root.count(session)

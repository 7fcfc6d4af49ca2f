"""Connections: edges, nodes, pageInfo and totalCount of one page."""

from typing import Any, Generic, TypeVar

import strawberry

from ispgraph.domain import pages
from ispgraph.schema.context import Info

T = TypeVar("T")


def connection(page: pages.Page) -> Any:
    """A page of rows where the schema says Connection: its fields read from the page."""
    return page


@strawberry.type
class PageInfo:
    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@strawberry.type
class Edge(Generic[T]):
    cursor: str
    node: T


@strawberry.type
class Connection(Generic[T]):
    @strawberry.field
    def edges(root: strawberry.Parent[pages.Page]) -> list[Edge[T]]:
        return [Edge(cursor=cursor, node=row) for cursor, row in zip(root.cursors, root.rows, strict=True)]

    @strawberry.field
    def nodes(root: strawberry.Parent[pages.Page]) -> list[T]:
        return list(root.rows)

    @strawberry.field
    def page_info(root: strawberry.Parent[pages.Page]) -> PageInfo:
        return PageInfo(
            has_next_page=root.has_next,
            has_previous_page=root.has_previous,
            start_cursor=root.cursors[0] if root.cursors else None,
            end_cursor=root.cursors[-1] if root.cursors else None,
        )

    @strawberry.field
    async def total_count(root: strawberry.Parent[pages.Page], info: Info) -> int:
        async with info.context.read() as session:
            return await root.count(session)

"""Finding anything again by its id."""

from typing import Any

import strawberry

from ispgraph import ids
from ispgraph.domain.errors import ErrorCode, fail
from ispgraph.domain.messaging import templates
from ispgraph.domain.pages import MAXIMUM
from ispgraph.resolvers.base import SIGNED_IN, query
from ispgraph.schema.base import KINDS, Node
from ispgraph.schema.compiler.reading import RowOf
from ispgraph.schema.context import Info
from ispgraph.schema.messaging import TEMPLATE


async def node(info: Info, id: strawberry.ID) -> Node | None:
    """The object with this id; null when there is none the viewer may see."""
    return await _template(info, id) if id.startswith(TEMPLATE) else _named(id)


async def nodes(info: Info, ids: list[strawberry.ID]) -> list[Node | None]:
    """The objects with these ids, in their order; null for each that is not there. At most 100."""
    if len(ids) > MAXIMUM:
        raise fail(ErrorCode.LIMIT_EXCEEDED, f"Ask for at most {MAXIMUM} objects at once.", "ids")
    return [await _template(info, id) if id.startswith(TEMPLATE) else _named(id) for id in ids]


def _named(public: str) -> Any:
    try:
        prefix, key = ids.parse(public)
    except ids.BadId:
        return None
    kind = KINDS.get(prefix)
    return None if kind is None else RowOf(kind.model, key, if_visible=True)


async def _template(info: Info, public: str) -> Any:
    """The words of an event: most of them are in no table."""
    try:
        key = ids.decode(TEMPLATE, public)
    except ids.BadId:
        return None
    async with info.context.read() as session:
        return await templates.find(session, key, by=info.context.viewer_or_refuse())


@strawberry.type
class NodeQueries:
    node = query(node, SIGNED_IN)
    nodes = query(nodes, SIGNED_IN)

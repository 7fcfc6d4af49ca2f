"""Routers, read."""

import strawberry

from ispgraph.resolvers.base import SIGNED_IN, query
from ispgraph.schema import roots
from ispgraph.schema.compiler.reading import reading
from ispgraph.schema.context import Info
from ispgraph.schema.routers import Router


async def list_routers(info: Info) -> list[Router]:
    """Routers by name."""
    found: list[Router] = reading(roots.ROUTERS)
    return found


@strawberry.type
class RouterQueries:
    routers: list[Router] = query(list_routers, SIGNED_IN)

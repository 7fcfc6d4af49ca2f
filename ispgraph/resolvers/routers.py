"""Routers, read."""

from typing import Any

import strawberry

from ispgraph.domain import routers
from ispgraph.resolvers.base import SIGNED_IN, query
from ispgraph.schema.context import Info
from ispgraph.schema.routers import Router


async def list_routers(info: Info) -> list[Router]:
    """Routers by name."""
    async with info.context.read() as session:
        rows: Any = await routers.every(session)
    return rows


@strawberry.type
class RouterQueries:
    routers: list[Router] = query(list_routers, SIGNED_IN)

"""Routers."""

from datetime import datetime

import strawberry

from ispgraph.domain import models, routers
from ispgraph.schema.base import Node, node
from ispgraph.schema.context import Info


@node("rtr", models.Router, description="A router that is managed and, as a NAS, asks who may get on line.")
class Router(Node):
    name: str
    address: str
    api_port: int
    status: models.RouterStatus
    last_seen_at: datetime | None
    version: str | None

    @strawberry.field(description="Jobs that wait for this router or run on it.")
    async def pending_jobs(root: strawberry.Parent[models.Router], info: Info) -> int:
        return await info.context.loaders.batched(("pending_jobs",), routers.pending_jobs).load(root.id)

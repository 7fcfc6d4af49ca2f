"""Routers."""

import functools
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
        count = functools.partial(routers.pending_jobs, by=info.context.viewer_or_refuse())
        return await info.context.loaders.batched(("pending_jobs",), count).load(root.id)

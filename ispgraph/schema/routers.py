"""Routers."""

from datetime import datetime

from ispgraph.domain import models, routers
from ispgraph.schema.base import Node, node
from ispgraph.schema.compiler.fields import expression


@node("rtr", models.Router, description="A router that is managed and, as a NAS, asks who may get on line.")
class Router(Node):
    name: str
    address: str
    api_port: int
    status: models.RouterStatus
    last_seen_at: datetime | None
    version: str | None
    pending_jobs: int = expression(
        lambda router, asked: routers.pending_jobs(router, asked.viewer),
        description="Jobs that wait for this router or run on it.",
    )

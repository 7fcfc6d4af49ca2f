"""The program that serves the API."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import redis.asyncio
from sqlalchemy import text
from starlette.applications import Starlette

from ispgraph import (
    delivery_reports,
    jobs,
    logs,
    metrics,
    pages,
    password_pages,
    pubsub,
    replica,
    revisions,
    traces,
    webhooks,
)
from ispgraph.api import branding, captive, create_api, downloads
from ispgraph.api.server import Server
from ispgraph.checkout import Checkout
from ispgraph.db import Database
from ispgraph.resolvers.build import build
from ispgraph.resolvers.context import ContextFactory
from ispgraph.settings import Settings


def create_app(settings: Settings) -> Starlette:
    """The API with everything it stands on. Connections open when they are first needed and close with the program."""
    database = Database.of(settings, pool_size=settings.database_pool)
    client = redis.asyncio.from_url(settings.redis_url, socket_connect_timeout=2, socket_timeout=5)

    contexts = ContextFactory(database, client, settings)
    till = Checkout(database, settings)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[Mapping[str, object]]:
        jobs.connect(settings.redis_url)
        pubsub.connect(settings.redis_url)
        replica.connect(settings)
        try:
            yield {}
        finally:
            await contexts.feed.close()
            await till.aclose()
            await replica.disconnect()
            pubsub.disconnect()
            jobs.disconnect()
            await client.aclose()
            await database.dispose()

    async def ask_database() -> None:
        async with database.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    return create_api(
        build(suggestions=settings.introspection == "open"),
        settings,
        contexts,
        routes=[
            *downloads.routes(database, settings),
            *delivery_reports.routes(database, client, settings),
            *pages.routes(database, client, settings, till),
            *password_pages.routes(database, client),
            *webhooks.routes(database, client, till),
            *captive.routes(database, client, settings),
            *branding.routes(database, settings),
        ],
        probes={"database": ask_database, "redis": client.ping},
        lifespan=lifespan,
    )


def main(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Prints `ready` when listening; running requests get 8 seconds to finish."""
    logs.configure("api", settings)
    revisions.require(settings.database_url)
    metrics.serve(settings)
    server = Server(
        create_app(settings), settings.host, settings.port, settings.trusted_proxies, settings.drain_seconds
    )
    with traces.running("api", settings):
        server.serve_program()

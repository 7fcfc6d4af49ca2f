"""The API of one process: GraphQL over HTTP, server-sent events and WebSocket, the playground, and a health check."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from ispgraph.api import playground
from ispgraph.api.connections import Authorities, ContextFactory, OpenConnections
from ispgraph.api.documents import Documents
from ispgraph.api.over_http import GraphQLOverHTTP
from ispgraph.api.over_websocket import GraphQLOverWebSocket
from ispgraph.schema.errors import ApiSchema
from ispgraph.settings import Settings

__all__ = ["ContextFactory", "Probe", "create_api"]

Probe = Callable[[], Awaitable[Any]]
"""Asks something the API depends on for a sign of life; raises when there is none."""

_PROBE_SECONDS = 2.0


def create_api(
    schema: ApiSchema,
    settings: Settings,
    context_factory: ContextFactory,
    *,
    routes: Sequence[BaseRoute] = (),
    probes: Mapping[str, Probe] | None = None,
    lifespan: Any = None,
) -> Starlette:
    """The ASGI application.

    `routes` are those beside GraphQL's. `probes` are asked by `/readyz` and `/healthz`, by name. Setting
    `app.state.draining` has these say 503, so that a balancer sends requests elsewhere; `app.state.stopping` ends
    event streams, so that a server can stop without waiting for its listeners.
    """
    draining, stopping = asyncio.Event(), asyncio.Event()
    authorities = Authorities(context_factory)
    documents, opened = Documents(settings), OpenConnections(settings.sockets_per_operator)
    origins = settings.allowed_origins
    over_http = GraphQLOverHTTP(schema, context_factory, origins, stopping, authorities, documents, opened)
    over_websocket = GraphQLOverWebSocket(schema, context_factory, origins, authorities, documents, opened)

    browsers = playground.Playground()

    async def graphql(request: Request) -> Response:
        return browsers.page(request) if playground.wanted(request) else await over_http(request)

    async def health(_request: Request) -> Response:
        return await _health(probes or {}, draining)

    app = Starlette(
        routes=[
            # Every method comes here, so that a wrong one is answered as the specification wants.
            Route("/graphql", graphql, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
            WebSocketRoute("/graphql", over_websocket.__call__),
            # Whether it runs, for what would start it again; and whether it can be of use, for what sends it requests.
            Route("/livez", lambda _request: JSONResponse({"ok": True})),
            Route("/readyz", health),
            Route("/healthz", health),
            *browsers.routes(),
            *routes,
            Route("/", lambda _request: RedirectResponse("/graphql")),
        ],
        middleware=_cross_origin(settings),
        lifespan=lifespan,
    )
    app.state.draining = draining
    app.state.stopping = stopping
    return app


def _cross_origin(settings: Settings) -> list[Middleware]:
    if not settings.allowed_origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "graphql-require-preflight", "apollo-require-preflight"],
            max_age=3600,
        )
    ]


async def _health(probes: Mapping[str, Probe], draining: asyncio.Event) -> Response:
    if draining.is_set():
        return JSONResponse({"ok": False, "stopping": True}, 503)
    answers = await asyncio.gather(*(_answers(probe) for probe in probes.values()))
    away = [name for name, answered in zip(probes, answers, strict=True) if not answered]
    return JSONResponse({"ok": not away, **({"away": away} if away else {})}, 503 if away else 200)


async def _answers(probe: Probe) -> bool:
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            await probe()
    except Exception:  # whatever a driver raises, the answer is that it is away
        return False
    return True

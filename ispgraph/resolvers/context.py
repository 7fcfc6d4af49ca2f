"""Making the context of one request: who asks, and what the resolvers work with."""

from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis
from starlette.requests import HTTPConnection

from ispgraph.db import Database
from ispgraph.domain.budgets import Budgets
from ispgraph.domain.live.feed import Feed
from ispgraph.resolvers.authentication import authenticate
from ispgraph.schema.context import Context
from ispgraph.settings import Settings


class ContextFactory:
    """Called once per HTTP request and once per operation on a WebSocket."""

    def __init__(self, database: Database, redis: Redis, settings: Settings) -> None:
        self._database = database
        self._redis = redis
        self._settings = settings
        self.feed = Feed(database, redis)
        self._budgets: Budgets | None = None
        if settings.cost_per_second:
            self._budgets = Budgets(redis, settings.cost_per_second, settings.tenant_cost_per_second)

    async def __call__(self, connection: HTTPConnection, parameters: Mapping[str, Any] | None) -> Context:
        """The context, with the viewer when a token came along. Raises ApiError UNAUTHENTICATED for a bad token."""
        token = _token(connection, parameters)
        viewer = await authenticate(self._database, self._settings, token) if token is not None else None
        return Context(
            database=self._database,
            redis=self._redis,
            settings=self._settings,
            feed=self.feed,
            budgets=self._budgets,
            viewer=viewer,
            # The peer itself: what a header claims about it is not believed.
            address=connection.client.host if connection.client else None,
            user_agent=connection.headers.get("user-agent"),
        )


def _token(connection: HTTPConnection, parameters: Mapping[str, Any] | None) -> str | None:
    """The bearer token (RFC 6750 section 2.1) of a request, or of a socket's connection_init."""
    given = parameters or {}
    claimed = given.get("Authorization") or given.get("authorization") or connection.headers.get("authorization")
    if isinstance(claimed, str):
        scheme, _, token = claimed.partition(" ")
        return token.strip() if scheme.lower() == "bearer" else claimed
    other = given.get("token")
    return other if isinstance(other, str) else None

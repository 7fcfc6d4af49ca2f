"""What HTTP, event streams and WebSockets share: who asks, from where, and until when."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime
from typing import Any, Protocol

from starlette.requests import HTTPConnection
from strawberry.http.websocket_origin import is_same_origin, normalize_origin

from ispgraph import clock
from ispgraph.schema.errors import ApiError, describe, report

RECHECK_SECONDS = 1.0


class ApiViewer(Protocol):
    """What the API needs of a viewer."""

    @property
    def expires_at(self) -> datetime:
        """When the token ends."""


class ApiContext(Protocol):
    """What the API needs of a context; everything else in it is between the factory and the resolvers."""

    push: Callable[[str], None] | None
    """Set by connections that take response maps as JSON, at once, for as long as an operation lasts."""

    @property
    def viewer(self) -> Any:
        """An ApiViewer, or None when nobody is signed in."""


ContextFactory = Callable[[HTTPConnection, Mapping[str, Any] | None], Awaitable[ApiContext]]
"""`context_factory(request_or_websocket, connection_params)`: awaited once per HTTP request and per operation on a
WebSocket. Raises ApiError UNAUTHENTICATED for a token that is malformed, expired or revoked."""


def origin_allowed(connection: HTTPConnection, allowed: Collection[str]) -> bool:
    """Whether the page that sent this may: no page at all, a page of ours, or one that settings name.

    Browsers do not ask before they open a WebSocket, and a page elsewhere must not speak for the person in front of it.
    """
    origin = connection.headers.get("origin")
    if origin is None or "*" in allowed or is_same_origin(origin, connection.headers.get("host")):
        return True
    return normalize_origin(origin) in {normalize_origin(name) for name in allowed}


def masked(error: Exception) -> ApiError:
    """An exception outside of GraphQL's execution, as the client may see it."""
    if isinstance(error, ApiError):
        return error
    code, message = describe(error)
    return ApiError(code, message, traceId=report(error, code))


async def authority_ended(
    factory: ContextFactory, connection: HTTPConnection, parameters: Mapping[str, Any] | None, viewer: ApiViewer
) -> None:
    """Return when the token of a long-lived connection has expired or was revoked: within about a second.

    The token is presented again each second. A database that is away for a while ends nothing: the expiry, which was
    read before, still does.
    """
    while viewer.expires_at > clock.now():
        await asyncio.sleep(RECHECK_SECONDS)
        try:
            context = await factory(connection, parameters)
        except ApiError as error:
            if is_unauthenticated(error):
                return
        except Exception as error:  # must survive whatever the database says while it restarts
            masked(error)
        else:
            if context.viewer is None:
                return
            viewer = context.viewer


def is_unauthenticated(error: ApiError) -> bool:
    """Whether the token was refused, and not something else amiss."""
    return (error.extensions or {}).get("code") == "UNAUTHENTICATED"

"""What HTTP, event streams and WebSockets share: who asks, from where, and until when."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime
from typing import Any, Protocol

from starlette.requests import HTTPConnection
from strawberry.http.websocket_origin import is_same_origin, normalize_origin

from ispgraph import clock
from ispgraph.schema.context import Carrier
from ispgraph.schema.errors import ApiError, describe, report

RECHECK_SECONDS = 1.0
TOO_MANY = "Too many connections are open: close some first."


class ApiViewer(Protocol):
    """What the API needs of a viewer."""

    @property
    def expires_at(self) -> datetime:
        """When the token ends."""


class ApiContext(Protocol):
    """What the API needs of a context; everything else in it is between the factory and the resolvers."""

    carrier: Carrier | None
    """Set by connections that take what is printed already."""

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


class OpenConnections:
    """How many sockets and event streams each operator has open in this process."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[Any] = Counter()

    def begin(self, viewer: ApiViewer) -> bool:
        """Count one more; False, and nothing is counted, when there are as many as may be."""
        who = _operator(viewer)
        if self._open[who] >= self._most:
            return False
        self._open[who] += 1
        return True

    def end(self, viewer: ApiViewer) -> None:
        """Count one less."""
        who = _operator(viewer)
        self._open[who] -= 1
        if not self._open[who]:
            del self._open[who]


def _operator(viewer: ApiViewer) -> Any:
    return getattr(viewer, "operator_id", None)


class Listener(Protocol):
    """A long-lived connection, with what it presented when it was opened."""

    @property
    def connection(self) -> HTTPConnection:
        """Its handshake, or its request."""

    @property
    def parameters(self) -> Mapping[str, Any] | None:
        """What connection_init brought."""

    def authority_ended(self) -> None:
        """Told once, when the token has expired or was revoked."""


class Authorities:
    """The tokens behind all long-lived connections of a process: each is presented again every second, once for all
    who listen with it.

    A database that is away for a while ends nothing: the expiry, which was read before, still does.
    """

    def __init__(self, factory: ContextFactory) -> None:
        self._factory = factory
        self._presented: dict[str, _Presented] = {}
        self._looking: asyncio.Task[None] | None = None

    def watch(self, listener: Listener, viewer: ApiViewer) -> None:
        """Tell the listener when its token ends, within about a second, until `forget`."""
        presented = self._presented.setdefault(_token(listener), _Presented(viewer))
        presented.viewer = viewer
        presented.listeners.add(listener)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_on())

    def forget(self, listener: Listener) -> None:
        """Tell it nothing any more; it need not be watched."""
        token = _token(listener)
        if (presented := self._presented.get(token)) is None:
            return
        presented.listeners.discard(listener)
        if not presented.listeners:
            del self._presented[token]
        if not self._presented and self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def _look_on(self) -> None:
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            for presented in list(self._presented.values()):
                if presented.viewer.expires_at <= clock.now():
                    presented.end()
                # One that still waits for the database has not to wait twice.
                elif presented.look is None or presented.look.done():
                    presented.look = asyncio.create_task(self._look(presented))

    async def _look(self, presented: "_Presented") -> None:
        listener = next(iter(presented.listeners), None)
        if listener is None:
            return
        try:
            context = await self._factory(listener.connection, listener.parameters)
        except ApiError as error:
            if is_unauthenticated(error):
                presented.end()
        except Exception as error:  # must survive whatever the database says while it restarts
            masked(error)
        else:
            if context.viewer is None:
                presented.end()
            else:
                presented.viewer = context.viewer


class _Presented:
    """One token, and all who presented it."""

    __slots__ = ("listeners", "look", "viewer")

    def __init__(self, viewer: ApiViewer) -> None:
        self.viewer = viewer
        self.listeners: set[Listener] = set()
        self.look: asyncio.Task[None] | None = None

    def end(self) -> None:
        for listener in tuple(self.listeners):
            listener.authority_ended()


def _token(listener: Listener) -> str:
    given = (listener.parameters or {}).get("Authorization")
    return given if isinstance(given, str) else listener.connection.headers.get("authorization", "")


def is_unauthenticated(error: ApiError) -> bool:
    """Whether the token was refused, and not something else amiss."""
    return (error.extensions or {}).get("code") == "UNAUTHENTICATED"

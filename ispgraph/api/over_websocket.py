"""GraphQL over WebSocket: the graphql-transport-ws protocol, and nothing else.

One task reads, and each operation runs in its own. Sending waits for the client, so a slow reader holds up its own
operations and nobody else; one that takes nothing for 10 seconds is let go. What is pushed, as live readings are, goes
out without a task, and waits in a queue of bounded length (`sockets.py`); whoever lets it run over is let go as well,
with code 4008. A connection that only listens has nothing but the task that reads.
"""

import asyncio
import json
from collections.abc import Callable, Collection
from contextlib import aclosing
from typing import Any

from starlette.websockets import WebSocket
from strawberry.types.execution import PreExecutionError

from ispgraph import metrics, traces
from ispgraph.api import body
from ispgraph.api.body import Refused
from ispgraph.api.connections import (
    TOO_MANY,
    Authorities,
    ContextFactory,
    OpenConnections,
    is_unauthenticated,
    masked,
    origin_allowed,
)
from ispgraph.api.documents import Documents
from ispgraph.api.over_http import encode, payload
from ispgraph.api.sockets import TOO_SLOW, Socket
from ispgraph.schema.errors import ApiError, ApiSchema

PROTOCOL = "graphql-transport-ws"
INIT_SECONDS = 5.0
PING_SECONDS = 30.0
MESSAGE_BYTES = 64 * 1024
OPERATIONS = 10
_ID_LENGTH = 128


class _Closed(Exception):
    """The connection is to be closed with this code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class GraphQLOverWebSocket:
    """The endpoint for WebSockets."""

    def __init__(
        self,
        schema: ApiSchema,
        context_factory: ContextFactory,
        allowed_origins: Collection[str],
        authorities: Authorities,
        documents: Documents,
        open_connections: OpenConnections,
    ) -> None:
        self.documents = documents
        self.open_connections = open_connections
        self.schema = schema
        self.context_factory = context_factory
        self.authorities = authorities
        self._allowed_origins = allowed_origins

    async def __call__(self, websocket: WebSocket) -> None:
        """Carry one connection from the handshake to its end."""
        if not origin_allowed(websocket, self._allowed_origins):
            # Closing before accepting answers the handshake with 403.
            await websocket.close(1008)
            return
        if PROTOCOL not in websocket.scope["subprotocols"]:
            await websocket.accept()
            await websocket.close(4406, "Subprotocol not acceptable")
            return
        await websocket.accept(PROTOCOL)
        with metrics.SOCKETS.track_inprogress():
            await _Connection(websocket, self).run()


class _Connection:
    __slots__ = (
        "_acknowledged",
        "_api",
        "_ended",
        "_initialised",
        "_operations",
        "_socket",
        "_timer",
        "_viewer",
        "connection",
        "parameters",
    )

    def __init__(self, websocket: WebSocket, api: GraphQLOverWebSocket) -> None:
        self.connection = websocket
        self.parameters: dict[str, Any] | None = None
        self._api = api
        self._socket = Socket.of(websocket.scope)
        self._initialised = self._acknowledged = self._ended = False
        self._operations: dict[str, asyncio.Task[None] | _Carried] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._viewer: Any = None

    async def run(self) -> None:
        """Until the client leaves, breaks the protocol, or loses its authority."""
        self._socket.begin(self._end)
        self._after(INIT_SECONDS, self._uninitialised)
        try:
            while not self._ended:
                message = await self.connection.receive()
                if message["type"] == "websocket.disconnect":
                    return
                if not self._ended:
                    await self._handle(_decode(message))
        except _Closed as reason:
            self._end(reason.code, reason.reason)
        except Exception as error:  # the outermost place of a connection: nothing may leave unmasked
            masked(error)
            self._end(1011, "Internal error")
        finally:
            self._leave()
            await asyncio.gather(*self._running(), return_exceptions=True)

    def authority_ended(self) -> None:
        """The token has expired, or was revoked."""
        self._end(4401, "Unauthorized")

    def _end(self, code: int, reason: str) -> None:
        """Close with this code, now; the task that reads learns of it from the socket."""
        if not self._ended:
            self._leave()
            self._socket.end(code, reason)

    def _leave(self) -> None:
        """Let go of everything."""
        if self._ended:
            return
        self._ended = True
        if self._viewer is not None:
            self._api.open_connections.end(self._viewer)
        self._api.authorities.forget(self)
        if self._timer is not None:
            self._timer.cancel()
        for task in self._running():
            task.cancel()
        for operation in tuple(self._operations.values()):
            if isinstance(operation, _Carried):
                operation.close()

    def _running(self) -> list[asyncio.Task[None]]:
        return [each for each in self._operations.values() if isinstance(each, asyncio.Task)]

    def _after(self, seconds: float, work: Callable[[], None]) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, work)

    def _uninitialised(self) -> None:
        self._end(4408, "Connection initialisation timeout")

    def _ping(self) -> None:
        self._after(PING_SECONDS, self._ping)
        self._socket.post(None, b'{"type":"ping"}')

    async def _handle(self, message: dict[str, Any]) -> None:
        match message.get("type"):
            case "connection_init":
                await self._initialise(message.get("payload"))
            case "ping":
                pong = {"type": "pong", **({"payload": message["payload"]} if "payload" in message else {})}
                await self._send(pong)
            case "pong":
                pass
            case "subscribe":
                await self._subscribe(message)
            case "complete":
                await self._complete(str(message.get("id")))
            case _:
                raise _Closed(4400, "Unknown message type")

    async def _initialise(self, parameters: Any) -> None:
        if self._initialised:
            raise _Closed(4429, "Too many initialisation requests")
        if not isinstance(parameters, dict | None):
            raise _Closed(4400, "Invalid connection init payload")
        self._initialised = True
        if self._timer is not None:
            self._timer.cancel()
        self.parameters = _token_of(parameters or {})
        try:
            context = await self._api.context_factory(self.connection, self.parameters)
        except ApiError:
            raise _Closed(4401, "Unauthorized") from None
        if context.viewer is None:
            raise _Closed(4401, "Unauthorized")
        if not self._ended:
            if not self._api.open_connections.begin(context.viewer):
                raise _Closed(4429, TOO_MANY)
            self._viewer = context.viewer
        await self._send({"type": "connection_ack"})
        if not self._ended:
            self._acknowledged = True
            self._api.authorities.watch(self, context.viewer)
            self._after(PING_SECONDS, self._ping)

    async def _subscribe(self, message: dict[str, Any]) -> None:
        if not self._acknowledged:
            raise _Closed(4401, "Unauthorized")
        identifier = message.get("id")
        if not isinstance(identifier, str) or not 0 < len(identifier) <= _ID_LENGTH:
            raise _Closed(4400, "Invalid id")
        if identifier in self._operations:
            raise _Closed(4409, f"Subscriber for {identifier[:40]!a} already exists")
        try:
            parameters = body.Parameters.of(message.get("payload"))
        except Refused as refusal:
            raise _Closed(4400, str(refusal)) from None
        if len(self._operations) >= OPERATIONS:
            error = ApiError("RATE_LIMITED", f"At most {OPERATIONS} operations may run on one connection.")
            await self._send({"id": identifier, "type": "error", "payload": [error.formatted]})
            return
        self._operations[identifier] = asyncio.create_task(self._operate(identifier, parameters))

    async def _complete(self, identifier: str) -> None:
        operation = self._operations.pop(identifier, None)
        if isinstance(operation, _Carried):
            operation.close()
        elif operation is not None:
            operation.cancel()
            await asyncio.gather(operation, return_exceptions=True)

    async def _operate(self, identifier: str, parameters: body.Parameters) -> None:
        carried = _Carried(self._socket, identifier)
        try:
            last = await self._outcome(carried, parameters)
            if last is not None:
                await self._send(last)
        except _Closed as reason:
            self._end(reason.code, reason.reason)

    def _finished(self, carried: "_Carried") -> None:
        """What was carried is over by itself."""
        if carried.open:
            del self._operations[carried.identifier]
            carried.close()
            self._socket.post(None, encode({"id": carried.identifier, "type": "complete"}))

    async def _outcome(self, carried: "_Carried", parameters: body.Parameters) -> dict[str, Any] | None:
        """Run an operation; return its last message, or None when it is carried on. Its id is free again before that
        is sent."""
        identifier, goes_on = carried.identifier, False
        try:
            await self._stream(carried, parameters)
            goes_on = carried.kept and identifier in self._operations and not self._ended
        except _Closed:
            raise
        except _Refusal as refusal:
            return {"id": identifier, "type": "error", "payload": refusal.errors}
        except Exception as error:  # the outermost place of an operation: nothing may leave unmasked
            if isinstance(error, ApiError) and is_unauthenticated(error):
                raise _Closed(4401, "Unauthorized") from None
            return {"id": identifier, "type": "error", "payload": [masked(error).formatted]}
        finally:
            if goes_on:
                self._operations[identifier] = carried
                carried.go_on(self._finished)
            else:
                # What still waits to be sent is dropped: the id may soon be another operation's.
                carried.close()
                self._operations.pop(identifier, None)
        return None if goes_on else {"id": identifier, "type": "complete"}

    async def _stream(self, carried: "_Carried", parameters: body.Parameters) -> None:
        context = await self._api.context_factory(self.connection, self.parameters)
        context.carrier = carried
        # Until the first answer: a subscription goes on for hours.
        with traces.span("GraphQL", "SERVER", parent=traces.ROOT):
            stream = await self._api.schema.stream(
                await self._api.documents.text(parameters, context),
                parameters.variables,
                context_value=context,
                operation_name=parameters.operation_name,
                operation_extensions=parameters.extensions,
            )
            result = await anext(stream, None)
        async with aclosing(stream) as results:
            while result is not None:
                members = payload(result)
                if isinstance(result, PreExecutionError):
                    raise _Refusal(members["errors"])
                await self._send({"id": carried.identifier, "type": "next", "payload": members})
                result = await anext(results, None)

    async def _send(self, message: dict[str, Any]) -> None:
        try:
            await self._socket.tell(encode(message))
        except ConnectionError:
            raise _Closed(TOO_SLOW, "Gone") from None


class _Carried:
    """One operation's way past everything else: a Carrier."""

    __slots__ = ("_ended", "_release", "_socket", "head", "identifier", "open")

    def __init__(self, socket: Socket, identifier: str) -> None:
        self.identifier = identifier
        self.head = b'{"id":%b,"type":"next","payload":' % json.dumps(identifier).encode()
        self.open = True
        self._socket = socket
        self._ended: asyncio.Future[None] | None = None
        self._release: Callable[[], None] | None = None

    @property
    def kept(self) -> bool:
        """Whether it goes on after the operation was carried out."""
        return self._release is not None

    def push(self, body: bytes) -> None:
        """See Carrier."""
        if self.open:
            self._socket.post(self, body)

    def keep(self, ended: "asyncio.Future[None]", release: Callable[[], None]) -> None:
        """See Carrier."""
        self._ended, self._release = ended, release

    def go_on(self, finished: Callable[["_Carried"], None]) -> None:
        """The operation has been carried out; `finished` is called at the end of what is carried."""
        if self._ended is not None:
            self._ended.add_done_callback(lambda _: finished(self))

    def close(self) -> None:
        """Send nothing any more."""
        self.open = False
        if self._release is not None:
            self._release()
            self._release = None


class _Refusal(Exception):
    """An operation that was refused before it began."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__("refused")
        self.errors = errors


def _decode(message: Any) -> dict[str, Any]:
    text = message.get("text")
    if text is None:
        raise _Closed(4400, "Messages must be text")
    if len(text) > MESSAGE_BYTES or len(text.encode()) > MESSAGE_BYTES:
        raise _Closed(1009, "Message too big")
    try:
        decoded = body.decode(text)
    except Refused:
        raise _Closed(4400, "Messages must be JSON") from None
    if not isinstance(decoded, dict):
        raise _Closed(4400, "Messages must be JSON objects")
    return decoded


def _token_of(parameters: dict[str, Any]) -> dict[str, Any]:
    """Nothing but `Authorization`, spelt one way; `{"token": …}` and lower case are accepted as well."""
    token = parameters.get("Authorization", parameters.get("authorization"))
    if token is None and isinstance(parameters.get("token"), str):
        token = f"Bearer {parameters['token']}"
    return {"Authorization": token if isinstance(token, str) else None}

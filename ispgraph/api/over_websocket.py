"""GraphQL over WebSocket: the graphql-transport-ws protocol, and nothing else.

One task reads, each operation runs in its own, and one watches the token. Sending waits for the client, so a slow
reader holds up its own operations and nobody else; one that takes nothing for 10 seconds is let go. What is pushed, as
live readings are, waits in a queue of bounded length; whoever lets it run over is let go as well, with code 4008.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Collection
from contextlib import aclosing, suppress
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState
from strawberry.types.execution import PreExecutionError

from ispgraph.api import body
from ispgraph.api.body import Refused
from ispgraph.api.connections import (
    ApiViewer,
    ContextFactory,
    authority_ended,
    is_unauthenticated,
    masked,
    origin_allowed,
)
from ispgraph.api.over_http import encode, payload
from ispgraph.schema.errors import ApiError, ApiSchema

PROTOCOL = "graphql-transport-ws"
INIT_SECONDS = 5.0
PING_SECONDS = 30.0
SEND_SECONDS = 10.0
MESSAGE_BYTES = 64 * 1024
OPERATIONS = 10
OUTBOX = 200
"""Messages that wait for a slow reader; with one more it is let go."""
_ID_LENGTH = 128


class _Closed(Exception):
    """The connection is to be closed with this code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class GraphQLOverWebSocket:
    """The endpoint for WebSockets."""

    def __init__(self, schema: ApiSchema, context_factory: ContextFactory, allowed_origins: Collection[str]) -> None:
        self._schema = schema
        self._context_factory = context_factory
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
        await _Connection(websocket, self._schema, self._context_factory).run()


class _Connection:
    def __init__(self, websocket: WebSocket, schema: ApiSchema, context_factory: ContextFactory) -> None:
        self._websocket = websocket
        self._schema = schema
        self._context_factory = context_factory
        self._parameters: dict[str, Any] | None = None
        self._initialised = False
        self._acknowledged = asyncio.Event()
        self._operations: dict[str, asyncio.Task[None]] = {}
        self._sending = asyncio.Lock()
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._viewer: ApiViewer | None = None
        self._outbox: deque[tuple[_Pushing, str]] = deque()
        self._pushed: asyncio.Event | None = None
        self._writer: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Until the client leaves, breaks the protocol, or loses its authority."""
        tasks = [asyncio.create_task(work()) for work in (self._read, self._watch, self._ping)]
        try:
            done, _ = await asyncio.wait([*tasks, self._ended], return_when=asyncio.FIRST_COMPLETED)
            await self._close(next(iter(done)).exception())
        finally:
            self._ended.cancel()
            await _cancel([*tasks, *self._operations.values(), *([self._writer] if self._writer else [])])

    async def _close(self, reason: BaseException | None) -> None:
        if reason is None or self._websocket.application_state is not WebSocketState.CONNECTED:
            return
        if not isinstance(reason, _Closed):
            if not isinstance(reason, Exception):
                raise reason
            masked(reason)
            reason = _Closed(1011, "Internal error")
        with suppress(RuntimeError, WebSocketDisconnect, TimeoutError):
            async with asyncio.timeout(SEND_SECONDS):
                await self._websocket.close(reason.code, reason.reason)

    async def _read(self) -> None:
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            await self._handle(_decode(message))

    async def _watch(self) -> None:
        """Close in time: without an init after 5 seconds, or when the token has expired or was revoked."""
        try:
            async with asyncio.timeout(INIT_SECONDS):
                await self._acknowledged.wait()
        except TimeoutError:
            if not self._initialised:
                raise _Closed(4408, "Connection initialisation timeout") from None
            await self._acknowledged.wait()
        if self._viewer is not None:
            await authority_ended(self._context_factory, self._websocket, self._parameters, self._viewer)
        raise _Closed(4401, "Unauthorized")

    async def _ping(self) -> None:
        await self._acknowledged.wait()
        while True:
            await asyncio.sleep(PING_SECONDS)
            await self._send({"type": "ping"})

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
                await _cancel([task for task in (self._operations.pop(str(message.get("id")), None),) if task])
            case _:
                raise _Closed(4400, "Unknown message type")

    async def _initialise(self, parameters: Any) -> None:
        if self._initialised:
            raise _Closed(4429, "Too many initialisation requests")
        if not isinstance(parameters, dict | None):
            raise _Closed(4400, "Invalid connection init payload")
        self._initialised = True
        self._parameters = _with_token(parameters or {})
        try:
            context = await self._context_factory(self._websocket, self._parameters)
        except ApiError:
            raise _Closed(4401, "Unauthorized") from None
        if context.viewer is None:
            raise _Closed(4401, "Unauthorized")
        self._viewer = context.viewer
        await self._send({"type": "connection_ack"})
        self._acknowledged.set()

    async def _subscribe(self, message: dict[str, Any]) -> None:
        if not self._acknowledged.is_set():
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

    async def _operate(self, identifier: str, parameters: body.Parameters) -> None:
        try:
            await self._send(await self._outcome(identifier, parameters))
        except _Closed as reason:
            self._end(reason)

    def _end(self, reason: _Closed) -> None:
        if not self._ended.done():
            self._ended.set_exception(reason)

    async def _outcome(self, identifier: str, parameters: body.Parameters) -> dict[str, Any]:
        """Run an operation; return its last message. Its id is free again before that is sent."""
        try:
            await self._stream(identifier, parameters)
        except _Closed:
            raise
        except _Refusal as refusal:
            return {"id": identifier, "type": "error", "payload": refusal.errors}
        except Exception as error:  # the outermost place of an operation: nothing may leave unmasked
            if isinstance(error, ApiError) and is_unauthenticated(error):
                raise _Closed(4401, "Unauthorized") from None
            return {"id": identifier, "type": "error", "payload": [masked(error).formatted]}
        finally:
            self._operations.pop(identifier, None)
        return {"id": identifier, "type": "complete"}

    async def _stream(self, identifier: str, parameters: body.Parameters) -> None:
        context = await self._context_factory(self._websocket, self._parameters)
        pushing = _Pushing(self._push, identifier)
        context.push = pushing
        stream = await self._schema.stream(
            parameters.query,
            parameters.variables,
            context_value=context,
            operation_name=parameters.operation_name,
            operation_extensions=parameters.extensions,
        )
        try:
            async with aclosing(stream) as results:
                async for result in results:
                    members = payload(result)
                    if isinstance(result, PreExecutionError):
                        raise _Refusal(members["errors"])
                    await self._send({"id": identifier, "type": "next", "payload": members})
        finally:
            # What still waits in the queue is not sent: the id may soon be another operation's.
            pushing.open = False

    def _push(self, pushing: "_Pushing", text: str) -> None:
        if self._writer is None or self._pushed is None:
            self._pushed = asyncio.Event()
            self._writer = asyncio.create_task(self._write(self._pushed))
        if len(self._outbox) >= OUTBOX:
            self._end(_Closed(4008, "Too slow"))
            return
        self._outbox.append((pushing, text))
        self._pushed.set()

    async def _write(self, pushed: asyncio.Event) -> None:
        # Without a deadline of its own, which would cost as much as the sending: the queue is bounded, and the ping,
        # which waits behind this, has one.
        outbox, websocket = self._outbox, self._websocket
        try:
            while True:
                while outbox:
                    pushing, text = outbox.popleft()
                    if pushing.open:
                        async with self._sending:
                            await websocket.send({"type": "websocket.send", "text": pushing.head + text + "}"})
                pushed.clear()
                await pushed.wait()
        except (WebSocketDisconnect, RuntimeError):
            self._end(_Closed(4008, "Gone"))

    async def _send(self, message: dict[str, Any]) -> None:
        text = encode(message).decode()
        try:
            async with asyncio.timeout(SEND_SECONDS), self._sending:
                await self._websocket.send_text(text)
        except (WebSocketDisconnect, RuntimeError, TimeoutError):
            raise _Closed(4008, "Too slow, or gone") from None


class _Pushing:
    """Takes what is pushed to one operation."""

    __slots__ = ("_push", "head", "open")

    def __init__(self, push: Callable[["_Pushing", str], None], identifier: str) -> None:
        self._push = push
        self.head = f'{{"id":{json.dumps(identifier)},"type":"next","payload":'
        self.open = True

    def __call__(self, text: str) -> None:
        if self.open:
            self._push(self, text)


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


def _with_token(parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters with `Authorization` spelt one way; `{"token": …}` and lower case are accepted as well."""
    token = parameters.get("Authorization", parameters.get("authorization"))
    if token is None and isinstance(parameters.get("token"), str):
        token = f"Bearer {parameters['token']}"
    return {**parameters, "Authorization": token if isinstance(token, str) else None}


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

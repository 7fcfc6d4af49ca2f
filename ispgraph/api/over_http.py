"""GraphQL over HTTP (the GraphQL-over-HTTP specification), and subscriptions as server-sent events."""

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from contextlib import aclosing
from typing import Any

import orjson
from graphql import GraphQLError
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from strawberry.exceptions import MissingQueryError
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types.execution import ExecutionResult
from strawberry.types.graphql import OperationType

from ispgraph import metrics, traces
from ispgraph.api import body, uploads
from ispgraph.api.body import Parameters, Refused
from ispgraph.api.connections import (
    TOO_MANY,
    ApiContext,
    Authorities,
    ContextFactory,
    OpenConnections,
    masked,
    origin_allowed,
)
from ispgraph.api.documents import Documents
from ispgraph.schema.errors import ApiError, ApiSchema

JSON = "application/json"
RESPONSE_JSON = "application/graphql-response+json"
EVENTS = "text/event-stream"
DEADLINE_SECONDS = 30.0
KEEP_ALIVE_SECONDS = 15.0
# Events that wait for a slow reader; with one more it is let go.
OUTBOX = 200

_METHODS = {
    "GET": {OperationType.QUERY},
    "POST": {OperationType.QUERY, OperationType.MUTATION},
}
_STATUS = {
    "UNAUTHENTICATED": 401,
    "FORBIDDEN": 403,
    "RATE_LIMITED": 429,
    "UNAVAILABLE": 503,
    "INTERNAL": 500,
}
# What each media range stands for. JSON is what a client gets that did not ask for anything (specification 6.1).
_RANGES = {
    RESPONSE_JSON: RESPONSE_JSON,
    JSON: JSON,
    EVENTS: EVENTS,
    "application/*": JSON,
    "*/*": JSON,
}


class GraphQLOverHTTP:
    """The endpoint for GET and POST."""

    def __init__(
        self,
        schema: ApiSchema,
        context_factory: ContextFactory,
        allowed_origins: Collection[str],
        stopping: asyncio.Event,
        authorities: Authorities,
        documents: Documents,
        open_connections: OpenConnections,
    ) -> None:
        self._documents = documents
        self._open = open_connections
        self._schema = schema
        self._context_factory = context_factory
        self._allowed_origins = allowed_origins
        self._stopping = stopping
        self._authorities = authorities
        self._uploads = uploads.Uploads()

    async def __call__(self, request: Request) -> Response:
        """Answer one request; whatever happens, in the media type that the client asked for."""
        if not traces.on():
            return (await self._answered(request))[0]
        parent = traces.given(request.headers.getlist("traceparent"))
        with traces.span("GraphQL", "SERVER", parent=parent, told={"http.request.method": _method(request)}) as span:
            response, code = await self._answered(request)
            span.tell({"http.response.status_code": response.status_code, "ispgraph.code": code or "STREAM"})
            if response.status_code >= 500:
                span.failed(code or "STREAM")
            return response

    async def _answered(self, request: Request) -> tuple[Response, str | None]:
        media, began = JSON, time.monotonic()
        code: str | None = "BAD_REQUEST"
        try:
            media = _negotiate(request.headers.get("accept"))
            response, code = await self._answer(request, media)
        except Refused as refusal:
            response = _reply(refusal.status, {"errors": [refusal.error.formatted]}, media, refusal.headers)
        except Exception as error:  # the outermost place: nothing may leave unmasked
            shown = masked(error)
            code = _code([shown])
            response = _reply(_status([shown]), {"errors": [shown.formatted]}, media, {})
        if code is not None:
            metrics.REQUESTS.labels(code).observe(time.monotonic() - began)
        return response, code

    async def _answer(self, request: Request, media: str) -> tuple[Response, str | None]:
        """The answer, and what it is counted as: nothing, if it is a stream."""
        if request.method not in _METHODS:
            raise Refused(405, "GraphQL is served by GET and POST.", Allow="GET, POST")
        if not origin_allowed(request, self._allowed_origins):
            raise Refused(403, "Pages of this origin may not use the API.")
        if uploads.is_multipart(request):
            return await self._answer_with_files(request, media)
        parameters = await _parameters(request)
        context = await self._context_factory(request, None)
        if media == EVENTS:
            if context.viewer is None:
                raise ApiError("UNAUTHENTICATED", "Subscriptions need a token.")
            query = await self._documents.text(parameters, context)
            events = self._events(request, query, parameters, context)
            headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
            return StreamingResponse(events, media_type=EVENTS, headers=headers), None
        result = await self._execute(parameters, context, _METHODS[request.method])
        return _reply_to(result, media), _code(result.errors or ())

    async def _answer_with_files(self, request: Request, media: str) -> tuple[Response, str]:
        uploads.check(request)
        if media == EVENTS:
            raise Refused(406, "The answer to a multipart request is no event stream.")
        context = await self._context_factory(request, None)
        if context.viewer is None:
            raise ApiError("UNAUTHENTICATED", "Sign in before you send files.")
        async with self._uploads.read(request) as parameters:
            result = await self._execute(parameters, context, _METHODS["POST"])
            return _reply_to(result, media), _code(result.errors or ())

    async def _execute(
        self, parameters: Parameters, context: ApiContext, allowed: set[OperationType]
    ) -> ExecutionResult:
        try:
            query = await self._documents.text(parameters, context)
        except ApiError as error:
            # As one that the schema refuses: with 200 for a client that asked for plain JSON.
            return ExecutionResult(data=None, errors=[error])
        if parameters.document_id is not None:
            traces.tell({"graphql.document.id": parameters.document_id})
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                return await self._schema.execute(
                    query,
                    parameters.variables,
                    context_value=context,
                    operation_name=parameters.operation_name,
                    allowed_operation_types=allowed,
                    operation_extensions=parameters.extensions,
                )
        except TimeoutError:
            message = f"The operation took longer than {DEADLINE_SECONDS:.0f} seconds and was given up."
            raise ApiError("UNAVAILABLE", message) from None
        except InvalidOperationTypeError as error:
            if error.operation_type is OperationType.SUBSCRIPTION:
                raise Refused(400, "Subscriptions need `Accept: text/event-stream`, or a WebSocket.") from None
            raise Refused(405, "GET is for queries only.", Allow="POST") from None
        except (CannotGetOperationTypeError, MissingQueryError):
            raise Refused(400, "The document holds no operation of this name.") from None

    async def _events(
        self, request: Request, query: str, parameters: Parameters, context: ApiContext
    ) -> AsyncIterator[bytes]:
        """The graphql-sse protocol in distinct connections mode; ends with the token, or with the server."""
        if not self._open.begin(context.viewer):
            refused = {"errors": [ApiError("RATE_LIMITED", TOO_MANY).formatted]}
            yield b"event: next\ndata: %b\n\nevent: complete\ndata: \n\n" % encode(refused)
            return
        try:
            async with aclosing(self._carry_out(request, query, parameters, context)) as events:
                async for event in events:
                    yield event
        finally:
            self._open.end(context.viewer)

    async def _carry_out(
        self, request: Request, query: str, parameters: Parameters, context: ApiContext
    ) -> AsyncGenerator[bytes, None]:
        pushed = context.carrier = _Pushed()
        stream = await self._schema.stream(
            query,
            parameters.variables,
            context_value=context,
            operation_name=parameters.operation_name,
            operation_extensions=parameters.extensions,
            allowed_operation_types={*_METHODS[request.method], OperationType.SUBSCRIPTION},
        )
        listener = _Listener(request)
        endings = [listener.ended, asyncio.ensure_future(self._stopping.wait())]
        self._authorities.watch(listener, context.viewer)
        try:
            async with aclosing(stream) as results, aclosing(_until(endings, results, pushed)) as events:
                async for event in events:
                    yield event
            if not pushed.overrun:
                yield b"event: complete\ndata: \n\n"
        finally:
            self._authorities.forget(listener)
            pushed.close()
            await _cancel(*endings)


class _Listener:
    """An event stream, as Authorities know it."""

    def __init__(self, request: Request) -> None:
        self.connection = request
        self.parameters = None
        self.ended: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def authority_ended(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


class _Pushed:
    """What is pushed to an event stream and waits to be sent: a Carrier. Whoever lets it run over is let go: the stream
    ends without `complete`, and the client connects again."""

    def __init__(self) -> None:
        self._texts: deque[bytes] = deque()
        self._some = asyncio.Event()
        self._release: Callable[[], None] | None = None
        self.overrun = False
        self.ended: asyncio.Future[None] | None = None

    def push(self, body: bytes) -> None:
        self.overrun = self.overrun or len(self._texts) >= OUTBOX
        if not self.overrun:
            self._texts.append(body)
        self._some.set()

    def keep(self, ended: "asyncio.Future[None]", release: Callable[[], None]) -> None:
        self.ended, self._release = ended, release

    def close(self) -> None:
        if self._release is not None:
            self._release()
            self._release = None

    async def wait(self) -> None:
        await self._some.wait()

    def all(self) -> list[bytes]:
        """What waits, which then waits no more."""
        self._some.clear()
        found = list(self._texts)
        self._texts.clear()
        return found


async def _until(
    endings: Sequence[asyncio.Future[Any]], results: AsyncGenerator[Any, None], pushed: _Pushed
) -> AsyncGenerator[bytes, None]:
    """Each result as an event, a comment every 15 seconds without one, until one of the endings comes."""
    following: asyncio.Future[Any] | None = None
    pushing = asyncio.ensure_future(pushed.wait())
    carried_on = False
    try:
        while True:
            following = following or asyncio.ensure_future(anext(results, None))
            done, _ = await asyncio.wait(
                [following, pushing, *endings], timeout=KEEP_ALIVE_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if pushing in done:
                pushing = asyncio.ensure_future(pushed.wait())
                for text in pushed.all():
                    yield b"event: next\ndata: %b\n\n" % text
                if pushed.overrun:
                    return
            elif not done:
                yield b":\n\n"
            elif following not in done:
                return
            elif following.result() is not None:
                yield b"event: next\ndata: %b\n\n" % encode(payload(following.result()))
                following = None
            elif pushed.ended is not None and not carried_on:
                # The operation has been carried out and left what is pushed behind.
                following, carried_on = asyncio.shield(pushed.ended), True
            else:
                return
    finally:
        # A generator that is still running cannot be closed.
        await _cancel(pushing, *([following] if following is not None else []))


def _method(request: Request) -> str:
    return request.method if request.method in _METHODS else "_OTHER"


async def _cancel(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _parameters(request: Request) -> Parameters:
    if request.method == "POST":
        kind, _, options = request.headers.get("content-type", "").lower().partition(";")
        if kind.strip() != JSON or ("charset" in options and "utf-8" not in options):
            raise Refused(415, "The body must be application/json in UTF-8, or multipart/form-data.", Accept=JSON)
        return Parameters.of(body.decode(await body.read(request)))
    given: dict[str, Any] = dict(request.query_params)
    if len(request.url.query) > body.BODY_BYTES:
        raise Refused(414, "The address is too long.")
    for name in ("variables", "extensions"):
        if given.get(name):
            given[name] = body.decode(given[name])
    return Parameters.of(given)


def _negotiate(accept: str | None) -> str:
    """The media type of the answer: the first range of `Accept` that we can serve."""
    if not accept:
        return JSON
    for item in accept.lower().split(","):
        kind, *options = (part.strip() for part in item.split(";"))
        refused = any(option.replace(" ", "") in ("q=0", "q=0.0", "q=0.00", "q=0.000") for option in options)
        if kind in _RANGES and not refused:
            return _RANGES[kind]
    raise Refused(406, f"The answer comes as {RESPONSE_JSON}, {JSON} or {EVENTS}.")


def payload(result: Any) -> dict[str, Any]:
    """The response map of a result. A request that was refused has no `data` (GraphQL specification 7.1)."""
    members: dict[str, Any] = {}
    if result.errors:
        members["errors"] = [error.formatted for error in result.errors]
    if not _was_refused(result):
        members["data"] = result.data
    if result.extensions:
        members["extensions"] = result.extensions
    return members


def _was_refused(result: Any) -> bool:
    return result.data is None and bool(result.errors) and all(error.path is None for error in result.errors)


def _status(errors: Sequence[GraphQLError]) -> int:
    return _STATUS.get((errors[0].extensions or {}).get("code", ""), 400)


def _code(errors: Sequence[GraphQLError]) -> str:
    """What a request is counted as."""
    return str((errors[0].extensions or {}).get("code", "BAD_REQUEST")) if errors else "OK"


def _reply_to(result: ExecutionResult, media: str) -> Response:
    # A client that asked for plain JSON gets 200 for every well-formed request (specification 6.4.1).
    refused = media == RESPONSE_JSON and _was_refused(result)
    wait = (result.errors[0].extensions or {}).get("retryAfter") if _was_refused(result) and result.errors else None
    headers = {} if wait is None else {"Retry-After": str(wait)}
    return _reply(_status(result.errors or ()) if refused else 200, payload(result), media, headers)


def _reply(status: int, members: dict[str, Any], media: str, headers: dict[str, str]) -> Response:
    kind = JSON if media == EVENTS else media
    headers = {"Content-Type": f"{kind}; charset=utf-8", "Cache-Control": "no-store", **headers}
    return Response(encode(members), status, headers=headers)


def encode(members: dict[str, Any]) -> bytes:
    """A response as JSON. What the database has printed already goes in as it is."""
    try:
        return orjson.dumps(members)
    except TypeError:
        # Half a surrogate pair, which a message may quote from a request, or a number beyond 64 bits.
        text = json.dumps(members, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_printed)
        return text.encode("utf-8", "replace")


def _printed(value: Any) -> Any:
    return orjson.loads(value.contents)

"""Reading what a client sent: bounded in size and depth, text that a database can hold, or a refusal."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from starlette.requests import Request

from ispgraph.schema.errors import ApiError
from ispgraph.schema.limits import has_bad_text

BODY_BYTES = 256 * 1024
JSON_DEPTH = 32
_LONGEST_ID = 200


class Refused(Exception):
    """A request that is answered without GraphQL: an HTTP status, an error, and headers that explain it."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.error = ApiError("BAD_REQUEST", message)
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of one GraphQL request (GraphQL over HTTP, section 5.1). With a `document_id` the query may be
    empty."""

    query: str
    operation_name: str | None
    variables: dict[str, Any] | None
    extensions: dict[str, Any] | None
    document_id: str | None = None

    @classmethod
    def of(cls, given: object) -> "Parameters":
        """Check the types of the parameters. Raises Refused 400."""
        if not isinstance(given, dict):
            raise Refused(400, "The request must be one JSON object; batches are not accepted.")
        extensions = _object(given, "extensions")
        document_id = _document_id(given, extensions or {})
        query = given.get("query") or ("" if document_id is not None else None)
        if not isinstance(query, str) or (not query and document_id is None):
            raise Refused(400, "`query` must be a non-empty string.")
        operation_name = given.get("operationName")
        if not isinstance(operation_name, str | None):
            raise Refused(400, "`operationName` must be a string or null.")
        return cls(query, operation_name, _object(given, "variables"), extensions, document_id)


def _document_id(given: Mapping[str, Any], extensions: Mapping[str, Any]) -> str | None:
    """By what name the document goes, if it has one: `documentId`, or Apollo's `extensions.persistedQuery`."""
    name = given.get("documentId")
    persisted = extensions.get("persistedQuery")
    if name is None and persisted is not None:
        if not isinstance(persisted, dict) or persisted.get("version") != 1:
            raise Refused(400, "`extensions.persistedQuery` must be of version 1.")
        name = persisted.get("sha256Hash")
    elif name is None:
        return None
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_ID:
        raise Refused(400, "The id of a document is a text of at most 200 characters.")
    return name.removeprefix("sha256:")


def _object(given: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    value = given.get(name)
    if not isinstance(value, dict | None):
        raise Refused(400, f"`{name}` must be an object or null.")
    return value


async def read(request: Request) -> bytes:
    """The body. Raises Refused 413 as soon as more than 256 kB have come, or are announced."""
    announced = request.headers.get("content-length", "0")
    if announced.isascii() and announced.isdigit() and len(announced) < 20 and int(announced) > BODY_BYTES:
        _too_large()
    body = await up_to(request, BODY_BYTES)
    if body is None:
        _too_large()
    return body


async def up_to(request: Request, most: int) -> bytes | None:
    """The body; None as soon as more than so many bytes have come. Raises ClientDisconnect when it is broken off."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            return None
    return bytes(body)


def _too_large() -> NoReturn:
    # The rest of the body is not read, so the connection cannot carry another request.
    raise Refused(413, "The body may have at most 256 kB.", Connection="close")


def decode(data: bytes | str) -> Any:
    """The JSON value of a text.

    Raises Refused 400 for what is not JSON, for NaN and Infinity, for more than 32 levels, and for text that holds NUL
    or half of a surrogate pair (no database column can hold it).
    """
    try:
        text = data.decode() if isinstance(data, bytes) else data
        value = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        # ValueError also stands for bad UTF-8 and for integers of thousands of digits.
        raise Refused(400, "The request is not JSON (UTF-8, at most 32 levels deep).") from None
    # Both counts are upper bounds, and nearly every request is cleared by them without looking at its parts.
    if "\\u" in text or text.count("[") + text.count("{") > JSON_DEPTH:
        _look_at(value)
    return value


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(text)
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _look_at(value: Any) -> None:
    pending = [(value, 1, "the body")]
    while pending:
        item, depth, place = pending.pop()
        if depth > JSON_DEPTH and isinstance(item, dict | list):
            raise Refused(400, "The JSON is nested more than 32 levels deep.")
        if isinstance(item, str) and has_bad_text(item):
            raise Refused(400, f"Text may not hold NUL or unpaired surrogates, as in {place}.")
        if isinstance(item, dict):
            pending.extend((key, depth + 1, place) for key in item)
            pending.extend((part, depth + 1, key) for key, part in item.items())
        elif isinstance(item, list):
            pending.extend((part, depth + 1, place) for part in item)

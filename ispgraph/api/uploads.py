"""Files that come with a request: the GraphQL multipart request specification.

Bounded in all: the body, the number of files, the time it takes, how many come at once. Files wait on a disk, not in
memory. A page elsewhere could send such a form without asking first, so a header is wanted that it has to ask for.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from ispgraph.api import body
from ispgraph.api.body import Parameters, Refused
from ispgraph.domain.uploads import Received

MULTIPART = "multipart/form-data"
LARGEST_BODY = 24 * 1024 * 1024
MOST_FILES = 5
SECONDS = 120.0
AT_ONCE = 8
"""So many such requests a process reads at the same time; others wait."""

# Any of them makes a browser ask whether the page may.
_ASKED_FOR = ("authorization", "graphql-require-preflight", "apollo-require-preflight", "x-apollo-operation-name")
_INDEX = re.compile(r"0|[1-9][0-9]{0,3}")
_MOST_PLACES = 20


def is_multipart(request: Request) -> bool:
    """Whether a request is such a form."""
    kind = request.headers.get("content-type", "").partition(";")[0]
    return request.method == "POST" and kind.strip().lower() == MULTIPART


def check(request: Request) -> None:
    """Before anything of it is read. Raises Refused."""
    if not any(request.headers.get(name) for name in _ASKED_FOR):
        raise Refused(415, "A multipart request needs the header GraphQL-Require-Preflight, with any value.")
    announced = request.headers.get("content-length", "0")
    if announced.isascii() and announced.isdigit() and len(announced) < 20 and int(announced) > LARGEST_BODY:
        raise _too_large()


class Uploads:
    """Reads such requests, some at a time."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_ONCE)

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[Parameters]:
        """The parameters, with the files among the variables until the end of it. Raises Refused."""
        async with self._turns:
            form = await _form(request)
        try:
            yield _parameters(form)
        finally:
            await form.close()


async def _form(request: Request) -> FormData:
    parser = MultiPartParser(
        request.headers, _bounded(request), max_files=MOST_FILES, max_fields=2, max_part_size=body.BODY_BYTES
    )
    try:
        async with asyncio.timeout(SECONDS):
            return await parser.parse()
    except _TooLarge as error:
        raise _too_large() from error
    except MultiPartException as error:
        raise Refused(400, f"The form cannot be read: {error.message}", Connection="close") from error
    except TimeoutError as error:
        message = f"The request did not come within {SECONDS:.0f} seconds."
        raise Refused(408, message, Connection="close") from error


class _TooLarge(MultiPartException):
    """Raised as what has the parser let go of its files."""


async def _bounded(request: Request) -> AsyncGenerator[bytes, None]:
    come = 0
    try:
        async for chunk in request.stream():
            come += len(chunk)
            if come > LARGEST_BODY:
                raise _TooLarge("")
            yield chunk
    except ClientDisconnect as error:
        raise MultiPartException("it was broken off.") from error


def _too_large() -> Refused:
    message = f"A request with files may have at most {LARGEST_BODY // 1024 // 1024} MB."
    return Refused(413, message, Connection="close")


def _parameters(form: FormData) -> Parameters:
    operations = body.decode(_field(form, "operations"))
    if isinstance(operations, list):
        raise Refused(400, "The request must be one JSON object; batches are not accepted.")
    places = body.decode(_field(form, "map"))
    if not isinstance(operations, dict) or not isinstance(places, dict):
        raise Refused(400, "`operations` and `map` must be JSON objects.")
    files = _files(form)
    if set(files) != set(places):
        raise Refused(400, "`map` must name every file of the form, and no other.")
    taken = 0
    for name, paths in places.items():
        if not isinstance(paths, list) or not paths or not all(isinstance(path, str) for path in paths):
            raise Refused(400, "`map` must hold a list of paths for each file, such as variables.file.")
        for path in paths:
            taken += 1
            if taken > _MOST_PLACES:
                raise Refused(400, f"Files may stand in at most {_MOST_PLACES} places.")
            _put(operations, path, files[name])
    return Parameters.of(operations)


def _field(form: FormData, name: str) -> str:
    given = form.getlist(name)
    if len(given) != 1 or not isinstance(given[0], str):
        raise Refused(400, f"The form must have one field `{name}`.")
    return given[0]


def _files(form: FormData) -> Mapping[str, Received]:
    found: dict[str, Received] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name in found:
                raise Refused(400, "Two files of the form have one name.")
            found[name] = Received(value.file)
        elif name not in ("operations", "map"):
            raise Refused(400, "The form has fields besides `operations` and `map` that are no files.")
    return found


def _put(operations: dict[str, Any], path: str, file: Received) -> None:
    """Put a file in the place of the null at a path that begins with `variables`. Raises Refused."""
    first, *steps = path.split(".")
    holder: Any = operations
    key: Any = first
    for step in steps if first == "variables" else ():
        holder = _below(holder, key)
        key = int(step) if isinstance(holder, list) and _INDEX.fullmatch(step) else step
    if first != "variables" or not steps or not _is_null(holder, key):
        raise Refused(400, "A path in `map` must lead to a null among the variables, such as variables.file.")
    holder[key] = file


def _below(holder: Any, key: Any) -> Any:
    if isinstance(holder, dict):
        return holder.get(key)
    return holder[key] if isinstance(holder, list) and isinstance(key, int) and key < len(holder) else None


def _is_null(holder: Any, key: Any) -> bool:
    if isinstance(holder, dict):
        return key in holder and holder[key] is None
    return isinstance(holder, list) and isinstance(key, int) and key < len(holder) and holder[key] is None

"""What the answers of HTTP gateways have in common: their statuses, their texts, and where a value is in them."""

import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

import httpx

from ispgraph.adapters.errors import AdapterError, BadReply, Forged, Refusal, Refused, Unreachable, one_line

KEY = "key"
"""The name of the parameter in the address for reports that shows who knows it."""
_SHORTEST_SECRET = 4


def said(text: str, secrets: Sequence[str]) -> str:
    """What a provider said, fit to show: none of these secrets in it, in whichever way they came."""
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            for spelling in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1]):
                text = text.replace(spelling, "…")
    return one_line(text)


def refusal(status: int, text: str) -> AdapterError:
    """What a status that is no success means. `text` is fit to show."""
    if status in (401, 403):
        return Refused(Refusal.BAD_LOGIN, text)
    if status == 429:
        return Unreachable(f"The provider takes no more messages for now: {text}")
    if status >= 500:
        return BadReply(f"The provider failed ({status}): {text}", outcome_unknown=True)
    if status < 400:
        # A redirection, or what is no answer to a request like ours: it was not taken there.
        return Refused(Refusal.OTHER, f"it answered with the status {status}, which is no acceptance")
    return Refused(Refusal.OTHER, text)


def json_of(answer: httpx.Response) -> Any:
    """An answer as JSON. Raises BadReply: whether the message was taken is not known."""
    try:
        return read_json(answer.content)
    except ValueError as error:
        raise BadReply("The answer is not JSON.", outcome_unknown=True) from error


def read_json(body: bytes) -> Any:
    """JSON. Raises ValueError, also for what is nested too deeply."""
    try:
        return json.loads(body)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def at(value: Any, path: str) -> Any:
    """What is at a path (``messages.0.id``), or None."""
    for step in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and step.isascii() and step.isdigit():
            value = value[int(step)] if int(step) < len(value) else None
        else:
            return None
    return value


def text_at(value: Any, path: str) -> str | None:
    """What is at a path as a text, or None for what is no single value."""
    found = at(value, path)
    if isinstance(found, bool):
        return "true" if found else "false"
    if isinstance(found, str | int | float):
        return str(found) or None
    return None


def whole(value: Any) -> int | None:
    """A number of segments, where it is one."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 5 else None


def with_secret(url: str | None, secret: str) -> str | None:
    """An address for reports, with what shows that whoever calls it got it from us."""
    if not url or not secret:
        return url
    parts = urlsplit(url)
    query = f"{parts.query}&" if parts.query else ""
    return urlunsplit(parts._replace(query=f"{query}{KEY}={quote(secret, safe='')}"))


def require_secret(query: Mapping[str, str], secret: str) -> None:
    """Raises Forged unless a report came to the address with the secret; also where none was agreed on."""
    if not secret or not hmac.compare_digest(query.get(KEY, "").encode(), secret.encode()):
        raise Forged("The report does not show the secret that was agreed on.")


def fields(method: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> Mapping[str, Any]:
    """What a report says, wherever it says it: in a form, in JSON, or in the address. Raises BadReply."""
    if method.upper() == "GET" or not body:
        return query
    try:
        if "json" in headers.get("content-type", ""):
            found = read_json(body)
            if not isinstance(found, dict):
                raise BadReply("The report is not a JSON object.")
            return found
        return dict(query) | dict(form(body))
    except ValueError as error:
        raise BadReply("The report can not be read.") from error


def form(body: bytes) -> list[tuple[str, str]]:
    """The pairs of a form, in their order. Raises ValueError."""
    return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=100)

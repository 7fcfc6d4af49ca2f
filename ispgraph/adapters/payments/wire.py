"""Requests to providers over HTTP, and what can come of them.

How long is waited for each step is for the client to say; no conversation takes more than 30 seconds. Redirects are not
followed. What a provider says in an error is told on one line, without the secrets of the account.
"""

import asyncio
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

import httpx

from ispgraph.adapters.errors import AdapterError, BadReply, Refusal, Refused, TimedOut, Unreachable, one_line

# It writes down every address that is called, and SSLCommerz has its password there.
logging.getLogger("httpx").setLevel(logging.WARNING)

_SECONDS = 30.0
_LARGEST = 2**20


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    body: bytes

    def json(self, *, outcome_unknown: bool = False) -> dict[str, Any]:
        """The object that the body is. Raises BadReply if it is none."""
        return json_object(self.body, outcome_unknown=outcome_unknown)


class Wire:
    """The way to one provider: `base` is its address, `label` its name, and `hidden` are never shown."""

    def __init__(self, client: httpx.AsyncClient, base: str, label: str, hidden: Iterable[str]) -> None:
        self._client = client
        self._base = base.rstrip("/")
        self._label = label
        self._hidden = sorted({text for text in hidden if text}, key=len, reverse=True)

    def clean(self, said: object) -> str:
        """What the provider said, fit to show."""
        text = said if isinstance(said, str) else ""
        for secret in self._hidden:
            text = text.replace(secret, "…")
        return one_line(text)

    def refused(self, kind: Refusal, said: object) -> Refused:
        """The provider's no, in its own words."""
        return Refused(kind, self.clean(said) or f"{self._label} did not say why")

    async def ask(
        self,
        method: str,
        path: str,
        *,
        effect: bool,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        send: Mapping[str, Any] | None = None,
        answers: tuple[int, ...] = (),
    ) -> Reply:
        """One request. `effect` is whether it may have done something although no good answer came.

        Raises Unreachable, TimedOut or BadReply; a status from 400 to 499, or one of `answers`, is an answer.
        """
        try:
            async with asyncio.timeout(_SECONDS):
                reply = await self._exchange(method, path, headers, query, form, send, effect)
        except AdapterError as error:
            # A client may know our errors, but not which requests only ask.
            error.outcome_unknown = error.outcome_unknown and effect
            raise
        # An exception of the client knows the request, with its credentials: none of them goes on.
        except (httpx.ConnectTimeout, httpx.PoolTimeout):
            raise TimedOut(f"{self._label} was not reached in time") from None
        except (httpx.TimeoutException, TimeoutError):
            raise TimedOut(f"{self._label} did not answer in time", outcome_unknown=effect) from None
        except (httpx.ConnectError, httpx.ProxyError):
            raise Unreachable(f"{self._label} can not be reached") from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError):
            raise Unreachable(f"The address of {self._label} is not one that can be called") from None
        except (httpx.HTTPError, httpx.StreamError):
            raise BadReply(f"The connection to {self._label} was lost", outcome_unknown=effect) from None
        if reply.status == httpx.codes.TOO_MANY_REQUESTS:
            raise Unreachable(f"{self._label} is asked too often")
        if reply.status not in answers and (reply.status >= 500 or 300 <= reply.status < 400):
            raise BadReply(f"{self._label} answered with status {reply.status}", outcome_unknown=effect)
        return reply

    async def _exchange(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None,
        query: Mapping[str, str] | None,
        form: Mapping[str, str] | None,
        send: Mapping[str, Any] | None,
        effect: bool,
    ) -> Reply:
        body = bytearray()
        async with self._client.stream(
            method, self._base + path, headers=headers, params=query, data=form, json=send, follow_redirects=False
        ) as response:
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > _LARGEST:
                    raise BadReply(f"{self._label} answered at too great length", outcome_unknown=effect)
            return Reply(response.status_code, bytes(body))


def json_object(body: bytes, *, outcome_unknown: bool = False) -> dict[str, Any]:
    """Numbers with a point are Decimals. Raises BadReply if the text is no JSON object."""
    try:
        said = json.loads(body, parse_float=Decimal, parse_constant=_not_a_number)
    except (ValueError, RecursionError):
        raise BadReply("The text is not JSON", outcome_unknown=outcome_unknown) from None
    if not isinstance(said, dict):
        raise BadReply("The text is not a JSON object", outcome_unknown=outcome_unknown)
    return said


def _not_a_number(said: str) -> NoReturn:
    raise ValueError(said)


def text(said: object) -> str | None:
    """A word that is there, such as an id, of at most 255 characters that can be shown; anything else is None."""
    return said if isinstance(said, str) and 0 < len(said) <= 255 and said.isprintable() else None


def reason(said: object) -> str | None:
    """A sentence of the provider, on one line; None if there is none."""
    return one_line(said) or None if isinstance(said, str) else None


def address(said: object) -> str | None:
    """Where a browser can be sent; anything else is None."""
    fits = isinstance(said, str) and said.startswith(("https://", "http://")) and len(said) <= 4000
    return str(said) if fits else None


def mapping(said: object) -> Mapping[str, Any]:
    """An object that is there; anything else is empty."""
    return said if isinstance(said, dict) else {}


def objects(said: object) -> list[Mapping[str, Any]]:
    """A list's objects; what is no list is empty."""
    return [one for one in said if isinstance(one, dict)] if isinstance(said, list) else []

"""Calling webhook endpoints, signed by the Standard Webhooks specification."""

import base64
import binascii
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256

import httpx

from ispgraph.adapters import outbound
from ispgraph.adapters.errors import one_line

SECONDS = 15.0
"""How long one call may take, from its name's resolution to the end of the answer."""
ANSWER_BYTES = 1024
_LONGEST_WAIT = timedelta(hours=24)
_GONE = 410
_PREFIX = "whsec_"


@dataclass(frozen=True, slots=True)
class Reply:
    """What an endpoint answered. `wait` is how long it asked to be left alone."""

    status: int
    body: str
    wait: timedelta | None

    @property
    def taken(self) -> bool:
        """Whether it has taken the event. A redirection is none of our business, and no success."""
        return 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """Whether it wants to hear nothing more, ever."""
        return self.status == _GONE


def client(*, private: bool, seconds: float = SECONDS) -> outbound.Client:
    """A client for all calls, to be closed with `aclose`."""
    return outbound.Client(private=private, seconds=seconds, kept=ANSWER_BYTES)


def signature(secret: str, message_id: str, at: int, body: bytes) -> str:
    """The `v1` signature with a secret (`whsec_` and base64)."""
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("a secret is whsec_ and base64") from error
    signed = hmac.digest(key, b"%s.%d.%s" % (message_id.encode(), at, body), sha256)
    return f"v1,{base64.b64encode(signed).decode()}"


async def call(
    client: httpx.AsyncClient, url: str, *, message_id: str, at: int, secrets: Sequence[str], body: str
) -> Reply:
    """Send one event, signed with each of the secrets as of `at` (seconds since 1970).

    Raises AdapterError, whatever goes wrong; any status is an answer.
    """
    content = body.encode()
    headers = {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(signature(secret, message_id, at, content) for secret in secrets),
    }
    answer = await client.post(url, content=content, headers=headers)
    shown = one_line(answer.content.decode("utf-8", "replace"), ANSWER_BYTES)
    return Reply(answer.status_code, shown, _wait(answer.headers.get("retry-after")))


def _wait(header: str | None) -> timedelta | None:
    """What `Retry-After` says in seconds; a date is not looked at, since clocks differ."""
    if header is None or not header.isascii() or not header.isdigit() or len(header) > 9:
        return None
    return min(timedelta(seconds=int(header)), _LONGEST_WAIT)

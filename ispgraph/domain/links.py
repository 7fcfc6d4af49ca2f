"""Links that let in whoever has them, for a while: the address of what is shown, when that ends, and a signature.

Pure but for the clock. Nothing is kept of a link: it cannot be taken back, so what it shows should be over soon.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import parse_qsl, urlencode

from ispgraph import clock

_PURPOSE = b"ispgraph signed links 1"
_EXPIRES, _SIGNATURE = "expires", "&signature="
_LONGEST = 2000


class BadLink(Exception):
    """Not a link of ours, or altered."""


class LinkExpired(Exception):
    """A link of ours whose time is over."""


def signed(secret: bytes, path: str, given: Mapping[str, str], until: datetime) -> str:
    """The path with a query that `verified` believes up to an instant, in whole seconds. `secret` is the token key."""
    query = urlencode({**given, _EXPIRES: str(int(until.timestamp()))})
    return f"{path}?{query}{_SIGNATURE}{_signature(secret, path, query)}"


def verified(secrets: Sequence[bytes], path: str, query: str) -> Mapping[str, str]:
    """What was given to `signed` with any of the secrets, from a path and a query as they came in.

    Raises BadLink, LinkExpired.
    """
    told, _, signature = query.rpartition(_SIGNATURE)
    if len(path) + len(query) > _LONGEST or not (path + query).isascii():
        raise BadLink
    if not any(hmac.compare_digest(_signature(secret, path, told), signature) for secret in secrets):
        raise BadLink
    given = dict(parse_qsl(told, strict_parsing=True, keep_blank_values=True))
    if int(given.pop(_EXPIRES)) <= clock.now().timestamp():
        raise LinkExpired
    return given


def _signature(secret: bytes, path: str, query: str) -> str:
    # A key of its own: what is signed here can be nothing else, whatever else the secret is used for.
    key = hmac.digest(secret, _PURPOSE, hashlib.sha256)
    digest = hmac.digest(key, f"{path}?{query}".encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")

"""The codes by which a forgotten password is set anew.

A code is computed with the network key from the request it belongs to, so that it stands nowhere: in the database is
its digest, and the message that brings it is filled in while it is sent. Pure.
"""

import base64
import binascii
import hashlib
from uuid import UUID

from ispgraph.domain import secrets

EVENT = "operator.password_reset"
INVITATION, FORGOTTEN = "customer.invited", "customer.password_reset"
EVENTS = frozenset({EVENT, INVITATION, FORGOTTEN})
"""The messages that bring a code."""
PAGE = "/password"
"""The page that takes a code; the code may follow a slash."""
_ONCE = "password-reset:"


def once(reset_id: UUID) -> str:
    """What the message of a request is about."""
    return f"{_ONCE}{reset_id.hex}"


def about(name: str) -> UUID:
    """The request that a message is about, by its `once`."""
    return UUID(hex=name.removeprefix(_ONCE))


def of_message(key: bytes, tenant_id: UUID, name: str, known: bytes | None) -> str:
    """The code that belongs into a message about `name`: the one that has this digest, should the key have changed."""
    codes = _codes(key, tenant_id, about(name))
    return next((each for each in codes if digest(each) == known), codes[0])


def code(key: bytes, tenant_id: UUID, reset_id: UUID) -> str:
    """The code of a request: whose tenant's, which, and 256 bits that nobody knows without the key."""
    return _codes(key, tenant_id, reset_id)[0]


def meant(given: str) -> tuple[UUID, UUID] | None:
    """The tenant and the request that a code names; None for what is no code."""
    try:
        raw = base64.b64decode(given.strip() + "==", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return (UUID(bytes=raw[:16]), UUID(bytes=raw[16:32])) if len(raw) == 64 else None


def digest(given: str) -> bytes:
    """What is kept of a code."""
    return hashlib.sha256(given.strip().encode("utf-8", "surrogatepass")).digest()


def _codes(key: bytes, tenant_id: UUID, reset_id: UUID) -> list[str]:
    proofs = map(bytes.fromhex, secrets.digests(key, f"{_ONCE}{tenant_id}:{reset_id}"))
    named = tenant_id.bytes + reset_id.bytes
    return [base64.urlsafe_b64encode(named + proof).decode().rstrip("=") for proof in proofs]

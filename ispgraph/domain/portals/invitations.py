"""Invitations to look after a portal: tokens that stand in an e-mail alone. Pure.

A token is made from a key and the number of the invitation, when the message is sent. What is kept is the number, and a
hash that finds it; the message that is kept has asterisks in its place.
"""

import base64
import hashlib
import hmac
from uuid import UUID

from ispgraph.domain import secrets

INVITED = "portal.invited"
_PURPOSE = b"ispgraph portal invitations 1"


def once(admin_id: UUID, number: int) -> str:
    """The name of the message that carries an invitation."""
    return f"{INVITED}:{admin_id.hex}:{number}"


def token(key: bytes, admin_id: UUID, number: int) -> str:
    """What stands in the e-mail of an invitation. `key` is the network key."""
    return _tokens(key, admin_id, number)[0]


def about(once_of_message: str) -> tuple[UUID, int]:
    """Whose invitation a message is about, by its `once`, and which."""
    _, admin, number = once_of_message.split(":")
    return UUID(hex=admin), int(number)


def in_message(key: bytes, once_of_message: str, known: bytes | None) -> str:
    """The token of the invitation that a message is about: the one that has this hash, should the key have changed."""
    tokens = _tokens(key, *about(once_of_message))
    return next((each for each in tokens if hashed(each) == known), tokens[0])


def _tokens(key: bytes, admin_id: UUID, number: int) -> list[str]:
    found = []
    for each in secrets.keys(key):
        own = hmac.digest(each, _PURPOSE, hashlib.sha256)
        made = hmac.digest(own, f"{admin_id.hex}:{number}".encode(), hashlib.sha256)
        found.append(base64.urlsafe_b64encode(made).decode().rstrip("="))
    return found


def hashed(given: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(given.encode("utf-8", "surrogatepass")).digest()


def address(origin: str, portal_url: str, subdomain: str) -> str:
    """Where an invitation leads, but for its token. A front end gets it behind a #, so that no server logs it."""
    if portal_url:
        return f"{portal_url.replace('{subdomain}', subdomain)}/invitation#"
    return f"{origin}/portals/{subdomain}/invitation/"

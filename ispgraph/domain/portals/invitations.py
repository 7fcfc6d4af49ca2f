"""Invitations to look after a portal: tokens that stand in an e-mail alone. Pure.

A token is made from a key and the number of the invitation, when the message is sent. What is kept is the number, and a
hash that finds it; the message that is kept has asterisks in its place.
"""

import base64
import hashlib
import hmac
from uuid import UUID

INVITED = "portal.invited"
_PURPOSE = b"ispgraph portal invitations 1"


def once(admin_id: UUID, number: int) -> str:
    """The name of the message that carries an invitation."""
    return f"{INVITED}:{admin_id.hex}:{number}"


def token(key: bytes, admin_id: UUID, number: int) -> str:
    """What stands in the e-mail of an invitation. `key` is the network key."""
    own = hmac.digest(key, _PURPOSE, hashlib.sha256)
    made = hmac.digest(own, f"{admin_id.hex}:{number}".encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(made).decode().rstrip("=")


def in_message(key: bytes, once_of_message: str) -> str:
    """The token of the invitation that a message, by its `once`, is about."""
    _, admin, number = once_of_message.split(":")
    return token(key, UUID(hex=admin), int(number))


def hashed(given: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(given.encode("utf-8", "surrogatepass")).digest()


def address(origin: str, portal_url: str, subdomain: str) -> str:
    """Where an invitation leads, but for its token. A front end gets it behind a #, so that no server logs it."""
    if portal_url:
        return f"{portal_url.replace('{subdomain}', subdomain)}/invitation#"
    return f"{origin}/portals/{subdomain}/invitation/"

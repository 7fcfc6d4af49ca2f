"""Access tokens: JSON Web Tokens (RFC 7519) signed with Ed25519 (RFC 8037), in the profile of RFC 9068.

Algorithm, issuer, audience, type and key id are fixed and checked. A token names a sign-in, which is asked on every
request, so that ending the sign-in ends its tokens.
"""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from jwt.types import Options

from ispgraph import clock

_ALGORITHM = "EdDSA"
_ISSUER = "ispgraph"
_AUDIENCE = "ispgraph-api"
ACCESS = "at+jwt"
CHALLENGE = "challenge+jwt"
"""Of what only says that a password was right: the code of a second factor is asked for it, and nothing else."""
_LONGEST = 2048


class BadToken(Exception):
    """Not a token of ours, altered, or past its time."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says. `version` is the token_version of whoever it is at signing in."""

    tenant_id: UUID
    operator_id: UUID
    """Of a customer's token the customer."""
    session_id: UUID
    version: int
    expires_at: datetime
    of_customer: bool = False
    """Whether a customer has signed in, or the admin of its portal."""


@dataclass(frozen=True, slots=True)
class _Keys:
    private: Ed25519PrivateKey
    public: Ed25519PublicKey
    name: str


def issue(seed: bytes, claims: Claims, kind: str = ACCESS) -> str:
    """Sign a token with the key of a 32-byte seed. `expires_at` counts in whole seconds."""
    keys = _keys(seed)
    body: dict[str, object] = {
        "iss": _ISSUER,
        "aud": _AUDIENCE,
        "sub": claims.operator_id.hex,
        "ten": claims.tenant_id.hex,
        "sid": claims.session_id.hex,
        "ver": claims.version,
        "iat": int(clock.now().timestamp()),
        "exp": int(claims.expires_at.timestamp()),
    }
    if claims.of_customer:
        body["cus"] = True
    return jwt.encode(body, keys.private, algorithm=_ALGORITHM, headers={"typ": kind, "kid": keys.name})


def read(seeds: Sequence[bytes], token: str, kind: str = ACCESS) -> Claims:
    """Verify a token of a kind that one of the keys has signed. Raises BadToken."""
    claims = _signed(tuple(seeds), token, kind)
    if claims.expires_at <= clock.now():
        raise BadToken("expired")
    return claims


@functools.lru_cache(maxsize=10_000)
def _signed(seeds: tuple[bytes, ...], token: str, kind: str) -> Claims:
    # Kept, because a connection presents its token every second, and a signature costs as much as sending ten messages.
    # Times are judged here and not by the library, which knows only the machine's clock.
    options: Options = {
        "require": ["iss", "aud", "sub", "ten", "sid", "ver", "iat", "exp"],
        "verify_exp": False,
        "verify_iat": False,
        "verify_nbf": False,
    }
    try:
        if len(token) > _LONGEST:
            raise BadToken("too long")
        keys = _named(seeds, jwt.get_unverified_header(token).get("kid"))
        found = jwt.decode_complete(
            token, keys.public, algorithms=[_ALGORITHM], audience=_AUDIENCE, issuer=_ISSUER, options=options
        )
        head, body = found["header"], found["payload"]
        claims = Claims(
            tenant_id=UUID(hex=body["ten"]),
            operator_id=UUID(hex=body["sub"]),
            session_id=UUID(hex=body["sid"]),
            version=int(body["ver"]),
            expires_at=datetime.fromtimestamp(body["exp"], UTC),
            of_customer=body.get("cus") is True,
        )
    except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise BadToken(str(error)) from error
    if (head.get("typ"), head.get("kid")) != (kind, keys.name):
        raise BadToken("of another kind")
    return claims


def _named(seeds: tuple[bytes, ...], name: object) -> _Keys:
    for seed in seeds:
        if (keys := _keys(seed)).name == name:
            return keys
    raise BadToken("signed with another key")


@functools.lru_cache(maxsize=8)
def _keys(seed: bytes) -> _Keys:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public = private.public_key()
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return _Keys(private, public, hashlib.sha256(raw).hexdigest()[:16])

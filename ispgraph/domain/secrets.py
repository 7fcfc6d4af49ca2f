"""Recoverable secrets: network passwords and RADIUS shared secrets, encrypted where they rest.

A blob is ``0x01 || iv (16) || AES-256-CBC ciphertext || HMAC-SHA256 tag (32)``, encrypt-then-MAC (RFC 7366), which
pgcrypto can open inside the RADIUS functions. The tag also covers what the secret belongs to, so a blob copied to
another row does not open there. CHAP and MS-CHAPv2 need the clear password at login: hashing is not possible.

A network key is 32 bytes, or several such keys one behind the other while it is being changed (`network_keys`): the
first one seals, and what any of them sealed is opened.
"""

import hmac
import secrets
from collections.abc import Sequence
from hashlib import sha256
from uuid import UUID

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_VERSION = b"\x01"
_KEY_BYTES = 32
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


class BadSecret(Exception):
    """The blob was altered, belongs to another row, or was sealed with another key."""


def service_password(tenant_id: UUID, service_id: UUID) -> str:
    """What the network password of a service is bound to."""
    return f"service:{tenant_id}:{service_id}"


def draft_password(tenant_id: UUID, draft_id: UUID) -> str:
    """What the network password in a draft is bound to."""
    return f"draft:{tenant_id}:{draft_id}"


def import_password(tenant_id: UUID, row_id: UUID) -> str:
    """What the network password in a row of an import is bound to."""
    return f"import:{tenant_id}:{row_id}"


def import_chunk(tenant_id: UUID, import_id: UUID, number: int) -> str:
    """What a part of a file to be imported is bound to."""
    return f"import-file:{tenant_id}:{import_id}:{number}"


def router_radius(tenant_id: UUID, router_id: UUID) -> str:
    """What the RADIUS secret of a router is bound to."""
    return f"router-radius:{tenant_id}:{router_id}"


def router_api(tenant_id: UUID, router_id: UUID) -> str:
    """What the password of a router's API is bound to."""
    return f"router-api:{tenant_id}:{router_id}"


def router_reading(tenant_id: UUID, job_id: UUID, number: int) -> str:
    """What a part of what a router was read as is bound to."""
    return f"router-reading:{tenant_id}:{job_id}:{number}"


def gateway(tenant_id: UUID, gateway_id: UUID) -> str:
    """What the secrets of a tenant's account with a provider are bound to."""
    return f"gateway:{tenant_id}:{gateway_id}"


def hosting_server(tenant_id: UUID, server_id: UUID) -> str:
    """What the credentials of a hosting server are bound to."""
    return f"hosting-server:{tenant_id}:{server_id}"


def hosting_account(tenant_id: UUID, account_id: UUID) -> str:
    """What the password of a hosting account that is still to be made is bound to."""
    return f"hosting-account:{tenant_id}:{account_id}"


def payment_link(tenant_id: UUID, link_id: UUID) -> str:
    """What the token of a payment link is bound to."""
    return f"payment-link:{tenant_id}:{link_id}"


def voucher_code(tenant_id: UUID, voucher_id: UUID) -> str:
    """What the code of a voucher is bound to."""
    return f"voucher:{tenant_id}:{voucher_id}"


def second_factor(tenant_id: UUID, operator_id: UUID) -> str:
    """What the secret of an operator's one-time passwords is bound to."""
    return f"second-factor:{tenant_id}:{operator_id}"


def recovery_pepper(tenant_id: UUID, operator_id: UUID) -> str:
    """What is bound to an operator with which the recovery codes are digested."""
    return f"recovery-pepper:{tenant_id}:{operator_id}"


def webhook(tenant_id: UUID, endpoint_id: UUID) -> str:
    """What the secret is bound to with which calls of an endpoint are signed."""
    return f"webhook:{tenant_id}:{endpoint_id}"


def seal(key: bytes, plain: str, bound_to: str) -> bytes:
    """Encrypt ``plain`` for one owner."""
    first = keys(key)[0]
    iv = secrets.token_bytes(16)
    padder = padding.PKCS7(128).padder()
    padded = padder.update(plain.encode()) + padder.finalize()
    encryptor = Cipher(algorithms.AES(_derive(first, b"enc")), modes.CBC(iv)).encryptor()
    body = _VERSION + iv + encryptor.update(padded) + encryptor.finalize()
    return body + _tag(first, body, bound_to)


def unseal(key: bytes, blob: bytes, bound_to: str) -> str:
    """The plain text. Raises BadSecret unless every bit is as sealed for this owner."""
    found = sealed_with(key, blob, bound_to)
    if found is None:
        raise BadSecret(bound_to)
    body = blob[:-32]
    decryptor = Cipher(algorithms.AES(_derive(found, b"enc")), modes.CBC(body[1:17])).decryptor()
    unpadder = padding.PKCS7(128).unpadder()
    padded = decryptor.update(body[17:]) + decryptor.finalize()
    return (unpadder.update(padded) + unpadder.finalize()).decode()


def sealed_with(key: bytes, blob: bytes, bound_to: str) -> bytes | None:
    """Which of the keys a blob was sealed with for this owner; None when it was none of them."""
    body, tag = blob[:-32], blob[-32:]
    if body[:1] != _VERSION:
        return None
    return next((each for each in keys(key) if hmac.compare_digest(tag, _tag(each, body, bound_to))), None)


def digest(key: bytes, plain: str) -> str:
    """What tells a text from others without giving it away: whoever lacks the key cannot try guesses."""
    return digests(key, plain)[0]


def digests(key: bytes, plain: str) -> Sequence[str]:
    """The digest of a text, and what it was with each former key."""
    return [hmac.digest(pepper, plain.encode(), sha256).hex() for pepper in peppers(key)]


def peppers(key: bytes) -> Sequence[bytes]:
    """What digests are made with, of each of the keys."""
    return [_derive(each, b"digest") for each in keys(key)]


def keys(key: bytes) -> Sequence[bytes]:
    """The keys of a network key: the one that seals, and those that sealed before it."""
    return [key[start : start + _KEY_BYTES] for start in range(0, len(key), _KEY_BYTES)]


def generate_password(length: int = 10) -> str:
    """A random password without look-alike characters."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _derive(key: bytes, purpose: bytes) -> bytes:
    return hmac.digest(key, purpose, sha256)


def _tag(key: bytes, body: bytes, bound_to: str) -> bytes:
    return hmac.digest(_derive(key, b"mac"), body + bound_to.encode(), sha256)

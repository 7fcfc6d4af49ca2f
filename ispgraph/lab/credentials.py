"""What a CPE proves its password with: PAP, CHAP and MS-CHAPv2 (RFC 2865, 1994, 2759, 2548)."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field

from Crypto.Cipher import DES
from Crypto.Hash import MD4

from ispgraph.lab.packets import (
    CHAP_CHALLENGE,
    CHAP_PASSWORD,
    MS_CHAP2_RESPONSE,
    MS_CHAP2_SUCCESS,
    MS_CHAP_CHALLENGE,
    USER_PASSWORD,
    Attribute,
    Packet,
)

PROTOCOLS = ("pap", "chap", "mschap2")

_MAGIC = b"Magic server to client signing constant"
_MAGIC_MORE = b"Pad to make it do more than one iteration"


@dataclass
class Credential:
    """The proof of one login. ``attributes`` must be made anew for each Request Authenticator."""

    protocol: str
    name: bytes
    password: str = field(repr=False)
    _challenge: bytes = field(default_factory=lambda: secrets.token_bytes(16), repr=False)
    _peer: bytes = field(default_factory=lambda: secrets.token_bytes(16), repr=False)
    _identifier: int = field(default_factory=lambda: secrets.randbelow(255) + 1, repr=False)

    def attributes(self, authenticator: bytes, secret: bytes) -> list[Attribute]:
        """The attributes of an Access-Request with this authenticator."""
        clear = self.password.encode()
        if self.protocol == "pap":
            return [(USER_PASSWORD, hide(clear, authenticator, secret))]
        identifier = bytes((self._identifier,))
        if self.protocol == "chap":
            proof = hashlib.md5(identifier + clear + self._challenge, usedforsecurity=False).digest()
            return [(CHAP_CHALLENGE, self._challenge), (CHAP_PASSWORD, identifier + proof)]
        response = identifier + b"\0" + self._peer + bytes(8) + self._response()
        return [(MS_CHAP_CHALLENGE, self._challenge), (MS_CHAP2_RESPONSE, response)]

    def convinced(self, accept: Packet) -> bool:
        """Has the server proved that it knows the password too? MS-CHAPv2 asks for it; the others cannot."""
        if self.protocol != "mschap2":
            return True
        said = accept.first(MS_CHAP2_SUCCESS) or b""
        hashed = MD4.new(_nt_hash(self.password)).digest()  # noqa: S303
        first = hashlib.sha1(hashed + self._response() + _MAGIC, usedforsecurity=False).digest()
        second = hashlib.sha1(first + self._combined() + _MAGIC_MORE, usedforsecurity=False)
        return hmac.compare_digest(said, bytes((self._identifier,)) + b"S=" + second.hexdigest().upper().encode())

    def _combined(self) -> bytes:
        return hashlib.sha1(self._peer + self._challenge + self.name, usedforsecurity=False).digest()[:8]

    def _response(self) -> bytes:
        key = int.from_bytes(_nt_hash(self.password).ljust(21, b"\0"), "big")
        challenge = self._combined()
        return b"".join(
            DES.new(_with_parity(key >> shift & (1 << 56) - 1), DES.MODE_ECB).encrypt(challenge)  # noqa: S304
            for shift in (112, 56, 0)
        )


def _nt_hash(password: str) -> bytes:
    return MD4.new(password.encode("utf-16-le")).digest()  # noqa: S303


def _with_parity(bits: int) -> bytes:
    """56 bits as eight octets whose lowest bit DES ignores."""
    return bytes((bits >> shift & 0x7F) << 1 for shift in range(49, -1, -7))


def hide(clear: bytes, authenticator: bytes, secret: bytes) -> bytes:
    """User-Password on the wire (RFC 2865 section 5.2)."""
    padded = clear.ljust(max(16, -(-len(clear) // 16) * 16), b"\0")
    hidden, last = b"", authenticator
    for at in range(0, len(padded), 16):
        pad = hashlib.md5(secret + last, usedforsecurity=False).digest()
        last = bytes(a ^ b for a, b in zip(padded[at : at + 16], pad, strict=True))
        hidden += last
    return hidden

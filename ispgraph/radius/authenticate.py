"""The arithmetic of PAP, CHAP, MS-CHAP and MS-CHAPv2, as the server sees it. Pure: bytes in, bytes out.

RFC 2865 (PAP, CHAP), RFC 2433 (MS-CHAP), RFC 2759 (MS-CHAPv2), RFC 3079 (the MPPE keys that follow from them). MD4, DES
and MD5 are weak; they are what PPP speaks, and the transport of RADIUS has to protect them.
"""

import hmac
from dataclasses import dataclass
from hashlib import md5, sha1

from Crypto.Cipher import DES
from Crypto.Hash import MD4

# RFC 2759 section 8.7 and RFC 3079 section 3.4.
_SERVER_SIGNING = b"Magic server to client signing constant"
_PAD_ITERATION = b"Pad to make it do more than one iteration"
_MASTER_KEY = b"This is the MPPE Master Key"
_CLIENT_SEND = b"On the client side, this is the send key; on the server side, it is the receive key."
_CLIENT_RECEIVE = b"On the client side, this is the receive key; on the server side, it is the send key."


class BadCredentials(ValueError):
    """An attribute that carries a credential has an impossible length."""


@dataclass(frozen=True, slots=True)
class MsChap2Success:
    """What an accepted MS-CHAPv2 login is answered with: the proof that the server knows the password, and keys.

    ``response`` is ``S=`` and 40 hexadecimal digits; the keys are 16 octets, from the server's point of view.
    """

    response: bytes
    send_key: bytes
    receive_key: bytes


def reveal_password(hidden: bytes, authenticator: bytes, secret: bytes) -> bytes:
    """The password in User-Password (RFC 2865 section 5.2). Raises BadCredentials."""
    if not hidden or len(hidden) % 16 or len(hidden) > 128:
        raise BadCredentials("User-Password")
    clear, last = bytearray(), authenticator
    for start in range(0, len(hidden), 16):
        block = hidden[start : start + 16]
        clear += _xor(block, md5(secret + last).digest())  # noqa: S324  RFC 2865
        last = block
    return bytes(clear).rstrip(b"\0")


def hide_password(clear: bytes, authenticator: bytes, secret: bytes) -> bytes:
    """The reverse of ``reveal_password``; also how MS-CHAP-MPPE-Keys travels (RFC 2548 section 2.4.1)."""
    padded = clear + bytes(-len(clear) % 16) if clear else bytes(16)
    hidden, last = bytearray(), authenticator
    for start in range(0, len(padded), 16):
        last = _xor(padded[start : start + 16], md5(secret + last).digest())  # noqa: S324  RFC 2865
        hidden += last
    return bytes(hidden)


def pap(password: str, given: bytes) -> bool:
    """Is ``given`` the password?"""
    return hmac.compare_digest(password.encode(), given)


def chap(password: str, response: bytes, challenge: bytes) -> bool:
    """Does CHAP-Password (identifier and 16 octets) answer the challenge (RFC 1994 section 4.1)?"""
    if len(response) != 17:
        raise BadCredentials("CHAP-Password")
    expected = md5(response[:1] + password.encode() + challenge).digest()  # noqa: S324  RFC 1994
    return hmac.compare_digest(expected, response[1:])


def mschap(password: str, response: bytes, challenge: bytes) -> bytes | None:
    """Check MS-CHAP-Response (50 octets) against the challenge (8 octets).

    The answer to a right one is the 24 octets of MS-CHAP-MPPE-Keys, to a wrong one None. The older LAN Manager
    response is not looked at: its hash can be broken in seconds.
    """
    if len(response) != 50 or len(challenge) != 8:
        raise BadCredentials("MS-CHAP-Response")
    hashed = nt_hash(password)
    if not hmac.compare_digest(challenge_response(challenge, hashed), response[26:]):
        return None
    return bytes(8) + MD4.new(hashed).digest()  # noqa: S303  RFC 2548


def mschap2(password: str, response: bytes, challenge: bytes, user_name: bytes) -> MsChap2Success | None:
    """Check MS-CHAP2-Response (50 octets) against the challenge (16 octets) for the name as the peer sent it."""
    if len(response) != 50 or len(challenge) != 16:
        raise BadCredentials("MS-CHAP2-Response")
    peer_challenge, nt_response = response[2:18], response[26:]
    hashed = nt_hash(password)
    combined = challenge_hash(peer_challenge, challenge, user_name)
    if not hmac.compare_digest(challenge_response(combined, hashed), nt_response):
        return None
    hashed_twice = MD4.new(hashed).digest()  # noqa: S303  RFC 2759
    master = sha1(hashed_twice + nt_response + _MASTER_KEY).digest()[:16]  # noqa: S324  RFC 3079
    return MsChap2Success(
        authenticator_response(hashed_twice, nt_response, combined),
        send_key=_session_key(master, _CLIENT_RECEIVE),
        receive_key=_session_key(master, _CLIENT_SEND),
    )


def nt_hash(password: str) -> bytes:
    """NtPasswordHash (RFC 2759 section 8.3)."""
    return MD4.new(password.encode("utf-16-le")).digest()  # noqa: S303  RFC 2759


def challenge_hash(peer_challenge: bytes, challenge: bytes, user_name: bytes) -> bytes:
    """ChallengeHash (RFC 2759 section 8.2)."""
    return sha1(peer_challenge + challenge + user_name).digest()[:8]  # noqa: S324  RFC 2759


def challenge_response(challenge: bytes, hashed: bytes) -> bytes:
    """ChallengeResponse (RFC 2759 section 8.5): the challenge, encrypted with three DES keys cut from the hash."""
    padded = hashed.ljust(21, b"\0")
    return b"".join(
        DES.new(_des_key(padded[start : start + 7]), DES.MODE_ECB).encrypt(challenge)  # noqa: S304  RFC 2759
        for start in (0, 7, 14)
    )


def authenticator_response(hashed_twice: bytes, nt_response: bytes, combined: bytes) -> bytes:
    """GenerateAuthenticatorResponse (RFC 2759 section 8.7)."""
    first = sha1(hashed_twice + nt_response + _SERVER_SIGNING).digest()  # noqa: S324  RFC 2759
    digest = sha1(first + combined + _PAD_ITERATION).hexdigest()  # noqa: S324  RFC 2759
    return b"S=" + digest.upper().encode()


def _session_key(master: bytes, purpose: bytes) -> bytes:
    # GetAsymmetricStartKey (RFC 3079 section 3.4), 128 bits.
    return sha1(master + bytes(40) + purpose + b"\xf2" * 40).digest()[:16]  # noqa: S324


def _des_key(seven: bytes) -> bytes:
    # 56 bits spread over 8 octets; the lowest bit of each is parity, which DES ignores.
    bits = int.from_bytes(seven, "big")
    return bytes(((bits >> shift) & 0x7F) << 1 for shift in range(49, -1, -7))


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))

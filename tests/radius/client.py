"""A RADIUS client that shares no code with the responder: it logs in as a router would and checks the signature."""

import contextlib
import hashlib
import hmac
import secrets
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from Crypto.Cipher import DES
from Crypto.Hash import MD4

ACCEPT, REJECT = 2, 3
MICROSOFT, MIKROTIK = 311, 14988

# (vendor, number): (name, how to read it)
_TEXT: Callable[[bytes], object] = bytes.decode
_NUMBER: Callable[[bytes], object] = lambda value: int.from_bytes(value, "big")  # noqa: E731
_ADDRESS: Callable[[bytes], object] = socket.inet_ntoa
_RAW: Callable[[bytes], object] = bytes
KNOWN = {
    (0, 8): ("Framed-IP-Address", _ADDRESS),
    (0, 9): ("Framed-IP-Netmask", _ADDRESS),
    (0, 18): ("Reply-Message", _TEXT),
    (0, 25): ("Class", _RAW),
    (0, 27): ("Session-Timeout", _NUMBER),
    (0, 33): ("Proxy-State", _RAW),
    (0, 80): ("Message-Authenticator", _RAW),
    (0, 85): ("Acct-Interim-Interval", _NUMBER),
    (0, 88): ("Framed-Pool", _TEXT),
    (MICROSOFT, 2): ("MS-CHAP-Error", _TEXT),
    (MICROSOFT, 7): ("MS-MPPE-Encryption-Policy", _NUMBER),
    (MICROSOFT, 8): ("MS-MPPE-Encryption-Types", _NUMBER),
    (MICROSOFT, 12): ("MS-CHAP-MPPE-Keys", _RAW),
    (MICROSOFT, 16): ("MS-MPPE-Send-Key", _RAW),
    (MICROSOFT, 17): ("MS-MPPE-Recv-Key", _RAW),
    (MICROSOFT, 26): ("MS-CHAP2-Success", _RAW),
    (MIKROTIK, 3): ("Mikrotik-Group", _TEXT),
    (MIKROTIK, 8): ("Mikrotik-Rate-Limit", _TEXT),
    (MIKROTIK, 17): ("Mikrotik-Total-Limit", _NUMBER),
    (MIKROTIK, 18): ("Mikrotik-Total-Limit-Gigawords", _NUMBER),
    (MIKROTIK, 19): ("Mikrotik-Address-List", _TEXT),
}


@dataclass(frozen=True)
class Login:
    """One Access-Request: who, with what, by which method, from which router."""

    user: str | bytes
    password: str = ""
    method: str = "pap"
    nas: str = "127.0.0.2"
    secret: bytes | None = None
    station: str | None = None
    signed: bool = True
    extra: bytes = b""

    @property
    def name(self) -> bytes:
        """The name in octets."""
        return self.user if isinstance(self.user, bytes) else self.user.encode()


@dataclass(frozen=True)
class Answer:
    """A verified reply. ``first`` is the number of its first attribute."""

    code: int
    attributes: dict[str, list[object]]
    first: int


@dataclass
class Request:
    """An encoded request, what it was made with, and what MS-CHAPv2 proves in return."""

    packet: bytes
    secret: bytes
    authenticator: bytes
    expected_success: bytes = b""
    session_keys: tuple[bytes, bytes] = field(default=(b"", b""))


def build(login: Login, secret: bytes) -> Request:
    """Encode a login with fresh challenges."""
    made = Request(b"", secret, secrets.token_bytes(16))
    body = b"".join(
        [
            attribute(1, login.name),
            _credential(login, made),
            attribute(6, struct.pack("!I", 2)) + attribute(7, struct.pack("!I", 1)),
            attribute(31, login.station.encode()) if login.station else b"",
            attribute(32, b"MikroTik"),
            login.extra,
        ]
    )
    if login.signed:
        body += attribute(80, bytes(16))
    head = struct.pack("!BBH", 1, secrets.randbelow(256), 20 + len(body)) + made.authenticator
    if login.signed:
        body = body[:-16] + hmac.digest(secret, head + body, "md5")
    made.packet = head + body
    return made


def exchange(server: tuple[str, int], login: Login, secret: bytes, *, wait: float = 5.0) -> Answer | None:
    """Send a login from the router's own address. None when no answer comes within ``wait`` seconds."""
    request = build(login, secret)
    reply = send(server, request.packet, login.nas, wait=wait)
    return None if reply is None else read(reply, request)


def send(server: tuple[str, int], packet: bytes, source: str, *, wait: float = 5.0) -> bytes | None:
    """One datagram out, one back, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind((source, 0))
        link.connect(server)
        link.settimeout(wait)
        link.send(packet)
        try:
            return link.recv(4096)
        except (TimeoutError, ConnectionRefusedError):
            return None


def send_again(server: tuple[str, int], packet: bytes, source: str) -> tuple[bytes, bytes]:
    """The answers to one datagram and to its repetition; both come from one port, as a repetition must."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind((source, 0))
        link.connect(server)
        link.settimeout(0.3)
        answers: list[bytes] = []
        # A repetition that comes before FreeRADIUS has put the request away is dropped; a router sends it once more.
        for _ in range(20):
            link.send(packet)
            with contextlib.suppress(TimeoutError):
                answers.append(link.recv(4096))
            if len(answers) == 2:
                return answers[0], answers[1]
    raise AssertionError(f"{len(answers)} answers")


def read(reply: bytes, request: Request) -> Answer:
    """Check both signatures of a reply as RouterOS 7.15 does, and decode it."""
    assert reply[1] == request.packet[1], "another identifier"
    length = int.from_bytes(reply[2:4], "big")
    assert length == len(reply)
    expected = hashlib.md5(reply[:4] + request.authenticator + reply[20:] + request.secret).digest()
    assert expected == reply[4:20], "the Response Authenticator is wrong"
    attributes: dict[str, list[object]] = {}
    found = list(_split(reply[20:]))
    for key, value, at in found:
        name, decode = KNOWN.get(key, (str(key), _RAW))
        attributes.setdefault(name, []).append(decode(value))
        if key == (0, 80):
            zeroed = reply[: 20 + at] + bytes(16) + reply[20 + at + 16 :]
            signature = hmac.digest(request.secret, zeroed[:4] + request.authenticator + zeroed[20:], "md5")
            assert signature == value, "the Message-Authenticator is wrong"
    assert len(attributes.get("Message-Authenticator", [])) == 1, "a reply without Message-Authenticator"
    if request.expected_success and reply[0] == ACCEPT:
        [success] = attributes["MS-CHAP2-Success"]
        assert success == b"\x07" + request.expected_success, "the server did not prove that it knows the password"
        keys = tuple(_salted(value, request) for value in _mppe(attributes))
        assert keys == request.session_keys, "the MPPE keys are wrong"
    return Answer(reply[0], attributes, found[0][0][1] if found else 0)


def attribute(number: int, value: bytes) -> bytes:
    """One attribute in octets."""
    return bytes([number, len(value) + 2]) + value


def vendor(vendor_id: int, number: int, value: bytes) -> bytes:
    """One vendor's attribute in octets."""
    return attribute(26, struct.pack("!I", vendor_id) + attribute(number, value))


def _credential(login: Login, made: Request) -> bytes:
    clear = login.password.encode()
    if login.method == "pap":
        return attribute(2, _hide(clear, made))
    if login.method in ("chap", "chap-own-challenge"):
        challenge = made.authenticator if login.method == "chap" else secrets.token_bytes(24)
        response = b"\x05" + hashlib.md5(b"\x05" + clear + challenge).digest()
        return attribute(3, response) + (attribute(60, challenge) if login.method != "chap" else b"")
    hashed = MD4.new(login.password.encode("utf-16-le")).digest()
    if login.method == "mschap":
        challenge = secrets.token_bytes(8)
        response = b"\x07\x01" + bytes(24) + _encrypt(challenge, hashed)
        return vendor(MICROSOFT, 11, challenge) + vendor(MICROSOFT, 1, response)
    if login.method == "mschap2":
        challenge, peer = secrets.token_bytes(16), secrets.token_bytes(16)
        combined = hashlib.sha1(peer + challenge + login.name).digest()[:8]
        response = _encrypt(combined, hashed)
        _expect(made, hashed, response, combined)
        packed = b"\x07\x00" + peer + bytes(8) + response
        return vendor(MICROSOFT, 11, challenge) + vendor(MICROSOFT, 25, packed)
    assert login.method == "none"
    return b""


def _hide(clear: bytes, made: Request) -> bytes:
    padded = clear.ljust(-(-max(len(clear), 1) // 16) * 16, b"\0")
    hidden, last = b"", made.authenticator
    for start in range(0, len(padded), 16):
        pad = hashlib.md5(made.secret + last).digest()
        last = bytes(a ^ b for a, b in zip(padded[start : start + 16], pad, strict=True))
        hidden += last
    return hidden


def _encrypt(challenge: bytes, hashed: bytes) -> bytes:
    bits = "".join(f"{octet:08b}" for octet in hashed.ljust(21, b"\0"))
    out = b""
    for start in (0, 56, 112):
        key = bytes(int(bits[at : at + 7] + "0", 2) for at in range(start, start + 56, 7))
        out += DES.new(key, DES.MODE_ECB).encrypt(challenge)
    return out


def _expect(made: Request, hashed: bytes, response: bytes, combined: bytes) -> None:
    twice = MD4.new(hashed).digest()
    first = hashlib.sha1(twice + response + b"Magic server to client signing constant").digest()
    proof = hashlib.sha1(first + combined + b"Pad to make it do more than one iteration").hexdigest().upper()
    made.expected_success = f"S={proof}".encode()
    master = hashlib.sha1(twice + response + b"This is the MPPE Master Key").digest()[:16]
    magic = "On the {} side, this is the {} key; on the {} side, it is the {} key."
    out = magic.format("client", "receive", "server", "send").encode()
    back = magic.format("client", "send", "server", "receive").encode()
    made.session_keys = (
        hashlib.sha1(master + bytes(40) + out + b"\xf2" * 40).digest()[:16],
        hashlib.sha1(master + bytes(40) + back + b"\xf2" * 40).digest()[:16],
    )


def _mppe(attributes: dict[str, list[object]]) -> list[bytes]:
    values = [attributes["MS-MPPE-Send-Key"][0], attributes["MS-MPPE-Recv-Key"][0]]
    return [value for value in values if isinstance(value, bytes)]


def _salted(value: bytes, request: Request) -> bytes:
    salt, hidden = value[:2], value[2:]
    clear, last = b"", request.authenticator + salt
    for start in range(0, len(hidden), 16):
        block = hidden[start : start + 16]
        clear += bytes(a ^ b for a, b in zip(block, hashlib.md5(request.secret + last).digest(), strict=True))
        last = block
    return clear[1 : 1 + clear[0]]


def _split(body: bytes) -> list[tuple[tuple[int, int], bytes, int]]:
    found, at = [], 0
    while at < len(body):
        number, length = body[at], body[at + 1]
        value = body[at + 2 : at + length]
        if number == 26:
            found.append(((int.from_bytes(value[:4], "big"), value[4]), value[6 : 4 + value[5]], at + 8))
        else:
            found.append(((0, number), value, at + 2))
        at += length
    return found

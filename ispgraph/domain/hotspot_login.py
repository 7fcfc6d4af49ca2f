"""What a MikroTik hotspot's login page does in the browser, done here: no script is needed. Pure.

The router tells a page of its own `link-login-only`, where a name and a password are to be sent, `link-orig`, where the
visitor wanted to go, and with HTTP CHAP `chap-id` and `chap-challenge`. The two are bytes, written as in JavaScript.
"""

import hashlib
import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

_LONGEST = 2_000
_ESCAPE = re.compile(r"\\([0-3][0-7]{2}|[\\'\"])")
# Private use (RFC 1918, RFC 4193), and what providers use behind their own translation (RFC 6598).
_INSIDE = [
    ipaddress.ip_network(network)
    for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
]


@dataclass(frozen=True, slots=True)
class Form:
    """Where to, and what, a browser sends to sign in."""

    action: str
    fields: tuple[tuple[str, str], ...]


def form(username: str, password: str, *, link_login: str, link_orig: str, chap_id: str, chap_challenge: str) -> Form:
    """How one signs in at `link_login`, which `is_login` has to have found good. With a challenge the password stays
    here: what is sent is MD5 of id, password and challenge (RFC 1994 section 4.1) in hexadecimal."""
    told = chap_response(chap_id, chap_challenge, password) if chap_id or chap_challenge else password
    fields = [("username", username), ("password", told)]
    if is_page(link_orig):
        fields.append(("dst", link_orig))
    return Form(link_login, (*fields, ("popup", "false")))


def chap_response(chap_id: str, chap_challenge: str, password: str) -> str:
    """What RouterOS' own page computes as hexMD5(id + password + challenge)."""
    said = unescaped(chap_id) + password.encode() + unescaped(chap_challenge)
    return hashlib.md5(said, usedforsecurity=False).hexdigest()


def unescaped(text: str) -> bytes:
    r"""The bytes of what RouterOS writes into a page: \371 is one of them. What is no byte becomes a question mark."""

    def byte(found: re.Match[str]) -> str:
        told = found[1]
        return chr(int(told, 8)) if len(told) == 3 else told

    return _ESCAPE.sub(byte, text).encode("latin-1", "replace")


def is_login(url: str, hosts: Collection[str]) -> bool:
    """Whether names and passwords may be sent there: to an address of a private network, or one of these hosts. Nobody
    can send visitors elsewhere by a link to our page."""
    host = _host(url)
    if host is None:
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host in {each.lower() for each in hosts}
    return str(address) in hosts or any(address in network for network in _INSIDE if network.version == address.version)


def is_page(url: str) -> bool:
    """Whether this is the address of a page: the router sends its visitor there."""
    return _host(url) is not None


def _host(url: str) -> str | None:
    if not url or len(url) > _LONGEST or not url.isascii() or not url.isprintable() or set(url) & set(" \\\"'<>"):
        return None
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and "@" not in parts.netloc and parts.port != 0
    except ValueError:
        return None
    return parts.hostname if good else None

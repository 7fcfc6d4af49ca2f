"""Addresses outside of the product that operators type in: how they are written, and which of them may be called."""

import ipaddress
import re
from urllib.parse import urlsplit

_LONGEST = 500
_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9A-Fa-f:.]{2,45}")
_EMBEDDING = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::/96"))
_NOT_OURS = "This address may not be called."


def check_url(text: str, *, private: bool) -> None:
    """Raises ValueError, with words for a person, for what is no address of the web that may be called.

    A name is looked up only when it is called, and judged again then.
    """
    if len(text) > _LONGEST or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("Write an address as https://api.provider.example/path.")
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise ValueError("Write an address as https://api.provider.example/path.") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("Write an address as https://api.provider.example/path.")
    if parts.username is not None or parts.fragment:
        raise ValueError("An address holds neither a login nor a fragment (#).")
    check_host(parts.hostname, private=private)


def check_hook(text: str, *, private: bool) -> None:
    """As `check_url`, for an address that is told of events: with TLS, unless our own network may be called."""
    check_url(text, private=private)
    if not private and urlsplit(text).scheme != "https":
        raise ValueError("The address has to begin with https://.")


def check_host(text: str, *, private: bool) -> None:
    """Raises ValueError, with words for a person, for what is no host that may be called."""
    if not _HOST.fullmatch(text):
        raise ValueError("Write the name of a host, such as mail.provider.example, or its IP address.")
    try:
        literal = permitted(text, private=private)
    except ValueError:
        # A name; one that means this machine by agreement needs no look-up.
        literal = private or text.lower().rstrip(".").rpartition(".")[2] not in ("localhost", "local", "internal")
    if not literal:
        raise ValueError(_NOT_OURS)


def permitted(text: str, *, private: bool) -> bool:
    """Whether an IP address may be called at all; `private`: also one of our own network. Raises ValueError."""
    address = _meant(ipaddress.ip_address(text.partition("%")[0]))
    if address.is_loopback:
        return private
    if address.is_multicast or address.is_unspecified or address.is_link_local or address.is_reserved:
        return False
    return private or address.is_global


def _meant(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IPv4 address inside of an IPv6 one, in the ways there are to write one (mapped, 6to4, NAT64, Teredo)."""
    if isinstance(address, ipaddress.IPv4Address) or address.is_loopback or address.is_unspecified:
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if any(address in network for network in _EMBEDDING):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address

"""Single values as people type them: each function gives the one spelling we store, or raises Unfit."""

import ipaddress
import re
import unicodedata
from collections.abc import Callable
from typing import TypeVar

import phonenumbers
from email_validator import EmailNotValidError, validate_email

from ispgraph.domain.errors import ErrorCode, Faults

T = TypeVar("T")

_MAC = re.compile(
    r"[0-9a-f]{2}(?:(:[0-9a-f]{2}){5}|(-[0-9a-f]{2}){5})|[0-9a-f]{4}(\.[0-9a-f]{4}){2}|[0-9a-f]{12}", re.IGNORECASE
)
# This network, loopback, link-local, multicast and reserved (RFC 6890), and IPv4 written as IPv6, which would be a
# second spelling of one address.
_NO_HOSTS = [
    ipaddress.ip_network(network)
    for network in (
        *("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"),
        *("::/127", "::ffff:0:0/96", "fe80::/10", "ff00::/8"),
    )
]
_USERNAME = re.compile(r"[a-z0-9._@+'-]{1,64}")
# Control, surrogate and unassigned characters; U+202A… and U+2066… turn the direction of what follows on the screen.
_UNFIT_CATEGORIES = {"Cc", "Cs", "Cn", "Zl", "Zp"}
_TURNING = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Unfit(ValueError):
    """The text does not spell a value of the wanted kind; the message tells the person what would."""


def checked(
    faults: Faults,
    read: Callable[..., T],
    raw: str | None,
    *args: object,
    at: tuple[str, ...],
    **options: object,
) -> T | None:
    """`read(raw, …)`; on failure None and a fault at the path `at`: REQUIRED when nothing was given, else INVALID."""
    if raw is None or not raw.strip():
        faults.add(ErrorCode.REQUIRED, "This is required.", *at)
        return None
    try:
        return read(raw, *args, **options)
    except Unfit as error:
        faults.add(ErrorCode.INVALID, str(error), *at)
        return None


def email(raw: str) -> str:
    """An e-mail address in lower case, at most 254 characters. DNS is not asked."""
    try:
        found = validate_email(
            raw.strip().lower(), check_deliverability=False, test_environment=True
        ).normalized.lower()
    except EmailNotValidError as error:
        raise Unfit("This is not an e-mail address.") from error
    if len(found) > 254 or len(found.encode()) > 320:
        raise Unfit("An e-mail address has at most 254 characters.")
    return found


def phone(raw: str, country: str) -> str:
    """A telephone number in E.164 form; `country` (ISO 3166) is assumed when the number does not begin with +."""
    try:
        number = phonenumbers.parse(raw.strip()[:60], country)
    except phonenumbers.NumberParseException as error:
        raise Unfit("This is not a telephone number.") from error
    if number.extension or not phonenumbers.is_valid_number(number):
        raise Unfit("This is not a telephone number in use; begin with + and the country code.")
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def mac(raw: str) -> str:
    """A unicast MAC address as AA:BB:CC:DD:EE:FF, from any of the usual spellings."""
    text_ = raw.strip()
    if not _MAC.fullmatch(text_):
        raise Unfit("Write a MAC address as AA:BB:CC:DD:EE:FF.")
    digits = re.sub(r"[^0-9A-F]", "", text_.upper())
    if int(digits, 16) == 0 or int(digits[:2], 16) & 1:
        raise Unfit("This MAC address belongs to no single device.")
    return ":".join(digits[place : place + 2] for place in range(0, 12, 2))


def ip_address(raw: str, version: int | None = None) -> str:
    """A host address in canonical form, IPv4 or IPv6 (or only `version`)."""
    try:
        found = ipaddress.ip_address(raw.strip())
    except ValueError as error:
        raise Unfit("This is not an IP address.") from error
    if version not in (None, found.version):
        raise Unfit(f"This must be an IPv{version} address.")
    if "%" in str(found) or any(found in network for network in _NO_HOSTS if network.version == found.version):
        raise Unfit("This address belongs to no single host.")
    return str(found)


def ip_network(raw: str, version: int | None = None) -> str:
    """A network as address/length in canonical form; the host bits must be zero."""
    try:
        found = ipaddress.ip_network(raw.strip())
    except ValueError as error:
        raise Unfit("Write a network as 192.0.2.0/24, with nothing set after the network part.") from error
    if version not in (None, found.version):
        raise Unfit(f"This must be an IPv{version} network.")
    if found.prefixlen == 0:
        raise Unfit("This is every address there is.")
    if "%" in str(found):
        raise Unfit("A network has no zone index.")
    return str(found)


def text(raw: str, maximum: int, *, lines: bool = False) -> str:
    """Text in NFC without surrounding blanks, at most `maximum` characters. Line breaks only with `lines`."""
    found = unicodedata.normalize("NFC", raw.replace("\r\n", "\n") if lines else raw).strip()
    if not found:
        raise Unfit("This must not be empty.")
    if len(found) > maximum:
        raise Unfit(f"This must have at most {maximum} characters.")
    if any(_unfit(character) for character in found if not (lines and character in "\n\t")):
        raise Unfit("This contains characters that cannot be shown.")
    if not any(unicodedata.category(character)[0] in "LNPS" and character != "\u3164" for character in found):
        raise Unfit("This shows nothing.")
    return found


def username(raw: str) -> str:
    """A network username in lower case: 1 to 64 of a–z 0–9 . _ @ + ' -; after an @ stands a realm with a dot.

    These are the characters that FreeRADIUS's `filter_username` policy lets through and that need no quoting.
    """
    found = raw.strip().lower()
    if not _USERNAME.fullmatch(found):
        raise Unfit("A username has 1 to 64 of these characters: a–z 0–9 . _ @ + ' -")
    if ".." in found or found[0] == "." or found[-1] == ".":
        raise Unfit("A username neither begins nor ends with a dot, nor has two dots together.")
    name, at, realm = found.partition("@")
    if at and (not name or "@" in realm or "." not in realm or realm[0] == "."):
        raise Unfit("After @ comes a realm with a dot, such as name@example.net.")
    return found


def network_password(raw: str) -> str:
    """A network password as it stands: 1 to 63 printable characters, at most 63 bytes of UTF-8."""
    if not raw:
        raise Unfit("This must not be empty.")
    if not raw.isprintable():
        raise Unfit("A network password has printable characters only.")
    if len(raw.encode()) > 63:
        raise Unfit("A network password has at most 63 bytes.")
    return raw


def _unfit(character: str) -> bool:
    return unicodedata.category(character) in _UNFIT_CATEGORIES or character in _TURNING

"""Kinds of values: what a property takes, and how RouterOS prints it afterwards."""

import ipaddress
import re
from collections.abc import Callable
from typing import Final

_UNITS: Final = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_DURATION = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?")
_CLOCK = re.compile(r"(?:(\d+)w)?\s?(?:(\d+)d)?\s?(\d{1,2}):(\d\d):(\d\d)")
_SIZE = re.compile(r"(\d+)([kMG]?)")
_RATE = re.compile(r"\d+(?:\.\d+)?[kMG]?")
_MULTIPLES: Final = {"": 1, "k": 1000, "M": 1_000_000, "G": 1_000_000_000}
_MAC = re.compile(r"(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}")
_HOST = re.compile(r"(?=.{1,253}$)(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}")


class Refused(Exception):
    """What the router answers with ``!trap``: a message, and for some the category."""

    def __init__(self, message: str, category: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.category = category


def milliseconds(text: str) -> int | None:
    """``1w2d3h4m5s``, ``300ms``, ``00:10:00``, ``1d 00:10:00`` or seconds; None for other texts."""
    if text.isascii() and text.isdigit():
        return int(text) * 1000
    if match := _CLOCK.fullmatch(text):
        weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return ((weeks * 7 + days) * 86_400 + hours * 3600 + minutes * 60 + seconds) * 1000
    if text and (match := _DURATION.fullmatch(text)):
        return sum(int(part or 0) * size for part, size in zip(match.groups(), _UNITS.values(), strict=True))
    return None


def duration(seconds: float) -> str:
    """Seconds as RouterOS prints them: ``1d2h3s``, ``300ms``, ``0s``."""
    left = round(seconds * 1000)
    parts = []
    for unit, size in _UNITS.items():
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts) or "0s"


def normal(kind: str, of: tuple[str, ...], name: str, text: str) -> str:
    """A value as it is printed back. Raises Refused with the message and category of RouterOS."""
    match kind:
        case "text":
            return text
        case "bool":
            if text not in ("yes", "no", "true", "false"):
                raise Refused(f"input does not match any value of {name}", 1)
            return "true" if text in ("yes", "true") else "false"
        case "choice":
            if text not in of:
                raise Refused(f"input does not match any value of {name}", 1)
            return text
        case "choices":
            if any(part not in of for part in text.split(",") if text):
                raise Refused(f"input does not match any value of {name}", 1)
            return text
        case "number":
            return _number(of, name, text)
    found = _others(kind, text)
    if found is None:
        raise Refused(f"invalid value for argument {name}", 1)
    return found


def _number(of: tuple[str, ...], name: str, text: str) -> str:
    if not (text.isascii() and text.isdigit()):
        raise Refused(f"invalid value for argument {name}", 1)
    if of and not int(of[0]) <= int(text) <= int(of[1]):
        raise Refused(f"value of {name} out of range ({of[0]}..{of[1]})", 1)
    return str(int(text))


def _others(kind: str, text: str) -> str | None:
    """The value, or None when the text is none of this kind."""
    match kind:
        case "duration":
            found = milliseconds(text)
            return None if found is None else duration(found / 1000)
        case "size":
            return _multiple(text)
        case "pair":
            return _pair(text, _multiple)
        case "priority":
            return _pair(text, lambda half: half if half in tuple("12345678") else None)
        case "times":
            return _pair(text, lambda half: None if (ms := milliseconds(half)) is None else duration(ms / 1000))
        case "limit":
            return text if _is_limit(text) else None
        case "mac":
            return text.upper().replace("-", ":") if _MAC.fullmatch(text) else None
        case "ip":
            return _address(text)
        case "network":
            return _network(text)
        case "targets":
            parts = [_network(part, keep=True) or _interface(part) for part in text.split(",")]
            return None if None in parts else ",".join(part for part in parts if part)
        case "listed":
            return _network(text) or _range(text) or (text if _HOST.fullmatch(text) else None)
        case "ranges":
            parts = [_range(part) or _network(part) for part in text.split(",")]
            return None if None in parts else ",".join(part for part in parts if part)
    raise ValueError(f"unknown kind {kind}")


def _pair(text: str, half: Callable[[str], str | None]) -> str | None:
    """``up/down``; one value stands for both."""
    parts = [half(part) for part in text.split("/")]
    if len(parts) > 2 or None in parts:
        return None
    return f"{parts[0]}/{parts[-1]}"


def _multiple(text: str) -> str | None:
    match = _SIZE.fullmatch(text)
    return str(int(match[1]) * _MULTIPLES[match[2]]) if match else None


def _is_limit(text: str) -> bool:
    """Mikrotik-Rate-Limit's grammar: up to six places, each but the priority one value or two."""
    places = text.split(" ") if text else []
    for number, place in enumerate(places):
        halves = place.split("/")
        if number == 4:
            if halves[0] not in tuple("12345678") or len(halves) > 2:
                return False
        elif number > 5 or len(halves) > 2 or not all(_RATE.fullmatch(half) for half in halves):
            return False
    return True


def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def _network(text: str, keep: bool = False) -> str | None:
    """An address or a prefix; a prefix of one address is printed without its length unless it is kept."""
    try:
        found = ipaddress.ip_interface(text)
    except ValueError:
        return None
    single = found.network.prefixlen == found.network.max_prefixlen
    if single and not keep:
        return str(found.ip)
    return str(found.network)


def _interface(text: str) -> str | None:
    return text if text and "/" not in text else None


def _range(text: str) -> str | None:
    first, dash, last = text.partition("-")
    try:
        low, high = ipaddress.IPv4Address(first), ipaddress.IPv4Address(last)
    except ValueError:
        return None
    return f"{low}-{high}" if dash and low <= high else None

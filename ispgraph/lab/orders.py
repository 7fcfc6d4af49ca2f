"""What the control API may be told, read from JSON strictly: a field that is not known is an error."""

import hashlib
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ispgraph.lab.credentials import PROTOCOLS

_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}")
_MISSING = object()


class BadOrder(ValueError):
    """The JSON cannot be understood; the message names the field."""


class Order:
    """A JSON object whose fields are taken out one by one, by name and kind."""

    def __init__(self, body: object, name: str = "the body") -> None:
        if not isinstance(body, dict):
            raise BadOrder(f"{name} must be an object")
        self._left: dict[str, Any] = dict(body)
        self._name = name

    def take(self, name: str, kind: type, default: Any = _MISSING) -> Any:
        """One field. ``float`` takes whole numbers too; a default of None allows null. Raises BadOrder."""
        if name not in self._left:
            if default is _MISSING:
                raise BadOrder(f"{name} is missing in {self._name}")
            return default
        value = self._left.pop(name)
        if value is None and default is None:
            return None
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise BadOrder(f"{name} must be of type {kind.__name__}")
        if isinstance(value, int | float) and kind is not bool and value < 0 and name != "clock_offset":
            raise BadOrder(f"{name} must not be negative")
        return value

    def nullable(self, name: str, kind: type, default: Any) -> Any:
        """One field that may be null although that is not its default. Raises BadOrder."""
        return self.take(name, kind, None) if name in self._left else default

    def texts(self, name: str) -> list[dict[str, str]]:
        """A list of objects whose values are texts. Raises BadOrder."""
        values: list[dict[str, str]] = self.take(name, list, [])
        for value in values:
            if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
                raise BadOrder(f"{name} must be a list of objects with texts")
        return values

    def end(self) -> None:
        """Everything was taken. Raises BadOrder for what is left."""
        if self._left:
            raise BadOrder(f"{self._name} has no field {sorted(self._left)[0]}")


@dataclass(frozen=True)
class RadiusOrder:
    """The RADIUS server of a router."""

    server: str
    auth_port: int
    acct_port: int
    secret: str = field(repr=False)
    timeout: str
    tries: int
    require_message_auth: bool
    accept_coa: bool

    @classmethod
    def read(cls, body: object) -> "RadiusOrder":
        """Raises BadOrder."""
        order = Order(body, "radius")
        found = cls(
            server=_ipv4("server", order.take("server", str)),
            auth_port=order.take("auth_port", int, 1812),
            acct_port=order.take("acct_port", int, 1813),
            secret=order.take("secret", str),
            # The factory's 300 ms take a reject, which servers hold back a second, for silence.
            timeout=order.take("timeout", str, "3s"),
            tries=order.take("tries", int, 3),
            require_message_auth=order.take("require_message_auth", bool, True),
            accept_coa=order.take("accept_coa", bool, True),
        )
        order.end()
        return found

    def item(self, version: tuple[int, ...]) -> dict[str, str]:
        """The item of /radius. Versions before 7.15 know nothing of Message-Authenticator."""
        demanded = "yes-for-request-resp" if self.require_message_auth else "no"
        return {
            "service": "ppp,hotspot",
            "address": self.server,
            "secret": self.secret,
            "authentication-port": str(self.auth_port),
            "accounting-port": str(self.acct_port),
            "timeout": self.timeout,
            **({"require-message-auth": demanded} if version >= (7, 15) else {}),
        }


@dataclass(frozen=True)
class RouterOrder:
    """One router. ``walls`` are the address lists whose members its firewall lets make no new connection."""

    name: str
    address: str
    version: str
    board: str
    serial: str
    api_port: int
    tls_port: int | None
    coa_port: int
    users: dict[str, tuple[str, str]] = field(repr=False)
    radius: RadiusOrder | None
    nas_identifier: str
    pools: list[dict[str, str]]
    profiles: list[dict[str, str]]
    hotspot_profiles: list[dict[str, str]]
    pppoe: dict[str, str]
    interim_seconds: int
    clock_offset: float
    walls: list[str]

    @classmethod
    def read(cls, body: object) -> "RouterOrder":
        """Raises BadOrder."""
        order = Order(body)
        users = order.texts("users")
        radius = order.take("radius", dict, None)
        found = cls(
            name=order.take("name", str),
            address=_ipv4("address", order.take("address", str, "127.0.0.1")),
            version=order.take("version", str, "7.16.1"),
            board=order.take("board", str, "RB4011"),
            serial=order.take("serial", str, ""),
            api_port=_port("api_port", order.take("api_port", int, 0)) or 0,
            tls_port=_port("tls_port", order.take("tls_port", int, None)),
            coa_port=_port("coa_port", order.take("coa_port", int, 0)) or 0,
            users={_text(user, "name"): (_text(user, "password"), user.get("group", "full")) for user in users},
            radius=None if radius is None else RadiusOrder.read(radius),
            nas_identifier=order.take("nas_identifier", str, ""),
            pools=order.texts("pools"),
            profiles=order.texts("profiles"),
            hotspot_profiles=order.texts("hotspot_profiles"),
            pppoe=order.take("pppoe", dict, {}),
            interim_seconds=order.take("interim_seconds", int, 0),
            clock_offset=order.take("clock_offset", float, 0.0),
            walls=order.take("walls", list, ["SUSPENDED"]),
        )
        order.end()
        if not re.fullmatch(r"\d+(\.\d+){1,2}((beta|rc)\d+)?", found.version):
            raise BadOrder("version must be like 7.16.1")
        if not _loopback(found.address):
            raise BadOrder("address must be one of 127.0.0.0/8")
        return found


@dataclass(frozen=True)
class SubscriberOrder:
    """One device. ``key`` is what it is called here, ``username`` what it logs in with."""

    key: str
    username: str
    password: str = field(repr=False)
    router: str
    mac: str
    service: str
    protocol: str
    load_down_bps: int
    load_up_bps: int
    address: str | None
    redial_seconds: float | None
    patient: bool
    online: bool

    @classmethod
    def read(cls, body: object) -> "SubscriberOrder":
        """Raises BadOrder."""
        order = Order(body)
        key = order.take("name", str)
        service = order.take("service", str, "pppoe")
        address = order.take("address", str, None)
        found = cls(
            key=key,
            username=order.take("username", str, key),
            password=order.take("password", str, ""),
            router=order.take("router", str),
            mac=order.take("mac", str, mac_of(key)).upper().replace("-", ":"),
            service=service,
            protocol=order.take("protocol", str, "chap"),
            load_down_bps=order.take("load_down_bps", int, 0),
            load_up_bps=order.take("load_up_bps", int, 0),
            address=None if address is None else _ipv4("address", address),
            redial_seconds=order.nullable("redial_seconds", float, 10.0),
            patient=order.take("patient", bool, True),
            online=order.take("online", bool, False),
        )
        order.end()
        found.check()
        return found

    def check(self) -> None:
        """Raises BadOrder."""
        if self.service not in ("pppoe", "hotspot", "static"):
            raise BadOrder("service must be pppoe, hotspot or static")
        if self.protocol not in PROTOCOLS:
            raise BadOrder(f"protocol must be one of {', '.join(PROTOCOLS)}")
        if self.service == "hotspot" and self.protocol == "mschap2":
            raise BadOrder("a hotspot knows no mschap2")
        if self.service == "static" and self.address is None:
            raise BadOrder("address is missing: a static host has one")
        if not _MAC.fullmatch(self.mac):
            raise BadOrder("mac must be six pairs of hexadecimal digits")
        if not 1 <= len(self.username.encode()) <= 253:
            raise BadOrder("username must have 1 to 253 bytes")


def mac_of(key: str) -> str:
    """A locally administered MAC address that belongs to this name."""
    digest = hashlib.sha256(key.encode()).digest()
    return ":".join(f"{octet:02X}" for octet in (2, *digest[:5]))


def _text(values: Mapping[str, str], name: str) -> str:
    if name not in values:
        raise BadOrder(f"{name} is missing")
    return values[name]


def _ipv4(name: str, text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError as error:
        raise BadOrder(f"{name} must be an IPv4 address") from error


def _port(name: str, value: int | None) -> int | None:
    if value is not None and value > 65535:
        raise BadOrder(f"{name} must be a port")
    return value


def _loopback(text: str) -> bool:
    return ipaddress.IPv4Address(text).is_loopback

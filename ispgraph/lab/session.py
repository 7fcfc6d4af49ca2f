"""One session of a subscriber on a router, and what a grant of RADIUS or of a local user gave him."""

from collections.abc import Callable
from dataclasses import dataclass, field

from ispgraph.lab import packets
from ispgraph.lab.items import Item, Table
from ispgraph.lab.packets import Attribute
from ispgraph.lab.rates import Rate
from ispgraph.lab.routeros import RouterOS
from ispgraph.lab.traffic import Meter

SERVICES = ("pppoe", "hotspot")
# The first two digits of Acct-Session-Id.
_FAMILIES = {"hotspot": "80", "pppoe": "81"}
_FRAMED, _LOGIN, _PPP = packets.number(2), packets.number(1), packets.number(1)
_ETHERNET, _WIRELESS = packets.number(15), packets.number(19)


@dataclass(slots=True)
class Limits:
    """Bytes of one session after which it ends; 0 is no limit. ``recv`` is from the subscriber."""

    recv: int = 0
    xmit: int = 0
    total: int = 0


@dataclass(slots=True)
class Grant:
    """What a login was given. Seconds; None is not given. ``pool`` and ``address`` name where his address is from."""

    radius: bool
    profile: str
    address: str | None = None
    pool: str | None = None
    rate: Rate | None = None
    lists: tuple[str, ...] = ()
    timeout: int | None = None
    idle: int | None = None
    interim: int | None = None
    limits: Limits | None = None
    port_limit: int | None = None
    classes: tuple[bytes, ...] = ()


@dataclass(slots=True)
class Caller:
    """Who dials. ``ended`` is called with the cause when his session is over. Loads are bits per second."""

    name: str
    password: str = field(repr=False)
    mac: str = "02:00:00:00:00:01"
    service: str = "pppoe"
    protocol: str = "chap"
    load_up: int = 0
    load_down: int = 0
    address: str | None = None
    ended: Callable[["Session", str], None] = lambda _session, _cause: None


class Session:
    """Lives from the first packet of a dial; ``live`` from the moment it has an address until it ends."""

    __slots__ = (
        "address",
        "caller",
        "due",
        "grant",
        "interim_at",
        "items",
        "live",
        "mac",
        "meter",
        "name",
        "number",
        "queue",
        "quiet_since",
        "router",
        "service",
        "session_id",
        "started",
        "timeout_at",
    )

    def __init__(self, router: RouterOS, service: str, name: str, mac: str, number: int, caller: Caller) -> None:
        self.router = router
        self.service = service
        self.name = name
        self.mac = mac
        self.number = number
        self.caller = caller
        self.session_id = f"{_FAMILIES[service]}{router.reboots % 16:x}{number & 0xFFFFF:05x}"
        self.live = False
        self.address = "0.0.0.0"  # noqa: S104
        self.grant = Grant(radius=False, profile="")
        self.started = self.quiet_since = router.now()
        self.meter = Meter(self.started)
        self.items: list[tuple[Table, Item]] = []
        self.queue: Item | None = None
        self.timeout_at: float | None = None
        self.interim_at: float | None = None
        self.due: float | None = None

    @property
    def kind(self) -> str:
        """What /radius calls the service."""
        return "ppp" if self.service == "pppoe" else "hotspot"

    @property
    def classes(self) -> tuple[bytes, ...]:
        """Class of the Access-Accept, to be echoed in every accounting packet."""
        return self.grant.classes

    def identity(self) -> list[Attribute]:
        """What login and accounting say alike about who is where."""
        ppp = self.service == "pppoe"
        return [
            (packets.SERVICE_TYPE, _FRAMED if ppp else _LOGIN),
            *([(packets.FRAMED_PROTOCOL, _PPP)] if ppp else []),
            (packets.NAS_PORT, packets.number((0xF00000 if ppp else 0x800000) + (self.number & 0xFFFFF))),
            (packets.NAS_PORT_TYPE, _ETHERNET if ppp else _WIRELESS),
            (packets.USER_NAME, self.name.encode()),
            (packets.CALLING_STATION, self.mac.encode()),
            (packets.CALLED_STATION, b"service1" if ppp else b"hotspot1"),
            (packets.NAS_PORT_ID, b"bridge1"),
        ]

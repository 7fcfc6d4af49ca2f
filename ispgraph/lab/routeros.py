"""One simulated router: its tables, its clock, its users, and the API that shows them."""

from collections.abc import Callable, Mapping

from ispgraph.lab.faults import Counters, Faults
from ispgraph.lab.items import Item, Table
from ispgraph.lab.menus import menus
from ispgraph.lab.time import LabClock

Users = Mapping[str, tuple[str, str]]


class RouterOS:
    """A router. ``users`` are ``{"api": ("password", "full")}`` with the groups ``full``, ``write`` and ``read``.

    ``version`` is a tuple of numbers such as ``(7, 16, 1)``, to be compared with ``(7, 15)``.
    """

    def __init__(
        self,
        name: str,
        version: str = "7.16.1",
        board: str = "RB4011",
        serial: str = "LAB000000001",
        users: Users | None = None,
        clock: LabClock | None = None,
        clock_offset: float = 0.0,
    ) -> None:
        raise NotImplementedError

    name: str
    version: tuple[int, ...]
    version_text: str
    board: str
    serial: str
    users: dict[str, tuple[str, str]]
    clock: LabClock
    clock_offset: float
    """Seconds that the router's own clock is ahead of lab time."""
    booted_at: float
    """Lab time of the last start."""
    reboots: int
    faults: Faults
    counters: Counters
    before_reboot: list[Callable[[], None]]
    """Called by ``reboot`` before dynamic items vanish."""
    address: str
    port: int
    tls_port: int | None
    fingerprint: str | None
    """SHA-256 of the certificate in hexadecimal digits, or None without TLS."""

    @property
    def identity(self) -> str:
        """The name in /system/identity."""
        raise NotImplementedError

    def now(self) -> float:
        """Lab time in seconds since 1970."""
        raise NotImplementedError

    def own_time(self) -> float:
        """What the router believes the time to be: lab time and its offset."""
        raise NotImplementedError

    def table(self, path: str) -> Table:
        """The table of a menu. Raises KeyError for a menu that there is not."""
        raise NotImplementedError

    def create(self, path: str, values: Mapping[str, str]) -> Item:
        """Add an item as an API client would, checked alike. Raises Refused."""
        raise NotImplementedError

    def reboot(self) -> None:
        """Lose connections and dynamic items, and begin the uptime again."""
        raise NotImplementedError

    def go_down(self, seconds: float) -> None:
        """Lose connections and refuse new ones for so many real seconds."""
        raise NotImplementedError

    async def start(self, address: str = "127.0.0.1", port: int = 0, tls_port: int | None = None) -> None:
        """Listen for API clients; port 0 takes a free one, ``tls_port`` None leaves TLS out."""
        raise NotImplementedError

    async def stop(self) -> None:
        """End all connections and listen no more. Tables stay."""
        raise NotImplementedError

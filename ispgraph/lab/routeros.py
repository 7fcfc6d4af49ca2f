"""One simulated router: its tables, its clock, its users, and the API that shows them."""

import asyncio
from collections.abc import Callable, Mapping

from ispgraph.lab import commands
from ispgraph.lab.api_server import ApiServer
from ispgraph.lab.certificates import server_context
from ispgraph.lab.faults import Counters, Faults
from ispgraph.lab.items import Change, Item, Table
from ispgraph.lab.kinds import duration
from ispgraph.lab.menus import menus
from ispgraph.lab.printing import Rates
from ispgraph.lab.time import LabClock

Users = Mapping[str, tuple[str, str]]

_GROUPS = {
    "full": "local telnet ssh ftp reboot read write policy test winbox password web sniff sensitive api romon rest-api",
    "write": "read write test api",
    "read": "read test api",
}
_LOG_LINES = 1000


class RouterOS:
    """A router. ``users`` are ``{"api": ("password", "full")}`` with the groups ``full``, ``write`` and ``read``.

    ``version`` is a tuple of numbers such as ``(7, 16, 1)``, to be compared with ``(7, 15)``. ``clock_offset`` is how
    many seconds the router's own clock is ahead of lab time; ``booted_at`` is lab time. ``before_reboot`` are called by
    ``reboot`` before dynamic items vanish. ``monitors`` give the counters that ``monitor`` of a menu shows, and
    ``interface_rates`` the bits and packets per second of an interface, received and sent. ``fingerprint`` is the
    SHA-256 of the certificate in hexadecimal digits, None without TLS.
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
        self.name = name
        self.version_text = version
        self.version = tuple(int(part) for part in version.split("beta")[0].split("rc")[0].split("."))
        self.board, self.serial = board, serial
        self.users = dict(users or {})
        self.groups = {group: frozenset(policies.split()) for group, policies in _GROUPS.items()}
        self.clock = clock or LabClock()
        self.clock_offset = clock_offset
        self.booted_at = self.clock.now()
        self.reboots = 0
        self.faults = Faults(on_change=self._apply_faults)
        self.counters = Counters()
        self.before_reboot: list[Callable[[], None]] = []
        self.monitors: dict[str, Callable[[Item], Mapping[str, str]]] = {}
        self.interface_rates: Callable[[Item], Rates] | None = None
        self.address = ""
        self.port = 0
        self.tls_port: int | None = None
        self.fingerprint: str | None = None
        self._tables: dict[str, Table] = {}
        self._server: ApiServer | None = None
        self._down: asyncio.TimerHandle | None = None
        self._furnish()

    @property
    def identity(self) -> str:
        """The name in /system/identity."""
        table = self._tables["/system/identity"]
        return table.get(next(iter(table)), "name") or ""

    def now(self) -> float:
        """Lab time in seconds since 1970."""
        return self.clock.now()

    def own_time(self) -> float:
        """What the router believes the time to be."""
        return self.clock.now() + self.clock_offset

    def table(self, path: str) -> Table:
        """The table of a menu. Raises KeyError for a menu that there is not."""
        return self._tables[path]

    def create(self, path: str, values: Mapping[str, str]) -> Item:
        """Add an item as an API client would, checked alike. Raises kinds.Refused, or KeyError for an unknown menu."""
        return commands.create(self, self._tables[path], values)

    def rates(self, item: Item) -> Rates:
        return self.interface_rates(item) if self.interface_rates is not None else (0.0, 0.0, 0.0, 0.0)

    def password_and_policies(self, user: str) -> tuple[str, frozenset[str]] | None:
        """What an API user needs and may do; None for a user that there is not."""
        if user not in self.users:
            return None
        password, group = self.users[user]
        return password, self.groups.get(group, frozenset())

    def max_connections(self) -> int | None:
        """How many API connections may be open at once."""
        return self.faults.max_sessions

    def log(self, topics: str, message: str) -> None:
        """A line in /log."""
        table = self._tables["/log"]
        table.add(
            {"time": " ".join(commands.stamp(self.version, self.own_time())), "topics": topics, "message": message}
        )
        if len(table) > _LOG_LINES:
            table.remove(next(iter(table)))

    def reboot(self) -> None:
        """Lose connections and dynamic items, and begin the uptime again."""
        for callback in list(self.before_reboot):
            callback()
        for table in self._tables.values():
            for item in table:
                if item.dynamic or table.menu.path == "/log":
                    table.remove(item)
        self.reboots += 1
        self.booted_at = self.now()
        if self._server is not None:
            self._server.drop()

    def restart(self) -> None:
        """Reboot as soon as whoever asked is done."""
        asyncio.get_running_loop().call_soon(self.reboot)

    def go_down(self, seconds: float) -> None:
        """Lose connections and refuse new ones for so many real seconds."""
        if self._down is not None:
            self._down.cancel()
        self._down = asyncio.get_running_loop().call_later(seconds, self._come_up)
        self._apply_faults()

    @property
    def down(self) -> bool:
        """Whether the router is away since ``go_down``."""
        return self._down is not None

    async def start(self, address: str = "127.0.0.1", port: int = 0, tls_port: int | None = None) -> None:
        """Listen for API clients; port 0 takes a free one, ``tls_port`` None leaves TLS out. Raises OSError."""
        self.address, self._server = address, ApiServer(self)
        try:
            self.port = await self._server.listen(address, port, None)
            if tls_port is not None:
                context, self.fingerprint = server_context(self.name, address)
                self.tls_port = await self._server.listen(address, tls_port, context)
        except OSError:
            await self.stop()
            raise
        self._apply_faults()

    async def stop(self) -> None:
        """End all connections and listen no more. Tables stay."""
        if self._down is not None:
            self._down.cancel()
            self._down = None
        if self._server is not None:
            await self._server.close()
            self._server = None

    # Inside

    def _come_up(self) -> None:
        self._down = None
        self._apply_faults()

    def _apply_faults(self) -> None:
        if self._server is not None:
            self._server.refuse(self.faults.refuse or self.down)
            if self.down:
                self._server.drop()

    def _furnish(self) -> None:
        for path, menu in menus().items():
            self._tables[path] = Table(menu, self.now)
            for values in menu.items or ([{}] if menu.single else []):
                self._tables[path].add(values)
        self._tables["/system/identity"].change(next(iter(self._tables["/system/identity"])), {"name": self.name})
        self._compute("/system/resource", "uptime", lambda item: duration(int(self.now() - self.booted_at)))
        self._compute("/system/resource", "version", lambda item: f"{self.version_text} (stable)")
        self._compute("/system/resource", "board-name", lambda item: self.board)
        self._compute("/system/routerboard", "board-name", lambda item: self.board)
        self._compute("/system/routerboard", "model", lambda item: self.board)
        self._compute("/system/routerboard", "serial-number", lambda item: self.serial)
        self._compute("/system/routerboard", "current-firmware", lambda item: self.version_text)
        self._compute("/system/clock", "date", lambda item: commands.stamp(self.version, self.own_time())[0])
        self._compute("/system/clock", "time", lambda item: commands.stamp(self.version, self.own_time())[1])
        for user, (_, group) in self.users.items():
            self._tables["/user"].add({"name": user, "group": group})
        for group, policies in self.groups.items():
            self._tables["/user/group"].add({"name": group, "policy": ",".join(sorted(policies))})
        entries = self._tables["/ip/firewall/address-list"]
        entries.compute("timeout", lambda item: _left(entries, item, self.now()))
        entries.watch(self._stamp_entry)

    def _compute(self, path: str, name: str, function: Callable[[Item], str]) -> None:
        self._tables[path].compute(name, function)

    def _stamp_entry(self, change: Change) -> None:
        if change.kind == "added":
            change.item.values["creation-time"] = " ".join(commands.stamp(self.version, self.own_time()))


def _left(table: Table, item: Item, now: float) -> str | None:
    until = table.expires_at(item)
    return None if until is None else duration(int(until - now))

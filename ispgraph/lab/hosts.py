"""Hosts with an address of their own: no login, only connections, and the simple queue that somebody made for them."""

import ipaddress
import random
from functools import partial

from ispgraph.lab.agenda import Agenda
from ispgraph.lab.items import Change, Item, Table
from ispgraph.lab.routeros import RouterOS
from ispgraph.lab.traffic import Meter

CONNECTIONS = 3
_RETRY_SECONDS = 2.0


class Host:
    """A switched-on host. It moves bytes while it has a connection left."""

    __slots__ = ("address", "connections", "load_down", "load_up", "mac", "meter", "name", "on", "started")

    def __init__(self, name: str, address: str, mac: str, now: float, load_up: int, load_down: int) -> None:
        self.name = name
        self.address = address
        self.mac = mac
        self.load_up, self.load_down = load_up, load_down
        self.meter = Meter(now)
        self.started = now
        self.connections: list[Item] = []
        self.on = True


class Hosts:
    """The hosts behind a router. New connections need an address that is on none of the ``walls``, which are names of
    address lists that the router's firewall blocks; existing ones go on until somebody removes them.
    """

    def __init__(self, router: RouterOS, agenda: Agenda, walls: frozenset[str]) -> None:
        self._router = router
        self._agenda = agenda
        self.walls = walls
        self._random = random.Random(router.name)  # noqa: S311
        self._by_address: dict[str, Host] = {}
        self._queues: Table = router.table("/queue/simple")
        self._connections: Table = router.table("/ip/firewall/connection")
        self._lists: Table = router.table("/ip/firewall/address-list")
        # What a queue is for, what an address has for queues, and what had been counted when a queue began.
        self._targets: dict[int, list[str]] = {}
        self._queues_of: dict[str, list[Item]] = {}
        self._counted: dict[int, tuple[int, int]] = {}
        self._networks: dict[int, Item] = {}
        self._lists.index("address")
        self._queues.watch(self._queue_changed)
        self._connections.watch(self._connection_changed)
        self._lists.watch(self._list_changed)
        router.before_reboot.append(self._forget_connections)

    def on(self, host: Host) -> None:
        """Switch a host on. Raises ValueError when its address is taken."""
        if host.address in self._by_address:
            raise ValueError(f"{host.address} is {self._by_address[host.address].name}'s")
        host.on = True
        self._by_address[host.address] = host
        self._cap(host)
        self._connect(host)

    def off(self, host: Host) -> None:
        """Switch it off."""
        host.on = False
        self._by_address.pop(host.address, None)
        for item in list(host.connections):
            self._connections.remove(item)
        self._pace(host)

    def set_load(self, host: Host, up: int, down: int) -> None:
        """It wants this many bits per second from now on."""
        host.load_up, host.load_down = up, down
        self._pace(host)

    def lists(self, address: str) -> list[str]:
        """Names of the address lists an address is on, by itself or with its network."""
        value = ipaddress.ip_address(address)
        wide = [
            item
            for item in self._networks.values()
            if value in ipaddress.ip_network(self._lists.get(item, "address") or "", strict=False)
        ]
        return [
            self._lists.get(item, "list") or ""
            for item in [*self._lists.find(address=address), *wide]
            if self._lists.get(item, "disabled") != "true"
        ]

    def counted(self, queue: Item, now: float) -> tuple[int, int]:
        """Bytes (up, down) through a simple queue of hosts."""
        total = self._total(queue, now)
        base = self._counted.get(queue.number, (0, 0))
        return max(0, total[0] - base[0]), max(0, total[1] - base[1])

    def speed(self, queue: Item) -> tuple[int, int]:
        """Bits per second (up, down) through a simple queue of hosts."""
        hosts = self._behind(queue)
        return sum(host.meter.rate_up for host in hosts), sum(host.meter.rate_down for host in hosts)

    def _behind(self, queue: Item) -> list[Host]:
        return [self._by_address[one] for one in self._targets.get(queue.number, ()) if one in self._by_address]

    def _total(self, queue: Item, now: float) -> tuple[int, int]:
        readings = [host.meter.read(now) for host in self._behind(queue)]
        return sum(up for up, _ in readings), sum(down for _, down in readings)

    def _connect(self, host: Host) -> None:
        if host.on and not self.walls.intersection(self.lists(host.address)):
            while len(host.connections) < CONNECTIONS:
                port, far = self._random.randrange(32768, 61000), self._random.randrange(1, 255)
                values = {
                    "protocol": "tcp",
                    "src-address": f"{host.address}:{port}",
                    "dst-address": f"203.0.113.{far}:443",
                    "tcp-state": "established",
                }
                host.connections.append(self._connections.add(values, dynamic=True, owner=host))
        self._pace(host)

    def _pace(self, host: Host) -> None:
        alive = host.on and bool(host.connections)
        host.meter.load(self._router.now(), host.load_up if alive else 0, host.load_down if alive else 0)

    def _cap(self, host: Host) -> None:
        for queue in self._queues_of.get(host.address, ()):
            if self._queues.get(queue, "disabled") != "true":
                up, _, down = (self._queues.get(queue, "max-limit") or "0/0").partition("/")
                host.meter.cap(self._router.now(), int(up), int(down))
                return
        host.meter.cap(self._router.now(), 0, 0)

    def _queue_changed(self, change: Change) -> None:
        queue = change.item
        if queue.owner is not None:
            return
        before = self._targets.get(queue.number, [])
        self._aim(queue, gone=change.kind == "removed")
        if change.kind in ("added", "reset"):
            self._counted[queue.number] = self._total(queue, self._router.now())
        for address in {*before, *self._targets.get(queue.number, [])}:
            if address in self._by_address:
                self._cap(self._by_address[address])

    def _aim(self, queue: Item, *, gone: bool) -> None:
        """Note what a queue is for."""
        for address in self._targets.pop(queue.number, []):
            self._queues_of[address].remove(queue)
        if gone:
            self._counted.pop(queue.number, None)
            return
        targets = (self._queues.get(queue, "target") or "").split(",")
        self._targets[queue.number] = [target.removesuffix("/32") for target in targets]
        for address in self._targets[queue.number]:
            self._queues_of.setdefault(address, []).append(queue)

    def _connection_changed(self, change: Change) -> None:
        host = change.item.owner
        if change.kind == "removed" and isinstance(host, Host):
            host.connections = [item for item in host.connections if item is not change.item]
            self._pace(host)
            if host.on:
                self._agenda.at(self._router.now() + _RETRY_SECONDS, partial(self._retry, host))

    def _list_changed(self, change: Change) -> None:
        if change.kind == "removed":
            self._networks.pop(change.item.number, None)
        elif "/" in (self._lists.get(change.item, "address") or ""):
            self._networks[change.item.number] = change.item
        if change.item.owner is None and change.kind in ("changed", "removed"):
            for host in self._by_address.values():
                if not host.connections:
                    self._agenda.at(self._router.now() + _RETRY_SECONDS, partial(self._retry, host))

    def _retry(self, host: Host, _due: float) -> None:
        if host.on and not host.connections:
            self._connect(host)

    def _forget_connections(self) -> None:
        for host in self._by_address.values():
            for item in list(host.connections):
                self._connections.remove(item)

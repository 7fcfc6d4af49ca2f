"""The whole simulated network: routers, subscribers, one clock."""

import asyncio
import contextlib
import secrets
from collections.abc import Mapping

import structlog

from ispgraph.lab.agenda import Agenda
from ispgraph.lab.checks import checked
from ispgraph.lab.nas import Nas
from ispgraph.lab.orders import RouterOrder, SubscriberOrder
from ispgraph.lab.routeros import RouterOS
from ispgraph.lab.session import Caller
from ispgraph.lab.subscribers import Subscriber
from ispgraph.lab.time import LabClock

log = structlog.get_logger("ispgraph.lab")


class Unknown(LookupError):
    """There is no router or subscriber of this name."""


class Lab:
    """Use as an asynchronous context manager; leaving it ends every session and closes every port."""

    def __init__(self, speed: float = 1.0) -> None:
        self.clock = LabClock(speed)
        self.agenda = Agenda(self.clock)
        self.routers: dict[str, Nas] = {}
        self.subscribers: dict[str, Subscriber] = {}
        self._working: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Lab":
        self._working = asyncio.create_task(self.agenda.run())
        self._working.add_done_callback(_report)
        return self

    async def __aexit__(self, *_: object) -> None:
        for subscriber in self.subscribers.values():
            subscriber.cancel()
        await asyncio.gather(*(nas.stop() for nas in self.routers.values()))
        if self._working is not None:
            self._working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._working

    def router(self, name: str) -> Nas:
        """A router by name. Raises Unknown."""
        if name not in self.routers:
            raise Unknown(f"no router {name}")
        return self.routers[name]

    def subscriber(self, key: str) -> Subscriber:
        """A subscriber by key. Raises Unknown."""
        if key not in self.subscribers:
            raise Unknown(f"no subscriber {key}")
        return self.subscribers[key]

    async def add_router(self, order: RouterOrder) -> Nas:
        """Start a router, or give a running one of this name the settings of the order: its users, RADIUS server,
        pools and profiles. Where it listens and its version stay as they are. Raises Refused or OSError.
        """
        nas = self.routers.get(order.name)
        if nas is None:
            router = RouterOS(
                order.name,
                version=order.version,
                board=order.board,
                serial=order.serial or f"LAB{secrets.token_hex(4).upper()}",
                users=order.users,
                clock=self.clock,
                clock_offset=order.clock_offset,
            )
            furnish(router, order)
            nas = await Nas.start(
                router,
                self.agenda,
                order.address,
                api_port=order.api_port,
                tls_port=order.tls_port,
                coa_port=order.coa_port,
                walls=frozenset(order.walls),
            )
            self.routers[order.name] = nas
        else:
            nas.router.users.clear()
            nas.router.users.update(order.users)
            nas.router.clock_offset = order.clock_offset
            nas.hosts.walls = frozenset(order.walls)
            furnish(nas.router, order)
        nas.client.tries = order.radius.tries if order.radius else nas.client.tries
        return nas

    async def remove_router(self, name: str) -> None:
        """Take a router away with its subscribers. Raises Unknown."""
        nas = self.router(name)
        for subscriber in [one for one in self.subscribers.values() if one.nas is nas]:
            self.remove_subscriber(subscriber.key)
        del self.routers[name]
        await nas.stop()

    def add_subscriber(self, order: SubscriberOrder) -> Subscriber:
        """Put a device behind a router; again with the same key replaces it, and its session ends. Raises Unknown."""
        nas = self.router(order.router)
        if order.key in self.subscribers:
            self.remove_subscriber(order.key)
        caller = Caller(
            name=order.username,
            password=order.password,
            mac=order.mac,
            service=order.service,
            protocol=order.protocol,
            load_up=order.load_up_bps,
            load_down=order.load_down_bps,
            address=order.address,
        )
        subscriber = Subscriber(order.key, nas, self.agenda, caller, order.redial_seconds, order.patient)
        self.subscribers[order.key] = subscriber
        if order.online:
            subscriber.switch_on()
        return subscriber

    def remove_subscriber(self, key: str) -> None:
        """Unplug a device for good. Raises Unknown."""
        self.subscriber(key).hang_up()
        del self.subscribers[key]


def furnish(router: RouterOS, order: RouterOrder) -> None:
    """Set the router's tables as an installer would, who reads the documentation. Raises Refused."""
    if order.nas_identifier:
        _set(router, "/system/identity", {"name": order.nas_identifier})
    for pool in order.pools:
        _ensure(router, "/ip/pool", "name", pool)
    if order.pools:
        _ensure(router, "/ppp/profile", "name", {"name": "default", "remote-address": order.pools[0]["name"]})
        hotspot = {"name": "default", "address-pool": order.pools[0]["name"]}
        _ensure(router, "/ip/hotspot/user/profile", "name", hotspot)
    for path, profiles in (("/ppp/profile", order.profiles), ("/ip/hotspot/user/profile", order.hotspot_profiles)):
        for profile in profiles:
            _ensure(router, path, "name", profile)
    server = {"service-name": "service1", "interface": "ether2", "disabled": "false", **order.pppoe}
    _ensure(router, "/interface/pppoe-server/server", "service-name", server)
    interim = f"{order.interim_seconds}s" if order.interim_seconds else "0s"
    radius = "true" if order.radius else "false"
    _set(router, "/ppp/aaa", {"use-radius": radius, "accounting": "true", "interim-update": interim})
    received = interim if order.interim_seconds else "received"
    values = {"name": "default", "use-radius": radius, "radius-interim-update": received}
    _ensure(router, "/ip/hotspot/profile", "name", values)
    table = router.table("/radius")
    for item in table:
        table.remove(item)
    if order.radius:
        router.create("/radius", order.radius.item(router.version))
        _set(router, "/radius/incoming", {"accept": "true" if order.radius.accept_coa else "false"})


def _ensure(router: RouterOS, path: str, key: str, values: Mapping[str, str]) -> None:
    table = router.table(path)
    found = table.find(**{key: values[key]})
    if found:
        table.change(found[0], checked(router, table, {name: value for name, value in values.items() if name != key}))
    else:
        router.create(path, values)


def _set(router: RouterOS, path: str, values: Mapping[str, str]) -> None:
    table = router.table(path)
    for item in table:
        table.change(item, checked(router, table, values))


def _report(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("the lab's clock stopped", exc_info=error)

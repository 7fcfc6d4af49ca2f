"""One router with what happens on it: its API, its RADIUS client and listener, its sessions and hosts."""

import asyncio
from dataclasses import dataclass

from ispgraph.lab.accounting import Accounting
from ispgraph.lab.agenda import Agenda
from ispgraph.lab.hosts import Hosts
from ispgraph.lab.incoming import Incoming
from ispgraph.lab.items import Change
from ispgraph.lab.radius import RadiusClient
from ispgraph.lab.routeros import RouterOS
from ispgraph.lab.sessions import Sessions
from ispgraph.lab.show import show

_FAREWELL_SECONDS = 1.0


@dataclass
class Nas:
    """A running router of the lab. Make one with ``start``."""

    router: RouterOS
    address: str
    client: RadiusClient
    accounting: Accounting
    sessions: Sessions
    incoming: Incoming
    hosts: Hosts
    coa_port: int = 0
    _moving: "asyncio.Task[None] | None" = None

    @classmethod
    async def start(
        cls,
        router: RouterOS,
        agenda: Agenda,
        address: str,
        *,
        api_port: int = 0,
        tls_port: int | None = None,
        coa_port: int = 0,
        walls: frozenset[str] = frozenset(),
    ) -> "Nas":
        """Listen on this address; ports of 0 are chosen, and CoA's is noted in /radius/incoming. Raises OSError."""
        client = RadiusClient(router, address)
        accounting = Accounting(client, address, router.name)
        sessions = Sessions(router, address, client, accounting, agenda)
        hosts = Hosts(router, agenda, walls)
        show(router, hosts)
        router.monitors["/radius"] = lambda _item: _radius_counters(client)
        nas = cls(router, address, client, accounting, sessions, Incoming(router, address, client, sessions), hosts)
        router.monitors["/radius/incoming"] = lambda _item: _incoming_counters(nas.incoming)
        await router.start(address, api_port, tls_port)
        try:
            await nas.listen(coa_port)
        except OSError:
            await router.stop()
            raise
        router.table("/radius/incoming").watch(nas._incoming_changed)
        return nas

    async def listen(self, port: int) -> None:
        """Take CoA and Disconnect on this port from now on. Raises OSError when it is taken; then nothing changes."""
        loop = asyncio.get_running_loop()
        fresh, _ = await loop.create_datagram_endpoint(lambda: self.incoming, local_addr=(self.address, port))
        table = self.router.table("/radius/incoming")
        self.coa_port = int(fresh.get_extra_info("sockname")[1])
        for item in table:
            table.change(item, {"port": str(self.coa_port)})

    def _incoming_changed(self, change: Change) -> None:
        port = int(self.router.table("/radius/incoming").get(change.item, "port") or 0)
        if port != self.coa_port:
            self._moving = asyncio.get_running_loop().create_task(self._move(port))

    async def _move(self, port: int) -> None:
        try:
            await self.listen(port)
        except OSError as error:
            self.router.log("radius,error", f"cannot listen on port {port}: {error.strerror}")

    def reboot(self, *, clean: bool = False) -> None:
        """Start again. Without ``clean`` the power fails: nobody hears of it."""
        if clean:
            for session in self.sessions:
                self.sessions.end(session, "NAS-Reboot")
        self.router.reboot()

    async def stop(self) -> None:
        """End everything at once; Stops that are on their way get a second."""
        for session in self.sessions:
            self.sessions.end(session, "NAS-Reboot")
        await self.accounting.drain(_FAREWELL_SECONDS)
        self.incoming.close()
        self.client.close()
        await self.router.stop()


def _radius_counters(client: RadiusClient) -> dict[str, str]:
    counters = client.counters
    return {
        "pending": str(client.pending),
        "requests": str(counters.requests),
        "accepts": str(counters.accepts),
        "rejects": str(counters.rejects),
        "resends": str(counters.resends),
        "timeouts": str(counters.timeouts),
        "bad-replies": str(counters.bad_replies),
        "last-request-rtt": f"{int(counters.last_request_rtt * 1000)}ms",
    }


def _incoming_counters(incoming: Incoming) -> dict[str, str]:
    counters = incoming.counters
    return {
        "requests": str(counters.requests),
        "bad-requests": str(counters.bad_requests),
        "acks": str(counters.acks),
        "naks": str(counters.naks),
    }

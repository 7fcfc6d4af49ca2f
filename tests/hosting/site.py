"""A house with a hosting server, which is the panel's double behind a door that can be shut, and a worker."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import select

from ispgraph import clock, ids, scheduler
from ispgraph.actors.registry import ACTIONS
from ispgraph.actors.run import Runner
from ispgraph.adapters.nextpanel_double import NextPanelDouble
from ispgraph.adapters.payments.doubles import serve
from ispgraph.domain.models import AuditEntry, Customer, HostingAccount, HostingServer, Job, JobStatus, Operator
from ispgraph.settings import Settings
from tests import subscribers
from tests.api import Api
from tests.factories import House, uuid_of

PASSWORD = "Hosting-Pass-81"
SERVER = "id name baseUrl online problem lastCheckedAt active capacity accountCount available advice"
ACCOUNT = f"""id username externalId packageId status error heldForDebt createdAt updatedAt customer {{ id name }}
  server {{ {SERVER} }} stats {{ domains databases emailAccounts certificates storageUsed accountAgeDays lastLogin }}"""
PAYLOAD = f"""{{ account {{ {ACCOUNT} }} server {{ {SERVER} }} errors {{ code message field }}
  jobs {{ id kind status message attempts ... on NetworkJob {{ customer {{ id }}
    steps {{ protocol outcome detail }} }} }} }}"""
SERVERS = f"{{ hostingServers {{ {SERVER} }} }}"
ACCOUNTS = f"query ($id: ID!) {{ customer(by: {{id: $id}}) {{ hostingAccounts {{ {ACCOUNT} }} }} }}"
CREATE = f"""mutation ($input: CustomerCreateInput!) {{ customerCreate(input: $input) {{ customer {{ id name }}
  hostingAccount {{ {ACCOUNT} }} jobs {{ id kind status }} errors {{ code message field }} }} }}"""
_INPUTS = {
    "hostingServerAdd": "HostingServerInput",
    "hostingServerUpdate": "HostingServerUpdateInput",
    "hostingProvision": "HostingProvisionInput",
}


@dataclass
class Site:
    """Whoever works with hosting in one house."""

    api: Api
    house: House
    settings: Settings
    double: NextPanelDouble
    url: str
    server: str = ""
    later: int = field(default=0)

    async def does(self, what: str, who: Operator | None = None, /, **given: Any) -> dict[str, Any]:
        """The payload of a mutation; of those with an input, `given` is the input."""
        if what in _INPUTS:
            document = f"mutation ($input: {_INPUTS[what]}!) {{ {what}(input: $input) {PAYLOAD} }}"
            variables: dict[str, Any] = {"input": given}
        else:
            of = "server" if what == "hostingServerTest" else "account"
            more = ", $reason: String" if "reason" in given else ""
            passed = ", reason: $reason" if more else ""
            document = f"mutation ($id: ID!{more}) {{ {what}({of}Id: $id{passed}) {PAYLOAD} }}"
            variables = given
        found: dict[str, Any] = (await self.api.data(document, who or self.house.admin, **variables))[what]
        return found

    async def done(self, what: str, /, **given: Any) -> dict[str, Any]:
        """The same, without errors."""
        payload = await self.does(what, **given)
        assert payload["errors"] == [], payload
        return payload

    async def add(self, name: str = "Panel 1", **given: Any) -> str:
        """A server, tested; its id."""
        keys = {"apiKey": self.double.api_key, "apiSecret": self.double.api_secret}
        payload = await self.done("hostingServerAdd", **{"name": name, "baseUrl": self.url, **keys} | given)
        await self.work()
        found: str = payload["server"]["id"]
        return found

    async def customer(self, **fields: Any) -> Customer:
        """A customer with an e-mail address of its own."""
        return await subscribers.customer(
            self.house, **{"email": f"{ids.uuid7().hex[-12:]}@example.net", "company": "Example & Sons"} | fields
        )

    async def wish(self, customer: Customer | None = None, username: str = "ann", **hosting: Any) -> dict[str, Any]:
        """What hostingProvision is given."""
        row = customer or await self.customer()
        wanted = {"username": username, "password": PASSWORD, **hosting}
        return {"customerId": ids.encode("cus", row.id), "hosting": wanted}

    async def account(self, username: str = "ann") -> str:
        """An account that the panel has; its id."""
        made = await self.done("hostingProvision", **await self.wish(username=username))
        await self.work()
        assert (await self.row(made["account"]["id"])).status.value == "ACTIVE"
        found: str = made["account"]["id"]
        return found

    async def work(self, limit: int = 20) -> list[Job]:
        """What a worker does with everything that is due, until nothing is; the jobs of hosting as they are then."""
        for _ in range(limit):
            due = select(Job).where(Job.status == JobStatus.QUEUED, Job.kind.startswith("hosting."))
            waiting = await self.rows(due.where(Job.next_attempt_at <= clock.now()).order_by(Job.id))
            if not waiting:
                break
            for job in waiting:
                await Runner(self.house.database, self.settings, ACTIONS).run_job(job.tenant_id.hex, job.id.hex)
        return await self.rows(select(Job).where(Job.kind.startswith("hosting.")).order_by(Job.id))

    async def wait(self, seconds: int) -> None:
        """Time passes, the scheduler looks, and a worker works."""
        self.later += seconds
        clock.set_clock(f"+{self.later}")
        await scheduler._each(self.house.database, scheduler.hosting_servers.look, "looking")
        await self.work()

    async def row(self, public: str) -> HostingAccount:
        async with self.house.database.read(self.house.tenant.id) as session:
            return await session.get_one(HostingAccount, uuid_of(public))

    async def server_row(self, public: str = "") -> HostingServer:
        async with self.house.database.read(self.house.tenant.id) as session:
            return await session.get_one(HostingServer, uuid_of(public or self.server))

    async def rows(self, statement: Any) -> list[Any]:
        async with self.house.database.read(self.house.tenant.id) as session:
            return list(await session.scalars(statement))

    async def trail(self, subject: UUID) -> list[str]:
        """The actions on record about one subject."""
        rows = select(AuditEntry).where(AuditEntry.subject_id == subject, AuditEntry.action.startswith("hosting"))
        return [row.action for row in await self.rows(rows.order_by(AuditEntry.id))]

    async def servers(self) -> dict[str, dict[str, Any]]:
        """What the API shows of the servers, by name."""
        return {one["name"]: one for one in (await self.api.data(SERVERS, self.house.admin))["hostingServers"]}


class Door:
    """An address at which nobody listens until it is opened, and then the double does."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self._socket = socket.socket()
        # Bound and not listening: whoever connects is refused, and nobody else can take the port.
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server: asyncio.Server | None = None
        self._relays: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._relay, sock=self._socket)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._relays:
            task.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)
        self._socket.close()

    async def _relay(self, near: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        task.add_done_callback(self._relays.discard)
        far, far_out = await asyncio.open_connection(self._target.hostname, self._target.port)
        with suppress(OSError):
            await asyncio.gather(_copy(near, far_out), _copy(far, near_out))


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    finally:
        sink.close()


@asynccontextmanager
async def site(api: Api, house: House, settings: Settings) -> AsyncIterator[Site]:
    """A site without servers yet."""
    double = NextPanelDouble(api_key="npk_of_north", api_secret="nps_of_north")
    async with serve(double.app) as url:
        yield Site(api, house, settings, double, url)

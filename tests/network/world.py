"""What the tests of the network do and look at."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select, text

from ispgraph import clock, ids
from ispgraph.actors.lanes import LaneRunner
from ispgraph.actors.registry import ACTIONS
from ispgraph.actors.run import Runner
from ispgraph.db import Database
from ispgraph.domain import secrets
from ispgraph.domain.models import (
    ConnectionType,
    Customer,
    CustomerStatus,
    Job,
    JobStatus,
    NetworkStep,
    Package,
    Router,
    Service,
    ServiceStatus,
    Session,
)
from ispgraph.domain.network import changes
from ispgraph.lab.nas import Nas
from ispgraph.lab.network import Lab
from ispgraph.lab.orders import RouterOrder, SubscriberOrder
from ispgraph.lab.subscribers import Subscriber
from ispgraph.settings import Settings
from tests.api import Api
from tests.factories import NETWORK_KEY, House

PASSWORD = "line password"
ACTION = """mutation($input: %sInput!) { customer%s(input: $input) {
  customer { id status statusReason service { status network { state problem appliedVersion desiredVersion } } }
  jobs { id status } errors { code message field } } }"""
SERVICE = """query($id: ID!) { node(id: $id) { ... on Service { status network {
  state problem desiredVersion appliedVersion checkedAt drift { path property expected observed } } } } }"""
_ADMIN = ("ispgraph", "router password")


@dataclass
class Line:
    """A customer with one service, and the device behind a router that uses it."""

    customer: Customer
    service: Service
    device: Subscriber | None

    @property
    def id(self) -> str:
        """Of the customer, as the API writes it."""
        return ids.encode("cus", self.customer.id)


@dataclass
class World:
    """One provider, its API, a worker, and the lab. RADIUS listens on 127.0.0.1."""

    house: House
    api: Api
    database: Database
    settings: Settings
    lab: Lab
    auth_port: int
    acct_port: int
    package: Package | None = None
    lines: int = 0
    routers: dict[str, Router] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.runner = Runner(self.database, self.settings, ACTIONS)
        self.lanes = LaneRunner(self.database, self.settings)
        self.working = asyncio.Event()
        self.working.set()

    async def work(self) -> None:
        """What scheduler and worker do together while `working`: whatever is due is begun."""
        under_way: set[asyncio.Task[None]] = set()
        while True:
            await self.working.wait()
            async with self.database.read(None) as session:
                due = (await session.execute(text("SELECT * FROM due_work(:at, 100)"), {"at": clock.now()})).all()
            for row in due:
                if row.router_id is not None:
                    await self.lanes.run_lane(row.tenant_id.hex, row.router_id.hex)
                else:
                    task = asyncio.create_task(self.runner.run_job(row.tenant_id.hex, row.job_id.hex))
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
            await asyncio.sleep(0.05)

    async def router(
        self,
        name: str = "north",
        address: str = "127.0.0.11",
        *,
        login: bool = True,
        secret: str = "a shared secret",
        **fields: Any,
    ) -> Nas:
        """A simulated router that the provider manages."""
        order = {
            "name": name,
            "address": address,
            "users": [{"name": _ADMIN[0], "password": _ADMIN[1], "group": "full"}],
            "pools": [
                {"name": "pool", "ranges": "10.64.0.2-10.64.15.254"},
                {"name": "walled", "ranges": "10.99.0.2-10.99.0.254"},
            ],
            "radius": {
                "server": "127.0.0.1",
                "auth_port": self.auth_port,
                "acct_port": self.acct_port,
                "secret": secret,
            },
            "walls": ["suspended"],
        }
        nas = await self.lab.add_router(RouterOrder.read(order))
        ports = {"api_port": nas.router.port, "coa_port": nas.coa_port}
        key = ids.uuid7()
        fields["radius_secret"] = secrets.seal(NETWORK_KEY, secret, secrets.router_radius(self.house.tenant.id, key))
        if login:
            sealed = secrets.seal(NETWORK_KEY, _ADMIN[1], secrets.router_api(self.house.tenant.id, key))
            fields = {"api_username": _ADMIN[0], "api_password": sealed} | fields
        made = await self.house.router(address, secret, id=key, name=name, **ports, **fields)
        self.routers[name] = made
        await until(lambda: self.looked_at(name))
        return nas

    async def looked_at(self, name: str) -> bool:
        """Whether a router was looked at since it was to be."""
        return bool((await self.row(name)).check_at > clock.now())

    async def row(self, name: str) -> Router:
        """A router as the product knows it now."""
        async with self.database.read(self.house.tenant.id) as session:
            return await session.get_one(Router, self.routers[name].id)

    async def failures(self, name: str, least: int = 0) -> int:
        """How often in a row a router could not be reached; 0 while that is less than `least`."""
        found = (await self.row(name)).failures
        return found if found >= least else 0

    async def line(
        self,
        router: str = "north",
        kind: ConnectionType = ConnectionType.PPPOE,
        *,
        online: bool = True,
        redial: float | None = None,
        fixed: bool = True,
        **fields: Any,
    ) -> Line:
        """An active customer on a router, with a device that has dialed in unless told otherwise."""
        self.package = self.package or await self.house.package()
        self.lines += 1
        name = fields.pop("username", f"line{self.lines}")
        customer = Customer(
            id=ids.uuid7(),
            account_number=f"{self.lines:06d}",
            name=f"Example Line {self.lines}",
            mobile=f"+8801711{self.lines:06d}",
            operator_id=self.house.admin.id,
            status=CustomerStatus.ACTIVE,
        )
        key = ids.uuid7()
        sealed = secrets.seal(NETWORK_KEY, PASSWORD, secrets.service_password(self.house.tenant.id, key))
        service = Service(
            **{
                "id": key,
                "customer_id": customer.id,
                "package_id": self.package.id,
                "connection_type": kind,
                "status": ServiceStatus.ACTIVE,
                "username": name,
                "password": sealed,
                "router_id": self.routers[router].id if fixed else None,
                "applied_version": 1,
            }
            | fields
        )
        await self.house.add(customer, service)
        device = None
        if kind is not ConnectionType.OTHER:
            device = self.lab.add_subscriber(
                SubscriberOrder.read(
                    {
                        "name": name,
                        "password": PASSWORD,
                        "router": router,
                        "redial_seconds": redial,
                        "online": online,
                        "service": {"PPPOE": "pppoe", "HOTSPOT": "hotspot", "STATIC_IP": "static"}[kind.value],
                        "address": service.ip_address,
                        "load_down_bps": 1_000_000,
                    }
                )
            )
            if online and kind is not ConnectionType.STATIC_IP:
                await until(lambda: device.state == "online")
                await until(lambda: self.open_sessions(name))
        return Line(customer, service, device)

    async def open_sessions(self, name: str) -> list[Session]:
        """The sessions of a user that are open in the books."""
        async with self.database.read(self.house.tenant.id) as session:
            rows = select(Session).where(Session.username == name, Session.stopped_at.is_(None))
            return list(await session.scalars(rows))

    async def act(self, action: str, line: Line, **fields: Any) -> dict[str, Any]:
        """`customerSuspend` and its like: the payload, which has no errors."""
        given = {"customerId": line.id, **fields}
        answer = await self.api.data(ACTION % (action, action), self.house.admin, input=given)
        payload: dict[str, Any] = answer[f"customer{action}"]
        assert payload["errors"] == [], payload
        return payload

    async def suspend(self, line: Line, **fields: Any) -> list[str]:
        """Suspend, and the ids of the jobs."""
        done = await self.act("Suspend", line, **{"reason": "NON_PAYMENT"} | fields)
        return [job["id"] for job in done["jobs"]]

    async def activate(self, line: Line) -> list[str]:
        """Activate, and the ids of the jobs."""
        return [job["id"] for job in (await self.act("Activate", line))["jobs"]]

    async def sell(self, line: Line, package: Package) -> list[str]:
        """Give a line another package, and the ids of the jobs."""
        async with self.database.transaction(self.house.tenant.id) as session:
            service = await session.get_one(Service, line.service.id, with_for_update=True)
            service.package_id = package.id
            jobs = await changes.changed(session, service, by=None)
        return [ids.encode("job", job.id) for job in jobs]

    async def router_job(self, action: str, name: str, **fields: Any) -> list[Job]:
        """`routerTest` or `routerReconcile`: its jobs, ended."""
        given = "".join(f", {key}: {str(value).lower()}" for key, value in fields.items())
        document = (
            f"mutation($id: ID!) {{ router{action}(routerId: $id{given}) {{ jobs {{ id }} errors {{ code }} }} }}"
        )
        key = ids.encode("rtr", self.routers[name].id)
        payload = (await self.api.data(document, self.house.admin, id=key))[f"router{action}"]
        assert payload["errors"] == [], payload
        return await self.ended([job["id"] for job in payload["jobs"]])

    async def job(self, key: str) -> Job:
        """A job as it is."""
        async with self.database.read(self.house.tenant.id) as session:
            return await session.get_one(Job, ids.parse(key)[1])

    async def ended(self, keys: list[str], seconds: float = 30) -> list[Job]:
        """The jobs, when they have all ended."""

        async def all_ended() -> bool:
            return None not in [(await self.job(key)).finished_at for key in keys]

        await until(all_ended, seconds)
        return [await self.job(key) for key in keys]

    async def succeeded(self, keys: list[str], seconds: float = 30) -> None:
        """All of these jobs end well."""
        ended = await self.ended(keys, seconds)
        assert [job.status for job in ended] == [JobStatus.SUCCEEDED] * len(keys), [job.message for job in ended]

    async def steps(self, key: str) -> list[tuple[str, str]]:
        """The steps of a job: protocol and outcome."""
        async with self.database.read(self.house.tenant.id) as session:
            rows = select(NetworkStep).where(NetworkStep.job_id == ids.parse(key)[1]).order_by(NetworkStep.id)
            return [(row.protocol.value, row.outcome.value) for row in await session.scalars(rows)]

    async def network(self, line: Line) -> dict[str, Any]:
        """`Service.network` of a line."""
        answer = await self.api.data(SERVICE, self.house.admin, id=ids.encode("svc", line.service.id))
        found: dict[str, Any] = answer["node"]["network"]
        return found

    async def change(self, model: type[Any], key: Any, **values: Any) -> None:
        """Set columns of a row."""
        async with self.database.transaction(self.house.tenant.id) as session:
            row = await session.get_one(model, key)
            for name, value in values.items():
                setattr(row, name, value)


async def until(condition: Callable[[], Any], seconds: float = 10) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if isinstance(found, Awaitable):
            found = await found
        if found:
            return
        assert time.monotonic() < end, "it did not come true"
        await asyncio.sleep(0.05)

"""A turn on a router: what a job needs to reach it, and to write down what it met."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from ispgraph.adapters import routeros
from ispgraph.adapters.errors import AdapterError, Refusal, Refused, Unreachable
from ispgraph.adapters.radius_client import Nas
from ispgraph.db import Database
from ispgraph.domain import secrets
from ispgraph.domain.models import Job, Router, RouterStatus, StepOutcome, StepProtocol
from ispgraph.domain.network import lanes, outcomes
from ispgraph.domain.network.lanes import Lane
from ispgraph.domain.network.outcomes import Step
from ispgraph.settings import Settings


class Turn:
    """The lane of one router, held; `router` is the row as it was when the turn began.

    The connection to the router's API is opened when it is first asked for, and is the only one.
    """

    def __init__(self, database: Database, settings: Settings, lane: Lane, router: Router) -> None:
        self.database = database
        self.settings = settings
        self.lane = lane
        self.router = router
        self._connections = AsyncExitStack()
        self._api: routeros.Router | None = None
        self._api_error: AdapterError | None = None
        self._heard = False

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """A transaction that commits only while the lane is ours. Raises LeaseLost before anything is done in it."""
        async with self.database.transaction(self.lane.tenant_id) as session:
            await lanes.hold(session, self.lane)
            yield session

    @property
    def nas(self) -> Nas | None:
        """Where the router takes CoA and Disconnect requests; None when it has no shared secret with us."""
        if self.router.radius_secret is None:
            return None
        bound_to = secrets.router_radius(self.router.tenant_id, self.router.id)
        secret = secrets.unseal(self.settings.network_key, self.router.radius_secret, bound_to)
        return Nas(self.router.address, self.router.coa_port, secret.encode())

    @property
    def address(self) -> routeros.Address | None:
        """Where the router's API is, and how to log in; None when we were not told."""
        row = self.router
        if row.api_username is None or row.api_password is None:
            return None
        return routeros.Address(
            host=row.address,
            port=row.api_port,
            username=row.api_username,
            password=secrets.unseal(
                self.settings.network_key, row.api_password, secrets.router_api(row.tenant_id, row.id)
            ),
            tls=row.api_tls,
            fingerprint=row.api_fingerprint,
        )

    async def api(self) -> routeros.Router:
        """The connection to the router's API. Raises AdapterError, the same again for the rest of the turn."""
        if self._api_error is not None:
            raise self._api_error
        if self._api is None:
            try:
                api = await self._connections.enter_async_context(routeros.connect(self._known_address()))
                await self._identify(api)
            except AdapterError as error:
                self._api_error = error
                raise
            self._api = api
            await self._reached()
        return self._api

    async def answered(self) -> None:
        """The router has answered over RADIUS: it is not out of reach, whatever its API does."""
        if self.router.failures and not self._heard:
            await self._reached()

    async def _reached(self) -> None:
        async with self.transaction() as session:
            await lanes.reached(session, self.lane)
        self._heard = True

    def _known_address(self) -> routeros.Address:
        if self.address is None:
            raise Unreachable(f"We have no login for the API of {self.router.name}")
        return self.address

    async def _identify(self, api: routeros.Router) -> None:
        """A router that was replaced, or whose address another one has got, is not to be changed by mistake."""
        if self.router.serial is None:
            return
        for row in await api.print("/system/routerboard", columns=["serial-number"]):
            if (found := row.get("serial-number")) not in (None, self.router.serial):
                text = f"another device answers, serial number {found} and not {self.router.serial}"
                raise Refused(Refusal.OTHER, f"{text}; if that is right, save the router's address again")

    @property
    def may_reach_api(self) -> bool:
        """Whether it is worth the time to try the API for what could also be left out."""
        if self.address is None or self._api_error is not None:
            return False
        return self._api is not None or self.router.status is not RouterStatus.OFFLINE

    async def reconnect(self) -> None:
        """Forget a connection that broke: the next call of `api` opens another."""
        await self._connections.aclose()
        self._connections = AsyncExitStack()
        self._api = self._api_error = None

    async def close(self) -> None:
        """Close what the turn has opened."""
        await self._connections.aclose()

    async def record(self, steps: Mapping[UUID, Iterable[Step]], of: Sequence[Job], message: str | None = None) -> None:
        """Keep the steps by job, and say how far the jobs are."""
        async with self.database.transaction(self.lane.tenant_id) as session:
            held = await lanes.hold_jobs(session, self.lane, of)
            for key, found in steps.items():
                if key in held:
                    outcomes.record(session, held[key], found, message)


def step_of(protocol: StepProtocol, error: AdapterError) -> Step:
    """An error of an adapter as a step."""
    if isinstance(error, Refused):
        outcome = StepOutcome.REFUSED
    else:
        outcome = StepOutcome.UNREACHABLE if isinstance(error, Unreachable) else StepOutcome.TIMEOUT
    return Step(protocol, outcome, str(error))

"""A customer with one service, what it used, its sessions, and the scheduler that watches it."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert

from ispgraph import clock, ids, scheduler
from ispgraph.db import Database
from ispgraph.domain.models import (
    AuditEntry,
    Customer,
    Job,
    Message,
    Operator,
    Package,
    Service,
    ServiceWatch,
    Session,
    SessionState,
    UsageBucket,
    UsageDay,
)
from tests import subscribers
from tests.api import Api
from tests.conftest import Dsns
from tests.factories import House

GIB = 2**30
SERVICE = """id speedLimit { downloadKbps uploadKbps expiresAt }
  timeLimit { sessionSeconds dailySeconds weeklySeconds monthlySeconds windows { days from to } }
  volumeLimit { dailyBytes monthlyBytes rollover usedTodayBytes usedThisPeriodBytes }
  fup { active activatedAt usedBytes thresholdBytes usedPercent resetsAt }
  effectivePolicy { downloadKbps uploadKbps source until explanation }
  network { desiredVersion radius { attribute value } }"""
_PAYLOAD = f"customer {{ id service {{ {SERVICE} }} }} jobs {{ id kind }} errors {{ code message field }}"
_INPUTS = {"SpeedLimit": "SpeedLimitInput", "TimeLimit": "TimeLimitInput", "VolumeLimit": "VolumeLimitInput"}


class Line:
    """One active PPPoE service of a customer, as operators, routers and the scheduler meet it."""

    def __init__(self, api: Api, house: House, accounting: Database, customer: Customer, service: Service) -> None:
        self.api, self.house, self.accounting = api, house, accounting
        self.customer, self.service = customer, service
        self.id = ids.encode("cus", customer.id)

    async def act(self, action: str, *, who: Operator | None = None, **given: Any) -> dict[str, Any]:
        """The payload of `customerSetSpeedLimit` and its like; `action` without `customer`."""
        kind = _INPUTS.get(action.removeprefix("Set"), "ServiceRef") if action.startswith("Set") else "ServiceRef"
        document = f"mutation ($input: {kind}!) {{ customer{action}(input: $input) {{ {_PAYLOAD} }} }}"
        answer = await self.api.data(document, who or self.house.admin, input={"customerId": self.id, **given})
        payload: dict[str, Any] = answer[f"customer{action}"]
        return payload

    async def done(self, action: str, **given: Any) -> dict[str, Any]:
        """The service after an action without errors."""
        payload = await self.act(action, **given)
        assert payload["errors"] == []
        found: dict[str, Any] = payload["customer"]["service"]
        return found

    async def shown(self) -> dict[str, Any]:
        """The service as the graph shows it."""
        document = f"query ($id: ID!) {{ node(id: $id) {{ ... on Service {{ {SERVICE} }} }} }}"
        found: dict[str, Any] = (
            await self.api.data(document, self.house.admin, id=ids.encode("svc", self.service.id))
        )["node"]
        return found

    async def radius(self) -> dict[str, str]:
        """What a login would be told."""
        return {row["attribute"]: row["value"] for row in (await self.shown())["network"]["radius"]}

    async def policy(self) -> tuple[str, int | None, int | None]:
        """Where its rates come from, and what they are: down, up."""
        found = (await self.shown())["effectivePolicy"]
        return found["source"], found["downloadKbps"], found["uploadKbps"]

    async def use(self, octets: int = 0, seconds: int = 0, at: datetime | None = None) -> None:
        """What accounting writes when it is told of this, at an instant or now."""
        moment = at or clock.now()
        day = moment.astimezone(ZoneInfo(self.house.tenant.time_zone)).date()
        quarter = moment.replace(minute=moment.minute // 15 * 15, second=0, microsecond=0)
        key = {"tenant_id": self.house.tenant.id, "service_id": self.service.id}
        values = {"customer_id": self.customer.id, "input_octets": 0, "output_octets": octets, "seconds": seconds}
        async with self.accounting.transaction(self.house.tenant.id) as session:
            for table, name, place in ((UsageDay, "day", day), (UsageBucket, "starts_at", quarter)):
                row = insert(table).values(**key, **values, **{name: place})
                more = {each: getattr(table, each) + row.excluded[each] for each in ("output_octets", "seconds")}
                await session.execute(
                    row.on_conflict_do_update(index_elements=[*key, name], set_=more)  # as accounting adds to it
                )

    async def dial(self, **fields: Any) -> Session:
        """An open session that was let in with what is right now."""
        now = clock.now()
        async with self.house.database.read(self.house.tenant.id) as session:
            policy = await session.scalar(select(func.radius_policy_of(self.service.id, now))) or ""
        key = ids.uuid7()
        row = Session(
            **{
                **{"id": key, "tenant_id": self.house.tenant.id, "customer_id": self.customer.id},
                **{"service_id": self.service.id, "router_id": self.service.router_id, "acct_session_id": key.hex},
                **{"unique_id": key.hex, "username": self.service.username, "state": SessionState.OPEN},
                **{"connection_type": self.service.connection_type, "started_at": now, "updated_at": now},
                **{"policy": policy[:16], "rate": policy[16:]},
            }
            | fields
        )
        async with self.accounting.transaction(self.house.tenant.id) as session:
            session.add(row)
        return row

    async def change(self, model: type[Any], key: Any, **values: Any) -> None:
        """Set columns of a row."""
        async with self.accounting.transaction(self.house.tenant.id) as session:
            row = await session.get_one(model, key)
            for name, value in values.items():
                setattr(row, name, value)

    async def watch(self) -> list[Job]:
        """One look of the scheduler, and the jobs that it promised."""
        before = {job.id for job in await self.jobs()}
        await scheduler.watch(self.house.database)
        return [job for job in await self.jobs() if job.id not in before]

    async def jobs(self) -> list[Job]:
        """Every job, oldest first."""
        async with self.house.database.read(self.house.tenant.id) as session:
            return list(await session.scalars(select(Job).order_by(Job.id)))

    async def finish_jobs(self) -> None:
        """As if a worker had carried them all out."""
        async with self.accounting.transaction(self.house.tenant.id) as session:
            await session.execute(text("UPDATE jobs SET status = 'SUCCEEDED'"))

    async def messages(self) -> list[Message]:
        """What was written to the customer."""
        async with self.house.database.read(self.house.tenant.id) as session:
            return list(await session.scalars(select(Message).order_by(Message.id)))

    async def audited(self) -> list[AuditEntry]:
        """The record about the customer."""
        rows = select(AuditEntry).where(AuditEntry.subject_id == self.customer.id).order_by(AuditEntry.id)
        async with self.house.database.read(self.house.tenant.id) as session:
            return list(await session.scalars(rows))

    async def row_of_watch(self) -> ServiceWatch:
        """What the scheduler keeps of it."""
        async with self.house.database.read(self.house.tenant.id) as session:
            return await session.get_one(ServiceWatch, (self.house.tenant.id, self.service.id))


class Lines:
    """Makes lines of a house."""

    def __init__(self, api: Api, house: House, accounting: Database) -> None:
        self._api, self._house, self._accounting = api, house, accounting

    async def make(self, package: dict[str, Any] | None = None, **service: Any) -> Line:
        """A customer with a service of a package with these terms."""
        customer = await subscribers.customer(self._house)
        if package is not None:
            made: Package = await self._house.package(f"Package of {customer.account_number}", **package)
            service = {"package_id": made.id} | service
        row = await subscribers.service(self._house, customer, **service)
        return Line(self._api, self._house, self._accounting, customer, row)


@pytest.fixture
async def lines(api: Api, house: House, dsns: Dsns) -> AsyncIterator[Lines]:
    """Lines of `house`."""
    accounting = Database(dsns.superuser, pool_size=2)
    yield Lines(api, house, accounting)
    await accounting.dispose()


@pytest.fixture
async def line(lines: Lines, house: House) -> Line:
    """A line on a router, paid for until twenty days from now; 20 Mbit/s down, 5 up."""
    router = await house.router()
    now = clock.now()
    paid = {"started_at": now - timedelta(days=10), "expires_at": now + timedelta(days=20)}
    return await lines.make({}, router_id=router.id, **paid)

"""Who makes vouchers, sells them, and recharges hotspots, through the API."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert

from ispgraph import clock, ids
from ispgraph.actors.registry import ACTIONS
from ispgraph.actors.run import Runner
from ispgraph.db import Database
from ispgraph.domain.billing import numbers
from ispgraph.domain.models import (
    ConnectionType,
    Customer,
    CustomerStatus,
    Operator,
    Package,
    Service,
    ServiceStatus,
    UsageDay,
)
from ispgraph.settings import Settings
from tests import subscribers
from tests.api import Api
from tests.factories import House, uuid_of

BATCH = "id count made prefix price { amount } expiresAt cancelledAt redeemedCount paidBy { name }"
VOUCHER = "id number code status expiresAt redeemedAt redeemedBy { id } package { name } batch { id }"
CREATE = f"""mutation ($input: VoucherBatchInput!) {{ voucherCreateBatch(input: $input) {{
  batch {{ {BATCH} }} vouchers {{ {VOUCHER} }} job {{ id kind status }} errors {{ code message field }} }} }}"""
CANCEL = f"""mutation ($id: ID!) {{ voucherCancel(voucherId: $id) {{ batch {{ {BATCH} }} vouchers {{ {VOUCHER} }}
  errors {{ code message field }} }} }}"""
CANCEL_BATCH = f"""mutation ($id: ID!) {{ voucherBatchCancel(batchId: $id) {{ batch {{ {BATCH} }}
  errors {{ code message field }} }} }}"""
LIST = f"""query ($status: [VoucherStatus!], $first: Int, $after: String, $batch: ID) {{
  vouchers(status: $status, first: $first, after: $after, batchId: $batch) {{ totalCount
  nodes {{ {VOUCHER} }} pageInfo {{ endCursor hasNextPage }} }} }}"""
BATCHES = f"{{ voucherBatches {{ totalCount nodes {{ {BATCH} }} }} }}"
RECHARGE = """mutation ($input: HotspotRechargeInput!) { customerHotspotRecharge(input: $input) {
  customer { id status wallet { amount } balance { amount } service { id username status expiresAt connectionType
    package { name } } invoices { nodes { id number status total { amount } tax { amount } } } }
  payment { id method category amount { amount } reference allocations { amount { amount } } }
  voucher { id code status redeemedAt redeemedBy { id } } credentials { username password }
  jobs { id kind } errors { code message field } } }"""


@dataclass
class Stall:
    """A house with a package of a week and 1000 bytes of data for hotspots, and a worker."""

    api: Api
    house: House
    settings: Settings
    package: Package
    owner: Database

    async def batch(self, count: int = 1, who: Operator | None = None, **given: Any) -> dict[str, Any]:
        """The payload of voucherCreateBatch."""
        package = given.pop("package", self.package)
        asked = {"packageId": ids.encode("pkg", package.id), "count": count, **given}
        data = await self.api.data(CREATE, who or self.house.admin, input=asked)
        payload: dict[str, Any] = data["voucherCreateBatch"]
        return payload

    async def codes(self, count: int = 1, who: Operator | None = None, **given: Any) -> list[str]:
        """The codes of fresh vouchers."""
        made = await self.batch(count, who, **given)
        assert made["errors"] == [], made
        return [voucher["code"] for voucher in made["vouchers"]]

    async def customer(self, **fields: Any) -> Customer:
        """Somebody without any service."""
        async with self.house.database.transaction(self.house.tenant.id) as session:
            number = await numbers.take(session, self.house.tenant.id, numbers.ACCOUNT)
        account = numbers.account_number(self.house.tenant.account_prefix, number)
        return await subscribers.customer(
            self.house, **{"account_number": account, "status": CustomerStatus.PENDING} | fields
        )

    async def guest(self, **fields: Any) -> tuple[Customer, Service]:
        """Somebody with a hotspot service whose time is over."""
        customer = await self.customer(status=CustomerStatus.EXPIRED)
        values = {
            "connection_type": ConnectionType.HOTSPOT,
            "status": ServiceStatus.EXPIRED,
            "package_id": self.package.id,
            "expires_at": clock.now() - timedelta(days=3),
            "started_at": clock.now() - timedelta(days=10),
        }
        return customer, await subscribers.service(self.house, customer, **values | fields)

    async def recharge(self, customer: Customer, who: Operator | None = None, **given: Any) -> dict[str, Any]:
        """The payload of customerHotspotRecharge."""
        asked = {"customerId": ids.encode("cus", customer.id), **given}
        data = await self.api.data(RECHARGE, who or self.house.admin, input=asked)
        payload: dict[str, Any] = data["customerHotspotRecharge"]
        return payload

    async def listed(self, who: Operator | None = None, **given: Any) -> dict[str, Any]:
        """A page of vouchers."""
        found: dict[str, Any] = (await self.api.data(LIST, who or self.house.admin, **given))["vouchers"]
        return found

    async def use(self, service: Service, octets: int, seconds: int = 0, at: datetime | None = None) -> None:
        """As accounting would tell of a use of a whole day."""
        day = (at or clock.now()).date()
        row = {
            "tenant_id": self.house.tenant.id,
            "customer_id": service.customer_id,
            "service_id": service.id,
            "day": day,
            "input_octets": octets,
            "output_octets": 0,
            "seconds": seconds,
        }
        async with self.owner.transaction(self.house.tenant.id) as session:
            await session.execute(insert(UsageDay).values(row))

    async def work(self, job: dict[str, Any]) -> None:
        """Carry out a job."""
        runner = Runner(self.house.database, self.settings, ACTIONS)
        await runner.run_job(self.house.tenant.id.hex, uuid_of(job["id"]).hex)

"""A customer with a service and bills, on days that a test names, as operators and the scheduler meet them."""

from datetime import UTC, date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select

from ispgraph import clock, daily, ids
from ispgraph.domain.billing import invoices
from ispgraph.domain.models import AuditEntry, Customer, DunningStep, Invoice, Job, Message, Operator, Service
from tests import subscribers
from tests.api import Api
from tests.billing.conftest import Till

PROFILE = """billingProfile { billingCycle billingDay graceDays autoGenerate autoSuspend autoRenew paymentMethod
  contactName contactEmail contactMobile nextInvoiceOn nextSuspensionOn }"""
STEPS = "dunning { on kind rule doneAt outcome }"
CUSTOMER = f"""query ($id: ID!) {{ customer(by: {{id: $id}}) {{ status statusReason {PROFILE}
  service {{ status suspendOn suspendRule {{ recurringDayOfMonth remindDaysBefore }} }}
  invoices {{ nodes {{ number status {STEPS} }} }} }} }}"""
PAY = """mutation ($input: AdvancePaymentInput!) { customerRecordAdvancePayment(input: $input) {
  payment { id } errors { code message field } } }"""
UPDATE = f"""mutation ($input: UpdateBillingProfileInput!) {{ customerUpdateBillingProfile(input: $input) {{
  customer {{ {PROFILE} }} errors {{ code message field }} }} }}"""
IMPACT = """query ($id: ID!, $input: BillingProfileInput!) { billingProfileImpact(customerId: $id, input: $input) {
  nextInvoiceOn nextSuspensionOn proration { amount currency } requiresConfirmation explanation } }"""
SETTINGS = """mutation ($input: TenantSettingsInput!) { tenantSettingsUpdate(input: $input) { settings {
  dunning { remindDaysBefore remindDaysAfter graceDays holidays at } } errors { code message field } } }"""
SUSPEND_DATE = """mutation ($input: SuspendDateInput!) { customerSetSuspendDate(input: $input) { customer { status
  service { suspendOn suspendRule { recurringDayOfMonth remindDaysBefore } } }
  jobs { id } errors { code message field } } }"""


class Debtor:
    """One customer of a house with one active service, and the days that pass."""

    def __init__(self, api: Api, till: Till, customer: Customer, service: Service) -> None:
        self.api, self.till, self.house = api, till, till.house
        self.customer, self.service = customer, service
        self.id = ids.encode("cus", customer.id)

    def go(self, day: str, at: str = "10:00") -> None:
        """It is this time of this day in the tenant's zone."""
        there = datetime.combine(date.fromisoformat(day), time.fromisoformat(at), ZoneInfo(self.house.tenant.time_zone))
        clock.set_clock(there.astimezone(UTC).isoformat())

    async def run(self) -> None:
        """What the scheduler does about debts and days of suspension."""
        await daily.in_chunks(self.house.database, {}, {})

    async def day(self, day: str) -> list[str]:
        """The messages of a day on which the scheduler ran, and what became of the service when that changed."""
        before, was = len(await self.messages()), await self.status()
        self.go(day)
        await self.run()
        told = [message.event for message in (await self.messages())[before:]]
        now = await self.status()
        return told if now == was else [*told, now]

    async def bill(self, *prices: int, service: Service | None = None) -> Invoice:
        """An open invoice for the service, or another one, of today."""
        async with self.house.database.transaction(self.house.tenant.id) as session:
            row = await self.till.draft(session, self.customer.id, *prices)
            row.service_id = (service or self.service).id
            await session.flush()
        async with self.house.database.transaction(self.house.tenant.id) as session:
            found = await session.get_one(Invoice, row.id)
            return await invoices.open(session, found, tenant=self.house.tenant, at=clock.now(), by=self.till.by)

    async def pay(self, amount: str) -> str:
        """Money at the desk; the payment's id."""
        given = {"customerId": self.id, "amount": amount, "method": "CASH"}
        payload = (await self.api.data(PAY, self.house.admin, input=given))["customerRecordAdvancePayment"]
        assert payload["errors"] == []
        payment: str = payload["payment"]["id"]
        return payment

    async def settings(self, **dunning: Any) -> dict[str, Any]:
        """Change what the tenant has decided."""
        answer = await self.api.data(SETTINGS, self.house.admin, input={"dunning": dunning})
        payload: dict[str, Any] = answer["tenantSettingsUpdate"]
        return payload

    async def update(self, *, confirm: bool = False, who: Operator | None = None, **given: Any) -> dict[str, Any]:
        """The payload of a change of the profile."""
        asked = {"customerId": self.id, "profile": given, "confirmImpact": confirm}
        payload: dict[str, Any] = (await self.api.data(UPDATE, who or self.house.admin, input=asked))[
            "customerUpdateBillingProfile"
        ]
        return payload

    async def impact(self, **given: Any) -> dict[str, Any]:
        """What a change would bring."""
        found: dict[str, Any] = (await self.api.data(IMPACT, self.house.admin, id=self.id, input=given))[
            "billingProfileImpact"
        ]
        return found

    async def suspend_on(self, **given: Any) -> dict[str, Any]:
        """The payload of setting a day of suspension."""
        asked = {"customerId": self.id, **given}
        payload: dict[str, Any] = (await self.api.data(SUSPEND_DATE, self.house.admin, input=asked))[
            "customerSetSuspendDate"
        ]
        return payload

    async def shown(self) -> dict[str, Any]:
        """The customer in the graph."""
        found: dict[str, Any] = (await self.api.data(CUSTOMER, self.house.admin, id=self.id))["customer"]
        return found

    async def profile(self) -> dict[str, Any]:
        """The billing profile in the graph."""
        found: dict[str, Any] = (await self.shown())["billingProfile"]
        return found

    async def status(self) -> str:
        """Of the service."""
        async with self.house.database.read(self.house.tenant.id) as session:
            return (await session.get_one(Service, self.service.id)).status.value

    async def messages(self) -> list[Message]:
        """What was written, by SMS."""
        rows = select(Message).where(Message.channel == "SMS", Message.customer_id == self.customer.id)
        return await self._rows(rows.order_by(Message.id))

    async def jobs(self) -> list[Job]:
        return await self._rows(select(Job).where(Job.customer_id == self.customer.id).order_by(Job.id))

    async def steps(self) -> list[DunningStep]:
        return await self._rows(select(DunningStep).order_by(DunningStep.done_at, DunningStep.planned_on))

    async def audited(self) -> list[AuditEntry]:
        rows = select(AuditEntry).where(AuditEntry.subject_id == self.customer.id)
        return await self._rows(rows.order_by(AuditEntry.id))

    async def _rows(self, rows: Any) -> list[Any]:
        async with self.house.database.read(self.house.tenant.id) as session:
            return list(await session.scalars(rows))


async def debtor(api: Api, till: Till, **service: Any) -> Debtor:
    """A customer with an active service that is paid for until the end of the year after next."""
    customer = await subscribers.customer(till.house)
    paid = {"started_at": datetime(2026, 12, 1, tzinfo=UTC), "expires_at": datetime(2028, 12, 1, tzinfo=UTC)}
    return Debtor(api, till, customer, await subscribers.service(till.house, customer, **paid | service))

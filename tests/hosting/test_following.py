"""Hosting accounts of those who owe: suspended and put on line again with their internet service, where a tenant wants
it so."""

from typing import Any

from ispgraph import clock, daily, ids
from ispgraph.domain.models import HostingStatus, Operator
from tests import subscribers
from tests.billing.conftest import Till
from tests.hosting.site import Site

SETTINGS = """mutation ($on: Boolean!) { tenantSettingsUpdate(input: {hostingFollowsInvoices: $on}) {
  settings { hostingFollowsInvoices } errors { message } } }"""
PAY = """mutation ($input: AdvancePaymentInput!) { customerRecordAdvancePayment(input: $input) { errors { code } } }"""
SUSPEND = """mutation ($id: ID!, $reason: SuspendReason!) { customerSuspend(input: {customerId: $id, reason: $reason}) {
  errors { code } } }"""
ACTIVATE = "mutation ($id: ID!) { customerActivate(input: {customerId: $id}) { errors { code message } } }"


class Tenancy:
    """A customer with a service, a bill, and an account on the panel."""

    def __init__(self, site: Site, till: Till) -> None:
        self.site, self.till = site, till
        self.customer, self.account = "", ""

    async def begin(self) -> None:
        row = await self.site.customer()
        await subscribers.service(self.site.house, row)
        self.customer, self.row = ids.encode("cus", row.id), row
        made = await self.site.done("hostingProvision", **await self.site.wish(row))
        self.account = made["account"]["id"]
        await self.site.work()

    async def does(self, document: str, **variables: Any) -> None:
        who: Operator = self.site.house.admin
        (payload,) = (await self.site.api.data(document, who, **variables)).values()
        assert payload["errors"] == []

    async def owes(self, day: str) -> None:
        """The scheduler looks at debts on this day, and a worker works."""
        clock.set_clock(f"{day}T04:00:00Z")
        await daily.in_chunks(self.site.house.database, {}, {})
        await self.site.work()

    async def stands(self) -> tuple[HostingStatus, bool, str]:
        """What we believe, whether it is held, and what the panel has."""
        row = await self.site.row(self.account)
        (there,) = self.site.double.named("ann")
        return row.status, row.held, there.status


async def test_an_account_goes_off_line_with_a_debt_and_on_line_without(site: Site) -> None:
    till = Till(site.house, await site.house.viewer())
    case = Tenancy(site, till)
    clock.set_clock("2026-02-01T04:00:00Z")
    await case.begin()
    await till.bill(case.row.id, 5_000)
    await case.does(SETTINGS, on=True)
    await case.owes("2026-02-09")
    assert await case.stands() == (HostingStatus.ACTIVE, False, "active"), "in grace"
    await case.owes("2026-02-20")
    assert await case.stands() == (HostingStatus.SUSPENDED, True, "suspended")
    assert site.double.named("ann")[0].reason == "Non-payment"
    await case.does(PAY, input={"customerId": case.customer, "amount": "50.00", "method": "CASH"})
    await site.work()
    assert await case.stands() == (HostingStatus.ACTIVE, False, "active")
    assert await site.trail(case.row.id) == ["hosting.provision", "hosting.hold", "hosting.let_go"]


async def test_what_an_operator_wants_is_kept_apart(site: Site) -> None:
    case = Tenancy(site, Till(site.house, await site.house.viewer()))
    await case.begin()
    await case.does(SUSPEND, id=case.customer, reason="NON_PAYMENT")
    await site.work()
    assert await case.stands() == (HostingStatus.ACTIVE, False, "active"), "nobody has asked for it"
    await case.does(ACTIVATE, id=case.customer)
    await case.does(SETTINGS, on=True)

    await case.does(SUSPEND, id=case.customer, reason="MAINTENANCE")
    await site.work()
    assert await case.stands() == (HostingStatus.ACTIVE, False, "active"), "that is no debt"
    await case.does(ACTIVATE, id=case.customer)
    await case.does(SUSPEND, id=case.customer, reason="NON_PAYMENT")
    await site.work()
    assert await case.stands() == (HostingStatus.SUSPENDED, True, "suspended")
    await site.done("hostingSuspend", id=case.account, reason="Sent spam")
    await case.does(SETTINGS, on=False)
    await case.does(ACTIVATE, id=case.customer)
    await site.work()
    assert await case.stands() == (HostingStatus.SUSPENDED, False, "suspended"), "for the spam"
    await site.done("hostingUnsuspend", id=case.account)
    await site.work()
    assert await case.stands() == (HostingStatus.ACTIVE, False, "active")

    await case.does(SETTINGS, on=True)
    await case.does(SUSPEND, id=case.customer, reason="NON_PAYMENT")
    await site.done("hostingUnsuspend", id=case.account)
    await site.work()
    assert await case.stands() == (HostingStatus.ACTIVE, False, "active"), "an operator gives time"

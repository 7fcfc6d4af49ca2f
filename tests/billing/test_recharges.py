"""Days bought one by one, and services that renew themselves from the wallet."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import update

from ispgraph import clock, ids, scheduler
from ispgraph.db import Database
from ispgraph.domain.models import BillingCycle, Service, ServiceStatus, Tenant
from tests.api import Api
from tests.billing.changing import Buyer, faults, figures, sound, wallet
from tests.factories import House

pytestmark = pytest.mark.usefixtures("moved_clock")

UPDATE = """mutation ($input: UpdateBillingProfileInput!) { customerUpdateBillingProfile(input: $input) {
  errors { code message } } }"""
OVERRIDE = "mutation ($input: PriceOverrideInput!) { priceOverrideSet(input: $input) { errors { code message } } }"


@pytest.fixture
async def buyer(api: Api, house: House) -> Buyer:
    """Home 20 for 310.00 a month, bought and paid at ten in the morning of 31 January."""
    package = await house.package(price_minor=31_000)
    return await Buyer.enrolled(api, house, package, at="2026-01-31T04:00:00Z", pays="310")


async def set_service(buyer: Buyer, **values: object) -> None:
    async with buyer.house.database.transaction(buyer.house.tenant.id) as session:
        await session.execute(update(Service).values(**values))


async def test_days_go_on_from_the_end_and_are_paid_at_once(buyer: Buyer, owner: Database) -> None:
    async with owner.transaction(buyer.house.tenant.id) as session:
        await session.execute(update(Tenant).values(tax_rate=10))
    clock.set_clock("2026-02-20T04:00:00Z")
    quote = await buyer.days(5)
    # 310.00 for the 28 days from 28 February to 28 March: 55.36 for five of them.
    assert figures(quote) == ("0.00", "55.36", "5.54", "60.90")
    (line,) = quote["lines"]
    assert line["description"] == "Home 20, 5 days, 28 February to 5 March 2026"
    assert line["explanation"] == "5 days at 310.00 USD for 28 days, and 10 % tax."
    assert (quote["effectiveAt"][:16], quote["nextInvoiceOn"]) == ("2026-02-28T04:00", "2026-03-05")
    done = await buyer.recharge(5, quoteToken=quote["token"], reference="slip 7", autoRenew=True)
    assert done["errors"] == []
    assert (done["invoice"]["status"], done["invoice"]["total"]["amount"]) == ("PAID", "60.90")
    assert done["payment"] == {"method": "CASH", "category": "RECHARGE", "amount": {"amount": "60.90"}}
    service = done["customer"]["service"]
    assert (service["expiresAt"][:16], service["autoRenew"]) == ("2026-03-05T04:00", True)
    assert [job["kind"] for job in done["jobs"]] == ["service.provision"]
    # The next ones begin where these end.
    assert (await buyer.recharge(30))["customer"]["service"]["expiresAt"][:16] == "2026-04-04T04:00"
    await sound(owner)


async def test_a_daily_rate_is_what_a_day_costs(api: Api, house: House, owner: Database) -> None:
    package = await house.package(price_minor=31_000, daily_rate_minor=1_234)
    buyer = await Buyer.enrolled(api, house, package, at="2026-01-31T04:00:00Z", pays="310")
    await set_service(buyer, status=ServiceStatus.EXPIRED)
    clock.set_clock("2026-03-10T12:00:00Z")
    quote = await buyer.days(3)
    assert figures(quote) == ("0.00", "37.02", "0.00", "37.02")
    assert "Auth-Type" in [row["attribute"] for row in quote["radiusBefore"]]
    assert "Auth-Type" not in [row["attribute"] for row in quote["radiusAfter"]]
    await buyer.advance("37.01")
    short = await buyer.recharge(3, "WALLET")
    assert faults(short) == [("INSUFFICIENT_FUNDS", ["input", "method"])]
    assert (await buyer.state())["service"]["status"] == "EXPIRED"
    await buyer.advance("1")
    done = await buyer.recharge(3, "WALLET", idempotencyKey="k")
    assert (done["errors"], wallet(done)) == ([], ("0.99", "0.99"))
    assert (done["customer"]["status"], done["customer"]["service"]["status"]) == ("ACTIVE", "ACTIVE")
    # From now on, not from an end that is long over.
    assert done["customer"]["service"]["expiresAt"][:16] == "2026-03-13T12:00"
    again = await buyer.recharge(3, "WALLET", idempotencyKey="k")
    assert (again["invoice"]["id"], again["payment"]) == (done["invoice"]["id"], done["payment"])
    await sound(owner)


async def test_hours_of_a_day_are_sold_where_the_package_allows_it(api: Api, house: House, owner: Database) -> None:
    package = await house.package(price_minor=31_000, daily_rate_minor=1_000)
    buyer = await Buyer.enrolled(api, house, package, at="2026-01-31T04:00:00Z", pays="310")
    assert faults(await buyer.recharge(0, hours=5)) == [("INVALID", ["input", "hours"])]
    change = """mutation ($id: ID!, $input: PackageInput!) {
      packageUpdate(packageId: $id, input: $input) { errors { code } } }"""
    shown = "query ($id: ID!) { node(id: $id) { ... on Package { allowPartialDay } } }"
    key = ids.encode("pkg", package.id)
    assert await api.data(shown, house.admin, id=key) == {"node": {"allowPartialDay": False}}
    given = {"name": "Home 20", "connectionTypes": ["PPPOE"], "downloadKbps": 20_000, "uploadKbps": 5_000}
    given |= {"price": "310", "dailyRate": "10", "allowPartialDay": True}
    assert await api.data(change, house.admin, id=key, input=given) == {"packageUpdate": {"errors": []}}
    assert await api.data(shown, house.admin, id=key) == {"node": {"allowPartialDay": True}}
    for days, hours, field in ((0, 24, "hours"), (0, -1, "hours"), (31, 1, "days"), (-1, 1, "days"), (0, 0, "days")):
        assert faults(await buyer.recharge(days, hours=hours)) == [("INVALID", ["input", field])]
    clock.set_clock("2026-02-28T02:00:00Z")
    quote = await buyer.days(2, hours=5)
    # 53 hours of 10.00 for 24: 22.083.
    assert figures(quote) == ("0.00", "22.08", "0.00", "22.08")
    (line,) = quote["lines"]
    assert line["description"] == "Home 20, 2 days and 5 hours, 28 February to 2 March 2026"
    assert line["explanation"] == "2 days and 5 hours at 10.00 USD for 24 hours, without tax."
    assert faults(await buyer.recharge(2, hours=6, quoteToken=quote["token"])) == [
        ("QUOTE_STALE", ["input", "quoteToken"])
    ]
    done = await buyer.recharge(2, hours=5, quoteToken=quote["token"])
    assert (done["errors"], done["invoice"]["total"]["amount"]) == ([], "22.08")
    assert done["customer"]["service"]["expiresAt"][:16] == "2026-03-02T09:00"
    # An hour alone; a change on that day charges and gives back nothing for it.
    assert (await buyer.recharge(0, hours=1))["invoice"]["total"]["amount"] == "0.42"
    await sound(owner)


async def test_what_cannot_be_recharged(buyer: Buyer) -> None:
    other = await buyer.house.package("Other", price_minor=100)
    key = ids.encode("pkg", other.id)
    for days in (0, 31, -1):
        assert faults(await buyer.recharge(days)) == [("INVALID", ["input", "days"])]
    assert faults(await buyer.recharge(1, "VOUCHER")) == [("INVALID", ["input", "method"])]
    assert faults(await buyer.recharge(1, packageId=key)) == [("INVALID_STATE", ["input", "packageId"])]
    token = (await buyer.days(1))["token"]
    assert faults(await buyer.recharge(2, quoteToken=token)) == [("QUOTE_STALE", ["input", "quoteToken"])]
    clock.set_clock("2026-03-05T04:00:00Z")
    done = await buyer.recharge(1, packageId=key)
    assert (done["errors"], done["customer"]["service"]["package"]["name"]) == ([], "Other")
    await set_service(buyer, status=ServiceStatus.PENDING)
    assert faults(await buyer.recharge(1)) == [("INVALID_STATE", ["input", "customerId"])]


async def test_a_change_after_a_recharge_gives_both_back(buyer: Buyer, owner: Database) -> None:
    clock.set_clock("2026-02-20T04:00:00Z")
    await buyer.recharge(5)
    free = await buyer.house.package("Free", price_minor=0)
    clock.set_clock("2026-02-21T04:00:00Z")
    # 7 of 28 days of 310.00, and the five days that have not begun.
    quote = await buyer.quote(free)
    assert figures(quote) == ("132.86", "0.00", "0.00", "-132.86")
    assert (await buyer.change(free))["customer"]["service"]["expiresAt"][:10] == "2026-03-05"
    await sound(owner)


def about_renewal(state: dict[str, Any]) -> list[dict[str, Any]]:
    """Messages other than those of the wizard and of payments."""
    return [row for row in state["messages"]["nodes"] if "Another period" in row["body"]]


async def test_the_wallet_renews_once_for_a_period(buyer: Buyer, owner: Database) -> None:
    await set_service(buyer, auto_renew=True)
    await buyer.advance("700")
    clock.set_clock("2026-02-28T02:50:00Z")
    await scheduler.renew(buyer.house.database)
    assert len((await buyer.state())["invoices"]["nodes"]) == 1
    clock.set_clock("2026-02-28T03:30:00Z")
    await asyncio.gather(*(scheduler.renew(buyer.house.database) for _ in range(4)))
    state = await buyer.state()
    first = state["invoices"]["nodes"][0]
    assert (first["status"], first["total"]["amount"], first["periodEnd"][:16]) == (
        "PAID",
        "310.00",
        "2026-03-31T04:00",
    )
    assert (len(state["invoices"]["nodes"]), state["wallet"]["amount"]) == (2, "390.00")
    # 31 January comes back on 31 March.
    assert state["service"]["expiresAt"][:16] == "2026-03-31T04:00"
    assert about_renewal(state) == []
    await sound(owner)


async def test_who_cannot_pay_is_told_once_and_renewed_later(buyer: Buyer, owner: Database) -> None:
    await set_service(buyer, auto_renew=True)
    await buyer.advance("309.99")
    clock.set_clock("2026-02-28T03:30:00Z")
    await asyncio.gather(*(scheduler.renew(buyer.house.database) for _ in range(3)))
    await scheduler.renew(buyer.house.database)
    state = await buyer.state()
    told = about_renewal(state)
    assert [row["channel"] for row in told] == ["EMAIL", "SMS"]
    said = "ends 2026-02-28 10:00. Another period of Home 20 costs USD 310.00; your balance holds USD 309.99."
    assert said in told[0]["body"]
    assert len(state["invoices"]["nodes"]) == 1
    # The money comes when the time is over: a period begins then, for what was not served is not charged.
    clock.set_clock("2026-03-02T08:00:00Z")
    await scheduler.renew(buyer.house.database)
    await buyer.advance("0.01")
    await scheduler.renew(buyer.house.database)
    state = await buyer.state()
    assert (state["wallet"]["amount"], state["service"]["expiresAt"][:16]) == ("0.00", "2026-04-02T08:00")
    assert len(about_renewal(state)) == 2
    await sound(owner)


@pytest.mark.parametrize(
    ("document", "given", "costs"),
    [
        (UPDATE, {"profile": {"billingCycle": "WEEKLY"}, "confirmImpact": True}, "72.33"),
        (OVERRIDE, {"price": "100", "reason": "Promised"}, "100"),
    ],
)
async def test_who_was_told_is_renewed_by_what_it_costs_and_not_by_the_price_of_the_package(
    buyer: Buyer, document: str, given: dict[str, Any], costs: str
) -> None:
    await set_service(buyer, auto_renew=True)
    package = {"packageId": ids.encode("pkg", buyer.package.id)} if document == OVERRIDE else {}
    asked = {"customerId": buyer.customer, **package, **given}
    (payload,) = (await buyer.api.data(document, buyer.house.admin, input=asked)).values()
    assert payload["errors"] == []
    clock.set_clock("2026-02-28T03:30:00Z")
    await scheduler.renew(buyer.house.database)
    assert len(about_renewal(await buyer.state())) == 2
    await buyer.advance(costs)
    await scheduler.renew(buyer.house.database)
    state = await buyer.state()
    assert (len(state["invoices"]["nodes"]), state["wallet"]["amount"]) == (2, "0.00")


async def test_what_does_not_renew_itself_ends(buyer: Buyer, house: House) -> None:
    await buyer.advance("700")
    clock.set_clock("2026-02-28T03:30:00Z")
    await scheduler.renew(buyer.house.database)
    once = await house.package("Once", billing_cycle=BillingCycle.ONE_TIME)
    await set_service(buyer, auto_renew=True, package_id=once.id)
    await scheduler.renew(buyer.house.database)
    await set_service(buyer, package_id=buyer.package.id, status=ServiceStatus.SUSPENDED)
    await scheduler.renew(buyer.house.database)
    assert len((await buyer.state())["invoices"]["nodes"]) == 1

"""Billing profiles: what counts where nothing is agreed, what a change brings, and what it takes to make it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from ispgraph import ids
from ispgraph.domain import money
from ispgraph.domain.billing import cycles, periods, proration
from ispgraph.domain.billing.periods import Cycle, Period
from ispgraph.domain.billing.proration import Sold
from ispgraph.domain.models import BillingCycle, BillingProfile, Role, Service, ServiceStatus
from tests import subscribers
from tests.api import Api
from tests.billing.conftest import Till
from tests.billing.debtor import IMPACT, Debtor
from tests.billing.debtor import debtor as make
from tests.factories import House

ZONES = st.sampled_from(["Asia/Dhaka", "Europe/Berlin", "Pacific/Apia", "America/St_Johns", "UTC"])
ENDS = st.datetimes(datetime(2012, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  made aware
MONTHS = st.sampled_from([Cycle(1, 0), Cycle(3, 0), Cycle(12, 0)])
DAYS = st.integers(1, 28)


@pytest.fixture
async def debtor(api: Api, till: Till, moved_clock: None) -> Debtor:
    """Paid for from 10 February to 10 March 2027, 06:00 in Dhaka; 30.00 a month, and 15 % tax."""
    package = await till.house.package(price_minor=3_000, daily_rate_minor=150)
    anchor = datetime(2027, 1, 10, tzinfo=UTC)
    terms = {"billing_anchor": anchor, "started_at": anchor, "expires_at": datetime(2027, 3, 10, tzinfo=UTC)}
    found = await make(api, till, package_id=package.id, **terms)
    found.go("2027-02-20")
    document = "mutation ($input: TenantSettingsInput!) { tenantSettingsUpdate(input: $input) { errors { code } } }"
    await api.data(document, till.house.admin, input={"taxRate": "15"})
    return found


async def service(debtor: Debtor) -> Service:
    async with debtor.house.database.read(debtor.house.tenant.id) as session:
        return await session.get_one(Service, debtor.service.id)


# -- periods and prices, pure


@given(ENDS, MONTHS, st.integers(-3, 30), DAYS, ZONES)
def test_a_new_day_charges_each_moment_once_and_then_whole_periods(
    anchor: datetime, cycle: Cycle, number: int, day: int, zone: str
) -> None:
    end = periods.boundary(anchor, cycle, number, zone)
    moved = cycles.on_day(end, day, zone)
    first = cycles.upcoming(moved, cycle, end, zone)
    assert first.period.start == end, "the running period is kept"
    assert periods.local_date(first.period.end, zone).day == day
    assert first.period.end - end <= timedelta(days=31 * max(cycle.months, 1) + 1)
    assert first.whole.start <= end < first.whole.end
    following = cycles.upcoming(moved, cycle, first.period.end, zone)
    assert not following.partial
    assert following.period.start == first.period.end
    assert periods.local_date(following.period.end, zone).day == day


@given(ENDS, MONTHS, DAYS, ZONES, st.integers(0, 10**9), st.booleans())
def test_the_part_costs_what_its_days_do(
    end: datetime, cycle: Cycle, day: int, zone: str, price: int, included: bool
) -> None:
    found = cycles.upcoming(cycles.on_day(end, day, zone), cycle, end, zone)
    line = cycles.line(Sold("Home 20", cycle, price, "USD", Decimal(15), included), found, zone)
    of, left = proration.days(found.whole, zone), proration.days(found.period, zone)
    assert line.unit_price_minor == money.half_up(Fraction(price * left, of))
    assert 0 <= line.unit_price_minor <= price
    assert (line.unit_price_minor == price) == (left == of or price == line.unit_price_minor)


@given(st.integers(0, 10**9), MONTHS, MONTHS)
def test_months_are_scaled_by_months(price: int, own: Cycle, wanted: Cycle) -> None:
    found = cycles.price_minor(price, 7, own, wanted)
    assert abs(found * own.months - price * wanted.months) * 2 <= own.months
    assert cycles.price_minor(price, None, own, own) == price


@pytest.mark.parametrize(
    ("price", "daily", "own", "wanted", "expected"),
    [
        (3_000, None, Cycle(1, 0), Cycle(12, 0), 36_000),
        (3_000, 150, Cycle(1, 0), Cycle(3, 0), 9_000),
        (36_000, None, Cycle(12, 0), Cycle(1, 0), 3_000),
        (100, None, Cycle(3, 0), Cycle(1, 0), 33),
        (3_000, 150, Cycle(1, 0), Cycle(0, 7), 1_050),
        (3_000, None, Cycle(1, 0), Cycle(0, 7), 700),
        (3_000, None, Cycle(1, 0), Cycle(0, 1), 100),
        (700, None, Cycle(0, 7), Cycle(1, 0), 3_000),
        (700, None, Cycle(0, 7), Cycle(12, 0), 36_500),
        (1_000, None, Cycle(0, 7), Cycle(1, 0), 4_286),
        (1_000, None, Cycle(0, 10), Cycle(0, 1), 100),
    ],
)
def test_the_price_of_another_cycle(price: int, daily: int | None, own: Cycle, wanted: Cycle, expected: int) -> None:
    assert cycles.price_minor(price, daily, own, wanted) == expected


def test_a_cycle_that_was_chosen_counts_unless_it_is_sold_once() -> None:
    chosen = cycles.chosen
    assert chosen(BillingCycle.MONTHLY, 30, None) == Cycle(1, 0)
    assert chosen(BillingCycle.MONTHLY, 10, None) == Cycle(0, 10)
    assert chosen(BillingCycle.MONTHLY, 10, BillingCycle.YEARLY) == Cycle(12, 0)
    assert chosen(BillingCycle.DAILY, 30, BillingCycle.DAILY) == Cycle(0, 30)
    assert chosen(BillingCycle.MONTHLY, 30, BillingCycle.DAILY) == Cycle(0, 1)
    assert chosen(BillingCycle.ONE_TIME, 30, BillingCycle.MONTHLY) == Cycle(0, 30, recurs=False)


# -- what counts


async def test_without_a_profile_the_package_and_the_tenant_count(debtor: Debtor, till: Till) -> None:
    usual = {
        "billingCycle": "MONTHLY",
        "billingDay": 10,
        "graceDays": 3,
        "autoGenerate": True,
        "autoSuspend": True,
        "autoRenew": False,
        "paymentMethod": None,
        "contactName": None,
        "contactEmail": None,
        "contactMobile": None,
        "nextInvoiceOn": "2027-03-10",
        "nextSuspensionOn": None,
    }
    assert await debtor.profile() == usual
    await debtor.settings(graceDays=5)
    assert (await debtor.profile())["graceDays"] == 5
    async with debtor.house.database.read(debtor.house.tenant.id) as session:
        assert (await session.scalars(select(BillingProfile))).all() == [], "looking makes none"
    joined = datetime(2027, 1, 31, 20, tzinfo=UTC)
    alone = await subscribers.customer(debtor.house, joined_at=joined)
    shown = Debtor(debtor.api, till, alone, debtor.service)
    assert await shown.profile() == usual | {"billingDay": 1, "graceDays": 5, "nextInvoiceOn": None}


async def test_what_is_agreed_counts_and_can_be_taken_back(debtor: Debtor) -> None:
    payload = await debtor.update(
        graceDays=10,
        autoRenew=True,
        paymentMethod="MOBILE_MONEY",
        contactName="  Accounts  ",
        contactEmail="Accounts@Example.NET",
        contactMobile="01811 223344",
    )
    assert payload["errors"] == []
    profile = payload["customer"]["billingProfile"]
    assert profile["graceDays"] == 10
    assert profile["autoRenew"] is True
    assert (await service(debtor)).auto_renew is True
    assert profile["paymentMethod"] == "MOBILE_MONEY"
    assert (profile["contactName"], profile["contactEmail"], profile["contactMobile"]) == (
        "Accounts",
        "accounts@example.net",
        "+8801811223344",
    )
    [entry] = [row for row in await debtor.audited() if row.action == "customer.update_billing_profile"]
    assert entry.details["changed"]["grace_days"] == [None, 10]
    # Null takes away, but is no answer to a question of yes or no.
    nothing = dict.fromkeys(("graceDays", "autoRenew", "contactName", "contactEmail", "contactMobile"))
    profile = (await debtor.update(**nothing))["customer"]["billingProfile"]
    assert (profile["graceDays"], profile["autoRenew"], profile["contactEmail"]) == (3, True, None)
    assert profile["paymentMethod"] == "MOBILE_MONEY", "what is left out stays"
    # The same again is no change.
    count = len(await debtor.audited())
    assert (await debtor.update(**nothing))["errors"] == []
    assert len(await debtor.audited()) == count


async def test_next_suspension_is_what_happens_by_the_customers_own_grace(debtor: Debtor) -> None:
    await debtor.bill(3_000)
    assert (await debtor.profile())["nextSuspensionOn"] == "2027-03-03"
    impact = await debtor.impact(graceDays=8)
    assert impact == {
        "nextInvoiceOn": "2027-03-10",
        "nextSuspensionOn": "2027-03-08",
        "proration": {"amount": "0.00", "currency": "USD"},
        "requiresConfirmation": False,
        "explanation": "Services go on for 8 days after an invoice was due.",
    }
    assert (await debtor.profile())["nextSuspensionOn"] == "2027-03-03", "asking changes nothing"
    await debtor.update(graceDays=8)
    assert (await debtor.profile())["nextSuspensionOn"] == "2027-03-08"
    assert "SUSPENDED" not in await debtor.day("2027-03-07")
    assert "SUSPENDED" in await debtor.day("2027-03-08")
    assert (await debtor.profile())["nextSuspensionOn"] is None


# -- big changes


async def test_another_billing_day(debtor: Debtor) -> None:
    """From the 10th to the 20th: 10 of the 28 days from 20 February are 10.71 and 1.61 of tax."""
    impact = await debtor.impact(billingDay=20)
    assert impact == {
        "nextInvoiceOn": "2027-03-10",
        "nextSuspensionOn": None,
        "proration": {"amount": "12.32", "currency": "USD"},
        "requiresConfirmation": True,
        "explanation": "Home 20 stays as it is paid for, until 10 March 2027. Then comes Home 20, 10 of 28 days, "
        "10 March to 20 March 2027: 10 of 28 days of 30.00 USD, and 15 % tax. Whole periods of 1 month follow.",
    }
    payload = await debtor.update(billingDay=20)
    assert [(error["code"], error["field"]) for error in payload["errors"]] == [
        ("REQUIRED", ["input", "confirmImpact"])
    ]
    assert impact["explanation"] in payload["errors"][0]["message"]
    assert (await service(debtor)).billing_anchor == datetime(2027, 1, 10, tzinfo=UTC)
    assert await debtor.audited() == []
    payload = await debtor.update(billingDay=20, confirm=True)
    assert payload["errors"] == []
    assert payload["customer"]["billingProfile"]["billingDay"] == 20
    row = await service(debtor)
    assert (row.expires_at, row.billing_anchor) == (
        datetime(2027, 3, 10, tzinfo=UTC),
        datetime(2027, 3, 20, tzinfo=UTC),
    )
    # Back again before anything was billed: the next period is a whole one, which needs no confirmation.
    impact = await debtor.impact(billingDay=10)
    assert (impact["requiresConfirmation"], impact["proration"]["amount"]) == (False, "0.00")
    assert (await debtor.update(billingDay=10))["errors"] == []
    row = await service(debtor)
    assert row.billing_anchor is not None
    found = cycles.upcoming(row.billing_anchor, Cycle(1, 0), row.expires_at or row.billing_anchor, "Asia/Dhaka")
    assert found.period == Period(datetime(2027, 3, 10, tzinfo=UTC), datetime(2027, 4, 10, tzinfo=UTC))
    assert not found.partial


async def test_another_cycle(debtor: Debtor) -> None:
    impact = await debtor.impact(billingCycle="YEARLY")
    assert impact["requiresConfirmation"] is True
    assert impact["proration"]["amount"] == "0.00"
    assert impact["explanation"] == (
        "Home 20 stays as it is paid for, until 10 March 2027. Then comes Home 20, 1 year, 10 March 2027 to "
        "10 March 2028: 1 year at 360.00 USD, and 15 % tax."
    )
    assert (await debtor.update(billingCycle="YEARLY"))["errors"][0]["code"] == "REQUIRED"
    profile = (await debtor.update(billingCycle="YEARLY", confirm=True))["customer"]["billingProfile"]
    assert profile["billingCycle"] == "YEARLY"
    # And a day as well: 10 days of a year.
    impact = await debtor.impact(billingDay=20)
    assert impact["proration"]["amount"] == "11.34"
    assert "10 of 365 days of 360.00 USD" in impact["explanation"]
    impact = await debtor.impact(billingCycle="WEEKLY")
    assert "7 days at 10.50 USD" in impact["explanation"]


async def test_the_cycle_that_counts_already_is_no_big_change(debtor: Debtor) -> None:
    assert (await debtor.impact(billingCycle="MONTHLY"))["requiresConfirmation"] is False
    assert (await debtor.update(billingCycle="MONTHLY"))["errors"] == []
    assert (await service(debtor)).billing_anchor == datetime(2027, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"autoGenerate": False}, "No invoices are made by themselves any more."),
        ({"autoSuspend": False}, "Services are not suspended any more when an invoice is not paid."),
        ({"graceDays": 11}, "Services go on for 11 days after an invoice was due."),
    ],
)
async def test_what_else_is_big(debtor: Debtor, change: dict[str, Any], said: str) -> None:
    await debtor.bill(3_000)
    impact = await debtor.impact(**change)
    assert (impact["requiresConfirmation"], impact["explanation"]) == (True, said)
    assert [error["field"] for error in (await debtor.update(**change))["errors"]] == [["input", "confirmImpact"]]
    payload = await debtor.update(**change, confirm=True)
    assert payload["errors"] == []
    profile = payload["customer"]["billingProfile"]
    assert (profile["nextInvoiceOn"], profile["nextSuspensionOn"]) == (
        impact["nextInvoiceOn"],
        impact["nextSuspensionOn"],
    )
    # Back is small.
    (name,) = change
    back: Any = None if name == "graceDays" else True
    assert (await debtor.impact(**{name: back}))["requiresConfirmation"] is False
    assert (await debtor.update(**{name: back}))["errors"] == []


async def test_several_services_move_each_from_its_own_end(debtor: Debtor) -> None:
    package = await debtor.house.package("Weekly", price_minor=700, billing_cycle=BillingCycle.WEEKLY, validity_days=7)
    ends = datetime(2027, 3, 1, tzinfo=UTC)
    more = {"is_primary": False, "expires_at": ends, "billing_anchor": ends}
    other = await subscribers.service(debtor.house, debtor.customer, **more)
    weekly = await subscribers.service(debtor.house, debtor.customer, **more | {"package_id": package.id})
    await debtor.update(billingDay=5, confirm=True)
    async with debtor.house.database.read(debtor.house.tenant.id) as session:
        rows = [await session.get_one(Service, key) for key in (debtor.service.id, other.id, weekly.id)]
    assert [row.billing_anchor for row in rows] == [
        datetime(2027, 4, 5, tzinfo=UTC),
        datetime(2027, 3, 5, tzinfo=UTC),
        ends,
    ]
    assert (await debtor.profile())["nextInvoiceOn"] == "2027-03-01"


async def test_a_service_that_waits_begins_with_a_whole_period_and_then_follows_the_day(debtor: Debtor) -> None:
    waits = {"is_primary": False, "status": ServiceStatus.PENDING}
    other = await subscribers.service(debtor.house, debtor.customer, **waits)
    await debtor.update(billingDay=5, confirm=True)
    document = "mutation ($input: ActivateInput!) { customerActivate(input: $input) { errors { message } } }"
    asked = {"customerId": debtor.id, "serviceId": ids.encode("svc", other.id)}
    assert (await debtor.api.data(document, debtor.house.admin, input=asked))["customerActivate"]["errors"] == []
    async with debtor.house.database.read(debtor.house.tenant.id) as session:
        row = await session.get_one(Service, other.id)
    assert row.expires_at is not None
    assert row.billing_anchor is not None
    days = [periods.local_date(at, "Asia/Dhaka") for at in (row.expires_at, row.billing_anchor)]
    assert [str(day) for day in days] == ["2027-03-20", "2027-04-05"]


BAD_TERMS: list[tuple[dict[str, Any], str, str]] = [
    ({"billingDay": 0}, "INVALID", "billingDay"),
    ({"billingDay": 29}, "INVALID", "billingDay"),
    ({"billingDay": -1}, "INVALID", "billingDay"),
    ({"billingDay": 5, "billingCycle": "WEEKLY"}, "INVALID", "billingDay"),
    ({"graceDays": -1}, "INVALID", "graceDays"),
    ({"graceDays": 61}, "INVALID", "graceDays"),
    ({"billingCycle": "ONE_TIME"}, "INVALID", "billingCycle"),
    ({"contactName": "x" * 256}, "INVALID", "contactName"),
    ({"contactEmail": "nobody"}, "INVALID", "contactEmail"),
    ({"contactMobile": "12"}, "INVALID", "contactMobile"),
]


async def test_bad_terms(debtor: Debtor) -> None:
    before = await debtor.profile()
    for bad, code, field in BAD_TERMS:
        payload = await debtor.update(confirm=True, **{"paymentMethod": "CASH"} | bad)
        found = [(error["code"], error["field"]) for error in payload["errors"]]
        assert found == [(code, ["input", "profile", field])], bad
        assert await debtor.profile() == before, bad
        answer = await debtor.api(IMPACT, debtor.house.admin, id=debtor.id, input=bad)
        assert answer["errors"][0]["extensions"]["code"] == "BAD_REQUEST"
        assert answer["errors"][0]["extensions"]["field"] == ["input", field]


async def test_all_faults_are_told_at_once(debtor: Debtor) -> None:
    payload = await debtor.update(billingDay=31, graceDays=99, contactEmail="x", confirm=True)
    assert [error["field"][-1] for error in payload["errors"]] == ["billingDay", "graceDays", "contactEmail"]


async def test_who_may_do_it_and_to_whom(debtor: Debtor, other_house: House) -> None:
    clerk = await debtor.house.operator(Role.STAFF)
    document = """mutation ($input: UpdateBillingProfileInput!) {
      customerUpdateBillingProfile(input: $input) { errors { code } } }"""
    asked = {"customerId": debtor.id, "profile": {"graceDays": 5}}
    answer = await debtor.api(document, clerk, input=asked)
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    answer = await debtor.api(IMPACT, clerk, id=debtor.id, input={})
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    payload = (await debtor.api.data(document, other_house.admin, input=asked))["customerUpdateBillingProfile"]
    assert payload["errors"] == [{"code": "NOT_FOUND"}]
    assert (await debtor.profile())["graceDays"] == 3


async def test_the_same_key_changes_once(debtor: Debtor) -> None:
    document = """mutation ($input: UpdateBillingProfileInput!) { customerUpdateBillingProfile(input: $input) {
      customer { id } errors { code } } }"""
    asked = {"customerId": debtor.id, "profile": {"graceDays": 5}, "idempotencyKey": "k"}
    first = await debtor.api.data(document, debtor.house.admin, input=asked)
    await debtor.update(graceDays=6)
    assert await debtor.api.data(document, debtor.house.admin, input=asked) == first
    assert (await debtor.profile())["graceDays"] == 6
    asked["profile"] = {"graceDays": 7}
    answer = (await debtor.api.data(document, debtor.house.admin, input=asked))["customerUpdateBillingProfile"]
    assert answer["errors"] == [{"code": "IDEMPOTENCY_KEY_REUSED"}]


async def test_a_customer_of_no_consequence_can_be_deleted_with_its_profile(debtor: Debtor, till: Till) -> None:
    alone = Debtor(debtor.api, till, await subscribers.customer(debtor.house), debtor.service)
    assert (await alone.update(graceDays=5))["errors"] == []
    assert (await alone.update(autoRenew=True))["errors"][0]["code"] == "INVALID_STATE"
    document = "mutation ($id: ID!) { customerDelete(customerId: $id) { deletedId errors { message } } }"
    answer = (await debtor.api.data(document, debtor.house.admin, id=alone.id))["customerDelete"]
    assert answer == {"deletedId": alone.id, "errors": []}

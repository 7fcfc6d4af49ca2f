"""What a customer is charged: the agreed price in the cycle of the billing profile, in a run as in Python."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ispgraph import clock
from ispgraph.domain.billing import cycles, periods, prices, proration
from ispgraph.domain.models import BillingCycle, BillingProfile, Customer, Package, PriceOverride, Service
from tests import bare, subscribers
from tests.billing import office
from tests.billing.test_boundaries import CYCLES
from tests.factories import House

START = datetime(2026, 3, 1, tzinfo=UTC)
ALL = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
PRICES = st.lists(st.tuples(st.integers(0, 10**12), st.none() | st.integers(0, 10**9), CYCLES, CYCLES), min_size=50)


def test_sql_scales_prices_as_python_does() -> None:
    with bare.made() as database:

        @ALL
        @given(PRICES)
        def agree(cases: list[tuple[int, int | None, periods.Cycle, periods.Cycle]]) -> None:
            rows = [(price, daily, own.months, own.days, new.months, new.days) for price, daily, own, new in cases]
            found = database.fetch(
                "SELECT billing_price(a, b, c, d, e, f) AS minor FROM unnest($1::bigint[], $2::bigint[], $3::integer[],"
                " $4::integer[], $5::integer[], $6::integer[]) WITH ORDINALITY q (a, b, c, d, e, f, n) ORDER BY n",
                *(list(column) for column in zip(*rows, strict=True)),
            )
            assert [row["minor"] for row in found] == [cycles.price_minor(*case) for case in cases]

        agree()


# A profile's cycle, an agreed price or discount, and what a period of a package at 30.00 a month costs then.
CASES: dict[str, tuple[BillingCycle | None, dict[str, Any], str]] = {
    "nothing agreed": (None, {}, "1 month at 30.00 USD"),
    "a price": (None, {"price_minor": 2_500}, "1 month at 25.00 USD"),
    "a discount": (None, {"discount_percent": Decimal("12.5")}, "1 month at 26.25 USD"),
    "by the year": (BillingCycle.YEARLY, {}, "1 year at 360.00 USD"),
    "by the year, agreed": (BillingCycle.YEARLY, {"price_minor": 2_500}, "1 year at 300.00 USD"),
    "by the week at the daily rate": (BillingCycle.WEEKLY, {}, "7 days at 10.50 USD"),
    "by the week, agreed": (BillingCycle.WEEKLY, {"price_minor": 3_100}, "7 days at 7.23 USD"),
    "as the package": (BillingCycle.MONTHLY, {}, "1 month at 30.00 USD"),
}


@pytest.mark.usefixtures("moved_clock")
async def test_a_run_charges_what_python_does(house: House) -> None:
    clock.set_clock(START.isoformat())
    package = await house.package("Home", price_minor=3_000, daily_rate_minor=150)
    services = {name: await _served(house, package, *case[:2]) for name, case in CASES.items()}
    await office.bill(house)
    for name, service in services.items():
        ((invoice, line),) = await office.billed(house, service.id)
        async with house.database.read(house.tenant.id) as session:
            customer = await session.get_one(Customer, service.customer_id)
            sold = await prices.sold(session, package, house.tenant, customer, clock.now())
        assert invoice.period_start is not None
        assert invoice.period_end is not None
        period = periods.Period(invoice.period_start, invoice.period_end)
        wanted = proration.whole(sold, period, house.tenant.time_zone)
        assert period == periods.period(START, sold.cycle, 0, house.tenant.time_zone)
        assert (line.description, line.explanation) == (wanted.description, wanted.explanation)
        assert (line.amount_minor, line.tax_minor) == (wanted.amount_minor, wanted.tax_minor)
        assert (line.explanation or "").startswith(CASES[name][2]), name


async def _served(house: House, package: Package, cycle: BillingCycle | None, agreed: dict[str, Any]) -> Service:
    customer = await subscribers.customer(house)
    if cycle is not None:
        await house.add(BillingProfile(customer_id=customer.id, billing_cycle=cycle))
    if agreed:
        since = START - timedelta(days=1)
        row = PriceOverride(customer_id=customer.id, package_id=package.id, valid_from=since, reason="x", **agreed)
        await house.add(row)
    return await office.service(house, START, package, customer=customer)


@pytest.mark.usefixtures("moved_clock")
async def test_who_wants_no_invoices_is_not_billed(house: House) -> None:
    clock.set_clock(START.isoformat())
    service = await office.service(house, START)
    await house.add(BillingProfile(customer_id=service.customer_id, auto_generate=False))
    run = await office.bill(house)
    assert (run.services, run.invoices) == (0, 0)
    assert (await office.again(house, service)).expires_at == START

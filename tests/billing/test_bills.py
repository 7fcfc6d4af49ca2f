"""What time of a service is charged: once, released by a void, moved with a beginning that comes later."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from ispgraph import clock, invariants
from ispgraph.db import Database
from ispgraph.domain import packages, service_periods
from ispgraph.domain.billing import bills, corrections, proration
from ispgraph.domain.billing.periods import Period
from ispgraph.domain.models import BilledPeriod, Invoice, InvoiceStatus, Package, Service, ServiceStatus
from tests import subscribers
from tests.billing.conftest import Till

JANUARY = Period(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
FEBRUARY = Period(JANUARY.end, datetime(2026, 3, 1, tzinfo=UTC))
ACROSS = Period(datetime(2026, 1, 31, 23, 59, tzinfo=UTC), FEBRUARY.end)


async def charge(till: Till, service: Service, period: Period) -> Invoice:
    """A bill for a period of a service, committed."""
    async with till.database.transaction(till.house.tenant.id) as session:
        package = await session.get_one(Package, service.package_id)
        sold = await packages.sold(session, package, till.house.tenant)
        return await bills.issue(
            session,
            tenant=till.house.tenant,
            service=service,
            lines=[proration.whole(sold, period, till.house.tenant.time_zone)],
            period=period,
            charged=sold,
            at=clock.now(),
            by=till.by,
        )


async def charged(till: Till) -> list[tuple[datetime, datetime, int, bool]]:
    """What time is charged, at what price, and whether it was released."""
    async with till.database.read(till.house.tenant.id) as session:
        rows = (await session.scalars(select(BilledPeriod).order_by(BilledPeriod.starts_at, BilledPeriod.id))).all()
    return [(row.starts_at, row.ends_at, row.price_minor, row.released_at is not None) for row in rows]


@pytest.fixture
async def service(till: Till) -> Service:
    """A service of a customer without invoices."""
    return await subscribers.service(till.house, await till.customer())


async def test_no_moment_is_charged_twice(till: Till, service: Service, owner: Database) -> None:
    first = await charge(till, service, JANUARY)
    await charge(till, service, FEBRUARY)
    for period in (JANUARY, FEBRUARY, ACROSS):
        with pytest.raises(IntegrityError, match=bills.ONCE):
            await charge(till, service, period)
    other = await subscribers.service(till.house, await till.customer())
    await charge(till, other, ACROSS)
    price = first.total_minor
    assert await charged(till) == [
        (JANUARY.start, JANUARY.end, price, False),
        (ACROSS.start, ACROSS.end, price, False),
        (FEBRUARY.start, FEBRUARY.end, price, False),
    ]
    assert (first.number or "")[-6:] == "000001"
    assert [finding for finding in await invariants.check(owner) if finding.broken] == []


async def test_of_many_at_once_one_charges(till: Till, service: Service) -> None:
    done = await asyncio.gather(*(charge(till, service, JANUARY) for _ in range(6)), return_exceptions=True)
    assert sum(isinstance(one, Invoice) for one in done) == 1
    assert {type(one) for one in done} == {Invoice, IntegrityError}
    assert len(await charged(till)) == 1


async def test_a_void_releases_the_time(till: Till, service: Service) -> None:
    first = await charge(till, service, JANUARY)
    async with till.database.transaction(till.house.tenant.id) as session:
        held = await session.get_one(Invoice, first.id, with_for_update=True)
        await corrections.void(session, held, reason="a mistake", at=clock.now(), by=till.by)
    again = await charge(till, service, JANUARY)
    assert [row[3] for row in await charged(till)] == [True, False]
    assert again.number != first.number


async def test_the_wallet_pays_as_far_as_it_goes(till: Till, service: Service) -> None:
    async with till.database.read(till.house.tenant.id) as session:
        price = (await session.get_one(Package, service.package_id)).price_minor
    await till.pay(price + 100, customer_id=service.customer_id)
    bills_of = [await charge(till, service, period) for period in (JANUARY, FEBRUARY)]
    assert [(bill.status, bill.paid_minor) for bill in bills_of] == [
        (InvoiceStatus.PAID, price),
        (InvoiceStatus.PARTIALLY_PAID, 100),
    ]


async def test_what_begins_later_is_charged_from_then_on(till: Till) -> None:
    service = await subscribers.service(till.house, await till.customer(), status=ServiceStatus.PENDING)
    await charge(till, service, JANUARY)
    async with till.database.transaction(till.house.tenant.id) as session:
        await service_periods.begin(session, await session.merge(service), FEBRUARY.start)
    ((start, end, _, _),) = await charged(till)
    assert (start, end) == (FEBRUARY.start, FEBRUARY.end)


async def test_the_price_is_kept_with_its_tax(till: Till, service: Service) -> None:
    await charge(till, service, JANUARY)
    async with till.database.read(till.house.tenant.id) as session:
        (row,) = (await session.scalars(select(BilledPeriod))).all()
    assert (row.tax_rate, row.tax_included, row.package_id) == (Decimal(0), False, service.package_id)

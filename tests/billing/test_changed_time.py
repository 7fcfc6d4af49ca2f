"""Whatever is changed, credited and taken back, and in whatever order: time is charged once, and for what it costs."""

import asyncio
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain import packages
from ispgraph.domain.billing import bills, periods, proration
from ispgraph.domain.billing.periods import Cycle, Period
from ispgraph.domain.billing.proration import Sold
from ispgraph.domain.models import BilledPeriod, Customer, Invoice, Package, Service
from tests.api import Api
from tests.billing.changing import Buyer, faults, sound, wallet
from tests.factories import House, uuid_of

VOID = """mutation ($id: ID!) { invoiceVoid(invoiceId: $id, reason: "Wrong") { invoice { status }
  customer { wallet { amount } balance { amount } } errors { code message field } } }"""
MONTH = Cycle(1, 0)


def sold(price: int) -> Sold:
    """A month at this price, without tax."""
    return Sold("Package", MONTH, price, "USD", tax_rate=0, tax_included=False)  # type: ignore[arg-type]


@given(
    price=st.integers(0, 10**7),
    anchor=st.integers(0, 5 * 366 * 24).map(lambda hours: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=hours)),
    begins=st.integers(0, 400),
    lasts=st.integers(1, 200),
    zone=st.sampled_from(("UTC", "Asia/Dhaka", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe")),
)
@settings(max_examples=300, deadline=None)
def test_the_parts_of_a_stretch_of_time_touch_and_cost_what_their_days_do(
    price: int, anchor: datetime, begins: int, lasts: int, zone: str
) -> None:
    start = anchor + timedelta(hours=begins * 7)
    span = Period(start, start + timedelta(days=lasts))
    found = proration.parts(sold(price), anchor, span, zone)
    assert (found[0][0].start, found[-1][0].end) == (span.start, span.end)
    for (one, _), (other, _) in pairwise(found):
        assert one.end == other.start
    for within, line in found:
        period = periods.period(
            anchor,
            MONTH,
            periods.number_at(anchor, MONTH, within.start, zone),
            zone,
        )
        assert period.start <= within.start < within.end <= period.end
        exact = Fraction(price * proration.days(within, zone), proration.days(period, zone))
        assert abs(line.unit_price_minor - exact) <= 1
        assert within != period or line.unit_price_minor == price


@pytest.fixture
async def buyer(api: Api, house: House) -> Buyer:
    """Home 20 for 310.00 a month, bought and paid on 1 January."""
    package = await house.package(price_minor=31_000)
    return await Buyer.enrolled(api, house, package, at="2026-01-01T04:00:00Z", pays="310")


async def void(buyer: Buyer, invoice: str) -> dict:
    """Take a paper back."""
    done = await buyer.api.data(VOID, buyer.house.admin, id=invoice)
    return done["invoiceVoid"]


async def charged(buyer: Buyer) -> list[tuple[str, str, int]]:
    """The time that is charged now, in days, and its prices."""
    async with buyer.house.database.read(buyer.house.tenant.id) as session:
        rows = select(BilledPeriod).where(BilledPeriod.released_at.is_(None)).order_by(BilledPeriod.starts_at)
        return [
            (f"{row.starts_at:%d %b}", f"{row.ends_at:%d %b}", row.price_minor) for row in await session.scalars(rows)
        ]


@pytest.mark.usefixtures("moved_clock")
async def test_papers_are_taken_back_in_the_order_of_the_last_first(buyer: Buyer, owner: Database) -> None:
    better = await buyer.house.package("Home 50", price_minor=62_000)
    clock.set_clock("2026-01-11T04:00:00Z")
    up = (await buyer.change(better))["invoice"]["id"]
    clock.set_clock("2026-01-21T04:00:00Z")
    done = await buyer.change(buyer.package)
    down = done["invoice"]["id"]
    # 21 of 31 days of 620.00 less 310.00 owed; 11 of 21 days of the 420.00 less 110.00 back, which pays for it in part.
    assert (done["invoice"]["total"]["amount"], wallet(done)) == ("-110.00", ("0.00", "-100.00"))
    assert await charged(buyer) == [
        ("01 Jan", "11 Jan", 10_000),
        ("11 Jan", "21 Jan", 20_000),
        ("21 Jan", "01 Feb", 11_000),
    ]
    async with buyer.house.database.read(buyer.house.tenant.id) as session:
        first = ids.encode("inv", (await session.scalars(select(Invoice.id).order_by(Invoice.id).limit(1))).one())
    for paper in (first, up):
        assert faults(await void(buyer, paper)) == [("INVALID_STATE", ["invoiceId"])]
    assert faults(await void(buyer, down)) == [("INSUFFICIENT_FUNDS", ["invoiceId"])]
    await buyer.advance("210")
    assert (await void(buyer, down))["errors"] == []
    assert await charged(buyer) == [
        ("01 Jan", "11 Jan", 10_000),
        ("11 Jan", "21 Jan", 20_000),
        ("21 Jan", "01 Feb", 22_000),
    ]
    assert (await void(buyer, up))["errors"] == []
    assert await charged(buyer) == [("01 Jan", "11 Jan", 10_000), ("11 Jan", "01 Feb", 21_000)]
    await sound(owner)
    assert (await void(buyer, first))["errors"] == []
    assert await charged(buyer) == []
    await sound(owner)


async def bill(buyer: Buyer, start: datetime) -> Invoice:
    """The next month of the service, charged as a run does it: what the service has, under its lock."""
    async with buyer.house.database.transaction(buyer.house.tenant.id) as session:
        key = uuid_of(buyer.customer)
        await session.scalars(select(Customer).where(Customer.id == key).with_for_update(key_share=True))
        rows = select(Service).where(Service.customer_id == key).with_for_update(key_share=True)
        service = (await session.scalars(rows)).one()
        package = await session.get_one(Package, service.package_id)
        priced = await packages.sold(session, package, buyer.house.tenant)
        period = periods.period(start, priced.cycle, 0, buyer.house.tenant.time_zone)
        made = await bills.issue(
            session,
            tenant=buyer.house.tenant,
            service=service,
            lines=[proration.whole(priced, period, buyer.house.tenant.time_zone)],
            period=period,
            charged=priced,
            at=clock.now(),
            by=None,
        )
        service.expires_at = period.end
        return made


async def met(barrier: asyncio.Barrier, work: Any) -> Any:
    """Something that begins together with others."""
    await barrier.wait()
    return await work


@pytest.mark.usefixtures("moved_clock")
@pytest.mark.parametrize("rounds", [3, pytest.param(100, marks=pytest.mark.long)])
async def test_bill_and_change_at_once(buyer: Buyer, owner: Database, rounds: int) -> None:
    better = await buyer.house.package("Home 50", price_minor=62_000)
    for _ in range(rounds):
        async with buyer.house.database.read(buyer.house.tenant.id) as session:
            service = await session.get_one(Service, uuid_of(buyer.service))
            ends, former = service.expires_at, service.package_id
        assert ends is not None
        clock.set_clock((ends - timedelta(days=10)).isoformat())
        buyer.api.sign_in_again()
        wanted = better if former != better.id else buyer.package
        barrier = asyncio.Barrier(2)

        works = (met(barrier, bill(buyer, ends)), met(barrier, buyer.change(wanted)))
        billed, changed = await asyncio.gather(*works, return_exceptions=True)
        assert changed["errors"] == []
        assert isinstance(billed, Invoice | IntegrityError)
        # Whichever came first: the coming month is charged once, at the price of the package that was asked for.
        async with buyer.house.database.read(buyer.house.tenant.id) as session:
            rows = select(BilledPeriod).where(BilledPeriod.released_at.is_(None), BilledPeriod.ends_at > ends)
            (row,) = (await session.scalars(rows)).all()
            assert (row.package_id, row.price_minor) == (wanted.id, wanted.price_minor)
    await sound(owner)


@pytest.mark.usefixtures("moved_clock")
async def test_any_order_of_changes_leaves_no_gap_and_no_overlap(buyer: Buyer, owner: Database) -> None:
    prices = [33_333, 0, 99_901, 31_000, 5, 70_007]
    shelf = [buyer.package, *[await buyer.house.package(f"At {price}", price_minor=price) for price in prices]]
    async with owner.transaction(buyer.house.tenant.id) as session:
        await session.execute(update(Service).values(auto_renew=False))
    for day, pick in ((3, 1), (3, 2), (9, 3), (14, 5), (14, 4), (20, 6), (31, 1)):
        clock.set_clock(f"2026-01-{day:02}T05:00:00Z")
        done = await buyer.change(shelf[pick])
        assert done["errors"] == [], done
        async with buyer.house.database.read(buyer.house.tenant.id) as session:
            every = (await session.scalars(select(BilledPeriod).order_by(BilledPeriod.starts_at))).all()
            notes = (await session.scalars(select(Invoice).order_by(Invoice.id))).all()
        rows = [row for row in every if row.released_at is None]
        assert [row.ends_at for row in rows[:-1]] == [row.starts_at for row in rows[1:]]
        assert f"{rows[-1].ends_at:%d %b}" == "01 Feb"
        # What was asked for and given back on all papers is what the time that is charged costs.
        assert sum(row.price_minor for row in rows) == sum(note.total_minor for note in notes)
        await sound(owner)

"""Customers served, gained and lost, by months: against random lives of services, and written out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ispgraph import clock
from ispgraph.db import Database
from ispgraph.domain.billing import bills, corrections, invoices
from ispgraph.domain.billing.periods import Cycle, Period
from ispgraph.domain.billing.proration import Sold
from ispgraph.domain.models import Account, Customer, Role, Service, ServiceStatus
from ispgraph.domain.permissions import Viewer
from tests import factories, subscribers
from tests.api import Api
from tests.billing.test_desk import sound
from tests.factories import House
from tests.reports.test_walks import ledger
from tests.reports.walk import money

MONTHS = """query ($from: Date!, $to: Date!) { subscriberReport(from: $from, to: $to) { months { start end
  servedAtStart gained lost servedAtEnd netRevenue { amount } arpu { amount } churnPercent } } }"""


async def charge(house: House, by: Viewer, service: Service, period: Period, minor: int) -> Any:
    """An invoice for time of a service, opened when the time begins."""
    rate = Decimal(15)
    async with house.database.transaction(house.tenant.id) as session:
        return await bills.issue(
            session,
            tenant=house.tenant,
            service=service,
            lines=[invoices.Line("Home 20", minor, rate)],
            period=period,
            charged=Sold("Home 20", Cycle(1, 0), minor, "USD", rate, False),
            at=period.start,
            by=by,
        )


async def void(house: House, by: Viewer, invoice: Any, at: datetime) -> None:
    """Take it back."""
    async with house.database.transaction(house.tenant.id) as session:
        row = await session.merge(invoice)
        await corrections.void(session, row, reason="Wrong", at=at, by=by)


@dataclass
class Life:
    """The time of one service: stretches, each with the instant at which it was taken back."""

    customer: Customer
    began: datetime | None
    ends: datetime | None
    charged: list[tuple[datetime, datetime, datetime | None]] = field(default_factory=list)

    def runs(self, at: datetime) -> bool:
        """Whether its time runs at an instant."""
        if self.began is None or at < self.began or (self.ends is not None and at >= self.ends):
            return False
        if all(back is not None for _, _, back in self.charged):
            return True
        return any(start <= at < end and (back is None or at < back) for start, end, back in self.charged)


class Lives:
    """Random lives, and what was earned from them."""

    def __init__(self, house: House, by: Viewer, random: Random) -> None:
        self.house, self.by, self.random = house, by, random
        self.lives: list[Life] = []
        self.earned: list[tuple[datetime, Customer, int]] = []

    def midnight(self, day: date) -> datetime:
        """When a day begins."""
        return datetime.combine(day, time(), ZoneInfo(self.house.tenant.time_zone)).astimezone(UTC)

    async def live(self, customer: Customer) -> None:
        """One service: some stretches, in a row or with gaps; some are taken back; some services are not charged."""
        at = self.midnight(date(2024, self.random.randrange(1, 12), self.random.choice((1, 1, 15))))
        kind = self.random.choice(("charged", "charged", "charged", "free", "imported", "waiting"))
        ends = at + timedelta(days=200) if kind == "imported" else None
        life = Life(customer, None if kind == "waiting" else at, ends)
        service = await subscribers.service(self.house, customer, is_primary=False, started_at=life.began)
        for _ in range(self.random.randrange(1, 8) if kind in ("charged", "waiting") else 0):
            await self._stretch(life, service, at)
            at = life.charged[-1][1] + timedelta(days=self.random.choice((0, 0, 0, 45)))
        if kind == "charged":
            life.ends = life.charged[-1][1]
        async with self.house.database.transaction(self.house.tenant.id) as session:
            (await session.merge(service)).expires_at = life.ends
        self.lives.append(life)

    async def _stretch(self, life: Life, service: Service, start: datetime) -> None:
        there = start.astimezone(ZoneInfo(self.house.tenant.time_zone)).date()
        end = self.midnight((there.replace(day=1) + timedelta(days=32)).replace(day=there.day))
        minor = self.random.randrange(1, 9_999)
        invoice = await charge(self.house, self.by, service, Period(start, end), minor)
        self.earned.append((start, life.customer, minor))
        back = start + timedelta(days=self.random.randrange(0, 40)) if self.random.random() < 0.2 else None
        if back is not None:
            await void(self.house, self.by, invoice, back)
            self.earned.append((back, life.customer, -minor))
        life.charged.append((start, end, back))

    def expected(self, first: date, end: date, now: datetime, counts: Callable[[Customer], bool]) -> list[Any]:
        """What the report should say of the months from one day to another."""
        found = []
        while first < end and self.midnight(first) <= now:
            after = (first + timedelta(days=32)).replace(day=1)
            begin, stop = self.midnight(first), min(self.midnight(after), now)
            was, goes_on = (
                {life.customer.id for life in self.lives if counts(life.customer) and life.runs(at)}
                for at in (begin, stop)
            )
            net = sum(minor for at, who, minor in self.earned if counts(who) and begin <= at < stop)
            average = Fraction(len(was) + len(goes_on), 2)
            found.append(
                {
                    "start": first.isoformat(),
                    "end": after.isoformat(),
                    "servedAtStart": len(was),
                    "gained": len(goes_on - was),
                    "lost": len(was - goes_on),
                    "servedAtEnd": len(goes_on),
                    "netRevenue": money(net),
                    "arpu": money(_rounded(net / average)) if average else None,
                    "churnPercent": str(Decimal(_rounded(Fraction(10_000 * len(was - goes_on), len(was)))).scaleb(-2))
                    if was
                    else None,
                }
            )
            first = after
        return found


def _rounded(value: Fraction) -> int:
    return int(abs(value) + Fraction(1, 2)) * (-1 if value < 0 else 1)


@pytest.mark.parametrize(
    ("seed", "zone"), [(5, "America/New_York"), pytest.param(6, "Asia/Dhaka", marks=pytest.mark.long)]
)
async def test_months_agree_with_the_lives(
    api: Api, owner: Database, database: Database, moved_clock: None, seed: int, zone: str
) -> None:
    house = await factories.house(owner, database, "north", time_zone=zone)
    reseller = await house.operator(Role.OPERATOR)
    lives = Lives(house, await house.viewer(), Random(seed))
    for number in range(10):
        customer = await subscribers.customer(house, operator_id=(reseller if number % 3 else house.admin).id)
        for _ in range(1 + number % 2):
            await lives.live(customer)
    await sound(owner)
    now = lives.midnight(date(2025, 3, 10)) + timedelta(hours=5)
    clock.set_clock(now.isoformat())
    for who, counts in (
        (house.admin, lambda customer: True),
        (reseller, lambda customer: customer.operator_id == reseller.id),
    ):
        for first, end in ((date(2023, 12, 1), date(2025, 6, 1)), (date(2024, 5, 1), date(2024, 6, 1))):
            answer = await api.data(MONTHS, who, **{"from": first.isoformat(), "to": end.isoformat()})
            assert answer["subscriberReport"]["months"] == lives.expected(first, end, now, counts)
    net = sum(minor for at, _, minor in lives.earned)
    assert net == -await ledger(house, Account.REVENUE)
    lost = [month["lost"] for month in lives.expected(date(2024, 1, 1), date(2025, 3, 1), now, lambda customer: True)]
    assert sum(lost) >= 3, "a test of nothing"


async def test_a_year_written_out(api: Api, house: House, moved_clock: None) -> None:
    by = await house.viewer()
    zone = ZoneInfo(house.tenant.time_zone)

    def at(month: int, day: int = 1) -> datetime:
        return datetime(2026, month, day, tzinfo=zone).astimezone(UTC)

    async def customer(*months: int, **fields: Any) -> Service:
        service = await subscribers.service(
            house, await subscribers.customer(house), started_at=at(months[0]), expires_at=at(months[-1] + 1), **fields
        )
        for month in months:
            await charge(house, by, service, Period(at(month), at(month + 1)), 1_000)
        return service

    # One stays, one leaves with May, one leaves a gap, one is suspended while the time runs, one was terminated.
    await customer(1, 2, 3, 4, 5, 6)
    await customer(4, 5)
    await customer(4, 6)
    await customer(5, status=ServiceStatus.SUSPENDED)
    await customer(3, 4, status=ServiceStatus.TERMINATED)
    clock.set_clock(at(6, 15).isoformat())
    found = await api.data(MONTHS, house.admin, **{"from": "2026-04-20", "to": "2027-01-01"})
    months = found["subscriberReport"]["months"]
    names = ("start", "servedAtStart", "gained", "lost", "servedAtEnd", "churnPercent")
    assert [tuple(month[name] for name in names) for month in months] == [
        ("2026-04-01", 4, 1, 2, 3, "50.00"),
        ("2026-05-01", 3, 1, 2, 2, "66.67"),
        ("2026-06-01", 2, 0, 0, 2, "0.00"),
    ]
    assert [(month["netRevenue"]["amount"], month["arpu"]["amount"]) for month in months] == [
        ("40.00", "11.43"),
        ("30.00", "12.00"),
        ("20.00", "10.00"),
    ]


async def test_what_is_none(api: Api, house: House, moved_clock: None) -> None:
    clock.set_clock("2026-06-15T00:00:00Z")
    (month,) = (await api.data(MONTHS, house.admin, **{"from": "2026-06-20", "to": "2026-06-21"}))["subscriberReport"][
        "months"
    ]
    assert (month["servedAtStart"], month["arpu"], month["churnPercent"]) == (0, None, None)
    for first, end in (("2026-07-01", "2026-08-01"), ("2026-06-02", "2026-06-02"), ("2023-06-30", "2026-06-02")):
        answer = await api(MONTHS, house.admin, **{"from": first, "to": end})
        (error,) = answer["errors"]
        assert (error["extensions"]["code"], error["extensions"]["field"]) == ("BAD_REQUEST", ["from"])
    staff = await house.operator(Role.STAFF)
    answer = await api(MONTHS, staff, **{"from": "2026-01-01", "to": "2026-02-01"})
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]

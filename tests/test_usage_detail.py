"""Usage by the quarter of an hour is kept as long as the tenant says, and nothing that counts goes with it."""

import random
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError

from ispgraph import clock, daily, ids
from ispgraph.db import Database
from ispgraph.domain import usage_detail, viewers
from ispgraph.domain.models import AuditEntry, BillingCycle, Service, Tenant, UsageBucket
from tests import accounting, factories
from tests.api import Api
from tests.conftest import Dsns
from tests.crowd import customer, service
from tests.factories import House
from tests.test_operators import codes
from tests.test_usage import USAGE

NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
SET = """mutation ($days: Int) { tenantSettingsUpdate(input: {usageDetailDays: $days}) {
  settings { usageDetailDays } errors { code field } } }"""
ZONE = "Asia/Kathmandu"


@pytest.fixture(autouse=True)
def believed_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewers, "_BELIEVED_SECONDS", 0.0)


@pytest.fixture
async def tenant(owner: Database, database: Database, moved_clock: None) -> House:
    clock.set_clock("2026-06-15T12:00:00Z")
    return await factories.house(owner, database, "east", time_zone=ZONE)


async def line(house: House, name: str = "Ann", **package: Any) -> Service:
    someone = customer(house, name)
    sold = await house.package(name, **package)
    await house.add(someone)
    # Paid for until a moment in the middle of a day, from which the periods are counted.
    made = service(someone, sold.id, username=name.lower(), expires_at=datetime(2026, 7, 3, 4, 20, tzinfo=UTC))
    await house.add(made)
    return made


async def quarters(owner: Database, house: House, of: Service, moments: list[datetime]) -> None:
    """So much at each of them, and with it what its day holds."""
    chance, days = random.Random(7), defaultdict(int)
    each = {moment: chance.randrange(1, 10**9) for moment in moments}
    for moment, octets in each.items():
        days[moment.astimezone(ZoneInfo(ZONE)).date()] += octets
    rows: dict[datetime | date, tuple[int, int, int]] = {when: (octets, 0, 60) for when, octets in each.items()}
    rows |= {day: (octets, 0, 60) for day, octets in days.items()}
    await accounting.account(owner, house, *accounting.usage(of, rows))


async def left(owner: Database, house: House, of: Service) -> list[datetime]:
    async with owner.read(house.tenant.id) as session:
        found = select(UsageBucket.starts_at).where(UsageBucket.service_id == of.id).order_by(UsageBucket.starts_at)
        return list(await session.scalars(found))


async def keep(owner: Database, house: House, days: int) -> None:
    async with owner.transaction(house.tenant.id) as session:
        await session.execute(update(Tenant).where(Tenant.id == house.tenant.id).values(usage_detail_days=days))


async def test_a_tenant_says_how_long(api: Api, house: House, database: Database) -> None:
    asked = "{ tenantSettings { usageDetailDays } }"
    assert (await api.data(asked, house.admin))["tenantSettings"] == {"usageDetailDays": 400}
    for days in (62, 3700, 0):
        done = (await api.data(SET, house.admin, days=days))["tenantSettingsUpdate"]
        assert done == {"settings": {"usageDetailDays": days}, "errors": []}
    for days in (1, 61, 3701, -5):
        refused = (await api.data(SET, house.admin, days=days))["tenantSettingsUpdate"]
        assert codes(refused) == [("INVALID", "input.usageDetailDays")]
    assert (await api.data(asked, house.admin))["tenantSettings"] == {"usageDetailDays": 0}
    async with database.read(house.tenant.id) as session:
        told = [each.details for each in await session.scalars(select(AuditEntry).order_by(AuditEntry.id))]
    assert [each["usage_detail_days"] for each in told if "usage_detail_days" in each] == ["62", "3700", "0"]


async def test_what_is_older_goes_and_its_day_stays(api: Api, owner: Database, tenant: House) -> None:
    of = await line(tenant)
    midnight = datetime(2026, 6, 15, tzinfo=ZoneInfo(ZONE)) - 62 * DAY
    moments = [(midnight + timedelta(minutes=15 * n)).astimezone(UTC) for n in range(-400, 60, 20)]
    await quarters(owner, tenant, of, moments)
    whole = {"id": ids.encode("cus", of.customer_id), "from": "2026-04-01T00:00:00Z", "granularity": "DAY"}
    before = await api.data(USAGE, tenant.admin, **whole)
    await keep(owner, tenant, 62)
    done: daily.Done = {}
    await daily.in_chunks(tenant.database, done, {})
    assert done[tenant.tenant.id, daily.DETAIL] == date(2026, 6, 15)
    assert await left(owner, tenant, of) == [each for each in moments if each >= midnight]
    assert await api.data(USAGE, tenant.admin, **whole) == before
    # By the hour only what is known is told; nobody hears of hours without usage that were hours with it.
    for since, faults in ((midnight - DAY, True), (midnight, False)):
        part = {"from": since.isoformat(), "to": (since + DAY).isoformat(), "granularity": "HOUR"}
        answer = await api(USAGE, tenant.admin, **whole | part)
        assert ("errors" in answer) is faults
    assert answer["data"]["customer"]["usage"]["points"] != []


@pytest.mark.parametrize("cycle", [BillingCycle.MONTHLY, BillingCycle.QUARTERLY, BillingCycle.YEARLY])
async def test_every_period_that_counts_still_counts_the_same(
    owner: Database, tenant: House, cycle: BillingCycle
) -> None:
    days = {BillingCycle.MONTHLY: 30, BillingCycle.QUARTERLY: 90, BillingCycle.YEARLY: 365}[cycle]
    of = await line(tenant, billing_cycle=cycle, validity_days=days)
    begin = NOW - 14 * days * DAY
    moments = [begin + n * timedelta(hours=5) for n in range(14 * days * 24 // 5)]
    await quarters(owner, tenant, of, [each.replace(minute=15 * (n % 4)) for n, each in enumerate(moments)])
    periods = text("""
      SELECT array_agg(u.octets ORDER BY i) FROM services s JOIN packages k ON k.id = s.package_id,
             billing_cycle(k.billing_cycle, k.validity_days) c,
             billing_number(service_anchor(s), :zone, c.months, c.days, :at) n (now),
             generate_series(n.now - 12, n.now) i,
             limits_used(s.tenant_id, s.id, :zone,
                         billing_boundary(service_anchor(s), :zone, c.months, c.days, i),
                         billing_boundary(service_anchor(s), :zone, c.months, c.days, i + 1)) u
       WHERE s.id = :id""")

    async def counted() -> list[int]:
        async with owner.read(tenant.tenant.id) as session:
            found = await session.scalar(periods, {"zone": ZONE, "at": clock.now(), "id": of.id})
            return [int(each) for each in found]

    before, there = await counted(), len(await left(owner, tenant, of))
    assert len(set(before)) == 13
    await keep(owner, tenant, 62)
    done: daily.Done = {}
    places: daily.Places = {}
    while (tenant.tenant.id, daily.DETAIL) not in done:
        await daily.in_chunks(tenant.database, done, places)
    assert await counted() == before
    assert 0 < len(await left(owner, tenant, of)) < there / 4


async def test_little_is_forgotten_at_a_time_and_nothing_of_others(
    owner: Database, database: Database, tenant: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [await line(tenant, name) for name in ("Ann", "Bob", "Cid", "Dan", "Eve")]
    other = await factories.house(owner, database, "west", time_zone=ZONE)
    there = await line(other, "Zed")
    await keep(owner, other, 0)
    old = [NOW - 500 * DAY + n * timedelta(minutes=15) for n in range(8)]
    for of in lines:
        await quarters(owner, tenant, of, [*old, NOW])
    await quarters(owner, other, there, old)
    monkeypatch.setattr(usage_detail, "_ROWS", 5)
    monkeypatch.setattr(usage_detail, "_SERVICES", 2)
    after, counts = None, []
    for _ in range(40):
        async with database.transaction(tenant.tenant.id) as session:
            after = await usage_detail.forget(session, tenant_id=tenant.tenant.id, day=NOW.date(), after=after)
        async with owner.read(tenant.tenant.id) as session:
            counts.append(await session.scalar(select(func.count()).select_from(UsageBucket)))
        if after is None:
            break
    assert after is None
    assert [counts[-1], len(await left(owner, other, there))] == [len(lines), len(old)]
    assert max(former - count for former, count in zip([45, *counts], counts, strict=False)) == 5
    # Not even by mistake does the application delete what is kept.
    async with database.transaction(tenant.tenant.id) as session:
        with pytest.raises(DBAPIError, match="permission denied"):
            await session.execute(text("DELETE FROM usage_buckets"))


async def test_only_what_goes_is_read_by_whichever_plan_was_made_before(
    owner: Database, tenant: House, dsns: Dsns, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [await line(tenant, f"No {n}") for n in range(12)]
    one = Database(dsns.app, pool_size=1)
    read = text("""SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'usage_buckets'""")
    many = text("""
      INSERT INTO usage_buckets (tenant_id, service_id, starts_at, customer_id, input_octets, output_octets, seconds)
      SELECT tenant_id, id, timestamptz '2024-01-01 00:00Z' + n * interval '15 min', customer_id, 1, 1, 1
        FROM services, generate_series(1, 500) n WHERE tenant_id = :tenant""")

    async def forget() -> int:
        async with one.transaction(tenant.tenant.id) as session:
            await usage_detail.forget(session, tenant_id=tenant.tenant.id, day=NOW.date(), after=None)
            return int(await session.scalar(read))

    try:
        await quarters(owner, tenant, lines[0], [NOW])
        for _ in range(8):
            await forget()
        async with owner.transaction(tenant.tenant.id) as session:
            await session.execute(many, {"tenant": tenant.tenant.id})
        monkeypatch.setattr(usage_detail, "_ROWS", 1000)
        # Once to find them, and once to delete them.
        assert 1000 <= await forget() <= 3000
    finally:
        await one.dispose()


async def test_whoever_asks_for_hours_from_before_hears_why(api: Api, owner: Database, tenant: House) -> None:
    of = await line(tenant)
    await keep(owner, tenant, 62)
    asked = {"id": ids.encode("cus", of.customer_id), "from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}
    answer = await api(USAGE, tenant.admin, **asked, granularity="HOUR")
    [error] = answer["errors"]
    assert (error["extensions"]["code"], error["extensions"]["field"]) == ("BAD_REQUEST", ["from"])
    assert error["message"] == "Usage by the hour is known for 62 days."
    assert "errors" not in await api(USAGE, tenant.admin, **asked, granularity="DAY")

"""What customers are told of their limits: once in each period, from the very octet on, by the tenant's clock."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from ispgraph import clock
from ispgraph.domain import limit_notices
from ispgraph.domain.models import BillingCycle, Customer, Service, ServiceStatus, ServiceWatch
from tests.factories import House
from tests.limits.conftest import GIB, Line, Lines

GB = 10**9


async def told(line: Line) -> list[tuple[str, str]]:
    """Look, and give what was written since the last time: event and text, without what all texts begin with."""
    await line.watch()
    known = getattr(line, "known", 0)
    found = await line.messages()
    line.known = len(found)  # type: ignore[attr-defined]
    assert all(row.created_by_id is None and row.customer_id == line.customer.id for row in found)
    return [(row.event or "", row.body.partition("Dear Ann Example, ")[2]) for row in found[known:]]


async def look_at_all_costs(line: Line) -> None:
    """Have the service looked at, though nothing is due."""
    await line.change(ServiceWatch, (line.house.tenant.id, line.service.id), look_at=clock.now())


async def monthly(lines: Lines, **package: object) -> Line:
    """A line by calendar months, that was looked at."""
    line = await lines.make(package)
    assert await told(line) == []
    return line


async def test_a_quota_of_the_package(lines: Lines, house: House, moved_clock: None) -> None:
    clock.set_clock("2026-05-10T12:00:00Z")
    line = await monthly(lines, data_quota_bytes=50 * GB)
    name = f"Package of {line.customer.account_number}"
    await line.use(40 * GB - 1)
    assert await told(line) == []
    # Not even when it is looked at.
    await look_at_all_costs(line)
    assert await told(line) == []
    await line.use(1)
    near = [("quota.near", f"you have used 80 % of the 50 GB that your package {name} gives until 2026-06-01 00:00.")]
    assert await told(line) == near
    await line.use(GB)
    await look_at_all_costs(line)
    assert await told(line) == []
    await line.use(9 * GB - 1)
    await look_at_all_costs(line)
    assert await told(line) == []
    await line.use(1)
    reached = [("quota.reached", f"the 50 GB of your package {name} are used up until 2026-06-01 00:00.")]
    assert await told(line) == reached
    await line.use(GB)
    await look_at_all_costs(line)
    assert await told(line) == []
    # By the tenant's clock June begins at six in the evening; then both can be said again.
    clock.set_clock("2026-05-31T17:59:59Z")
    await look_at_all_costs(line)
    assert await told(line) == []
    clock.set_clock("2026-05-31T18:00:00Z")
    assert await told(line) == []
    await line.use(45 * GB)
    assert await told(line) == [(near[0][0], near[0][1].replace("80 %", "90 %").replace("06-01", "07-01"))]
    await line.use(45 * GB)
    assert await told(line) == [(reached[0][0], reached[0][1].replace("06-01", "07-01"))]


async def test_limits_of_the_day_and_the_month(lines: Lines, house: House, moved_clock: None) -> None:
    """Those that operators set; one that is raised is another one."""
    clock.set_clock("2026-05-10T12:00:00Z")
    line = await monthly(lines)
    await line.done("SetVolumeLimit", dailyBytes=str(5 * GB), monthlyBytes=str(10 * GIB), rollover=False)
    await line.watch()
    # From below 80 % to above 100 % in one step: nothing is near any more.
    await line.use(4 * GB - 1)
    assert await told(line) == []
    await line.use(GB + 1)
    ((event, words),) = await told(line)
    assert (event, words.partition(" of ")[0], words[-17:]) == ("quota.reached", "the 5 GB", "2026-05-11 00:00.")
    # The next day counts anew, of the month it is nearly all.
    clock.set_clock("2026-05-10T18:00:00Z")
    assert await told(line) == []
    near_month = 8 * GIB - 5 * GB
    await line.use(near_month - 1)
    assert await told(line) == []
    await line.use(1)
    ((event, words),) = await told(line)
    assert (event, words[:37]) == ("quota.near", "you have used 80 % of the 10 GiB that")
    assert words.endswith("2026-06-01 00:00.")
    await line.done("SetVolumeLimit", dailyBytes=str(5 * GB), monthlyBytes=str(9 * GB), rollover=False)
    ((event, words),) = await told(line)
    assert (event, words[:35]) == ("quota.near", "you have used 95 % of the 9 GB that")
    await line.done("ClearVolumeLimit")
    assert await told(line) == []


async def test_what_went_over_counts(lines: Lines, house: House, moved_clock: None) -> None:
    clock.set_clock("2026-05-10T12:00:00Z")
    line = await monthly(lines)
    await line.done("SetVolumeLimit", monthlyBytes=str(10 * GB), rollover=True)
    await line.use(7 * GB)
    assert await told(line) == []
    clock.set_clock("2026-06-10T12:00:00Z")
    await line.watch()
    await line.use(13 * GB * 4 // 5 - 1)
    assert await told(line) == []
    await line.use(1)
    ((event, words),) = await told(line)
    assert (event, words[:36]) == ("quota.near", "you have used 80 % of the 13 GB that")
    # Accounting that comes late leaves less to go over: it is the same limit.
    await line.use(GB, at=clock.now() - timedelta(days=30))
    await look_at_all_costs(line)
    assert await told(line) == []


async def test_periods_that_are_paid_for(lines: Lines, house: House, moved_clock: None) -> None:
    clock.set_clock("2026-05-10T12:00:00Z")
    router = await house.router()
    until = datetime.fromisoformat("2026-05-20T09:30:00+00:00")
    by_days = {"billing_cycle": BillingCycle.DAILY, "validity_days": 30}
    line = await lines.make({"data_quota_bytes": 10 * GB, **by_days}, router_id=router.id, expires_at=until)
    await line.watch()
    await line.use(10 * GB)
    ((event, words),) = await told(line)
    assert (event, words[-17:]) == ("quota.reached", "2026-05-20 15:30.")
    # Renewed, and still the same period.
    await line.change(Service, line.service.id, expires_at=until + timedelta(days=30))
    assert await told(line) == []
    clock.set_clock("2026-05-20T09:30:01Z")
    assert await told(line) == []
    await line.use(8 * GB)
    ((event, words),) = await told(line)
    assert (event, words[-17:]) == ("quota.near", "2026-06-19 15:30.")


async def test_what_a_hotspot_was_recharged_with(lines: Lines, house: House, moved_clock: None) -> None:
    """What is left of before counts as well; bought again it can be said again, on the same day."""
    clock.set_clock("2026-05-10T12:00:00Z")
    until = clock.now() + timedelta(days=2)
    terms = {"data_quota_bytes": 10 * GB, "time_quota_seconds": 36_000}
    line = await lines.make(terms, expires_at=clock.now() - timedelta(hours=1))
    grant = text("SELECT allowance_granted(:service, :package, :octets, :seconds, :until, :at)")

    async def recharge(octets: int, seconds: int) -> None:
        given = {"octets": octets, "seconds": seconds, "until": until, "at": clock.now()}
        named = {"service": line.service.id, "package": line.service.package_id}
        async with line.accounting.transaction(house.tenant.id) as session:
            await session.execute(grant, named | given)
            await session.execute(text("UPDATE services SET expires_at = :until"), {"until": until})

    await recharge(10 * GB, 36_000)
    assert await told(line) == []
    await line.use(8 * GB - 1)
    assert await told(line) == []
    await line.use(1)
    ((event, words),) = await told(line)
    assert (event, words[-17:]) == ("quota.near", "2026-05-12 18:00.")
    await line.use(2 * GB, 36_000)
    assert [event for event, _ in await told(line)] == ["quota.reached", "time.reached"]
    await recharge(10 * GB, 36_000)
    assert await told(line) == []
    await line.use(10 * GB)
    ((event, words),) = await told(line)
    assert (event, words[:9]) == ("quota.reached", "the 20 GB")
    await look_at_all_costs(line)
    assert await told(line) == []


@pytest.mark.parametrize(
    ("limit", "ends"),
    [
        ("dailySeconds", "2026-05-11 00:00"),
        ("weeklySeconds", "2026-05-11 00:00"),
        ("monthlySeconds", "2026-06-01 00:00"),
        ("time_quota_seconds", "2026-06-01 00:00"),
    ],
)
async def test_time_is_over(lines: Lines, house: House, moved_clock: None, limit: str, ends: str) -> None:
    """10 May is a Sunday."""
    clock.set_clock("2026-05-10T12:00:00Z")
    of_package = limit == "time_quota_seconds"
    line = await lines.make({limit: 36_000} if of_package else {})
    if not of_package:
        await line.done("SetTimeLimit", **{limit: 36_000})
    await line.watch()
    await line.use(0, 35_999)
    assert await told(line) == []
    await line.use(0, 1)
    package = f"Package of {line.customer.account_number}"
    assert await told(line) == [("time.reached", f"the 10 hours of your package {package} are used up until {ends}.")]
    await line.use(0, 60)
    await look_at_all_costs(line)
    assert await told(line) == []
    clock.set_clock(f"{ends[:10]}T12:00:00Z")
    await line.watch()
    await line.use(0, 36_000)
    assert len(await told(line)) == 1


async def test_the_time_of_a_session_is_over(line: Line, moved_clock: None) -> None:
    await line.dial()
    await line.done("SetTimeLimit", sessionSeconds=5400)
    await line.finish_jobs()
    assert await told(line) == []
    clock.set_clock("+5425")
    ((event, words),) = await told(line)
    assert (event, words[:34]) == ("time.reached", "the 1 hour 30 minutes of a session")
    # The job that ends it is under way; then it has failed and is promised again.
    await look_at_all_costs(line)
    assert await told(line) == []
    await line.finish_jobs()
    await look_at_all_costs(line)
    assert len(await line.watch()) == 1
    assert await told(line) == []


async def test_only_who_could_be_on_line_is_told(lines: Lines, house: House) -> None:
    line = await monthly(lines, data_quota_bytes=10 * GB)
    await line.change(Service, line.service.id, status=ServiceStatus.SUSPENDED)
    await line.use(10 * GB)
    assert await told(line) == []
    await line.change(Service, line.service.id, status=ServiceStatus.ACTIVE)
    assert [event for event, _ in await told(line)] == ["quota.reached"]
    # Opting out stops what is not needed.
    await line.change(Customer, line.customer.id, sms_opt_out=True)
    await line.done("SetVolumeLimit", dailyBytes=str(12 * GB), rollover=False)
    assert await told(line) == []


def test_how_volumes_and_times_are_said() -> None:
    volumes = {50 * GB: "50 GB", 1500 * GB: "1.5 TB", 10 * GIB: "10 GiB", 2**40: "1 TiB", 512 * 2**20: "512 MiB"}
    volumes |= {1_239_999_999: "1.23 GB", 100 * 10**6: "100 MB", 1: "1 bytes", 999_999: "999.99 kB", 10**15: "1000 TB"}
    assert {octets: limit_notices.volume(octets) for octets in volumes} == volumes
    times = {36_000: "10 hours", 5400: "1 hour 30 minutes", 61: "1 minute 1 second", 31 * 86_400: "744 hours"}
    assert {seconds: limit_notices.duration(seconds) for seconds in times} == times

"""Limits while sessions go on: whoever is slowed keeps the session, whoever may not be on line loses it."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from ispgraph import clock, ids, scheduler
from ispgraph.actors.lanes import LaneRunner
from ispgraph.db import Database
from ispgraph.domain import watches
from ispgraph.domain.models import (
    ConnectionType,
    Job,
    ResetPeriod,
    RouterMode,
    ServiceLimit,
    Session,
    UsageBucket,
    UsageDay,
)
from ispgraph.lab.nas import Nas
from ispgraph.radius import inbox
from tests.conftest import Dsns
from tests.network.test_change import queue_of
from tests.network.world import Line, World, until

GIB = 2**30
FAIR: dict[str, Any] = {
    **{"fup_threshold_bytes": GIB, "fup_download_kbps": 2000, "fup_upload_kbps": 1000},
    **{"fup_reset_period": ResetPeriod.MONTH, "fup_notify_at_percent": 80},
}
SET_SPEED = """mutation($input: SpeedLimitInput!) { customerSetSpeedLimit(input: $input) {
  jobs { id } errors { code message } } }"""
RESET = "mutation($input: ServiceRef!) { customerResetFup(input: $input) { jobs { id } errors { code message } } }"


@pytest.fixture
async def books(dsns: Dsns) -> AsyncIterator[Database]:
    """The database as accounting may write it."""
    made = Database(dsns.superuser, pool_size=1)
    yield made
    await made.dispose()


async def use(world: World, books: Database, line: Line, octets: int) -> None:
    """What accounting writes when a session has used so many octets more."""
    now = clock.now()
    day = now.astimezone(ZoneInfo(world.house.tenant.time_zone)).date()
    quarter = now.replace(minute=now.minute // 15 * 15, second=0, microsecond=0)
    key = {"tenant_id": world.house.tenant.id, "service_id": line.service.id}
    values = {"customer_id": line.customer.id, "input_octets": 0, "output_octets": octets, "seconds": 0}
    async with books.transaction(world.house.tenant.id) as session:
        for table, name, place in ((UsageDay, "day", day), (UsageBucket, "starts_at", quarter)):
            row = insert(table).values(**key, **values, **{name: place})
            more = {"output_octets": table.output_octets + row.excluded.output_octets}
            await session.execute(row.on_conflict_do_update(index_elements=[*key, name], set_=more))


async def watched(world: World) -> list[str]:
    """The jobs that the scheduler promises when it looks now; they have been carried out well."""
    before = await jobs(world)
    await scheduler.watch(world.database)
    new = [job for job in await jobs(world) if job not in before]
    await world.succeeded([f"job_{key.hex}" for key in new])
    return [f"job_{key.hex}" for key in new]


async def jobs(world: World) -> list[Any]:
    """The ids of all jobs."""
    async with world.database.read(world.house.tenant.id) as session:
        return list(await session.scalars(select(Job.id).order_by(Job.id)))


async def set_speed(world: World, line: Line, down: int, up: int, until_: datetime | None = None) -> list[str]:
    """Set a speed limit: its jobs."""
    given = {"customerId": line.id, "downloadKbps": down, "uploadKbps": up}
    given["expiresAt"] = until_ and until_.isoformat()
    answer = (await world.api.data(SET_SPEED, world.house.admin, input=given))["customerSetSpeedLimit"]
    assert answer["errors"] == []
    return [job["id"] for job in answer["jobs"]]


@pytest.mark.parametrize("kind", [ConnectionType.PPPOE, ConnectionType.HOTSPOT])
async def test_a_quota_that_is_used_up_ends_the_session(world: World, books: Database, kind: ConnectionType) -> None:
    await world.router()
    world.package = await world.house.package("Quota", data_quota_bytes=10 * GIB)
    line = await world.line(kind=kind)
    await use(world, books, line, 3 * GIB)
    assert await watched(world) == []

    # Whoever dials again is told of the rest.
    line.device.hang_up()
    await until(lambda: none_open(world))
    line.device.switch_on()
    await until(lambda: line.device.state == "online")
    # It is not documented that PPP obeys a total, so PPP of the lab does not: it is the scheduler who ends that.
    rest = 7 * GIB - await in_sessions(world)
    assert line.device.session.grant.limits.total == (rest if kind is ConnectionType.HOTSPOT else 0)
    await until(lambda: world.open_sessions("line1"))

    await use(world, books, line, 7 * GIB)
    (key,) = await watched(world)
    assert ("DISCONNECT", "ACK") in await world.steps(key)
    assert line.device.state == "offline"
    assert await watched(world) == []
    line.device.switch_on()
    await until(lambda: line.device.state == "refused")
    assert (await world.network(line))["state"] == "APPLIED"


async def test_fair_use_slows_a_session_and_a_reset_gives_it_back(world: World, books: Database) -> None:
    nas = await world.router()
    world.package = await world.house.package("Fair", **FAIR)
    line = await world.line()
    begun = line.device.session.session_id
    assert queue_of(nas, "line1") == "5000000/20000000"
    await use(world, books, line, GIB)

    (key,) = await watched(world)

    assert await world.steps(key) == [("RADIUS_SQL", "VERIFIED"), ("COA", "ACK"), ("ROUTEROS", "VERIFIED")]
    assert queue_of(nas, "line1") == "1000000/2000000"
    assert await watched(world) == []
    answer = await world.api.data(RESET, world.house.admin, input={"customerId": line.id})
    await world.succeeded([job["id"] for job in answer["customerResetFup"]["jobs"]])
    assert queue_of(nas, "line1") == "5000000/20000000"
    assert line.device.session.session_id == begun
    assert await watched(world) == []


async def none_open(world: World) -> bool:
    """Whether the session has ended in the books."""
    return await world.open_sessions("line1") == []


async def in_sessions(world: World) -> int:
    """The octets of sessions that have ended."""
    ended = select(func.sum(Session.input_octets + Session.output_octets)).where(Session.stopped_at.is_not(None))
    async with world.database.read(world.house.tenant.id) as session:
        return int(await session.scalar(ended) or 0)


async def told(world: World, nas: Nas, line: Line, octets: int) -> None:
    """The session has used at least so much, and its interim update has come."""
    session = line.device.session
    await until(lambda: session.meter.read(nas.router.now())[1] >= octets)
    nas.accounting.report(session, "Interim")
    await until(lambda: in_the_books(world, octets))


async def in_the_books(world: World, octets: int) -> bool:
    """Whether a session is known to have used so much."""
    await inbox.add(world.database)
    async with world.database.read(world.house.tenant.id) as session:
        return (await session.scalar(select(func.max(Session.output_octets))) or 0) >= octets


async def test_an_interim_update_that_crosses_a_threshold_is_enough(world: World) -> None:
    """From the counters of the router to its queue, and then to the end of the session: nothing in between is told."""
    nas = await world.router()
    fair = FAIR | {"fup_threshold_bytes": 60_000}
    world.package = await world.house.package("Fair", **fair, data_quota_bytes=200_000)
    line = await world.line()
    begun = line.device.session.session_id
    assert await watched(world) == []

    await told(world, nas, line, 60_000)
    (key,) = await watched(world)

    assert ("COA", "ACK") in await world.steps(key)
    assert queue_of(nas, "line1") == "1000000/2000000"
    assert line.device.session.session_id == begun
    assert await watched(world) == []
    await told(world, nas, line, 200_000)
    (key,) = await watched(world)
    assert ("DISCONNECT", "ACK") in await world.steps(key)
    assert line.device.state == "offline"
    line.device.switch_on()
    await until(lambda: line.device.state == "refused")
    assert await watched(world) == []


async def test_a_temporary_speed_ends_after_the_worker_was_started_again(world: World, moved_clock: None) -> None:
    nas = await world.router()
    line = await world.line()
    begun = line.device.session.session_id
    await world.succeeded(await set_speed(world, line, 3000, 2000))
    await world.succeeded(await set_speed(world, line, 9000, 8000, clock.now() + timedelta(hours=1)))
    assert queue_of(nas, "line1") == "8000000/9000000"

    # The worker that carried it out is gone; the promise is made while none is there.
    world.working.clear()
    await world.lanes.finish(0)
    clock.set_clock("+3601")
    await scheduler.watch(world.database)
    await scheduler.watch(world.database)
    assert queue_of(nas, "line1") == "8000000/9000000"
    world.lanes = LaneRunner(world.database, world.settings)
    world.working.set()

    await until(lambda: queue_of(nas, "line1") == "2000000/3000000")
    assert line.device.session.session_id == begun
    assert len(await jobs(world)) == 3


async def test_the_routers_own_speed_needs_a_new_session(world: World) -> None:
    nas = await world.router()
    line = await world.line(redial=0.05)
    (key,) = await set_speed(world, line, 0, 0)
    await world.succeeded([key])
    await until(lambda: line.device.state == "online" and line.device.dials == 2)
    assert queue_of(nas, "line1") in (None, "0/0")
    assert "COA" not in [protocol for protocol, _ in await world.steps(key)]


async def test_a_window_closes(world: World, moved_clock: None) -> None:
    await world.router()
    line = await world.line()
    now = clock.now().astimezone(ZoneInfo(world.house.tenant.time_zone))
    window = {
        "days": [1, 2, 3, 4, 5, 6, 7],
        "from": (now - timedelta(hours=1)).time().replace(microsecond=0).isoformat(),
        "to": (now + timedelta(hours=1)).time().replace(microsecond=0).isoformat(),
    }
    await world.house.add(ServiceLimit(service_id=line.service.id, windows=[window], rollover=False))
    assert await watched(world) == []
    clock.set_clock("+3601")
    # That the offset moves the responder as well is for its own tests: who is thrown out stays off here.
    (key,) = await watched(world)
    assert ("DISCONNECT", "ACK") in await world.steps(key)
    assert await world.open_sessions("line1") == []


async def test_a_static_address_and_a_router_that_keeps_its_users(world: World, moved_clock: None) -> None:
    nas = await world.router(mode=RouterMode.LOCAL)
    static = await world.line(kind=ConnectionType.STATIC_IP, ip_address="10.70.0.9")
    kept = await world.line(online=False)
    await world.succeeded(await set_speed(world, static, 4000, 3000, clock.now() + timedelta(hours=1)))
    await world.succeeded(await set_speed(world, kept, 0, 0))
    table = nas.router.table("/queue/simple")
    assert [table.get(item, "max-limit") for item in table.find(name="ispgraph-line1")] == ["3000000/4000000"]
    profiles = nas.router.table("/ppp/profile")
    assert [profiles.get(item, "rate-limit") for item in profiles.find(name="ispgraph-0-0")] in ([""], [None])
    clock.set_clock("+3601")
    assert len(await watched(world)) == 1
    assert [table.get(item, "max-limit") for item in table.find(name="ispgraph-line1")] == ["5000000/20000000"]


UPDATE = """mutation ($id: ID!, $input: PackageInput!) { packageUpdate(packageId: $id, input: $input) {
  errors { code message } jobs { id kind } } }"""


async def test_a_package_on_new_terms_reaches_all_who_are_on_line(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    nas = await world.router()
    rows = [await world.line() for _ in range(3)]
    begun = [line.device.session.session_id for line in rows]
    # As if these were many: one job looks at them, a few at a time.
    monkeypatch.setattr(watches, "CHUNK", 2)
    terms = {"name": "Home 20", "connectionTypes": ["PPPOE"], "downloadKbps": 30_000, "uploadKbps": 6000, "price": "9"}
    given = {"id": ids.encode("pkg", world.package.id), "input": terms}

    answer = (await world.api.data(UPDATE, world.house.admin, **given))["packageUpdate"]

    assert answer["errors"] == []
    (job,) = answer["jobs"]
    assert job["kind"] == "package.apply"
    await world.succeeded([job["id"]])
    ended = await world.job(job["id"])
    assert (ended.message, ended.progress_done) == ("Looked at 3 services: 3 jobs tell the network.", 3)
    await until(lambda: [queue_of(nas, f"line{n}") for n in (1, 2, 3)] == ["6000000/30000000"] * 3)
    assert [line.device.session.session_id for line in rows] == begun
    # The scheduler finds nothing that is not told of.
    assert await watched(world) == []
    assert len(await jobs(world)) == 4

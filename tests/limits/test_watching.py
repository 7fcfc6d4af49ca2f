"""What changes by itself: the scheduler looks at what is due, and the network is told once of each change."""

import asyncio
from datetime import UTC, timedelta
from typing import Any

from sqlalchemy import delete, func, select, text

from ispgraph import clock, ids, scheduler
from ispgraph.db import Database
from ispgraph.domain import watches
from ispgraph.domain.models import (
    BillingCycle,
    ConnectionType,
    Job,
    ResetPeriod,
    Service,
    ServiceLimit,
    ServiceWatch,
)
from tests.factories import House
from tests.limits.conftest import GIB, Line, Lines
from tests.wizard import faults

FAIR: dict[str, Any] = {
    **{"fup_threshold_bytes": 10 * GIB, "fup_download_kbps": 2000, "fup_upload_kbps": 1000},
    **{"fup_reset_period": ResetPeriod.MONTH, "fup_notify_at_percent": 80},
}


async def fair(lines: Lines, house: House, **package: Any) -> Line:
    """A line with fair use from 10 GiB on, that was looked at and is on line."""
    router = await house.router()
    line = await lines.make(FAIR | package, router_id=router.id)
    await line.watch()
    await line.dial()
    return line


async def look_again(line: Line) -> list[Job]:
    """What a look finds when everything was just looked at: nothing is due."""
    found = await line.watch()
    # The driver gives infinity without a zone.
    assert (await line.row_of_watch()).look_at.replace(tzinfo=UTC) > clock.now()
    return found


async def test_crossing_the_threshold_is_one_action(lines: Lines, house: House) -> None:
    line = await fair(lines, house)
    assert await line.watch() == []
    await line.use(10 * GIB - 1)
    assert await look_again(line) == []
    assert await line.policy() == ("PACKAGE", 20_000, 5_000)
    await line.use(1)
    (job,) = await look_again(line)
    assert (job.kind, job.service_id, job.router_id) == ("service.provision", line.service.id, line.service.router_id)
    for _ in range(5):
        await line.use(GIB)
        assert await line.watch() == []
    service = await line.shown()
    assert service["fup"]["active"] is True
    assert service["fup"]["activatedAt"] is not None
    assert service["fup"]["usedBytes"] == str(15 * GIB)
    assert service["fup"]["usedPercent"] == 150
    assert service["effectivePolicy"]["source"] == "FUP"
    assert service["effectivePolicy"]["until"] == service["fup"]["resetsAt"]
    assert (await line.radius())["Mikrotik-Rate-Limit"] == "1000k/2000k"


async def test_the_notice_comes_once_in_a_period(lines: Lines, house: House, moved_clock: None) -> None:
    clock.set_clock("2026-05-10T12:00:00Z")
    line = await fair(lines, house)
    await line.use(8 * GIB - 1)
    await line.watch()
    assert await line.messages() == []
    await line.use(1)
    await line.watch()
    await line.use(GIB)
    await line.change(ServiceWatch, (house.tenant.id, line.service.id), look_at=clock.now())
    await line.watch()
    (message,) = await line.messages()
    assert message.event == "fup.near"
    assert message.created_by_id is None
    assert "80 %" in message.body
    assert "2000/1000 kbit/s (down/up) until 2026-06-01 00:00" in message.body
    clock.set_clock("2026-06-02T12:00:00Z")
    await line.watch()
    await line.use(9 * GIB)
    await line.watch()
    assert len(await line.messages()) == 2


async def test_a_new_period_gives_the_rate_back(lines: Lines, house: House, moved_clock: None) -> None:
    clock.set_clock("2026-05-31T17:59:00Z")
    line = await fair(lines, house)
    await line.use(11 * GIB)
    assert len(await line.watch()) == 1
    clock.set_clock("2026-05-31T18:00:01Z")
    assert len(await look_again(line)) == 1
    assert await line.policy() == ("PACKAGE", 20_000, 5_000)
    assert (await line.shown())["fup"]["usedBytes"] == "0"


async def test_fair_use_by_hand(lines: Lines, house: House) -> None:
    line = await fair(lines, house, fup_threshold_seconds=3600)
    await line.use(GIB, 60)
    payload = await line.act("ActivateFup")
    assert faults(payload) == [("INVALID_STATE", "input.customerId")]
    said = payload["errors"][0]["message"]
    assert f"{GIB} of {10 * GIB} bytes and 6" in said
    assert said.endswith("of 3600 seconds are used in this period.")
    await line.use(0, 3600)
    service = await line.done("ActivateFup")
    assert service["fup"]["active"] is True
    assert (await line.row_of_watch()).fup_manual is True
    assert faults(await line.act("ActivateFup")) == [("NO_CHANGE", "input.customerId")]
    assert await line.watch() == []
    assert (await line.row_of_watch()).fup_manual is True
    assert [entry.action for entry in await line.audited()] == ["customer.activate_fup"]


async def test_a_reset_keeps_the_evidence(lines: Lines, house: House) -> None:
    line = await fair(lines, house)
    assert faults(await line.act("ResetFup")) == [("NO_CHANGE", "input.customerId")]
    for round_ in (1, 2):
        await line.use(11 * GIB)
        assert len(await line.watch()) == 1
        await line.finish_jobs()
        service = await line.done("ResetFup")
        assert service["fup"] | {"resetsAt": None} == {
            **{"active": False, "activatedAt": None, "usedBytes": "0", "thresholdBytes": str(10 * GIB)},
            **{"usedPercent": 0, "resetsAt": None},
        }
        assert service["effectivePolicy"]["source"] == "PACKAGE"
        assert await line.watch() == []
        document = "query ($id: ID!) { node(id: $id) { ... on Customer { usage { totalBytes } } } }"
        usage = await line.api.data(document, house.admin, id=line.id)
        assert usage["node"]["usage"]["totalBytes"] == str(11 * GIB * round_)


async def test_midnight_is_no_reason_to_look_at_everybody(lines: Lines, house: House, moved_clock: None) -> None:
    """Eleven at night in Dhaka, and one in the morning: what counts is what both days have used."""
    clock.set_clock("2026-05-10T17:00:00Z")
    line = await fair(lines, house)
    await line.watch()
    await line.use(3 * GIB)
    await line.use(4 * GIB, at=clock.now() + timedelta(hours=2))
    assert (await line.row_of_watch()).look_at.replace(tzinfo=UTC) > clock.now() + timedelta(hours=11)
    await line.use(GIB, at=clock.now() + timedelta(hours=2))
    assert (await line.row_of_watch()).look_at.replace(tzinfo=UTC) < clock.now()
    # After days without a look nothing is known.
    await line.watch()
    await line.use(1, at=clock.now() + timedelta(days=2))
    assert (await line.row_of_watch()).look_at.replace(tzinfo=UTC) < clock.now()


async def test_a_package_without_fair_use(line: Line) -> None:
    for action in ("ActivateFup", "ResetFup"):
        payload = await line.act(action)
        assert faults(payload) == [("INVALID_STATE", "input.customerId")]
        assert "no fair use policy" in payload["errors"][0]["message"]
    assert (await line.shown())["fup"] is None


async def test_what_beats_what(lines: Lines, house: House) -> None:
    line = await fair(lines, house)
    await line.use(10 * GIB)
    assert await line.policy() == ("FUP", 2000, 1000)
    # A permanent limit is no way around fair use, and fair use makes nobody faster.
    await line.done("SetSpeedLimit", downloadKbps=50_000, uploadKbps=500)
    assert await line.policy() == ("FUP", 2000, 500)
    await line.done("SetSpeedLimit", downloadKbps=1500, uploadKbps=500)
    assert await line.policy() == ("SPEED_LIMIT", 1500, 500)
    await line.done("SetSpeedLimit", downloadKbps=0, uploadKbps=0)
    assert await line.policy() == ("FUP", 2000, 1000)
    until = (clock.now() + timedelta(hours=1)).isoformat()
    await line.done("SetSpeedLimit", downloadKbps=9000, uploadKbps=8000, expiresAt=until)
    assert await line.policy() == ("TEMPORARY_SPEED_LIMIT", 9000, 8000)


async def test_a_temporary_speed_ends_by_itself(line: Line, moved_clock: None) -> None:
    await line.done("SetSpeedLimit", downloadKbps=3000, uploadKbps=1000)
    until = clock.now() + timedelta(hours=1)
    await line.done("SetSpeedLimit", downloadKbps=9000, uploadKbps=8000, expiresAt=until.isoformat())
    await line.finish_jobs()
    await line.dial()
    assert await line.watch() == []
    assert (await line.row_of_watch()).look_at == until
    clock.set_clock("+3601")
    (job,) = await look_again(line)
    assert job.created_by_id is None
    assert await line.policy() == ("SPEED_LIMIT", 3000, 1000)


async def test_whoever_is_not_on_line_needs_no_job(line: Line, moved_clock: None) -> None:
    until = clock.now() + timedelta(hours=1)
    await line.done("SetSpeedLimit", downloadKbps=9000, uploadKbps=8000, expiresAt=until.isoformat())
    await line.watch()
    clock.set_clock("+3601")
    assert await line.watch() == []
    # Its router keeps the rate of a static address whether anybody is there or not.
    await line.change(Service, line.service.id, connection_type=ConnectionType.STATIC_IP, ip_address="192.0.2.7")
    until = clock.now() + timedelta(hours=1)
    await line.done("SetSpeedLimit", downloadKbps=9000, uploadKbps=8000, expiresAt=until.isoformat())
    await line.watch()
    clock.set_clock("+7300")
    assert len(await line.watch()) == 1


async def test_a_quota_that_is_used_up_and_the_next_period(lines: Lines, house: House, moved_clock: None) -> None:
    router = await house.router()
    paid = {"started_at": clock.now() - timedelta(days=29), "expires_at": clock.now() + timedelta(days=1)}
    by_days = {"billing_cycle": BillingCycle.DAILY, "validity_days": 30}
    line = await lines.make({"data_quota_bytes": 10 * GIB, **by_days}, router_id=router.id, **paid)
    await line.watch()
    await line.dial()
    await line.use(10 * GIB)
    assert len(await look_again(line)) == 1
    assert (await line.radius())["Auth-Type"] == "Reject"
    # Renewed: the next period begins when this one ends.
    await line.change(Service, line.service.id, expires_at=paid["expires_at"] + timedelta(days=30))
    assert await look_again(line) == []
    clock.set_clock("+86500")
    assert len(await look_again(line)) == 1
    assert (await line.radius())["Mikrotik-Total-Limit-Gigawords"] == "2"


async def test_the_end_of_what_is_paid_for(line: Line, moved_clock: None) -> None:
    await line.watch()
    await line.dial()
    assert (await line.row_of_watch()).look_at == line.service.expires_at
    clock.set_clock(f"+{20 * 86_400 + 1}")
    assert len(await look_again(line)) == 1


async def test_time_passes_in_a_session_that_accounting_has_not_told_of(line: Line, moved_clock: None) -> None:
    await line.done("SetTimeLimit", dailySeconds=600)
    await line.finish_jobs()
    await line.watch()
    await line.dial()
    clock.set_clock("+61")
    assert await look_again(line) == []
    clock.set_clock("+595")
    assert await look_again(line) == []
    clock.set_clock("+606")
    assert len(await line.watch()) == 1


async def test_a_session_that_is_longer_than_it_may_be(line: Line, moved_clock: None) -> None:
    await line.dial()
    await line.done("SetTimeLimit", sessionSeconds=600)
    await line.finish_jobs()
    assert await look_again(line) == []
    # Routers do it themselves, for those whom they were told of at the login.
    clock.set_clock("+625")
    (job,) = await line.watch()
    assert job.kind == "service.disconnect"
    clock.set_clock("+700")
    assert await line.watch() == []


async def test_windows_close_and_open(line: Line, moved_clock: None) -> None:
    """One o'clock at night in Dhaka."""
    await line.change(Service, line.service.id, expires_at=None)
    clock.set_clock("2026-05-04T19:00:00Z")
    windows = [{"days": [1], "from": "22:00", "to": "02:00"}]
    await line.done("SetTimeLimit", windows=windows)
    await line.finish_jobs()
    await line.dial()
    assert await line.watch() == []
    clock.set_clock("2026-05-04T20:00:01Z")
    assert len(await look_again(line)) == 1
    await line.finish_jobs()
    async with line.accounting.transaction(line.house.tenant.id) as session:
        await session.execute(text("UPDATE sessions SET state = 'STOPPED', stopped_at = updated_at"))
    clock.set_clock("2026-05-11T16:00:01Z")
    assert await look_again(line) == []
    assert "Auth-Type" not in await line.radius()


async def test_several_schedulers_do_it_once(lines: Lines, house: House, database: Database) -> None:
    line = await fair(lines, house)
    await line.use(11 * GIB)
    await asyncio.gather(*(scheduler.watch(database) for _ in range(6)))
    assert len(await line.jobs()) == 1


async def test_who_is_being_changed_is_passed_over(lines: Lines, house: House, database: Database) -> None:
    line = await fair(lines, house)
    await line.use(11 * GIB)
    async with database.transaction(house.tenant.id) as session:
        await session.execute(select(Service).where(Service.id == line.service.id).with_for_update())
        assert await line.watch() == []
    assert len(await line.watch()) == 1


async def test_only_what_is_due_is_looked_at(lines: Lines, house: House) -> None:
    first, second = await lines.make(FAIR), await lines.make(FAIR)
    for looked in (2, 0):
        async with house.database.transaction(house.tenant.id) as session:
            assert (await watches.look(session)).services == looked
    await second.use(9 * GIB)
    async with house.database.transaction(house.tenant.id) as session:
        assert (await watches.look(session)).services == 1
    assert (await first.row_of_watch()).alarm_octets == 8 * GIB


UPDATE = """mutation ($id: ID!, $input: PackageInput!) { packageUpdate(packageId: $id, input: $input) {
  errors { code message field } jobs { id kind status } package { id downloadKbps fup { thresholdBytes } } } }"""
TERMS = {
    **{"name": "Fibre", "connectionTypes": ["PPPOE"], "downloadKbps": 40_000, "uploadKbps": 9_000, "price": "10"},
    **{"fup": {"thresholdBytes": str(GIB), "downloadKbps": 900, "uploadKbps": 800}},
}


async def test_a_package_on_new_terms(lines: Lines, house: House, monkeypatch) -> None:
    line = await fair(lines, house)
    resting = await lines.make(None, package_id=line.service.package_id)
    key = ids.encode("pkg", line.service.package_id)
    given = {"id": key, "input": TERMS}
    answer = (await line.api.data(UPDATE, house.admin, **given))["packageUpdate"]
    assert answer["errors"] == []
    assert [job["kind"] for job in answer["jobs"]] == ["service.provision"]
    assert [job.service_id for job in await line.jobs()] == [line.service.id]
    assert await line.policy() == ("PACKAGE", 40_000, 9_000)
    assert await resting.watch() == []
    # Nothing that the network knows of.
    given = {"id": key, "input": TERMS | {"description": "Fast"}}
    assert (await line.api.data(UPDATE, house.admin, **given))["packageUpdate"]["jobs"] == []
    # For many there is one job, which promises the others.
    monkeypatch.setattr(watches, "CHUNK", 1)
    given = {"id": key, "input": TERMS | {"downloadKbps": 41_000}}
    (job,) = (await line.api.data(UPDATE, house.admin, **given))["packageUpdate"]["jobs"]
    assert (job["kind"], job["status"]) == ("package.apply", "QUEUED")
    assert len(await line.jobs()) == 2


async def test_the_first_look_knows_a_service_by_its_sessions(lines: Lines, house: House) -> None:
    router = await house.router()
    right = await lines.make(router_id=router.id)
    await right.dial()
    assert await right.watch() == []
    wrong = await lines.make(router_id=router.id)
    await wrong.dial(rate="0" * 8)
    assert [job.service_id for job in await wrong.watch()] == [wrong.service.id]


async def test_a_watch_and_limits_go_with_their_service(lines: Lines, house: House) -> None:
    line = await lines.make()
    await line.done("SetSpeedLimit", downloadKbps=5, uploadKbps=5)
    await line.finish_jobs()
    document = "mutation ($id: ID!) { customerDelete(customerId: $id) { errors { code message } deletedId } }"
    async with line.accounting.transaction(house.tenant.id) as session:
        await session.execute(delete(Job))
    payload = (await line.api.data(document, house.admin, id=line.id))["customerDelete"]
    assert payload == {"errors": [], "deletedId": line.id}
    async with house.database.read(house.tenant.id) as session:
        for table in (ServiceWatch, ServiceLimit):
            assert await session.scalar(select(func.count()).select_from(table)) == 0

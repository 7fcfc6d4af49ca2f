"""Setting and clearing limits through the API: what is kept, shown, told to RADIUS, and refused."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from ispgraph import clock, ids
from ispgraph.domain.models import BillingCycle, ResetPeriod, Role, ServiceLimit, ServiceStatus
from ispgraph.domain.permissions import DEFAULTS, Permission
from tests.api import Api
from tests.factories import House
from tests.limits.conftest import GIB, Line, Lines
from tests.wizard import faults

NIGHT = {"days": [5, 6], "from": "22:00", "to": "06:00"}
NOTHING = {"days": [], "from": "08:00", "to": "08:00"}
SPEED = {"downloadKbps": 3000, "uploadKbps": 1000}


async def test_a_speed_limit_is_set_shown_and_cleared(line: Line) -> None:
    payload = await line.act("SetSpeedLimit", **SPEED)
    assert payload["errors"] == []
    assert [job["kind"] for job in payload["jobs"]] == ["service.provision"]
    service = payload["customer"]["service"]
    assert service["speedLimit"] == SPEED | {"expiresAt": None}
    assert service["effectivePolicy"] == {
        **SPEED,
        "source": "SPEED_LIMIT",
        "until": None,
        "explanation": "A speed limit of this service, in place of the rates of its package.",
    }
    assert service["network"]["desiredVersion"] == 2
    assert (await line.radius())["Mikrotik-Rate-Limit"] == "1000k/3000k"
    assert faults(await line.act("SetSpeedLimit", **SPEED)) == [("NO_CHANGE", "input.customerId")]
    cleared = await line.done("ClearSpeedLimit")
    assert cleared["speedLimit"] is None
    assert await line.policy() == ("PACKAGE", 20_000, 5_000)
    assert faults(await line.act("ClearSpeedLimit")) == [("NO_CHANGE", "input.customerId")]
    entries = [(row.action, row.details["before"], row.details["after"]) for row in await line.audited()]
    assert [entry[0] for entry in entries] == ["customer.set_speed_limit", "customer.clear_speed_limit"]
    assert entries[0][1] is None
    assert entries[0][2] == entries[1][1]
    assert entries[0][2]["speed_download_kbps"] == 3000
    assert entries[1][2] is None
    async with line.house.database.read(line.house.tenant.id) as session:
        assert await session.scalar(select(func.count()).select_from(ServiceLimit)) == 0


async def test_zero_and_zero_leave_it_to_the_router(line: Line) -> None:
    service = await line.done("SetSpeedLimit", downloadKbps=0, uploadKbps=0)
    assert service["speedLimit"] == {"downloadKbps": 0, "uploadKbps": 0, "expiresAt": None}
    assert await line.policy() == ("ROUTER", None, None)
    assert "Mikrotik-Rate-Limit" not in await line.radius()


async def test_a_temporary_speed_lets_the_permanent_one_wait(line: Line, moved_clock: None) -> None:
    await line.done("SetSpeedLimit", **SPEED)
    until = (clock.now() + timedelta(hours=2)).replace(microsecond=0)
    service = await line.done("SetSpeedLimit", downloadKbps=50_000, uploadKbps=9_000, expiresAt=until.isoformat())
    assert service["speedLimit"] == {
        "downloadKbps": 50_000,
        "uploadKbps": 9_000,
        "expiresAt": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    assert service["effectivePolicy"]["source"] == "TEMPORARY_SPEED_LIMIT"
    assert service["effectivePolicy"]["until"] == service["speedLimit"]["expiresAt"]
    clock.set_clock("+7201")
    assert await line.policy() == ("SPEED_LIMIT", 3000, 1000)
    assert (await line.shown())["speedLimit"] == SPEED | {"expiresAt": None}
    assert (await line.radius())["Mikrotik-Rate-Limit"] == "1000k/3000k"


async def test_a_permanent_speed_ends_a_temporary_one(line: Line) -> None:
    until = (clock.now() + timedelta(hours=2)).isoformat()
    await line.done("SetSpeedLimit", downloadKbps=0, uploadKbps=0, expiresAt=until)
    assert await line.policy() == ("ROUTER", None, None)
    assert (await line.done("SetSpeedLimit", **SPEED))["speedLimit"] == SPEED | {"expiresAt": None}


MISTAKES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("SetSpeedLimit", {"downloadKbps": -1, "uploadKbps": 10_000_001}, ["downloadKbps", "uploadKbps"]),
    ("SetSpeedLimit", {"downloadKbps": 0, "uploadKbps": 5}, ["downloadKbps"]),
    ("SetSpeedLimit", {"downloadKbps": 5, "uploadKbps": 0}, ["uploadKbps"]),
    ("SetSpeedLimit", SPEED | {"expiresAt": "2020-01-01T00:00:00Z"}, ["expiresAt"]),
    ("SetTimeLimit", {}, ["sessionSeconds"]),
    ("SetTimeLimit", {"windows": []}, ["sessionSeconds"]),
    ("SetTimeLimit", {"sessionSeconds": 0, "dailySeconds": 86_401}, ["sessionSeconds", "dailySeconds"]),
    ("SetTimeLimit", {"dailySeconds": 600, "monthlySeconds": 599}, ["monthlySeconds"]),
    ("SetTimeLimit", {"dailySeconds": 600, "weeklySeconds": 599}, ["weeklySeconds"]),
    ("SetTimeLimit", {"windows": [NOTHING]}, ["windows.0.days", "windows.0.to"]),
    ("SetTimeLimit", {"windows": [NIGHT, {"days": [0, 8], "from": "08:00", "to": "09:00"}]}, ["windows.1.days"]),
    ("SetTimeLimit", {"windows": [NIGHT, {"days": [7], "from": "05:59", "to": "09:00"}]}, ["windows.1"]),
    (
        "SetTimeLimit",
        {"windows": [{"days": [7], "from": "22:00", "to": "06:00"}, {"days": [1], "from": "05:00", "to": "07:00"}]},
        ["windows.1"],
    ),
    ("SetTimeLimit", {"windows": [{"days": [1], "from": "00:00", "to": "01:00"}] * 51}, ["windows"]),
    ("SetVolumeLimit", {}, ["dailyBytes"]),
    ("SetVolumeLimit", {"dailyBytes": "0", "monthlyBytes": "-5"}, ["dailyBytes", "monthlyBytes"]),
    ("SetVolumeLimit", {"dailyBytes": "1000", "monthlyBytes": "999"}, ["monthlyBytes"]),
    ("SetVolumeLimit", {"dailyBytes": "1000", "rollover": True}, ["rollover"]),
    ("SetVolumeLimit", {"monthlyBytes": str(2**61)}, ["monthlyBytes"]),
]


async def test_what_cannot_be(line: Line) -> None:
    for action, given, found in MISTAKES:
        payload = await line.act(action, **given)
        assert {field for _, field in faults(payload)} == {f"input.{name}" for name in found}, given
        assert payload["customer"] is None
    assert await line.jobs() == []
    assert await line.audited() == []


async def test_windows_side_by_side_do_not_overlap(line: Line) -> None:
    windows = [NIGHT, {"days": [6, 7], "from": "06:00", "to": "22:00"}, {"days": [1], "from": "00:00", "to": "06:00"}]
    service = await line.done("SetTimeLimit", windows=windows, sessionSeconds=3600)
    assert service["timeLimit"] == {
        **{"sessionSeconds": 3600, "dailySeconds": None, "weeklySeconds": None, "monthlySeconds": None},
        "windows": [each | {"from": f"{each['from']}:00", "to": f"{each['to']}:00"} for each in windows],
    }
    assert (await line.done("SetTimeLimit", dailySeconds=60))["timeLimit"]["windows"] == []
    assert (await line.done("ClearTimeLimit"))["timeLimit"] is None


async def test_outside_of_the_windows(line: Line, moved_clock: None) -> None:
    """The zone is Dhaka, six hours ahead of UTC. 2026-05-04 is a Monday."""
    await line.change(type(line.service), line.service.id, expires_at=None)
    clock.set_clock("2026-05-04T01:59:00Z")
    await line.done("SetTimeLimit", windows=[{"days": [1], "from": "08:00", "to": "20:00"}])
    said = await line.radius()
    assert said == {"Auth-Type": "Reject", "Reply-Message": "Outside of the hours of this service"}
    policy = (await line.shown())["effectivePolicy"]
    assert policy["explanation"].startswith("Off line: Outside of the hours of this service. On line: ")
    clock.set_clock("2026-05-04T02:30:00Z")
    assert 41_300 < int((await line.radius())["Session-Timeout"]) <= 41_400
    clock.set_clock("2026-05-04T14:00:00Z")
    assert "Auth-Type" in await line.radius()


async def test_time_left_counts_what_is_passing(line: Line, moved_clock: None) -> None:
    # In the evening: what was four hours ago was today.
    clock.set_clock("2026-05-10T12:00:00Z")
    await line.done("SetTimeLimit", dailySeconds=7200, sessionSeconds=5000)
    assert (await line.radius())["Session-Timeout"] == "5000"
    now = clock.now()
    await line.use(seconds=3000)
    # Of a session that accounting told of 100 seconds ago these count as well.
    await line.dial(started_at=now - timedelta(seconds=100), updated_at=now - timedelta(seconds=100))
    assert 4090 < int((await line.radius())["Session-Timeout"]) <= 4100
    # Of one that was not heard of for long no more than three intervals.
    await line.dial(started_at=now - timedelta(hours=5), updated_at=now - timedelta(hours=4))
    assert 3190 < int((await line.radius())["Session-Timeout"]) <= 3200
    await line.use(seconds=3200)
    assert await line.radius() == {"Auth-Type": "Reject", "Reply-Message": "The time of today is used up"}


async def test_weeks_begin_on_monday_and_months_on_the_first(line: Line, moved_clock: None) -> None:
    """In the tenant's zone: in Dhaka it is Monday, 2026-05-18, from 18:00 on Sunday in UTC on."""
    await line.change(type(line.service), line.service.id, expires_at=None)
    clock.set_clock("2026-05-13T12:00:00Z")
    await line.use(seconds=900, at=clock.now() - timedelta(days=3))
    await line.use(seconds=600, at=clock.now() - timedelta(days=2))
    await line.done("SetTimeLimit", weeklySeconds=1000, monthlySeconds=2000)
    assert (await line.radius())["Session-Timeout"] == "400"
    await line.use(seconds=400)
    assert (await line.radius())["Reply-Message"] == "The time of this week is used up"
    clock.set_clock("2026-05-17T17:59:00Z")
    assert (await line.radius())["Reply-Message"] == "The time of this week is used up"
    clock.set_clock("2026-05-17T18:00:00Z")
    assert (await line.radius())["Session-Timeout"] == "100"
    await line.use(seconds=100)
    assert (await line.radius())["Reply-Message"] == "The time of this month is used up"
    clock.set_clock("2026-05-31T18:00:00Z")
    assert (await line.radius())["Session-Timeout"] == "1000"


async def test_a_quota_is_what_remains(lines: Lines) -> None:
    """10 GiB, 3 GiB used: 7 GiB in two words of 32 bits. What was used before the period does not count."""
    now = clock.now()
    paid = {"started_at": now - timedelta(days=40), "expires_at": now + timedelta(days=20)}
    by_days = {"billing_cycle": BillingCycle.DAILY, "validity_days": 30}
    line = await lines.make({"data_quota_bytes": 10 * GIB, "time_quota_seconds": 9000, **by_days}, **paid)
    await line.use(5 * GIB, 5000, now - timedelta(days=10, minutes=20))
    said = await line.radius()
    assert (said["Mikrotik-Total-Limit-Gigawords"], said["Mikrotik-Total-Limit"]) == ("2", str(2 * GIB))
    await line.use(3 * GIB, 1000, now - timedelta(days=3))
    said = await line.radius()
    assert (said["Mikrotik-Total-Limit-Gigawords"], said["Mikrotik-Total-Limit"]) == ("1", str(3 * GIB))
    assert said["Session-Timeout"] == "8000"
    figures = await usage_of(line)
    assert figures["usage"]["quotaBytes"] == str(10 * GIB)
    assert figures["usagePercentage"] == 30
    await line.use(7 * GIB - 1)
    assert (await line.radius())["Mikrotik-Total-Limit"] == "1"
    await line.use(1)
    assert await line.radius() == {"Auth-Type": "Reject", "Reply-Message": "The data of this period is used up"}


@pytest.mark.parametrize(
    ("anchor", "now", "resets"),
    [
        # 31 January comes back to 31 after the end on 28 February that is paid for.
        ("2027-01-31T04:00:00Z", "2027-02-10T00:00:00Z", "2027-02-28T04:00:00Z"),
        ("2027-01-31T04:00:00Z", "2027-03-05T00:00:00Z", "2027-03-31T04:00:00Z"),
        # Nothing but that end is known.
        (None, "2027-02-10T00:00:00Z", "2027-02-28T04:00:00Z"),
        (None, "2027-03-05T00:00:00Z", "2027-03-28T04:00:00Z"),
    ],
)
async def test_billing_periods_are_counted_from_the_anchor(
    lines: Lines, moved_clock: None, anchor: str | None, now: str, resets: str
) -> None:
    fair = {"fup_threshold_bytes": GIB, "fup_download_kbps": 2000, "fup_upload_kbps": 1000}
    fair |= {"fup_reset_period": ResetPeriod.BILLING_PERIOD, "fup_notify_at_percent": 80}
    line = await lines.make(
        fair,
        started_at=datetime.fromisoformat("2027-01-31T04:00:00Z"),
        expires_at=datetime.fromisoformat("2027-02-28T04:00:00Z"),
        billing_anchor=anchor and datetime.fromisoformat(anchor),
    )
    clock.set_clock(now)
    assert (await line.shown())["fup"]["resetsAt"] == resets


async def usage_of(line: Line) -> dict[str, Any]:
    """The figures of the customer's usage."""
    document = (
        "query ($id: ID!) { node(id: $id) { ... on Customer { usagePercentage usage { quotaBytes usedPercent } } } }"
    )
    found: dict[str, Any] = (await line.api.data(document, line.house.admin, id=line.id))["node"]
    return found


async def test_without_a_quota_there_is_no_percentage(line: Line) -> None:
    assert await usage_of(line) == {"usagePercentage": None, "usage": {"quotaBytes": None, "usedPercent": None}}


async def test_the_tightest_volume_counts(lines: Lines) -> None:
    line = await lines.make({"data_quota_bytes": 100 * GIB})
    await line.done("SetVolumeLimit", dailyBytes=str(5 * GIB), monthlyBytes=str(50 * GIB))
    assert (await line.radius())["Mikrotik-Total-Limit-Gigawords"] == "1"
    await line.use(4 * GIB)
    service = await line.shown()
    assert service["volumeLimit"] == {
        **{"dailyBytes": str(5 * GIB), "monthlyBytes": str(50 * GIB), "rollover": False},
        **{"usedTodayBytes": str(4 * GIB), "usedThisPeriodBytes": str(4 * GIB)},
    }
    assert (await line.radius())["Mikrotik-Total-Limit"] == str(GIB)
    await line.use(GIB)
    assert (await line.radius())["Reply-Message"] == "The data of today is used up"
    assert (await line.done("ClearVolumeLimit"))["volumeLimit"] is None
    assert "Mikrotik-Total-Limit" in await line.radius()


async def test_what_is_left_goes_over(line: Line, moved_clock: None) -> None:
    await line.change(type(line.service), line.service.id, expires_at=None)
    clock.set_clock("2026-05-10T12:00:00Z")
    await line.done("SetVolumeLimit", monthlyBytes=str(GIB), rollover=True)
    await line.use(100)
    assert (await line.radius())["Mikrotik-Total-Limit"] == str(GIB - 100)
    clock.set_clock("2026-06-10T12:00:00Z")
    assert (await line.radius())["Mikrotik-Total-Limit"] == str(2 * GIB - 100)
    await line.done("SetVolumeLimit", monthlyBytes=str(GIB), rollover=False)
    assert (await line.radius())["Mikrotik-Total-Limit"] == str(GIB)


async def test_the_same_key_answers_the_same(line: Line) -> None:
    given = SPEED | {"idempotencyKey": "once"}
    first, second = await asyncio.gather(line.act("SetSpeedLimit", **given), line.act("SetSpeedLimit", **given))
    assert first["errors"] == second["errors"] == []
    assert first["jobs"] == second["jobs"]
    assert len(await line.jobs()) == 1
    other = await line.act("SetSpeedLimit", **given | {"downloadKbps": 4000})
    assert faults(other) == [("IDEMPOTENCY_KEY_REUSED", "input.idempotencyKey")]


ACTIONS = {
    "SetSpeedLimit": (Permission.EDIT_SPEED_LIMIT, SPEED),
    "ClearSpeedLimit": (Permission.EDIT_SPEED_LIMIT, {}),
    "SetTimeLimit": (Permission.EDIT_TIME_LIMIT, {"dailySeconds": 5}),
    "ClearTimeLimit": (Permission.EDIT_TIME_LIMIT, {}),
    "SetVolumeLimit": (Permission.EDIT_VOLUME_LIMIT, {"dailyBytes": "5"}),
    "ClearVolumeLimit": (Permission.EDIT_VOLUME_LIMIT, {}),
    "ActivateFup": (Permission.ACTIVATE_FUP, {}),
    "ResetFup": (Permission.ACTIVATE_FUP, {}),
}


async def test_who_may(line: Line, house: House, other_house: House, api: Api) -> None:
    for action in ACTIONS:
        await nobody_else_may(line, house, other_house, api, action)
    assert await line.jobs() == []


async def nobody_else_may(line: Line, house: House, other_house: House, api: Api, action: str) -> None:
    """Not without the permission, nor for the customers of others."""
    permission, given = ACTIONS[action]
    names = sorted(each.value for each in DEFAULTS[Role.ADMIN] if each is not permission)
    without = await house.operator(Role.MANAGER, permissions=names)
    kind = f"{action.removeprefix('Set')}Input" if action.startswith("Set") else "ServiceRef"
    document = f"mutation ($input: {kind}!) {{ customer{action}(input: $input) {{ errors {{ code field }} }} }}"
    answer = await api(document, without, input={"customerId": line.id, **given})
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    reseller = await house.operator(Role.OPERATOR, permissions=[permission.value])
    for stranger in (other_house.admin, reseller):
        answer = await api(document, stranger, input={"customerId": line.id, **given})
        assert answer["data"][f"customer{action}"]["errors"] == [
            {"code": "NOT_FOUND", "field": ["input", "customerId"]}
        ]
    other = {"serviceId": ids.encode("svc", ids.uuid7())}
    assert faults(await line.act(action, **given, **other)) == [("NOT_FOUND", "input.serviceId")]


async def test_a_terminated_service_has_no_use_for_limits(line: Line) -> None:
    await line.change(type(line.service), line.service.id, status=ServiceStatus.TERMINATED)
    for action in ("SetSpeedLimit", "SetTimeLimit", "SetVolumeLimit", "ActivateFup", "ResetFup"):
        assert faults(await line.act(action, **ACTIONS[action][1])) == [("INVALID_STATE", "input.customerId")]

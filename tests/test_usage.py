"""Accounting sessions and usage as a front end reads them."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain.models import ConnectionType, Customer, Role, SessionState
from tests import accounting, factories
from tests.api import Api
from tests.crowd import customer, service
from tests.factories import House

NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)

USAGE = """query ($id: ID!, $from: DateTime, $to: DateTime, $granularity: UsageGranularity) {
  customer(by: {id: $id}) { usage(from: $from, to: $to, granularity: $granularity) {
    downloadBytes uploadBytes totalBytes seconds points { start downloadBytes uploadBytes } } } }"""
SESSIONS = """query ($id: ID!, $where: SessionWhere) { customer(by: {id: $id}) { deviceCount
  sessions(where: $where) { totalCount nodes { acctSessionId } } } }"""


def public(row: Customer) -> str:
    """The public id of a customer."""
    return ids.encode("cus", row.id)


async def used(api: Api, house: House, of: Customer, **variables: Any) -> dict[str, Any]:
    """The usage of a customer; it is the sum of its points, whatever is asked for."""
    answer = await api.data(USAGE, house.admin, id=public(of), **variables)
    found: dict[str, Any] = answer["customer"]["usage"]
    for figure in ("downloadBytes", "uploadBytes"):
        assert int(found[figure]) == sum(int(point[figure]) for point in found["points"])
    assert int(found["totalBytes"]) == int(found["downloadBytes"]) + int(found["uploadBytes"])
    return found


def points(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Start, upload and download of each point."""
    return [(point["start"], point["uploadBytes"], point["downloadBytes"]) for point in found["points"]]


@pytest.fixture(params=["Asia/Dhaka", "Asia/Kolkata", "Asia/Kathmandu"])
async def tenant(request: pytest.FixtureRequest, owner: Database, database: Database, moved_clock: None) -> House:
    """A house in a zone whole, half or three quarters of an hour ahead of UTC. The clock stands at NOW."""
    clock.set_clock("2026-06-15T12:00:00Z")
    return await factories.house(owner, database, "east", time_zone=request.param)


MIDNIGHTS = {"Asia/Dhaka": "18:00:00Z", "Asia/Kolkata": "18:30:00Z", "Asia/Kathmandu": "18:15:00Z"}
"""When a day begins, on the day before in UTC."""


async def test_days_and_months_are_those_of_the_tenant(api: Api, owner: Database, tenant: House) -> None:
    ann, bob = customer(tenant, "Ann"), customer(tenant, "Bob")
    package = await tenant.package()
    await tenant.add(ann, bob)
    one, two = service(ann, package.id), service(ann, package.id, is_primary=False)
    other = service(bob, package.id)
    await tenant.add(one, two, other)
    huge = 2**53 + 1
    await accounting.account(
        owner,
        tenant,
        *accounting.usage(one, {date(2026, 5, 30): (1, 10, 60), date(2026, 5, 31): (2, 20, 60)}),
        *accounting.usage(one, {date(2026, 6, 1): (4, 40, 60), date(2026, 6, 2): (0, huge, 60)}),
        *accounting.usage(two, {date(2026, 5, 31): (8, 80, 7), date(2026, 6, 1): (0, 0, 7)}),
        *accounting.usage(other, {date(2026, 6, 1): (999, 999, 999)}),
    )
    midnight = MIDNIGHTS[tenant.tenant.time_zone]

    def begins(day: str) -> str:
        return f"{day}T{midnight}"

    # The whole of 31 May and 1 June, across the month's end.
    found = await used(api, tenant, ann, **{"from": begins("2026-05-30"), "to": begins("2026-06-01")})
    assert points(found) == [(begins("2026-05-30"), "10", "100"), (begins("2026-05-31"), "4", "40")]
    assert (found["uploadBytes"], found["downloadBytes"], found["seconds"]) == ("14", "140", 134)
    # A second of a day counts as the whole of it.
    inside = {"from": begins("2026-05-30")[:-3] + "01Z", "to": begins("2026-05-31")[:-3] + "01Z"}
    assert points(await used(api, tenant, ann, **inside)) == points(found)
    # A month is one whole, wherever in it one begins to ask.
    months = {"from": "2026-05-31T00:00:00Z", "to": "2026-06-02T00:00:00Z", "granularity": "MONTH"}
    found = await used(api, tenant, ann, **months)
    assert points(found) == [
        (begins("2026-04-30"), "11", "110"),
        (begins("2026-05-31"), "4", str(40 + huge)),
    ]
    assert found["seconds"] == 254
    june = {"from": begins("2026-05-31"), "to": begins("2026-05-31")[:-3] + "01Z", "granularity": "MONTH"}
    assert points(await used(api, tenant, ann, **june)) == [(begins("2026-05-31"), "4", str(40 + huge))]
    # By default this month so far, by day.
    found = await used(api, tenant, ann)
    assert points(found) == [(begins("2026-05-31"), "4", "40"), (begins("2026-06-01"), "0", str(huge))]
    # A quarter of an hour before this month began.
    clock.set_clock((datetime.fromisoformat(begins("2026-05-31")) - HOUR / 4).isoformat())
    assert len(points(await used(api, tenant, ann))) == 2
    assert (await used(api, tenant, ann))["downloadBytes"] == "110"


async def test_hours_are_those_of_the_tenant(api: Api, owner: Database, tenant: House) -> None:
    ann = customer(tenant, "Ann")
    package = await tenant.package()
    await tenant.add(ann)
    line, second = service(ann, package.id), service(ann, package.id, is_primary=False)
    await tenant.add(line, second)
    midnight = datetime.fromisoformat(f"2026-05-31T{MIDNIGHTS[tenant.tenant.time_zone]}")
    quarters = {midnight + number * HOUR / 4: (10**number, 2, 900) for number in range(-1, 9)}
    quarters = {at: figures if figures[0] >= 1 else (5, 2, 900) for at, figures in quarters.items()}
    await accounting.account(
        owner,
        tenant,
        *accounting.usage(line, dict(quarters)),
        *accounting.usage(second, {midnight: (3, 1, 1)}),
    )

    def begins(hours: int) -> str:
        return (midnight + hours * HOUR).isoformat().replace("+00:00", "Z")

    two = [(begins(0), "1114", "9"), (begins(1), "11110000", "8")]
    found = await used(api, tenant, ann, **{"from": begins(0), "to": begins(2), "granularity": "HOUR"})
    assert points(found) == two
    assert found["seconds"] == 8 * 900 + 1
    # Part of an hour counts as the whole of it.
    inside = {"from": (midnight + HOUR / 2).isoformat(), "to": (midnight + HOUR + HOUR / 60).isoformat()}
    assert points(await used(api, tenant, ann, granularity="HOUR", **inside)) == two
    whole = await used(api, tenant, ann, **{"from": begins(-1), "to": begins(3), "granularity": "HOUR"})
    assert points(whole) == [(begins(-1), "5", "2"), *two, (begins(2), "100000000", "2")]


async def test_an_hour_that_comes_twice_is_two(api: Api, owner: Database, database: Database) -> None:
    # On 25 October 2026 the clocks of Berlin go back from three to two at 01:00 UTC.
    house = await factories.house(owner, database, "west", time_zone="Europe/Berlin")
    ann = customer(house, "Ann")
    await house.add(ann)
    line = service(ann, (await house.package()).id)
    await house.add(line)
    turn = datetime(2026, 10, 25, 1, 0, tzinfo=UTC)
    used_then = {turn - HOUR / 4: (1, 1, 1), turn: (2, 2, 2), turn + HOUR: (4, 4, 4)}
    days = {date(2026, 10, 25): (7, 7, 7)}
    await accounting.account(
        owner, house, *accounting.usage(line, dict(used_then)), *accounting.usage(line, dict(days))
    )
    day = {"from": "2026-10-24T22:00:00Z", "to": "2026-10-25T23:00:00Z"}
    assert points(await used(api, house, ann, granularity="HOUR", **day)) == [
        ("2026-10-25T00:00:00Z", "1", "1"),
        ("2026-10-25T01:00:00Z", "2", "2"),
        ("2026-10-25T02:00:00Z", "4", "4"),
    ]
    assert points(await used(api, house, ann, **day)) == [("2026-10-24T22:00:00Z", "7", "7")]


@pytest.mark.usefixtures("moved_clock")
async def test_a_stretch_of_time_that_cannot_be_is_refused(api: Api, house: House) -> None:
    clock.set_clock("2026-06-15T12:00:00Z")
    ann = customer(house, "Ann")
    await house.add(ann)
    start = "2026-01-01T00:00:00Z"
    for given in (
        {"from": start, "to": start},
        {"from": start, "to": "2025-12-31T23:59:59Z"},
        {"from": "2026-06-15T13:00:00Z"},
        {"from": start, "to": "2026-03-05T00:00:00Z", "granularity": "HOUR"},
        {"from": start, "to": "2029-06-01T00:00:00Z"},
        {"from": start, "to": "2029-06-01T00:00:00Z", "granularity": "DAY"},
        {"from": start, "to": "2037-01-01T00:00:00Z", "granularity": "MONTH"},
        {"from": "1970-01-01T00:00:00Z"},
        {"from": start, "to": "9999-12-31T23:59:59Z", "granularity": "MONTH"},
        {"from": "9999-12-31T23:59:59Z"},
    ):
        answer = await api(USAGE, house.admin, id=public(ann), **given)
        [error] = answer["errors"]
        assert error["extensions"] == {"code": "BAD_REQUEST", "field": ["from"]}, given
        assert error["path"] == ["customer", "usage"]
    # Where the calendar ends there is no whole month, day or hour any more.
    for granularity in ("HOUR", "DAY", "MONTH"):
        edge = {"from": "9999-12-31T00:00:00Z", "to": "9999-12-31T23:59:59Z", "granularity": granularity}
        [error] = (await api(USAGE, house.admin, id=public(ann), **edge))["errors"]
        assert error["extensions"] == {"code": "BAD_REQUEST", "field": ["to"]}, granularity
    # Where it begins there is; hours are not known for so long.
    edge = {"from": "1970-01-01T00:00:00Z", "to": "1970-01-02T00:00:00Z", "granularity": "HOUR"}
    [error] = (await api(USAGE, house.admin, id=public(ann), **edge))["errors"]
    assert error["extensions"] == {"code": "BAD_REQUEST", "field": ["from"]}
    for granularity in ("DAY", "MONTH"):
        edge = {"from": "1970-01-01T00:00:00Z", "to": "1970-01-02T00:00:00Z", "granularity": granularity}
        assert points(await used(api, house, ann, **edge)) == []


async def test_usage_of_many_customers_at_once(api: Api, owner: Database, house: House) -> None:
    rows = [customer(house, name) for name in ("Ann", "Bob", "Cid")]
    package = await house.package()
    await house.add(*rows)
    for number, row in enumerate(rows[:2], start=1):
        line = service(row, package.id)
        await house.add(line)
        await accounting.account(owner, house, *accounting.usage(line, {clock.now().date(): (number, 10 * number, 1)}))
    document = """{ customers(orderBy: {field: NAME}) { nodes { name
      usage { totalBytes } byMonth: usage(granularity: MONTH) { points { uploadBytes } } } } }"""
    month = {"Ann": ["1"], "Bob": ["2"], "Cid": []}
    found = (await api.data(document, house.admin))["customers"]["nodes"]
    assert [(row["name"], row["usage"]["totalBytes"]) for row in found] == [("Ann", "11"), ("Bob", "22"), ("Cid", "0")]
    assert {row["name"]: [point["uploadBytes"] for point in row["byMonth"]["points"]] for row in found} == month


async def test_sessions_by_time_kind_and_state(api: Api, owner: Database, house: House) -> None:
    ann, bob = customer(house, "Ann"), customer(house, "Bob")
    await house.add(ann, bob)
    hotspot = {"connection_type": ConnectionType.HOTSPOT}
    stale = {"state": SessionState.STALE, "stopped_at": NOW}
    await accounting.account(
        owner,
        house,
        accounting.session(ann, NOW, acct_session_id="open"),
        accounting.session(ann, NOW - 4 * HOUR, acct_session_id="early", stopped_at=NOW - 3 * HOUR, **hotspot),
        accounting.session(ann, NOW - 2 * HOUR, acct_session_id="stale", **stale),
        accounting.session(ann, NOW - 2 * HOUR, acct_session_id="stopped", stopped_at=NOW),
        accounting.session(bob, NOW, acct_session_id="bob's"),
    )

    async def found(where: dict[str, Any] | None) -> str:
        shown = (await api.data(SESSIONS, house.admin, id=public(ann), where=where))["customer"]
        assert shown["deviceCount"] == 1
        assert shown["sessions"]["totalCount"] == len(shown["sessions"]["nodes"])
        return " ".join(each["acctSessionId"] for each in shown["sessions"]["nodes"])

    def at(hours: int) -> str:
        return (NOW - hours * HOUR).isoformat()

    # The latest begun first; of two that began together, the later made.
    assert await found(None) == await found({}) == "open stopped stale early"
    assert await found({"state": "OPEN"}) == "open"
    assert await found({"state": "STALE"}) == "stale"
    assert await found({"state": "STOPPED"}) == "stopped early"
    assert await found({"connectionType": "HOTSPOT"}) == "early"
    assert await found({"connectionType": "PPPOE", "state": "STOPPED"}) == "stopped"
    assert await found({"from": at(2)}) == "open stopped stale"
    assert await found({"to": at(2)}) == "early"
    assert await found({"from": at(2), "to": at(0)}) == "stopped stale"
    assert await found({"from": at(0), "to": at(2)}) == ""


async def test_a_session_tells_what_accounting_knows(api: Api, owner: Database, house: House) -> None:
    ann = customer(house, "Ann")
    router = await house.router(name="tower-1")
    await house.add(ann)
    row = accounting.session(
        ann,
        NOW - HOUR,
        stopped_at=NOW,
        acct_session_id="81C00007",
        router_id=router.id,
        duration_seconds=3600,
        input_octets=5,
        output_octets=2**62,
        ip_address="100.64.0.9",
        mac_address="a4:5e:60:c2:19:f0",
        nas_address="2001:db8::1",
        terminate_cause="User-Request",
    )
    await accounting.account(owner, house, row)
    public_id = ids.encode("ses", row.id)
    document = f"""{{ node(id: "{public_id}") {{ id ... on Session {{ acctSessionId state connectionType startedAt
      updatedAt stoppedAt durationSeconds downloadBytes uploadBytes ipAddress macAddress nasAddress
      router {{ name }} terminateCause }} }} }}"""
    assert (await api.data(document, house.admin))["node"] == {
        "id": public_id,
        "acctSessionId": "81C00007",
        "state": "STOPPED",
        "connectionType": "PPPOE",
        "startedAt": "2026-06-15T11:00:00Z",
        "updatedAt": "2026-06-15T12:00:00Z",
        "stoppedAt": "2026-06-15T12:00:00Z",
        "durationSeconds": 3600,
        "downloadBytes": str(2**62),
        "uploadBytes": "5",
        "ipAddress": "100.64.0.9",
        "macAddress": "A4:5E:60:C2:19:F0",
        "nasAddress": "2001:db8::1",
        "router": {"name": "tower-1"},
        "terminateCause": "User-Request",
    }
    assert (await api.data(document, await house.operator(Role.OPERATOR)))["node"] is None

"""From a packet of a router to what a front end reads."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain.models import Customer
from ispgraph.radius import inbox
from tests import factories
from tests.api import Api
from tests.conftest import Dsns
from tests.crowd import customer, service
from tests.factories import House

START, STOP, INTERIM = 1, 2, 3
ROUTER = "127.0.0.2"
USAGE = """query ($id: ID!, $from: DateTime, $to: DateTime, $granularity: UsageGranularity) {
  customer(by: {id: $id}) { usage(from: $from, to: $to, granularity: $granularity) {
    downloadBytes uploadBytes seconds points { start downloadBytes uploadBytes } } } }"""
ONLINE = """query ($id: ID!) { customer(by: {id: $id}) { deviceCount
  sessions { nodes { state downloadBytes uploadBytes durationSeconds } } } }"""
ADD = """mutation ($input: RouterInput!) { routerAdd(input: $input) {
  router { id octetsSwapped } errors { code field } } }"""
UPDATE = """mutation ($routerId: ID!, $input: RouterInput!) { routerUpdate(routerId: $routerId, input: $input) {
  router { id octetsSwapped } errors { code field } } }"""


@pytest.fixture
async def radius(dsns: Dsns) -> AsyncIterator[Any]:
    """A connection as a RADIUS server has it."""
    connection = await asyncpg.connect(dsns.radius)
    yield connection
    await connection.close()


@pytest.fixture
async def kathmandu(owner: Database, database: Database) -> House:
    """A tenant whose hours begin at a quarter past those of UTC, a router of theirs."""
    made = await factories.house(owner, database, "hills", time_zone="Asia/Kathmandu")
    await made.router(ROUTER)
    return made


async def subscriber(house: House, username: str) -> Customer:
    """A customer with one service."""
    row = customer(house, username.title())
    await house.add(row)
    await house.add(service(row, (await house.package()).id, username=username))
    return row


async def tell(radius: Any, at: datetime, status: int, **told: Any) -> None:
    """A packet that comes at `at`; `up` and `down` are octets of the router's input and output."""
    up, down = told.pop("up", 0), told.pop("down", 0)
    named = {
        "p_nas": ROUTER,
        "p_status": status,
        "p_session_id": "81a00001",
        "p_at": at,
        "p_input_octets": up % 2**32,
        "p_input_gigawords": up >> 32,
        "p_output_octets": down % 2**32,
        "p_output_gigawords": down >> 32,
    } | told
    passed = ", ".join(f"{name} => ${number}" for number, name in enumerate(named, 1))
    assert await radius.fetchval(f"SELECT radius_accounting({passed})", *named.values())


async def used(api: Api, house: House, of: Customer, **variables: Any) -> dict[str, Any]:
    """The usage of a customer."""
    answer = await api.data(USAGE, house.admin, id=ids.encode("cus", of.id), **variables)
    found: dict[str, Any] = answer["customer"]["usage"]
    return found


@pytest.mark.usefixtures("moved_clock")
async def test_a_session_over_the_end_of_a_month(api: Api, database: Database, kathmandu: House, radius: Any) -> None:
    ann = await subscriber(kathmandu, "ann")
    # Kathmandu is 5:45 ahead: there June begins at 18:15 UTC.
    begun = datetime(2026, 5, 31, 17, 30, tzinfo=UTC)
    await tell(radius, begun, START, p_username="ann")
    for minutes in (45, 60, 120):
        seconds = minutes * 60
        counters = {"p_session_time": seconds, "up": seconds, "down": seconds * 10**7}
        await tell(radius, begun + timedelta(minutes=minutes), INTERIM, p_username="ann", **counters)
    clock.set_clock("2026-05-31T19:30:00Z")
    await inbox.add(database)
    # This month so far: since a quarter past six.
    june = await used(api, kathmandu, ann)
    assert june == {
        "downloadBytes": str(4500 * 10**7),
        "uploadBytes": "4500",
        "seconds": 4500,
        "points": [{"start": "2026-05-31T18:15:00Z", "downloadBytes": str(4500 * 10**7), "uploadBytes": "4500"}],
    }
    hours = {"from": "2026-05-31T17:30:00Z", "to": "2026-05-31T19:30:00Z", "granularity": "HOUR"}
    found = await used(api, kathmandu, ann, **hours)
    assert [(point["start"], point["uploadBytes"]) for point in found["points"]] == [
        ("2026-05-31T17:15:00Z", "2700"),
        ("2026-05-31T18:15:00Z", "3600"),
        ("2026-05-31T19:15:00Z", "900"),
    ]
    assert (found["downloadBytes"], found["seconds"]) == (str(7200 * 10**7), 7200)
    months = {"from": "2026-05-01T00:00:00Z", "to": "2026-06-02T00:00:00Z", "granularity": "MONTH"}
    found = await used(api, kathmandu, ann, **months)
    assert [(point["start"], point["uploadBytes"]) for point in found["points"]] == [
        ("2026-04-30T18:15:00Z", "2700"),
        ("2026-05-31T18:15:00Z", "4500"),
    ]
    shown = (await api.data(ONLINE, kathmandu.admin, id=ids.encode("cus", ann.id)))["customer"]
    assert shown == {
        "deviceCount": 1,
        "sessions": {
            "nodes": [
                {
                    "state": "OPEN",
                    "downloadBytes": str(7200 * 10**7),
                    "uploadBytes": "7200",
                    "durationSeconds": 7200,
                }
            ]
        },
    }


@pytest.mark.usefixtures("moved_clock")
async def test_a_day_that_the_tenant_counts_with_25_hours(
    api: Api, owner: Database, database: Database, radius: Any
) -> None:
    house = await factories.house(owner, database, "west", time_zone="Europe/Berlin")
    await house.router(ROUTER)
    ann = await subscriber(house, "ann")
    # Two days: 24 October from midday, the 25th with its 25 hours, the 26th until 11:00 of a winter's morning.
    begun = datetime(2026, 10, 24, 10, 0, tzinfo=UTC)
    seconds = 48 * 3600
    told = {"p_session_time": seconds, "down": seconds}
    await tell(radius, begun + timedelta(seconds=seconds), STOP, p_username="ann", **told)
    clock.set_clock("2026-10-26T10:00:00Z")
    found = await used(api, house, ann, **{"from": "2026-10-24T00:00:00Z"})
    assert [(point["start"], int(point["downloadBytes"]) / 3600) for point in found["points"]] == [
        ("2026-10-23T22:00:00Z", 12),
        ("2026-10-24T22:00:00Z", 25),
        ("2026-10-25T23:00:00Z", 11),
    ]


async def test_a_router_that_counts_the_wrong_way_round(api: Api, kathmandu: House, radius: Any) -> None:
    ann = await subscriber(kathmandu, "ann")
    asks = {"name": "Edge 1", "username": "", "password": "", "address": "192.0.2.7"}
    made = (await api.data(ADD, kathmandu.admin, input=asks))["routerAdd"]
    assert (made["router"]["octetsSwapped"], made["errors"]) == (False, [])
    for turn, swapped in enumerate((False, True, False)):
        changed = {"routerId": made["router"]["id"], "input": asks | {"octetsSwapped": swapped}}
        payload = (await api.data(UPDATE, kathmandu.admin, **changed))["routerUpdate"]
        assert (payload["router"]["octetsSwapped"], payload["errors"]) == (swapped, [])
        of = {"p_username": "ann", "p_nas": "192.0.2.7", "p_session_id": f"s{turn}", "p_session_time": 60}
        await tell(radius, clock.now(), STOP, up=1, down=1000, **of)
    shown = (await api.data(ONLINE, kathmandu.admin, id=ids.encode("cus", ann.id)))["customer"]["sessions"]["nodes"]
    assert sorted((each["uploadBytes"], each["downloadBytes"]) for each in shown) == [
        *[("1", "1000")] * 2,
        ("1000", "1"),
    ]
    found = await used(api, kathmandu, ann, **{"from": (clock.now() - timedelta(hours=2)).isoformat()})
    assert (found["uploadBytes"], found["downloadBytes"]) == ("1002", "2001")

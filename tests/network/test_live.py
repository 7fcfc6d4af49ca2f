"""Live readings, from simulated routers through `ispgraph live` and the API, both programs of their own."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ispgraph import ids
from ispgraph.domain.models import ConnectionType, Customer, Operator, Role, Router, RouterStatus
from ispgraph.up.ports import free_port
from tests.network.world import World, until
from tests.programs import Program
from tests.watching import USAGE, USAGE_ALL, event_stream, watcher

pytestmark = pytest.mark.slow


@pytest.fixture
async def live_url(world: World) -> AsyncIterator[str]:
    """The API and a live program beside it."""
    port = free_port()
    programs = [
        Program("app", world.settings, ISPGRAPH_PORT=str(port)),
        Program("ispgraph.live.program", world.settings),
    ]
    for program in programs:
        await program.ready()
    yield f"ws://127.0.0.1:{port}/graphql"
    for program in programs:
        program.kill()


def polls(nas: Any) -> int:
    """How often the router's interfaces were read."""
    return nas.router.counters.commands.get("/interface/print", 0)


def from_router(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if event["source"] == "ROUTER"]


@pytest.mark.long
async def test_many_watch_and_the_router_is_read_once_per_interval(world: World, live_url: str) -> None:
    nas = await world.router()
    rows = [await world.line() for _ in range(3)]
    token = await world.api.token(world.house.admin)
    async with watcher(live_url, token) as one, watcher(live_url, token) as other:
        for number, line in enumerate(rows):
            await one.subscribe(str(number), USAGE, id=line.id, every=1)
            await other.subscribe(str(number), USAGE, id=line.id, every=1)
        await other.subscribe("slow", USAGE, id=rows[0].id, every=3)
        await other.subscribe("all", USAGE_ALL, every=2)
        # From the books at once, and soon from the router.
        first = (await one.until(lambda events: events, "0"))[0]
        assert (first["source"], first["online"], first["customerId"]) == ("ACCOUNTING", True, rows[0].id)
        for number in range(3):
            await other.until(from_router, str(number))
        seen, slow, begun = polls(nas), len(other.events("slow")), len(one.events("0"))
        await asyncio.sleep(4)
        assert 3 <= polls(nas) - seen <= 5
        assert 3 <= len(one.events("0")) - begun <= 5
        assert 1 <= len(other.events("slow")) - slow <= 2
        last = one.events("0")[-1]
        assert last["online"]
        assert 700_000 < int(last["downloadBps"]) < 1_300_000
        assert int(last["downloadBytes"]) > 0
        everybody = await other.until(lambda events: [each for each in events if len(from_router(each)) == 3], "all")
        assert {each["customerId"] for each in everybody[0]} == {line.id for line in rows}
        assert nas.router.counters.commands["/login"] <= 3  # two looks of the worker, and one connection that is kept
    # Nobody watches: nobody asks.
    await until(lambda: idle_for(nas, 2), 10)


async def idle_for(nas: Any, seconds: float) -> bool:
    before = polls(nas)
    await asyncio.sleep(seconds)
    return polls(nas) == before


@pytest.mark.long
async def test_a_router_that_is_away_is_spoken_for_by_accounting_until_it_is_back(world: World, live_url: str) -> None:
    nas = await world.router()
    healthy = await world.router("south", "127.0.0.12")
    away, other = await world.line(), await world.line("south")
    token = await world.api.token(world.house.admin)
    async with watcher(live_url, token) as panel:
        await panel.subscribe("1", USAGE, id=away.id, every=1)
        await panel.subscribe("2", USAGE, id=other.id, every=1)
        await panel.until(from_router)
        await panel.until(from_router, "2")
        nas.router.go_down(2.5)
        await until(lambda: panel.events()[-1]["source"] == "ACCOUNTING")
        assert panel.events()[-1]["online"] is True
        await until(lambda: panel.events()[-1]["source"] == "ROUTER", 15)
        # One that hangs is not waited for, and no other waits with it.
        nas.router.faults.set(hang=True)
        nas.router.go_down(0.2)
        await until(lambda: panel.events()[-1]["source"] == "ACCOUNTING")
        seen, mine, before = len(panel.events("2")), len(panel.events()), polls(healthy)
        await asyncio.sleep(3)
        assert len(panel.events("2")) - seen >= 2
        assert polls(healthy) - before >= 2
        assert {event["source"] for event in panel.events("2")[seen:]} == {"ROUTER"}
        assert len(panel.events()) - mine >= 2
        assert {event["source"] for event in panel.events()[mine:]} == {"ACCOUNTING"}


@pytest.mark.long
async def test_who_is_off_line_is_shown_so_until_he_dials(world: World, live_url: str) -> None:
    await world.router()
    line = await world.line(online=False)
    hotspot = await world.line(kind=ConnectionType.HOTSPOT)
    static = await world.line(kind=ConnectionType.STATIC_IP, ip_address="198.51.100.7", desired_version=2)
    async with watcher(live_url, await world.api.token(world.house.admin)) as panel:
        await panel.subscribe("1", USAGE, id=line.id, every=1)
        await panel.subscribe("2", USAGE, id=hotspot.id, every=1)
        await panel.subscribe("3", USAGE, id=static.id, every=1)
        first = (await panel.until(lambda events: events))[0]
        assert (first["online"], first["downloadBps"], first["uploadBytes"]) == (False, "0", "0")
        await panel.until(from_router)
        assert panel.events()[-1]["online"] is False
        assert line.device is not None
        line.device.switch_on()
        await panel.until(lambda events: events[-1]["online"] and int(events[-1]["downloadBps"]) > 500_000)
        await panel.until(lambda events: int(events[-1]["downloadBps"]) > 500_000 and from_router(events), "2")
        line.device.hang_up()
        await panel.until(lambda events: not events[-1]["online"] and events[-1]["downloadBps"] == "0")
        assert static.device is not None
        queue = {"name": "static", "target": "198.51.100.7/32", "comment": f"ispgraph:{service_id(static)}"}
        world.lab.router("north").router.create("/queue/simple", queue)
        await panel.until(lambda events: events[-1]["online"] and int(events[-1]["downloadBps"]) > 500_000, "3")


def service_id(line: Any) -> str:
    return ids.encode("svc", line.service.id)


@pytest.mark.long
async def test_two_live_programs_share_the_routers_and_one_takes_over(world: World, live_url: str) -> None:
    nas = [await world.router(), await world.router("south", "127.0.0.12"), await world.router("west", "127.0.0.13")]
    rows = [await world.line(name) for name in ("north", "south", "west")]
    second = Program("ispgraph.live.program", world.settings)
    await second.ready()
    third = Program("ispgraph.live.program", world.settings)
    await third.ready()
    try:
        async with watcher(live_url, await world.api.token(world.house.admin)) as panel:
            for number, line in enumerate(rows):
                await panel.subscribe(str(number), USAGE, id=line.id, every=1)
            for number in range(3):
                await panel.until(from_router, str(number))
            before = [polls(each) for each in nas]
            await asyncio.sleep(3)
            assert all(1 <= polls(each) - count <= 4 for each, count in zip(nas, before, strict=True))
            second.kill()
            assert await third.terminate(10) == 0
            await asyncio.sleep(3.5)
            before = [polls(each) for each in nas]
            await asyncio.sleep(3)
            assert all(1 <= polls(each) - count <= 4 for each, count in zip(nas, before, strict=True))
    finally:
        second.kill()
        third.kill()


@pytest.mark.long
async def test_event_streams_and_selections_that_go_to_the_database(world: World, live_url: str) -> None:
    await world.router()
    line = await world.line()
    token = await world.api.token(world.house.admin)
    async with event_stream(live_url, token, USAGE, id=line.id, every=1) as events:
        sources = []
        async for payload in events:
            sources.append(payload["data"]["liveUsage"]["source"])
            if sources[-1] == "ROUTER" and sources.count("ROUTER") == 2:
                break
        assert sources[0] == "ACCOUNTING"
    document = """subscription ($id: ID!, $not: Boolean! = false) {
      now: liveUsage(customerId: $id, intervalSeconds: 1) {
      __typename ...More @skip(if: $not) id: customerId session { state downloadBytes router { name } } } }
      fragment More on LiveUsage { source }"""
    plain = document.replace("session { state downloadBytes router { name } }", "... on LiveUsage { online }")
    async with watcher(live_url, token) as panel:
        await panel.subscribe("1", document, id=line.id)
        await panel.subscribe("2", plain, id=line.id)
        found = (await panel.until(lambda events: len(events) > 2 and events))[-1]
        assert found["session"]["state"] == "OPEN"
        assert found["session"]["router"] == {"name": "north"}
        assert list(found) == ["__typename", "source", "id", "session"]
        await panel.subscribe("3", plain, id=line.id, **{"not": True})
        assert list((await panel.until(lambda events: events, "3"))[0]) == ["__typename", "id", "online"]
        assert (await panel.until(from_router, "2"))[-1] == {
            "__typename": "LiveUsage", "source": "ROUTER", "id": line.id, "online": True
        }  # fmt: skip
        assert set(panel.came["2"][-1][1]["data"]) == {"now"}


async def test_refusals_name_what_is_wrong(world: World, other_house: Any, live_url: str) -> None:
    await world.router()
    line = await world.line(online=False)
    reseller = await world.house.operator(Role.OPERATOR)
    bounds = "intervalSeconds must be from 1 to 60"
    cases = [
        (world.house.admin, USAGE, {"id": line.id, "every": 0}, bounds, "intervalSeconds"),
        (world.house.admin, USAGE, {"id": line.id, "every": 61}, bounds, "intervalSeconds"),
        (world.house.admin, USAGE_ALL, {"every": -1}, bounds, "intervalSeconds"),
        (world.house.admin, USAGE, {"id": "nonsense"}, "no such customer", "customerId"),
        (world.house.admin, USAGE_ALL, {"router": line.id}, "no such router", "routerId"),
        (other_house.admin, USAGE, {"id": line.id}, "no such customer", "customerId"),
        (reseller, USAGE, {"id": line.id}, "no such customer", "customerId"),
        (reseller, CUSTOMER, {"id": line.id}, "no such customer", "customerId"),
        (reseller, SESSIONS, {"id": line.id}, "no such customer", "customerId"),
    ]  # fmt: skip
    for who, document, given, message, field in cases:
        async with watcher(live_url, await world.api.token(who)) as panel:
            await panel.subscribe("1", document, **given)
            await panel.end()
            (error,) = [*panel.ended["1"].get("payload", []), *(p["errors"][0] for _, p in panel.came["1"])]
            assert message in error["message"].lower() or message in error["message"], error
            assert error["extensions"]["field"] == [field]
    nobody = await world.house.operator(Role.STAFF, permissions=[])
    async with watcher(live_url, await world.api.token(nobody)) as panel:
        await panel.subscribe("1", USAGE, id=line.id)
        await panel.end()
        assert "FORBIDDEN" in str([*panel.ended.values(), *panel.came["1"]])


SESSIONS = "subscription ($id: ID) { sessionChanged(customerId: $id) { id state } }"
CUSTOMER = "subscription ($id: ID!) { customerChanged(customerId: $id) { name status balance { amount } } }"
ROUTERS = "subscription { routerStatusChanged { name status } }"


async def test_what_changes_is_followed(world: World, live_url: str) -> None:
    await world.router()
    line = await world.line()
    async with watcher(live_url, await world.api.token(world.house.admin)) as panel:
        await panel.subscribe("one", SESSIONS, id=line.id)
        await panel.subscribe("every", SESSIONS)
        await panel.subscribe("customer", CUSTOMER, id=line.id)
        await panel.subscribe("routers", ROUTERS)
        assert [each["state"] for each in await panel.until(lambda events: events, "one")] == ["OPEN"]
        await panel.until(lambda events: events == [{"name": "north", "status": "ONLINE"}], "routers")
        assert (await panel.until(lambda events: events, "customer"))[0]["status"] == "ACTIVE"
        assert line.device is not None
        line.device.hang_up()
        for name in ("one", "every"):
            await panel.until(lambda events: [each["state"] for each in events][-1:] == ["STOPPED"], name, 5)
        line.device.switch_on()
        for name in ("one", "every"):
            await panel.until(lambda events: [each["state"] for each in events][-2:] == ["STOPPED", "OPEN"], name, 5)
        await world.suspend(line)
        await panel.until(lambda events: events[-1]["status"] == "SUSPENDED", "customer", 5)
        await world.change(Router, world.routers["north"].id, status=RouterStatus.OFFLINE)
        await panel.until(lambda events: events[-1]["status"] == "OFFLINE", "routers", 10)


@pytest.mark.long
async def test_rights_that_end_end_the_stream(world: World, live_url: str) -> None:
    await world.router()
    line = await world.line()
    reseller = await world.house.operator(Role.OPERATOR)
    clerk = await world.house.operator(Role.STAFF)
    fired = await world.house.operator(Role.STAFF)
    await world.change(Customer, line.customer.id, operator_id=reseller.id)
    async with (
        watcher(live_url, await world.api.token(reseller)) as of_reseller,
        watcher(live_url, await world.api.token(clerk)) as of_clerk,
        watcher(live_url, await world.api.token(fired)) as of_fired,
        watcher(live_url, await world.api.token(world.house.admin)) as of_admin,
    ):
        for panel in (of_reseller, of_clerk, of_fired, of_admin):
            await panel.subscribe("1", USAGE, id=line.id, every=1)
            await panel.subscribe("all", USAGE_ALL, every=1)
            await panel.subscribe("customer", CUSTOMER, id=line.id)
            await panel.until(from_router)
        await of_reseller.until(lambda events: from_router(events[-1]), "all")
        await world.change(Customer, line.customer.id, operator_id=world.house.admin.id)
        await world.change(Operator, clerk.id, permissions=["RECORD_PAYMENTS"])
        await world.change(Operator, fired.id, active=False)
        for panel in (of_reseller, of_clerk):
            assert (await panel.end("1", 5))["type"] == "complete"
            assert (await panel.end("customer", 5))["type"] == "complete"
        assert await of_fired.closed(5) == 4401
        assert (await of_clerk.end("all", 5))["type"] == "complete"
        # The reseller goes on to see those who are left: nobody.
        await asyncio.sleep(1.5)
        before, others = len(of_reseller.events("all")), len(of_admin.events())
        await asyncio.sleep(2.5)
        assert [each for batch in of_reseller.events("all")[before:] for each in batch] == []
        assert len(of_admin.events()) - others >= 2
        assert "1" not in of_admin.ended

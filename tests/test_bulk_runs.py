"""The same for many customers by one job, through the API and the worker."""

import asyncio
import os
import time
from typing import Any

import pytest
from sqlalchemy import func, select, text, update

from ispgraph import clock, ids
from ispgraph import jobs as queue
from ispgraph.actors.registry import ACTIONS
from ispgraph.actors.run import Runner
from ispgraph.db import Database
from ispgraph.domain import bulk, bulk_runs, bulk_work, selections
from ispgraph.domain.models import (
    AuditEntry,
    BulkRow,
    BulkRun,
    Customer,
    CustomerStatus,
    Invoice,
    Job,
    Message,
    Operator,
    PackageChange,
    Role,
    Service,
    ServiceStatus,
)
from ispgraph.settings import Settings
from tests import subscribers
from tests.api import Api
from tests.billing.changing import Buyer, sound
from tests.conftest import Dsns
from tests.crowd import fill
from tests.factories import House
from tests.messaging import post
from tests.messaging.test_sms import add
from tests.programs import Program
from tests.test_grants import grant
from tests.wizard import faults

RUN = """id action dryRun status count done unchanged failed segments cancelledAt
  charged { amount } credited { amount } startedBy { name } job { id status message progressDone progressTotal }"""
ROWS = "totalCount nodes { outcome code message segments total { amount } customer { id status } }"
MUTATION = (
    """mutation ($input: %sInput!) { %s(input: $input) {
  errors { code message field } bulkRun { """
    + RUN
    + " rows { "
    + ROWS
    + " } } } }"
)
SELECTED = """query ($selection: CustomerSelection!) { customersSelection(selection: $selection) {
  count statuses { status count } } }"""
NODE = (
    "query ($id: ID!, $outcome: [BulkOutcome!], $after: String) { node(id: $id) { ... on BulkRun { "
    + RUN
    + """
  rows(outcome: $outcome, first: 100, after: $after) { pageInfo { endCursor hasNextPage } """
    + ROWS
    + " } } } }"
)
LIST = "{ bulkRuns { totalCount nodes { id action } } }"
CANCEL = """mutation ($id: ID!, $key: String) { customersBulkCancel(bulkRunId: $id, idempotencyKey: $key) {
  errors { code message field } bulkRun { status cancelledAt } } }"""
RETRY = "mutation ($id: ID!) { jobRetry(jobId: $id) { job { status } errors { code } } }"
EVERYBODY: dict[str, Any] = {"where": {}}


class Desk:
    """One operator who does things to many, and the worker."""

    def __init__(self, api: Api, house: House, settings: Settings) -> None:
        self.api, self.house = api, house
        self.runner = Runner(house.database, settings, ACTIONS)

    async def ask(
        self, what: str, selection: dict[str, Any], count: int, who: Operator | None = None, **given: Any
    ) -> dict[str, Any]:
        """The payload of customersBulk…"""
        if what == "Suspend":
            given.setdefault("reason", "NON_PAYMENT")
        name = f"customersBulk{what}"
        document = MUTATION % (f"CustomersBulk{what}", name)
        asked = {"selection": selection, "expectedCount": count, **given}
        payload: dict[str, Any] = (await self.api.data(document, who or self.house.admin, input=asked))[name]
        return payload

    async def promised(self, *given: Any, **named: Any) -> dict[str, Any]:
        """A run that nothing is wrong with."""
        payload = await self.ask(*given, **named)
        assert payload["errors"] == []
        run: dict[str, Any] = payload["bulkRun"]
        return run

    async def work(self, run: dict[str, Any]) -> dict[str, Any]:
        """The run, carried out once."""
        await self.runner.run_job(self.house.tenant.id.hex, ids.parse(run["job"]["id"])[1].hex)
        return await self.seen(run)

    async def seen(self, run: dict[str, Any], who: Operator | None = None, **narrowed: Any) -> dict[str, Any]:
        """The run as it is shown."""
        found: dict[str, Any] = (await self.api.data(NODE, who or self.house.admin, id=run["id"], **narrowed))["node"]
        return found

    async def count(self, model: Any) -> int:
        """How many rows the house has."""
        async with self.house.database.read(self.house.tenant.id) as session:
            return await session.scalar(select(func.count()).select_from(model)) or 0


@pytest.fixture
def desk(api: Api, house: House, settings: Settings) -> Desk:
    """The admin's desk."""
    return Desk(api, house, settings)


async def crowd(house: House, number: int, **fields: Any) -> list[str]:
    """The ids of so many active customers with a service each, who share a package."""
    package = await house.package(f"Package {ids.uuid7().hex[-6:]}")
    keys = []
    for _ in range(number):
        customer = await subscribers.customer(house, **fields)
        await subscribers.service(house, customer, package_id=package.id)
        keys.append(ids.encode("cus", customer.id))
    return keys


def outcomes(run: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [(row["outcome"], row["code"]) for row in run["rows"]["nodes"]]


async def test_a_list_is_suspended_and_activated(desk: Desk, api: Api, house: House) -> None:
    zone = await house.zone()
    keys = await crowd(house, 5, zone_id=zone.id)
    (elsewhere,) = await crowd(house, 1)
    none = ids.encode("cus", (await subscribers.customer(house, zone_id=zone.id)).id)
    expired = await subscribers.customer(house, zone_id=zone.id, status=CustomerStatus.EXPIRED)
    await subscribers.service(house, expired, status=ServiceStatus.EXPIRED)
    await desk.work(await desk.promised("Suspend", {"customerIds": keys[:1]}, 1))

    selection = {"where": {"zoneId": ids.encode("zon", zone.id)}}
    shown = (await api.data(SELECTED, house.admin, selection=selection))["customersSelection"]
    assert shown["count"] == 7
    assert {one["status"]: one["count"] for one in shown["statuses"]} == {"ACTIVE": 5, "SUSPENDED": 1, "EXPIRED": 1}
    run = await desk.promised("Suspend", selection, 7, note="third reminder", notify=True)
    assert (run["status"], run["count"], run["done"]) == ("QUEUED", 7, 0)
    assert outcomes(run) == [("WAITING", None)] * 7
    # Who comes into the list now was not meant.
    late = await crowd(house, 1, zone_id=zone.id)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk_work, "TOGETHER", 3)
        done = await desk.work(run)

    assert (done["done"], done["unchanged"], done["failed"], done["status"]) == (4, 1, 2, "SUCCEEDED")
    assert done["job"] | {"id": ""} == {
        "id": "",
        "status": "SUCCEEDED",
        "message": "4 of 7 done, 1 unchanged, 2 failed.",
        "progressDone": 7,
        "progressTotal": 7,
    }
    # Newest first, as the list has them.
    assert outcomes(done) == [
        *(("FAILED", "INVALID_STATE"), ("FAILED", "INVALID_STATE")),
        *[("DONE", None)] * 4,
        ("UNCHANGED", "NO_CHANGE"),
    ]
    assert done["rows"]["nodes"][1]["message"] == "This customer has no service."
    assert [row["customer"]["id"] for row in done["rows"]["nodes"]] == [
        *(ids.encode("cus", expired.id), none, *reversed(keys))
    ]
    failed = await desk.seen(run, outcome=["FAILED", "UNCHANGED"])
    assert failed["rows"]["totalCount"] == 3
    assert [row["customer"]["status"] for row in done["rows"]["nodes"][2:]] == ["SUSPENDED"] * 5
    async with house.database.read(house.tenant.id) as session:
        active = select(Customer.id).where(Customer.status == CustomerStatus.ACTIVE)
        left = {ids.encode("cus", key) for key in await session.scalars(active)}
        entries = list(await session.scalars(select(AuditEntry).order_by(AuditEntry.id)))
        [single] = [one for one in entries if one.subject_id == ids.parse(keys[2])[1]]
    assert left == {elsewhere, none, *late}
    assert [one.action for one in entries if one.action.startswith("bulk.")] == ["bulk.suspend"] * 2
    assert (single.action, single.operator_id, single.details["note"]) == (
        "customer.suspend",
        house.admin.id,
        "third reminder",
    )
    assert await desk.count(Message) == 4
    # One for each service, and one for the run.
    assert await desk.count(Job) == 5 + 2

    done = await desk.work(await desk.promised("Activate", {"customerIds": [keys[4], keys[0], elsewhere]}, 3))
    assert outcomes(done) == [("DONE", None), ("DONE", None), ("UNCHANGED", "NO_CHANGE")]
    assert [row["customer"]["id"] for row in done["rows"]["nodes"]] == [keys[4], keys[0], elsewhere]
    # Nothing is done again by who carries it out again.
    again = await desk.work(done)
    assert again == done


@pytest.mark.parametrize(
    ("selection", "count", "code", "field"),
    [
        (EVERYBODY, 1, "VERSION_CONFLICT", "expectedCount"),
        (EVERYBODY, 3, "VERSION_CONFLICT", "expectedCount"),
        (EVERYBODY, 0, "VERSION_CONFLICT", "expectedCount"),
        (EVERYBODY, -1, "VERSION_CONFLICT", "expectedCount"),
        ({"where": {"status": []}}, 0, "INVALID", "selection"),
        ({}, 2, "REQUIRED", "selection"),
        ({"customerIds": []}, 0, "REQUIRED", "selection.customerIds"),
        ({"customerIds": ["both", "svc_1"]}, 2, "NOT_FOUND", "selection.customerIds.1"),
        ({"customerIds": ["one", "one"]}, 2, "INVALID", "selection.customerIds.1"),
        ({"customerIds": ["one"], "where": {}}, 1, "INVALID", "selection.customerIds"),
        ({"search": "ab"}, 2, "INVALID", "selection.search"),
        ({"where": {"balanceBelow": "1.234"}}, 2, "INVALID", "selection.where.balanceBelow"),
        ({"where": {"zoneId": "pkg_1"}}, 2, "NOT_FOUND", "selection.where.zoneId"),
    ],
)
async def test_a_selection_that_is_not_as_meant_changes_nothing(
    desk: Desk, house: House, selection: dict[str, Any], count: int, code: str, field: str
) -> None:
    keys = await crowd(house, 2)
    named = {"one": keys[0], "both": keys[1]}
    meant = dict(selection)
    if "customerIds" in meant:
        meant["customerIds"] = [named.get(key, key) for key in meant["customerIds"]]
    payload = await desk.ask("Suspend", meant, count)
    assert (faults(payload), payload["bulkRun"]) == ([(code, f"input.{field}")], None)
    assert [await desk.count(model) for model in (Job, BulkRun, BulkRow, AuditEntry)] == [0, 0, 0, 0]


async def test_nobody_reaches_whom_they_may_not_see(desk: Desk, api: Api, house: House, other_house: House) -> None:
    reseller = await house.operator(Role.OPERATOR)
    own = await crowd(house, 2, operator_id=reseller.id)
    admins = await crowd(house, 1)
    foreign = await crowd(other_house, 1)
    payload = await desk.ask("Suspend", {"customerIds": [own[0], *admins, own[1], *foreign]}, 4, reseller)
    assert faults(payload) == [("NOT_FOUND", f"input.selection.customerIds.{place}") for place in (1, 3)]
    payload = await desk.ask("Suspend", EVERYBODY, 3, reseller)
    assert payload["errors"][0]["message"] == "This selects 2 customers now, and 3 were expected."
    run = await desk.promised("Suspend", EVERYBODY, 2, reseller)

    # One is given to another before it is its turn.
    async with house.database.transaction(house.tenant.id) as session:
        moved = update(Customer).where(Customer.id == ids.parse(own[0])[1]).values(operator_id=house.admin.id)
        await session.execute(moved)
    done = await desk.work(run)
    assert outcomes(done) == [("DONE", None), ("FAILED", "NOT_FOUND")]
    # Whoever stands above sees it, and nobody else.
    rival = await house.operator(Role.OPERATOR)
    for who, there in ((reseller, True), (house.admin, True), (rival, False), (other_house.admin, False)):
        assert (await desk.seen(run, who) is not None) is there
        assert (await api.data(LIST, who))["bulkRuns"]["totalCount"] == there
        job = (await api.data("query ($id: ID!) { job(id: $id) { __typename } }", who, id=run["job"]["id"]))["job"]
        assert job == ({"__typename": "BulkJob"} if there else None)
        answer = (await api.data(CANCEL, who, id=run["id"]))["customersBulkCancel"]
        assert faults(answer) == [("INVALID_STATE" if there else "NOT_FOUND", "bulkRunId")]
    shown = (await desk.seen(run, reseller))["rows"]["nodes"]
    assert [row["customer"] and row["customer"]["id"] for row in shown] == [own[1], None]
    assert (await api.data(LIST, house.admin))["bulkRuns"]["nodes"] == [{"id": run["id"], "action": "SUSPEND"}]


async def test_who_may_do_it_is_asked_when_it_is_promised_and_when_it_is_done(
    desk: Desk, api: Api, house: House
) -> None:
    keys = await crowd(house, 4)
    viewing = await house.operator(Role.STAFF, permissions=["VIEW_CUSTOMERS"])
    for what, given in (
        ("Suspend", {"reason": "OTHER"}),
        ("Activate", {}),
        ("ChangePackage", {"packageId": "pkg_1"}),
        ("Message", {"body": "x"}),
    ):
        name = f"customersBulk{what}"
        asked = {"selection": EVERYBODY, "expectedCount": 4, **given}
        answer = await api(MUTATION % (f"CustomersBulk{what}", name), viewing, input=asked)
        assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN", what
    # Whom one may not look for, one has to name.
    blind = await house.operator(Role.STAFF, permissions=["SUSPEND_CUSTOMERS"])
    assert faults(await desk.ask("Suspend", EVERYBODY, 4, blind)) == [("NOT_PERMITTED", "input.selection")]
    assert (await desk.ask("Suspend", {"customerIds": keys[:1]}, 1, blind)) == {"errors": [], "bulkRun": None}

    clerk = await house.operator(Role.STAFF, permissions=["VIEW_CUSTOMERS", "SUSPEND_CUSTOMERS"])
    run = await desk.promised("Suspend", EVERYBODY, 4, clerk)
    act = bulk.change_all

    async def resigns(*given: Any) -> Any:
        done = await act(*given)
        async with house.database.transaction(house.tenant.id) as session:
            await session.execute(update(Operator).where(Operator.id == clerk.id).values(permissions=[]))
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk_work, "TOGETHER", 2)
        patch.setattr(bulk, "change_all", resigns)
        done = await desk.work(run)
    assert (done["status"], done["done"], done["failed"]) == ("FAILED", 2, 0)
    told = "Who asked for this has not the permission SUSPEND_CUSTOMERS any more."
    assert done["job"]["message"] == f"{told} 2 of 4 done, 0 unchanged, 0 failed, 2 left alone."
    # It can go on when the clerk may again, and not when the clerk has left.
    async with house.database.transaction(house.tenant.id) as session:
        row = await session.get_one(Operator, clerk.id)
        row.permissions, row.active = ["SUSPEND_CUSTOMERS"], False
    await api.data(RETRY, house.admin, id=run["job"]["id"])
    assert (await desk.work(run))["status"] == "FAILED"
    async with house.database.transaction(house.tenant.id) as session:
        (await session.get_one(Operator, clerk.id)).active = True
    await api.data(RETRY, house.admin, id=run["job"]["id"])
    done = await desk.work(run)
    assert (done["status"], done["done"], outcomes(done)) == ("SUCCEEDED", 4, [("DONE", None)] * 4)


async def test_who_may_do_it_in_some_zones_alone(desk: Desk, api: Api, house: House) -> None:
    north, south = await house.zone("North"), await house.zone("South")
    inside = await crowd(house, 2, zone_id=north.id)
    (outside,) = await crowd(house, 1, zone_id=south.id)
    (nowhere,) = await crowd(house, 1)
    clerk = await house.operator(Role.STAFF, permissions=["VIEW_CUSTOMERS"])
    await grant(api, house.admin, clerk, "SUSPEND_CUSTOMERS", zoneId=ids.encode("zon", north.id))
    for chosen in ([*inside, outside], [nowhere]):
        payload = await desk.ask("Suspend", {"customerIds": chosen}, len(chosen), clerk)
        assert faults(payload) == [("NOT_PERMITTED", "input.selection")], chosen
    assert faults(await desk.ask("Suspend", EVERYBODY, 4, clerk)) == [("NOT_PERMITTED", "input.selection")]
    run = await desk.promised("Suspend", {"where": {"zoneId": ids.encode("zon", north.id)}}, 2, clerk)
    # One moves away before it is its turn.
    async with house.database.transaction(house.tenant.id) as session:
        (await session.get_one(Customer, ids.parse(inside[0])[1])).zone_id = south.id
    assert outcomes(await desk.work(run)) == [("DONE", None), ("FAILED", "NOT_PERMITTED")]


async def test_the_same_key_promises_once(desk: Desk, house: House) -> None:
    await crowd(house, 2)
    answers = await asyncio.gather(*(desk.ask("Suspend", EVERYBODY, 2, idempotencyKey="once") for _ in range(3)))
    assert len({answer["bulkRun"]["id"] for answer in answers}) == 1
    await desk.work(answers[0]["bulkRun"])
    # What it answers with stands, though nobody in that list is active any more.
    selection = {"where": {"status": ["ACTIVE"]}}
    assert faults(await desk.ask("Suspend", selection, 2, idempotencyKey="once")) == [
        ("IDEMPOTENCY_KEY_REUSED", "input.idempotencyKey")
    ]
    assert (await desk.promised("Suspend", EVERYBODY, 2, idempotencyKey="once"))["done"] == 2
    assert await desk.count(BulkRun) == 1


async def test_a_run_goes_on_where_it_was_broken_off(desk: Desk, house: House) -> None:
    await crowd(house, 6)
    run = await desk.promised("Suspend", EVERYBODY, 6, notify=True)
    act, calls = bulk.change_all, 0

    async def breaking(*given: Any) -> Any:
        nonlocal calls
        calls += 1
        done = await act(*given)
        if calls == 3:
            raise ConnectionError("the worker was killed")
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk_work, "TOGETHER", 2)
        patch.setattr(bulk, "change_all", breaking)
        broken = await desk.work(run)
        assert (broken["status"], broken["done"], broken["job"]["progressDone"]) == ("QUEUED", 4, 4)
        async with house.database.transaction(house.tenant.id) as session:
            (await session.get_one(Job, ids.parse(run["job"]["id"])[1])).next_attempt_at = clock.now()
        done = await desk.work(run)
    assert (done["status"], done["done"], done["unchanged"]) == ("SUCCEEDED", 6, 0)
    assert await desk.count(Message) == 6


async def test_it_can_be_cancelled_before_and_in_its_midst(desk: Desk, api: Api, house: House) -> None:
    await crowd(house, 4)
    waiting = await desk.promised("Activate", EVERYBODY, 4)
    for _ in range(2):
        answer = (await api.data(CANCEL, house.admin, id=waiting["id"], key="no"))["customersBulkCancel"]
        assert (answer["errors"], answer["bulkRun"]["status"]) == ([], "CANCELLED")
    assert (await desk.seen(waiting))["job"]["message"] == (
        "Cancelled. 0 of 4 done, 0 unchanged, 0 failed, 4 left alone."
    )
    clerk = await house.operator(Role.STAFF, permissions=["VIEW_CUSTOMERS"])
    run = await desk.promised("Suspend", EVERYBODY, 4)
    answer = (await api.data(CANCEL, clerk, id=run["id"]))["customersBulkCancel"]
    assert [code for code, _ in faults(answer)] == ["NOT_PERMITTED"]
    act, calls = bulk.change_all, 0

    async def changed_my_mind(*given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            asyncio.get_running_loop().create_task(api.data(CANCEL, house.admin, id=run["id"]))
            await asyncio.sleep(0.2)
        return await act(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk_work, "TOGETHER", 1)
        patch.setattr(bulk, "change_all", changed_my_mind)
        done = await desk.work(run)
    assert (done["status"], done["cancelledAt"] is None) == ("CANCELLED", False)
    assert done["done"] in (2, 3)
    assert done["rows"]["totalCount"] == 4
    # For good: whoever tries again comes to nobody.
    await api.data(RETRY, house.admin, id=run["job"]["id"])
    assert (await desk.work(run))["done"] == done["done"]


async def test_one_who_is_held_does_not_hold_the_others(desk: Desk, house: House) -> None:
    keys = await crowd(house, 3)
    run = await desk.promised("Suspend", EVERYBODY, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk_work, "_WAIT_SECONDS", 0)
        patch.setattr(bulk_work, "_TRIES", 2)
        act = bulk.change_all

        async def impatient(session: Any, *given: Any) -> Any:
            await session.execute(text("SET LOCAL lock_timeout = '50ms'"))
            return await act(session, *given)

        patch.setattr(bulk, "change_all", impatient)
        async with house.database.transaction(house.tenant.id) as session:
            await session.get_one(Customer, ids.parse(keys[1])[1], with_for_update=True)
            done = await desk.work(run)
    assert outcomes(done) == [("DONE", None), ("FAILED", "UNAVAILABLE"), ("DONE", None)]
    assert done["rows"]["nodes"][1]["message"] == bulk_work.HELD


async def test_a_dry_run_changes_nothing_and_says_what_would_be(desk: Desk, house: House) -> None:
    await post.gateway(house)
    keys = await crowd(house, 3)
    await subscribers.customer(house, sms_opt_out=True)
    await desk.work(await desk.promised("Suspend", {"customerIds": keys[:1]}, 1))
    before = [await desk.count(model) for model in (Job, Message)]
    tried = await desk.work(await desk.promised("Suspend", EVERYBODY, 4, dryRun=True, notify=True))
    assert (tried["dryRun"], tried["done"], tried["unchanged"], tried["failed"]) == (True, 2, 1, 1)
    assert tried["job"]["message"] == "2 of 4 would be done, 1 unchanged, 1 failed."
    long = await desk.work(await desk.promised("Message", EVERYBODY, 4, dryRun=True, body="x" * 161))
    assert (long["done"], long["failed"], long["segments"]) == (3, 1, 6)
    async with house.database.read(house.tenant.id) as session:
        active = await session.scalar(select(func.count()).where(Service.status == ServiceStatus.ACTIVE))
    assert active == 2
    assert [await desk.count(model) for model in (Job, Message)] == [before[0] + 2, before[1]]


@pytest.mark.usefixtures("moved_clock")
async def test_another_package_is_previewed_and_charged_as_for_one(
    desk: Desk, api: Api, house: House, owner: Database
) -> None:
    package = await house.package(price_minor=31_000)
    better = await house.package("Home 50", price_minor=62_000, download_kbps=50_000, upload_kbps=10_000)
    buyers = [
        await Buyer.enrolled(api, house, package, at="2026-01-31T04:00:00Z", pays="310", number=number)
        for number in range(3)
    ]
    other = await Buyer.enrolled(api, house, better, at="2026-01-31T04:00:00Z", pays="620", number=3)
    clock.set_clock("2026-02-14T10:00:00Z")
    single = await buyers[0].quote(better)
    assert single["total"]["amount"] == "155.00"
    given = {"packageId": ids.encode("pkg", better.id), "reason": "Home 20 is sold no more"}
    tried = await desk.work(await desk.promised("ChangePackage", EVERYBODY, 4, dryRun=True, **given))
    assert (tried["charged"], tried["credited"]) == ({"amount": "465.00"}, {"amount": "0.00"})
    came = {other.customer: ("UNCHANGED", None)} | {each.customer: ("DONE", "155.00") for each in buyers}
    assert {
        row["customer"]["id"]: (row["outcome"], row["total"] and row["total"]["amount"])
        for row in tried["rows"]["nodes"]
    } == came
    assert (await desk.count(PackageChange), await desk.count(Invoice)) == (0, 4)

    done = await desk.work(await desk.promised("ChangePackage", EVERYBODY, 4, **given))
    assert (done["status"], done["charged"], outcomes(done)) == ("SUCCEEDED", tried["charged"], outcomes(tried))
    history = await buyers[1].history()
    assert (history["package"]["name"], history["packageChanges"]["nodes"][0]["reason"]) == (
        "Home 50",
        "Home 20 is sold no more",
    )
    assert await desk.count(Invoice) == 7
    await sound(owner)
    # Back, with what was paid in advance given back.
    back = {"packageId": ids.encode("pkg", package.id), "effectiveOn": "2026-02-20"}
    waits = await desk.work(
        await desk.promised("ChangePackage", {"customerIds": [each.customer for each in buyers]}, 3, **back)
    )
    assert (waits["done"], waits["charged"], waits["credited"]) == (3, {"amount": "0.00"}, {"amount": "0.00"})
    assert (await buyers[2].history())["packageChanges"]["nodes"][0]["status"] == "SCHEDULED"

    wrong = {"packageId": ids.encode("pkg", ids.uuid7()), "effectiveOn": "2026-02-13", "reason": "x" * 501}
    assert sorted(faults(await desk.ask("ChangePackage", EVERYBODY, 4, **wrong))) == [
        ("INVALID", "input.effectiveOn"),
        ("INVALID", "input.reason"),
        ("NOT_FOUND", "input.packageId"),
    ]


async def test_messages_keep_to_wishes_and_credits(desk: Desk, api: Api, house: House) -> None:
    reseller = await house.operator(Role.OPERATOR)
    await add(api, house.admin, reseller, 3)
    for number in range(3):
        await subscribers.customer(house, operator_id=reseller.id, name=f"Ann {number}", sms_opt_out=number == 1)
    refused = await desk.ask("Message", EVERYBODY, 3, reseller, body="Hello")
    assert faults(refused) == [("NOT_CONFIGURED", "input")]
    await post.gateway(house)
    for given, code, field in (
        ({"body": "{reason}"}, "INVALID", "body"),
        ({"body": "a { b"}, "INVALID", "body"),
        ({}, "REQUIRED", "body"),
        ({"templateKey": "own.nothing"}, "NOT_FOUND", "templateKey"),
    ):
        assert faults(await desk.ask("Message", EVERYBODY, 3, reseller, **given)) == [(code, f"input.{field}")], given
    given = {"body": "{customer}: outage", "idempotencyKey": "outage"}
    done = await desk.work(await desk.promised("Message", EVERYBODY, 3, reseller, **given))
    assert outcomes(done) == [("DONE", None), ("FAILED", "INVALID_STATE"), ("DONE", None)]
    assert done["segments"] == 2
    async with house.database.read(house.tenant.id) as session:
        bodies = sorted(await session.scalars(select(Message.body).where(Message.customer_id.is_not(None))))
        assert (await session.get_one(Operator, reseller.id)).sms_credits == 1
        assert await post.unbooked(session, house) == []
    assert bodies == ["Ann 0: outage", "Ann 2: outage"]
    few = await desk.ask("Message", EVERYBODY, 3, reseller, body="again")
    assert (faults(few), few["errors"][0]["message"]) == (
        [("INSUFFICIENT_FUNDS", "input.selection")],
        "This takes at least 3 SMS credits, and 1 are left.",
    )
    again = await desk.promised("Message", EVERYBODY, 3, reseller, **given)
    assert (again["id"], again["done"]) == (done["id"], 2), "what was promised is told again, credits or not"
    # As far as the credits last, where messages have more parts than one.
    await add(api, house.admin, reseller, 2)
    done = await desk.work(await desk.promised("Message", EVERYBODY, 3, reseller, body="x" * 200))
    assert outcomes(done) == [("DONE", None), ("FAILED", "INVALID_STATE"), ("FAILED", "INSUFFICIENT_FUNDS")]


async def test_one_who_is_deleted_meanwhile_is_no_part_of_it(desk: Desk, api: Api, house: House) -> None:
    (key, _) = await crowd(house, 2)
    run = await desk.promised("Suspend", EVERYBODY, 2)
    delete = "mutation ($id: ID!) { customerDelete(customerId: $id) { deletedId errors { code message } } }"
    answer = (await api.data(delete, house.admin, id=key))["customerDelete"]
    assert answer == {"deletedId": key, "errors": []}
    done = await desk.work(run)
    assert (done["status"], done["done"], done["rows"]["totalCount"]) == ("SUCCEEDED", 1, 1)


async def test_there_is_a_most(desk: Desk, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = await crowd(house, 3)
    monkeypatch.setattr(bulk_runs, "MOST", 2)
    monkeypatch.setattr(selections, "MOST_NAMED", 2)
    assert faults(await desk.ask("Suspend", EVERYBODY, 3)) == [("LIMIT_EXCEEDED", "input.selection")]
    assert faults(await desk.ask("Suspend", {"customerIds": keys}, 3)) == [
        ("LIMIT_EXCEEDED", "input.selection.customerIds")
    ]
    assert await desk.count(BulkRow) == 0


@pytest.mark.long
async def test_workers_that_are_killed_come_to_nobody_twice(
    desk: Desk, house: House, settings: Settings, dsns: Dsns
) -> None:
    size = 400
    await post.gateway(house)
    await fill(dsns.superuser, house, size)
    run = await desk.promised("Message", EVERYBODY, size, body="Works on {account}")
    job, deaths = ids.parse(run["job"]["id"])[1], 0

    async def done() -> int:
        found = await desk.seen(run)
        return int(found["done"] + found["failed"] + found["unchanged"])

    before = 0
    while await done() < size:
        async with house.database.transaction(house.tenant.id) as session:
            row = await session.get_one(Job, job, with_for_update=True)
            # As if the lease of who was killed had run out; nothing else would have it due before 30 s.
            row.next_attempt_at = clock.now()
        worker = Program("worker", settings)
        try:
            await worker.ready()
            queue.connect(settings.redis_url)
            await queue.push([queue.Due(house.tenant.id, job)])
            async with asyncio.timeout(60):
                while (now := await done()) < min(size, before + 60):
                    await asyncio.sleep(0.01)
        finally:
            worker.kill()
            queue.disconnect()
        before, deaths = now, deaths + 1
    assert deaths > 2
    found = await desk.seen(run)
    assert (found["done"], found["rows"]["totalCount"]) == (size, size)
    async with house.database.read(house.tenant.id) as session:
        bodies = list(await session.scalars(select(Message.body).where(Message.event == "sms")))
    assert len(bodies) == len(set(bodies)) == size


@pytest.mark.long
async def test_thousands_do_not_hold_one_transaction(
    desk: Desk, house: House, dsns: Dsns, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = int(os.environ.get("ISPGRAPH_TEST_BULK_ROWS", "3000"))
    await fill(dsns.superuser, house, size)
    began, longest, act = time.monotonic(), 0.0, bulk_work.Carrier._part
    run = await desk.promised("Suspend", EVERYBODY, size)
    promised = time.monotonic() - began

    async def timed(self: bulk_work.Carrier) -> bool:
        nonlocal longest
        start = time.monotonic()
        more = await act(self)
        longest = max(longest, time.monotonic() - start)
        return more

    monkeypatch.setattr(bulk_work.Carrier, "_part", timed)
    done = await desk.work(run)
    took = time.monotonic() - began - promised
    print(f"{size}: promised in {promised:.2f} s, done in {took:.1f} s, longest part {longest:.2f} s")  # noqa: T201
    assert (done["status"], done["done"]) == ("SUCCEEDED", size)
    assert longest < 5

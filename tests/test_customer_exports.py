"""Files of lists of customers, and how much memory a large one takes."""

import csv
import os
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select, update

from ispgraph import clock, ids
from ispgraph.actors.registry import ACTIONS
from ispgraph.actors.run import Runner
from ispgraph.db import Database
from ispgraph.domain import customer_exports, exports, files
from ispgraph.domain.models import AuditEntry, Customer, File, FileChunk, Job, Operator, Role
from ispgraph.domain.permissions import DEFAULTS, Permission
from ispgraph.settings import Settings
from tests import crowd, subscribers
from tests.api import Api
from tests.conftest import Dsns
from tests.factories import House
from tests.test_exports import JOB, cells, lines
from tests.test_exports_at_size import MEGABYTE, download, watched
from tests.test_services import count
from tests.wizard import faults

EXPORT = """mutation ($input: CustomersExportInput!) { customersExport(input: $input) {
  errors { code message field } job { id kind status ... on ExportJob { rowCount downloadUrl } } } }"""
LIST = """query ($where: CustomerWhere, $search: String, $orderBy: CustomerOrder) {
  customers(where: $where, search: $search, orderBy: $orderBy, first: 100) { nodes { accountNumber } } }"""
ROWS = int(os.environ.get("ISPGRAPH_TEST_EXPORT_ROWS", "100000"))


class Desk:
    """One operator who exports lists, and the worker."""

    def __init__(self, api: Api, house: House, settings: Settings) -> None:
        self.api, self.house = api, house
        self.runner = Runner(house.database, settings, ACTIONS)

    async def ask(self, who: Operator | None = None, **given: Any) -> dict[str, Any]:
        """The payload of customersExport."""
        payload: dict[str, Any] = (await self.api.data(EXPORT, who or self.house.admin, input=given))["customersExport"]
        return payload

    async def work(self, job: str, who: Operator | None = None) -> dict[str, Any]:
        """The job, carried out once."""
        await self.runner.run_job(self.house.tenant.id.hex, ids.parse(job)[1].hex)
        found: dict[str, Any] = (await self.api.data(JOB, who or self.house.admin, id=job))["job"]
        return found

    async def file(self, who: Operator | None = None, **given: Any) -> bytes:
        """An export that succeeds, downloaded."""
        payload = await self.ask(who, **given)
        assert payload["errors"] == []
        done = await self.work(payload["job"]["id"], who)
        assert done["status"] == "SUCCEEDED", done
        return (await self.api.get(done["downloadUrl"])).content


@pytest.fixture
def desk(api: Api, house: House, settings: Settings) -> Desk:
    """The admin's desk."""
    return Desk(api, house, settings)


async def test_a_list_as_a_file(desk: Desk, house: House) -> None:
    zone, router = await house.zone("=North"), await house.router(name="north")
    joined = datetime(2026, 3, 1, 18, 30, tzinfo=UTC)
    ann = await subscribers.customer(house, zone_id=zone.id, company="-1+1", email="ann@example.net", joined_at=joined)
    service = await subscribers.service(
        house, ann, is_primary=True, router_id=router.id, username="ann", ip_address="192.0.2.7", expires_at=joined
    )
    await subscribers.service(house, ann, is_primary=False, username="ann-second")
    bare = await subscribers.customer(house, name="Bob Example")
    payload = await desk.ask()
    job = payload["job"]
    assert (job["kind"], job["status"], job["downloadUrl"]) == ("customers.export", "QUEUED", None)
    done = await desk.work(job["id"])
    answer = await desk.api.get(done.pop("downloadUrl"))
    assert done == {
        "__typename": "ExportJob",
        "status": "SUCCEEDED",
        "message": "2 customers.",
        "progressDone": 2,
        "progressTotal": 2,
        "rowCount": 2,
    }
    assert answer.headers["content-disposition"].startswith('attachment; filename="customers-north-')
    head, first, second = lines(answer.content)
    assert len(head) == len(customer_exports.USUAL)
    assert {"Account number", "Balance (USD)", "Expires at"} < set(head)
    assert "Password" not in head
    found = dict(zip(head, second, strict=True))
    assert {name: found[name] for name in ("Account number", "Name", "Company", "Mobile", "E-mail")} == {
        "Account number": ann.account_number,
        "Name": "Ann Example",
        "Company": "'-1+1",
        "Mobile": "'+8801712345678",
        "E-mail": "ann@example.net",
    }
    # Asia/Dhaka is six hours ahead: there it is the next day.
    assert (found["Zone"], found["Joined at"], found["Balance (USD)"]) == (
        "'=North",
        "2026-03-02T00:30:00+06:00",
        "0.00",
    )
    assert (found["Username"], found["IP address"], found["Router"], found["Expires at"]) == (
        "ann",
        "192.0.2.7",
        "north",
        "2026-03-02T00:30:00+06:00",
    )
    assert found["Package"] == f"Package {service.id.hex[-6:]}"
    assert dict(zip(head, first, strict=True))["Account number"] == bare.account_number
    assert (first[head.index("Package")], first[head.index("Zone")]) == ("", "")
    (page,) = cells(await desk.file(format="XLSX", columns=["WALLET", "NAME"], orderBy={"field": "NAME"}))
    # `cells` reads as many columns as an export of sessions has.
    assert [line[:2] for line in page] == [["Wallet (USD)", "Name"], ["0.00", "Ann Example"], ["0.00", "Bob Example"]]
    async with house.database.read(house.tenant.id) as session:
        [entry, _] = await session.scalars(select(AuditEntry).order_by(AuditEntry.id))
    assert (entry.action, entry.subject_id) == ("customers.export", ids.parse(job["id"])[1])


async def test_it_is_the_list_that_is_shown(desk: Desk, house: House) -> None:
    zone = await house.zone()
    for number in range(7):
        where = {"zone_id": zone.id} if number % 2 else {}
        customer = await subscribers.customer(house, name=f"{'xyz'[number % 3]} Person", **where)
        await subscribers.service(house, customer, username=f"line{number}", is_primary=True)
    wishes: list[dict[str, Any]] = [
        {},
        {"where": {"zoneId": ids.encode("zon", zone.id)}},
        {"where": {"status": ["ACTIVE"], "joinedFrom": "2020-01-01T00:00:00Z", "overdue": False}},
        {"where": {"balanceBelow": "0.01", "online": False}, "search": "person"},
        {"search": "line3"},
        {"where": {"status": []}},
        {"orderBy": {"field": "NAME", "direction": "DESC"}},
        {"orderBy": {"field": "EXPIRES_AT"}},
        {"orderBy": {"field": "BALANCE"}},
        {"orderBy": {"field": "STATUS"}, "search": "  "},
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exports, "PAGE", 2)
        for wish in wishes:
            shown = (await desk.api.data(LIST, house.admin, **wish))["customers"]["nodes"]
            _, *rows = lines(await desk.file(columns=["ACCOUNT_NUMBER"], **wish))
            assert [line[0] for line in rows] == [one["accountNumber"] for one in shown], wish
    for wish, expected in (
        ({"search": "ab"}, [("INVALID", "input.search")]),
        ({"where": {"balanceBelow": "0.001"}}, [("INVALID", "input.where.balanceBelow")]),
        ({"where": {"packageId": "zon_1"}}, [("NOT_FOUND", "input.where.packageId")]),
        ({"columns": []}, [("REQUIRED", "input.columns")]),
        ({"columns": ["NAME", "EMAIL", "NAME"]}, [("INVALID", "input.columns.2")]),
    ):
        assert faults(await desk.ask(**wish)) == expected, wish


async def test_who_may(desk: Desk, api: Api, house: House, other_house: House) -> None:
    reseller = await house.operator(Role.OPERATOR, permissions=["VIEW_CUSTOMERS", "EXPORT_DATA"])
    rival = await house.operator(Role.OPERATOR, permissions=["VIEW_CUSTOMERS", "EXPORT_DATA"])
    own = await subscribers.customer(house, operator_id=reseller.id)
    lost = await subscribers.customer(house, operator_id=reseller.id)
    await subscribers.customer(house)
    await subscribers.customer(other_house)
    lacking = sorted(each.value for each in DEFAULTS[Role.ADMIN] if each is not Permission.EXPORT_DATA)
    clerk = await house.operator(Role.MANAGER, permissions=lacking)
    answer = await api(EXPORT, clerk, input={})
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]
    blind = await house.operator(Role.STAFF, permissions=["EXPORT_DATA"])
    assert [code for code, _ in faults(await desk.ask(blind))] == ["NOT_PERMITTED"]
    assert await count(house, Job) == 0

    job = (await desk.ask(reseller))["job"]["id"]
    async with house.database.transaction(house.tenant.id) as session:
        await session.execute(update(Customer).where(Customer.id == lost.id).values(operator_id=house.admin.id))
    done = await desk.work(job, reseller)
    rows = lines((await api.get(done["downloadUrl"])).content)
    assert [row[0] for row in rows[1:]] == [own.account_number]
    for who, there in ((house.admin, True), (clerk, True), (rival, False), (other_house.admin, False)):
        seen = (await api.data(JOB, who, id=job))["job"]
        assert (seen is not None) is there
        assert seen is None or (seen["downloadUrl"] is None) is (who is clerk)
    # Who loses the permission before it is made does not get it.
    job = (await desk.ask(reseller, format="XLSX"))["job"]["id"]
    async with house.database.transaction(house.tenant.id) as session:
        await session.execute(update(Operator).where(Operator.id == reseller.id).values(permissions=["VIEW_CUSTOMERS"]))
    assert (await desk.work(job))["status"] == "FAILED"
    keys = [await desk.ask(idempotencyKey="once") for _ in range(2)]
    assert keys[0] == keys[1]
    assert faults(await desk.ask(idempotencyKey="once", columns=["NAME"]))[0][0] == "IDEMPOTENCY_KEY_REUSED"


async def test_a_run_that_is_broken_off_begins_anew(desk: Desk, house: House) -> None:
    for _ in range(6):
        await subscribers.customer(house)
    job = (await desk.ask())["job"]["id"]
    ask, calls = customer_exports.page, 0

    async def breaking(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise ConnectionError("the worker was killed")
        return await ask(*given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exports, "PAGE", 2)
        patch.setattr(files, "CHUNK_BYTES", 100)
        patch.setattr(customer_exports, "page", breaking)
        assert (await desk.work(job))["status"] == "QUEUED"
    async with house.database.transaction(house.tenant.id) as session:
        (await session.get_one(Job, ids.parse(job)[1])).next_attempt_at = clock.now()
    done = await desk.work(job)
    assert len(lines((await desk.api.get(done["downloadUrl"])).content)) == 7
    assert (await count(house, File), await count(house, FileChunk)) == (1, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(customer_exports, "MOST", 5)
        done = await desk.work((await desk.ask())["job"]["id"])
    assert (done["status"], done["message"]) == (
        "FAILED",
        "There are more than 5 customers, and one file may have no more: narrow the list.",
    )


@pytest.mark.long
@pytest.mark.parametrize("format", ["CSV", "XLSX"])
async def test_memory_is_bounded(
    desk: Desk, house: House, database: Database, dsns: Dsns, tmp_path: Any, format: str
) -> None:
    await crowd.fill(dsns.superuser, house, ROWS)
    few = {"search": "123"}
    await desk.work((await desk.ask(format=format, **few))["job"]["id"])
    job = (await desk.ask(format=format))["job"]["id"]
    with watched() as worker:
        done = await desk.work(job)
    assert done["status"] == "SUCCEEDED", done
    path = await download(house, job, tmp_path)
    print(f"{format}, {done['rowCount']} customers, {path.stat().st_size / MEGABYTE:.0f} MB: {worker}")  # noqa: T201
    assert done["rowCount"] >= ROWS
    assert worker["grew"] < 48
    if format == "CSV":
        with path.open(encoding="utf-8-sig", newline="") as file:
            numbers = [line[0] for line in csv.reader(file)]
        assert len(numbers) == len(set(numbers)) == done["rowCount"] + 1

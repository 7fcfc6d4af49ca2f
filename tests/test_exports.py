"""Files of sessions: from the wish to the last byte."""

import csv
import io
import zipfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from xml.etree import ElementTree

import pytest
from sqlalchemy import insert, select

from ispgraph import clock, ids
from ispgraph.actors.registry import ACTIONS
from ispgraph.actors.run import Runner
from ispgraph.db import Database
from ispgraph.domain import exports, files, retention
from ispgraph.domain.models import (
    ConnectionType,
    Customer,
    File,
    FileChunk,
    Job,
    JobStatus,
    Operator,
    Role,
    Session,
    SessionState,
)
from ispgraph.domain.permissions import DEFAULTS, Permission
from ispgraph.settings import Settings
from tests import subscribers
from tests.api import Api
from tests.conftest import Dsns
from tests.factories import House
from tests.test_services import audited, count, pair, public
from tests.wizard import faults

EXPORT = """mutation ($input: SessionExportInput!) { customerExportSessions(input: $input) {
  errors { code message field } job { id kind status ... on ExportJob { rowCount downloadUrl } } } }"""
JOB = """query ($id: ID!) { job(id: $id) { __typename status message progressDone progressTotal
  ... on ExportJob { rowCount downloadUrl } } }"""
MARK = "\ufeff"
BEGAN = datetime(2026, 3, 1, 18, 30, tzinfo=UTC)
SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


class Desk:
    """One operator who exports, and the worker."""

    def __init__(self, api: Api, house: House, settings: Settings) -> None:
        self.api, self.house = api, house
        self.runner = Runner(house.database, settings, ACTIONS)

    async def ask(self, customer: Customer, who: Operator | None = None, **given: Any) -> dict[str, Any]:
        """The payload of customerExportSessions."""
        variables = {"customerId": public(customer), **given}
        data = await self.api.data(EXPORT, who or self.house.admin, input=variables)
        payload: dict[str, Any] = data["customerExportSessions"]
        return payload

    async def work(self, job: str) -> dict[str, Any]:
        """The job, carried out once."""
        await self.runner.run_job(self.house.tenant.id.hex, ids.parse(job)[1].hex)
        return await self.job(job)

    async def job(self, job: str, who: Operator | None = None) -> dict[str, Any]:
        """The job as it is shown."""
        found: dict[str, Any] = (await self.api.data(JOB, who or self.house.admin, id=job))["job"]
        return found

    async def file(self, customer: Customer, **given: Any) -> bytes:
        """An export that succeeds, downloaded."""
        payload = await self.ask(customer, **given)
        assert payload["errors"] == []
        done = await self.work(payload["job"]["id"])
        assert done["status"] == "SUCCEEDED", done
        answer = await self.api.get(done["downloadUrl"])
        assert answer.status_code == 200
        return answer.content


@pytest.fixture
def desk(api: Api, house: House, settings: Settings) -> Desk:
    """The admin's desk."""
    return Desk(api, house, settings)


@pytest.fixture
async def books(dsns: Dsns) -> AsyncIterator[Database]:
    """The database as somebody who may write sessions."""
    made = Database(dsns.superuser, pool_size=1)
    yield made
    await made.dispose()


def row(customer: Customer, number: int, **fields: Any) -> dict[str, Any]:
    """A closed session of an hour that began so many hours after the first."""
    began = BEGAN + timedelta(hours=number)
    return {
        "id": ids.uuid7(),
        "tenant_id": customer.tenant_id,
        "customer_id": customer.id,
        "acct_session_id": f"81{number:06x}",
        "unique_id": f"{customer.id.hex}-{number}",
        "username": "ann",
        "connection_type": ConnectionType.PPPOE,
        "state": SessionState.STOPPED,
        "started_at": began,
        "updated_at": began + timedelta(hours=1),
        "stopped_at": began + timedelta(hours=1),
        "duration_seconds": 3600,
        "input_octets": 1000 + number,
        "output_octets": 2_000_000 + number,
        "input_base": 0,
        "output_base": 0,
        "ip_address": "10.1.2.3",
        "mac_address": "02:00:5e:00:00:01",
        "nas_address": "192.0.2.1",
        "terminate_cause": "User-Request",
    } | fields


async def keep(books: Database, rows: list[dict[str, Any]]) -> None:
    """Put sessions there."""
    async with books.transaction(rows[0]["tenant_id"]) as session:
        await session.execute(insert(Session), rows)


def lines(body: bytes) -> list[list[str]]:
    """The lines of a CSV file, which is checked to be one."""
    text = body.decode()
    assert text.startswith(MARK)
    assert text.endswith("\r\n")
    return list(csv.reader(io.StringIO(text[1:], newline="")))


def cells(body: bytes) -> list[list[list[str | None]]]:
    """The pages of a workbook, as text."""
    found = []
    with zipfile.ZipFile(io.BytesIO(body)) as book:
        assert book.testzip() is None
        names = sorted(name for name in book.namelist() if name.startswith("xl/worksheets/sheet"))
        for name in names:
            tree = ElementTree.fromstring(book.read(name))
            assert not list(tree.iter(f"{SHEET}f")), "a formula"
            page: list[list[str | None]] = []
            for line in tree.iter(f"{SHEET}row"):
                values: dict[str, str | None] = {}
                for cell in line.iter(f"{SHEET}c"):
                    texts = [*cell.iter(f"{SHEET}t"), *cell.iter(f"{SHEET}v")]
                    values[cell.attrib["r"].rstrip("0123456789")] = texts[0].text
                page.append([values.get(chr(65 + column)) for column in range(len(exports.COLUMNS))])
            found.append(page)
    return found


async def test_a_file_of_sessions(desk: Desk, house: House, books: Database) -> None:
    router = await house.router(name="north")
    customer, _ = await pair(house)
    other, _ = await pair(house)
    await keep(books, [row(customer, 1), row(customer, 0, router_id=router.id), row(other, 2)])
    open_one = row(customer, 3, state=SessionState.OPEN, stopped_at=None, terminate_cause=None, mac_address=None)
    await keep(books, [open_one])

    payload = await desk.ask(customer)
    assert payload["errors"] == []
    job = payload["job"]
    assert (job["kind"], job["status"], job["rowCount"], job["downloadUrl"]) == (
        "sessions.export",
        "QUEUED",
        None,
        None,
    )
    done = await desk.work(job["id"])

    url = done.pop("downloadUrl")
    assert done == {
        "__typename": "ExportJob",
        "status": "SUCCEEDED",
        "message": "3 sessions: 0.01 GB down, 0.00 GB up, 3 hours on line.",
        "progressDone": 3,
        "progressTotal": 3,
        "rowCount": 3,
    }
    answer = await desk.api.get(url)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    today = clock.now().astimezone().date()
    assert answer.headers["content-disposition"].startswith('attachment; filename="sessions-')
    assert answer.headers["content-disposition"].endswith('.csv"')
    assert str(today.year) in answer.headers["content-disposition"]
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "private, no-store"
    head, first, second, third = lines(answer.content)
    assert head == list(exports.COLUMNS)
    # Asia/Dhaka is six hours ahead: there it is the next day.
    assert first == [
        *("81000000", "ann", "PPPOE", "STOPPED", "2026-03-02T00:30:00+06:00", "2026-03-02T01:30:00+06:00"),
        *("2026-03-02T01:30:00+06:00", "3600", "2000000", "1000", "2001000", "10.1.2.3", "02:00:5E:00:00:01"),
        *("192.0.2.1", "north", "User-Request"),
    ]
    assert second[0] == "81000001"
    assert second[14] == ""
    assert (third[3], third[6], third[12], third[15]) == ("OPEN", "", "", "")
    # What is asked with HEAD has no body and the same head.
    only_head = await desk.api.get(url, "HEAD")
    assert (only_head.status_code, only_head.content) == (200, b"")
    assert only_head.headers["content-length"] == answer.headers["content-length"]

    (entry,) = await audited(house, customer)
    assert (entry.action, entry.operator_id) == ("customer.exportSessions", house.admin.id)
    assert entry.details["job"] == str(ids.parse(job["id"])[1])


async def test_a_workbook(desk: Desk, house: House, books: Database) -> None:
    customer, _ = await pair(house)
    await keep(books, [row(customer, 0, output_octets=2**60), row(customer, 1)])
    (page,) = cells(await desk.file(customer, format="XLSX"))
    head, first, second = page
    assert head == list(exports.COLUMNS)
    assert first[:5] == ["81000000", "ann", "PPPOE", "STOPPED", "2026-03-02T00:30:00+06:00"]
    # What binary64 cannot hold is text.
    assert first[8] == str(2**60)
    assert second[7:11] == ["3600", "2000001", "1001", "2001002"]
    assert second[14] is None


async def test_a_page_that_is_full_is_followed_by_another(desk: Desk, house: House, books: Database) -> None:
    customer, _ = await pair(house)
    await keep(books, [row(customer, number) for number in range(7)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ispgraph.actors.sheets._ROWS", 4)
        pages = cells(await desk.file(customer, format="XLSX"))
    assert [len(page) for page in pages] == [4, 4, 2]
    assert {tuple(page[0]) for page in pages} == {exports.COLUMNS}


@pytest.mark.parametrize("format", ["CSV", "XLSX"])
async def test_nothing_in_it_is_a_formula(desk: Desk, house: House, books: Database, format: str) -> None:
    customer, _ = await pair(house)
    texts = ["=1+1", "+1", "-2", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "plain", 'quo"te, and\r\nline', "'", "＝1"]
    names = await house.router(name="=HYPERLINK(1)")
    await keep(
        books,
        [
            row(customer, number, username=text, terminate_cause=text, acct_session_id=text, router_id=names.id)
            for number, text in enumerate(texts)
        ],
    )
    body = await desk.file(customer, format=format)
    found = lines(body) if format == "CSV" else cells(body)[0]
    safe = [f"'{text}" for text in texts[:7]] + texts[7:10] + ["'＝1"]
    if format == "XLSX":
        safe = [text.replace("\r", "_x000D_").replace("\t", "\t") for text in safe]
    for column in (0, 1, 15):
        shown = [line[column] for line in found[1:]]
        assert [text and text.replace("\n", " ") for text in shown] == [text.replace("\n", " ") for text in safe]
    assert {line[14] for line in found[1:]} == {"'=HYPERLINK(1)"}


async def test_what_is_asked_for(desk: Desk, house: House, books: Database) -> None:
    customer, _ = await pair(house)
    rows = [row(customer, number) for number in range(6)]
    rows[4] |= {"connection_type": ConnectionType.HOTSPOT}
    rows[5] |= {"state": SessionState.STALE}
    await keep(books, rows)
    at = lambda hours: (BEGAN + timedelta(hours=hours)).isoformat()  # noqa: E731
    for where, expected in (
        ({}, range(6)),
        ({"from": at(2)}, (2, 3, 4, 5)),
        ({"to": at(2)}, (0, 1)),
        ({"from": at(1), "to": at(4)}, (1, 2, 3)),
        ({"connectionType": "HOTSPOT"}, (4,)),
        ({"state": "STALE"}, (5,)),
        ({"state": "OPEN"}, ()),
    ):
        found = lines(await desk.file(customer, where=where))
        assert [line[0] for line in found[1:]] == [f"81{number:06x}" for number in expected], where
    (page,) = cells(await desk.file(customer, where={"state": "OPEN"}, format="XLSX"))
    assert page == [list(exports.COLUMNS)]
    payload = await desk.ask(customer, where={"from": at(2), "to": at(2)})
    assert faults(payload) == [("INVALID", "input.where.from")]


async def test_many_pages_and_chunks(desk: Desk, house: House, books: Database) -> None:
    customer, _ = await pair(house)
    # Several began at one instant: no page may begin in their midst and forget some.
    await keep(books, [row(customer, number, started_at=BEGAN + timedelta(hours=number // 5)) for number in range(53)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exports, "PAGE", 4)
        patch.setattr(files, "CHUNK_BYTES", 100)
        found = lines(await desk.file(customer))
    assert sorted(line[0] for line in found[1:]) == [f"81{number:06x}" for number in range(53)]
    assert await count(house, FileChunk) > 50


async def test_a_run_that_is_broken_off_leaves_no_torn_file(desk: Desk, house: House, books: Database) -> None:
    customer, _ = await pair(house)
    await keep(books, [row(customer, number) for number in range(20)])
    payload = await desk.ask(customer)
    job = payload["job"]["id"]
    ask = exports.page
    calls = 0

    async def breaking(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise ConnectionError("the worker was killed")
        return await ask(*given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exports, "PAGE", 5)
        patch.setattr(files, "CHUNK_BYTES", 100)
        patch.setattr(exports, "page", breaking)
        broken = await desk.work(job)
    assert (broken["status"], broken["downloadUrl"], broken["progressDone"]) == ("QUEUED", None, 10)
    assert await count(house, FileChunk) > 0
    async with house.database.transaction(house.tenant.id) as session:
        (file,) = await session.scalars(select(File))
        assert await files.find(session, file.id) is None
        (await session.get_one(Job, ids.parse(job)[1])).next_attempt_at = clock.now()
    done = await desk.work(job)
    assert done["status"] == "SUCCEEDED"
    assert len(lines((await desk.api.get(done["downloadUrl"])).content)) == 21
    assert await count(house, File) == 1
    assert [await count(house, FileChunk)] == [1], "what the first run left is gone"


async def test_who_lost_the_lease_writes_nothing(desk: Desk, house: House, books: Database) -> None:
    customer, _ = await pair(house)
    await keep(books, [row(customer, number) for number in range(4)])
    job = (await desk.ask(customer))["job"]["id"]
    ask = exports.page

    async def slow(*given: Any, **named: Any) -> Any:
        async with house.database.transaction(house.tenant.id) as session:
            (await session.get_one(Job, ids.parse(job)[1])).lease = ids.uuid7()
        return await ask(*given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exports, "page", slow)
        assert (await desk.work(job))["status"] == "RUNNING"
    assert await count(house, FileChunk) == 0


async def test_links_are_ours_and_end(
    desk: Desk, house: House, other_house: House, books: Database, moved_clock: None
) -> None:
    customer, _ = await pair(house)
    await keep(books, [row(customer, 0)])
    done = await desk.work((await desk.ask(customer))["job"]["id"])
    url = done["downloadUrl"]
    path, _, query = url.partition("?")
    key = str(path).rpartition("/")[2]
    for altered in (
        path,
        f"{path}?",
        f"{path}?{query}x",
        f"{path}?{query[:-1]}",
        f"{path}?{query.replace('expires=1', 'expires=2')}",
        f"{path}?{query}&expires=9999999999",
        f"{path}?expires=9999999999&{query}",
        f"{path.replace(key, UUID(int=7).hex)}?{query}",
        f"{path.replace(house.tenant.id.hex, other_house.tenant.id.hex)}?{query}",
        f"{path}/?{query}",
        f"{path}?{query.partition('&')[0]}&signature=",
        f"{path}?expires=x&signature=é",
        f"{path}?{query}{'x' * 3000}",
    ):
        answer = await desk.api.get(altered)
        assert answer.status_code in (403, 404, 307), altered
        assert "81000000" not in answer.text
    assert (await desk.api.get(url)).status_code == 200
    clock.set_clock("+86340")
    assert (await desk.api.get(url)).status_code == 200
    async with house.database.transaction(house.tenant.id) as session:
        await retention.prune(session, house.tenant.id)
    assert (await desk.api.get(url)).status_code == 200
    clock.set_clock("+86460")
    answer = await desk.api.get(url)
    assert (answer.status_code, answer.text) == (410, "The time of this link is over.\n")
    found = await desk.job(ids.encode("job", (await _only(house, Job)).id))
    assert (found["downloadUrl"], found["rowCount"]) == (None, 1)
    async with house.database.transaction(house.tenant.id) as session:
        await retention.prune(session, house.tenant.id)
    assert [await count(house, kind) for kind in (File, FileChunk)] == [0, 0]


async def _only(house: House, model: Any) -> Any:
    async with house.database.read(house.tenant.id) as session:
        return (await session.scalars(select(model))).one()


async def test_too_many_sessions_are_refused(desk: Desk, house: House, books: Database) -> None:
    customer, _ = await pair(house)
    await keep(books, [row(customer, number) for number in range(3)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exports, "MOST", 2)
        done = await desk.work((await desk.ask(customer))["job"]["id"])
    assert done["status"] == "FAILED"
    assert done["message"] == "There are 3 sessions, and one file may have 2: ask for a shorter time."
    assert await count(house, File) == 0


async def test_the_same_key_makes_one_job(desk: Desk, house: House) -> None:
    customer, _ = await pair(house)
    answers = [await desk.ask(customer, idempotencyKey="once") for _ in range(3)]
    assert len({answer["job"]["id"] for answer in answers}) == 1
    other = await desk.ask(customer, idempotencyKey="once", format="XLSX")
    assert faults(other) == [("IDEMPOTENCY_KEY_REUSED", "input.idempotencyKey")]
    assert await count(house, Job) == 1


async def test_who_may(desk: Desk, api: Api, house: House, other_house: House, books: Database) -> None:
    reseller = await house.operator(Role.OPERATOR, permissions=["VIEW_CUSTOMERS", "EXPORT_DATA"])
    rival = await house.operator(Role.OPERATOR, permissions=["VIEW_CUSTOMERS", "EXPORT_DATA"])
    customer = await subscribers.customer(house, operator_id=reseller.id)
    for stranger in (rival, other_house.admin):
        assert faults(await desk.ask(customer, stranger)) == [("NOT_FOUND", "input.customerId")]
    lacking = sorted(each.value for each in DEFAULTS[Role.ADMIN] if each is not Permission.EXPORT_DATA)
    clerk = await house.operator(Role.MANAGER, permissions=lacking)
    answer = await api(EXPORT, clerk, input={"customerId": public(customer)})
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]
    blind = await house.operator(Role.STAFF, permissions=["EXPORT_DATA"])
    assert [code for code, _ in faults(await desk.ask(customer, blind))] == ["NOT_PERMITTED"]
    assert await count(house, Job) == 0

    job = (await desk.ask(customer, reseller))["job"]["id"]
    assert (await desk.work(job))["downloadUrl"] is not None
    assert (await desk.job(job, reseller))["downloadUrl"] is not None
    assert await desk.job(job, rival) is None
    assert await desk.job(job, other_house.admin) is None
    # Whoever sees the job without being allowed to export does not get the file.
    assert (await desk.job(job, clerk))["downloadUrl"] is None


async def test_the_kinds_of_jobs_stand_side_by_side(desk: Desk, house: House) -> None:
    customer, service = await pair(house)
    await desk.ask(customer)
    suspend = "mutation ($id: ID!) { customerSuspend(input: {customerId: $id, reason: OTHER}) { jobs { id } } }"
    await desk.api.data(suspend, house.admin, id=public(customer))
    document = """query ($id: ID!) { customer(by: {id: $id}) { jobs { nodes { __typename kind
      ... on NetworkJob { customer { id } } ... on ExportJob { rowCount downloadUrl } } } } }"""
    found = (await desk.api.data(document, house.admin, id=public(customer)))["customer"]["jobs"]["nodes"]
    assert found == [
        {"__typename": "NetworkJob", "kind": "service.provision", "customer": {"id": public(customer)}},
        {"__typename": "ExportJob", "kind": "sessions.export", "rowCount": None, "downloadUrl": None},
    ]
    assert service.customer_id == customer.id
    cancel = "mutation ($id: ID!) { jobCancel(jobId: $id) { job { __typename status } errors { code } } }"
    job = await _export_job(house)
    done = (await desk.api.data(cancel, house.admin, id=ids.encode("job", job.id)))["jobCancel"]
    assert done == {"job": {"__typename": "ExportJob", "status": "CANCELLED"}, "errors": []}
    assert (await _export_job(house)).status is JobStatus.CANCELLED


async def _export_job(house: House) -> Job:
    async with house.database.read(house.tenant.id) as session:
        return (await session.scalars(select(Job).where(Job.kind == "sessions.export"))).one()

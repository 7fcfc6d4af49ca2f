"""Reports as files: what is in them, what is refused, and who gets them."""

import io
import re
import zipfile
from datetime import date
from typing import Any

import pytest
from sqlalchemy import select

from ispgraph import clock, ids
from ispgraph.actors.registry import ACTIONS
from ispgraph.actors.run import Runner
from ispgraph.domain.models import AuditEntry, Customer, Job, Operator, Role
from ispgraph.domain.permissions import DEFAULTS, Permission
from ispgraph.settings import Settings
from tests.api import Api
from tests.billing.conftest import Till
from tests.factories import House
from tests.reports.walk import customer_of
from tests.test_exports import JOB, cells, lines
from tests.test_services import count
from tests.wizard import faults

EXPORT = """mutation ($input: ReportExportInput!) { reportExport(input: $input) { errors { code message field }
  job { __typename id kind status } } }"""
SPAN = {"from": "2026-01-01", "to": "2026-03-01"}


class Desk:
    """Whoever exports, and the worker."""

    def __init__(self, api: Api, till: Till, settings: Settings) -> None:
        self.api, self.till, self.house = api, till, till.house
        self.runner = Runner(self.house.database, settings, ACTIONS)

    async def ask(self, who: Operator | None = None, **given: Any) -> dict[str, Any]:
        """The payload of reportExport."""
        found: dict[str, Any] = (await self.api.data(EXPORT, who or self.house.admin, input=given))["reportExport"]
        return found

    async def work(self, job: str, who: Operator | None = None) -> dict[str, Any]:
        """The job, carried out."""
        await self.runner.run_job(self.house.tenant.id.hex, ids.parse(job)[1].hex)
        found: dict[str, Any] = (await self.api.data(JOB, who or self.house.admin, id=job))["job"]
        return found

    async def file(self, who: Operator | None = None, **given: Any) -> tuple[str, bytes]:
        """The name of a file and what is in it."""
        payload = await self.ask(who, **given)
        assert payload["errors"] == []
        done = await self.work(payload["job"]["id"], who)
        assert done["status"] == "SUCCEEDED", done
        answer = await self.api.get(done["downloadUrl"])
        assert answer.status_code == 200
        name = answer.headers["content-disposition"].split('filename="')[1].split('"')[0]
        return name, answer.content


@pytest.fixture
def desk(api: Api, till: Till, settings: Settings) -> Desk:
    """The desk of the house."""
    return Desk(api, till, settings)


async def books(desk: Desk, operator: Operator | None = None) -> None:
    """A customer with a bill in January, of which a part is paid in February."""
    clock.set_clock("2026-01-10T06:00:00Z")
    customer = await customer_of(desk.house, operator or desk.house.admin, await count(desk.house, Customer) + 1)
    invoice = await desk.till.bill(customer.id, 10_000, rate="15")
    clock.set_clock("2026-02-10T06:00:00Z")
    await desk.till.pay(5_000, invoice)
    clock.set_clock("2026-03-10T06:00:00Z")


async def test_what_is_in_them(desk: Desk, moved_clock: None) -> None:
    await books(desk)
    admin = desk.house.admin.name
    name, body = await desk.file(report="REVENUE", **SPAN)
    assert name == "revenue-2026-01-01-2026-03-01.csv"
    assert lines(body) == [
        ["From", "To", "Invoices", "Invoiced (USD)", "Voided (USD)", "Credited (USD)", "Net (USD)"],
        ["2026-01-01", "2026-02-01", "1", "100.00", "0.00", "0.00", "100.00"],
        ["2026-02-01", "2026-03-01", "0", "0.00", "0.00", "0.00", "0.00"],
    ]
    name, body = await desk.file(report="TAX", granularity="DAY", **SPAN)
    assert (name, lines(body)[1:]) == (
        "tax-2026-01-01-2026-03-01.csv",
        [["2026-01-10", "2026-01-11", "15.000", "100.00", "15.00"]],
    )
    _, body = await desk.file(report="COLLECTIONS", **SPAN)
    assert lines(body)[1:] == [
        ["2026-02-01", "2026-03-01", admin, "CASH", "1", "50.00", "0", "0.00", "50.00"],
    ]
    name, body = await desk.file(report="RECEIVABLES", on="2026-02-17")
    head, only = lines(body)
    assert (name, head[0], head[9]) == ("receivables-2026-02-17.csv", "Account", "Total (USD)")
    # What a spreadsheet would take for a formula is text.
    assert only == [
        *("R00001", "Customer 1", "'+8801712345678", admin, "0.00", "0.00", "65.00", "0.00", "0.00"),
        *("65.00", "1", "2026-01-17"),
    ]
    name, _ = await desk.file(report="RECEIVABLES")
    assert name == "receivables-2026-03-10.csv"


async def test_a_workbook_has_numbers(desk: Desk, moved_clock: None) -> None:
    await books(desk)
    name, body = await desk.file(report="REVENUE", format="XLSX", **SPAN)
    assert name.endswith(".xlsx")
    ((head, first, _),) = cells(body)
    assert head[:3] == ["From", "To", "Invoices"]
    assert first[:7] == ["2026-01-01", "2026-02-01", "1", "100.00", "0.00", "0.00", "100.00"]
    with zipfile.ZipFile(io.BytesIO(body)) as book:
        page, styles = (book.read(f"xl/{name}.xml").decode() for name in ("worksheets/sheet1", "styles"))
    # A number, not a text, and shown with its decimals.
    assert re.search(r'<c r="G2" s="\d"><v>100.00</v></c>', page)
    assert 'formatCode="0.00"' in styles


async def test_what_is_wished_for_must_be_there(desk: Desk, moved_clock: None) -> None:
    clock.set_clock("2026-03-10T06:00:00Z")
    assert faults(await desk.ask(report="REVENUE")) == [("REQUIRED", "input.from"), ("REQUIRED", "input.to")]
    assert faults(await desk.ask(report="TAX", on="2026-01-01", **SPAN)) == [("INVALID", "input.on")]
    assert faults(await desk.ask(report="RECEIVABLES", **SPAN)) == [("INVALID", "input.from"), ("INVALID", "input.to")]
    assert faults(await desk.ask(report="RECEIVABLES", on="2026-03-11")) == [("INVALID", "input.on")]
    backwards = {"from": "2026-03-01", "to": "2026-01-01"}
    assert faults(await desk.ask(report="COLLECTIONS", **backwards)) == [("INVALID", "input.from")]
    assert faults(await desk.ask(report="REVENUE", idempotencyKey="", **SPAN)) == [("INVALID", "input.idempotencyKey")]
    assert await count(desk.house, Job) == 0


async def test_the_same_key_makes_one_job(desk: Desk, moved_clock: None) -> None:
    clock.set_clock("2026-03-10T06:00:00Z")
    first = await desk.ask(report="RECEIVABLES", idempotencyKey="once")
    clock.set_clock("2026-03-11T06:00:00Z")
    assert await desk.ask(report="RECEIVABLES", idempotencyKey="once") == first
    other = await desk.ask(report="REVENUE", idempotencyKey="once", **SPAN)
    assert faults(other) == [("IDEMPOTENCY_KEY_REUSED", "input.idempotencyKey")]
    assert await count(desk.house, Job) == 1
    async with desk.house.database.read(desk.house.tenant.id) as session:
        (entry,) = await session.scalars(select(AuditEntry).where(AuditEntry.action == "report.export"))
    assert (entry.operator_id, entry.details["report"], entry.details["on"]) == (
        desk.house.admin.id,
        "RECEIVABLES",
        date(2026, 3, 10).isoformat(),
    )


async def test_who_gets_what(desk: Desk, api: Api, house: House, moved_clock: None) -> None:
    everything = [each.value for each in DEFAULTS[Role.ADMIN]]
    clock.set_clock("2026-01-01T00:00:00Z")
    reseller = await house.operator(Role.OPERATOR, permissions=everything)
    rival = await house.operator(Role.OPERATOR, permissions=everything)
    below = await house.operator(Role.SUB_OPERATOR, reseller, permissions=everything)
    await books(desk, below)
    await books(desk)
    # A reseller's file is of the subtree alone, and so is its job.
    wish = {"report": "REVENUE", **SPAN}
    _, body = await desk.file(reseller, **wish)
    assert lines(body)[1][2:4] == ["1", "100.00"]
    _, body = await desk.file(**wish)
    assert lines(body)[1][2:4] == ["2", "200.00"]
    _, body = await desk.file(rival, **wish)
    assert lines(body)[1][2:4] == ["0", "0.00"]
    own = (await desk.ask(below, **wish))["job"]["id"]
    office = (await desk.ask(**wish))["job"]["id"]
    await desk.work(own)
    await desk.work(office)

    async def seen(who: Operator, job: str) -> Any:
        return (await api.data(JOB, who, id=job))["job"]

    assert (await seen(below, own))["downloadUrl"] is not None
    assert (await seen(reseller, own))["downloadUrl"] is not None
    assert (await seen(house.admin, own))["downloadUrl"] is not None
    assert await seen(rival, own) is None
    assert [await seen(who, office) for who in (reseller, below, rival)] == [None, None, None]
    # Who may not look at reports gets no file of one either.
    for lacking in (Permission.VIEW_REPORTS, Permission.EXPORT_DATA):
        clerk = await house.operator(Role.MANAGER, permissions=[each for each in everything if each != lacking.value])
        assert (await seen(clerk, office))["downloadUrl"] is None
        answer = await api(EXPORT, clerk, input=wish)
        if lacking is Permission.EXPORT_DATA:
            assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]
        else:
            assert [code for code, _ in faults(answer["data"]["reportExport"])] == ["NOT_PERMITTED"]
    blind = await house.operator(Role.MANAGER, permissions=["VIEW_REPORTS", "EXPORT_DATA"])
    assert [code for code, _ in faults(await desk.ask(blind, report="RECEIVABLES"))] == ["NOT_PERMITTED"]

"""Customers taken over from another system: checked, made once, and compared."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

import pytest
from sqlalchemy import func, select, text

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain.imports import making, records, sources, staging
from ispgraph.domain.imports.layout import Layout
from ispgraph.domain.imports.rows import Plan, Problem, Row
from ispgraph.domain.models import (
    AuditEntry,
    Customer,
    ImportChunk,
    ImportRow,
    ImportSource,
    Invoice,
    Job,
    Package,
    ProvisioningState,
    Role,
    ServiceMac,
)
from tests.billing.changing import sound
from tests.factories import House
from tests.imports.counter import REPORT, Counter, counts, person, public, sheet, told
from tests.imports.test_sheets import book
from tests.wizard import faults


async def test_what_is_made_is_what_the_file_says(counter: Counter, owner: Database) -> None:
    zone = await counter.house.zone("East")
    rows = [
        person(1, email="One@Example.net", street="1 High Street", city="Dhaka", zone="east", balance="120.50"),
        person(2, status="suspended", balance="-75", account_number="OLD-7", created_at="2020-02-29"),
        person(3, status="ACTIVE", expires_at="2020-01-01"),
        person(4, connection_type="hotspot", mac_address="aa-bb-cc-00-00-04", status="PENDING"),
        person(5, connection_type="STATIC_IP", ip_address="192.0.2.5", username="", password="", status="TERMINATED"),
        person(6, mac_address="aa:bb:cc:00:00:06", expires_at="2999-06-30T18:00:00+06:00"),
    ]
    body = sheet(rows)
    dry = await counter.checked(body)
    assert counts(dry) == {"rowCount": 6, "newCount": 6}
    assert (dry["status"], dry["readAs"]) == ("CHECKED", "UTF_8, commas")
    async with counter.house.database.read(counter.house.tenant.id) as session:
        assert await session.scalar(select(func.count()).select_from(Customer)) == 0
        assert await session.scalar(select(func.count()).select_from(ImportChunk)) == 0
    assert faults(await counter.run(dry, expectedCount=5)) == [("INVALID", "input.expectedCount")]
    first = await counter.run(dry, idempotencyKey="k")
    assert await counter.run(dry, idempotencyKey="k") == first
    assert faults(await counter.run(dry)) == [("INVALID_STATE", "input.importId")]
    await counter.work(first["job"])
    done = await counter.read(dry)
    assert (done["status"], counts(done)) == ("DONE", {"rowCount": 6, "createdCount": 6})
    assert (await counter.job(first["job"])) | {"customerImport": None} == {
        "__typename": "ImportJob",
        "status": "SUCCEEDED",
        "message": "6 made.",
        "progressDone": 6,
        "progressTotal": 6,
        "customerImport": None,
    }

    one, service = await counter.person("Customer 1")
    assert (one.email, one.mobile, one.street, one.city) == (
        "one@example.net",
        "+8801712000001",
        "1 High Street",
        "Dhaka",
    )
    assert (one.zone_id, one.operator_id, one.status.value) == (zone.id, counter.house.admin.id, "ACTIVE")
    assert (service.username, counter.password(service), service.package_id) == (
        "user1",
        "secret 1",
        counter.package.id,
    )
    # A day alone lasts to its end where the tenant is.
    assert service.expires_at == datetime(2999, 1, 31, 18, tzinfo=UTC)
    assert (service.provisioning, service.applied_version) == (ProvisioningState.APPLIED, 1)
    two, service = await counter.person("Customer 2")
    assert (two.status.value, two.account_number, two.joined_at) == (
        "SUSPENDED",
        "OLD-7",
        datetime(2020, 2, 28, 18, tzinfo=UTC),
    )
    assert (service.status.value, service.suspended_at is not None) == ("SUSPENDED", True)
    # Nobody is billed for the years since.
    three, service = await counter.person("Customer 3")
    assert (three.status.value, service.status.value) == ("EXPIRED", "EXPIRED")
    four, service = await counter.person("Customer 4")
    assert (four.status.value, service.expires_at, service.started_at) == ("PENDING", None, None)
    five, service = await counter.person("Customer 5")
    assert (service.username, str(service.ip_address), five.status.value) == ("customer5", "192.0.2.5", "TERMINATED")
    _, service = await counter.person("Customer 6")
    assert service.expires_at == datetime(2999, 6, 30, 12, tzinfo=UTC)
    async with counter.house.database.read(counter.house.tenant.id) as session:
        macs = {str(row.mac): row.logs_in for row in await session.scalars(select(ServiceMac))}
        assert macs == {"aa:bb:cc:00:00:04": True, "aa:bb:cc:00:00:06": False}
        (invoice,) = (await session.scalars(select(Invoice))).all()
        assert (invoice.customer_id, invoice.total_minor, invoice.status.value) == (two.id, 7_500, "OPEN")
        assert invoice.due_on is not None
        assert await session.scalar(select(func.count()).where(ImportRow.password.is_not(None))) == 0
        entries = await session.scalars(select(AuditEntry.subject_id).where(AuditEntry.action == "customer.import"))
        assert len(set(entries)) == 6
        # An old debt is no income of today.
        revenue = text("SELECT COALESCE(sum(amount_minor), 0) FROM postings WHERE account = 'REVENUE'")
        assert await session.scalar(revenue) == 0
    sides = done["reconciliation"]
    assert sides == {
        **dict.fromkeys(("customersTold", "balanceTold", "activeTold")),
        "customersSource": 6,
        "customersHere": 6,
        "balanceSource": {"amount": "45.50"},
        "balanceHere": {"amount": "45.50"},
        "activeSource": 2,
        "activeHere": 2,
        "lapsedSource": 1,
        "differing": [],
        "equal": True,
    }
    await sound(owner)

    # The same file, and a larger one: nobody is taken over twice.
    again = await counter.made(body)
    assert counts(again) == {"rowCount": 6, "unchangedCount": 6}
    assert again["reconciliation"] == sides
    more = await counter.checked(sheet([*rows[:2], person(7, email="one@example.net"), person(8, username="USER2")]))
    assert counts(more) == {"rowCount": 4, "unchangedCount": 2, "conflictCount": 2}
    found = (await counter.read(more, outcome=["CONFLICT"]))["rows"]["nodes"]
    assert [told(row) for row in found] == [[("TAKEN", "email")], [("TAKEN", "username")]]
    # Another system has customers of the same numbers.
    assert counts(await counter.checked(sheet([person(1, username="x")]), label="other")) == {
        "rowCount": 1,
        "newCount": 1,
    }


async def test_the_report_names_every_fault(counter: Counter) -> None:
    rows = [
        person(1, mobile="12", email="nobody", balance="ten", expires_at="soon", status="gone"),
        person(2, package="Nowhere", zone="Nowhere"),
        person(3, name=" ", username="", external_id=""),
        person(4, password=""),
        person(5, expires_at=""),
        person(6, city="Dhaka"),
        person(7, username="user1", external_id="c-1"),
        person(8, account_number=f"{counter.house.tenant.account_prefix}100007"),
        person(9, connection_type="STATIC_IP"),
        person(10),
        person(11, username="USER10"),
        person(12, balance="1,234.567"),
        {"name": "=HYPERLINK(1)", "external_id": "c-10"},
    ]
    body = sheet(rows).replace(b"\r\nc-2,", b'\r\n"quoted\nline",x,,,,,,,,,,,,,,,,,\r\nc-2,')
    found = await counter.checked(body)
    listed = await counter.read(found, first=50)
    assert {row["number"]: told(row) for row in listed["rows"]["nodes"]} == {
        2: [
            ("INVALID", "status"),
            ("INVALID", "expires_at"),
            ("INVALID", "mobile"),
            ("INVALID", "email"),
            ("INVALID", "balance"),
        ],
        3: [("INVALID", None)],
        4: [("NOT_FOUND", "package")],
        5: [("REQUIRED", "external_id"), ("REQUIRED", "name")],
        6: [("REQUIRED", "password")],
        7: [("REQUIRED", "expires_at")],
        8: [("REQUIRED", "street")],
        9: [],
        10: [("INVALID", "account_number")],
        11: [("REQUIRED", "ip_address")],
        12: [],
        13: [("TAKEN", "username")],
        14: [("INVALID", "balance")],
        15: [("REQUIRED", "password"), ("REQUIRED", "expires_at"), ("REQUIRED", "mobile")],
    }
    assert counts(found)["newCount"] == 2

    # As a file: a line for each fault, and nothing that a spreadsheet would run.
    report = await counter.api.data(REPORT, counter.house.admin, input={"importId": found["id"]})
    await counter.work(report["customerImportReport"]["job"])
    made = await counter.job(report["customerImportReport"]["job"])
    assert (made["__typename"], made["status"], made["rowCount"]) == ("ExportJob", "SUCCEEDED", 21)
    lines = (await counter.api.get(made["downloadUrl"])).text.splitlines()
    assert lines[1].startswith("2,FAULTY,c-1,Customer 1,user1,status,INVALID,")
    assert [line for line in lines if "'=HYPERLINK(1)" in line]


async def test_what_is_said_of_all_rows(counter: Counter) -> None:
    package, zone = await counter.house.package("Office"), await counter.house.zone("West")
    other = await counter.house.operator(Role.OPERATOR)
    body = sheet([{"ID": "7", "Who": "Ann", "Bal": "1.234,50", "Until": "31.12.2098", "Phone": ""}], ";", "cp1252")
    found = await counter.made(
        body.replace(b"Ann", "Zoë".encode("cp1252")),
        columns=[
            *({"column": column, "heading": heading} for column, heading in (("EXTERNAL_ID", "id"), ("NAME", "WHO"))),
            *({"column": column, "heading": heading} for column, heading in (("BALANCE", "bal"), ("MOBILE", "Phone"))),
            {"column": "EXPIRES_AT", "heading": "until"},
        ],
        packageId=public(package),
        zoneId=ids.encode("zon", zone.id),
        operatorId=ids.encode("opr", other.id),
        mobile="+8801712345678",
        connectionType="HOTSPOT",
        generatePasswords=True,
        dayFirst=True,
        decimalComma=True,
    )
    # A hotspot without a name and without a device cannot log in.
    assert (found["readAs"], counts(found)) == ("CP1252, semicolons", {"rowCount": 1, "faultyCount": 1})
    found = await counter.made(
        body.replace(b"Ann", "Zoë".encode("cp1252")).replace(b"ID;", b"external_id;").replace(b"Who", b"name"),
        columns=[{"column": "BALANCE", "heading": "bal"}, {"column": "EXPIRES_AT", "heading": "until"}],
        packageId=public(package),
        zoneId=ids.encode("zon", zone.id),
        operatorId=ids.encode("opr", other.id),
        mobile="+8801712345678",
        generatePasswords=True,
        dayFirst=True,
        decimalComma=True,
    )
    assert counts(found) == {"rowCount": 1, "createdCount": 1}
    customer, service = await counter.person("Zoë")
    assert (customer.operator_id, customer.zone_id, service.package_id) == (other.id, zone.id, package.id)
    assert (service.username, len(counter.password(service))) == ("zoe", 12)
    assert service.expires_at == datetime(2098, 12, 31, 18, tzinfo=UTC)
    assert found["reconciliation"]["balanceHere"]["amount"] == "1234.50"


async def test_a_workbook(counter: Counter) -> None:
    rows = [person(1, balance="-12.5"), person(2, mobile="8801712345678")]
    cells: list[list[Any]] = [[*rows[0]], [*rows[0].values()], [*rows[1].values()]]
    cells[1][-1], cells[2][2] = -12.5, 8801712345678
    cells[2].append("=1+1")
    found = await counter.made(book(cells), source="XLSX")
    assert (found["readAs"], counts(found)) == (
        "The first sheet of a workbook",
        {"rowCount": 2, "createdCount": 1, "faultyCount": 1},
    )
    listed = await counter.read(found)
    assert [told(row) for row in listed["rows"]["nodes"]] == [[], [("INVALID", "balance")]]
    assert found["reconciliation"]["balanceHere"]["amount"] == "-12.50"


async def test_what_cannot_be_begun(counter: Counter, other_house: House) -> None:
    theirs = await other_house.package()
    wrong = await counter.begin(
        b"",
        label=" ",
        source="PHPNUXBILL",
        delimiter="ab",
        expiresAt="2020-01-01T00:00:00Z",
        packageId=public(theirs),
        routerId=ids.encode("rtr", theirs.id),
        operatorId=ids.encode("opr", other_house.admin.id),
        columns=[{"column": "NAME", "heading": "x"}],
    )
    assert sorted(faults(wrong)) == [
        ("INVALID", "input.columns"),
        ("INVALID", "input.delimiter"),
        ("INVALID", "input.expiresAt"),
        ("INVALID", "input.file"),
        ("NOT_FOUND", "input.operatorId"),
        ("NOT_FOUND", "input.packageId"),
        ("NOT_FOUND", "input.routerId"),
        ("REQUIRED", "input.label"),
    ]
    large = await counter.begin(bytes(records.LARGEST + 1))
    assert faults(large) == [("LIMIT_EXCEEDED", "input.file")]
    twice = await counter.begin(b"x", columns=[{"column": "NAME", "heading": "x"}] * 2)
    assert faults(twice) == [("INVALID", "input.columns")]
    for body, problem in (
        (b"color,size\r\n1,2\r\n", "No heading of the file is known: say which column is which."),
        (b"name,Name\r\n1,2\r\n", "The heading name stands there twice."),
        (b"name,mobile\r\n", "There is no row in it."),
        (b'name\r\n"' + b"x" * 200_000, "The file cannot be read: field larger than field limit (131072). "),
    ):
        found = await counter.checked(body)
        assert (found["status"], found["rowCount"], found["problem"].startswith(problem)) == ("FAILED", 0, True), found
    assert faults(await counter.run(found)) == [("INVALID_STATE", "input.importId")]


async def test_who_may_do_what(counter: Counter, house: House, other_house: House) -> None:
    body = sheet([person(1, balance="5"), person(2, balance="-5"), person(3)])
    staff, reseller = await house.operator(Role.STAFF), await house.operator(Role.OPERATOR)
    seen = await counter.checked(body, staff)
    listed = await counter.read(seen, staff)
    assert [told(row) for row in listed["rows"]["nodes"]] == [
        [("NOT_PERMITTED", "balance")],
        [("NOT_PERMITTED", "balance")],
        [],
    ]
    # What somebody else has prepared needs the same permissions of whoever runs it.
    prepared = await counter.checked(body)
    assert faults(await counter.run(prepared, staff)) == [
        ("NOT_PERMITTED", "input.importId"),
        ("NOT_PERMITTED", "input.importId"),
    ]
    assert faults(await counter.begin(body, staff, operatorId=ids.encode("opr", reseller.id), createPackages=True)) == [
        ("NOT_PERMITTED", "input.createPackages"),
        ("NOT_PERMITTED", "input.operatorId"),
    ]
    # Of a reseller's tree only what somebody of it has begun; of another house nothing at all.
    for stranger in (reseller, other_house.admin):
        assert faults(await counter.run(prepared, stranger)) == [("NOT_FOUND", "input.importId")]
        document = "query ($id: ID!) { node(id: $id) { id } customerImports { totalCount } }"
        data = await counter.api.data(document, stranger, id=prepared["id"])
        assert data == {"node": None, "customerImports": {"totalCount": 0}}
    own = await counter.begin(sheet([person(9)]), reseller)
    await counter.work(own["job"])
    document = "{ customerImports { totalCount nodes { newCount } } jobs { nodes { kind } } }"
    data = await counter.api.data(document, reseller)
    assert data["customerImports"] == {"totalCount": 1, "nodes": [{"newCount": 1}]}
    assert data["jobs"]["nodes"] == [{"kind": "import.check"}]
    # Who is somebody else's customer already is not made again, and nothing of the customer is told.
    await counter.work((await counter.run(prepared))["job"])
    theirs = await counter.checked(sheet([person(3, username="x")]), reseller)
    (row,) = (await counter.read(theirs, reseller))["rows"]["nodes"]
    assert (row["outcome"], row["customer"], row["statusHere"], row["balanceHere"]) == ("UNCHANGED", None, None, None)
    assert (row["differs"], theirs["reconciliation"]["customersHere"]) == (True, 0)
    assert (await counter.read(theirs))["reconciliation"]["customersHere"] == 1
    accountant = await house.operator(Role.ACCOUNTANT)
    answer = await counter.api("{ customerImports { totalCount } }", accountant)
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"


async def test_nobody_reads_a_password(counter: Counter) -> None:
    begun = await counter.begin(sheet([person(1), person(2, mobile="")]))
    await _nowhere(counter, "secret 1", "secret 2", "017120")
    await counter.work(begun["job"])
    await _nowhere(counter, "secret 1", "secret 2")
    ran = await counter.run(await counter.read(begun["customerImport"]))
    await counter.work(ran["job"])
    await _nowhere(counter, "secret 1", "secret 2")


async def test_what_nobody_runs_is_given_up(counter: Counter, moved_clock: None) -> None:
    found = await counter.checked(sheet([person(1)]))
    tenant, days = counter.house.tenant.id, records.KEPT.days
    for after, status in ((days - 1, "CHECKED"), (days + 1, "FAILED")):
        clock.set_clock((clock.now() + timedelta(days=after)).isoformat())
        await counter.house.database.run(tenant, lambda session: records.clean(session, tenant))
        assert (await counter.read(found))["status"] == status
        clock.set_clock("")
    async with counter.house.database.read(tenant) as session:
        assert await session.scalar(select(func.count()).where(ImportRow.password.is_not(None))) == 0
    assert faults(await counter.run(found)) == [("INVALID_STATE", "input.importId")]


async def _nowhere(counter: Counter, *words: str) -> None:
    async with counter.house.database.read(counter.house.tenant.id) as session:
        for table in ("customer_imports", "import_chunks", "import_rows", "jobs", "services", "audit_entries"):
            rows = list(await session.scalars(text(f"SELECT x::text FROM {table} x")))
            assert rows or table in ("services", "import_rows", "import_chunks")
            assert not [row for row in rows if any(word in row for word in words)]


async def test_a_run_that_is_broken_off_goes_on(
    counter: Counter, monkeypatch: pytest.MonkeyPatch, owner: Database
) -> None:
    monkeypatch.setattr(making, "CHUNK", 3)
    whole, parts = making.make, 0

    async def dies(*given: Any) -> int:
        nonlocal parts
        parts += 1
        if parts == 3:
            raise asyncio.CancelledError
        return await whole(*given)

    found = await counter.checked(sheet([person(number, balance="1") for number in range(10)]))
    begun = await counter.run(found)
    monkeypatch.setattr(making, "make", dies)
    await counter.work(begun["job"])
    between = await counter.read(found)
    assert (between["status"], counts(between)) == ("RUNNING", {"rowCount": 10, "newCount": 4, "createdCount": 6})
    await counter.work(begun["job"])
    done = await counter.read(found)
    assert (done["status"], counts(done)) == ("DONE", {"rowCount": 10, "createdCount": 10})
    assert done["reconciliation"]["balanceHere"]["amount"] == "10.00"
    async with counter.house.database.read(counter.house.tenant.id) as session:
        assert await session.scalar(select(func.count()).select_from(Customer)) == 10
    await sound(owner)


async def test_who_was_quicker_has_the_name(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    found = await counter.checked(sheet([person(1), person(2), person(3)]))
    late = await counter.checked(sheet([person(2, external_id="another")]), label="other")
    begun = await counter.run(found)
    await counter.work((await counter.run(late))["job"])
    whole, looks = staging.compare_again, 0

    async def blind(*given: Any) -> None:
        # As if the other one had been made just after it was looked for.
        nonlocal looks
        looks += 1
        if looks > 1:
            await whole(*given)

    monkeypatch.setattr(staging, "compare_again", blind)
    await counter.work(begun["job"])
    done = await counter.read(found, outcome=["CONFLICT"])
    assert (looks > 1, counts(done)) == (True, {"rowCount": 3, "createdCount": 2, "conflictCount": 1})
    assert [(row["number"], told(row)) for row in done["rows"]["nodes"]] == [(3, [("TAKEN", "username")])]


async def test_packages_of_the_source_and_what_its_reader_says(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    terms = {"price": "19.90", "download_kbps": "50000", "upload_kbps": "10000"}

    def read(file: BinaryIO, _layout: Layout) -> Iterator[Plan | Row | Problem]:
        yield Row(1, person(1, package="weekly 50"))
        yield Row(2, person(2, package="Broken"))
        yield Row(3, person(3))
        yield Problem(3, "password", "This password is a hash.")
        yield Problem(4, None, "This line is no row.")
        yield Plan(1, {"name": "Weekly 50", "validity_days": "7", **terms})
        yield Plan(2, {"name": "Broken", **terms, "price": "cheap"})
        yield Plan(3, {"name": "home 20", **terms})

    assert set(sources.READERS) == set(ImportSource)
    monkeypatch.setitem(sources.READERS, ImportSource.CSV, read)  # type: ignore[misc]
    left = await counter.checked(b"x")
    assert counts(left) == {"rowCount": 4, "faultyCount": 4}
    found = await counter.checked(b"x", createPackages=True)
    assert [(each["name"], each["outcome"], each["problem"] is None) for each in found["packages"]] == [
        ("Weekly 50", "NEW", True),
        ("Broken", "FAULTY", False),
        ("home 20", "HERE", True),
    ]
    rows = (await counter.read(found))["rows"]["nodes"]
    assert [(row["outcome"], told(row)) for row in rows] == [
        ("NEW", []),
        ("FAULTY", [("NOT_FOUND", "package")]),
        ("FAULTY", [("INVALID", "password")]),
        ("FAULTY", [("INVALID", None)]),
    ]
    await counter.work((await counter.run(found))["job"])
    _, service = await counter.person("Customer 1")
    async with counter.house.database.read(counter.house.tenant.id) as session:
        package = await session.get_one(Package, service.package_id)
    assert (package.name, package.price_minor, package.billing_cycle.value) == ("Weekly 50", 1_990, "WEEKLY")


async def test_on_a_router_each_has_a_job(counter: Counter) -> None:
    router = await counter.house.router()
    found = await counter.made(sheet([person(1), person(2)]), routerId=ids.encode("rtr", router.id))
    assert counts(found) == {"rowCount": 2, "createdCount": 2}
    async with counter.house.database.read(counter.house.tenant.id) as session:
        kinds = await session.scalars(select(Job.kind).where(Job.router_id == router.id))
        assert list(kinds) == ["service.provision"] * 2
    _, service = await counter.person("Customer 1")
    assert (service.router_id, service.provisioning) == (router.id, ProvisioningState.PENDING)

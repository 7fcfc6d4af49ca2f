"""Customers taken over from another system: checked, made once, and compared."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text

from ispgraph import clock
from ispgraph.actors import imports as actors
from ispgraph.db import Database
from ispgraph.domain.models import (
    AuditEntry,
    Customer,
    ImportChunk,
    ImportRow,
    Invoice,
    Job,
    ProvisioningState,
    Role,
    Service,
    ServiceMac,
)
from tests.billing.changing import sound
from tests.factories import House
from tests.imports.counter import Counter, counts, person, sheet, told
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
    six, service = await counter.person("Customer 6")
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
        "customersSource": 6,
        "customersHere": 6,
        "balanceSource": {"amount": "45.50"},
        "balanceHere": {"amount": "45.50"},
        "activeSource": 2,
        "activeHere": 2,
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


assert asyncio and timedelta and pytest and clock and Any and actors and Job and Role and Service and House

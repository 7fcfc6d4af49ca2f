"""Taking an import back: who is deleted, who is terminated, and who is left alone."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import func, select

from ispgraph import ids
from ispgraph.db import Database
from ispgraph.domain.imports import undoing
from ispgraph.domain.models import (
    Customer,
    CustomerOrigin,
    CustomField,
    CustomFieldType,
    CustomFieldValue,
    Invoice,
    Role,
    Service,
)
from tests.billing.changing import sound
from tests.imports.counter import Counter, counts, person, sheet
from tests.wizard import faults

PAY = """mutation ($input: InvoicePaymentInput!) { invoiceRecordPayment(input: $input) { errors { code message } } }"""
RENAME = """mutation ($id: ID!) { customerUpdate(input: {customerId: $id, name: "Renamed"}) { errors { code } } }"""


async def test_only_what_nobody_has_touched_is_taken_back(
    counter: Counter, owner: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(undoing, "CHUNK", 2)
    rows = [
        person(1, email="one@example.net"),
        person(2, balance="30", account_number="OLD-2", email="two@example.net"),
        person(3, balance="-40", mac_address="aa:bb:cc:00:00:03"),
        person(4, balance="-40"),
        person(5),
        person(6, connection_type="HOTSPOT", mac_address="aa:bb:cc:00:00:06"),
        person(7),
    ]
    body = sheet(rows)
    found = await counter.made(body)
    assert counts(await counter.checked(body))["unchangedCount"] == 7
    four, _ = await counter.person("Customer 4")
    five, _ = await counter.person("Customer 5")
    async with counter.house.database.read(counter.house.tenant.id) as session:
        debt = (await session.scalars(select(Invoice.id).where(Invoice.customer_id == four.id))).one()
    given = {"invoiceId": ids.encode("inv", debt), "amount": "40", "method": "CASH"}
    assert (await counter.api.data(PAY, counter.house.admin, input=given))["invoiceRecordPayment"]["errors"] == []
    await counter.api.data(RENAME, counter.house.admin, id=ids.encode("cus", five.id))

    seven, _ = await counter.person("Customer 7")
    fields = {"key": "x", "label": "X", "type": CustomFieldType.TEXT}
    field = CustomField(id=ids.uuid7(), **fields)
    # As what nobody has thought of would refer to a customer.
    await counter.house.add(field, CustomFieldValue(customer_id=seven.id, field_id=field.id, value="x"))

    staff = await counter.house.operator(Role.STAFF)
    refused = await counter.api(
        "mutation ($id: ID!) { customerImportUndo(input: {importId: $id, expectedCount: 7}) { errors { code } } }",
        staff,
        id=found["id"],
    )
    assert refused["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert faults(await counter.undo(found, expectedCount=5)) == [("INVALID", "input.expectedCount")]
    begun = await counter.undo(found, idempotencyKey="k")
    assert (await counter.undo(found, idempotencyKey="k"))["job"] == begun["job"]
    assert faults(await counter.undo(found)) == [("INVALID_STATE", "input.importId")]
    whole, parts = undoing.undo, 0

    async def dies(*given: Any) -> int:
        nonlocal parts
        parts += 1
        if parts == 2:
            raise asyncio.CancelledError
        return await whole(*given)

    monkeypatch.setattr(undoing, "undo", dies)
    await counter.work(begun["job"])
    await counter.work(begun["job"])
    done = await counter.read(found)
    assert (done["status"], counts(done)) == (
        "UNDONE",
        {"rowCount": 7, "removedCount": 2, "terminatedCount": 2, "keptCount": 3},
    )
    kept = (await counter.read(found, outcome=["KEPT"]))["rows"]["nodes"]
    assert [(row["number"], [each["message"] for each in row["faults"]]) for row in kept] == [
        (5, ["The customer has 1 payment.", "The customer has 1 ledger entry.", "The customer was changed since."]),
        (6, ["The customer was changed since."]),
        (8, ["Something else refers to this customer."]),
    ]
    async with counter.house.database.read(counter.house.tenant.id) as session:
        people = {row.name: row for row in await session.scalars(select(Customer))}
        assert set(people) == {"Customer 2", "Customer 3", "Customer 4", "Renamed", "Customer 7"}
        two = people["Customer 2"]
        assert (two.status.value, two.email, two.account_number != "OLD-2") == ("TERMINATED", None, True)
        names = set(await session.scalars(select(Service.username)))
        assert names == {"user4", "user5", "user7"}
        assert await session.scalar(select(func.count()).select_from(CustomerOrigin)) == 3
    balances = await counter.api.data(
        "{ customers(first: 10) { nodes { name balance { amount } } } }", counter.house.admin
    )
    assert {each["name"]: each["balance"]["amount"] for each in balances["customers"]["nodes"]} == {
        "Customer 2": "0.00",
        "Customer 3": "0.00",
        "Customer 4": "0.00",
        "Renamed": "0.00",
        "Customer 7": "0.00",
    }
    await sound(owner)
    # Whoever was taken back can come again; whoever was kept is here.
    again = await counter.made(body)
    assert counts(again) == {"rowCount": 7, "unchangedCount": 3, "createdCount": 4}
    await sound(owner)

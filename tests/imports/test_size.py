"""A file of fifty thousand customers: what it comes to, and what it takes."""

import asyncio
import csv
import io
import resource
import time

import pytest
from sqlalchemy import func, select

from ispgraph.db import Database
from ispgraph.domain.models import Customer, CustomerBalance
from tests.billing.changing import sound
from tests.imports.counter import Counter, counts, person

ROWS = 50_000
MEGABYTES = 100


def _rows(first: int, many: int) -> bytes:
    """Of a hundred rows one has no telephone number, one a balance that is none; three have money, two owe some."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, [*person(0), "balance", "street", "city"])
    writer.writeheader()
    for number in range(first, first + many):
        place = number % 100
        balance = {1: "ten", 2: "10.00", 3: "20.50", 4: "0.01", 5: "-7.25", 6: "-100"}.get(place, "0")
        given = {"mobile": ""} if place == 0 else {}
        writer.writerow(person(number, balance=balance, street=f"{number} High Street", city="Dhaka", **given))
    return out.getvalue().encode()


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.long
async def test_fifty_thousand_customers(counter: Counter, owner: Database) -> None:
    body = await asyncio.to_thread(_rows, 0, ROWS)
    # What the first import brings into memory, such as the tables of telephone numbers, is there for all.
    await counter.made(_rows(1_000_000, 1_000), label="small")
    before, began = _peak(), time.monotonic()
    dry = await counter.checked(body)
    read = time.monotonic()
    assert counts(dry) == {"rowCount": ROWS, "newCount": ROWS * 98 // 100, "faultyCount": ROWS * 2 // 100}
    begun = await counter.run(dry)
    await counter.work(begun["job"])
    made = time.monotonic()
    done = await counter.read(dry)
    assert counts(done) == {"rowCount": ROWS, "createdCount": ROWS * 98 // 100, "faultyCount": ROWS * 2 // 100}
    grown = _peak() - before
    sides = done["reconciliation"]
    hundreds = ROWS // 100
    total = f"{(30.51 - 107.25) * hundreds:.2f}"
    assert (sides["balanceSource"]["amount"], sides["balanceHere"]["amount"]) == (total, total)
    assert (sides["customersSource"], sides["customersHere"], sides["equal"]) == (ROWS, ROWS * 98 // 100, False)
    differing = await counter.read(dry, differs=True, first=1)
    assert differing["rows"]["totalCount"] == ROWS * 2 // 100
    # A second run changes nothing.
    again = await counter.made(body)
    assert counts(again) == {"rowCount": ROWS, "unchangedCount": ROWS * 98 // 100, "faultyCount": ROWS * 2 // 100}
    async with counter.house.database.read(counter.house.tenant.id) as session:
        assert await session.scalar(select(func.count()).select_from(Customer)) == ROWS * 98 // 100 + 980
        owing = select(func.count()).where(CustomerBalance.receivable_minor > 0)
        assert await session.scalar(owing) == hundreds * 2 + 20
    await sound(owner)
    undoing = time.monotonic()
    await counter.work((await counter.undo(done))["job"])
    undone = time.monotonic()
    assert counts(await counter.read(done)) == {
        "rowCount": ROWS,
        "faultyCount": hundreds * 2,
        "removedCount": hundreds * 93,
        "terminatedCount": hundreds * 5,
    }
    print(f"undone in {undone - undoing:.0f} s")  # noqa: T201
    print(f"{ROWS} rows: read in {read - began:.0f} s, made in {made - read:.0f} s, {grown:.0f} MB more")  # noqa: T201
    assert grown < MEGABYTES
    await sound(owner)

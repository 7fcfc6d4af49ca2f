"""Another package on a day to come: kept, replaced, taken back, and carried out once when the day begins."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import update

from ispgraph import clock, scheduler
from ispgraph.db import Database
from ispgraph.domain.models import AuditEntry, Package
from tests.api import Api
from tests.billing.changing import CANCEL, Buyer, faults, figures, sound
from tests.factories import House

pytestmark = pytest.mark.usefixtures("moved_clock")


@pytest.fixture
async def buyer(api: Api, house: House) -> Buyer:
    """Home 20 for 310.00 a month, bought and paid on 1 January."""
    package = await house.package(price_minor=31_000)
    return await Buyer.enrolled(api, house, package, at="2026-01-01T04:00:00Z", pays="310")


async def requests(buyer: Buyer) -> list[tuple[str, str, str | None]]:
    """Every request: to what, how it stands, and why; the latest first."""
    nodes = (await buyer.history())["packageChanges"]["nodes"]
    return [(row["toPackage"]["name"], row["status"], row["message"]) for row in nodes]


async def cancel(buyer: Buyer, key: str) -> dict[str, Any]:
    payload: dict[str, Any] = (await buyer.api.data(CANCEL, buyer.house.admin, id=key))["packageChangeCancel"]
    return payload


async def test_it_is_carried_out_when_the_day_begins_there(buyer: Buyer, owner: Database) -> None:
    better = await buyer.house.package("Home 50", price_minor=62_000)
    quote = await buyer.quote(better, "2026-01-22")
    # Ten of 31 days are left on the 22nd.
    assert figures(quote) == ("100.00", "200.00", "0.00", "100.00")
    assert quote["effectiveAt"] == "2026-01-21T18:00:00Z"
    done = await buyer.change(better, effectiveOn="2026-01-22", quoteToken=quote["token"])
    assert (done["errors"], done["invoice"], done["jobs"]) == ([], None, [])
    assert done["customer"]["service"]["package"]["name"] == "Home 20"
    # The price of the day counts, not that of the request.
    async with owner.transaction(buyer.house.tenant.id) as session:
        await session.execute(update(Package).where(Package.id == better.id).values(price_minor=93_000))
    clock.set_clock("2026-01-21T17:59:00Z")
    await scheduler.change_packages(buyer.house.database)
    assert await requests(buyer) == [("Home 50", "SCHEDULED", None)]
    clock.set_clock("2026-01-21T18:00:10Z")
    await asyncio.gather(*(scheduler.change_packages(buyer.house.database) for _ in range(4)))
    assert await requests(buyer) == [("Home 50", "APPLIED", None)]
    state = await buyer.state()
    assert [(row["number"], row["total"]["amount"]) for row in state["invoices"]["nodes"]] == [
        ("INV-2026-000002", "200.00"),
        ("INV-2026-000001", "310.00"),
    ]
    assert state["service"]["package"]["name"] == "Home 50"
    async with owner.read(buyer.house.tenant.id) as session:
        entries = await session.scalars(
            AuditEntry.__table__.select().with_only_columns(AuditEntry.action).order_by(AuditEntry.id)
        )
        assert list(entries)[-2:] == ["customer.plan_package", "customer.change_package"]
    await sound(owner)


async def test_a_newer_request_takes_the_place_of_one_that_waits(buyer: Buyer) -> None:
    one, other = await buyer.house.package("One"), await buyer.house.package("Other")
    await buyer.change(one, effectiveOn="2026-01-20")
    await buyer.change(other, effectiveOn="2026-01-19")
    replaced = "Another request took its place."
    assert await requests(buyer) == [("Other", "SCHEDULED", None), ("One", "CANCELLED", replaced)]
    await buyer.change(one)
    assert await requests(buyer) == [
        ("One", "APPLIED", None),
        ("Other", "CANCELLED", replaced),
        ("One", "CANCELLED", replaced),
    ]


async def test_one_that_waits_can_be_taken_back(buyer: Buyer, other_house: House) -> None:
    await buyer.change(await buyer.house.package("One"), effectiveOn="2026-01-20")
    (entry,) = (await buyer.history())["packageChanges"]["nodes"]
    answer = await buyer.api.data(CANCEL, other_house.admin, id=entry["id"])
    assert faults(answer["packageChangeCancel"]) == [("NOT_FOUND", ["packageChangeId"])]
    assert (await cancel(buyer, entry["id"]))["packageChange"] == {"status": "CANCELLED"}
    assert faults(await cancel(buyer, entry["id"])) == [("INVALID_STATE", ["packageChangeId"])]
    clock.set_clock("2026-01-20T10:00:00Z")
    await scheduler.change_packages(buyer.house.database)
    assert (await buyer.history())["package"]["name"] == "Home 20"


async def test_what_cannot_be_carried_out_says_why(buyer: Buyer, owner: Database) -> None:
    gone = await buyer.house.package("Gone")
    await buyer.change(gone, effectiveOn="2026-01-20")
    async with owner.transaction(buyer.house.tenant.id) as session:
        await session.execute(update(Package).where(Package.id == gone.id).values(active=False))
    clock.set_clock("2026-01-20T10:00:00Z")
    await scheduler.change_packages(buyer.house.database)
    assert await requests(buyer) == [("Gone", "FAILED", "The package Gone is not sold any more.")]
    assert Decimal((await buyer.state())["wallet"]["amount"]) == 0

"""Another package within a period: every figure written out, tokens that go stale, and what follows in the books."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select, update

from ispgraph import clock, ids
from ispgraph.db import Database
from ispgraph.domain.models import BilledPeriod, BillingCycle, Invoice, Package, Service, ServiceStatus, Tenant
from tests.api import Api
from tests.billing.changing import Buyer, faults, figures, sound, wallet
from tests.factories import House, uuid_of

pytestmark = pytest.mark.usefixtures("moved_clock")
# Ten in the morning of 31 January, in Dhaka.
BEGIN = "2026-01-31T04:00:00Z"


async def charged(buyer: Buyer) -> list[tuple[str, str, int, str]]:
    """The time that is charged, in days of UTC, at what price, and whether it was given back."""
    async with buyer.house.database.read(buyer.house.tenant.id) as session:
        rows = await session.scalars(select(BilledPeriod).order_by(BilledPeriod.starts_at, BilledPeriod.id))
        return [
            (
                f"{row.starts_at:%d %b}",
                f"{row.ends_at:%d %b}",
                row.price_minor,
                "given back" if row.given_back_by_id else "released" if row.released_at else "charged",
            )
            for row in rows
        ]


@pytest.fixture
async def buyer(api: Api, house: House) -> Buyer:
    """Home 20 for 310.00 a month, bought and paid on 31 January."""
    package = await house.package(price_minor=31_000)
    return await Buyer.enrolled(api, house, package, at=BEGIN, pays="310")


async def test_more_within_a_month_is_invoiced(buyer: Buyer, owner: Database) -> None:
    better = await buyer.house.package("Home 50", price_minor=62_000, download_kbps=50_000, upload_kbps=10_000)
    clock.set_clock("2026-02-14T10:00:00Z")
    quote = await buyer.quote(better)
    # 31 January comes back on 28 February: 28 days, of which 14 are left on the 14th.
    assert figures(quote) == ("155.00", "310.00", "0.00", "155.00")
    assert [(line["description"], line["explanation"], line["amount"]["amount"]) for line in quote["lines"]] == [
        (
            "Credit for Home 20, 14 of 28 days, 14 February to 28 February 2026",
            "14 of 28 days of 310.00 USD are not used, without tax.",
            "-155.00",
        ),
        (
            "Home 50, 14 of 28 days, 14 February to 28 February 2026",
            "14 of 28 days of 620.00 USD, without tax.",
            "310.00",
        ),
    ]
    assert quote["nextInvoiceOn"] == "2026-02-28"
    assert quote["warnings"] == []
    rates = [
        next(row["value"] for row in quote[name] if row["attribute"] == "Mikrotik-Rate-Limit")
        for name in ("radiusBefore", "radiusAfter")
    ]
    assert rates == ["5000k/20000k", "10000k/50000k"]
    assert (await buyer.history())["package"]["name"] == "Home 20"

    done = await buyer.change(better, quoteToken=quote["token"], reason=" asked by phone ")
    assert done["errors"] == []
    assert done["invoice"] | {"id": ""} == {
        "id": "",
        "number": "INV-2026-000002",
        "kind": "INVOICE",
        "status": "OPEN",
        "credits": None,
        "total": {"amount": "155.00"},
        "amountDue": {"amount": "155.00"},
        "lines": quote["lines"],
    }
    assert done["customer"]["service"]["package"]["name"] == "Home 50"
    assert done["customer"]["service"]["expiresAt"][:16] == "2026-02-28T04:00"
    assert [job["kind"] for job in done["jobs"]] == ["service.provision"]
    assert await charged(buyer) == [
        ("31 Jan", "14 Feb", 15_500, "charged"),
        ("14 Feb", "28 Feb", 15_500, "given back"),
        ("14 Feb", "28 Feb", 31_000, "charged"),
    ]
    (entry,) = (await buyer.history())["packageChanges"]["nodes"]
    assert (entry["status"], entry["reason"], entry["effectiveOn"]) == ("APPLIED", "asked by phone", "2026-02-14")
    assert (entry["fromPackage"]["name"], entry["toPackage"]["name"]) == ("Home 20", "Home 50")
    assert entry["invoice"]["number"] == "INV-2026-000002"
    await sound(owner)


async def test_less_is_a_credit_note_and_settles_what_is_open(buyer: Buyer, owner: Database) -> None:
    less = await buyer.house.package("Home 5", price_minor=15_500, download_kbps=5_000, upload_kbps=1_000)
    clock.set_clock("2026-02-14T10:00:00Z")
    quote = await buyer.quote(less)
    assert figures(quote) == ("155.00", "77.50", "0.00", "-77.50")
    assert quote["warnings"] == ["Home 5 is slower: 5000/1000 kbit/s in place of 20000/5000 (down/up)."]
    done = await buyer.change(less, quoteToken=quote["token"])
    note = done["invoice"]
    assert (note["number"], note["kind"], note["status"]) == ("CRN-2026-000001", "CREDIT_NOTE", "PAID")
    assert (note["credits"], note["total"]["amount"], note["amountDue"]["amount"]) == (
        {"number": buyer.invoice},
        "-77.50",
        "0.00",
    )
    assert wallet(done) == ("77.50", "77.50")
    assert done["warnings"] == quote["warnings"]
    await sound(owner)


async def test_what_is_given_back_pays_what_is_owed(api: Api, house: House, owner: Database) -> None:
    package = await house.package(price_minor=31_000)
    buyer = await Buyer.enrolled(api, house, package, at=BEGIN, pays="0")
    less = await house.package("Home 5", price_minor=15_500)
    clock.set_clock("2026-02-14T10:00:00Z")
    assert (await buyer.quote(less))["warnings"] == ["The customer owes 310.00 USD."]
    done = await buyer.change(less)
    assert wallet(done) == ("0.00", "-232.50")
    await sound(owner)


async def test_up_and_down_again_nets_to_zero(buyer: Buyer, owner: Database) -> None:
    async with owner.transaction(buyer.house.tenant.id) as session:
        await session.execute(update(Tenant).values(tax_rate=Decimal("7.5")))
    odd = await buyer.house.package("Odd", price_minor=33_333)
    for moment in ("2026-02-13T03:00:00Z", "2026-02-13T11:00:00Z", "2026-02-13T12:30:00Z", "2026-02-13T17:00:00Z"):
        clock.set_clock(moment)
        name = (await buyer.history())["package"]["name"]
        done = await buyer.change(odd if name == "Home 20" else buyer.package)
        assert done["errors"] == []
    # The first month was sold without tax; once changed, the rest of it is with tax.
    credit = 31_000 * 15 // 28 + 1
    taxed = round(credit * Decimal("0.075"))
    assert wallet(done)[1] == f"-{Decimal(taxed) / 100}"
    rows = await charged(buyer)
    assert sum(row[2] for row in rows if row[3] == "charged") == 31_000
    await sound(owner)


async def test_the_same_price_changes_nothing_but_the_package(buyer: Buyer, owner: Database) -> None:
    other = await buyer.house.package("Home 20 night", price_minor=31_000)
    clock.set_clock("2026-02-10T10:00:00Z")
    done = await buyer.change(other)
    assert (done["errors"], done["invoice"], wallet(done)) == ([], None, ("0.00", "0.00"))
    assert await charged(buyer) == [
        ("31 Jan", "10 Feb", 11_071, "charged") if row[0] == "31 Jan" else row for row in await charged(buyer)
    ]
    assert sum(row[2] for row in await charged(buyer) if row[3] == "charged") == 31_000
    await sound(owner)


@pytest.mark.parametrize(
    ("currency", "prices", "begin", "change", "expected"),
    [
        # A leap year: 31 January to 29 February, 29 days.
        ("USD", (29_000, 58_000), "2028-01-31T04:00:00Z", "2028-02-28T04:00:00Z", ("10.00", "20.00", "0.00", "10.00")),
        # From 31 March on it is 30 April: 30 days, 29 of them left on 1 April.
        ("USD", (3_000, 1_500), "2026-03-31T04:00:00Z", "2026-04-01T04:00:00Z", ("29.00", "14.50", "0.00", "-14.50")),
        # No decimals: 1000 yen for 31 days, 10 left: 322.58 and 645.16.
        ("JPY", (1_000, 2_000), "2026-01-01T04:00:00Z", "2026-01-22T04:00:00Z", ("323", "645", "0", "322")),
        # Three of them.
        ("KWD", (10_000, 20_000), "2026-01-01T04:00:00Z", "2026-01-22T04:00:00Z", ("3.226", "6.452", "0.000", "3.226")),
    ],
    ids=["leap", "April", "JPY", "KWD"],
)  # fmt: skip
async def test_calendars_and_currencies(
    api: Api,
    house: House,
    owner: Database,
    currency: str,
    prices: tuple[int, int],
    begin: str,
    change: str,
    expected: tuple[str, ...],
) -> None:
    async with owner.transaction(house.tenant.id) as session:
        await session.execute(update(Tenant).values(currency=currency))
    old, new = [await house.package(f"At {price}", price_minor=price) for price in prices]
    buyer = await Buyer.enrolled(api, house, old, at=begin, pays="0")
    clock.set_clock(change)
    assert figures(await buyer.quote(new)) == expected
    done = await buyer.change(new)
    assert (done["errors"], done["invoice"]["total"]["amount"]) == ([], expected[3])
    await sound(owner)


async def test_days_are_those_of_the_wall_when_the_clocks_change(api: Api, house: House, owner: Database) -> None:
    async with owner.transaction(house.tenant.id) as session:
        await session.execute(update(Tenant).values(time_zone="Europe/Berlin", tax_rate=19, tax_inclusive=True))
    old, new = await house.package(price_minor=3_100), await house.package("Better", price_minor=6_200)
    # From 15 March 10:00 to 15 April 10:00 on the wall; the clocks go forward on the 29th.
    buyer = await Buyer.enrolled(api, house, old, at="2026-03-15T09:00:00Z", pays="31")
    clock.set_clock("2026-03-31T22:30:00Z")
    quote = await buyer.quote(new)
    # Half past midnight of 1 April there: 14 of 31 days are left. 14.00 and 28.00, with 19 % in them.
    assert figures(quote) == ("11.76", "23.53", "2.23", "14.00")
    done = await buyer.change(new, quoteToken=quote["token"])
    assert done["customer"]["service"]["expiresAt"][:16] == "2026-04-15T08:00"
    await sound(owner)


async def test_another_cycle_begins_a_period_now(buyer: Buyer, owner: Database) -> None:
    weekly = await buyer.house.package("Week", price_minor=7_000, billing_cycle=BillingCycle.WEEKLY, validity_days=7)
    clock.set_clock("2026-02-14T10:00:00Z")
    done = await buyer.change(weekly)
    assert done["invoice"]["total"]["amount"] == "-85.00"
    assert done["customer"]["service"]["expiresAt"][:16] == "2026-02-21T10:00"
    assert (await charged(buyer))[-1] == ("14 Feb", "21 Feb", 7_000, "charged")
    # And back: of the week nothing is lost either, the month is charged whole.
    clock.set_clock("2026-02-15T10:00:00Z")
    done = await buyer.change(buyer.package)
    assert done["invoice"]["total"]["amount"] == "250.00"
    assert done["customer"]["service"]["expiresAt"][:10] == "2026-03-15"
    await sound(owner)


async def test_time_that_is_over_begins_anew(buyer: Buyer, owner: Database) -> None:
    async with buyer.house.database.transaction(buyer.house.tenant.id) as session:
        await session.execute(update(Service).values(status=ServiceStatus.EXPIRED))
    better = await buyer.house.package("Home 50", price_minor=62_000)
    clock.set_clock("2026-03-03T10:00:00Z")
    quote = await buyer.quote(better)
    assert figures(quote) == ("0.00", "620.00", "0.00", "620.00")
    assert "Auth-Type" in [row["attribute"] for row in quote["radiusBefore"]]
    assert "Auth-Type" not in [row["attribute"] for row in quote["radiusAfter"]]
    done = await buyer.change(better, quoteToken=quote["token"])
    assert done["customer"]["service"]["status"] == done["customer"]["status"] == "ACTIVE"
    assert done["customer"]["service"]["expiresAt"][:10] == "2026-04-03"
    await sound(owner)


async def test_who_waits_for_the_first_payment_gets_another_first_bill(api: Api, house: House, owner: Database) -> None:
    async with owner.transaction(house.tenant.id) as session:
        await session.execute(update(Tenant).values(pending_until_paid=True))
    package = await house.package(price_minor=31_000)
    buyer = await Buyer.enrolled(api, house, package, at=BEGIN, pays="0")
    better = await house.package("Home 50", price_minor=62_000)
    clock.set_clock("2026-02-10T04:00:00Z")
    done = await buyer.change(better)
    assert (done["errors"], done["invoice"]["total"]["amount"], wallet(done)) == ([], "310.00", ("0.00", "-620.00"))
    assert done["customer"]["service"] | {"id": ""} == {
        "id": "",
        "status": "PENDING",
        "expiresAt": None,
        "autoRenew": False,
        "package": {"name": "Home 50"},
    }
    assert [row[2:] for row in await charged(buyer)] == [(31_000, "given back"), (62_000, "charged")]
    await sound(owner)


async def adjust(buyer: Buyer, amount: str) -> None:
    """Put so much into the wallet, or take it out."""
    document = "mutation ($input: AdjustBalanceInput!) { customerAdjustBalance(input: $input) { errors { code } } }"
    given = {"customerId": buyer.customer, "amount": amount, "reason": "Goodwill"}
    done = await buyer.api.data(document, buyer.house.admin, input=given)
    assert done["customerAdjustBalance"]["errors"] == []


STALE = [("QUOTE_STALE", ["input", "quoteToken"])]


async def test_a_quote_is_stale_when_anything_has_moved(buyer: Buyer, owner: Database) -> None:
    better = await buyer.house.package("Home 50", price_minor=62_000)
    other = await buyer.house.package("Home 80", price_minor=62_000)
    clock.set_clock("2026-02-14T10:00:00Z")
    token = (await buyer.quote(better))["token"]

    async def stale_after(kind: Any, **values: Any) -> None:
        async with owner.transaction(buyer.house.tenant.id) as session:
            before = {name: await session.scalar(select(getattr(kind, name)).limit(1)) for name in values}
            await session.execute(update(kind).values(**values))
        assert faults(await buyer.change(better, quoteToken=token)) == STALE
        async with owner.transaction(buyer.house.tenant.id) as session:
            await session.execute(update(kind).values(**before))

    assert faults(await buyer.change(other, quoteToken=token)) == STALE
    assert faults(await buyer.change(better, quoteToken=token, effectiveOn="2026-02-15")) == STALE
    assert faults(await buyer.change(better, quoteToken=token[:-1] + ("0" if token[-1] != "0" else "1"))) == STALE
    for broken in ("", "x", "٣.ab", "9" * 40 + ".00", token.partition(".")[2]):
        assert faults(await buyer.change(better, quoteToken=broken)) == STALE
    await stale_after(Tenant, tax_rate=Decimal(15))
    await stale_after(Tenant, tax_inclusive=True)
    await stale_after(Service, desired_version=9)
    await stale_after(Service, expires_at=datetime(2026, 2, 27, tzinfo=UTC))
    async with owner.transaction(buyer.house.tenant.id) as session:
        await session.execute(update(Package).where(Package.id == better.id).values(price_minor=62_001))
    assert faults(await buyer.change(better, quoteToken=token)) == STALE
    async with owner.transaction(buyer.house.tenant.id) as session:
        await session.execute(update(Package).where(Package.id == better.id).values(price_minor=62_000))
    clock.set_clock("2026-02-14T10:16:00Z")
    assert faults(await buyer.change(better, quoteToken=token)) == STALE
    clock.set_clock("2026-02-14T10:14:00Z")
    await adjust(buyer, "1")
    assert faults(await buyer.change(better, quoteToken=token)) == STALE
    await adjust(buyer, "-1")
    assert (await buyer.history())["packageChanges"]["totalCount"] == 0
    assert (await buyer.change(better, quoteToken=token))["errors"] == []


async def test_what_cannot_be_is_refused(buyer: Buyer) -> None:
    gone = await buyer.house.package("Gone", active=False)
    hotspot = await buyer.house.package("Hotspot", connection_types=["HOTSPOT"])
    better = await buyer.house.package("Home 50", price_minor=62_000)
    at = ["input", "packageId"]
    assert faults(await buyer.change(buyer.package)) == [("NO_CHANGE", at)]
    assert faults(await buyer.change(gone)) == [("INVALID_STATE", at)]
    assert faults(await buyer.change(hotspot)) == [("INVALID", at)]
    for day in ("2026-01-30", "2027-02-02"):
        assert faults(await buyer.change(better, effectiveOn=day)) == [("INVALID", ["input", "effectiveOn"])]
    assert faults(await buyer.change(better, reason="x" * 501)) == [("INVALID", ["input", "reason"])]
    assert faults(await buyer.change(better, serviceId="svc_" + "0" * 32)) == [("NOT_FOUND", ["input", "serviceId"])]
    missing = {"customerId": buyer.customer, "packageId": "pkg_" + "0" * 32}
    answer = await buyer.api(
        "query ($customerId: ID!, $packageId: ID!) { changePackageQuote(customerId: $customerId, packageId: $packageId)"
        " { token } }",
        buyer.house.admin,
        **missing,
    )
    assert answer["errors"][0]["extensions"] == {"code": "BAD_REQUEST", "field": ["packageId"]}
    async with buyer.house.database.transaction(buyer.house.tenant.id) as session:
        await session.execute(update(Service).values(status=ServiceStatus.TERMINATED))
    assert faults(await buyer.change(better)) == [("INVALID_STATE", ["input", "customerId"])]
    assert (await buyer.history())["packageChanges"]["totalCount"] == 0


async def test_a_repeated_request_changes_once(buyer: Buyer) -> None:
    better = await buyer.house.package("Home 50", price_minor=62_000)
    first = await buyer.change(better, idempotencyKey="k1")
    again = await buyer.change(better, idempotencyKey="k1")
    assert (again["errors"], again["invoice"]["id"], again["jobs"]) == ([], first["invoice"]["id"], first["jobs"])
    other = await buyer.house.package("Home 80", price_minor=62_000)
    assert faults(await buyer.change(other, idempotencyKey="k1")) == [
        ("IDEMPOTENCY_KEY_REUSED", ["input", "idempotencyKey"])
    ]


async def test_of_two_changes_at_once_each_counts_from_the_other(buyer: Buyer, owner: Database) -> None:
    packages = [await buyer.house.package(f"Home {n}", price_minor=31_000 + 7 * n) for n in range(4)]
    clock.set_clock("2026-02-14T10:00:00Z")
    done = await asyncio.gather(*(buyer.change(package) for package in packages))
    assert [one["errors"] for one in done] == [[]] * 4
    history = (await buyer.history())["packageChanges"]["nodes"]
    followed = [(row["fromPackage"]["name"], row["toPackage"]["name"]) for row in reversed(history)]
    assert [before for before, _ in followed] == ["Home 20", *(after for _, after in followed[:-1])]
    rows = [row for row in await charged(buyer) if row[3] == "charged"]
    # Whatever the order: half of the old month, and half of that of the last.
    last = next(package for package in packages if package.name == followed[-1][1])
    assert sum(row[2] for row in rows) == 15_500 + (last.price_minor + 1) // 2
    await sound(owner)


@pytest.mark.parametrize("rounds", [3, pytest.param(100, marks=pytest.mark.long)])
async def test_change_and_change_at_once(buyer: Buyer, owner: Database, rounds: int) -> None:
    shelf = [
        buyer.package,
        *[await buyer.house.package(f"At {price}", price_minor=price) for price in (61_999, 47_003)],
    ]
    begin = datetime.fromisoformat(BEGIN)
    for number in range(rounds):
        # Within one month, from its second day on.
        now = begin + timedelta(days=1, hours=6 * number)
        clock.set_clock(now.isoformat())
        had = (await buyer.history())["package"]["name"]
        wanted = [package for package in shelf if package.name != had]
        barrier = asyncio.Barrier(2)

        async def change(package: Package, barrier: asyncio.Barrier = barrier) -> dict[str, Any]:
            await barrier.wait()
            return await buyer.change(package)

        done = await asyncio.gather(*(change(package) for package in wanted))
        assert [one["errors"] for one in done] == [[], []]
        # One after the other, whichever came first, and each from what the other has left.
        newest = (await buyer.history())["packageChanges"]["nodes"][:2]
        last, first = [(row["fromPackage"]["name"], row["toPackage"]["name"]) for row in newest]
        assert (first[0], first[1]) == (had, last[0])
        assert {first[1], last[1]} == {package.name for package in wanted}
        async with buyer.house.database.read(buyer.house.tenant.id) as session:
            every = (await session.scalars(select(BilledPeriod).order_by(BilledPeriod.starts_at))).all()
            asked = (await session.scalars(select(func.sum(Invoice.total_minor)))).one()
            serves = (await session.get_one(Service, uuid_of(buyer.service))).package_id
        rows = [row for row in every if row.released_at is None]
        assert [row.ends_at for row in rows[:-1]] == [row.starts_at for row in rows[1:]]
        assert (rows[-1].package_id, rows[-1].ends_at >= now) == (serves, True)
        assert sum(row.price_minor for row in rows) == asked
    await sound(owner)


async def test_another_house_sees_nothing(buyer: Buyer, other_house: House) -> None:
    better = await buyer.house.package("Home 50", price_minor=62_000)
    await buyer.change(better)
    (entry,) = (await buyer.history())["packageChanges"]["nodes"]
    document = "query ($id: ID!) { node(id: $id) { id } }"
    assert (await buyer.api.data(document, buyer.house.admin, id=entry["id"]))["node"] == {"id": entry["id"]}
    assert (await buyer.api.data(document, other_house.admin, id=entry["id"]))["node"] is None
    assert ids.encode("pch", uuid_of(entry["id"])) == entry["id"]

"""Customers out of the databases of other systems: checked, made, held against the source, and taken back."""

import gzip
from typing import Any

from sqlalchemy import func, select, update

from ispgraph.domain.models import Customer, CustomerImport, ImportChunk, ImportRow
from tests.imports import nuxbill, radius
from tests.imports.counter import Counter, counts, public, told
from tests.imports.dumps import Tables, mysql_dump
from tests.imports.nuxbill import customer, recharge
from tests.wizard import faults

NUXBILL: Tables = nuxbill.TABLES | {
    "tbl_plans": (nuxbill.PLANS, [nuxbill.PLAN_ROWS[0], nuxbill.PLAN_ROWS[3], nuxbill.PLAN_ROWS[5]]),
    "tbl_customers": (
        nuxbill.CUSTOMERS,
        [
            nuxbill.CUSTOMER_ROWS[0],
            customer(2, "karim", "secret2", service_type="Hotspot", balance="-40.25"),
            customer(3, "nobody", "secret3"),
            customer(4, "banned", "secret4", status="Banned", service_type="PPPoE", balance="10.00"),
            customer(5, "over", "secret5", service_type="PPPoE"),
        ],
    ),
    "tbl_user_recharges": (
        nuxbill.RECHARGES,
        [
            recharge(1, 1, "rahim", (1, "Home 10M"), "2999-12-21 14:30:05"),
            recharge(2, 2, "karim", (6, "Hotspot day"), "2026-11-01 23:59:59", status="off", type="Hotspot"),
            recharge(3, 4, "banned", (1, "Home 10M"), "2999-12-31 08:00:00"),
            recharge(4, 5, "over", (1, "Home 10M"), "2026-11-02 08:00:00"),
        ],
    ),
}
DALORADIUS: Tables = radius.DALORADIUS | {
    "radcheck": (
        radius.DALORADIUS["radcheck"][0],
        radius.numbered(
            [
                ("rahim", "Cleartext-Password", ":=", "it's"),
                ("rahim", "Expiration", ":=", "21 Dec 2999 14:30:05"),
                ("rahim", "Calling-Station-Id", "==", "aa-bb-cc-00-11-22"),
                ("stopped", "User-Password", "==", "old"),
                ("AA:BB:CC:00:44:55", "Auth-Type", ":=", "Accept"),
                ("over", "Cleartext-Password", ":=", "x"),
                ("over", "Expiration", ":=", "Jan 5 2026"),
            ]
        ),
    ),
    "radreply": (radius.DALORADIUS["radreply"][0], radius.REPLY[:2]),
    "radusergroup": (
        radius.DALORADIUS["radusergroup"][0],
        radius.numbered([("stopped", "daloRADIUS-Disabled-Users", 0), ("stopped", "fast", 1), ("over", "fast", 1)]),
    ),
    "userinfo": (radius.DALORADIUS["userinfo"][0], radius.INFO_ROWS[:1]),
    "userbillinfo": (radius.DALORADIUS["userbillinfo"][0], radius.BILL_ROWS[:1]),
}


async def here(counter: Counter) -> int:
    async with counter.house.database.read(counter.house.tenant.id) as session:
        return await session.scalar(select(func.count()).select_from(Customer)) or 0


async def taken_back(counter: Counter, done: dict[str, Any]) -> dict[str, Any]:
    begun = await counter.undo(done)
    assert begun["errors"] == []
    await counter.work(begun["job"])
    return await counter.read(done)


async def test_customers_of_phpnuxbill(counter: Counter) -> None:
    body = gzip.compress(mysql_dump(NUXBILL))
    given = {"source": "PHPNUXBILL", "createPackages": True, "packageId": public(counter.package)}
    given |= {"mobile": "01711999999", "label": "panel"}
    dry = await counter.checked(body, **given)
    assert (dry["status"], counts(dry), await here(counter)) == ("CHECKED", {"rowCount": 5, "newCount": 5}, 0)
    assert [(each["name"], each["outcome"]) for each in dry["packages"]] == [
        ("Home 10M", "NEW"),
        ("Hotspot day", "NEW"),
    ]
    assert (dry["reconciliation"]["differing"], dry["reconciliation"]["equal"]) == (
        ["CUSTOMERS", "BALANCE", "ACTIVE"],
        False,
    )

    done = await counter.made(body, **given)
    assert counts(done) == {"rowCount": 5, "createdCount": 5}
    sides = {
        **dict.fromkeys(("customersTold", "customersSource", "customersHere"), 5),
        **{key: {"amount": "220.50"} for key in ("balanceTold", "balanceSource", "balanceHere")},
        # Of the two whom the source calls active the time of one is over.
        **{"activeTold": 2, "activeSource": 1, "activeHere": 1, "lapsedSource": 1, "differing": [], "equal": True},
    }
    assert done["reconciliation"] == sides
    rahim, service = await counter.person("রহিম উদ্দিন 😀")
    assert (service.username, counter.password(service), str(service.ip_address)) == (
        "rahim-net",
        'net"pass\\',
        "10.64.0.9",
    )
    assert (rahim.status.value, rahim.mobile, rahim.city) == ("ACTIVE", "+8801711000001", "ঢাকা")
    assert (await counter.person("Example 4"))[0].status.value == "SUSPENDED"
    assert (await counter.person("Example 5"))[0].status.value == "EXPIRED"

    again = await counter.made(body, **given)
    assert (counts(again), again["reconciliation"]) == ({"rowCount": 5, "unchangedCount": 5}, sides)
    assert await here(counter) == 5
    back = await taken_back(counter, done)
    assert counts(back) == {"rowCount": 5, "removedCount": 2, "terminatedCount": 3}
    found = back["reconciliation"]
    assert (found["differing"], found["balanceHere"], found["activeHere"]) == (
        ["CUSTOMERS", "BALANCE", "ACTIVE"],
        {"amount": "0.00"},
        0,
    )


async def test_customers_of_daloradius(counter: Counter) -> None:
    await counter.house.package("fast")
    body = mysql_dump(DALORADIUS)
    given = {"source": "DALORADIUS", "createPackages": True, "packageId": public(counter.package), "label": "radius"}
    given |= {"mobile": "01711999999", "expiresAt": "2999-01-01T00:00:00Z"}
    gold = await counter.house.package("Gold")
    dry = await counter.checked(body, **given)
    assert (counts(dry), await here(counter)) == ({"rowCount": 4, "newCount": 4}, 0)

    done = await counter.made(body, **given)
    assert counts(done) == {"rowCount": 4, "createdCount": 4}
    sides = {
        **dict.fromkeys(("customersTold", "customersSource", "customersHere"), 4),
        **{key: {"amount": "264.50"} for key in ("balanceTold", "balanceSource", "balanceHere")},
        **{"activeTold": 3, "activeSource": 2, "activeHere": 2, "lapsedSource": 1, "differing": [], "equal": True},
    }
    assert done["reconciliation"] == sides
    _, service = await counter.person("রহিম 😀 O'Uddin")
    assert (service.username, counter.password(service), service.package_id) == ("rahim", "it's", gold.id)
    assert (await counter.person("stopped"))[0].status.value == "SUSPENDED"

    again = await counter.made(body, **given)
    assert (counts(again), again["reconciliation"]) == ({"rowCount": 4, "unchangedCount": 4}, sides)
    assert counts(await taken_back(counter, done)) == {"rowCount": 4, "removedCount": 3, "terminatedCount": 1}


async def test_each_difference_from_the_source_is_named(counter: Counter) -> None:
    hashed = [[9, "hashed", "NT-Password", ":=", "8846F7EAEE8FB117AD06BDD830B7586C"]]
    columns, rows = DALORADIUS["radcheck"]
    # Somebody without a user has attributes, and is no customer.
    _, replies = DALORADIUS["radreply"]
    tables = DALORADIUS | {
        "radcheck": (columns, [*rows, *hashed]),
        "radreply": (columns, [*replies, [9, "ghost", "Framed-IP-Address", ":=", "10.64.0.10"]]),
    }
    for name in ("fast", "Gold"):
        await counter.house.package(name)
    given = {"packageId": public(counter.package), "mobile": "01711999999", "expiresAt": "2999-01-01T00:00:00Z"}
    done = await counter.made(mysql_dump(tables), source="DALORADIUS", **given)
    assert counts(done) == {"rowCount": 6, "createdCount": 4, "faultyCount": 2}
    found = done["reconciliation"]
    assert (found["customersTold"], found["customersSource"], found["customersHere"]) == (5, 5, 4)
    assert (found["activeTold"], found["activeSource"], found["activeHere"], found["lapsedSource"]) == (4, 3, 2, 1)
    assert (found["differing"], found["equal"]) == (["CUSTOMERS", "ACTIVE"], False)
    listed = (await counter.read(done, differs=True))["rows"]["nodes"]
    assert [(row["username"], row["status"]) for row in listed] == [("hashed", "ACTIVE"), (None, None)]
    assert ("INVALID", "password") in told(listed[0])
    assert "cannot be used with CHAP" in listed[0]["faults"][-1]["message"]
    assert "ghost" in listed[1]["faults"][0]["message"]
    # What the tables say counts by itself, and not what was read of them.
    async with counter.house.database.transaction(counter.house.tenant.id) as session:
        await session.execute(update(CustomerImport).values(told_balance_minor=CustomerImport.told_balance_minor + 1))
    found = (await counter.read(done))["reconciliation"]
    assert (found["differing"], found["balanceTold"]) == (["CUSTOMERS", "BALANCE", "ACTIVE"], {"amount": "264.51"})


async def test_a_broken_dump_is_told_of_and_nothing_is_kept(counter: Counter) -> None:
    body = mysql_dump(NUXBILL)
    packed = gzip.compress(body)
    for source, broken, message in (
        ("PHPNUXBILL", body[: body.index(b"INSERT INTO `tbl_user_recharges`") + 60], "not sent to its end"),
        ("PHPNUXBILL", packed[: len(packed) // 2], "packed with gzip, and damaged"),
        ("DALORADIUS", body, "no table radcheck"),
        ("PHPNUXBILL", b"SELECT 1;\n", "no table tbl_customers"),
    ):
        begun = await counter.begin(broken, source=source)
        await counter.work(begun["job"])
        found, job = await counter.read(begun["customerImport"]), await counter.job(begun["job"])
        assert (found["status"], found["rowCount"], job["status"]) == ("FAILED", 0, "FAILED"), found
        assert message in found["problem"]
        assert job["message"] == found["problem"]
        assert faults(await counter.run(found)) == [("INVALID_STATE", "input.importId")]
    async with counter.house.database.read(counter.house.tenant.id) as session:
        for model in (Customer, ImportChunk, ImportRow):
            assert await session.scalar(select(func.count()).select_from(model)) == 0


async def test_a_file_or_a_reading_and_not_both(counter: Counter) -> None:
    nowhere = "fil_" + 32 * "0"
    assert faults(await counter.begin_without(source="CSV")) == [("REQUIRED", "input.file")]
    assert faults(await counter.begin_without(source="ROUTER")) == [("REQUIRED", "input.fileId")]
    assert faults(await counter.begin_without(source="ROUTER", fileId=nowhere)) == [("NOT_FOUND", "input.fileId")]
    assert faults(await counter.begin(b"x", source="CSV", fileId=nowhere)) == [("INVALID", "input.fileId")]
    assert sorted(faults(await counter.begin(b"x", source="ROUTER"))) == [
        ("INVALID", "input.file"),
        ("REQUIRED", "input.fileId"),
    ]

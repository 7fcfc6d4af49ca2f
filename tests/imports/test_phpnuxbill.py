"""Customers of PHPNuxBill as they are read out of a dump of its database."""

import gzip
import io
import threading
from decimal import Decimal

import pytest

from ispgraph.domain.imports import cells, phpnuxbill
from ispgraph.domain.imports.dump_text import BadDump
from ispgraph.domain.imports.rows import Plan, Problem, Row
from ispgraph.domain.imports.totals import Totals
from tests.imports import nuxbill
from tests.imports.dumps import Pieces, mysql_dump
from tests.imports.taken import given

DUMP = mysql_dump(nuxbill.TABLES).replace(
    b"SET NAMES utf8mb4 */;", b"SET NAMES utf8mb4 */;\n/*!40103 SET TIME_ZONE='+00:00' */;"
)


def test_plans_with_their_bandwidth_and_how_long_they_last():
    found = list(phpnuxbill.read(io.BytesIO(DUMP)))

    plans = [given(each) for each in found if isinstance(each, Plan)]
    home = {"price": "1500", "download_kbps": "10000", "upload_kbps": "5000", "validity_days": "30"}
    small = {"download_kbps": "512", "upload_kbps": "256"}
    assert plans == [
        {"name": "Home 10M", **home, "connection_type": "PPPOE", "external_id": "1"},
        {"name": "Hotspot ½ day", "price": "20.50", **small, "validity_days": "12 Hrs", "connection_type": "HOTSPOT"}
        | {"external_id": "2"},
        {"name": "Home 10M (south 3)", "price": "900", **small, "validity_days": "30", "connection_type": "PPPOE"}
        | {"external_id": "3"},
        {"name": "Lost", "price": "1.500,00", "validity_days": "60", "connection_type": "OTHER", "external_id": "5"},
        {"name": "Hotspot day", "price": "35", **small, "validity_days": "1", "connection_type": "HOTSPOT"}
        | {"external_id": "6"},
    ]
    assert set(next(each for each in found if isinstance(each, Plan)).values) == set(cells.PLAN)


def test_customers_with_what_they_bought():
    found = list(phpnuxbill.read(Pieces(gzip.compress(DUMP), [100, 1, 7000])))

    rows = {each.number: given(each) for each in found if isinstance(each, Row)}
    assert list(rows) == list(range(7, 15))
    created = {"created_at": "2024-05-23T06:29:11+00:00"}
    assert rows[7] == {
        **{"external_id": "1", "name": "রহিম উদ্দিন 😀", "mobile": "01711000001", "email": "rahim@example.com"},
        **{"street": '12 O\'Brien "Lane", Flat 3, Mirpur', "city": "ঢাকা", "state": "Dhaka", "postal_code": "1216"},
        **{"connection_type": "PPPOE", "username": "rahim-net", "password": 'net"pass\\', "ip_address": "10.64.0.9"},
        **{"package": "Home 10M", "status": "ACTIVE", "expires_at": "2026-12-21T14:30:05+06:00", "balance": "250.75"},
        **created,
        "note": "Coordinates: 23.8,90.4\nONU: ZTE-12'3\nRouter: north\nAlso in force: Hotspot day until 2026-12-01\n"
        "Login of the portal: rahim",
    }
    expired = {"package": "Hotspot ½ day", "status": "EXPIRED", "expires_at": "2026-11-01T23:59:59+06:00"}
    login = {"connection_type": "HOTSPOT", "username": "karim", "password": "secret2"}
    assert rows[8] == {
        **{"external_id": "2", "name": "Example 2", **login, **expired, "balance": "-40.25"},
        **created,
        "note": "Router: north",
    }
    never = {"username": "nobody", "password": "secret3", "status": "PENDING", "balance": "0.00"}
    assert rows[9] == {"external_id": "3", "name": "nobody", **never, **created}
    assert (rows[10]["status"], rows[10]["balance"]) == ("SUSPENDED", "10.00")
    assert rows[10]["note"] == "Status there: Banned\nRouter: north"
    assert (rows[11]["status"], rows[11]["package"]) == ("SUSPENDED", "Gone")
    # Who has the same name as somebody with purchases has not bought them.
    assert (rows[12]["name"], rows[12]["status"]) == ("Another Karim", "PENDING")
    assert (rows[13]["package"], rows[13]["status"]) == ("Home 10M (south 3)", "ACTIVE")
    # The import is to say that this is no day, and not to take another for it.
    assert rows[14]["expires_at"] == "0000-00-00 00:00:00"
    assert "created_at" not in rows[14]

    message = "Home 10M was bought by the customer 999 (orphan), who is not in the dump."
    assert [each for each in found if isinstance(each, Problem)] == [Problem(15, None, message)]


def test_a_reader_is_read_on_in_other_threads():
    items = phpnuxbill.read(io.BytesIO(DUMP))
    read: list[object] = []
    while len(read) == 0 or read[-1] is not None:
        thread = threading.Thread(target=lambda: read.append(next(items, None)))
        thread.start()
        thread.join()

    assert read[:-1] == list(phpnuxbill.read(io.BytesIO(DUMP)))


def test_totals_are_those_of_the_tables():
    rows = [each for each in phpnuxbill.read(io.BytesIO(DUMP)) if isinstance(each, Row)]

    found = phpnuxbill.totals(io.BytesIO(DUMP))

    assert found == Totals(customers=8, active=3, balance=Decimal("220.50"))
    assert found.customers == len(rows)
    assert found.active == sum(row.values["status"] == "ACTIVE" for row in rows)
    assert found.balance == sum(Decimal(row.values["balance"]) for row in rows)


def test_an_old_dump_has_fewer_columns_and_nothing_is_made_up():
    columns = "id int, username text, password text, fullname text, phonenumber text"
    old = mysql_dump({"tbl_customers": (columns, [[1, "rahim", "secret", "Rahim", "0171"]])})

    (row,) = phpnuxbill.read(io.BytesIO(old))

    assert given(row) == {
        **{"external_id": "1", "name": "Rahim", "mobile": "0171", "username": "rahim", "password": "secret"},
        "status": "PENDING",
    }
    assert set(row.values) == set(cells.ROW)


def test_what_is_no_such_dump_is_one_problem():
    other = mysql_dump({"users": ("id int", [[1]])})
    cut = DUMP[: DUMP.index(b"INSERT INTO `tbl_user_recharges`") + 60]

    (problem,) = phpnuxbill.read(io.BytesIO(other))
    assert problem == Problem(
        0, None, "It has no table tbl_customers: it is not a dump of this kind, or not all of it."
    )
    (problem,) = phpnuxbill.read(io.BytesIO(cut))
    assert "perhaps not sent to its end" in problem.message
    with pytest.raises(BadDump):
        phpnuxbill.totals(io.BytesIO(cut))


def test_a_text_in_another_character_set_is_named():
    broken = DUMP.replace("রহিম উদ্দিন 😀".encode(), b"Jos\xe9")

    found = list(phpnuxbill.read(io.BytesIO(broken)))

    message = "This has bytes that are no text in the character set of the source."
    assert Problem(7, "name", message) in found

"""Customers of PHPNuxBill, out of a dump of its MySQL database.

A customer is a row of tbl_customers; what they have bought last for each router is in tbl_user_recharges, whose
expiration is a date and a time of day in the zone that tbl_appconfig names. The login of the portal is not the one of
the network when pppoe_username and pppoe_password are set. The balance is a wallet: credit.
"""

from collections.abc import Iterator
from datetime import tzinfo
from decimal import Decimal
from typing import BinaryIO
from zoneinfo import ZoneInfo

from ispgraph.domain.imports.cells import Reading, amount, first, in_utc, instant, joined
from ispgraph.domain.imports.dump_text import BadDump
from ispgraph.domain.imports.rows import Plan, Problem, Row
from ispgraph.domain.imports.scratch import Scratch, Texts, scratch
from ispgraph.domain.imports.totals import Totals

_TABLES = {
    "tbl_appconfig": ("setting", "value"),
    "tbl_bandwidth": ("id", "rate_down", "rate_down_unit", "rate_up", "rate_up_unit"),
    "tbl_customers": (
        *("id", "username", "password", "pppoe_username", "pppoe_password", "pppoe_ip", "fullname", "address", "city"),
        *("district", "state", "zip", "phonenumber", "email", "coordinates", "balance", "service_type", "status"),
        "created_at",
    ),
    "tbl_customers_fields": ("customer_id", "field_name", "field_value"),
    "tbl_plans": ("id", "name_plan", "id_bw", "price", "type", "validity", "validity_unit", "routers"),
    "tbl_user_recharges": (
        *("id", "customer_id", "username", "plan_id", "namebp", "expiration", "time", "status", "routers", "type"),
    ),
}
_KEYS = {
    "tbl_bandwidth": ("id",),
    "tbl_customers": ("id", "username"),
    "tbl_customers_fields": ("customer_id",),
    "tbl_plans": ("id", "name_plan"),
    "tbl_user_recharges": ("customer_id", "username"),
}
_KINDS = {"pppoe": "PPPOE", "hotspot": "HOTSPOT", "vpn": "OTHER"}
_STOPPED = frozenset(("banned", "disabled", "inactive", "limited", "suspended"))
_PASSWORDS = frozenset(("password", "pppoe_password"))
_FACTORS = {"kbps": 1, "mbps": 1000}
_DAYS = {"mins": Decimal(1) / 1440, "hrs": Decimal(1) / 24, "days": Decimal(1), "months": Decimal(30)}
# A Period is as many months, ended on a fixed day.
_DAYS["period"] = _DAYS["months"]
# What a customer has bought: those in force first, then by how long they last.
_BOUGHT = """SELECT plan_id, namebp, expiration, time, lower(trim(status)), routers, lower(trim(type))
FROM tbl_user_recharges WHERE %s
ORDER BY lower(trim(status)) = 'on' DESC, expiration DESC, time DESC, CAST(id AS INTEGER) DESC"""
_ORPHANS = """SELECT namebp, customer_id, username FROM tbl_user_recharges AS bought
WHERE lower(trim(status)) = 'on' AND NOT EXISTS (
  SELECT 1 FROM tbl_customers WHERE tbl_customers.id = bought.customer_id OR tbl_customers.username = bought.username
) ORDER BY CAST(id AS INTEGER)"""
_ACTIVE = """SELECT count(*) FROM tbl_customers AS customer
WHERE lower(trim(status)) IN ('', 'active') AND EXISTS (
  SELECT 1 FROM tbl_user_recharges AS bought WHERE lower(trim(bought.status)) = 'on' AND (
    bought.customer_id = customer.id
    OR bought.username = customer.username
    AND NOT EXISTS (SELECT 1 FROM tbl_customers AS other WHERE other.id = bought.customer_id)
  )
)"""


def read(file: BinaryIO) -> Iterator[Plan | Row | Problem]:
    """The plans and customers of a dump."""
    try:
        tables = _opened(file)
    except BadDump as error:
        yield Problem(0, None, str(error))
        return
    with tables:
        names: dict[str, str] = {}
        number = 0
        for number, plan in enumerate(tables.rows("SELECT * FROM tbl_plans ORDER BY rowid"), 1):
            if plan[4].strip().lower() != "balance":
                yield from _plan(tables, number, plan, names)
        zone = _zone(tables)
        for customer in tables.rows("SELECT * FROM tbl_customers ORDER BY rowid"):
            number += 1
            yield from _customer(tables, number, customer, names, zone)
        for name, key, username in tables.rows(_ORPHANS):
            number += 1
            who = f"{key} ({username})" if username else key
            yield Problem(number, None, f"{name} was bought by the customer {who}, who is not in the dump.")


def totals(file: BinaryIO) -> Totals:
    """What the tables say as a whole: active is who is not stopped and has bought what is in force. Raises BadDump."""
    with _opened(file) as tables:
        customers = balance = Decimal(0)
        for (each,) in tables.rows("SELECT balance FROM tbl_customers"):
            customers += 1
            balance += amount(each)
        found = tables.one(_ACTIVE)
        return Totals(int(customers), int(found[0]) if found else 0, balance)


def _opened(file: BinaryIO) -> Scratch:
    return scratch(file, _TABLES, _KEYS, ["tbl_customers"])


def _zone(tables: Scratch) -> tzinfo | None:
    found = tables.one("SELECT value FROM tbl_appconfig WHERE setting = 'timezone'")
    try:
        return ZoneInfo(found[0]) if found and found[0] else None
    except (ValueError, OSError):
        return None


def _plan(tables: Scratch, number: int, plan: Texts, names: dict[str, str]) -> list[Row | Plan | Problem]:
    key, name, bandwidth, price, kind, validity, unit, routers = (each.strip() for each in plan)
    reading = Reading(number)
    # The same name on two routers is two plans there.
    names[key] = name if name not in names.values() else f"{name} ({joined((routers, key), ' ')})"
    question = "SELECT rate_down, rate_down_unit, rate_up, rate_up_unit FROM tbl_bandwidth WHERE id = ?"
    down, down_unit, up, up_unit = tables.one(question, bandwidth) or ("", "", "", "")
    reading.values = {
        "name": names[key],
        "price": price,
        "download_kbps": _kbps(down, down_unit),
        "upload_kbps": _kbps(up, up_unit),
        "validity_days": _days(validity, unit),
        "connection_type": _KINDS.get(kind.lower(), ""),
        "external_id": key,
    }
    return reading.plan()


def _kbps(rate: str, unit: str) -> str:
    factor = _FACTORS.get(unit.strip().lower())
    return f"{rate} {unit}".strip() if factor is None or not rate.isdecimal() else str(int(rate) * factor)


def _days(validity: str, unit: str) -> str:
    """In days; what is no whole number of them stays as it is written."""
    factor = _DAYS.get(unit.lower())
    if factor is None or not validity.isdecimal() or len(validity) > 6:
        return f"{validity} {unit}".strip()
    days = int(validity) * factor
    return str(round(days)) if abs(days - round(days)) < Decimal("0.0001") else f"{validity} {unit}"


def _customer(
    tables: Scratch, number: int, customer: Texts, names: dict[str, str], zone: tzinfo | None
) -> list[Row | Plan | Problem]:
    given = {
        # A blank may be part of a password.
        column: value if column in _PASSWORDS else value.strip()
        for column, value in zip(_TABLES["tbl_customers"], customer, strict=True)
    }
    reading = Reading(number)
    bought = list(tables.rows(_BOUGHT % "customer_id = ?", given["id"]))
    if not bought:
        # Those of a customer who is there by number are that one's, whatever name they bear.
        free = "username = ? AND customer_id NOT IN (SELECT id FROM tbl_customers)"
        bought = list(tables.rows(_BOUGHT % free, given["username"]))
    kind = given["service_type"].lower()
    notes = [*_notes(tables, given)]
    until = bought[0][2:4] if bought else ("", "")
    if bought:
        kind = bought[0][6]
        notes += [f"Router: {bought[0][5]}"] if bought[0][5] else []
        notes += [f"Also in force: {_name(each, names)} until {each[2]}" for each in bought[1:] if each[4] == "on"]
    pppoe = _KINDS.get(kind) == "PPPOE"
    username = first(given["pppoe_username"], given["username"]) if pppoe else given["username"]
    if username != given["username"]:
        notes.append(f"Login of the portal: {given['username']}")
    reading.values = {
        "external_id": given["id"],
        "name": first(given["fullname"], given["username"]),
        # What nobody filled in has these values there.
        "mobile": given["phonenumber"] if given["phonenumber"] != "0" else "",
        "email": given["email"] if given["email"] != "1" else "",
        "street": joined((given["address"], given["district"]), ", "),
        "city": given["city"],
        "state": given["state"],
        "postal_code": given["zip"],
        "connection_type": _KINDS.get(kind, ""),
        "username": username,
        "password": (given["pppoe_password"] if pppoe else "") or given["password"],
        "ip_address": given["pppoe_ip"] if pppoe else "",
        "package": _name(bought[0], names) if bought else "",
        "status": _status(given["status"], bought),
        "expires_at": instant(until[0], zone, until[1]) or joined(until, " "),
        "balance": given["balance"],
        "created_at": in_utc(given["created_at"], tables.in_utc),
        "note": "\n".join(notes),
    }
    return reading.row()


def _notes(tables: Scratch, given: dict[str, str]) -> Iterator[str]:
    if given["status"].lower() in _STOPPED:
        yield f"Status there: {given['status']}"
    if given["coordinates"]:
        yield f"Coordinates: {given['coordinates']}"
    asked = "SELECT field_name, field_value FROM tbl_customers_fields WHERE customer_id = ? ORDER BY rowid"
    for name, value in tables.rows(asked, given["id"]):
        if value.strip():
            yield f"{name.strip()}: {value.strip()}"


def _status(status: str, bought: list[Texts]) -> str:
    if status.lower() in _STOPPED:
        return "SUSPENDED"
    if not bought:
        return "PENDING"
    return "ACTIVE" if bought[0][4] == "on" else "EXPIRED"


def _name(bought: Texts, names: dict[str, str]) -> str:
    return names.get(bought[0].strip()) or bought[1].strip()

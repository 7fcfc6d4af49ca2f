"""Customers of daloRADIUS, or of FreeRADIUS alone, out of a dump of its MySQL or PostgreSQL database.

A customer is a username: of radcheck, of daloRADIUS' userinfo, or of its userbillinfo. What they have is their plan
there, or else the first of their groups that lets them in. What they owe is the difference of their invoices and
payments, if there are any.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import BinaryIO

from ispgraph.domain.imports import radius_attributes
from ispgraph.domain.imports.cells import Reading, amount, device, first, instant, joined, kbps
from ispgraph.domain.imports.dump_text import BadDump
from ispgraph.domain.imports.radius_attributes import Attribute
from ispgraph.domain.imports.rows import Plan, Problem, Row
from ispgraph.domain.imports.scratch import Scratch, Texts, scratch
from ispgraph.domain.imports.totals import Totals
from ispgraph.domain.values import Unfit
from ispgraph.domain.values import ip_address as host

DISABLED = "daloradius-disabled-users"
_USER = ("username", "attribute", "op", "value", "id")
_GROUP = ("groupname", "attribute", "op", "value", "id")
_PLACE = ("address", "city", "state", "country", "zip", "notes", "creationdate")
_TABLES = {
    "radcheck": _USER,
    "radreply": _USER,
    "radusergroup": ("username", "groupname", "priority"),
    "usergroup": ("username", "groupname", "priority"),
    "radgroupcheck": _GROUP,
    "radgroupreply": _GROUP,
    "userinfo": (
        *("username", "id", "firstname", "lastname", "company", "email", "mobilephone", "homephone", "workphone"),
        *("department", *_PLACE),
    ),
    "userbillinfo": ("username", "id", "planname", "contactperson", "company", "email", "phone", *_PLACE),
    "billing_plans": (
        *("id", "planname", "plancost", "planbandwidthup", "planbandwidthdown", "planrecurring"),
        *("planrecurringperiod", "plangroup"),
    ),
    "billing_plans_profiles": ("plan_name", "profile_name"),
    "invoice": ("id", "user_id"),
    "invoice_items": ("invoice_id", "amount", "tax_amount"),
    "payment": ("invoice_id", "amount"),
}
_NAMED = "lower(trim(username))"
_GROUPED = "lower(trim(groupname))"
_KEYS = {
    **dict.fromkeys(("radcheck", "radreply", "radusergroup", "userinfo", "userbillinfo"), (_NAMED,)),
    **dict.fromkeys(("radgroupcheck", "radgroupreply"), (_GROUPED,)),
    "billing_plans_profiles": ("plan_name",),
    "invoice": ("user_id", "id"),
    "invoice_items": ("invoice_id",),
    "payment": ("invoice_id",),
}
_USERS = f"""SELECT key FROM (
  SELECT {_NAMED} AS key FROM radcheck UNION SELECT {_NAMED} FROM userinfo UNION SELECT {_NAMED} FROM userbillinfo
) WHERE key <> '' ORDER BY key"""
_ORPHANS = f"""SELECT key FROM (
  SELECT {_NAMED} AS key FROM radreply UNION SELECT {_NAMED} FROM radusergroup
  EXCEPT SELECT {_NAMED} FROM radcheck EXCEPT SELECT {_NAMED} FROM userinfo EXCEPT SELECT {_NAMED} FROM userbillinfo
) WHERE key <> '' ORDER BY key"""
_GROUPS = f"SELECT trim(groupname) FROM radusergroup WHERE {_NAMED} = ? ORDER BY CAST(priority AS INTEGER), rowid"
# Groups that stand for what their members pay, because one of them has no plan.
_SOLD = f"""SELECT min(trim(groupname)) FROM radusergroup AS member
WHERE {_GROUPED} <> '' AND NOT EXISTS (
  SELECT 1 FROM userbillinfo WHERE lower(trim(userbillinfo.username)) = lower(trim(member.username))
  AND trim(planname) <> ''
) GROUP BY {_GROUPED} ORDER BY {_GROUPED}"""
_KNOWN = f"""WHERE invoice_id IN (
  SELECT invoice.id FROM invoice JOIN userbillinfo ON invoice.user_id = userbillinfo.id WHERE {_NAMED} <> ''
)"""
_OF_ONE = f"""WHERE invoice_id IN (
  SELECT invoice.id FROM invoice JOIN userbillinfo ON invoice.user_id = userbillinfo.id WHERE {_NAMED} = ?
)"""
_SECRETS = """lower(attribute) LIKE '%-password' OR lower(attribute) IN (
  'password', 'password-with-header', 'nt-hash', 'lm-hash'
)
OR lower(attribute) = 'auth-type' AND lower(trim(value)) = 'accept'"""
_REJECTS = "lower(attribute) = 'auth-type' AND lower(trim(value)) = 'reject'"
_ACTIVE = f"""SELECT count(*) FROM (SELECT {_NAMED} AS key FROM radcheck WHERE {_SECRETS} GROUP BY 1) AS person
WHERE key <> '' AND NOT EXISTS (SELECT 1 FROM radcheck WHERE {_NAMED} = person.key AND {_REJECTS})
AND NOT EXISTS (
  SELECT 1 FROM radusergroup AS member
  WHERE lower(trim(member.username)) = person.key AND (
    lower(trim(member.groupname)) = ? OR lower(trim(member.groupname)) IN (
      SELECT {_GROUPED} FROM radgroupcheck WHERE {_REJECTS}
    )
  )
)"""
_DAYS = {"daily": 1, "weekly": 7, "monthly": 30, "quarterly": 90, "semi-yearly": 182, "yearly": 365}
# The router is to choose the address, or the user is.
_NO_ADDRESS = ("255.255.255.254", "255.255.255.255")
_PLACED = ("calling-station-id", "framed-ip-address")
_TAKEN = frozenset(
    (
        *("auth-type", "expiration", "wispr-session-terminate-time"),
        *("framed-protocol", "service-type", "nas-port-type"),
    )
)


def read(file: BinaryIO) -> Iterator[Plan | Row | Problem]:
    """The plans and customers of a dump."""
    try:
        tables = _opened(file)
    except BadDump as error:
        yield Problem(0, None, str(error))
        return
    with tables:
        number = 0
        sold = set()
        for plan in tables.rows("SELECT * FROM billing_plans ORDER BY rowid"):
            number += 1
            sold.add(plan[1].strip().lower())
            yield from _plan(tables, number, plan)
        for (group,) in tables.rows(_SOLD):
            if group.lower() not in sold and not _shuts_out(tables, group):
                number += 1
                yield from _group_plan(tables, number, group)
        for (key,) in tables.rows(_USERS):
            number += 1
            yield from _customer(tables, number, key)
        for (key,) in tables.rows(_ORPHANS):
            number += 1
            yield Problem(number, "username", f"{key} has attributes or a group, and is no user.")


def totals(file: BinaryIO) -> Totals:
    """What the tables say as a whole: active is who has something to log in by and is not shut out. Raises BadDump."""
    with _opened(file) as tables:
        customers = sum(1 for _ in tables.rows(_USERS))
        found = tables.one(_ACTIVE, DISABLED)
        paid = sum((amount(each) for (each,) in tables.rows(f"SELECT amount FROM payment {_KNOWN}")), Decimal(0))
        items = tables.rows(f"SELECT amount, tax_amount FROM invoice_items {_KNOWN}")
        billed = sum((amount(each) + amount(tax) for each, tax in items), Decimal(0))
        return Totals(customers, int(found[0]) if found else 0, paid - billed)


def _opened(file: BinaryIO) -> Scratch:
    tables = scratch(file, _TABLES, _KEYS, ["radcheck"])
    # So it was called by FreeRADIUS 1.
    tables.change("INSERT INTO radusergroup SELECT * FROM usergroup")
    return tables


def _attributes(tables: Scratch, table: str, by: str, key: str) -> list[Attribute]:
    question = f"SELECT attribute, op, value FROM {table} WHERE {by} = ? ORDER BY CAST(id AS INTEGER), rowid"
    return [Attribute(name.strip(), op.strip(), value) for name, op, value in tables.rows(question, key)]


# -- groups and plans


def _of_group(tables: Scratch, group: str) -> list[Attribute]:
    key = group.strip().lower()
    return [each for table in ("radgroupcheck", "radgroupreply") for each in _attributes(tables, table, _GROUPED, key)]


def _shuts_out(tables: Scratch, group: str) -> bool:
    key = group.strip().lower()
    return key == DISABLED or radius_attributes.rejects(_attributes(tables, "radgroupcheck", _GROUPED, key))


def _is_shut_out(tables: Scratch, key: str, checks: list[Attribute]) -> bool:
    return radius_attributes.rejects(checks) or any(_shuts_out(tables, group) for (group,) in tables.rows(_GROUPS, key))


def _plan(tables: Scratch, number: int, plan: Texts) -> list[Row | Plan | Problem]:
    key, name, cost, up, down, recurring, period, group = (each.strip() for each in plan)
    reading = Reading(number)
    profiles = [
        each for (each,) in tables.rows("SELECT profile_name FROM billing_plans_profiles WHERE plan_name = ?", name)
    ]
    rates = None
    for each in (*profiles, group):
        rates = rates or radius_attributes.rates(_of_group(tables, each))
    reading.values = {
        "name": name,
        "price": cost,
        "upload_kbps": rates[0] if rates else _kbps(up),
        "download_kbps": rates[1] if rates else _kbps(down),
        "validity_days": str(_DAYS.get(period.lower(), "")) if recurring.lower() == "yes" else "",
        "external_id": key,
    }
    return reading.plan()


def _kbps(rate: str) -> str:
    """In kbit/s, when it says in which unit it is: nothing in daloRADIUS does."""
    found = None if rate[-1:].isdecimal() else kbps(rate)
    return found or (f"{rate} of an unknown unit" if rate.strip("0") else "")


def _group_plan(tables: Scratch, number: int, group: str) -> list[Row | Plan | Problem]:
    reading = Reading(number)
    attributes = _of_group(tables, group)
    rates = radius_attributes.rates(attributes) or ("", "")
    reading.values = {
        "name": group,
        "upload_kbps": rates[0],
        "download_kbps": rates[1],
        "connection_type": radius_attributes.connection_type(attributes),
    }
    return reading.plan()


# -- customers


def _customer(tables: Scratch, number: int, key: str) -> list[Row | Plan | Problem]:
    reading = Reading(number)
    checks = _attributes(tables, "radcheck", _NAMED, key)
    replies = _attributes(tables, "radreply", _NAMED, key)
    groups = [group for (group,) in tables.rows(_GROUPS, key)]
    info, bill = _of_user(tables, "userinfo", key), _of_user(tables, "userbillinfo", key)
    entering = [group for group in groups if not _shuts_out(tables, group)]
    every = [attribute for group in entering for attribute in _of_group(tables, group)]
    devices, address = _devices(checks), _address(replies)
    plan = bill["planname"] or first(*entering)
    reading.values = {
        "external_id": info["id"],
        "name": first(joined((info["firstname"], info["lastname"]), " "), info["company"], bill["contactperson"], key),
        "mobile": first(info["mobilephone"], info["homephone"], info["workphone"], bill["phone"]),
        "email": first(info["email"], bill["email"]),
        "street": first(info["address"], bill["address"]),
        "city": first(info["city"], bill["city"]),
        "state": first(info["state"], bill["state"]),
        "postal_code": first(info["zip"], bill["zip"]),
        "country": first(info["country"], bill["country"]),
        "connection_type": radius_attributes.connection_type([*checks, *replies])
        or radius_attributes.connection_type(every),
        "username": _username(tables, reading, key),
        "password": radius_attributes.clear_password(checks),
        "ip_address": address,
        "mac_address": first(*devices),
        "package": plan,
        "expires_at": _expiry(checks, replies),
        "balance": _balance(tables, key),
        "created_at": instant(first(info["creationdate"], bill["creationdate"]), None),
        "note": "\n".join([*_notes(info, bill), *_left([*checks, *replies], {*devices[:1], address})]),
    }
    reading.values["status"] = _status(tables, reading, key, checks)
    return reading.row()


def _of_user(tables: Scratch, table: str, key: str) -> dict[str, str]:
    """The first row of a user; nothing keeps daloRADIUS from having more."""
    columns = _TABLES[table]
    found = tables.one(f"SELECT * FROM {table} WHERE {_NAMED} = ? ORDER BY CAST(id AS INTEGER)", key)
    return dict(zip(columns, (each.strip() for each in found or [""] * len(columns)), strict=True))


def _username(tables: Scratch, reading: Reading, key: str) -> str:
    for table in ("radcheck", "userinfo", "userbillinfo"):
        question = f"SELECT DISTINCT trim(username) FROM {table} WHERE {_NAMED} = ? ORDER BY rowid"
        found = [name for (name,) in tables.rows(question, key)]
        if len(found) > 1 and tables.of_postgresql:
            message = f"{' and '.join(found)} are different users there, and would be one here: rename one of them."
            reading.doubt("username", message)
        if found:
            return found[0]
    return key


def _devices(checks: list[Attribute]) -> list[str]:
    """The hardware addresses that a user is bound to, the first of which has a place of its own."""
    given = (device(each.value) for each in checks if each.name == "calling-station-id")
    return [each for each in given if each is not None]


def _address(replies: list[Attribute]) -> str:
    given = radius_attributes.value(replies, "framed-ip-address")
    try:
        return "" if given in _NO_ADDRESS else host(given)
    except Unfit:
        return ""


def _expiry(checks: list[Attribute], replies: list[Attribute]) -> str:
    given = radius_attributes.value(checks, "expiration")
    given = given or radius_attributes.value(replies, "wispr-session-terminate-time")
    return radius_attributes.moment(given) or given


def _status(tables: Scratch, reading: Reading, key: str, checks: list[Attribute]) -> str:
    secret = next((each.written for each in reversed(checks) if radius_attributes.is_secret(each.name)), None)
    if not reading.values["password"] and secret is not None:
        message = (
            f"There is only a hash of the password ({secret}), which cannot be used with CHAP: set a new password."
        )
        reading.doubt("password", message)
    if radius_attributes.accepts(checks) and (mac := device(key)) is not None:
        # A device that its hotspot lets in by its address alone.
        alone = {"username": "", "connection_type": "HOTSPOT", "mac_address": mac}
        reading.values |= alone | {"external_id": reading.values["external_id"] or mac}
    if _is_shut_out(tables, key, checks):
        return "SUSPENDED"
    return "ACTIVE" if secret is not None or radius_attributes.accepts(checks) else "PENDING"


def _balance(tables: Scratch, key: str) -> str:
    """What was paid less what was billed; '' for who was never billed."""
    items = list(tables.rows(f"SELECT amount, tax_amount FROM invoice_items {_OF_ONE}", key))
    payments = list(tables.rows(f"SELECT amount FROM payment {_OF_ONE}", key))
    if not items and not payments:
        return ""
    billed = sum((amount(each) + amount(tax) for each, tax in items), Decimal(0))
    return f"{sum((amount(each) for (each,) in payments), Decimal(0)) - billed:f}"


def _notes(info: dict[str, str], bill: dict[str, str]) -> Iterator[str]:
    company = first(info["company"], bill["company"])
    for label, value in (("Company: ", company), ("Department: ", info["department"]), ("", info["notes"])):
        if value:
            yield label + value
    if bill["notes"] and bill["notes"] != info["notes"]:
        yield bill["notes"]


def _left(attributes: list[Attribute], placed: set[str]) -> list[str]:
    """What a user has of their own that has no place of its own here."""
    return [
        f"RADIUS: {each.written} {each.op} {each.value}"
        for each in attributes
        if each.name not in _TAKEN
        and not radius_attributes.is_secret(each.name)
        and not (each.name in _PLACED and {each.value.strip(), device(each.value)} & {*placed, *_NO_ADDRESS})
    ]

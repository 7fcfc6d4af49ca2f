"""Customers out of a router that keeps its users itself: the users of its PPP and of its hotspots, with their profiles.

What a router was read as is a file of lines, each a menu and one of its items as JSON: first a line that says what the
file is, then of each kind the profiles before the users.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, BinaryIO

from ispgraph.domain.imports.cells import Reading, device, joined, rate_limit
from ispgraph.domain.imports.dump_text import BadDump
from ispgraph.domain.imports.rows import Plan, Problem, Row
from ispgraph.domain.imports.totals import Totals
from ispgraph.domain.network import items
from ispgraph.domain.values import Unfit
from ispgraph.domain.values import ip_address as host

MENUS: Mapping[str, tuple[str, ...]] = {
    items.PROFILES: ("name", "rate-limit"),
    items.SECRETS: (
        *("name", "password", "service", "profile", "caller-id", "remote-address", "routes", "limit-bytes-in"),
        *("limit-bytes-out", "disabled", "comment"),
    ),
    items.HOTSPOT_PROFILES: ("name", "rate-limit", "shared-users", "session-timeout"),
    items.HOTSPOT_USERS: (
        *("name", "password", "profile", "server", "address", "mac-address", "email", "limit-uptime"),
        *("limit-bytes-total", "disabled", "dynamic", "comment"),
    ),
}
"""What is read of each menu, in this order."""
USERS = (items.SECRETS, items.HOTSPOT_USERS)

_HEAD = {"file": "users of a router", "version": 1}
_LONGEST_LINE = 1 << 18
_PROFILES = {items.SECRETS: items.PROFILES, items.HOTSPOT_USERS: items.HOTSPOT_PROFILES}
_KINDS = {items.PROFILES: "PPPOE", items.HOTSPOT_PROFILES: "HOTSPOT"}
# Every router has these, and they limit nothing.
_BUILT_IN = ("default", "default-encryption")
_TRIAL = "default-trial"
_PPPOE = ("", "any", "pppoe")
_TRUE = ("true", "yes")
_NO_LIMIT = ("", "0", "0s")
_TOLD = {
    items.SECRETS: ("routes", "limit-bytes-in", "limit-bytes-out"),
    items.HOTSPOT_USERS: ("server", "limit-uptime", "limit-bytes-total"),
}
_HIDDEN = (
    "The router hides its passwords from the login that we have: give its group the policy sensitive, and read again."
)


def written(menu: str, listed: Iterable[Mapping[str, str]]) -> Iterator[str]:
    """The lines for some items of a menu; `head` goes before all others."""
    for item in listed:
        yield json.dumps({"menu": menu, "item": dict(item)}) + "\n"


def head() -> str:
    """The first line."""
    return json.dumps(_HEAD) + "\n"


def read(file: BinaryIO) -> Iterator[Plan | Row | Problem]:
    """The profiles and users of a router."""
    names: dict[tuple[str, str], str] = {}
    number = 0
    try:
        for menu, item in _items(file):
            if _is_left_out(menu, item):
                continue
            number += 1
            if menu in _KINDS:
                yield from _plan(number, menu, item, names)
            else:
                yield from _user(number, menu, item, names)
    except BadDump as error:
        yield Problem(0, None, str(error))


def totals(file: BinaryIO) -> Totals:
    """How many users the router has, and how many of them may get on line; it knows of no money. Raises BadDump."""
    customers = active = 0
    for menu, item in _items(file):
        if menu in USERS and not _is_left_out(menu, item):
            customers += 1
            active += item.get("disabled", "false") not in _TRUE
    return Totals(customers, active, Decimal(0))


def _items(file: BinaryIO) -> Iterator[tuple[str, dict[str, str]]]:
    file.seek(0)
    if _line(file) != _HEAD:
        raise BadDump("This is not what a router was read as.")
    while (line := _line(file)) is not None:
        try:
            yield line["menu"], line["item"]
        except (KeyError, TypeError) as error:
            raise BadDump("This is not what a router was read as.") from error


def _line(file: BinaryIO) -> Any:
    text = file.readline(_LONGEST_LINE)
    try:
        return json.loads(text) if text else None
    except ValueError as error:
        raise BadDump("This is not what a router was read as, or not all of it.") from error


def _is_left_out(menu: str, item: Mapping[str, str]) -> bool:
    """What every router has by itself, and users of ours: those are customers already."""
    if menu in _KINDS:
        built_in = item.get("name") in _BUILT_IN and not item.get("rate-limit")
        return built_in or item.get("name", "").startswith("ispgraph-")
    return items.ours(item) or item.get("dynamic") in _TRUE or item.get("name") == _TRIAL


def _plan(
    number: int, menu: str, item: Mapping[str, str], names: dict[tuple[str, str], str]
) -> list[Row | Plan | Problem]:
    reading = Reading(number)
    name = item.get("name", "")
    rates = rate_limit(item.get("rate-limit", ""))
    # Profiles of PPP and of hotspots are apart there, and packages are not.
    names[menu, name] = name if name not in names.values() else f"{name} (hotspot)"
    reading.values = {
        "name": names[menu, name],
        "upload_kbps": rates[0] if rates else "",
        "download_kbps": rates[1] if rates else "",
        "connection_type": _KINDS[menu],
    }
    return reading.plan()


def _user(
    number: int, menu: str, item: Mapping[str, str], names: Mapping[tuple[str, str], str]
) -> list[Row | Plan | Problem]:
    reading = Reading(number)
    given = {name: value.strip() for name, value in item.items() if name != "password"}
    profile = given.get("profile", "")
    service = given.get("service", "")
    mac = device(given.get("caller-id") or given.get("mac-address") or "")
    address = _address(given.get("remote-address") or given.get("address") or "")
    notes = [given.get("comment", "")]
    notes += [f"{name}: {given[name]}" for name in _TOLD[menu] if given.get(name, "") not in (*_NO_LIMIT, "all")]
    if service not in _PPPOE:
        notes.append(f"service: {service}")
    if given.get("caller-id") and mac is None:
        notes.append(f"caller-id: {given['caller-id']}")
    kind = "HOTSPOT" if menu == items.HOTSPOT_USERS else "PPPOE" if service in _PPPOE else "OTHER"
    if "password" not in item:
        reading.doubt("password", _HIDDEN)
    # A device that the hotspot lets in by its address alone.
    alone = mac is not None and kind == "HOTSPOT" and device(given.get("name", "")) == mac
    reading.values = {
        "external_id": mac if alone and mac else "",
        "name": given.get("name", ""),
        "email": given.get("email", ""),
        "connection_type": kind,
        "username": "" if alone else given.get("name", ""),
        "password": item.get("password", ""),
        "ip_address": address,
        "mac_address": mac or "",
        "package": names.get((_PROFILES[menu], profile), "" if profile in _BUILT_IN else profile),
        "status": "SUSPENDED" if given.get("disabled") in _TRUE else "ACTIVE",
        "note": joined(notes, "\n"),
    }
    return reading.row()


def _address(given: str) -> str:
    """A fixed address; a pool is none."""
    try:
        return host(given)
    except Unfit:
        return ""

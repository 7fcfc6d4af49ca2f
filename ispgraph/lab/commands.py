"""Commands that change items: add, set, unset, remove, enable, disable, comment, move, reset-counters and a few more.

Each takes the router, the table and the values of the sentence, and gives what ``!done`` carries. All raise Refused
with the message and category of RouterOS, and then have changed nothing.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Protocol

from ispgraph.lab import checks
from ispgraph.lab.items import Item, Table
from ispgraph.lab.kinds import Refused, milliseconds
from ispgraph.lab.menus import Version

Values = dict[str, str]


class Router(checks.House, Protocol):
    """What commands need of a router."""

    def now(self) -> float: ...

    def own_time(self) -> float: ...


def stamp(version: Version, seconds: float) -> tuple[str, str]:
    """Date and time as this version writes them: ``2026-11-21`` since 7.10, ``nov/21/2026`` before."""
    moment = datetime.fromtimestamp(seconds, UTC)
    date = moment.strftime("%Y-%m-%d" if version >= (7, 10) else "%b/%d/%Y").lower()
    return date, moment.strftime("%H:%M:%S")


def targets(table: Table, values: Values) -> list[Item]:
    """The items that ``.id`` or ``numbers`` name, by id or by name; takes these two out of the values."""
    given = [values.pop(name) for name in (".id", "numbers") if name in values]
    if table.menu.single:
        if given:
            raise Refused("unknown parameter .id")
        return list(table)
    if not given:
        raise Refused("missing value(s) of argument(s) numbers", 1)
    found: dict[int, Item] = {}
    for word in ",".join(given).split(","):
        items = [item] if (item := table.by_id(word)) is not None else []
        if not items and word and "name" in table.menu.properties:
            items = table.find(name=word)
        if not items:
            raise Refused("no such item", 0)
        found.update((item.number, item) for item in items)
    return list(found.values())


def add(router: Router, table: Table, values: Values) -> Values:
    place = values.pop("place-before", None) if table.menu.ordered else None
    before = None if place is None else targets(table, {"numbers": place})[0]
    source = values.pop("copy-from", None)
    if source is not None:
        original = targets(table, {"numbers": source})[0]
        values = {**_writable(table, original), **values}
    return {"ret": create(router, table, values, before).id}


def create(router: Router, table: Table, values: Mapping[str, str], before: Item | None = None) -> Item:
    """A new item of these values."""
    found = checks.checked(router, table, values)
    checks.require(table, found)
    if table.menu.path == "/queue/simple" and "name" not in found:
        found["name"] = _free_name(table)
    checks.unique(table, found)
    timeout = found.pop("timeout", None) if table.menu.path == "/ip/firewall/address-list" else None
    item = table.add(found, dynamic=timeout is not None, origin="api")
    if timeout is not None:
        _expire(router, table, item, timeout)
    if before is not None:
        table.move([item], before)
    return item


def change(router: Router, table: Table, values: Values) -> Values:
    items = targets(table, values)
    found = checks.checked(router, table, values)
    timeout = found.pop("timeout", None) if table.menu.path == "/ip/firewall/address-list" else None
    for item in items:
        _editable(table, item)
        if any(known.required and found.get(known.name) == "" for known in table.menu.properties.values()):
            raise Refused("missing value(s) of argument(s) name", 1)
        checks.unique(table, found, item)
    if len(items) > 1 and set(table.menu.unique) & set(found) and set(table.menu.unique) <= set(found):
        raise Refused(table.menu.duplicate)
    for item in items:
        old = table.get(item, "name")
        table.change(item, found, origin="api")
        if timeout is not None:
            item.dynamic = True
            _expire(router, table, item, timeout)
        if old is not None and found.get("name", old) != old:
            checks.follow_rename(router, table, old, found["name"])
    return {}


def unset(router: Router, table: Table, values: Values) -> Values:
    name = values.pop("value-name", None)
    items = targets(table, values)
    _nothing_else(values)
    if name is None:
        raise Refused("missing value(s) of argument(s) value-name", 1)
    known = table.menu.properties.get(name)
    if known is None or known.read_only or known.required or known.since > router.version:
        raise Refused("input does not match any value of value-name", 1)
    for item in items:
        _editable(table, item)
        checks.unique(table, {name: None}, item)
    for item in items:
        table.change(item, {name: None}, origin="api")
    return {}


def remove(router: Router, table: Table, values: Values) -> Values:
    items = targets(table, values)
    _nothing_else(values)
    for item in items:
        if item.dynamic and not table.menu.drop_dynamic:
            raise Refused(f"failure: cannot remove dynamic {table.menu.noun}")
        if table.get(item, "name") in table.menu.protected:
            raise Refused(f"failure: can not remove default {table.menu.noun}")
    for item in items:
        name = table.get(item, "name")
        table.remove(item, origin="api")
        if name is not None:
            checks.follow_rename(router, table, name, item.id)
    return {}


def enable(router: Router, table: Table, values: Values) -> Values:
    return _switch(router, table, values, "false")


def disable(router: Router, table: Table, values: Values) -> Values:
    return _switch(router, table, values, "true")


def comment(router: Router, table: Table, values: Values) -> Values:
    text = values.pop("comment", None)
    items = targets(table, values)
    _nothing_else(values)
    if text is None:
        raise Refused("missing value(s) of argument(s) comment", 1)
    for item in items:
        _editable(table, item)
    for item in items:
        table.change(item, {"comment": text or None}, origin="api")
    return {}


def move(router: Router, table: Table, values: Values) -> Values:
    destination = values.pop("destination", None)
    items = targets(table, values)
    _nothing_else(values)
    before = None if destination is None else targets(table, {"numbers": destination})[0]
    if before in items:
        return {}
    table.move(items, before)
    return {}


def reset_counters(router: Router, table: Table, values: Values) -> Values:
    items = targets(table, values)
    _nothing_else(values)
    for item in items:
        table.reset(item, origin="api")
    return {}


def make_static(router: Router, table: Table, values: Values) -> Values:
    items = targets(table, values)
    _nothing_else(values)
    for item in items:
        item.dynamic = False
        table.change(item, {}, origin="api")
    return {}


def _switch(router: Router, table: Table, values: Values, disabled: str) -> Values:
    items = targets(table, values)
    _nothing_else(values)
    for item in items:
        _editable(table, item)
    for item in items:
        table.change(item, {"disabled": disabled}, origin="api")
    return {}


def _editable(table: Table, item: Item) -> None:
    """Dynamic items cannot be edited, but for entries with a timeout and comments of sessions."""
    if item.dynamic and table.expires_at(item) is None and "set" in table.menu.commands:
        raise Refused(f"failure: cannot change dynamic {table.menu.noun}")


def _nothing_else(values: Values) -> None:
    for name in values:
        raise Refused(f"unknown parameter {name}")


def _writable(table: Table, item: Item) -> Values:
    return {name: value for name, value in item.values.items() if not table.menu.properties[name].read_only}


def _free_name(table: Table) -> str:
    number = 1
    while table.find(name=f"queue{number}"):
        number += 1
    return f"queue{number}"


def _expire(router: Router, table: Table, item: Item, timeout: str) -> None:
    table.expire_at(item, router.now() + (milliseconds(timeout) or 0) / 1000)


COMMANDS: Mapping[str, Callable[[Router, Table, Values], Values]] = {
    "add": add,
    "set": change,
    "unset": unset,
    "remove": remove,
    "enable": enable,
    "disable": disable,
    "comment": comment,
    "move": move,
    "reset-counters": reset_counters,
    "make-static": make_static,
}

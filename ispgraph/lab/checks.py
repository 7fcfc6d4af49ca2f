"""What a client may write into an item: names of properties, their values, references and unique keys."""

from collections.abc import Mapping
from typing import Protocol

from ispgraph.lab.items import Item, Table
from ispgraph.lab.kinds import Refused, normal
from ispgraph.lab.menus import Property, Version, referring


class House(Protocol):
    """What the checks need of a router."""

    version: Version

    def table(self, path: str) -> Table: ...


def checked(house: House, table: Table, values: Mapping[str, str]) -> dict[str, str]:
    """The values as they will be printed. Raises Refused for a property or a value that is not allowed."""
    found = {}
    for name, value in values.items():
        known = table.menu.properties.get(name)
        if known is None or known.read_only or known.since > house.version:
            raise Refused(f"unknown parameter {name}")
        found[name] = _value(house, known, value)
    return found


def require(table: Table, values: Mapping[str, str]) -> None:
    """Raises Refused when a property that an item must have is not among the values."""
    missing = [known.name for known in table.menu.properties.values() if known.required and not values.get(known.name)]
    if missing:
        raise Refused(f"missing value(s) of argument(s) {' '.join(missing)}", 1)


def unique(table: Table, values: Mapping[str, str | None], but: Item | None = None) -> None:
    """Raises Refused when another item has the unique key that these values would give."""
    key = {name: _would_be(table, values, but, name) for name in table.menu.unique}
    if not key or None in key.values():
        return
    others = table.find(**{name: value for name, value in key.items() if value is not None})
    if any(other is not but for other in others):
        raise Refused(table.menu.duplicate)


def follow_rename(house: House, table: Table, old: str, new: str) -> None:
    """References are to items, not to their names: they show the new one."""
    for path, name in referring(table.menu.path):
        other = house.table(path)
        for item in other:
            if item.values.get(name) == old:
                other.change(item, {name: new})


def _would_be(table: Table, values: Mapping[str, str | None], item: Item | None, name: str) -> str | None:
    if values.get(name) is not None:
        return values[name]
    if name in values or item is None:
        return table.menu.properties[name].default
    return table.get(item, name)


def _value(house: House, known: Property, value: str) -> str:
    match known.kind:
        case "reference" | "queue":
            return _reference(house, known, value)
        case "address":
            if known.reference is not None and house.table(known.reference).find(name=value):
                return value
            return normal("ip", (), known.name, value)
        case "targets":
            shown = normal(known.kind, known.of, known.name, value)
            for part in shown.split(","):
                if "/" not in part and not house.table("/interface").find(name=part):
                    raise Refused(f"input does not match any value of {known.name}", 1)
            return shown
    return normal(known.kind, known.of, known.name, value)


def _reference(house: House, known: Property, value: str) -> str:
    if value in known.of:
        return value
    assert known.reference is not None
    table = house.table(known.reference)
    item = table.by_id(value)
    if item is not None:
        return table.get(item, "name") or value
    if not value or not table.find(name=value):
        raise Refused(f"input does not match any value of {known.name}", 1)
    return value

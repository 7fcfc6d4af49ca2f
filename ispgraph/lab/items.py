"""Tables of items: what a menu of a router holds.

Values are text as RouterOS prints it through the API (booleans ``true``/``false``, durations ``1h2m3s``, rates and
sizes as plain numbers). An item keeps only what differs from the defaults of its menu, so that ten thousand sessions
stay small; defaults and computed properties are added when somebody looks.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from sys import intern
from typing import Literal, NamedTuple

from ispgraph.lab.menus import Menu

Origin = Literal["api", "lab"]


class Item:
    """One item. ``values`` is read only outside Table; ``owner`` is whatever made the item, for computed properties."""

    __slots__ = ("dynamic", "number", "owner", "values")

    def __init__(self, number: int, values: dict[str, str], dynamic: bool, owner: object) -> None:
        self.number = number
        self.values = values
        self.dynamic = dynamic
        self.owner = owner

    @property
    def id(self) -> str:
        return f"*{self.number:X}"


class Change(NamedTuple):
    """``origin`` tells whether an API client did it or the lab itself. ``reset`` asks to set the counters to zero."""

    kind: Literal["added", "changed", "removed", "reset"]
    item: Item
    origin: Origin


Watcher = Callable[[Change], None]
Computed = Callable[[Item], str | None]


class Table:
    """The items of one menu, in their order."""

    def __init__(self, menu: Menu, now: Callable[[], float]) -> None:
        self.menu = menu
        self._now = now
        self._items: dict[int, Item] = {}
        self._numbers = count(1)
        self._indexes: dict[str, dict[str, list[Item]]] = {name: {} for name in menu.indexed}
        self._watchers: list[Watcher] = []
        self._computed: dict[str, Computed] = {}
        self._expiring: dict[int, float] = {}

    def __iter__(self) -> Iterator[Item]:
        self._expire()
        return iter(list(self._items.values()))

    def __len__(self) -> int:
        self._expire()
        return len(self._items)

    def __contains__(self, item: Item) -> bool:
        return self._items.get(item.number) is item

    # Reading

    def by_id(self, text: str) -> Item | None:
        """The item with this ``*HEX`` id."""
        self._expire()
        try:
            return self._items.get(int(text[1:], 16)) if text.startswith("*") else None
        except ValueError:
            return None

    def find(self, **equals: str) -> list[Item]:
        """Items whose properties equal these (``mac_address`` means ``mac-address``); fast by an indexed property."""
        self._expire()
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in equals.items()}
        candidates: list[Item] | None = None
        for name, value in wanted.items():
            if self.indexes(name):
                candidates = self._indexes[name].get(value, [])
                break
        pool = list(self._items.values()) if candidates is None else list(candidates)
        return [item for item in pool if all(self.get(item, name) == value for name, value in wanted.items())]

    def get(self, item: Item, name: str) -> str | None:
        """One property as it would be printed, or None when the item has none."""
        if name in self._computed:
            return self._computed[name](item)
        if name in item.values:
            return item.values[name]
        if name == "dynamic":
            return "true" if item.dynamic else "false"
        if name == ".id":
            return item.id
        known = self.menu.properties.get(name)
        return None if known is None else known.default

    # Changing

    def add(
        self, values: Mapping[str, str], *, dynamic: bool = False, owner: object = None, origin: Origin = "lab"
    ) -> Item:
        """Append an item. Values are taken as they are; only unknown properties raise KeyError."""
        item = Item(next(self._numbers), {}, dynamic, owner)
        self._put(item, values)
        self._items[item.number] = item
        self._index(item)
        self._tell("added", item, origin)
        return item

    def change(self, item: Item, values: Mapping[str, str | None], *, origin: Origin = "lab") -> None:
        """Replace some properties of an item; None takes a property away (its default comes back)."""
        self._unindex(item)
        self._put(item, values)
        self._index(item)
        self._tell("changed", item, origin)

    def remove(self, item: Item, *, origin: Origin = "lab") -> None:
        """Take the item out. Does nothing when it is gone already; its id is never used again."""
        if self._items.pop(item.number, None) is None:
            return
        self._expiring.pop(item.number, None)
        self._unindex(item)
        self._tell("removed", item, origin)

    def reset(self, item: Item, *, origin: Origin = "lab") -> None:
        """Ask whoever counts to begin at zero."""
        self._tell("reset", item, origin)

    def move(self, items: list[Item], before: Item | None) -> None:
        """Put these items in front of another, or at the end."""
        moved = {item.number for item in items}
        rest = [item for item in self._items.values() if item.number not in moved]
        at = len(rest) if before is None else rest.index(before)
        self._items = {item.number: item for item in [*rest[:at], *items, *rest[at:]]}
        for item in items:
            self._tell("changed", item, "api")

    def expire_at(self, item: Item, instant: float) -> None:
        """The item goes away at this instant of lab time."""
        self._expiring[item.number] = instant

    def expires_at(self, item: Item) -> float | None:
        self._expire()
        return self._expiring.get(item.number)

    # Watching and computing

    def watch(self, callback: Watcher) -> Callable[[], None]:
        """Call back on every change, before the API answers. Returns what ends the watch."""
        self._watchers.append(callback)
        return lambda: self._watchers.remove(callback)

    def compute(self, name: str, function: Computed) -> None:
        """Let this property be worked out whenever it is read. None: the item has no such property."""
        self._computed[intern(name)] = function

    def index(self, name: str) -> None:
        """Make ``find`` by this property fast from now on."""
        if name not in self._indexes:
            self._indexes[name] = {}
            for item in self._items.values():
                if name in item.values:
                    self._indexes[name].setdefault(item.values[name], []).append(item)

    def indexes(self, name: str) -> bool:
        """Whether ``find`` by this property is fast."""
        return name in self._indexes and name not in self._computed

    # Inside

    def _put(self, item: Item, values: Mapping[str, str | None]) -> None:
        for name, value in values.items():
            if name not in self.menu.properties and name not in self._computed:
                raise KeyError(f"{self.menu.path} has no {name}")
            known = self.menu.properties.get(name)
            default = known is not None and value == known.default
            # An empty comment or rate is none.
            empty = not value and known is not None and (name == "comment" or known.kind == "limit")
            if value is None or default or empty:
                item.values.pop(name, None)
            else:
                item.values[intern(name)] = value

    def _index(self, item: Item) -> None:
        for name, index in self._indexes.items():
            value = self.get(item, name) if name not in self._computed else None
            if value is not None:
                index.setdefault(value, []).append(item)

    def _unindex(self, item: Item) -> None:
        for name, index in self._indexes.items():
            value = self.get(item, name) if name not in self._computed else None
            if value is not None and value in index:
                index[value] = [other for other in index[value] if other is not item]
                if not index[value]:
                    del index[value]

    def _tell(self, kind: Literal["added", "changed", "removed", "reset"], item: Item, origin: Origin) -> None:
        if self._watchers:
            change = Change(kind, item, origin)
            for watcher in list(self._watchers):
                watcher(change)

    def _expire(self) -> None:
        if self._expiring:
            now = self._now()
            for number in [number for number, instant in self._expiring.items() if instant <= now]:
                self.remove(self._items[number])

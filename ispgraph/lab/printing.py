"""Commands that show: print, getall, listen, monitor and monitor-traffic. They give rows as they come."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Protocol

from ispgraph.lab import query
from ispgraph.lab.commands import targets
from ispgraph.lab.items import Change, Item, Table
from ispgraph.lab.kinds import Refused, milliseconds
from ispgraph.lab.menus import Version

Row = dict[str, str]
Rates = tuple[float, float, float, float]
_HINTS = frozenset(
    {"detail", "stats", "brief", "terse", "value-list", "without-paging", "count-only", ".proplist", "from"}
)


class Router(Protocol):
    """What printing needs of a router. ``rates`` are bits and packets per second of an interface, received and sent."""

    version: Version
    monitors: dict[str, Callable[[Item], Mapping[str, str]]]

    def rates(self, item: Item) -> Rates: ...


def columns(router: Router, table: Table, sensitive: bool, proplist: str | None) -> list[str]:
    """The properties to be shown, in the order of the menu."""
    known = [".id", *table.menu.properties] if not table.menu.single else list(table.menu.properties)
    if proplist is not None:
        wanted = set(proplist.split(","))
        known = [name for name in known if name in wanted]
    return [
        name
        for name in known
        if name == ".id"
        or (
            table.menu.properties[name].since <= router.version
            and (sensitive or not table.menu.properties[name].sensitive)
        )
    ]


def row(table: Table, item: Item, names: Iterable[str]) -> Row:
    return {name: value for name in names if (value := table.get(item, name)) is not None}


def select(table: Table, found: query.Query, visible: Iterable[str], chosen: list[Item] | None) -> list[Item]:
    """The items that a query wants. What a user may not see does not count as there."""
    items: Iterable[Item] = table if chosen is None else chosen
    certain = {name: value for name, value in found.certain().items() if table.indexes(name)}
    if certain and chosen is None:
        # An index keeps no order; ids are given in the order of the table unless somebody moved items.
        items = table.find(**certain) if not table.menu.ordered else [i for i in table if i in table.find(**certain)]
    seen = set(visible)
    if not found.words:
        return list(items)
    return [
        item
        for item in items
        if found.matches(lambda name, item=item: table.get(item, name) if name in seen else None)  # type: ignore[misc]
    ]


def rows(
    router: Router, table: Table, values: Row, queries: list[str], sensitive: bool
) -> tuple[list[Item], list[str]]:
    """The items and the columns that ``print`` shows. Raises Refused."""
    for name in values:
        if name not in _HINTS:
            raise Refused(f"unknown parameter {name}")
    chosen = targets(table, {"numbers": values["from"]}) if "from" in values else None
    visible = columns(router, table, sensitive, None)
    items = select(table, query.parse(queries), visible, chosen)
    return items, columns(router, table, sensitive, values.get(".proplist"))


async def listen(router: Router, table: Table, values: Row, queries: list[str], sensitive: bool) -> AsyncIterator[Row]:
    """Every change from now on, until somebody cancels."""
    for name in values:
        if name != ".proplist":
            raise Refused(f"unknown parameter {name}")
    names = columns(router, table, sensitive, values.get(".proplist"))
    visible = columns(router, table, sensitive, None)
    wanted = query.parse(queries)
    changes: asyncio.Queue[Row] = asyncio.Queue()

    def note(change: Change) -> None:
        if change.kind == "removed":
            changes.put_nowait({".id": change.item.id, ".dead": "yes"})
        elif select(table, wanted, visible, [change.item]):
            changes.put_nowait(row(table, change.item, [".id", *(name for name in names if name != ".id")]))

    unwatch = table.watch(note)
    try:
        while True:
            yield await changes.get()
    finally:
        unwatch()


async def monitor(router: Router, table: Table, values: Row) -> AsyncIterator[Row]:
    """Counters of an item, once or every interval."""
    once, pause = _rhythm(values)
    items = targets(table, values)
    _nothing_else(values)
    show = router.monitors.get(table.menu.path)
    while True:
        for item in items:
            yield dict(show(item)) if show is not None else {}
        if once:
            return
        await asyncio.sleep(pause)


async def monitor_traffic(router: Router, table: Table, values: Row) -> AsyncIterator[Row]:
    """Rates of interfaces, once or every second."""
    names = values.pop("interface", None) or values.pop("numbers", None) or values.pop(".id", None)
    proplist = values.pop(".proplist", None)
    once, pause = _rhythm(values)
    _nothing_else(values)
    if not names:
        raise Refused("missing value(s) of argument(s) interface", 1)
    try:
        items = targets(table, {"numbers": names})
    except Refused:
        raise Refused("input does not match any value of interface", 1) from None
    wanted = None if proplist is None else set(proplist.split(","))
    while True:
        for item in items:
            if table.by_id(item.id) is None:
                raise Refused("no such item", 0)
            shown = _traffic(table.get(item, "name") or "", router.rates(item))
            yield {name: value for name, value in shown.items() if wanted is None or name in wanted}
        if once:
            return
        await asyncio.sleep(pause)


def _traffic(name: str, rates: Rates) -> Row:
    rx_bits, tx_bits, rx_packets, tx_packets = (str(int(rate)) for rate in rates)
    return {
        "name": name,
        "rx-packets-per-second": rx_packets,
        "rx-bits-per-second": rx_bits,
        "rx-drops-per-second": "0",
        "rx-errors-per-second": "0",
        "tx-packets-per-second": tx_packets,
        "tx-bits-per-second": tx_bits,
        "tx-drops-per-second": "0",
        "tx-errors-per-second": "0",
    }


def _rhythm(values: Row) -> tuple[bool, float]:
    """Whether once only, and the pause between rows in real seconds."""
    once = values.pop("once", None) is not None
    text = values.pop("interval", "1s")
    interval = milliseconds(text)
    if not interval:
        raise Refused("invalid value for argument interval", 1)
    return once, interval / 1000


def _nothing_else(values: Row) -> None:
    for name in values:
        raise Refused(f"unknown parameter {name}")

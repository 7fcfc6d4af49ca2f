"""What a router's counters say about lines: which of its items belong to which, and what passed between two readings.

Rows are as RouterOS prints them. What a customer sends is `rx` of an interface, `bytes-in` of a hotspot, and the first
of a queue's pair. Pure.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ispgraph.domain.live.lines import Line
from ispgraph.domain.models import ConnectionType
from ispgraph.domain.network.items import ACTIVE, HOTSPOT_ACTIVE, QUEUES, mark

INTERFACES = "/interface"
SESSIONS: "Menu" = (ACTIVE, None, ("name",))
_PPPOE = {"type": "pppoe-in"}
_HOTSPOT_MENU = (HOTSPOT_ACTIVE, None, (".id", "user", "mac-address", "bytes-in", "bytes-out"))
_QUEUE_MENU = (QUEUES, None, (".id", "comment", "bytes"))
_INTERFACE_MENU = (INTERFACES, _PPPOE, (".id", "name", "rx-byte", "tx-byte"))

Menu = tuple[str, Mapping[str, str] | None, Sequence[str]]
Rows = Sequence[Mapping[str, str]]
Tables = Mapping[str, Rows]


@dataclass(frozen=True, slots=True)
class Count:
    """One item's counters: bytes from and to the customer. Another item, or the same made anew, has another key."""

    key: str
    up: int
    down: int


@dataclass(frozen=True, slots=True)
class Sample:
    """The counters of a router's items at one moment, in seconds of the loop's clock, by line; and who has a session,
    as far as that was asked."""

    at: float
    counts: Mapping[str, Sequence[Count]]
    online: frozenset[str]


@dataclass(frozen=True, slots=True)
class Speed:
    """Bits per second of one line, and the bytes that its items show."""

    up_bps: int
    down_bps: int
    up_bytes: int
    down_bytes: int


def menus(lines: Iterable[Line]) -> list[Menu]:
    """What has to be read for these lines."""
    wanted = {
        ConnectionType.PPPOE: _INTERFACE_MENU,
        ConnectionType.HOTSPOT: _HOTSPOT_MENU,
        ConnectionType.STATIC_IP: _QUEUE_MENU,
    }
    kinds = {line.kind for line in lines}
    return [menu for kind, menu in wanted.items() if kind in kinds]


def sample(at: float, tables: Tables) -> Sample:
    """Everything that the tables count, by what a line is known by there."""
    counts: dict[str, list[Count]] = defaultdict(list)
    for row in tables.get(INTERFACES, ()):
        if (user := _user(row.get("name", ""))) is not None:
            counts[f"p {user}"].append(_count(row, row.get("rx-byte"), row.get("tx-byte")))
    for row in tables.get(HOTSPOT_ACTIVE, ()):
        count = _count(row, row.get("bytes-in"), row.get("bytes-out"))
        counts[f"h {row.get('user', '').lower()}"].append(count)
        counts[f"m {row.get('mac-address', '').upper()}"].append(count)
    for row in tables.get(QUEUES, ()):
        up, _, down = row.get("bytes", "").partition("/")
        counts[f"q {row.get('comment', '')}"].append(_count(row, up, down))
    return Sample(at, counts, frozenset(row.get("name", "").lower() for row in tables.get(ACTIVE, ())))


def unnamed(line: Line, tables: Sample) -> bool:
    """Whether a line has a session whose interface has another name, which nothing here tells: an installer gave it."""
    return line.kind is ConnectionType.PPPOE and line.username.lower() in tables.online and not found(line, tables)


def found(line: Line, tables: Sample) -> Sequence[Count]:
    """The items of a line."""
    if line.kind is ConnectionType.PPPOE:
        return tables.counts.get(f"p {line.username.lower()}", ())
    if line.kind is ConnectionType.HOTSPOT:
        by_user = tables.counts.get(f"h {line.username.lower()}", ())
        # A device that is known by its address logs in with it, in whatever form.
        return by_user or (tables.counts.get(f"m {line.mac}", ()) if line.mac is not None else ())
    if line.kind is ConnectionType.STATIC_IP and line.service_id is not None:
        return tables.counts.get(f"q {mark(line.service_id)}", ())
    return ()


def speed(line: Line, now: Sample, before: Sample | None) -> Speed | None:
    """What a line's items passed since the sample before; None while there is none of them all to compare with.

    An item whose counters have fallen has begun anew: nothing is known of what passed.
    """
    here = found(line, now)
    earlier = {count.key: count for count in found(line, before)} if before is not None else {}
    seconds = now.at - before.at if before is not None else 0.0
    up = down = 0
    for count in here:
        last = earlier.get(count.key)
        if last is None or seconds <= 0 or count.up < last.up or count.down < last.down:
            return None
        up, down = up + count.up - last.up, down + count.down - last.down
    return Speed(
        up_bps=int(up * 8 / seconds) if up else 0,
        down_bps=int(down * 8 / seconds) if down else 0,
        up_bytes=sum(count.up for count in here),
        down_bytes=sum(count.down for count in here),
    )


def _user(interface: str) -> str | None:
    """Whose session an interface is: `<pppoe-jane>`. (That of a second one at the same time, `<pppoe-jane-1>`, can not
    be told from the first of a user `jane-1`.)"""
    if not (interface.startswith("<pppoe-") and interface.endswith(">")):
        return None
    return interface[len("<pppoe-") : -1].lower()


def _count(row: Mapping[str, str], up: str | None, down: str | None) -> Count:
    return Count(row.get(".id", ""), _number(up), _number(down))


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0

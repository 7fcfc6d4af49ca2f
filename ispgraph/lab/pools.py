"""Addresses of a router's pools."""

import ipaddress

from ispgraph.lab.items import Item
from ispgraph.lab.routeros import RouterOS


class NoAddress(Exception):
    """The pool is unknown, malformed or exhausted; the message says which."""


class Pools:
    """Hands out addresses of /ip/pool, the longest free first. An address that was taken otherwise is left out too."""

    def __init__(self, router: RouterOS) -> None:
        self._table = router.table("/ip/pool")
        self._used: dict[int, int] = {}
        self._next: dict[int, int] = {}
        self._ranges: dict[str, list[tuple[int, int]]] = {}

    def take(self, name: str) -> str:
        """A free address of the pool, or of those that follow it by ``next-pool``. Raises NoAddress."""
        seen: set[str] = set()
        following: str | None = name
        while following and following != "none" and following not in seen:
            seen.add(following)
            found = self._table.find(name=following)
            if not found:
                raise NoAddress(f"no pool {following}")
            address = self._free(found[0])
            if address is not None:
                self.hold(address)
                return address
            following = self._table.get(found[0], "next-pool")
        raise NoAddress(f"pool {name} is exhausted")

    def hold(self, address: str) -> None:
        """Somebody has this address, from a pool or not."""
        value = int(ipaddress.IPv4Address(address))
        self._used[value] = self._used.get(value, 0) + 1

    def give_back(self, address: str) -> None:
        """He has it no more."""
        value = int(ipaddress.IPv4Address(address))
        self._used[value] -= 1
        if not self._used[value]:
            del self._used[value]

    def _free(self, item: Item) -> str | None:
        ranges = self._parse(self._table.get(item, "ranges") or "")
        size = sum(last - first + 1 for first, last in ranges)
        start = self._next.get(item.number, 0)
        for step in range(size):
            offset = (start + step) % size
            value = _nth(ranges, offset)
            if value not in self._used:
                self._next[item.number] = offset + 1
                return str(ipaddress.IPv4Address(value))
        return None

    def _parse(self, text: str) -> list[tuple[int, int]]:
        if text not in self._ranges:
            self._ranges[text] = [_range(part.strip()) for part in text.split(",") if part.strip()]
        return self._ranges[text]


def _range(text: str) -> tuple[int, int]:
    try:
        if "/" in text:
            network = ipaddress.IPv4Network(text, strict=False)
            return int(network[0]), int(network[-1])
        first, _, last = text.partition("-")
        found = int(ipaddress.IPv4Address(first)), int(ipaddress.IPv4Address(last or first))
    except ValueError as error:
        raise NoAddress(f"{text!r} is no range of addresses") from error
    if found[0] > found[1]:
        raise NoAddress(f"{text!r} is no range of addresses")
    return found


def _nth(ranges: list[tuple[int, int]], offset: int) -> int:
    for first, last in ranges:
        if offset <= last - first:
            return first + offset
        offset -= last - first + 1
    raise IndexError(offset)

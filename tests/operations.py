"""The collection of examples/operations: what stands in each file, and how one follows another."""

import re
import secrets
from collections import deque
from collections.abc import Iterator
from functools import cache
from typing import Any

from ispgraph.reference import collection as files
from ispgraph.reference.collection import Operation
from tests.servers import ROOT

FOLDER = ROOT / "examples/operations"
_ID = re.compile(r"[a-z]{3}_[0-9a-f]{32}")
_WANTED = re.compile(r"([a-z]{3})_…( before)?")


@cache
def collection() -> dict[str, Operation]:
    """All of them, by path without the ending."""
    return {one.path: one for one in files.read(FOLDER)}


class Memory:
    """The ids of the answers so far: the last of each kind is what the next operation is about."""

    def __init__(self) -> None:
        self._ids: dict[str, list[str]] = {}

    def remember(self, answer: Any) -> None:
        """Of each kind of id the one that stands highest in an answer."""
        found: dict[str, str] = {}
        for value in _outermost_first(answer):
            found.setdefault(value[:3], value)
        for kind, value in found.items():
            self._ids[kind] = [value, *(one for one in self._ids.get(kind, []) if one != value)]

    def fill(self, value: Any) -> Any:
        """Variables with what is remembered in place of `cus_…`; any other `…` is a few characters that are new."""
        if isinstance(value, dict):
            return {name: self.fill(one) for name, one in value.items()}
        if isinstance(value, list):
            return [self.fill(one) for one in value]
        if not isinstance(value, str):
            return value
        wanted = _WANTED.fullmatch(value)
        if wanted is None:
            return value.replace("…", secrets.token_hex(4))
        known = self._ids.get(wanted[1], [])
        return known[1 if wanted[2] else 0] if len(known) > (1 if wanted[2] else 0) else value


def _outermost_first(answer: Any) -> Iterator[str]:
    waiting = deque([answer])
    while waiting:
        value = waiting.popleft()
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, str) and _ID.fullmatch(value):
            yield value
